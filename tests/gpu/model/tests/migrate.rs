// SPDX-License-Identifier: GPL-2.0
//! A function moves to another GPU by its context image, its framebuffer and its guest's memory:
//! nothing is lost on the way, and nothing in the image says where it was.

mod rig;

use gpu_model::Config;
use gpu_regs::chip::{CHIPS, DOORBELL_IH, MM_DATA, MM_INDEX};
use gpu_regs::ih::{SRC_MSG_FROM_PF, SRC_MSG_FROM_VF, SRC_SDMA_TRAP};
use gpu_regs::mailbox::{ACK_INT_EN, RCV_ACK, RCV_VALID, TRN_ACK, TRN_VALID, VALID_INT_EN};
use gpu_regs::referee::func;
use gpu_regs::sdma::Packet;
use gpu_regs::vm::{Space, Table};
use gpu_regs::vsec::cmd;
use gpu_regs::{gart, ih};
use rig::*;

const SLOT: usize = 256 << 10;
/// Where the page table of a moving guest lies in its framebuffer, and which address it maps.
const TABLE: u64 = 0x3_0000;
const SYSTEM_AT: u64 = 64 * MB;
/// Memory of the moving guest: interrupt ring and data.
const GUEST: usize = 0x1_0000;
const GUEST_BYTES: usize = 0x8_0000;

/// Two GPUs of one kind with different numbers of VFs.
fn pairs() -> impl Iterator<Item = (Rig, Rig)> {
    (0..CHIPS.len() as u32).map(|chip| {
        let cfg = Config {
            chip,
            tick_ns: 1,
            ..Config::default()
        };
        let mut there = rig_sized(cfg.clone(), 2);
        // Virtual times need not agree.
        there.pass(777_777_777);
        (rig_sized(cfg, 8), there)
    })
}

fn image(r: &mut Rig, slot: usize) -> &mut [u8] {
    let at = CONTEXT as usize + slot * SLOT;
    &mut r.host.vram[at..at + SLOT]
}

/// Takes the framebuffer of the stopped `from`, its image and its guest's memory to the `to` of
/// another GPU, which was reset.
fn carry(a: &mut Rig, from: usize, b: &mut Rig, to: usize) {
    b.gpu.flr(&mut b.host, to);
    let all = b.vsec().reset_notification;
    match all {
        Some(off) => b.cfg(off, u32::MAX),
        None => b.set(0, b.regs().reset_notification, u32::MAX),
    }
    let fb = a.fb(from, 0, (16 * MB) as usize).to_vec();
    b.fb(to, 0, fb.len()).copy_from_slice(&fb);
    let context = image(a, from).to_vec();
    image(b, to).copy_from_slice(&context);
    b.host.system[GUEST..][..GUEST_BYTES].copy_from_slice(&a.host.system[GUEST..][..GUEST_BYTES]);
}

/// Sets up a guest on `slot`, which runs: ring, interrupts (each to be rearmed, or not) and a page
/// table that maps half a MB of its memory.
fn guest(r: &mut Rig, slot: usize, rearm: bool) {
    assert_eq!(slot, 1, "its memory is where the rig puts this slot's ring");
    r.start(slot);
    r.ring(slot);
    r.ih(slot);
    let regs = r.regs();
    let old = r.get(slot, regs.ih.cntl);
    let bit = if rearm { 0 } else { ih::RPTR_REARM };
    r.set(slot, regs.ih.cntl, old & !bit);
    r.set(slot, regs.mailbox_int_cntl, VALID_INT_EN | ACK_INT_EN);
    let pages = GUEST_BYTES as u64 / gart::PAGE;
    for p in 0..pages {
        let pte = gart::system_page(GUEST as u64 + p * gart::PAGE).to_le_bytes();
        r.fb(slot, TABLE + 8 * p, 8).copy_from_slice(&pte);
    }
    let space = Space {
        fb_base: 0,
        fb_last: 16 * MB - 1,
        table: Some(Table {
            base: TABLE,
            first_page: SYSTEM_AT >> 12,
            last_page: (SYSTEM_AT >> 12) + pages - 1,
        }),
    };
    let vm = &regs.vm;
    vm.write(&space, |reg, v| r.set(slot, reg, v));
}

