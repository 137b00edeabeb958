// SPDX-License-Identifier: GPL-2.0
//! The dirty plane against the truth: 100,000 rounds of random writes on each chip, of which none
//! is ever missed.
//!
//! Rounds are many, so they are cheap: what is compared after each third of them is only what may
//! have been written at all.  Nothing escapes by that, because nothing else is ever copied (a bit
//! that nobody has asked for fails at once), and now and then all of both windows is compared.

mod rig;

use std::ops::Range;
use std::thread;

use gpu_regs::chip::CHIPS;
use gpu_regs::dirty;
use gpu_regs::referee::func;
use gpu_regs::sdma::Packet;
use rig::dirty::{count, select, track, tracking, word, WORDS};
use rig::rng::Rng;
use rig::*;

const PAGE: u64 = dirty::PAGE;
const WINDOW: u64 = 16 * MB;

/// Rounds on each chip.
const ROUNDS: u32 = 100_000;
/// All stop, and the copies are compared, after so many of them.
const SYNC: u32 = 3;
/// All of both windows is compared after so many of them.
const WHOLE: u32 = 600;

/// Where jobs and CPUs write: data, and the end of the window.
const DATA_BYTES: u64 = 256 * 1024;
const END: u64 = WINDOW - 128 * 1024;
/// All that may change: that, ring, and write-back.
const WRITTEN: [Range<u64>; 4] = [
    RING..RING + RING_BYTES as u64,
    WRITE_BACK..WRITE_BACK + PAGE,
    DATA..DATA + DATA_BYTES,
    END..WINDOW,
];

/// A set of pages of a window.
struct Pages([u64; (WINDOW / PAGE / 64) as usize]);

impl Pages {
    const NONE: Self = Self([0; (WINDOW / PAGE / 64) as usize]);

    fn add(&mut self, page: u64) {
        self.0[(page / 64) as usize] |= 1 << (page % 64);
    }
    fn has(&self, page: u64) -> bool {
        self.0[(page / 64) as usize] & (1 << (page % 64)) != 0
    }
}

/// A VF whose framebuffer is copied after its plane while it works.
struct Tracked {
    slot: usize,
    copy: Vec<u8>,
    /// Pages that something was asked to write since the copy was the same.
    asked: Pages,
    /// Pages that were copied.
    copied: u64,
}

impl Tracked {
    fn new(slot: usize) -> Self {
        Self {
            slot,
            copy: vec![0; WINDOW as usize],
            asked: Pages::NONE,
            copied: 0,
        }
    }

    /// Copies the pages of a word, while time goes on and the CPU writes.
    fn copy_pages(&mut self, r: &mut Rig, rng: &mut Rng, w: u64, bits: u32, race: bool) {
        for b in (0..32).filter(|b| bits & (1 << b) != 0) {
            let page = w * 32 + b;
            assert!(
                self.asked.has(page),
                "VF{} page {page} was not written",
                self.slot
            );
            if race {
                r.pass(rng.below(3000));
                if rng.below(4) == 0 {
                    self.write(r, rng);
                }
            }
            let n = PAGE as usize;
            let at = (page * PAGE) as usize;
            self.copy[at..at + n].copy_from_slice(r.fb(self.slot, page * PAGE, n));
            self.copied += 1;
        }
    }

    fn note(&mut self, at: u64, len: u64) {
        for page in at / PAGE..=(at + len - 1) / PAGE {
            self.asked.add(page);
        }
    }

    fn place(&mut self, rng: &mut Rng, len: u64) -> u64 {
        let (start, size) = match rng.below(4) {
            0 => (END, WINDOW - END),
            _ => (DATA, DATA_BYTES),
        };
        let at = start + rng.below(size - len + 1);
        self.note(at, len);
        at
    }

    /// A write by CPU.
    fn write(&mut self, r: &mut Rig, rng: &mut Rng) {
        let len = 1 + rng.below(40);
        let at = self.place(rng, len);
        let bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        r.cpu_write(self.slot, at, &bytes);
    }

    /// A job for the engine, if the ring has room.
    fn submit(&mut self, r: &mut Rig, rng: &mut Rng) {
        let bytes = 1 + rng.below(20_000);
        let (src, dst) = (DATA + rng.below(200_000), self.place(rng, bytes));
        let fence = self.place(rng, 4) & !3;
        self.note(fence, 4);
        self.note(WRITE_BACK, 4);
        let value = rng.next() as u32;
        let job = match rng.below(3) {
            0 => Packet::ConstFill {
                dst,
                value,
                bytes: bytes as u32,
            },
            _ => Packet::CopyLinear {
                src,
                dst,
                bytes: bytes as u32,
            },
        };
        r.submit(self.slot, &[job, Packet::Fence { addr: fence, value }]);
        // The ring itself is written by CPU.
        let ring = r.fb(self.slot, RING, RING_BYTES as usize).to_vec();
        self.copy[RING as usize..][..ring.len()].copy_from_slice(&ring);
    }

