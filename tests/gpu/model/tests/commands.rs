// SPDX-License-Identifier: GPL-2.0
//! Which command is legal when, how long it takes, and how it ends.

mod rig;

use gpu_regs::chip::TONGA;
use gpu_regs::ih;
use gpu_regs::referee::{self, violation};
use gpu_regs::vsec::{self, cmd, status};
use rig::*;

/// States of the engine about VF0 (slot 1) and VF1 (slot 2); both have good images.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Empty,
    Loaded,
    Inited,
    Running,
    Idled,
    Hung,
}

fn reach(state: State) -> Rig {
    let mut r = rig();
    for slot in [2, 1] {
        r.start(slot);
        r.stop(slot);
    }
    match state {
        State::Empty => {}
        State::Loaded => r.cmds(&[cmd::LOAD], 1),
        State::Inited => r.cmds(&[cmd::INIT], 1),
        State::Running => r.resume(1),
        State::Idled => {
            r.resume(1);
            r.cmds(&[cmd::IDLE], 1);
        }
        State::Hung => {
            r.resume(1);
            r.fault("gfx-hang,fn=vf0,cmd=1");
            assert_eq!(r.cmd(cmd::IDLE, 1), status::GFX_HANG);
        }
    }
    assert_eq!(r.violations(), 0);
    r
}

/// Every command in every state, about the function on the engine (1) and another (2).
#[test]
fn legality() {
    use violation::*;
    use State::*;
    let ok = 0;
    // Command, function, then the violation in each state but Hung; 0 is legal.
    let table: [(u8, usize, [u32; 5]); 12] = [
        //                     Empty             Loaded            Inited            Running           Idled
        (
            cmd::IDLE,
            1,
            [
                IDLE_NOT_RUNNING,
                IDLE_NOT_RUNNING,
                IDLE_NOT_RUNNING,
                ok,
                IDLE_NOT_RUNNING,
            ],
        ),
        (cmd::IDLE, 2, [IDLE_NOT_RUNNING; 5]),
        (
            cmd::SAVE,
            1,
            [
                SAVE_NOT_IDLED,
                SAVE_NOT_IDLED,
                SAVE_NOT_IDLED,
                SAVE_NOT_IDLED,
                ok,
            ],
        ),
        (cmd::SAVE, 2, [SAVE_NOT_IDLED; 5]),
        (
            cmd::LOAD,
            1,
            [
                ok,
                LOAD_NOT_EMPTY,
                LOAD_NOT_EMPTY,
                LOAD_NOT_EMPTY,
                LOAD_NOT_EMPTY,
            ],
        ),
        (cmd::LOAD, 2, [ok, ok, ok, LOAD_NOT_EMPTY, ok]),
        (
            cmd::RUN,
            1,
            [RUN_NOT_LOADED, ok, ok, RUN_NOT_LOADED, RUN_NOT_LOADED],
        ),
        (cmd::RUN, 2, [RUN_NOT_LOADED; 5]),
        (cmd::INIT, 1, [ok, ok, ok, INIT_NOT_EMPTY, ok]),
        (cmd::INIT, 2, [ok, ok, ok, INIT_NOT_EMPTY, ok]),
        (
            cmd::CONTEXT_SWITCH,
            1,
            [
                SWITCH_NOT_RUNNING,
                SWITCH_NOT_RUNNING,
                SWITCH_NOT_RUNNING,
                ok,
                SWITCH_NOT_RUNNING,
            ],
        ),
        (cmd::CONTEXT_SWITCH, 2, [SWITCH_NOT_RUNNING; 5]),
    ];
    for (c, slot, codes) in table {
        for (state, want) in [Empty, Loaded, Inited, Running, Idled]
            .into_iter()
            .zip(codes)
        {
            let mut r = reach(state);
            r.issue(c, slot, 2);
            r.pass(1_000_000);
            let what = format!("command {c} of {slot} in {state:?}");
            assert!(!r.executing(), "{what}");
            let status = r.cfg_get(r.vsec().status) as u8;
            assert_eq!(r.violations(), u64::from(want != 0), "{what}");
            if want == 0 {
                assert_eq!(status, 0, "{what}");
            } else {
                assert_eq!(
                    (r.last_violation(), status),
                    (want, status::ABORTED),
                    "{what}"
                );
                assert_eq!(r.fstat(slot, referee::func::VIOLATIONS), 1);
            }
        }
        let mut r = reach(Hung);
        assert_eq!(
            r.cmd(c, slot),
            status::GFX_HANG,
            "a hung engine takes no command"
        );
        assert_eq!(r.violations(), 0);
    }
}

