// SPDX-License-Identifier: GPL-2.0
//! A function's context: its registers and what its engine was doing, and the image of it in
//! the context save area.
//!
//! The image holds nothing that depends on where the function's framebuffer lies or which
//! function it is: it may be loaded for another VF, of another GPU too.  What can change while a
//! function is away (its interrupt ring's positions, its mailbox, a doorbell that was rung) is
//! changed in its image at once ([`amend`]), so that the image is whole at any time.  Little
//! endian:
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
//! | 116..152 | mailbox: the VF's interrupt enables, message to the VF, message to the PF |
//! | 152..160 | MM_INDEX, MM_INDEX_HI |
//! | 160..164 | number of registers |
//! | 164.. | registers: index, value |

use gpu_regs::chip::Chip;
use gpu_regs::sdma::Packet;

use crate::engine::{Engine, Ib, Op};
use crate::ih::{Ih, IH_WORDS};
use crate::mailbox::Mailbox;
use crate::memory::slice;
use crate::regfile::{RegFile, MAX_REGS};
use crate::{Func, Gpu, Host};

const MAGIC: &[u8; 8] = b"GIMCTX\x00\x03";
const FLAGS: usize = 16;
const OUTSIDE: usize = 84;
const HEADER: usize = 164;

const HAS_OP: u32 = 1;
const HAS_IB: u32 = 2;
const HALTED: u32 = 4;
/// Flags of the engine; the others are of what lives outside.
const ENGINE_FLAGS: u32 = 7;
const IH_OVERFLOW: u32 = 8;
const IH_QUIET: u32 = 16;
const MAILBOX_SHIFT: u32 = 5;

/// Words of what lives outside the engine.
const OUTSIDE_WORDS: usize = IH_WORDS + 9 + 2;

/// What of a function lives outside the engine, and goes on while it is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) ih: Ih,
    pub(crate) mailbox: Mailbox,
    /// MM_INDEX and MM_INDEX_HI.
    pub(crate) mm: [u32; 2],
}

impl Outside {
    pub(crate) fn of(f: &Func) -> Self {
        Self {
            ih: f.ih,
            mailbox: f.mailbox,
            mm: [f.mm_index, f.mm_index_hi],
        }
    }

    fn words(&self) -> (u32, [u32; OUTSIDE_WORDS]) {
        let (mail_flags, mail) = self.mailbox.image();
        let mut words = [0; OUTSIDE_WORDS];
        let all = self.ih.words().into_iter().chain(mail).chain(self.mm);
        for (w, v) in words.iter_mut().zip(all) {
            *w = v;
        }
        let flags = (u32::from(self.ih.overflow) * IH_OVERFLOW)
            | (u32::from(self.ih.quiet) * IH_QUIET)
            | (mail_flags << MAILBOX_SHIFT);
        (flags, words)
    }

    fn read(flags: u32, i: &mut In<'_>) -> Option<Self> {
        let (mut ih, mut mail, mut mm) = ([0; IH_WORDS], [0; 9], [0; 2]);
        for w in ih.iter_mut().chain(&mut mail).chain(&mut mm) {
            *w = i.u32()?;
        }
        Some(Self {
            ih: Ih::from_words(ih, flags & IH_OVERFLOW != 0, flags & IH_QUIET != 0),
            mailbox: Mailbox::from_image(flags >> MAILBOX_SHIFT, mail),
            mm,
        })
    }
}

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

