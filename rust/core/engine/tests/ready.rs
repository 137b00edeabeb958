// SPDX-License-Identifier: GPL-2.0

//! Guests that are told of a reset: those that answer, and those that do not.

use super::{
    super::super::mailbox::Protocol,
    *, //
};

cases! {
    gim_engine_ready:
    who_does_not_answer_is_reset_all_the_same_and_keeps_nobody_waiting,
    who_answers_is_reset_once_it_can_have_seen_the_acknowledgement,
    a_hung_vf_costs_a_tenth_of_the_watchdog_more_if_it_is_silent,
    a_hung_vf_that_answers_is_reset_at_once,
    a_hang_that_the_hardware_reports_early_leaves_the_guest_its_time,
    nobody_is_waited_for_who_cannot_answer,
    who_resets_itself_meanwhile_has_answered,
    disabling_waits_for_no_guest,
    the_gpu_is_reset_once_all_have_answered_or_after_the_bound,
    guests_that_do_not_answer_can_see_that_the_gpu_is_reset,
    a_gpu_reset_that_waits_is_not_forgotten_when_vfs_are_disabled,
}

/// A bench whose guests know READY_TO_RESET, with two of them loaded.
fn bench() -> Bench {
    let mut bench = Bench::new(4);
    bench.engine.cfg.set_protocol(Protocol {
        ready_to_reset: true,
        ..Protocol::default()
    });
    bench.load(vf(0));
    bench.load(vf(1));
    bench.seen.clear();
    bench
}

fn queued(bench: &Bench, work: Work) -> bool {
    bench.seen.contains(&Action::Queue(work))
}

/// Lets time pass until the reset begins; how long that took.
fn until_reset(bench: &mut Bench, work: Work) -> Ns {
    let from = bench.now;
    while !queued(bench, work) {
        assert!(bench.now < from + 1_000 * MS, "{work:?} never begins");
        match bench.engine.awaits_command() {
            true => {
                bench.now += 10 * US;
                bench.done(CmdStatus::Done);
            }
            false => bench.tick(),
        }
    }
    bench.now - from
}

/// A VF that is loaded and is not on the engine, while another one is.
fn waiting(bench: &mut Bench) -> VfId {
    bench.until_command();
    while bench.engine.awaits_command() {
        bench.now += 10 * US;
        bench.done(CmdStatus::Done);
    }
    bench.seen.clear();
    let running = bench.engine.running().and_then(Fcn::vf).unwrap();
    vf(1 - u32::from(running.raw()))
}

fn who_does_not_answer_is_reset_all_the_same_and_keeps_nobody_waiting() {
    let mut bench = bench();
    let f = waiting(&mut bench);
    bench.feed(Event::ResetVf(f));
    assert_eq!(bench.engine.vf_state(f), VfState::Resetting);
    assert_eq!(
        bench.engine.seat().fcn(),
        Some(Fcn::Vf(vf(1 - f.raw() as u32)))
    );
    let took = until_reset(&mut bench, Work::Reset(f));
    assert_eq!(took, READY_WAIT);
    bench.settle();
    assert_eq!(bench.engine.vf_state(f), VfState::Available);
}

fn who_answers_is_reset_once_it_can_have_seen_the_acknowledgement() {
    let mut bench = bench();
    let f = waiting(&mut bench);
    bench.feed(Event::ResetVf(f));
    bench.now += MS;
    let dropped = bench.engine.vf_stats(f, bench.now).dropped;
    bench.send(f, GuestMessage::ReadyToReset);
    // Saying it twice changes nothing.
    bench.now += 3 * MS;
    bench.send(f, GuestMessage::ReadyToReset);
    assert!(!queued(&bench, Work::Reset(f)));
    assert_eq!(until_reset(&mut bench, Work::Reset(f)), 3 * MS);
    // It begins once; what comes late has no place.
    bench.seen.clear();
    assert_eq!(bench.engine.vf_stats(f, bench.now).dropped, dropped);
    bench.send(f, GuestMessage::ReadyToReset);
    assert_eq!(bench.engine.vf_stats(f, bench.now).dropped, dropped + 1);
    assert!(!queued(&bench, Work::Reset(f)));
}

/// Hangs whoever is on the engine, until it is blamed; who that is.
fn hang(bench: &mut Bench) -> (VfId, Ns) {
    bench.until_command();
    let from = bench.now;
    let f = bench.engine.running().and_then(Fcn::vf).unwrap();
    bench.seen.clear();
    let busy = Event::CmdStatus {
        status: CmdStatus::Busy,
        source: StatusSource::Poll,
    };
    while bench.engine.vf_state(f) != VfState::Resetting {
        bench.tick();
        if bench.out.as_slice().contains(&Action::ReadStatus) {
            bench.feed(busy);
        }
    }
    (f, from)
}

fn a_hung_vf_costs_a_tenth_of_the_watchdog_more_if_it_is_silent() {
    let mut bench = bench();
    let (f, from) = hang(&mut bench);
    assert!(!queued(&bench, Work::Reset(f)));
    until_reset(&mut bench, Work::Reset(f));
    let cost = bench.now - from;
    assert!(
        cost > 55 * MS - 10 * US && cost < 55 * MS + 100 * US,
        "{cost}"
    );
}

