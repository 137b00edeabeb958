// SPDX-License-Identifier: GPL-2.0
//! The dirty plane misses no write, shows nobody else's, and the referee's truth beside it.

mod rig;

use std::collections::BTreeSet;

use gpu_model::Config;
use gpu_regs::chip::{CHIPS, MM_DATA, MM_INDEX};
use gpu_regs::dirty::{self, CLEAR, ENABLE};
use gpu_regs::referee::{self, func};
use gpu_regs::sdma::Packet;
use gpu_regs::vsec::cmd;
use rig::*;

const PAGE: u64 = dirty::PAGE;
const NONE: [u64; 0] = [];
/// Words of the plane of a window of 16 MB.
const WORDS: u32 = (16 * MB / PAGE / 32) as u32;

fn tracking(chip: u32) -> Rig {
    rig_with(Config {
        chip,
        tick_ns: 1,
        dirty_tracking: true,
        ..Config::default()
    })
}

fn both() -> impl Iterator<Item = Rig> {
    (0..CHIPS.len() as u32).map(tracking)
}

/// Selects VF `slot - 1`.
fn select(r: &mut Rig, slot: usize) {
    r.set(0, r.regs().dirty.fcn, slot as u32 - 1);
}

fn track(r: &mut Rig, slot: usize) {
    select(r, slot);
    r.set(0, r.regs().dirty.cntl, ENABLE | CLEAR);
}

fn count(r: &mut Rig, slot: usize) -> u32 {
    select(r, slot);
    r.get(0, r.regs().dirty.count)
}

/// The next word of the plane.
fn word(r: &mut Rig) -> u32 {
    r.get(0, r.regs().dirty.data)
}

/// All pages of the plane of `slot`, in order; it is clear afterwards.
fn pages(r: &mut Rig, slot: usize) -> Vec<u64> {
    select(r, slot);
    (0..WORDS)
        .flat_map(|w| {
            let bits = word(r);
            (0..32)
                .filter(move |b| bits & (1 << b) != 0)
                .map(move |b| u64::from(w) * 32 + b)
        })
        .collect()
}

#[test]
fn there_is_nothing_without_the_property() {
    for mut r in rigs() {
        for i in 0..16 {
            let reg = r.regs().dirty.cap + i;
            r.set(0, reg, 3);
            if reg <= r.regs().dirty.magic {
                assert_eq!(r.get(0, reg), 0, "{reg:#x}");
            }
        }
        r.cpu_write(1, 0, &[1]);
        assert_eq!(count(&mut r, 1), 0);
        assert_eq!((r.stat(referee::FUNCTIONS) >> 32) & 0xA, 0);
    }
}

#[test]
fn it_says_what_it_is_and_only_to_the_pf() {
    for mut r in both() {
        let d = r.regs().dirty;
        assert_eq!(r.get(0, d.magic), dirty::MAGIC);
        assert_eq!(r.get(0, d.cap), 1 | (12 << 8) | (8 << 16));
        r.set(0, d.cap, 5);
        r.set(0, d.fcn, 0xF3);
        assert_eq!(r.get(0, d.fcn), 3);
        track(&mut r, 1);
        r.cpu_write(1, 0, &[1]);
        // A VF's registers of these numbers mean nothing, and are its own.
        r.start(1);
        for reg in [d.cap, d.magic, d.count, d.data] {
            assert_eq!(r.get(1, reg), 0);
        }
        r.set(1, d.cntl, CLEAR);
        assert_eq!(r.get(1, d.cntl), CLEAR);
        assert_eq!(count(&mut r, 1), 1);
    }
}

