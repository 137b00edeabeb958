// SPDX-License-Identifier: GPL-2.0
//! What Vega10 has otherwise than Tonga, and that both are the same machine behind.

mod rig;

use gpu_regs::ih;
use gpu_regs::mailbox::{event, request, RCV_VALID, TRN_ACK, TRN_VALID, VALID_INT_EN};
use gpu_regs::referee::{func, phase, violation, ON_ENGINE};
use gpu_regs::sdma::{Packet, Poll};
use gpu_regs::vsec::{active, cmd, intr, status, BUSY_PF};
use rig::{base, rig_of, rig_with, rigs, Rig, CONTEXT, DATA, MB};

const INTR_ENABLE: u16 = 0x0C;
const INTR_STATUS: u16 = 0x10;
const ACTIVE_FUNCTION: u16 = 0xE4;

fn vega() -> Rig {
    let mut r = rig_of("vega10");
    r.cfg(INTR_ENABLE, u32::MAX);
    r
}

/// Causes that are up; takes them.
fn causes(r: &mut Rig) -> u32 {
    let up = r.cfg_get(INTR_STATUS);
    r.cfg(INTR_STATUS, up);
    up
}

#[test]
fn work_context_and_registers_are_the_same_on_every_chip() {
    for mut r in rigs() {
        let name = r.gpu.chip().name;
        let scratch = r.regs().scratch0;
        r.start(1);
        r.ring(1);
        r.set(1, scratch, 77);
        let copy = Packet::CopyLinear {
            src: DATA,
            dst: DATA + 0x1000,
            bytes: 4096,
        };
        r.fb(1, DATA, 4096).fill(0x5A);
        r.submit(1, &[copy, Packet::Fence { addr: 0, value: 3 }]);
        // In the middle of the copy, to its own image and back, with another VF between.
        r.pass(2_000);
        r.stop(1);
        r.start(2);
        assert_eq!(r.get(1, scratch), u32::MAX, "{name}: gated");
        r.stop(2);
        r.resume(1);
        r.pass(20_000);
        assert_eq!((r.get(1, scratch), r.fb32(1, 0)), (77, 3), "{name}");
        assert!(r.fb(1, DATA + 0x1000, 4096).iter().all(|&b| b == 0x5A));
        assert_eq!(r.fb(1, DATA + 0x2000, 1), [0], "{name}: not a byte more");
        assert_eq!(r.violations(), 0, "{name}");
    }
}

#[test]
fn the_capability_as_the_headers_draw_it() {
    let mut r = rig_of("vega10");
    assert_eq!(r.cfg_get(0x24), 1 | (((CONTEXT >> 18) as u32) << 10));
    assert_eq!(r.cfg_get(0x28) & 0xFFFF, 128);
    assert_eq!(r.cfg_get(0x2C), 0x000D_0A07, "blocks at 0x70, 0xA0, 0xD0");
    // 16 MB at 32 MB: no unit is taken off the size.
    assert_eq!(r.cfg_get(0x30), 1 | (2 << 16));
    assert_eq!(r.host.windows[0], (base(1), 16 * MB));
    assert_eq!((r.get(0, 0xDE5), r.get(1, 0xDE5)), (1 << 31, 1 | (1 << 31)));
    r.cfg(0xE0, 0xF);
    r.cfg(0xE8, 0x0605_0402);
    assert_eq!((r.cfg_get(0xE0), r.cfg_get(0xE8)), (0xF, 0x0605_0402));
    r.issue(cmd::INIT, 1, 0);
    assert_ne!(r.cfg_get(0xD4) & 0x10, 0, "GFXSCH_DW1 executes");
    assert_eq!(r.cfg_get(0xD8), u32::from(status::INITING));
    r.pass(1_000_000);
    r.cmds(&[cmd::RUN], 1);
    assert_eq!(r.cfg_get(ACTIVE_FUNCTION), 0x80 | (active::ACTIVE << 16));
    assert_eq!(r.get(1, 0xDE3), 16, "CONFIG_MEMSIZE");
    r.issue(cmd::IDLE, 1, 0);
    assert_eq!(r.cfg_get(ACTIVE_FUNCTION), 0x80 | (active::IDLING << 16));
    // The register that Tonga has its command in does nothing here.
    r.cfg(0x0C, 0x8011);
    assert_eq!(r.violations(), 0);
}