/// The image of a context and what lives outside.
pub(crate) fn encode(ctx: &Context, outside: &Outside) -> Vec<u8> {
    let e = &ctx.engine;
    let (mut flags, words) = outside.words();
    for (on, bit) in [
        (e.op.is_some(), HAS_OP),
        (e.ib.is_some(), HAS_IB),
        (e.halted, HALTED),
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
    words.iter().for_each(|&w| o.u32(w));
    o.u32(ctx.regs.len() as u32);
    for (i, v) in ctx.regs.iter() {
        o.u32(i);
        o.u32(v);
    }
    let mut image = o.0;
    seal(&mut image);
    image
}

/// Writes length and CRC of an image that fills the slice.
fn seal(image: &mut [u8]) {
    let len = image.len() as u32;
    let crc = image.get(FLAGS..).map_or(0, crc32fast::hash);
    if let Some(s) = image.get_mut(8..16) {
        s.copy_from_slice(&(u64::from(len) | (u64::from(crc) << 32)).to_le_bytes());
    }
}

/// Length of the image at the start of `slot`; `None` if it is not a whole and undamaged one.
fn whole(slot: &[u8]) -> Option<usize> {
    if slot.get(..8)? != MAGIC {
        return None;
    }
    let mut head = In(slot.get(8..16)?);
    let (len, crc) = (head.u32()? as usize, head.u32()?);
    let body = slot.get(FLAGS..len)?;
    (crc32fast::hash(body) == crc).then_some(len)
}

/// Reads an image from the start of `slot`; `None` if it is not a whole and undamaged one.
pub(crate) fn decode(chip: &Chip, slot: &[u8]) -> Option<(Context, Outside)> {
    let len = whole(slot)?;
    let mut i = In(slot.get(FLAGS..len)?);
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
    let outside = Outside::read(flags, &mut i)?;
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
    Some((Context { regs, engine }, outside))
}

/// Brings the image in `slot` to what lives outside now, and to the doorbells that were rung;
/// leaves alone what is no good image, or one of another life of the function.
fn amend(chip: &Chip, slot: &mut [u8], outside: &Outside, rung: &[(u32, u32)]) -> Option<()> {
    let len = whole(slot)?;
    let image = slot.get_mut(..len)?;
    let flags = In(image.get(FLAGS..)?).u32()?;
    let old = Outside::read(flags, &mut In(image.get(OUTSIDE..)?))?;
    if !old.ih.is_ring_of(&outside.ih) {
        return None;
    }
    let (new_flags, words) = outside.words();
    let flags = (flags & ENGINE_FLAGS) | new_flags;
    image
        .get_mut(FLAGS..FLAGS + 4)?
        .copy_from_slice(&flags.to_le_bytes());
    for (b, w) in image.get_mut(OUTSIDE..)?.chunks_exact_mut(4).zip(words) {
        b.copy_from_slice(&w.to_le_bytes());
    }
    ring(chip, image.get_mut(HEADER..)?, rung);
    seal(image);
    Some(())
}

/// Puts the write position that a doorbell brought into the registers of an image.
fn ring(chip: &Chip, regs: &mut [u8], rung: &[(u32, u32)]) {
    let r = &chip.regs.sdma;
    let place = |regs: &[u8], index: u32| {
        let mut pairs = regs.chunks_exact(8);
        pairs.position(|p| p.starts_with(&index.to_le_bytes()))
    };
    let get = |index| {
        place(regs, index)
            .and_then(|n| In(regs.get(n * 8 + 4..)?).u32())
            .unwrap_or(0)
    };
    let mine = r.doorbell_index(get);
    let newest = rung.iter().find(|&&(index, _)| Some(index) == mine);
    let at = place(regs, r.rb_wptr).map(|n| n * 8 + 4);
    let Some((&(_, value), at)) = newest.zip(at) else {
        return;
    };
    if let Some(b) = regs.get_mut(at..at + 4) {
        b.copy_from_slice(&(value & !3).to_le_bytes());
    }
}

impl Gpu {
    /// What lives outside the engine has changed: so does the image of a function that is away.
    pub(crate) fn follow(&self, h: &mut dyn Host, slot: usize) {
        let away = slot > 0 && self.phase.slot() != Some(slot);
        let Some(f) = self.funcs.get(slot).filter(|f| away && f.known) else {
            return;
        };
        let vram = h.vram().len() as u64;
        let place = self.context_slot(slot, vram);
        if let Some(s) = place.and_then(|(at, n)| slice(h.vram(), at, n)) {
            amend(self.chip, s, &Outside::of(f), &f.doorbells);
        }
    }

    /// Takes over what the image loaded for `slot` has of outside the engine.  All of it if the
    /// function comes from elsewhere: it was reset since it last ran here.  Else what is there is
    /// newer, and only another function's ring is taken.
    pub(crate) fn take_over(&mut self, slot: usize, image: Outside) {
        let Some(f) = self.funcs.get_mut(slot).filter(|_| slot > 0) else {
            return; // The PF's interrupt ring never leaves it.
        };
        if f.known {
            return f.ih.restore(image.ih);
        }
        f.known = true;
        f.moved = true;
        f.ih = image.ih;
        f.mailbox.restore(image.mailbox);
        [f.mm_index, f.mm_index_hi] = image.mm;
    }
}

#[cfg(test)]
mod tests {
    use gpu_regs::chip::TONGA;
    use gpu_regs::mailbox::TRN_VALID;

    use super::*;
    use crate::mailbox::Side;

    fn sample() -> (Context, Outside) {
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
        let mut mailbox = Mailbox::default();
        mailbox.set_trn(Side::Pf, 1, 7);
        mailbox.set_trn(Side::Vf, 3, 9);
        mailbox.set_control(Side::Vf, TRN_VALID);
        mailbox.set_int_cntl(Side::Vf, 3);
        let outside = Outside {
            ih: Ih {
                cntl: 3,
                wptr: 16,
                overflow: true,
                quiet: true,
                ..Ih::default()
            },
            mailbox,
            mm: [1 << 31, 5],
        };
        (c, outside)
    }

    #[test]
    fn an_image_gives_back_the_context() {
        let (c, outside) = sample();
        let image = encode(&c, &outside);
        assert_eq!(decode(&TONGA, &image), Some((c, outside)));
    }

    #[test]
    fn an_image_follows_what_goes_on_outside() {
        let r = &TONGA.regs.sdma;
        let (mut c, mut outside) = sample();
        r.set_doorbell(0x1E0, |i, v| assert!(c.regs.set(i, v)));
        c.regs.set(r.rb_wptr, 16);
        let mut slot = encode(&c, &outside);
        slot.resize(8192, 0xEE);
        outside.ih.wptr = 32;
        outside.ih.quiet = false;
        outside.mailbox.set_control(Side::Vf, 0);
        let rung = [(3, 77), (0x1E0, 65)];
        assert_eq!(amend(&TONGA, &mut slot, &outside, &rung), Some(()));
        c.regs.set(r.rb_wptr, 64);
        assert_eq!(decode(&TONGA, &slot), Some((c, outside)));
        // Not the image of another ring, and not a damaged one.
        let before = slot.clone();
        outside.ih.base = 1;
        assert_eq!(amend(&TONGA, &mut slot, &outside, &[]), None);
        assert_eq!(slot, before);
        outside.ih.base = 0;
        slot[70] ^= 1;
        let before = slot.clone();
        assert_eq!(amend(&TONGA, &mut slot, &outside, &[]), None);
        assert_eq!(slot, before);
    }

    #[test]
    fn any_damaged_or_cut_image_is_refused() {
        let (c, outside) = sample();
        let image = encode(&c, &outside);
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
        assert!(encode(&c, &Outside::default()).len() as u64 <= gpu_regs::vsec::CONTEXT_UNIT);
    }
}
