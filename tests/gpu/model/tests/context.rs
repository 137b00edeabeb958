// SPDX-License-Identifier: GPL-2.0
//! A function's state really travels through the context save area, and its work stops and goes
//! on at any byte.

mod rig;

use gpu_regs::referee::{func, violation};
use gpu_regs::sdma::Packet;
use gpu_regs::vsec::{self, cmd, status};
use rig::*;

const SLOT: usize = 256 << 10;

fn slot_of(r: &mut Rig, slot: usize) -> &mut [u8] {
    let at = CONTEXT as usize + slot * SLOT;
    &mut r.host.vram[at..at + SLOT]
}

#[test]
fn registers_live_in_the_image_while_away() {
    let mut r = rig();
    r.start(1);
    r.set(1, r.regs().scratch0, 0x1111);
    r.stop(1);
    r.start(2);
    assert_eq!(r.get(2, r.regs().scratch0), 0, "a fresh context");
    r.set(2, r.regs().scratch0, 0x2222);
    r.stop(2);
    r.resume(1);
    assert_eq!(r.get(1, r.regs().scratch0), 0x1111);
    r.stop(1);
    // A wrong slot is seen: VF1 with VF0's image is VF0.
    let image = slot_of(&mut r, 1).to_vec();
    slot_of(&mut r, 2).copy_from_slice(&image);
    r.resume(2);
    assert_eq!(r.get(2, r.regs().scratch0), 0x1111);
    assert_eq!(r.violations(), 0);
}

#[test]
fn a_damaged_or_missing_image_is_refused() {
    let mut r = rig();
    assert_eq!(r.cmd(cmd::LOAD, 1), status::GFX_HANG, "never saved");
    assert_eq!(r.last_violation(), violation::BAD_IMAGE);
    r.start(1);
    r.stop(1);
    slot_of(&mut r, 1)[60] ^= 1;
    assert_eq!(r.cmd(cmd::LOAD, 1), status::GFX_HANG);
    assert_eq!(r.violations(), 2);
    // The others are not concerned.
    r.start(2);
    assert_eq!(r.violations(), 2);
}

#[test]
fn the_area_may_be_larger_and_elsewhere() {
    let mut r = rig();
    r.cfg(r.vsec().context, vsec::context(4 * MB, 2));
    r.start(2);
    r.stop(2);
    assert_eq!(
        &r.host.vram[(5 * MB) as usize + SLOT..][..6],
        b"\0\0\0\0\0\0"
    );
    assert_eq!(
        &r.host.vram[(4 * MB) as usize + 2 * 2 * SLOT..][..6],
        b"GIMCTX"
    );
    r.resume(2);
}

