// SPDX-License-Identifier: GPL-2.0
//! The DMA log against a set of pages, and against what memory holds: thousands of rounds of random
//! writes of two VFs on each chip, while the log is read.

mod rig;

use std::collections::BTreeSet;

use gpu_regs::chip::CHIPS;
use gpu_regs::dma_log::{GROUP_PAGES, PAGE};
use gpu_regs::referee::func;
use gpu_regs::sdma::Packet;
use rig::dma_log::*;
use rig::rng::Rng;
use rig::*;

/// Rounds on each chip.
const ROUNDS: u32 = 3000;
/// Pages of system memory that each VF has.
const PAGES: u64 = 64;
/// What the fake host really has: page n of it is where the lowest bits of a page's number say.
const FRAMES: u64 = SYSTEM as u64 / PAGE;

/// A VF, and what ought to be known of it.
struct Guest {
    slot: usize,
    /// Its pages, by number in its page table; no two are one frame.
    system: Vec<u64>,
    /// Those that something was asked to write and that were not taken since.
    asked: BTreeSet<u64>,
    /// What its pages held when they were taken.
    copy: Vec<u8>,
    taken: u64,
}

impl Guest {
    fn new(slot: usize, rng: &mut Rng) -> Self {
        // Below 4 GiB, at it, at the end of a page table's reach, and anywhere.
        let places = [0, 1 << 12, 0xF_FFFF, rng.below(1 << 20), rng.below(1 << 20)];
        // Interrupt rings have the frames below.
        let first = 64 * slot as u64;
        let mut system: Vec<u64> = (first..first + PAGES)
            .map(|n| places[rng.below(5) as usize] * FRAMES + n)
            .collect();
        for n in 0..system.len() {
            system.swap(n, rng.below(PAGES) as usize);
        }
        Self {
            slot,
            system,
            asked: BTreeSet::new(),
            copy: vec![0; SYSTEM],
            taken: 0,
        }
    }

    /// Packets that write, and what they will write.
    fn submit(&mut self, r: &mut Rig, rng: &mut Rng) {
        for _ in 0..1 + rng.below(3) {
            let (value, kind) = (rng.next() as u32, rng.below(5));
            let words = [value; 12];
            let bytes = match kind {
                0 | 1 => 4 * (1 + rng.below(3000)),
                2 => 4 * words.len() as u64,
                _ => 4,
            };
            let at = 4 * rng.below((PAGES * PAGE - bytes) / 4 + 1);
            let (dst, len) = (GART + at, bytes as u32);
            let p = match kind {
                0 => Packet::ConstFill {
                    dst,
                    value,
                    bytes: len,
                },
                1 => Packet::CopyLinear {
                    src: DATA + rng.below(1 << 16),
                    dst,
                    bytes: len,
                },
                2 => Packet::WriteLinear {
                    dst,
                    data: &words[..],
                },
                3 => Packet::Fence { addr: dst, value },
                _ => Packet::Trap { context: value },
            };
            r.submit(self.slot, &[p]);
            if kind < 4 {
                let pages = at / PAGE..=(at + bytes - 1) / PAGE;
                self.asked.extend(pages.map(|n| self.system[n as usize]));
            } else {
                // Ring and write-back.
                let ring = 0x10 * self.slot as u64;
                self.asked.extend([ring, ring + 1]);
            }
        }
    }

    /// Takes up to `n` groups from a page on, and copies their pages.
    fn take(&mut self, r: &mut Rig, page: u64, n: u64) -> Vec<u64> {
        select(r, self.slot);
        seek(r, page);
        let mut all = Vec::new();
        for _ in 0..n {
            let Some(pages) = take(r) else { break };
            all.extend(pages);
        }
        for page in &all {
            assert!(self.asked.contains(page), "{page:#x} was not written");
            let frame = (page % FRAMES * PAGE) as usize..;
            self.copy[frame.clone()][..PAGE as usize]
                .copy_from_slice(&r.host.system[frame][..PAGE as usize]);
        }
        self.taken += all.len() as u64;
        all
    }

