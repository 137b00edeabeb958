// SPDX-License-Identifier: GPL-2.0
//! Ring control and packets of the copy engine, SDMA v3.0 and v4.0.
//!
//! The subset that the emulated device executes.  Layouts follow AMD's public packet headers for
//! Tonga and Vega10; COPY and CONST_FILL count bytes, WRITE counts dwords ([`Counts`]).

use crate::chip::DOORBELL_ENABLE;

/// RB_CNTL: the ring works.
pub const RB_ENABLE: u32 = 1 << 0;
/// RB_CNTL: shift of the ring size, log2 of its dwords, 5 bits.
pub const RB_SIZE_SHIFT: u32 = 1;
/// RB_CNTL: the read position is written to memory too.
pub const RPTR_WRITEBACK_ENABLE: u32 = 1 << 12;
/// F32_CNTL: the engine is halted.
pub const F32_HALT: u32 = 1;
/// IB_CNTL: indirect buffers are allowed.
pub const IB_ENABLE: u32 = 1;
/// STATUS: the engine is idle.
pub const STATUS_IDLE: u32 = 1 << 0;
/// STATUS: the ring is empty.
pub const STATUS_RB_EMPTY: u32 = 1 << 2;

/// RB_CNTL for a ring of `bytes` (a power of two, at least 32) with read position write-back.
pub const fn rb_cntl(bytes: u32) -> u32 {
    let log2 = if bytes < 32 { 3 } else { (bytes / 4).ilog2() };
    RB_ENABLE | RPTR_WRITEBACK_ENABLE | (log2 << RB_SIZE_SHIFT)
}

/// Bytes of the ring that an RB_CNTL value means, at most 4 MiB.
pub const fn rb_bytes(cntl: u32) -> u32 {
    let log2 = (cntl >> RB_SIZE_SHIFT) & 0x1F;
    4 << if log2 > 20 { 20 } else { log2 }
}

/// Registers of the copy engine and its graphics ring, as dword indices.
#[derive(Debug)]
pub struct SdmaRegs {
    /// STATUS: b0 idle, b2 ring empty.
    pub status: u32,
    /// F32_CNTL: b0 halts the engine.
    pub f32_cntl: u32,
    /// GFX_RB_CNTL.
    pub rb_cntl: u32,
    /// GFX_RB_BASE: GPU address bits \[39:8\].
    pub rb_base: u32,
    /// GFX_RB_BASE_HI: GPU address bits above 40.
    pub rb_base_hi: u32,
    /// GFX_RB_RPTR: read position in bytes; wraps at the ring's size.
    pub rb_rptr: u32,
    /// GFX_RB_RPTR_HI: its upper half.
    pub rb_rptr_hi: Option<u32>,
    /// GFX_RB_WPTR: write position in bytes; what exceeds the ring's size is ignored.
    pub rb_wptr: u32,
    /// GFX_RB_WPTR_HI: its upper half.
    pub rb_wptr_hi: Option<u32>,
    /// GFX_RB_WPTR_POLL_CNTL.
    pub wptr_poll_cntl: u32,
    /// GFX_RB_WPTR_POLL_ADDR_HI: GPU address of the write position in memory, high.
    pub wptr_poll_addr_hi: u32,
    /// GFX_RB_WPTR_POLL_ADDR_LO: the same, low.
    pub wptr_poll_addr_lo: u32,
    /// GFX_RB_RPTR_ADDR_HI: GPU address where the read position is written back, high.
    pub rptr_addr_hi: u32,
    /// GFX_RB_RPTR_ADDR_LO: the same, low.
    pub rptr_addr_lo: u32,
    /// GFX_IB_CNTL: b0 enables indirect buffers.
    pub ib_cntl: u32,
    /// GFX_DOORBELL: [`crate::chip::DOORBELL_ENABLE`], and the index if it has no other register.
    pub doorbell: u32,
    /// GFX_DOORBELL_OFFSET: the index in bytes \[27:2\].
    pub doorbell_offset: Option<u32>,
    /// Bits of GFX_RB_WPTR_POLL_CNTL of which any makes the engine read the write position from
    /// memory.
    pub wptr_poll_enable: u32,
}

/// Doorbell index in GFX_DOORBELL of engines without GFX_DOORBELL_OFFSET.
const DOORBELL_INDEX: u32 = 0x1F_FFFF;