    /// Reads words of the plane: all, or some in a row, with the world going on between.
    fn read(&mut self, r: &mut Rig, rng: &mut Rng, all: bool) {
        let d = r.regs().dirty;
        select(r, self.slot);
        if rng.below(2) == 0 {
            // As a driver does: the summary first.
            for s in 0..WORDS / 32 {
                r.set(0, d.summary_index, s);
                let summary = r.get(0, d.summary);
                for w in (0..32).filter(|w| summary & (1 << w) != 0) {
                    let w = s * 32 + w;
                    r.set(0, d.index, w);
                    let bits = word(r);
                    assert!(bits != 0);
                    self.copy_pages(r, rng, w.into(), bits, !all);
                }
            }
            return;
        }
        let first = if all {
            0
        } else {
            rng.below(WORDS.into()) as u32
        };
        let n = if all { WORDS } else { rng.below(40) as u32 };
        r.set(0, d.index, first);
        for w in first..first + n {
            let bits = word(r);
            self.copy_pages(r, rng, w.into(), bits, !all);
        }
    }

    /// Nothing was missed of `part`.
    fn compare(&self, r: &mut Rig, part: Range<u64>) {
        let len = (part.end - part.start) as usize;
        let copy = &self.copy[part.start as usize..][..len];
        let found = r.fb(self.slot, part.start, len);
        if found != copy {
            let i = found.iter().zip(copy).position(|(f, c)| f != c).unwrap();
            panic!(
                "VF{} byte {:#x} was missed",
                self.slot,
                part.start + i as u64
            );
        }
    }

    /// Nothing was missed: everything stands still, and the plane was read to its end.
    fn compare_all(&mut self, r: &mut Rig, whole: bool) {
        for part in WRITTEN {
            self.compare(r, part);
        }
        if whole {
            self.compare(r, 0..WINDOW);
        }
        assert_eq!(count(r, self.slot), 0);
        self.asked = Pages::NONE;
        // What the engine still has to do may come later.
        self.note(WRITE_BACK, 4);
        self.note(DATA, DATA_BYTES);
        self.note(END, WINDOW - END);
    }
}

/// Two VFs are tracked while they and a third work in turn, and everyone's CPU writes; every now
/// and then all stop, the rest is read, and the copies must be equal.
fn play(chip: u32) {
    let mut r = tracking(chip);
    let mut rng = Rng(0x1234_5678_9ABC_DEF0 + u64::from(chip));
    for slot in 1..=3 {
        r.start(slot);
        r.ring(slot);
        r.stop(slot);
    }
    let mut vfs = [1, 2].map(Tracked::new);
    for v in &vfs {
        track(&mut r, v.slot);
    }
    for round in 1..=ROUNDS {
        let on = 1 + rng.below(3) as usize;
        r.resume(on);
        for v in &mut vfs {
            if rng.below(2) == 0 {
                v.submit(&mut r, &mut rng);
            }
            for _ in 0..rng.below(6) {
                v.write(&mut r, &mut rng);
            }
        }
        // Others' work is nobody else's business.
        r.cpu_write(3, DATA + rng.below(100_000), &[1; 9]);
        r.pass(rng.below(60_000));
        for v in &mut vfs {
            v.read(&mut r, &mut rng, false);
        }
        r.stop(on);
        if round % SYNC == 0 || round == ROUNDS {
            let whole = round % WHOLE == 0 || round == ROUNDS;
            for v in &mut vfs {
                v.read(&mut r, &mut rng, true);
                v.compare_all(&mut r, whole);
            }
        }
    }
    // It was no rest.
    let copied = vfs.iter().map(|v| v.copied).sum::<u64>();
    assert!(copied > 5 * u64::from(ROUNDS), "{copied}");
    for v in &vfs {
        let packets = r.fstat(v.slot, func::PACKETS);
        assert!(packets > u64::from(ROUNDS) / 2, "{packets}");
    }
    assert_eq!(r.violations(), 0);
    assert_eq!(count(&mut r, 3), 0);
}

#[test]
fn no_write_is_ever_missed() {
    let chips = 0..CHIPS.len() as u32;
    let threads = chips.map(|chip| thread::spawn(move || play(chip)));
    for t in threads.collect::<Vec<_>>() {
        t.join().expect("a round that went wrong");
    }
}
