// SPDX-License-Identifier: GPL-2.0

//! Commands and framebuffer windows in the GPU-IOV capability (gpu-iov-hardware.md, 2.2 to 2.5):
//! the same fields on all chips, at other places.

use crate::{
    gim_core::{
        event::{
            Cmd,
            CmdKind,
            CmdStatus, //
        },
        partition::{
            Partition,
            CONTEXT_SIZE, //
        },
        types::{
            VfId,
            MAX_VFS, //
        },
    },
    hw::vsec::Vsec,
};

/// Where things are; bytes from the start of the capability.
pub(crate) struct Layout {
    /// Least length of the capability.
    pub(super) len: u16,
    /// Revisions that look so.
    pub(super) revisions: &'static [u8],
    /// CONTEXT: where states are saved.
    pub(super) context: u16,
    /// TOTAL_FB: AVAILABLE, then CONSUMED, in MiB.
    pub(super) total_fb: u16,
    /// First of sixteen window registers.
    pub(super) vf_fb: u16,
    /// What is taken off the SIZE of a window, in units of 16 MiB.
    pub(super) size_bias: u32,
}

/// Registers of a scheduler block; bytes from its start.
mod block {
    pub(super) const COMMAND: u16 = 0x04;
    pub(super) const STATUS: u16 = 0x08;
    pub(super) const VM_BUSY_STATUS: u16 = 0x0c;
    /// The last is the third dword of quanta.
    pub(super) const LEN: u16 = 0x24;
}

/// Bits of the command dword.
const CMD_EXECUTE: u32 = 0x10;
const CMD_EXECUTE_INTR_EN: u32 = 0x20;

/// Status codes that end a command badly: refused, aborted, hangs (2.4).
const STATUS_FINAL: [u8; 4] = [0x01, 0x02, 0x0e, 0x0f];

impl Layout {
    /// Framebuffer that the board can give to functions, in MiB.
    pub(super) fn framebuffer_mib(&self, vsec: &Vsec) -> u32 {
        u32::from(vsec.read16(self.total_fb))
    }

    /// Programs the context save area and every VF's framebuffer window.
    pub(super) fn program(&self, vsec: &Vsec, table: &Partition) {
        // SIZE 1 (256 KiB per function), LOC 0 (framebuffer), OFFSET in units of 256 KiB (2.2).
        let unit = table.context().offset() / CONTEXT_SIZE;
        // CAST: The register has 22 bits for the unit, enough for the 1 TiB that a table allows.
        vsec.write32(self.context, 1 | (unit as u32) << 10);
        let pf_mib = table.pf().size() >> 20;
        let consumed = u64::from(self.framebuffer_mib(vsec)).saturating_sub(pf_mib);
        // CAST: At most what is available, which is 16 bits wide.
        vsec.write16(self.total_fb + 2, consumed as u16);
        for vf in VfId::all() {
            let at = self.window(vf);
            let value = table.vf(vf).map_or(0, |part| {
                let size = part.size_units().saturating_sub(self.size_bias);
                part.offset_units() << 16 | size & 0xffff
            });
            vsec.write32(at, value);
        }
    }

    /// What the registers of the save area and of all windows say.
    pub(super) fn tables(&self, vsec: &Vsec) -> Tables {
        let mut words = [0; TABLES];
        let windows = VfId::all().map(|vf| self.window(vf));
        for (word, at) in words.iter_mut().zip(windows.chain([self.context])) {
            *word = vsec.read32(at);
        }
        words
    }

    /// The window register of a VF.
    fn window(&self, vf: VfId) -> u16 {
        // CAST: 16 VFs at most.
        self.vf_fb + 4 * vf.index() as u16
    }
}

/// The registers of the framebuffer table.
const TABLES: usize = MAX_VFS + 1;

/// What they say, whatever that means on a chip: the same words are the same table.
pub(crate) type Tables = [u32; TABLES];

/// Where a scheduler block starts, in bytes from the start of the capability.
#[derive(Clone, Copy)]
pub(crate) struct Block(u16);

impl Block {
    /// The block at `at`, if it lies behind `after` and inside the capability.
    pub(super) fn new(vsec: &Vsec, at: u16, after: u16) -> Option<Self> {
        let inside = at >= after && at % 4 == 0 && at.checked_add(block::LEN)? <= vsec.len();
        inside.then_some(Self(at))
    }

    /// The registers before the first window on Tonga, which has no block but the same two
    /// registers in the same order.
    pub(super) const fn tonga() -> Self {
        Self(0x08)
    }

    /// Issues a command with its completion interrupt enabled.
    pub(super) fn issue(self, vsec: &Vsec, cmd: Cmd) {
        let code: u32 = match cmd.kind {
            CmdKind::Idle => 0x1,
            CmdKind::Save => 0x2,
            CmdKind::Load => 0x3,
            CmdKind::Run => 0x4,
            CmdKind::Init => 0x7,
        };
        let fcn = u32::from(cmd.fcn.fcn_id());
        vsec.write32(
            self.0 + block::COMMAND,
            code | CMD_EXECUTE | CMD_EXECUTE_INTR_EN | fcn << 8,
        );
    }

    /// Reads what became of the command in flight.
    pub(super) fn status(self, vsec: &Vsec) -> CmdStatus {
        let command = vsec.read32(self.0 + block::COMMAND);
        let status = vsec.read8(self.0 + block::STATUS);
        if command == u32::MAX {
            CmdStatus::Gone
        } else if STATUS_FINAL.contains(&status) {
            CmdStatus::Failed(status)
        } else if command & CMD_EXECUTE != 0 || status != 0 {
            CmdStatus::Busy
        } else {
            CmdStatus::Done
        }
    }

    /// Which VFs have work, a bit each.
    pub(super) fn busy(self, vsec: &Vsec) -> u32 {
        // The PF has a bit too, the last.
        vsec.read32(self.0 + block::VM_BUSY_STATUS) & ((1 << MAX_VFS) - 1)
    }
}
