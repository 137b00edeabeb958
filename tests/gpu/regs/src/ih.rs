// SPDX-License-Identifier: GPL-2.0
//! The interrupt ring: control bits, entries and source ids
//! (gpu-iov-hardware.md, sections 4.1 and 8.4).

/// RB_CNTL: the ring works.
pub const RB_ENABLE: u32 = 1 << 0;
/// RB_CNTL: shift of the ring size, log2 of its dwords, 5 bits.
pub const RB_SIZE_SHIFT: u32 = 1;
/// RB_CNTL: the write position is written to memory too.
pub const WPTR_WRITEBACK_ENABLE: u32 = 1 << 8;
/// RB_CNTL: an entry raises an interrupt.
pub const ENABLE_INTR: u32 = 1 << 17;
/// RB_CNTL: after an interrupt the next one waits for a write of the read position.
pub const RPTR_REARM: u32 = 1 << 21;
/// RB_CNTL: clears the overflow bit of the write position.
pub const WPTR_OVERFLOW_CLEAR: u32 = 1 << 31;
/// RPTR, WPTR: position in bytes.
pub const PTR_MASK: u32 = 0x3_FFFC;
/// WPTR: entries were overwritten.
pub const WPTR_OVERFLOW: u32 = 1;

/// Bytes of an entry.
pub const ENTRY_BYTES: u32 = 16;

/// To a VF: the PF's message is valid.
pub const SRC_MSG_FROM_PF: u8 = 135;
/// To the PF: a VF has acknowledged; data = VF.
pub const SRC_ACK_FROM_VF: u8 = 136;
/// To the PF: a VF's message is valid; data = VF.
pub const SRC_MSG_FROM_VF: u8 = 137;
/// To a VF: the PF has acknowledged.
pub const SRC_ACK_FROM_PF: u8 = 138;
/// To the PF: a GPU-IOV command has ended; data = [`cmd_complete_data`].  The number is the
/// emulated device's own: no public source names Tonga's.
pub const SRC_CMD_COMPLETE: u8 = 139;
/// A TRAP packet; data = its context field.
pub const SRC_SDMA_TRAP: u8 = 224;
/// The copy engine met a packet that it does not know and stopped.
pub const SRC_SDMA_ILLEGAL: u8 = 241;

/// Data of [`SRC_CMD_COMPLETE`]: command \[3:0\], function \[15:8\], status \[23:16\].
pub const fn cmd_complete_data(cmd: u8, fcn: u8, status: u8) -> u32 {
    cmd as u32 | ((fcn as u32) << 8) | ((status as u32) << 16)
}

/// An entry of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// Source id, `SRC_*`.
    pub src: u8,
    /// 28 bits that depend on the source.
    pub data: u32,
    /// Ring that caused it.
    pub ring: u8,
    /// VMID that caused it.
    pub vmid: u8,
}

impl Entry {
    /// An entry of `src` with `data`, ring and VMID 0.
    pub const fn new(src: u8, data: u32) -> Self {
        Self {
            src,
            data,
            ring: 0,
            vmid: 0,
        }
    }

    /// The four dwords as they lie in the ring.
    pub const fn encode(self) -> [u32; 4] {
        [
            self.src as u32,
            self.data & 0x0FFF_FFFF,
            self.ring as u32 | ((self.vmid as u32) << 8),
            0,
        ]
    }

    /// Reads an entry.
    pub const fn decode(dw: [u32; 4]) -> Self {
        Self {
            src: dw[0] as u8,
            data: dw[1] & 0x0FFF_FFFF,
            ring: dw[2] as u8,
            vmid: (dw[2] >> 8) as u8,
        }
    }
}

/// RB_CNTL for a ring of `bytes` (a power of two, at least 16) that writes back and interrupts.
pub const fn rb_cntl(bytes: u32) -> u32 {
    let log2 = if bytes < 16 { 2 } else { (bytes / 4).ilog2() };
    RB_ENABLE | ENABLE_INTR | WPTR_WRITEBACK_ENABLE | RPTR_REARM | (log2 << RB_SIZE_SHIFT)
}

/// Bytes of the ring that an RB_CNTL value means, at most 256 KiB.
pub const fn rb_bytes(cntl: u32) -> u32 {
    let log2 = (cntl >> RB_SIZE_SHIFT) & 0x1F;
    4 << if log2 > 16 { 16 } else { log2 }
}
