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

/// Registers of the interrupt ring, as dword indices.
#[derive(Debug)]
pub struct IhRegs {
    /// First register of the block.
    pub first: u32,
    /// Last register of the block.
    pub last: u32,
    /// IH_RB_CNTL.
    pub cntl: u32,
    /// IH_RB_BASE: bus address bits \[39:8\].
    pub base: u32,
    /// IH_RB_BASE_HI: bus address bits \[47:40\].
    pub base_hi: Option<u32>,
    /// IH_RB_RPTR: read position in bytes.
    pub rptr: u32,
    /// IH_RB_WPTR: write position in bytes; b0 is the overflow bit.
    pub wptr: u32,
    /// IH_RB_WPTR_ADDR_HI: where the write position is written back, bits above 32.
    pub wptr_addr_hi: u32,
    /// IH_RB_WPTR_ADDR_LO: the same, bits \[31:0\].
    pub wptr_addr_lo: u32,
    /// IH_DOORBELL_RPTR: doorbell that carries the read position, its index and
    /// [`crate::chip::DOORBELL_ENABLE`].
    pub doorbell: u32,
    /// Field of the index in it.
    pub doorbell_mask: u32,
    /// Bits of IH_RB_CNTL that say that the ring lies at a bus address.
    pub cntl_bus: u32,
}

/// How entries lie in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Volcanic Islands: four dwords, source ids of one number space.
    Vi,
    /// SOC15 (Vega and later): eight dwords, source ids per client.
    Soc15,
}

impl Format {
    /// Bytes of an entry.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Vi => 16,
            Self::Soc15 => 32,
        }
    }

    /// The dwords of an entry; only those of [`Format::bytes`] count.
    pub const fn encode(self, e: Entry) -> [u32; 8] {
        let data = e.data & 0x0FFF_FFFF;
        let (ring, vmid) = (e.ring as u32, e.vmid as u32);
        match self {
            Self::Vi => [e.src as u32, data, ring | (vmid << 8), 0, 0, 0, 0, 0],
            Self::Soc15 => {
                let src = ((e.src as u32) << 8) | (ring << 16) | ((vmid & 0xF) << 24);
                [client(e.src) as u32 | src, 0, 0, 0, data, 0, 0, 0]
            }
        }
    }

    /// Reads an entry; `None` if it is of a client that has no source of these ids, or `dw` is too
    /// short.
    pub fn decode(self, dw: &[u32]) -> Option<Entry> {
        match (self, dw) {
            (Self::Vi, &[src, data, ring, ..]) => Some(Entry {
                src: src as u8,
                data: data & 0x0FFF_FFFF,
                ring: ring as u8,
                vmid: (ring >> 8) as u8,
            }),
            (Self::Soc15, &[head, _, _, _, data, _, _, _, ..]) => {
                let src = (head >> 8) as u8;
                (head as u8 == client(src)).then_some(Entry {
                    src,
                    data: data & 0x0FFF_FFFF,
                    ring: (head >> 16) as u8,
                    vmid: (head >> 24) as u8 & 0xF,
                })
            }
            _ => None,
        }
    }
}

/// SOC15 client of the mailbox.
pub const CLIENT_BIF: u8 = 0x03;
/// SOC15 client of the first copy engine.
pub const CLIENT_SDMA0: u8 = 0x08;

/// The SOC15 client that has source `src` of the list below.
const fn client(src: u8) -> u8 {
    match src {
        SRC_SDMA_TRAP | SRC_SDMA_ILLEGAL => CLIENT_SDMA0,
        _ => CLIENT_BIF,
    }
}

/// To a VF: the PF's message is valid.
pub const SRC_MSG_FROM_PF: u8 = 135;
/// To the PF: a VF has acknowledged; data = VF.
pub const SRC_ACK_FROM_VF: u8 = 136;
/// To the PF: a VF's message is valid; data = VF.
pub const SRC_MSG_FROM_VF: u8 = 137;
/// To a VF: the PF has acknowledged.
pub const SRC_ACK_FROM_PF: u8 = 138;
/// To the PF of a chip without GPU-IOV interrupt registers: a GPU-IOV command has ended; data =
/// [`cmd_complete_data`].  The number is the emulated device's own: no public source names Tonga's.
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