#[test]
fn commands_and_functions_that_do_not_exist() {
    let mut r = rig();
    for c in [0, 6, 10, 15] {
        assert_eq!(r.cmd(c, 1), status::UNSUPPORTED);
        assert_eq!(r.last_violation(), violation::BAD_COMMAND);
    }
    // The last ones have no bit in any register.
    for slot in [5, 32, 33, 127] {
        assert_eq!(r.cmd(cmd::INIT, slot), status::ABORTED);
        assert_eq!(r.last_violation(), violation::BAD_FUNCTION);
    }
    r.gpu.set_enabled(&mut r.host, 1);
    assert_eq!(r.cmd(cmd::INIT, 2), status::ABORTED, "VF1 is not enabled");
    r.start(1);
    r.issue(cmd::CONTEXT_SWITCH, 1, 2);
    assert_eq!(r.last_violation(), violation::BAD_FUNCTION);
    assert_eq!(r.violations(), 10);
}

#[test]
fn a_command_while_another_executes_is_a_violation_and_changes_nothing() {
    let mut r = rig();
    r.issue(cmd::INIT, 1, 0);
    assert_eq!(r.cfg_get(r.vsec().status), u32::from(status::INITING));
    r.issue(cmd::RUN, 1, 0);
    assert_eq!(r.last_violation(), violation::BUSY);
    assert!(r.executing());
    r.pass(199_000);
    assert!(r.executing());
    r.pass(1_000);
    assert!(!r.executing());
    assert_eq!(
        r.stat(referee::ON_ENGINE),
        1 | (u64::from(referee::phase::INITED) << 32)
    );
}

#[test]
fn each_command_takes_its_time_and_shows_its_status() {
    let mut r = rig();
    for (c, us, st) in [
        (cmd::INIT, 200, status::INITING),
        (cmd::RUN, 20, status::ENABLING),
        (cmd::IDLE, 50, status::IDLING),
        (cmd::SAVE, 100, status::SAVING),
        (cmd::LOAD, 100, status::LOADING),
        (cmd::RUN, 20, status::ENABLING),
        (cmd::SAVE_RLCV, 20, status::SAVING_RLCV),
        (cmd::LOAD_RLCV, 20, status::LOADING_RLCV),
    ] {
        r.issue(c, 1, 0);
        r.pass(us * 1000 - 1);
        assert!(r.executing(), "command {c}");
        assert_eq!(r.cfg_get(r.vsec().status), u32::from(st), "command {c}");
        assert_eq!(r.get(0, r.regs().rlc.status), u32::from(st));
        r.pass(1);
        assert!(!r.executing(), "command {c}");
        assert_eq!(r.cfg_get(r.vsec().status), 0);
    }
    assert_eq!(r.violations(), 0);
    assert_eq!(r.stat(referee::COMMANDS), 8);
    assert_eq!(r.stat(referee::COMMAND_NS), 530_000);
    assert_eq!(r.fstat(1, referee::func::COMMANDS), 8);
}

#[test]
fn the_end_of_a_command_interrupts_where_it_is_asked_for_and_present() {
    let mut r = rig();
    r.ih(0);
    r.cmds(&[cmd::INIT], 3);
    let e = r.entry(0, 0);
    assert_eq!(
        e,
        ih::Entry::new(ih::SRC_CMD_COMPLETE, ih::cmd_complete_data(7, 0x82, 0))
    );
    assert_eq!(r.host.irqs[0], 1);
    r.set(0, r.regs().ih.rptr, 16);
    // Not asked for.
    r.cfg(r.vsec().command, vsec::command(cmd::RUN, 0x82, 0, false));
    r.pass(100_000);
    assert_eq!(r.host.irqs[0], 1);
    // A refused command ends too.
    assert_eq!(r.cmd(cmd::RUN, 3), status::ABORTED);
    assert_eq!(
        r.entry(0, 1).data,
        ih::cmd_complete_data(4, 0x82, status::ABORTED)
    );
    // Not present.
    let mut r = rig_with(gpu_model::Config {
        completion_irq: false,
        ..Default::default()
    });
    r.ih(0);
    r.start(1);
    assert_eq!(r.host.irqs[0], 0);
}