#[test]
fn the_first_cause_interrupts_and_no_other_until_all_are_taken() {
    let mut r = vega();
    r.cmd(cmd::INIT, 1);
    assert_eq!(r.host.irqs[0], 1);
    r.cmd(cmd::RUN, 1);
    assert_eq!(r.host.irqs[0], 1, "the first was not taken");
    assert_eq!(causes(&mut r), intr::CMD_COMPLETE);
    assert_eq!(causes(&mut r), 0);
    r.cmd(cmd::IDLE, 1);
    assert_eq!(r.host.irqs[0], 2);
    // Masked, it is remembered; unmasked, it interrupts.
    causes(&mut r);
    r.cfg(INTR_ENABLE, 0);
    r.cmd(cmd::SAVE, 1);
    assert_eq!(r.host.irqs[0], 2);
    r.cfg(INTR_ENABLE, intr::CMD_COMPLETE);
    assert_eq!(r.host.irqs[0], 3);
    // A command that does not ask for it says nothing.
    causes(&mut r);
    r.cfg(0xD4, gpu_regs::vsec::command(cmd::INIT, 0x81, 0, false));
    r.pass(1_000_000);
    assert_eq!((causes(&mut r), r.host.irqs[0]), (0, 3));
}

#[test]
fn without_completion_interrupts_causes_are_there_but_silent() {
    let chip = rig_of("vega10").gpu.config().chip;
    let mut r = rig_with(gpu_model::Config {
        chip,
        completion_irq: false,
        ..Default::default()
    });
    r.cfg(INTR_ENABLE, u32::MAX);
    r.cmd(cmd::INIT, 1);
    assert_eq!((r.host.irqs[0], causes(&mut r)), (0, intr::CMD_COMPLETE));
}

#[test]
fn what_is_busy_changes_with_doorbells_and_work_done() {
    let mut r = vega();
    r.start(1);
    r.ring(1);
    r.stop(1);
    causes(&mut r);
    r.submit(1, &[Packet::Fence { addr: 0, value: 1 }]);
    assert_eq!(
        (causes(&mut r), r.cfg_get(0xDC)),
        (intr::VM_BUSY_TRANSITION, 1)
    );
    r.resume(1);
    causes(&mut r);
    r.pass(100_000);
    assert_eq!(r.cfg_get(0xDC), 0);
    r.stop(1);
    causes(&mut r);
    r.start(0);
    r.ring(0);
    r.submit(0, &[Packet::PollRegmem(Poll::memory(DATA, 1, 1))]);
    assert_eq!(r.cfg_get(0xDC), BUSY_PF);
}

#[test]
fn a_hang_is_told_and_ends_by_a_reset() {
    let mut r = vega();
    r.start(1);
    r.ring(1);
    r.submit(1, &[Packet::PollRegmem(Poll::hang(DATA, 1, 1))]);
    r.pass(10_000);
    causes(&mut r);
    r.issue(cmd::IDLE, 1, 0);
    r.pass(9_900_000);
    assert_eq!(causes(&mut r), 0, "not before its time");
    r.pass(200_000);
    assert_eq!(causes(&mut r), intr::HANG_NEED_FLR);
    assert!(r.executing(), "the command goes on");
    r.gpu.flr(&mut r.host, 1);
    assert!(!r.executing());
    assert_eq!(r.get(0, 0xE62), 1, "RESET_NOTIFICATION");
    r.set(0, 0xE62, 1);
    assert_eq!(r.get(0, 0xE62), 0);
    r.start(2);
    assert_eq!(r.violations(), 0);
}

#[test]
fn a_hang_that_goes_away_is_told_too() {
    let mut r = vega();
    r.start(1);
    r.ring(1);
    r.submit(1, &[Packet::PollRegmem(Poll::hang(DATA, 1, 1))]);
    r.pass(10_000);
    r.issue(cmd::IDLE, 1, 0);
    r.pass(11_000_000);
    assert_ne!(causes(&mut r) & intr::HANG_NEED_FLR, 0);
    r.fb(1, DATA, 1)[0] = 1;
    r.pass(1_000_000);
    let up = causes(&mut r);
    let both = intr::HANG_SELF_RECOVERED | intr::CMD_COMPLETE;
    assert_eq!(up & both, both);
    assert_eq!(r.stat(ON_ENGINE), 1 | (u64::from(phase::IDLED) << 32));
}