#[test]
fn words_are_read_once_and_the_summary_knows() {
    for mut r in both() {
        let d = r.regs().dirty;
        track(&mut r, 2);
        assert_eq!(r.get(0, d.cntl), ENABLE);
        for page in [0, 31, 32, 1024, 4095] {
            r.cpu_write(2, page * PAGE + 4095, &[1]);
        }
        r.cpu_write(2, 100 * PAGE - 1, &[1, 1]);
        assert_eq!(r.get(0, d.count), 7);
        let summary: Vec<u32> = (0..5).map(|_| r.get(0, d.summary)).collect();
        assert_eq!(summary, [0xB, 1, 0, 1 << 31, 0]);
        assert_eq!(r.get(0, d.summary_index), 5);
        assert_eq!((word(&mut r), word(&mut r)), (1 | (1 << 31), 1));
        assert_eq!((r.get(0, d.index), r.get(0, d.count)), (2, 4));
        r.set(0, d.summary_index, 0);
        assert_eq!(r.get(0, d.summary), 8);
        // Again from the start: those are clear, the others are there.
        assert_eq!(pages(&mut r, 2), [99, 100, 1024, 4095]);
        assert_eq!(pages(&mut r, 2), NONE);
        // Behind the end, and far behind it.
        r.cpu_write(2, 16 * MB - 1, &[1]);
        r.set(0, d.index, WORDS);
        assert_eq!(word(&mut r), 0);
        r.set(0, d.index, u32::MAX);
        assert_eq!((word(&mut r), r.get(0, d.index)), (0, u32::MAX));
        r.set(0, d.summary_index, u32::MAX);
        assert_eq!(r.get(0, d.summary), 0);
        r.set(0, d.data, u32::MAX);
        assert_eq!(r.get(0, d.count), 1);
        r.set(0, d.cntl, ENABLE | CLEAR);
        assert_eq!((r.get(0, d.count), r.get(0, d.cntl)), (0, ENABLE));
    }
}

#[test]
fn only_while_it_is_on() {
    for mut r in both() {
        let d = r.regs().dirty;
        r.cpu_write(1, 0, &[1]);
        assert_eq!(count(&mut r, 1), 0);
        track(&mut r, 1);
        r.cpu_write(1, PAGE, &[1]);
        r.cpu_write(2, 2 * PAGE, &[1]);
        r.set(0, d.cntl, 0);
        r.cpu_write(1, 3 * PAGE, &[1]);
        r.set(0, d.cntl, ENABLE);
        assert_eq!(pages(&mut r, 1), [1], "kept when switched off");
        assert_eq!(pages(&mut r, 2), NONE);
        // A VF that there is not.
        r.set(0, d.fcn, 7);
        r.set(0, d.cntl, ENABLE);
        let regs = [d.cntl, d.count, d.data, d.summary];
        assert_eq!(regs.map(|reg| r.get(0, reg)), [0; 4]);
    }
}

#[test]
fn what_ends_it_and_what_does_not() {
    for mut r in both() {
        let d = r.regs().dirty;
        let on = |r: &mut Rig| {
            track(r, 1);
            r.cpu_write(1, 5 * PAGE, &[1]);
        };
        let state = |r: &mut Rig| {
            select(r, 1);
            (r.get(0, d.cntl), r.get(0, d.count))
        };
        on(&mut r);
        r.start(1);
        r.stop(1);
        r.resume(1);
        r.gpu.flr(&mut r.host, 1);
        assert_eq!(state(&mut r), (ENABLE, 1), "INIT, switches, FLR");
        r.cfg(r.vsec().vf_fb, r.vsec().window(32, 16));
        assert_eq!(state(&mut r), (ENABLE, 1), "the same window");
        r.cfg(r.vsec().vf_fb, r.vsec().window(112, 16));
        assert_eq!(state(&mut r), (0, 0), "another window");
        r.setup();
        on(&mut r);
        r.gpu.set_enabled(&mut r.host, 0);
        r.gpu.set_enabled(&mut r.host, 4);
        assert_eq!(state(&mut r), (0, 0), "SR-IOV off");
        on(&mut r);
        r.gpu.flr(&mut r.host, 0);
        r.setup();
        assert_eq!(state(&mut r), (0, 0), "reset of the PF");
    }
}