fn a_hung_vf_that_answers_is_reset_at_once() {
    let mut bench = bench();
    let (f, _) = hang(&mut bench);
    bench.now += 100 * US;
    bench.send(f, GuestMessage::ReadyToReset);
    assert!(queued(&bench, Work::Reset(f)));
}

fn a_hang_that_the_hardware_reports_early_leaves_the_guest_its_time() {
    let mut bench = bench();
    bench.until_command();
    let f = bench.engine.running().and_then(Fcn::vf).unwrap();
    bench.now += 5 * MS;
    bench.done(CmdStatus::Failed(0x0e));
    while bench.engine.vf_state(f) != VfState::Resetting {
        bench.tick();
    }
    bench.seen.clear();
    assert_eq!(until_reset(&mut bench, Work::Reset(f)), READY_WAIT);
}

fn nobody_is_waited_for_who_cannot_answer() {
    // No driver is loaded; and one whose messages are not read.
    for muted in [false, true] {
        let mut bench = bench();
        let f = if muted { waiting(&mut bench) } else { vf(2) };
        if muted {
            while bench.engine.takes_messages(f) {
                bench.send(f, GuestMessage::RelFini);
            }
        }
        bench.seen.clear();
        bench.feed(Event::ResetVf(f));
        assert!(queued(&bench, Work::Reset(f)), "muted {muted}");
    }
    // Its driver does not know how.
    let mut bench = Bench::new(2);
    bench.load(vf(0));
    bench.seen.clear();
    bench.feed(Event::ResetVf(vf(0)));
    assert!(queued(&bench, Work::Reset(vf(0))));
}

fn who_resets_itself_meanwhile_has_answered() {
    let mut bench = bench();
    let f = waiting(&mut bench);
    bench.feed(Event::ResetVf(f));
    bench.now += MS;
    bench.reset_seen(f.bit());
    assert!(queued(&bench, Work::Reset(f)));
    bench.settle();
    assert_eq!(bench.engine.vf_state(f), VfState::Available);
}

fn disabling_waits_for_no_guest() {
    for blocks in [false, true] {
        let mut bench = bench();
        let f = match blocks {
            true => hang(&mut bench).0,
            false => waiting(&mut bench),
        };
        bench.feed(Event::ResetVf(f));
        bench.feed(Event::Disable);
        // Only who keeps the seat has to be reset first.
        assert_eq!(queued(&bench, Work::Reset(f)), blocks);
        bench.settle();
        assert!(bench.seen.contains(&Action::Stopped), "blocks {blocks}");
        assert_eq!(bench.engine.phase(), Phase::Off);
    }
}

/// Has the PF fail, so that the whole GPU is to be reset.
fn pf_dies(bench: &mut Bench) {
    bench.feed(Event::PfWork(true));
    loop {
        let flies = bench.engine.flight.as_ref().map(|f| f.cmd.fcn);
        bench.now += 10 * US;
        match flies {
            Some(Fcn::Pf) => bench.done(CmdStatus::Failed(0x0e)),
            Some(_) => bench.done(CmdStatus::Done),
            None => bench.tick(),
        }
        if bench.engine.phase() == Phase::Recovering {
            return;
        }
    }
}

fn the_gpu_is_reset_once_all_have_answered_or_after_the_bound() {
    for silent in [false, true] {
        let mut bench = bench();
        pf_dies(&mut bench);
        assert!(!queued(&bench, Work::GpuReset));
        let from = bench.now;
        bench.now += MS;
        bench.send(vf(0), GuestMessage::ReadyToReset);
        // Not one that nobody has asked.
        bench.send(vf(2), GuestMessage::ReadyToReset);
        if !silent {
            bench.now += MS;
            bench.send(vf(1), GuestMessage::ReadyToReset);
        }
        until_reset(&mut bench, Work::GpuReset);
        let took = bench.now - from;
        match silent {
            false => assert!(took < 10 * MS, "{took}"),
            true => assert_eq!(took, READY_WAIT_GPU),
        }
        bench.settle();
        assert_eq!(bench.engine.phase(), Phase::On);
        for n in 0..4 {
            assert_eq!(bench.engine.vf_state(vf(n)), VfState::Available);
        }
    }
}

fn guests_that_do_not_answer_can_see_that_the_gpu_is_reset() {
    for loaded in [false, true] {
        let mut bench = Bench::new(2);
        if loaded {
            bench.load(vf(0));
        }
        bench.seen.clear();
        pf_dies(&mut bench);
        let told = bench.said(vf(0)).contains(&HostMessage::FlrNotification);
        assert!(told);
        // What was queued at once was seen with what was said.
        if loaded {
            assert_eq!(until_reset(&mut bench, Work::GpuReset), SEE_GPU_RESET);
        } else {
            assert!(bench.engine.gpu_reset_since.is_some());
        }
    }
}

fn a_gpu_reset_that_waits_is_not_forgotten_when_vfs_are_disabled() {
    let mut bench = bench();
    pf_dies(&mut bench);
    bench.feed(Event::Disable);
    assert!(queued(&bench, Work::GpuReset));
    assert!(!bench.seen.contains(&Action::Stopped));
    bench.settle();
    assert!(bench.seen.contains(&Action::Stopped));
}