/// Where the guest's data lie for the engine, behind its interrupt ring.
const OWN: u64 = SYSTEM_AT + 0x1_0000;

/// A chain in which each step needs the one before, over both memories, with one fence and trap.
fn chain(n: u32) -> Vec<Packet<&'static [u32]>> {
    let copy = |src, dst, bytes| Packet::CopyLinear { src, dst, bytes };
    vec![
        copy(DATA, DATA + MB, n),
        copy(DATA + MB, OWN, n),
        copy(OWN, DATA + 2 * MB, n),
        Packet::ConstFill {
            dst: DATA + MB + 1,
            value: 0x1357_9BDF,
            bytes: n - 1,
        },
        Packet::Fence {
            addr: SYSTEM_AT + 0x2000,
            value: 99,
        },
        Packet::Trap { context: 5 },
    ]
}

fn seed(r: &mut Rig, slot: usize, n: u32) -> Vec<u8> {
    let data: Vec<u8> = (0..n).map(|i| (i * 7 + i / 251) as u8).collect();
    r.fb(slot, DATA, data.len()).copy_from_slice(&data);
    data
}

/// The whole chain is done on `slot`.
fn check(r: &mut Rig, slot: usize, data: &[u8]) {
    let n = data.len();
    assert_eq!(r.sys32(GUEST as u64 + 0x2000), 99);
    assert_eq!(r.fb(slot, DATA + 2 * MB, n), data);
    assert_eq!(&r.host.system[GUEST + 0x1_0000..][..n], data);
    let fill = 0x1357_9BDF_u32.to_le_bytes();
    let filled = r.fb(slot, DATA + MB, n).to_vec();
    assert_eq!(filled[0], data[0]);
    assert!(filled[1..]
        .iter()
        .enumerate()
        .all(|(i, &b)| b == fill[i % 4]));
}

#[test]
fn work_goes_on_elsewhere_from_any_byte() {
    let n = 60_000;
    for at in [
        0, 1, 499, 501, 12_345, 61_000, 111_111, 190_001, 241_000, 243_000,
    ] {
        for (mut a, mut b) in pairs() {
            guest(&mut a, 1, false);
            let data = seed(&mut a, 1, n);
            a.submit(1, &chain(n));
            a.pass(at);
            a.stop(1);
            let (busy, bytes) = (a.fstat(1, func::BUSY_NS), a.fstat(1, func::BYTES));
            carry(&mut a, 1, &mut b, 2);
            b.resume(2);
            b.pass(1_000_000);
            check(&mut b, 2, &data);
            assert_eq!(bytes + b.fstat(2, func::BYTES), 4 * u64::from(n) + 3);
            assert_eq!(
                busy + b.fstat(2, func::BUSY_NS),
                4 * u64::from(n) + 3 + 6 * 500 - 4
            );
            assert_eq!(b.entry(1, 0).src, SRC_SDMA_TRAP);
            assert_eq!(b.host.irqs[2], 1);
            assert_eq!(
                b.fstat(2, func::DMA_FAULTS) + b.fstat(2, func::WINDOW_FAULTS),
                0
            );
            assert_eq!(a.violations() + b.violations(), 0);
            assert!(b.fstat(2, func::FIRST_RUN_START) > 777_777_777);
        }
    }
}