#[test]
fn every_way_to_write_counts_but_the_pfs() {
    for mut r in both() {
        track(&mut r, 1);
        r.start(1);
        r.ring(1);
        assert_eq!(pages(&mut r, 1), NONE, "registers are no framebuffer");
        let at = |page: u64| page * PAGE;
        // The ring is read from and the position written back.
        let wb = WRITE_BACK / PAGE;
        let words = [7u32; 8];
        let packets: [(Packet<&[u32]>, &[u64]); 5] = [
            (
                Packet::ConstFill {
                    dst: at(300) - 4,
                    value: 1,
                    bytes: PAGE as u32 + 8,
                },
                &[299, 300, 301],
            ),
            (
                Packet::CopyLinear {
                    src: at(299),
                    dst: at(400),
                    bytes: 1,
                },
                &[400],
            ),
            (
                Packet::WriteLinear {
                    dst: at(501) - 16,
                    data: &words,
                },
                &[500, 501],
            ),
            (
                Packet::Fence {
                    addr: at(600),
                    value: 1,
                },
                &[600],
            ),
            (
                // Nothing of it is inside.
                Packet::ConstFill {
                    dst: 16 * MB,
                    value: 1,
                    bytes: 8192,
                },
                &[],
            ),
        ];
        for (p, dirty) in packets {
            r.submit(1, &[p]);
            r.pass(100_000);
            let mut expected = vec![wb];
            expected.extend(dirty);
            assert_eq!(pages(&mut r, 1), expected);
        }
        r.set(1, MM_INDEX, (1 << 31) | at(700) as u32);
        r.set(1, MM_DATA, 1);
        assert_eq!(pages(&mut r, 1), [700]);
        assert_eq!(r.get(1, MM_DATA), 1);
        assert_eq!(pages(&mut r, 1), NONE, "reading is no writing");
        r.cpu_write(1, at(800), &[1]);
        assert_eq!(pages(&mut r, 1), [800]);
        r.stop(1);
        assert_eq!(pages(&mut r, 1), NONE, "the context is elsewhere");
        // The PF, with all it has.
        let inside = base(1) + at(900);
        r.start(0);
        r.ring(0);
        r.submit(
            0,
            &[Packet::ConstFill {
                dst: inside,
                value: 0x5555_5555,
                bytes: 8192,
            }],
        );
        r.pass(100_000);
        r.set(0, MM_INDEX, (1 << 31) | inside as u32);
        r.set(0, MM_DATA, 0x6666_6666);
        r.stop(0);
        assert_eq!(r.fb32(1, at(900)), 0x6666_6666);
        assert_eq!(r.fb32(1, at(901)), 0x5555_5555);
        assert_eq!(pages(&mut r, 1), NONE);
        assert_eq!(r.fstat(1, func::TRUTH_PAGES), 10);
    }
}

/// Xorshift.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A VF whose framebuffer is copied after its plane while it works.
struct Tracked {
    slot: usize,
    copy: Vec<u8>,
    /// Pages that something was asked to write since the copy was the same.
    asked: BTreeSet<u64>,
}

/// Parts of the window that are written and compared: low memory with ring and data, and the end.
const PARTS: [(u64, u64); 2] = [(0, 2 * MB), (16 * MB - 128 * 1024, 128 * 1024)];

