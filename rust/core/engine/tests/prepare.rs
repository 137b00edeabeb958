// SPDX-License-Identifier: GPL-2.0

//! What guests read before they initialise: written in time, as often as needed and no more.

use super::{
    super::super::mailbox::Protocol,
    *, //
};

cases! {
    gim_engine_prepare:
    full_access_waits_until_it_is_written,
    who_asks_is_answered_and_it_is_written_once_for_each_full_access,
    who_unloads_waits_for_nothing,
    what_a_reset_wipes_is_written_again_after_the_scrub,
    a_reset_before_the_request_is_seen_first,
    a_preparation_that_does_not_end_is_given_up,
    disabling_waits_for_what_is_being_written,
    a_vf_is_not_adopted_while_something_is_written_to_it,
    nor_if_it_is_paused_meanwhile,
}

/// A bench whose guests read what the host writes.
fn bench() -> Bench {
    let mut bench = Bench::new(2);
    bench.engine.cfg.set_protocol(Protocol {
        exchange: true,
        ..Protocol::default()
    });
    bench.seen.clear();
    bench
}

fn queued(bench: &Bench, f: VfId) -> usize {
    let work = Action::Queue(Work::Prepare(f));
    bench.seen.iter().filter(|&&action| action == work).count()
}

/// Lets time pass; only what is no preparation is completed.
fn settle_but_prepare(bench: &mut Bench) {
    let end = bench.now + 20 * MS;
    loop {
        if bench.engine.awaits_command() {
            bench.now += 10 * US;
            bench.done(CmdStatus::Done);
        } else if bench.engine.deadline().is_some_and(|at| at <= end) {
            bench.tick();
        } else {
            bench.now = end;
            return;
        }
    }
}

fn prepared(bench: &mut Bench, f: VfId, ok: bool) {
    let work = Work::Prepare(f);
    while let Some(at) = bench.seen.iter().position(|a| *a == Action::Queue(work)) {
        bench.seen.remove(at);
    }
    bench.feed(Event::WorkDone { work, ok });
}

fn full_access_waits_until_it_is_written() {
    for ok in [true, false] {
        let (mut bench, f) = (bench(), vf(0));
        bench.send(f, GuestMessage::ReqInit);
        settle_but_prepare(&mut bench);
        assert_eq!(queued(&bench, f), 1);
        assert_eq!(bench.engine.vf_state(f), VfState::Available);
        prepared(&mut bench, f, ok);
        settle_but_prepare(&mut bench);
        // What could not be written is missing; that is all.
        assert_eq!(bench.engine.vf_state(f), VfState::FullAccess);
        assert_eq!(bench.said(f), [HostMessage::Ready]);
    }
}

fn who_asks_is_answered_and_it_is_written_once_for_each_full_access() {
    let (mut bench, f) = (bench(), vf(0));
    for _ in 0..3 {
        bench.send(f, GuestMessage::ReqInitData);
        settle_but_prepare(&mut bench);
        assert_eq!(queued(&bench, f), 1);
        prepared(&mut bench, f, true);
        assert_eq!(bench.said(f), [HostMessage::InitDataReady]);
        // Asking again costs an answer.
        bench.send(f, GuestMessage::ReqInitData);
        settle_but_prepare(&mut bench);
        assert_eq!(queued(&bench, f), 0);
        assert_eq!(bench.said(f), [HostMessage::InitDataReady]);
        bench.send(f, GuestMessage::ReqInit);
        settle_but_prepare(&mut bench);
        assert_eq!(queued(&bench, f), 0);
        assert_eq!(bench.said(f), [HostMessage::Ready]);
        // Not now: the answer would replace READY.
        let dropped = bench.engine.vf_stats(f, bench.now).dropped;
        bench.send(f, GuestMessage::ReqInitData);
        settle_but_prepare(&mut bench);
        assert_eq!(bench.engine.vf_stats(f, bench.now).dropped, dropped + 1);
        assert_eq!((queued(&bench, f), bench.said(f)), (0, Vec::new()));
        bench.send(f, GuestMessage::RelInit);
        settle_but_prepare(&mut bench);
        // It crashes; the next one is told anew.
    }
}