/// A copy, a fill and a write stopped at many moments, with another function in between that
/// leaves its traces, write every byte once and take their time to the nanosecond.
#[test]
fn work_stops_anywhere_and_goes_on_exactly() {
    let n: u32 = 40_000;
    let words: Vec<u32> = (0..500).map(|i: u32| i.wrapping_mul(0x0101_0101)).collect();
    let jobs = [
        Packet::CopyLinear {
            src: DATA,
            dst: DATA + 0x10_0000,
            bytes: n,
        },
        Packet::ConstFill {
            dst: DATA + 0x20_0001,
            value: 0xA1B2_C3D4,
            bytes: n - 3,
        },
        Packet::WriteLinear {
            dst: DATA + 0x30_0000,
            data: &words[..],
        },
        Packet::Fence {
            addr: DATA - 8,
            value: 77,
        },
    ];
    for slice in [700, 1_313, 9_999, 33_333, 70_001] {
        let mut r = rig();
        for (i, b) in r.fb(1, DATA, n as usize).iter_mut().enumerate() {
            *b = (i * 7 + i / 251) as u8;
        }
        r.start(2);
        r.ring(2);
        r.stop(2);
        r.start(1);
        r.ring(1);
        r.submit(1, &jobs);
        let mut slices = 0;
        while r.fb32(1, DATA - 8) != 77 {
            r.pass(slice);
            r.issue(cmd::IDLE, 1, 0);
            r.pass(1_000_000);
            r.cmds(&[cmd::SAVE], 1);
            let fill = Packet::ConstFill {
                dst: DATA,
                value: slices,
                bytes: 4096,
            };
            r.submit(2, &[fill]);
            r.resume(2);
            r.pass(20_000);
            r.stop(2);
            r.resume(1);
            slices += 1;
            assert!(slices < 1000, "no progress");
        }
        let src = r.fb(1, DATA, n as usize).to_vec();
        assert_eq!(r.fb(1, DATA + 0x10_0000, n as usize), &src[..]);
        let filled = r.fb(1, DATA + 0x20_0000, n as usize + 1).to_vec();
        assert_eq!((filled[0], filled[n as usize - 2]), (0, 0));
        assert!(filled[1..n as usize - 2]
            .iter()
            .enumerate()
            .all(|(i, &b)| b == 0xA1B2_C3D4u32.to_le_bytes()[i % 4]));
        for (i, &w) in words.iter().enumerate() {
            assert_eq!(r.fb32(1, DATA + 0x30_0000 + 4 * i as u64), w);
        }
        let bytes = u64::from(n + n - 3) + 2000;
        assert_eq!(r.fstat(1, func::BYTES), bytes + 4);
        assert_eq!(r.fstat(1, func::PACKETS), 4);
        // 1 ns a byte and 500 ns a packet, however often it was stopped.
        assert_eq!(r.fstat(1, func::BUSY_NS), bytes + 4 * 500, "slice {slice}");
        assert_eq!(r.violations(), 0);
    }
}

#[test]
fn a_stopped_copy_has_copied_what_its_time_allows_and_no_more() {
    let mut r = rig();
    r.fb(1, DATA, 100_000).fill(0x5A);
    r.start(1);
    r.ring(1);
    r.submit(
        1,
        &[Packet::CopyLinear {
            src: DATA,
            dst: 2 * DATA,
            bytes: 100_000,
        }],
    );
    r.pass(500 + 12_345);
    r.issue(cmd::IDLE, 1, 0);
    let done = r
        .fb(1, 2 * DATA, 100_000)
        .iter()
        .filter(|&&b| b == 0x5A)
        .count();
    assert_eq!(done, 12_345, "it stops at once, not at the end of IDLE");
    r.pass(10_000_000);
    let done = r
        .fb(1, 2 * DATA, 100_000)
        .iter()
        .filter(|&&b| b == 0x5A)
        .count();
    assert_eq!(done, 12_345);
    // The image in the save area holds the rest of the job: the VF may be moved.
    r.cmds(&[cmd::SAVE], 1);
    let image = slot_of(&mut r, 1).to_vec();
    let fb = r.fb(1, 0, 4 << 20).to_vec();
    r.fb(3, 0, 4 << 20).copy_from_slice(&fb);
    slot_of(&mut r, 3).copy_from_slice(&image);
    r.resume(3);
    r.pass(100_000);
    assert!(r.fb(3, 2 * DATA, 100_000).iter().all(|&b| b == 0x5A));
    assert_eq!(r.violations(), 0);
}

#[test]
fn a_ring_write_pointer_set_while_away_counts_when_back() {
    let mut r = rig();
    r.start(1);
    r.ring(1);
    r.stop(1);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 1,
        }],
    );
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 2,
        }],
    );
    r.pass(1_000_000);
    assert_eq!(r.fb32(1, DATA), 0, "the engine of a waiting VF is frozen");
    assert_eq!(r.cfg_get(r.vsec().busy), 1);
    r.resume(1);
    r.pass(10_000);
    assert_eq!(r.fb32(1, DATA), 2);
    assert_eq!(r.fb32(1, WRITE_BACK), 32);
    assert_eq!(r.cfg_get(r.vsec().busy), 0);
    assert_eq!(r.fstat(1, func::WAITS), 1);
}