#[test]
fn a_hang_has_no_status_of_its_own() {
    let mut r = vega();
    r.start(1);
    r.fault("gfx-hang,fn=vf0,cmd=1");
    r.issue(cmd::IDLE, 1, 0);
    r.pass(200_000);
    assert!(r.executing());
    assert_ne!(causes(&mut r) & intr::HANG_NEED_FLR, 0);
    assert_eq!(r.cfg_get(ACTIVE_FUNCTION) >> 16, active::STALLED);
    r.gpu.flr(&mut r.host, 1);
    r.set(0, r.regs().reset_notification, 1);
    // A damaged image is refused.
    r.start(1);
    r.fault("corrupt-context,fn=vf0");
    r.stop(1);
    assert_eq!(r.cmd(cmd::LOAD, 1), status::ABORTED);
    assert_eq!(r.last_violation(), violation::BAD_IMAGE);
}

#[test]
fn the_mailbox_byte_by_byte() {
    let mut r = rig_of("vega10");
    let m = r.regs();
    let control = m.mailbox_control * 4;
    assert_eq!((m.mailbox_index, m.mailbox_control), (0xE55, 0xE5E));
    r.ih(0);
    r.ih(2);
    r.set(0, m.mailbox_index, 1);
    r.set(0, m.mailbox_int_cntl, VALID_INT_EN);
    let write = |r: &mut Rig, slot, addr, v| r.gpu.bar_write(&mut r.host, slot, addr, 1, v);
    // VF1 sends, the PF takes it; each writes its own byte alone.
    r.set(2, m.mailbox_trn_dw0, request::READY_TO_RESET);
    write(&mut r, 2, control, 1);
    assert_eq!(r.get(0, m.mailbox_control), RCV_VALID);
    assert_eq!(r.get(0, m.mailbox_rcv_dw0), request::READY_TO_RESET);
    assert_eq!(r.entry(0, 0), ih::Entry::new(ih::SRC_MSG_FROM_VF, 1));
    r.set(0, m.mailbox_trn_dw0, event::FLR_NOTIFICATION);
    write(&mut r, 0, control, 1);
    write(&mut r, 0, control + 1, 2);
    assert_eq!(
        r.get(0, m.mailbox_control),
        TRN_VALID,
        "its own is still valid"
    );
    assert_eq!(
        r.gpu.bar_read(&mut r.host, 2, control, 1),
        TRN_VALID | TRN_ACK
    );
    assert_eq!(
        r.gpu.bar_read(&mut r.host, 2, control + 1, 1),
        RCV_VALID >> 8
    );
    // No other register has bytes, and Tonga has none at all.
    write(&mut r, 2, m.mailbox_trn_dw0 * 4, 9);
    assert_eq!(r.get(2, m.mailbox_trn_dw0), request::READY_TO_RESET);
    let mut t = rig_of("tonga");
    let control = t.regs().mailbox_control * 4;
    write(&mut t, 1, control, 1);
    assert_eq!(t.get(1, control / 4), 0);
    assert_eq!(t.gpu.bar_read(&mut t.host, 1, control, 1), u32::MAX);
}

#[test]
fn entries_of_eight_dwords_with_their_client() {
    let mut r = rig_of("vega10");
    r.start(1);
    r.ih(1);
    r.ring(1);
    for n in 0..9 {
        r.submit(1, &[Packet::Trap { context: n }]);
        r.pass(10_000);
    }
    // 256 bytes hold eight; the ninth overwrites the first.
    assert_eq!(
        r.sys32(0x1_0000 + 32),
        8 | (224 << 8),
        "client SDMA0, source 224"
    );
    assert_eq!(r.entry(1, 1).data, 1);
    assert_eq!(r.entry(1, 0).data, 8);
    assert_eq!(r.get(1, 0x10A0 + 0x84), 32 | ih::WPTR_OVERFLOW);
    assert_eq!(r.fstat(1, func::TRAPS), 9);
}

#[test]
fn a_packet_counts_one_less() {
    let mut r = rig_of("vega10");
    r.start(1);
    r.ring(1);
    let data = [1, 2, 3];
    let write = Packet::WriteLinear {
        dst: DATA,
        data: &data[..],
    };
    r.submit(1, &[write, Packet::Fence { addr: 0, value: 5 }]);
    r.pass(20_000);
    assert_eq!((r.fb32(1, DATA + 8), r.fb32(1, 0)), (3, 5));
    assert_eq!(
        r.fb32(1, rig::RING + 12),
        2,
        "the count field of three dwords"
    );
}