impl Tracked {
    /// Copies the pages of a word, while time goes on and the CPU writes.
    fn copy_pages(&mut self, r: &mut Rig, rng: &mut Rng, w: u64, bits: u32, race: bool) {
        for b in (0..32).filter(|b| bits & (1 << b) != 0) {
            let page = w * 32 + b;
            assert!(
                self.asked.contains(&page),
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
        }
    }

    fn note(&mut self, at: u64, len: u64) {
        self.asked.extend(at / PAGE..=(at + len - 1) / PAGE);
    }

    fn place(&mut self, rng: &mut Rng, len: u64) -> u64 {
        let (start, size) = match rng.below(4) {
            0 => PARTS[1],
            _ => (DATA, 256 * 1024),
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

    fn compare(&mut self, r: &mut Rig) {
        for (at, len) in PARTS {
            let found = r.fb(self.slot, at, len as usize);
            let copy = &self.copy[at as usize..][..len as usize];
            if let Some(i) = (0..copy.len()).find(|&i| found[i] != copy[i]) {
                panic!("VF{} byte {:#x} was missed", self.slot, at + i as u64);
            }
        }
        self.asked.clear();
    }
}

/// Two VFs are tracked while they and a third work in turn, and everyone's CPU writes; every now
/// and then all stop, the rest is read, and the copies must be equal.
#[test]
fn no_write_is_ever_missed() {
    for chip in 0..CHIPS.len() as u32 {
        let mut r = tracking(chip);
        let mut rng = Rng(0x1234_5678_9ABC_DEF0 + u64::from(chip));
        for slot in 1..=3 {
            r.start(slot);
            r.ring(slot);
            r.stop(slot);
        }
        let mut vfs: Vec<_> = (1..=2)
            .map(|slot| Tracked {
                slot,
                copy: vec![0; (16 * MB) as usize],
                asked: BTreeSet::new(),
            })
            .collect();
        for v in &vfs {
            track(&mut r, v.slot);
        }
        let (mut synced, mut found) = (0, 0);
        for round in 0..1200 {
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
            found += vfs.iter().map(|v| v.asked.len()).sum::<usize>();
            r.stop(on);
            if round % 3 == 0 {
                for v in &mut vfs {
                    v.read(&mut r, &mut rng, true);
                    v.compare(&mut r);
                    assert_eq!(count(&mut r, v.slot), 0);
                    // What the engine still has to do may come later.
                    v.note(WRITE_BACK, 4);
                    v.note(DATA, 256 * 1024);
                    v.note(PARTS[1].0, PARTS[1].1);
                    synced += 1;
                }
            }
        }
        assert!(synced >= 800 && found > 10_000, "{synced} {found}");
        assert_eq!(r.violations(), 0);
        assert_eq!(count(&mut r, 3), 0);
        assert!(r.fstat(1, func::PACKETS) > 500);
    }
}

#[test]
fn the_truth_is_the_referees_alone() {
    for mut r in both() {
        let set = |r: &mut Rig, off, v| r.gpu.referee_write(&mut r.host, off, v);
        assert_eq!(r.stat(referee::FUNCTIONS) >> 32, 0b1011);
        // Without tracking, and whatever the driver clears.
        r.cpu_write(2, 70 * PAGE, &[1]);
        track(&mut r, 2);
        r.cpu_write(2, 3 * PAGE, &[1]);
        assert_eq!(pages(&mut r, 2), [3]);
        set(&mut r, referee::TRUTH_FN, 2);
        assert_eq!(r.stat(referee::TRUTH_PAGES), 2);
        assert_eq!(r.stat(referee::TRUTH_PEEK), 8);
        assert_eq!(r.stat(referee::TRUTH_PEEK), 1 << 6);
        set(&mut r, referee::TRUTH_INDEX, 0);
        assert_eq!(r.stat(referee::TRUTH_DATA), 8);
        // By halves: the low one takes both.
        let half = |r: &mut Rig, off| r.gpu.referee_read(&mut r.host, off, 4);
        r.cpu_write(2, 100 * PAGE, &[1]);
        assert_eq!(half(&mut r, referee::TRUTH_DATA), 1 << 6);
        assert_eq!(half(&mut r, referee::TRUTH_DATA + 4), 1 << 4);
        assert_eq!(half(&mut r, referee::TRUTH_INDEX), 2);
        assert_eq!(r.stat(referee::TRUTH_PAGES), 0);
        r.cpu_write(2, 0, &[1]);
        assert_eq!(r.fstat(2, func::TRUTH_PAGES), 1);
        set(&mut r, referee::RESET_STATS, 1);
        assert_eq!(r.fstat(2, func::TRUTH_PAGES), 1, "no counter");
        set(&mut r, referee::TRUTH_CLEAR, 1);
        assert_eq!(r.fstat(2, func::TRUTH_PAGES), 0);
        for slot in [0, 9, u32::MAX] {
            set(&mut r, referee::TRUTH_FN, slot);
            set(&mut r, referee::TRUTH_INDEX, u32::MAX);
            assert_eq!(r.stat(referee::TRUTH_DATA), 0);
            assert_eq!(r.stat(referee::TRUTH_PAGES), 0);
        }
    }
}

#[test]
fn the_first_run_after_a_reset_is_remembered() {
    for mut r in both() {
        assert_eq!(r.fstat(1, func::FIRST_RUN_START), 0);
        r.start(1);
        let first = r.host.now;
        let seen = r.fstat(1, func::FIRST_RUN_START);
        assert!(seen > 1000 && seen <= first);
        r.pass(1_000_000);
        r.stop(1);
        r.resume(1);
        assert_eq!(r.fstat(1, func::FIRST_RUN_START), seen);
        r.gpu.referee_write(&mut r.host, referee::RESET_STATS, 1);
        assert_eq!(r.fstat(1, func::FIRST_RUN_START), seen);
        r.gpu.flr(&mut r.host, 1);
        assert_eq!(r.fstat(1, func::FIRST_RUN_START), 0);
        r.cmds(&[cmd::INIT, cmd::RUN], 1);
        assert!(r.fstat(1, func::FIRST_RUN_START) > first);
        assert_eq!(r.stat(referee::SHARED_OFFSET_NS), 0);
    }
}