impl SdmaRegs {
    /// Lets doorbell `index` (dwords of BAR2) carry the write position; `put` writes a register.
    pub fn set_doorbell(&self, index: u32, mut put: impl FnMut(u32, u32)) {
        match self.doorbell_offset {
            Some(offset) => {
                put(offset, (index << 2) & 0x0FFF_FFFC);
                put(self.doorbell, DOORBELL_ENABLE);
            }
            None => put(self.doorbell, DOORBELL_ENABLE | (index & DOORBELL_INDEX)),
        }
    }

    /// The doorbell that carries the write position, if one does; `get` reads a register.
    pub fn doorbell_index(&self, get: impl Fn(u32) -> u32) -> Option<u32> {
        let cntl = get(self.doorbell);
        (cntl & DOORBELL_ENABLE != 0).then(|| match self.doorbell_offset {
            Some(offset) => (get(offset) & 0x0FFF_FFFC) >> 2,
            None => cntl & DOORBELL_INDEX,
        })
    }
}

/// What the count fields of COPY, WRITE and CONST_FILL hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// The number (SDMA v3.0).
    Exact,
    /// The number less one (SDMA v4.0).
    LessOne,
}

impl Counts {
    /// The field for `n`, which is at least 1 for [`Counts::LessOne`].
    pub const fn field(self, n: u32) -> u32 {
        match self {
            Self::Exact => n & COUNT_MASK,
            Self::LessOne => n.wrapping_sub(1) & COUNT_MASK,
        }
    }

    /// The number that a field means.
    pub const fn number(self, field: u32) -> u32 {
        match self {
            Self::Exact => field & COUNT_MASK,
            Self::LessOne => (field & COUNT_MASK) + 1,
        }
    }
}

/// Opcodes, \[7:0\] of a packet's first dword.
pub mod op {
    /// Nothing, for COUNT + 1 dwords.
    pub const NOP: u32 = 0;
    /// Copy; sub-opcode 0 is linear.
    pub const COPY: u32 = 1;
    /// Write; sub-opcode 0 is linear.
    pub const WRITE: u32 = 2;
    /// Execute a buffer elsewhere.
    pub const INDIRECT: u32 = 4;
    /// Write a dword.
    pub const FENCE: u32 = 5;
    /// Interrupt.
    pub const TRAP: u32 = 6;
    /// Wait for a register or memory.
    pub const POLL_REGMEM: u32 = 8;
    /// Fill with a dword.
    pub const CONST_FILL: u32 = 11;
}

/// Most bytes that Linux puts into one COPY or CONST_FILL.
pub const MAX_BYTES: u32 = 0x3F_FFE0;
/// Mask of the count of COPY, WRITE and CONST_FILL.
pub const COUNT_MASK: u32 = 0x3F_FFFF;
/// CONST_FILL: the pattern is a dword.
pub const FILL_DWORD: u32 = 2 << 30;
/// POLL_REGMEM: test memory rather than a register.
pub const POLL_MEM: u32 = 1 << 31;
/// POLL_REGMEM: host data path flush.
pub const POLL_HDP_FLUSH: u32 = 1 << 26;
/// POLL_REGMEM: a retry count that means no limit.
pub const POLL_RETRY_FOREVER: u32 = 0xFFF;
/// POLL_REGMEM: the interval that, with [`POLL_RETRY_FOREVER`], cannot be interrupted by IDLE in
/// the emulated device: the natural hang.
pub const POLL_INTERVAL_HANG: u32 = 0xFFFF;

/// How POLL_REGMEM compares `(value & mask)` with the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Compare {
    /// Always true.
    Always = 0,
    /// Less.
    Less = 1,
    /// Less or equal.
    LessEqual = 2,
    /// Equal.
    Equal = 3,
    /// Not equal.
    NotEqual = 4,
    /// Greater or equal.
    GreaterEqual = 5,
    /// Greater.
    Greater = 6,
}

impl Compare {
    /// The three-bit field; 7 is taken for [`Compare::Always`].
    pub const fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            1 => Self::Less,
            2 => Self::LessEqual,
            3 => Self::Equal,
            4 => Self::NotEqual,
            5 => Self::GreaterEqual,
            6 => Self::Greater,
            _ => Self::Always,
        }
    }

    /// Whether `value`, already masked, passes.
    pub const fn test(self, value: u32, reference: u32) -> bool {
        match self {
            Self::Always => true,
            Self::Less => value < reference,
            Self::LessEqual => value <= reference,
            Self::Equal => value == reference,
            Self::NotEqual => value != reference,
            Self::GreaterEqual => value >= reference,
            Self::Greater => value > reference,
        }
    }
}

