// SPDX-License-Identifier: GPL-2.0
//! The GPU-IOV vendor-specific capability and its commands
//! (gpu-iov-hardware.md, sections 2.1 to 2.6, 2.8 and 5).
//!
//! Offsets are bytes from the start of the capability.

/// Id in the vendor-specific header.
pub const ID: u16 = 0x0002;
/// Read-only mirror of SR-IOV: VF enable b0, number of VFs \[31:16\].
pub const SRIOV_SHADOW: u16 = 0x08;
/// CMD: execute.  Reads 1 until the command has ended.
pub const EXECUTE: u32 = 0x10;
/// CMD: interrupt the PF when the command has ended.
pub const INTR_EN: u32 = 0x20;

/// Interrupt causes, bits of INTR_ENABLE and INTR_STATUS (section 2.6): those of graphics.
pub mod intr {
    /// A command has ended that was to say so.
    pub const CMD_COMPLETE: u32 = 1 << 0;
    /// What looked like a hang has gone on by itself.
    pub const HANG_SELF_RECOVERED: u32 = 1 << 1;
    /// The function on the engine hangs and needs an FLR.
    pub const HANG_NEED_FLR: u32 = 1 << 2;
    /// VM_BUSY_STATUS has changed.
    pub const VM_BUSY_TRANSITION: u32 = 1 << 3;
    /// All that the emulated device knows.
    pub const ALL: u32 = 0xF;
}

/// VM_BUSY_STATUS of chips with interrupt causes: the PF has work.
pub const BUSY_PF: u32 = 1 << 31;

/// States in ACTIVE_FUNCTION_ID_STATUS (section 2.4).
pub mod active {
    /// Nothing runs.
    pub const IDLE: u32 = 0;
    /// The function runs.
    pub const ACTIVE: u32 = 1;
    /// It is being idled.
    pub const IDLING: u32 = 2;
    /// It is being saved.
    pub const SAVING: u32 = 3;
    /// It is being loaded.
    pub const LOADING: u32 = 4;
    /// It hangs.
    pub const STALLED: u32 = 5;
}

/// Where things are in the capability of a chip; offsets in bytes.
#[derive(Debug)]
pub struct Layout {
    /// Revision in the header.
    pub revision: u8,
    /// Bytes of the capability.
    pub length: u16,
    /// Command, function and next function ([`command`]); a scheduler block's DW1.
    pub command: u16,
    /// Status of the command, one byte; DW2.
    pub status: u16,
    /// VM_BUSY_STATUS; DW3.
    pub busy: u16,
    /// ACTIVE_FUNCTION_ID \[15:0\] and its state \[19:16\] ([`active`]); DW5.  Between it and
    /// `busy` is ACTIVE_FUNCTIONS, behind it are three dwords of quanta.
    pub active_function: Option<u16>,
    /// A hang ends the command with a status; else the command goes on and
    /// [`intr::HANG_NEED_FLR`] tells.
    pub hang_status: bool,
    /// INTR_ENABLE; INTR_STATUS follows ([`intr`]).
    pub intr: Option<u16>,
    /// b0 resets the PF alone.
    pub reset_control: u16,
    /// One bit per VF that had an FLR, write 1 to clear.
    pub reset_notification: Option<u16>,
    /// One bit per VF that was initialised, write 1 to clear.
    pub vm_init_status: Option<u16>,
    /// Where contexts are saved ([`context`]).
    pub context: u16,
    /// Framebuffer in MB: available \[15:0\], in use \[31:16\].
    pub total_fb: u16,
    /// Where scheduler blocks start: offset of the register, and what it reads.
    pub offsets: Option<(u16, u32)>,
    /// First of the sixteen window registers, one dword per VF.
    pub vf_fb: u16,
    /// What is taken off the size in a window register, in units of 16 MB.
    pub size_bias: u32,
}

impl Layout {
    /// Value of a VF's window register for `size_mb` at `offset_mb`, both multiples of 16 MB.
    pub const fn window(&self, offset_mb: u32, size_mb: u32) -> u32 {
        ((size_mb >> 4).wrapping_sub(self.size_bias) & 0xFFFF) | ((offset_mb >> 4) << 16)
    }

