// SPDX-License-Identifier: GPL-2.0
//! Function level resets in every phase, of VFs and of the PF.

mod rig;

use gpu_regs::mailbox;
use gpu_regs::referee::{self, func, violation};
use gpu_regs::sdma::Packet;
use gpu_regs::vsec::{cmd, status};
use rig::*;

fn flr(r: &mut Rig, slot: usize) {
    r.gpu.flr(&mut r.host, slot);
}

#[test]
fn an_flr_forgets_the_function_but_not_its_framebuffer() {
    let mut r = rig();
    r.set(0, r.regs().mailbox_index, 0);
    r.set(0, r.regs().mailbox_int_cntl, 3);
    r.start(1);
    r.ih(1);
    r.ring(1);
    r.set(1, r.regs().mailbox_trn_dw0, 5);
    r.set(1, r.regs().mailbox_control, mailbox::TRN_VALID);
    r.submit(
        1,
        &[Packet::ConstFill {
            dst: DATA,
            value: 0x5555_5555,
            bytes: 4096,
        }],
    );
    r.pass(10_000);
    r.stop(1);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 1,
        }],
    );
    flr(&mut r, 1);
    assert_eq!(r.cfg_get(r.vsec().reset_notification.unwrap()), 1);
    assert_eq!(r.get(0, r.regs().reset_notification), 1);
    assert_eq!(
        (
            r.get(0, r.regs().mailbox_control),
            r.get(0, r.regs().mailbox_rcv_dw0)
        ),
        (0, 0)
    );
    assert_eq!(r.get(0, r.regs().mailbox_int_cntl), 3, "the PF's own");
    assert_eq!(r.fstat(1, func::FLRS), 1);
    assert_eq!(
        r.fb32(1, DATA),
        0x5555_5555,
        "scrubbing is the driver's task"
    );
    r.set(0, r.regs().reset_notification, 1);
    assert_eq!(r.cmd(cmd::LOAD, 1), status::GFX_HANG, "its context is gone");
    assert_eq!(r.last_violation(), violation::BAD_IMAGE);
    r.start(1);
    assert_eq!(r.get(1, r.regs().sdma.rb_cntl), 0);
    r.ring(1);
    r.pass(10_000);
    assert_eq!(r.fb32(1, DATA), 0x5555_5555, "the doorbell was forgotten");
    r.cfg(r.vsec().reset_notification.unwrap(), 1);
    assert_eq!(r.get(0, r.regs().reset_notification), 0);
}

#[test]
fn an_flr_frees_the_engine_from_its_function_alone() {
    let mut r = rig();
    r.start(1);
    flr(&mut r, 2);
    assert_eq!(r.stat(referee::ON_ENGINE) as u32, 1);
    flr(&mut r, 1);
    assert_eq!(r.stat(referee::ON_ENGINE) as u32, referee::NONE);
    assert_eq!(r.cmd(cmd::IDLE, 1), status::ABORTED);
    assert_eq!(r.cfg_get(r.vsec().reset_notification.unwrap()), 3);
}

/// In the middle of each command the function's own FLR ends it, another's does not.
#[test]
fn an_flr_ends_the_command_in_flight_about_its_function() {
    let commands = [
        cmd::INIT,
        cmd::RUN,
        cmd::IDLE,
        cmd::SAVE,
        cmd::LOAD,
        cmd::CONTEXT_SWITCH,
    ];
    for (n, c) in commands.into_iter().enumerate() {
        for own in [true, false] {
            let mut r = rig();
            r.start(2);
            r.stop(2);
            for &before in &commands[..n.min(4)] {
                r.cmds(&[before], 1);
            }
            if c == cmd::CONTEXT_SWITCH {
                r.resume(1);
            }
            r.issue(c, 1, 2);
            r.pass(10_000);
            assert!(r.executing());
            flr(&mut r, if own { 1 } else { 3 });
            assert_eq!(r.executing(), !own, "command {c}");
            if own {
                assert_eq!(r.cfg_get(r.vsec().status), 0);
                assert_eq!(r.stat(referee::ABORTED), 1);
                assert_eq!(r.stat(referee::ON_ENGINE) as u32, referee::NONE);
                r.resume(2);
            } else {
                r.pass(1_000_000);
                assert!(!r.executing());
            }
            assert_eq!(r.violations(), 0, "command {c}");
        }
    }
}

#[test]
fn an_flr_of_the_next_function_leaves_the_current_one_idled() {
    let mut r = rig();
    r.start(2);
    r.stop(2);
    r.start(1);
    r.issue(cmd::CONTEXT_SWITCH, 1, 2);
    r.pass(10_000);
    flr(&mut r, 2);
    assert!(!r.executing());
    r.cmds(&[cmd::SAVE], 1);
    r.resume(1);
    assert_eq!(r.violations(), 0);
}

#[test]
fn an_flr_of_the_pf_resets_the_gpu() {
    let mut r = rig();
    r.ih(0);
    r.start(1);
    r.issue(cmd::IDLE, 1, 0);
    flr(&mut r, 0);
    assert!(!r.executing());
    assert_eq!(r.cfg_get(r.vsec().context), 0);
    assert_eq!(r.cfg_get(r.vsec().vf_fb), 0);
    assert_eq!(r.host.windows[0], (0, 0));
    assert_eq!(r.get(0, r.regs().ih.cntl), 0);
    assert_eq!(r.get(1, r.regs().func_identifier), u32::MAX, "VFs are off");
    assert_eq!(r.host.armed, None);
    assert_eq!(r.fstat(1, func::RUNS), 1, "the referee remembers");
    r.setup();
    r.start(1);
    // Alone, it leaves VFs be.
    r.cfg(r.vsec().reset_control, 1);
    assert_eq!(r.stat(referee::ON_ENGINE) as u32, 1);
    assert_eq!(r.violations(), 0);
}

#[test]
fn a_driver_is_not_blamed_for_a_reset_it_cannot_know_of() {
    let mut r = rig();
    r.start(1);
    flr(&mut r, 1);
    let before = r.stat(referee::VIOLATIONS);
    assert_eq!(r.cmd(cmd::IDLE, 1), status::ABORTED);
    assert_eq!(r.stat(referee::VIOLATIONS), before);
    // Once it has read and cleared the notification, it knows.
    r.set(0, r.regs().reset_notification, 1);
    assert_eq!(r.cmd(cmd::IDLE, 1), status::ABORTED);
    assert_eq!(r.stat(referee::VIOLATIONS), before + 1);
}

#[test]
fn nor_for_a_command_that_it_issued_before_it_knew() {
    let mut r = rig();
    r.start(1);
    r.stop(1);
    flr(&mut r, 1);
    // The image went with the reset, which LOAD finds out at its end.
    r.issue(cmd::LOAD, 1, 0);
    r.set(0, r.regs().reset_notification, 1);
    r.pass(1_000_000);
    assert_ne!(r.cfg_get(r.vsec().status) as u8, status::DONE);
    assert_eq!(r.violations(), 0);
    assert_ne!(r.cmd(cmd::LOAD, 1), status::DONE);
    assert_eq!(
        (r.violations(), r.last_violation()),
        (1, violation::BAD_IMAGE)
    );
}