#[test]
fn the_image_names_no_function_and_no_place() {
    // The same guest on two VFs of two GPUs, at the same point: the same image.
    for (mut a, mut b) in pairs() {
        for (r, slot) in [(&mut a, 1), (&mut b, 2)] {
            r.start(slot);
            r.ring(slot);
            seed(r, slot, 50_000);
            r.submit(
                slot,
                &[Packet::CopyLinear {
                    src: DATA,
                    dst: DATA + MB,
                    bytes: 50_000,
                }],
            );
            r.pass(20_000);
            r.stop(slot);
        }
        assert_eq!(image(&mut a, 1), image(&mut b, 2));
    }
}

/// A guest that has moved by the time it reads its interrupt ring finds everything.
#[test]
fn unread_entries_interrupt_again_where_it_runs_next() {
    for (mut a, mut b) in pairs() {
        for rearm in [false, true] {
            guest(&mut a, 1, rearm);
            let before = a.host.irqs[1];
            a.submit(
                1,
                &[Packet::Trap { context: 1 }, Packet::Trap { context: 2 }],
            );
            a.pass(10_000);
            let raised = if rearm { 1 } else { 2 };
            assert_eq!(a.host.irqs[1] - before, raised);
            a.stop(1);
            carry(&mut a, 1, &mut b, 2);
            let before = b.host.irqs[2];
            b.cmds(&[cmd::LOAD], 2);
            assert_eq!(b.host.irqs[2], before, "not before it runs");
            b.cmds(&[cmd::RUN], 2);
            assert_eq!(b.host.irqs[2] - before, 1);
            // What the guest does: reads both, gives the place back; the next one comes.
            let size = b.gpu.chip().ih.bytes();
            assert_eq!((b.entry(1, 0).data, b.entry(1, 1).data), (1, 2));
            b.gpu.doorbell(&mut b.host, 2, DOORBELL_IH, 2 * size);
            assert_eq!(b.host.irqs[2] - before, 1);
            // The rig's write position for this slot of this GPU is its own.
            b.stop(2);
            b.resume(2);
            assert_eq!(b.host.irqs[2] - before, 1, "and then no more");
            let trap = Packet::Trap { context: 3 };
            b.go_on(2, &a, 1);
            b.submit(2, &[trap]);
            b.pass(10_000);
            assert_eq!((b.host.irqs[2] - before, b.entry(1, 2).data), (2, 3));
            for r in [&mut a, &mut b] {
                r.gpu.flr(&mut r.host, 0);
                r.setup();
            }
        }
    }
}

#[test]
fn who_stays_is_not_interrupted_again() {
    for (mut a, _) in pairs() {
        guest(&mut a, 1, true);
        a.submit(1, &[Packet::Trap { context: 1 }]);
        a.pass(10_000);
        for _ in 0..3 {
            a.stop(1);
            a.resume(1);
        }
        assert_eq!(a.host.irqs[1], 1);
    }
}