    /// All stands still: the log is what was asked for, from any page on.
    fn take_exactly(&mut self, r: &mut Rig, rng: &mut Rng) {
        assert_eq!(count(r, self.slot), self.asked.len() as u32);
        let from = match rng.below(3) {
            0 => 0,
            _ => self.system[rng.below(PAGES) as usize],
        };
        let first = from & !(GROUP_PAGES - 1);
        let mut wanted = self.asked.split_off(&first);
        let groups: BTreeSet<u64> = wanted.iter().map(|p| p / GROUP_PAGES).collect();
        let n = rng.below(groups.len() as u64 + 2);
        if let Some(end) = groups.iter().nth(n as usize) {
            self.asked.extend(wanted.split_off(&(end * GROUP_PAGES)));
        }
        // For what is taken to be found among them.
        let rest = self.asked.clone();
        self.asked.extend(&wanted);
        let taken = self.take(r, from, n);
        assert_eq!(taken, wanted.into_iter().collect::<Vec<_>>());
        self.asked = rest;
        assert_eq!(count(r, self.slot), self.asked.len() as u32);
    }

    /// All stands still, and the rest is taken: nothing was missed.
    fn take_rest(&mut self, r: &mut Rig) {
        self.take(r, 0, u64::MAX);
        self.asked.clear();
        assert_eq!(count(r, self.slot), 0);
        for page in &self.system {
            let frame = (page % FRAMES * PAGE) as usize..;
            let (now, copy) = (&r.host.system[frame.clone()], &self.copy[frame]);
            assert!(
                now[..PAGE as usize] == copy[..PAGE as usize],
                "{page:#x} was missed"
            );
        }
    }
}

/// The VFs work in turn.  `race`: the log is read while they do.
fn play(chip: u32, race: bool) {
    let mut r = logging(chip);
    let mut rng = Rng(0x1234_5678_9ABC_DEF0 + u64::from(chip));
    let mut guests = [1, 2].map(|slot| Guest::new(slot, &mut rng));
    for g in &guests {
        let data: Vec<u8> = (0..1 << 17).map(|_| rng.next() as u8).collect();
        r.fb(g.slot, DATA, data.len()).copy_from_slice(&data);
        guest(&mut r, g.slot, &g.system);
        r.ih(g.slot);
        r.stop(g.slot);
        log(&mut r, g.slot);
    }
    for round in 0..ROUNDS {
        // A VF that is away may be read from, and has not written.
        let on = rng.below(2) as usize;
        r.resume(guests[on].slot);
        for _ in 0..1 + rng.below(3) {
            guests[on].submit(&mut r, &mut rng);
            for g in guests.iter_mut().filter(|_| race) {
                r.pass(rng.below(20_000));
                let from = g.system[rng.below(PAGES) as usize];
                g.take(&mut r, from, rng.below(4));
            }
            r.pass(60_000);
        }
        r.stop(guests[on].slot);
        for g in &mut guests {
            if !race {
                g.take_exactly(&mut r, &mut rng);
            } else if round % 8 == 0 {
                g.take_rest(&mut r);
            }
        }
    }
    for g in &mut guests {
        g.take_rest(&mut r);
        assert!(g.taken > u64::from(ROUNDS), "{}", g.taken);
        assert_eq!(r.fstat(g.slot, func::DMA_FAULTS), 0);
        assert_eq!(r.fstat(g.slot, func::WINDOW_FAULTS), 0);
    }
    assert_eq!((count(&mut r, 3), r.violations()), (0, 0));
}

#[test]
fn it_is_exact() {
    (0..CHIPS.len() as u32).for_each(|chip| play(chip, false));
}

#[test]
fn no_write_is_missed_while_it_is_read() {
    (0..CHIPS.len() as u32).for_each(|chip| play(chip, true));
}
