// SPDX-License-Identifier: GPL-2.0
//! The dirty plane misses no write, shows nobody else's, and the referee's truth beside it.

mod rig;

use gpu_regs::chip::{CHIPS, MM_DATA, MM_INDEX};
use gpu_regs::dirty::{self, CLEAR, ENABLE};
use gpu_regs::referee::{self, func};
use gpu_regs::sdma::Packet;
use gpu_regs::vsec::cmd;
use rig::dirty::{count, select, track, tracking, word, WORDS};
use rig::*;

const PAGE: u64 = dirty::PAGE;
const NONE: [u64; 0] = [];

fn both() -> impl Iterator<Item = Rig> {
    (0..CHIPS.len() as u32).map(tracking)
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