/// POLL_REGMEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// Memory (GPU address, multiple of 4) or register (byte offset).
    pub addr: u64,
    /// What to compare with.
    pub reference: u32,
    /// Bits that count.
    pub mask: u32,
    /// How to compare.
    pub compare: Compare,
    /// `addr` is memory.
    pub memory: bool,
    /// Host data path flush: `addr` holds the done register (low) and the request (high).
    pub hdp_flush: bool,
    /// Pause between two tests, 16 bits.
    pub interval: u32,
    /// Tests before giving up, 12 bits; [`POLL_RETRY_FOREVER`] for no limit.
    pub retry: u32,
}

impl Poll {
    /// Waits without limit until `(memory at addr & mask)` equals `reference`.
    pub const fn memory(addr: u64, reference: u32, mask: u32) -> Self {
        Self {
            addr,
            reference,
            mask,
            compare: Compare::Equal,
            memory: true,
            hdp_flush: false,
            interval: 10,
            retry: POLL_RETRY_FOREVER,
        }
    }

    /// As [`Poll::memory`], but IDLE cannot interrupt it: if it never matches, the function
    /// hangs the engine.
    pub const fn hang(addr: u64, reference: u32, mask: u32) -> Self {
        let mut p = Self::memory(addr, reference, mask);
        p.interval = POLL_INTERVAL_HANG;
        p
    }
}

/// A packet.  `D` is the payload of WRITE_LINEAR: a slice to encode, a count when decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<D> {
    /// Nothing, `extra` more dwords are skipped (0 to 0x3FFF).
    Nop {
        /// Dwords after the first.
        extra: u32,
    },
    /// Copy `bytes` (at most [`MAX_BYTES`]) from `src` to `dst`.
    CopyLinear {
        /// GPU address to read.
        src: u64,
        /// GPU address to write.
        dst: u64,
        /// How much.
        bytes: u32,
    },
    /// Write the dwords that follow to `dst`.
    WriteLinear {
        /// GPU address to write, multiple of 4.
        dst: u64,
        /// The dwords (a count when decoded).
        data: D,
    },
    /// Fill `bytes` at `dst` with a dword.
    ConstFill {
        /// GPU address to write.
        dst: u64,
        /// The pattern; always a dword in the emulated device, whatever FILLSIZE says.
        value: u32,
        /// How much.
        bytes: u32,
    },
    /// Write one dword when all before is done.
    Fence {
        /// GPU address to write, multiple of 4.
        addr: u64,
        /// What to write.
        value: u32,
    },
    /// Interrupt the function.
    Trap {
        /// 28 bits that come back in the interrupt entry.
        context: u32,
    },
    /// Wait.
    PollRegmem(Poll),
    /// Execute `dwords` at `base`, then go on behind this packet.
    Indirect {
        /// GPU address of the buffer, multiple of 32.
        base: u64,
        /// Its length (0 to 0xFFFFF).
        dwords: u32,
        /// Address space; the emulated device knows 0.
        vmid: u8,
    },
}

const fn lo(v: u64) -> u32 {
    v as u32
}

const fn hi(v: u64) -> u32 {
    (v >> 32) as u32
}

const fn join(lo: u32, hi: u32) -> u64 {
    lo as u64 | ((hi as u64) << 32)
}

