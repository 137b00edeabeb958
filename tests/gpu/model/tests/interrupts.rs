// SPDX-License-Identifier: GPL-2.0
//! Interrupt rings and mailboxes through the registers, as drivers use them.

mod rig;

use gpu_regs::chip::DOORBELL_IH;
use gpu_regs::ih::{self, Entry};
use gpu_regs::mailbox::{
    event, request, ACK_INT_EN, RCV_ACK, RCV_VALID, TRN_ACK, TRN_VALID, VALID_INT_EN,
};
use gpu_regs::referee::func;
use gpu_regs::sdma::Packet;
use rig::*;

fn pf_listens(r: &mut Rig) {
    r.ih(0);
    for vf in 0..4 {
        r.set(0, r.regs().mailbox_index, vf);
        r.set(0, r.regs().mailbox_int_cntl, VALID_INT_EN | ACK_INT_EN);
    }
}

/// The handshake of section 4.4 with a guest that only reads and modifies whole dwords.
#[test]
fn handshake() {
    let mut r = rig();
    pf_listens(&mut r);
    let vf = 3;
    let rmw = |r: &mut Rig, set: u32, clear: u32| {
        let c = r.get(vf, r.regs().mailbox_control);
        r.set(vf, r.regs().mailbox_control, c & !clear | set);
    };
    r.set(vf, r.regs().mailbox_trn_dw0, request::REQ_INIT_ACCESS);
    rmw(&mut r, TRN_VALID, 0);
    assert_eq!(r.entry(0, 0), Entry::new(ih::SRC_MSG_FROM_VF, 2));
    assert_eq!(r.fstat(vf, func::MESSAGES), 1);
    // The PF looks at another VF first: nothing there.
    r.set(0, r.regs().mailbox_index, 0);
    assert_eq!(r.get(0, r.regs().mailbox_control), 0);
    r.set(0, r.regs().mailbox_index, 2);
    assert_eq!(r.get(0, r.regs().mailbox_control), RCV_VALID);
    assert_eq!(r.get(0, r.regs().mailbox_rcv_dw0), request::REQ_INIT_ACCESS);
    r.set(0, r.regs().mailbox_control, RCV_ACK);
    assert_eq!(r.get(vf, r.regs().mailbox_control), TRN_VALID | TRN_ACK);
    rmw(&mut r, 0, TRN_VALID);
    assert_eq!(r.get(vf, r.regs().mailbox_control), 0);
    r.set(0, r.regs().mailbox_trn_dw0, event::READY_TO_ACCESS_GPU);
    r.set(0, r.regs().mailbox_control, TRN_VALID);
    assert_eq!(r.get(vf, r.regs().mailbox_control), RCV_VALID);
    assert_eq!(
        r.get(vf, r.regs().mailbox_rcv_dw0),
        event::READY_TO_ACCESS_GPU
    );
    rmw(&mut r, RCV_ACK, 0);
    assert_eq!(r.get(vf, r.regs().mailbox_control), 0);
    assert_eq!(r.entry(0, 1), Entry::new(ih::SRC_ACK_FROM_VF, 2));
    assert_eq!(r.get(0, r.regs().mailbox_control), TRN_VALID | TRN_ACK);
    r.set(0, r.regs().mailbox_control, 0);
    // CMPL without VALID: seen, not signalled.
    r.set(0, r.regs().mailbox_trn_dw0, event::FLR_NOTIFICATION_CMPL);
    assert_eq!(
        (
            r.get(vf, r.regs().mailbox_rcv_dw0),
            r.get(vf, r.regs().mailbox_control)
        ),
        (3, 0)
    );
    // An index without a VF behind it.
    r.set(0, r.regs().mailbox_index, 9);
    r.set(0, r.regs().mailbox_control, TRN_VALID);
    assert_eq!(
        (
            r.get(0, r.regs().mailbox_control),
            r.get(0, r.regs().mailbox_index)
        ),
        (0, 9)
    );
}

#[test]
fn a_vf_hears_the_pf_while_it_does_not_run() {
    let mut r = rig();
    r.start(1);
    r.ih(1);
    r.set(1, r.regs().mailbox_int_cntl, VALID_INT_EN | ACK_INT_EN);
    r.stop(1);
    r.start(2);
    r.set(0, r.regs().mailbox_index, 0);
    r.set(0, r.regs().mailbox_control, TRN_VALID);
    assert_eq!(r.entry(1, 0), Entry::new(ih::SRC_MSG_FROM_PF, 0));
    assert_eq!((r.sys32(0x1_1000), r.host.irqs[1]), (16, 1));
    // Its read position goes by doorbell, which is open; nothing is lost over LOAD.
    r.gpu.doorbell(&mut r.host, 1, DOORBELL_IH, 16);
    r.set(1, r.regs().mailbox_control, TRN_VALID | RCV_ACK);
    r.set(0, r.regs().mailbox_control, RCV_ACK | TRN_VALID);
    assert_eq!(r.entry(1, 1), Entry::new(ih::SRC_ACK_FROM_PF, 0));
    r.stop(2);
    r.resume(1);
    assert_eq!(
        (r.get(1, r.regs().ih.rptr), r.get(1, r.regs().ih.wptr)),
        (16, 32)
    );
    assert_eq!(r.host.irqs[1], 2);
}