#[test]
fn context_switch_does_all_four() {
    let mut r = reach(State::Running);
    let t = r.host.now;
    r.issue(cmd::CONTEXT_SWITCH, 1, 2);
    r.pass(270_000);
    assert!(!r.executing());
    assert_eq!(r.fstat(1, referee::func::LAST_RUN_END), t);
    assert_eq!(r.fstat(2, referee::func::LAST_RUN_START), t + 270_000);
    assert_eq!(
        r.stat(referee::ON_ENGINE),
        2 | (u64::from(referee::phase::RUNNING) << 32)
    );
    assert_eq!(r.violations(), 0);
    r.cmds(&[cmd::IDLE, cmd::SAVE], 2);
    r.resume(1);
}

#[test]
fn areas_and_windows_that_are_wrong_are_found() {
    // No context save area, or one outside the framebuffer, or in a VF's window.
    for context in [
        0,
        vsec::context(1 << 30, 1),
        vsec::context(32 * MB, 1),
        0x81,
    ] {
        let mut r = rig();
        r.start(1);
        r.cmds(&[cmd::IDLE], 1);
        r.cfg(TONGA.vsec.context, context);
        assert_eq!(r.cmd(cmd::SAVE, 1), status::ABORTED, "{context:#x}");
        assert_eq!(r.last_violation(), violation::BAD_CONTEXT_AREA);
    }
    // No window, outside, over another VF's, over the save area.
    let windows = [
        0,
        TONGA.vsec.window(128, 16),
        TONGA.vsec.window(112, 32),
        TONGA.vsec.window(32, 32),
    ];
    for w in windows
        .into_iter()
        .chain([TONGA.vsec.window(16, 16), TONGA.vsec.window(48, 16)])
    {
        let mut r = rig();
        r.cfg(TONGA.vsec.vf_fb, w);
        assert_eq!(r.cmd(cmd::INIT, 1), status::ABORTED, "{w:#x}");
        assert_eq!(r.last_violation(), violation::BAD_WINDOW);
    }
    // Moved under a function that is on the engine.
    let mut r = rig();
    r.start(1);
    r.cfg(r.vsec().vf_fb, r.vsec().window(96, 16));
    assert_eq!(r.last_violation(), violation::MOVED_IN_USE);
    r.cfg(r.vsec().context, vsec::context(8 * MB, 1));
    assert_eq!(r.violations(), 2);
}

#[test]
fn the_command_log_tells_when() {
    let mut r = rig();
    let t = r.host.now;
    r.cmds(&[cmd::INIT, cmd::RUN], 1);
    assert_eq!(r.cmd(cmd::SAVE, 1), status::ABORTED);
    assert_eq!(r.stat(referee::LOG_COUNT), 3);
    let field = |r: &mut Rig, n: u32, f: u32| r.stat(referee::LOG + n * referee::LOG_STRIDE + f);
    assert_eq!(field(&mut r, 0, referee::log::ISSUED_NS), t);
    assert_eq!(field(&mut r, 0, referee::log::ENDED_NS), t + 200_000);
    let c = field(&mut r, 0, referee::log::COMMAND);
    assert_eq!(c as u32, vsec::command(cmd::INIT, 0x80, 0, true));
    assert_eq!(c >> 32, 1 << 16);
    let c = field(&mut r, 2, referee::log::COMMAND) >> 32;
    assert_eq!(
        c as u32,
        (1 << 16) | (violation::SAVE_NOT_IDLED << 8) | u32::from(status::ABORTED)
    );
    // It keeps the last 256, each at its place.
    for _ in 0..300 {
        r.cmd(15, 1);
    }
    assert_eq!(r.stat(referee::LOG_COUNT), 303);
    let newest = field(&mut r, 302 % 256, referee::log::ISSUED_NS);
    let oldest = field(&mut r, 303 % 256, referee::log::ISSUED_NS);
    assert!(newest >= oldest);
    assert_eq!(
        field(&mut r, 302 % 256, referee::log::COMMAND) as u8 & 0xF,
        15
    );
}
