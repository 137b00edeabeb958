// SPDX-License-Identifier: GPL-2.0
//! A function's context: its registers and what its engine was doing, and the image of it in
//! the context save area.
//!
//! The image holds nothing that depends on where the function's framebuffer lies or which
//! function it is: it may be loaded for another VF.  Little endian:
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | magic |
//! | 8..12 | length of the image |
//! | 12..16 | CRC32 of everything behind |
//! | 16..20 | flags |
//! | 20..68 | packet in progress: first 8 dwords, time spent (8), bytes done, tests done |
//! | 68..84 | indirect buffer: address (8), dwords, position |
//! | 84..116 | interrupt ring: 8 registers |
//! | 116..120 | number of registers |
//! | 120.. | registers: index, value |

use gpu_regs::chip::Chip;
use gpu_regs::sdma::Packet;

use crate::engine::{Engine, Ib, Op};
use crate::ih::Ih;
use crate::regfile::{RegFile, MAX_REGS};

const MAGIC: &[u8; 8] = b"GIMCTX\x00\x02";
const HEADER: usize = 120;

const HAS_OP: u32 = 1;
const HAS_IB: u32 = 2;
const HALTED: u32 = 4;
const IH_OVERFLOW: u32 = 8;
const IH_QUIET: u32 = 16;

/// What SAVE and LOAD carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) regs: RegFile,
    pub(crate) engine: Engine,
}

/// Little-endian writer.
struct Out(Vec<u8>);

impl Out {
    fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
}

/// Little-endian reader that knows its end.
struct In<'a>(&'a [u8]);

impl In<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// The image of a context and its interrupt ring.
pub(crate) fn encode(ctx: &Context, ih: &Ih) -> Vec<u8> {
    let e = &ctx.engine;
    let mut flags = 0;
    for (on, bit) in [
        (e.op.is_some(), HAS_OP),
        (e.ib.is_some(), HAS_IB),
        (e.halted, HALTED),
        (ih.overflow, IH_OVERFLOW),
        (ih.quiet, IH_QUIET),
    ] {
        flags |= u32::from(on) * bit;
    }
    let mut o = Out(Vec::with_capacity(HEADER + 8 * ctx.regs.len()));
    o.0.extend_from_slice(MAGIC);
    o.u64(0); // length and CRC, below
    o.u32(flags);
    let op = e.op.unwrap_or_default();
    op.head.iter().for_each(|&d| o.u32(d));
    o.u64(op.elapsed);
    o.u32(op.done);
    o.u32(op.tests);
    let ib = e.ib.unwrap_or_default();
    o.u64(ib.base);
    o.u32(ib.dwords);
    o.u32(ib.pos);
    for v in [
        ih.cntl,
        ih.base,
        ih.base_hi,
        ih.rptr,
        ih.wptr,
        ih.wb_hi,
        ih.wb_lo,
        ih.doorbell,
    ] {
        o.u32(v);
    }
    o.u32(ctx.regs.len() as u32);
    for (i, v) in ctx.regs.iter() {
        o.u32(i);
        o.u32(v);
    }
    let mut image = o.0;
    let len = image.len() as u32;
    let crc = image.get(16..).map_or(0, crc32fast::hash);
    if let Some(s) = image.get_mut(8..16) {
        s.copy_from_slice(&(u64::from(len) | (u64::from(crc) << 32)).to_le_bytes());
    }
    image
}

/// Reads an image from the start of `slot`; `None` if it is not a whole and undamaged one.
pub(crate) fn decode(chip: &Chip, slot: &[u8]) -> Option<(Context, Ih)> {
    if slot.get(..8)? != MAGIC {
        return None;
    }
    let mut head = In(slot.get(8..16)?);
    let (len, crc) = (head.u32()? as usize, head.u32()?);
    let body = slot.get(16..len)?;
    if crc32fast::hash(body) != crc {
        return None;
    }
    let mut i = In(body);
    let flags = i.u32()?;
    let mut op = Op::default();
    for d in &mut op.head {
        *d = i.u32()?;
    }
    op.elapsed = i.u64()?;
    op.done = i.u32()?;
    op.tests = i.u32()?;
    let ib = Ib {
        base: i.u64()?,
        dwords: i.u32()?,
        pos: i.u32()?,
    };
    let ih = Ih {
        cntl: i.u32()?,
        base: i.u32()?,
        base_hi: i.u32()?,
        rptr: i.u32()?,
        wptr: i.u32()?,
        wb_hi: i.u32()?,
        wb_lo: i.u32()?,
        doorbell: i.u32()?,
        overflow: flags & IH_OVERFLOW != 0,
        quiet: flags & IH_QUIET != 0,
    };
    let n = i.u32()? as usize;
    if n > MAX_REGS || i.0.len() != n * 8 {
        return None;
    }
    let mut regs = RegFile::default();
    for _ in 0..n {
        let (index, value) = (i.u32()?, i.u32()?);
        if !regs.set(index, value) {
            return None;
        }
    }
    let op = if flags & HAS_OP != 0 {
        // A packet that cannot be decoded again is no image of ours.
        Packet::decode(chip.sdma, &op.head)?;
        Some(op)
    } else {
        None
    };
    let engine = Engine {
        op,
        ib: (flags & HAS_IB != 0).then_some(ib),
        halted: flags & HALTED != 0,
        rptr_moved: false,
    };
    Some((Context { regs, engine }, ih))
}

#[cfg(test)]
mod tests {
    use gpu_regs::chip::TONGA;

    use super::*;

    fn sample() -> (Context, Ih) {
        let mut c = Context::default();
        for i in 0..100 {
            c.regs.set(i * 7, i ^ 0x55);
        }
        c.engine.op = Some(Op {
            head: [5, 8, 0, 3, 0, 0, 0, 0],
            elapsed: 1 << 40,
            done: 3,
            tests: 9,
        });
        c.engine.ib = Some(Ib {
            base: 1 << 33,
            dwords: 64,
            pos: 5,
        });
        (
            c,
            Ih {
                cntl: 3,
                wptr: 16,
                overflow: true,
                quiet: true,
                ..Ih::default()
            },
        )
    }

    #[test]
    fn an_image_gives_back_the_context() {
        let (c, ih) = sample();
        let image = encode(&c, &ih);
        assert_eq!(decode(&TONGA, &image), Some((c, ih)));
    }

    #[test]
    fn any_damaged_or_cut_image_is_refused() {
        let (c, ih) = sample();
        let image = encode(&c, &ih);
        for at in 0..image.len() {
            let mut bad = image.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&TONGA, &bad), None, "byte {at}");
            assert_eq!(decode(&TONGA, &image[..at]), None, "cut at {at}");
        }
        assert_eq!(decode(&TONGA, &[]), None);
        assert_eq!(decode(&TONGA, &[0; 4096]), None);
    }

    #[test]
    fn the_largest_context_fits_into_the_smallest_slot() {
        let mut c = Context::default();
        let stored = (0..=0xFFFF).filter(|&i| c.regs.set(i, i)).count();
        assert_eq!(stored, MAX_REGS);
        assert!(encode(&c, &Ih::default()).len() as u64 <= gpu_regs::vsec::CONTEXT_UNIT);
    }
}