#[test]
fn what_happens_while_it_is_away_moves_too() {
    for (mut a, mut b) in pairs() {
        guest(&mut a, 1, false);
        a.submit(1, &[Packet::Trap { context: 1 }]);
        a.pass(10_000);
        a.stop(1);
        // Its CPU goes on: it reads the interrupt, submits more, and sends a message; the host too.
        let size = a.gpu.chip().ih.bytes();
        a.gpu.doorbell(&mut a.host, 1, DOORBELL_IH, size);
        let data = seed(&mut a, 1, 5000);
        a.submit(1, &chain(5000));
        a.gpu.doorbell(&mut a.host, 1, 3, 77);
        let m = a.regs();
        a.set(1, m.mailbox_trn_dw0 + 2, 0x2222);
        a.set(1, m.mailbox_control, TRN_VALID);
        a.set(0, m.mailbox_trn_dw0, 0x1111);
        a.set(0, m.mailbox_control, TRN_VALID);
        assert_eq!(a.entry(1, 1).src, SRC_MSG_FROM_PF);
        carry(&mut a, 1, &mut b, 2);
        b.ih(0);
        b.set(0, m.mailbox_index, 1);
        b.set(0, m.mailbox_int_cntl, VALID_INT_EN);
        b.resume(2);
        b.pass(100_000);
        check(&mut b, 2, &data);
        // The PF's message is unread, so there is one interrupt for that, and one for the trap.
        assert_eq!(b.host.irqs[2], 2);
        assert_eq!((b.entry(1, 2).src, b.entry(1, 2).data), (SRC_SDMA_TRAP, 5));
        assert_eq!(b.get(2, m.mailbox_rcv_dw0), 0x1111);
        assert_eq!(b.get(2, m.mailbox_control), TRN_VALID | RCV_VALID);
        assert_eq!(b.get(2, m.mailbox_int_cntl), VALID_INT_EN | ACK_INT_EN);
        // The VF's message is the new host's to answer, and it was told of it.
        let told = (0..8).any(|i| {
            let e = b.entry(0, i);
            (e.src, e.data) == (SRC_MSG_FROM_VF, 1)
        });
        assert!(told && b.host.irqs[0] > 0);
        assert_eq!(b.get(0, m.mailbox_rcv_dw0 + 2), 0x2222);
        assert_eq!(b.get(0, m.mailbox_control), TRN_VALID | RCV_VALID);
        b.set(0, m.mailbox_control, RCV_ACK);
        assert_eq!(b.get(2, m.mailbox_control) & TRN_ACK, TRN_ACK);
        assert_eq!(a.violations() + b.violations(), 0);
    }
}

#[test]
fn nobody_elses_mailbox_comes_along() {
    for (mut a, mut b) in pairs() {
        guest(&mut a, 1, false);
        a.stop(1);
        // Used since it was saved, and then reset: the image must not bring it back by itself.
        let m = a.regs();
        carry(&mut a, 1, &mut b, 1);
        b.set(0, m.mailbox_trn_dw0, 5);
        b.set(0, m.mailbox_control, TRN_VALID);
        b.resume(1);
        assert_eq!(b.get(1, m.mailbox_control), 0, "that of the image");
        b.stop(1);
        b.set(0, m.mailbox_trn_dw0, 6);
        b.set(0, m.mailbox_control, 0);
        b.set(0, m.mailbox_control, TRN_VALID);
        b.resume(1);
        assert_eq!(b.get(1, m.mailbox_rcv_dw0), 6, "later loads leave it alone");
        assert_eq!(b.get(1, m.mailbox_control), RCV_VALID);
    }
}

#[test]
fn indirect_addresses_move() {
    for (mut a, mut b) in pairs() {
        a.start(1);
        a.fb(1, DATA, 4).copy_from_slice(&77_u32.to_le_bytes());
        a.set(1, MM_INDEX, (1 << 31) | DATA as u32);
        a.stop(1);
        carry(&mut a, 1, &mut b, 2);
        b.resume(2);
        assert_eq!(b.get(2, MM_DATA), 77);
    }
}

/// There and back, again and again, at odd moments, leaves the same bytes as staying.
#[test]
fn any_number_of_moves_leaves_the_same_bytes() {
    let n = 30_000;
    for (mut a, mut b) in pairs() {
        guest(&mut a, 1, false);
        let data = seed(&mut a, 1, n);
        a.submit(1, &chain(n));
        let mut moves = 0;
        loop {
            a.pass(1 + 977 * moves % 7_001);
            a.stop(1);
            carry(&mut a, 1, &mut b, 2);
            b.resume(2);
            b.pass(1 + 1009 * moves % 5_003);
            b.stop(2);
            carry(&mut b, 2, &mut a, 1);
            a.resume(1);
            moves += 1;
            if a.sys32(GUEST as u64 + 0x2000) == 99 {
                break;
            }
            assert!(moves < 1000);
        }
        a.pass(1000);
        check(&mut a, 1, &data);
        assert!(moves > 15, "{moves}");
        assert_eq!(a.violations() + b.violations(), 0);
    }
}