    /// `(offset, size)` in bytes of a window register; `None` for 0, which means not set.
    pub const fn window_bytes(&self, value: u32) -> Option<(u64, u64)> {
        let units = (value & 0xFFFF) as u64 + self.size_bias as u64;
        if value == 0 || units == 0 {
            return None;
        }
        Some((((value >> 16) as u64) << 24, units << 24))
    }
}

/// Commands, CMD \[3:0\].
pub mod cmd {
    /// Take the function off the engine, in the middle of its work if need be.
    pub const IDLE: u8 = 0x1;
    /// Write the idled function's context to its slot.
    pub const SAVE: u8 = 0x2;
    /// Read a function's context from its slot.
    pub const LOAD: u8 = 0x3;
    /// Let the loaded or initialised function run.
    pub const RUN: u8 = 0x4;
    /// IDLE and SAVE the function, LOAD and RUN the next.
    pub const CONTEXT_SWITCH: u8 = 0x5;
    /// Put a fresh context for the function on the engine.
    pub const INIT: u8 = 0x7;
    /// Save the scheduler's own state for the function.
    pub const SAVE_RLCV: u8 = 0x8;
    /// Restore the scheduler's own state for the function.
    pub const LOAD_RLCV: u8 = 0x9;
}

/// Values of STATUS.
pub mod status {
    /// The command has ended well.
    pub const DONE: u8 = 0x00;
    /// The command is not known.
    pub const UNSUPPORTED: u8 = 0x01;
    /// The command was not legal now; nothing was done.
    pub const ABORTED: u8 = 0x02;
    /// The engine hangs; final.
    pub const GFX_HANG: u8 = 0x0E;
    /// The copy engine hangs; final.
    pub const SDMA_HANG: u8 = 0x0F;
    /// IDLE in progress.
    pub const IDLING: u8 = 0x11;
    /// SAVE in progress.
    pub const SAVING: u8 = 0x12;
    /// LOAD in progress.
    pub const LOADING: u8 = 0x13;
    /// RUN in progress.
    pub const ENABLING: u8 = 0x14;
    /// INIT in progress.
    pub const INITING: u8 = 0x15;
    /// SAVE_RLCV in progress.
    pub const SAVING_RLCV: u8 = 0x16;
    /// LOAD_RLCV in progress.
    pub const LOADING_RLCV: u8 = 0x17;
}

/// FCN_ID of the physical function.
pub const FCN_PF: u8 = 0x00;

/// FCN_ID of virtual function `n` (0 to 15).
pub const fn fcn_vf(n: u8) -> u8 {
    0x80 | n
}

/// Builds the dword that starts a command: `cmd` of [`cmd`], functions as FCN_ID.
pub const fn command(cmd: u8, fcn: u8, next: u8, interrupt: bool) -> u32 {
    let intr = if interrupt { INTR_EN } else { 0 };
    cmd as u32 | EXECUTE | intr | ((fcn as u32) << 8) | ((next as u32) << 16)
}

/// Unit of the context save area in bytes.
pub const CONTEXT_UNIT: u64 = 256 << 10;

/// Value of CONTEXT for an area at byte `offset` of the framebuffer with `units` x 256 KiB per
/// function (1 to 127).  `offset` is a multiple of `units` x 256 KiB.
pub const fn context(offset: u64, units: u8) -> u32 {
    let units = units & 0x7F;
    let per = CONTEXT_UNIT * if units == 0 { 1 } else { units as u64 };
    units as u32 | (((offset / per) as u32) << 10)
}

/// Start of the context save area and bytes per function that a CONTEXT value means; `None`
/// when the size is 0 or the area is in system memory (b7).
pub const fn context_area(value: u32) -> Option<(u64, u64)> {
    let units = (value & 0x7F) as u64;
    if units == 0 || value & 0x80 != 0 {
        return None;
    }
    let per = units * CONTEXT_UNIT;
    Some(((value >> 10) as u64 * per, per))
}

/// Slot of a function in the context save area: 0 for the PF, n + 1 for VFn (an assumption: no
/// public source names Tonga's order).
pub const fn slot(fcn: u8) -> usize {
    if fcn & 0x80 == 0 {
        0
    } else {
        (fcn & 0x7F) as usize + 1
    }
}