fn who_unloads_waits_for_nothing() {
    let (mut bench, f) = (bench(), vf(0));
    bench.load(f);
    bench.seen.clear();
    bench.send(f, GuestMessage::ReqFini);
    settle_but_prepare(&mut bench);
    assert_eq!(queued(&bench, f), 0);
    assert_eq!(bench.said(f), [HostMessage::Ready]);
}

fn what_a_reset_wipes_is_written_again_after_the_scrub() {
    let (mut bench, f) = (bench(), vf(0));
    bench.send(f, GuestMessage::ReqInit);
    settle_but_prepare(&mut bench);
    // The reset comes while it is being written.
    bench.feed(Event::ResetVf(f));
    let work = Work::Reset(f);
    bench.feed(Event::WorkDone { work, ok: true });
    let scrub = Action::Queue(Work::Scrub(f));
    settle_but_prepare(&mut bench);
    assert!(!bench.seen.contains(&scrub), "it would wipe half a page");
    prepared(&mut bench, f, true);
    assert!(bench.seen.contains(&scrub));
    let work = Work::Scrub(f);
    bench.feed(Event::WorkDone { work, ok: true });
    settle_but_prepare(&mut bench);
    assert_eq!(bench.engine.vf_state(f), VfState::Available);
    assert_eq!(queued(&bench, f), 1);
    prepared(&mut bench, f, true);
    settle_but_prepare(&mut bench);
    assert_eq!(bench.engine.vf_state(f), VfState::FullAccess);
}

fn a_reset_before_the_request_is_seen_first() {
    let (mut bench, f) = (bench(), vf(0));
    bench.resets = f.bit();
    bench.send(f, GuestMessage::ReqInitData);
    assert_eq!(queued(&bench, f), 0);
    assert_eq!(bench.engine.vf_state(f), VfState::Resetting);
    bench.settle();
    // What was asked after the reset is answered after the scrub.
    assert_eq!(bench.said(f), [HostMessage::InitDataReady]);
}

fn a_preparation_that_does_not_end_is_given_up() {
    let (mut bench, f) = (bench(), vf(0));
    bench.send(f, GuestMessage::ReqInitData);
    bench.send(f, GuestMessage::ReqInit);
    let end = bench.now + bench.engine.config().work_bound() + 40 * MS;
    while bench.now < end {
        settle_but_prepare(&mut bench);
    }
    assert_eq!(bench.engine.vf_state(f), VfState::FullAccess);
    assert_eq!(bench.said(f)[0], HostMessage::Ready);
}

fn disabling_waits_for_what_is_being_written() {
    let (mut bench, f) = (bench(), vf(0));
    bench.send(f, GuestMessage::ReqInit);
    settle_but_prepare(&mut bench);
    bench.feed(Event::Disable);
    assert!(!bench.seen.contains(&Action::Stopped));
    prepared(&mut bench, f, true);
    assert!(bench.seen.contains(&Action::Stopped));
}

fn a_vf_is_not_adopted_while_something_is_written_to_it() {
    adopted_once_written(&[]);
}

fn nor_if_it_is_paused_meanwhile() {
    let (bench, f) = (adopted_once_written(&[Event::Pause(vf(0))]), vf(0));
    assert!(bench.seen.contains(&Action::Paused(f)));
    assert!(!bench.engine.takes_messages(f));
}

/// VF0 is to be adopted while something is written to it, and that happens too: it is once that
/// has ended, and not before.
fn adopted_once_written(meanwhile: &[Event]) -> Bench {
    let (mut bench, f) = (bench(), vf(0));
    bench.send(f, GuestMessage::ReqInitData);
    settle_but_prepare(&mut bench);
    bench.feed(Event::Adopt(f));
    meanwhile.iter().for_each(|&event| bench.feed(event));
    settle_but_prepare(&mut bench);
    let taken = Action::Adopted { vf: f, ok: true };
    assert!(!bench.seen.contains(&taken));
    prepared(&mut bench, f, true);
    settle_but_prepare(&mut bench);
    assert!(bench.seen.contains(&taken));
    bench
}
