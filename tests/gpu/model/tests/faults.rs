// SPDX-License-Identifier: GPL-2.0
//! Every fault knob does what it says, as often as it says, and an FLR gets over it.

mod rig;

use gpu_regs::ih;
use gpu_regs::referee::{self, func, violation};
use gpu_regs::sdma::Packet;
use gpu_regs::vsec::{self, cmd, status};
use rig::*;

#[test]
fn never_completes() {
    let mut r = rig();
    r.start(1);
    r.fault("never-completes,fn=vf0,cmd=2");
    r.cmds(&[cmd::IDLE], 1);
    r.issue(cmd::SAVE, 1, 0);
    r.pass(10_000_000_000);
    assert!(r.executing());
    assert_eq!(r.cfg_get(r.vsec().status), u32::from(status::SAVING));
    assert_eq!(r.host.armed, None, "nothing to wait for");
    r.gpu.flr(&mut r.host, 1);
    r.start(1);
    r.stop(1);
    assert_eq!((r.violations(), r.stat(referee::FAULT_HITS)), (0, 1));
}

#[test]
fn late() {
    let mut r = rig();
    r.fault("late,us=3000,count=2");
    r.issue(cmd::INIT, 1, 0);
    r.pass(3_199_999);
    assert!(r.executing());
    r.pass(1);
    assert!(!r.executing());
    r.cmds(&[cmd::RUN], 1);
    r.issue(cmd::IDLE, 1, 0);
    r.pass(50_000);
    assert!(!r.executing(), "used up");
}

#[test]
fn hang_statuses() {
    for (text, want) in [
        ("gfx-hang", status::GFX_HANG),
        ("sdma-hang", status::SDMA_HANG),
    ] {
        for c in [
            cmd::INIT,
            cmd::RUN,
            cmd::IDLE,
            cmd::SAVE,
            cmd::LOAD,
            cmd::CONTEXT_SWITCH,
        ] {
            let mut r = rig();
            r.ih(0);
            r.start(2);
            r.stop(2);
            if c != cmd::INIT {
                r.cmds(&[cmd::INIT], 1);
            }
            if ![cmd::INIT, cmd::RUN].contains(&c) {
                r.cmds(&[cmd::RUN], 1);
            }
            if [cmd::SAVE, cmd::LOAD].contains(&c) {
                r.cmds(&[cmd::IDLE], 1);
            }
            if c == cmd::LOAD {
                r.cmds(&[cmd::SAVE], 1);
            }
            r.fault(text);
            r.issue(c, 1, 2);
            r.pass(1_000_000);
            assert_eq!(r.cfg_get(r.vsec().status), u32::from(want), "command {c}");
            assert!(!r.executing());
            let n = (r.get(0, r.regs().ih.wptr) / 16 + 15) % 16;
            assert_eq!(r.entry(0, n as usize).data >> 16, u32::from(want));
            // The engine is stuck until the function is reset.
            assert_eq!(
                r.stat(referee::ON_ENGINE) >> 32,
                u64::from(referee::phase::HUNG)
            );
            assert_eq!(r.cmd(cmd::LOAD, 2), status::GFX_HANG);
            r.gpu.flr(&mut r.host, 1);
            r.resume(2);
            assert_eq!(r.violations(), 0);
        }
    }
}

#[test]
fn lost_interrupt() {
    let mut r = rig();
    r.ih(0);
    r.fault("lost-interrupt,fn=pf");
    r.cmds(&[cmd::INIT], 1);
    assert_eq!(r.host.irqs[0], 0);
    assert_eq!(
        r.entry(0, 0).src,
        ih::SRC_CMD_COMPLETE,
        "the entry is there"
    );
    r.cmds(&[cmd::RUN], 1);
    assert_eq!(r.host.irqs[0], 1);
}

#[test]
fn corrupt_context() {
    let mut r = rig();
    r.start(1);
    r.fault("corrupt-context,fn=vf0");
    r.stop(1);
    assert_eq!(r.cmd(cmd::LOAD, 1), status::GFX_HANG);
    assert_eq!(r.last_violation(), violation::BAD_IMAGE);
    r.start(1);
    r.stop(1);
    r.resume(1);
}

#[test]
fn never_idles() {
    let mut r = rig();
    r.start(1);
    r.ring(1);
    r.fault("never-idles,fn=vf0");
    r.issue(cmd::IDLE, 1, 0);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 1,
        }],
    );
    r.pass(10_000_000);
    assert!(r.executing());
    assert_eq!(r.fb32(1, DATA), 1, "it goes on working");
    assert!(r.fstat(1, func::RUN_NS) >= 10_000_000);
    r.gpu.flr(&mut r.host, 1);
    r.start(2);
    r.stop(2);
}

#[test]
fn pf_dead() {
    let mut r = rig();
    r.fault("pf-dead,count=4");
    assert_eq!(r.cfg_get(r.vsec().command), u32::MAX);
    assert_eq!(r.get(0, r.regs().func_identifier), u32::MAX);
    let status = r.vsec().status;
    assert_eq!(r.gpu.cfg_read(&mut r.host, status, 1), 0xFF);
    r.cfg(r.vsec().context, 0);
    assert_eq!(
        r.cfg_get(r.vsec().context),
        vsec::context(CONTEXT, 1),
        "the write was ignored"
    );
    assert!(!r.gpu.pf_is_lost());
    r.fault("pf-dead,count=any");
    assert!(r.gpu.pf_is_lost());
    for _ in 0..100 {
        assert_eq!(r.get(0, r.regs().config_memsize), u32::MAX);
    }
    assert_eq!(
        r.get(1, r.regs().func_identifier),
        0x8000_0001,
        "VFs answer"
    );
    r.gpu.clear_faults();
    assert!(!r.gpu.pf_is_lost());
    assert_eq!(r.get(0, r.regs().config_memsize), 128);
}

#[test]
fn faults_by_the_debug_device() {
    let mut r = rig();
    let mut put = |reg, v| r.gpu.referee_write(&mut r.host, reg, v);
    put(referee::FAULT_KIND, referee::fault::LATE);
    put(referee::FAULT_FN, 1);
    put(referee::FAULT_CMD, u32::from(cmd::INIT));
    put(referee::FAULT_ARG, 500);
    put(referee::FAULT_COUNT, 1);
    put(referee::FAULT_GO, referee::FAULT_ARM);
    let armed = |r: &mut Rig| r.gpu.referee_read(&mut r.host, referee::FAULT_GO, 4);
    assert_eq!(armed(&mut r), 1);
    r.cmds(&[cmd::INIT], 2);
    r.issue(cmd::INIT, 1, 0);
    r.pass(699_999);
    assert!(r.executing());
    r.pass(1);
    assert!(!r.executing());
    assert_eq!(armed(&mut r), 0);
    for _ in 0..100 {
        r.gpu
            .referee_write(&mut r.host, referee::FAULT_GO, referee::FAULT_ARM);
    }
    assert_eq!(armed(&mut r), referee::MAX_FAULTS as u64);
    r.gpu
        .referee_write(&mut r.host, referee::FAULT_GO, referee::FAULT_CLEAR);
    assert_eq!(armed(&mut r), 0);
}