impl Packet<&[u32]> {
    /// Hands each dword of the packet to `push`, in order.
    pub fn encode(&self, counts: Counts, mut push: impl FnMut(u32)) {
        let mut all = |dws: &[u32]| dws.iter().for_each(|&d| push(d));
        match *self {
            Self::Nop { extra } => {
                let extra = extra & 0x3FFF;
                all(&[op::NOP | (extra << 16)]);
                (0..extra).for_each(|_| all(&[0]));
            }
            Self::CopyLinear { src, dst, bytes } => {
                let n = counts.field(bytes);
                all(&[op::COPY, n, 0, lo(src), hi(src), lo(dst), hi(dst)]);
            }
            Self::WriteLinear { dst, data } => {
                all(&[op::WRITE, lo(dst), hi(dst), counts.field(data.len() as u32)]);
                all(data);
            }
            Self::ConstFill { dst, value, bytes } => {
                let n = counts.field(bytes);
                all(&[op::CONST_FILL | FILL_DWORD, lo(dst), hi(dst), value, n]);
            }
            Self::Fence { addr, value } => all(&[op::FENCE, lo(addr), hi(addr), value]),
            Self::Trap { context } => all(&[op::TRAP, context & 0x0FFF_FFFF]),
            Self::PollRegmem(p) => {
                let flags = if p.memory { POLL_MEM } else { 0 }
                    | if p.hdp_flush { POLL_HDP_FLUSH } else { 0 }
                    | ((p.compare as u32) << 28);
                let dw5 = p.interval & 0xFFFF | ((p.retry & 0xFFF) << 16);
                let head = op::POLL_REGMEM | flags;
                all(&[head, lo(p.addr), hi(p.addr), p.reference, p.mask, dw5]);
            }
            Self::Indirect { base, dwords, vmid } => {
                let head = op::INDIRECT | ((vmid as u32 & 0xF) << 16);
                all(&[head, lo(base) & !0x1F, hi(base), dwords & 0xF_FFFF, 0, 0]);
            }
        }
    }
}

/// Dwords of the fixed part of the packet that starts with `header`; `None` if the emulated
/// device does not know it.  WRITE_LINEAR is followed by its payload, NOP by what it skips.
pub const fn fixed_dwords(header: u32) -> Option<u32> {
    match (header & 0xFF, (header >> 8) & 0xFF) {
        (op::NOP, _) => Some(1),
        (op::COPY, 0) => Some(7),
        (op::WRITE, 0) => Some(4),
        (op::INDIRECT, _) => Some(6),
        (op::FENCE, _) => Some(4),
        (op::TRAP, _) => Some(2),
        (op::POLL_REGMEM, 0) => Some(6),
        (op::CONST_FILL, _) => Some(5),
        _ => None,
    }
}

impl Packet<u32> {
    /// Reads the fixed part of a packet.  `None` if `dw` is shorter than that or the packet is
    /// not known.
    pub fn decode(counts: Counts, dw: &[u32]) -> Option<Self> {
        let head = *dw.first()?;
        let len = fixed_dwords(head)? as usize;
        let d = dw.get(..len)?;
        Some(match (head & 0xFF, d) {
            (op::NOP, _) => Self::Nop {
                extra: (head >> 16) & 0x3FFF,
            },
            (op::COPY, &[_, n, _, sl, sh, dl, dh]) => Self::CopyLinear {
                src: join(sl, sh),
                dst: join(dl, dh),
                bytes: counts.number(n),
            },
            (op::WRITE, &[_, l, h, n]) => Self::WriteLinear {
                dst: join(l, h) & !3,
                data: counts.number(n),
            },
            (op::CONST_FILL, &[_, l, h, value, n]) => Self::ConstFill {
                dst: join(l, h),
                value,
                bytes: counts.number(n),
            },
            (op::FENCE, &[_, l, h, value]) => Self::Fence {
                addr: join(l, h) & !3,
                value,
            },
            (op::TRAP, &[_, context]) => Self::Trap {
                context: context & 0x0FFF_FFFF,
            },
            (op::POLL_REGMEM, &[_, l, h, reference, mask, dw5]) => Self::PollRegmem(Poll {
                addr: join(l, h),
                reference,
                mask,
                compare: Compare::from_bits(head >> 28),
                memory: head & POLL_MEM != 0,
                hdp_flush: head & POLL_HDP_FLUSH != 0,
                interval: dw5 & 0xFFFF,
                retry: (dw5 >> 16) & 0xFFF,
            }),
            (op::INDIRECT, &[_, l, h, n, _, _]) => Self::Indirect {
                base: join(l, h) & !0x1F,
                dwords: n & 0xF_FFFF,
                vmid: ((head >> 16) & 0xF) as u8,
            },
            _ => return None,
        })
    }

    /// Dwords of the whole packet, payload included.
    pub const fn dwords(&self) -> u32 {
        match *self {
            Self::Nop { extra } => 1 + extra,
            Self::CopyLinear { .. } => 7,
            Self::WriteLinear { data, .. } => 4 + data,
            Self::ConstFill { .. } => 5,
            Self::Fence { .. } => 4,
            Self::Trap { .. } => 2,
            Self::PollRegmem(_) => 6,
            Self::Indirect { .. } => 6,
        }
    }
}