#[test]
fn an_interrupt_ring_comes_back_from_its_image_after_a_reset() {
    let mut r = rig();
    r.start(1);
    r.ih(1);
    r.ring(1);
    r.stop(1);
    // Moved to VF3, which knows nothing.
    let at = CONTEXT as usize;
    let image = r.host.vram[at + (256 << 10)..][..256 << 10].to_vec();
    r.host.vram[at + 4 * (256 << 10)..][..256 << 10].copy_from_slice(&image);
    r.resume(4);
    r.submit(4, &[Packet::Trap { context: 0xABC }]);
    r.pass(5_000);
    assert_eq!(
        r.entry(1, 0),
        Entry::new(ih::SRC_SDMA_TRAP, 0xABC),
        "VF0's addresses, as saved"
    );
    assert_eq!(r.host.irqs[4], 1);
}

#[test]
fn rearm_gives_one_interrupt_for_each_write_of_the_read_position() {
    let mut r = rig();
    r.start(1);
    r.ih(1);
    r.ring(1);
    let trap = Packet::Trap { context: 1 };
    r.submit(1, &[trap, trap, trap]);
    r.pass(10_000);
    assert_eq!((r.host.irqs[1], r.get(1, r.regs().ih.wptr)), (1, 48));
    r.set(1, r.regs().ih.rptr, 16);
    assert_eq!(r.host.irqs[1], 2, "entries are waiting: nothing is lost");
    r.set(1, r.regs().ih.rptr, 48);
    assert_eq!(r.host.irqs[1], 2);
    r.submit(1, &[trap]);
    r.pass(10_000);
    assert_eq!(r.host.irqs[1], 3);
    // Without RPTR_REARM each entry interrupts.
    r.set(1, r.regs().ih.cntl, ih::rb_cntl(IH_BYTES) & !ih::RPTR_REARM);
    r.submit(1, &[trap, trap]);
    r.pass(10_000);
    assert_eq!(r.host.irqs[1], 5);
    // Disabled: no entry, or no interrupt.
    r.set(
        1,
        r.regs().ih.cntl,
        ih::rb_cntl(IH_BYTES) & !ih::ENABLE_INTR,
    );
    r.submit(1, &[trap]);
    r.pass(10_000);
    assert_eq!((r.host.irqs[1], r.get(1, r.regs().ih.wptr)), (5, 7 * 16));
    r.set(1, r.regs().ih.cntl, 0);
    r.submit(1, &[trap]);
    r.pass(10_000);
    assert_eq!(
        r.get(1, r.regs().ih.wptr) & ih::PTR_MASK,
        0,
        "a ring of one dword"
    );
    assert_eq!(r.fstat(1, func::TRAPS), 8);
}

#[test]
fn a_full_ring_overflows_as_the_hardware_does() {
    let mut r = rig();
    r.start(1);
    r.ih(1);
    r.ring(1);
    for n in 0..15 {
        r.submit(1, &[Packet::Trap { context: n }]);
    }
    r.pass(20_000);
    assert_eq!(r.get(1, r.regs().ih.wptr), 240);
    r.submit(
        1,
        &[Packet::Trap { context: 15 }, Packet::Trap { context: 16 }],
    );
    r.pass(20_000);
    assert_eq!(r.get(1, r.regs().ih.wptr), 16 | ih::WPTR_OVERFLOW);
    assert_eq!(r.sys32(0x1_1000), 16 | ih::WPTR_OVERFLOW);
    assert_eq!(r.entry(1, 0).data, 16, "the oldest was overwritten");
    assert_eq!(r.fstat(1, func::IH_OVERFLOWS), 1);
    // The driver goes on behind what was overwritten and clears the bit.
    r.set(1, r.regs().ih.rptr, 32);
    let c = r.get(1, r.regs().ih.cntl);
    r.set(1, r.regs().ih.cntl, c | ih::WPTR_OVERFLOW_CLEAR);
    r.set(1, r.regs().ih.cntl, c);
    assert_eq!(r.get(1, r.regs().ih.wptr), 16);
}

#[test]
fn an_interrupt_that_cannot_be_written_is_counted() {
    let mut r = rig();
    r.ih(0);
    r.host.no_dma[0] = true;
    r.start(1);
    assert_eq!(r.fstat(0, func::DMA_FAULTS), 2);
    assert_eq!(r.host.irqs[0], 1, "the message is another transaction");
}
