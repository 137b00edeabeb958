// SPDX-License-Identifier: GPL-2.0

//! Reads of RESET_NOTIFICATION and their answers: in order, late, lost, and out of place.

use super::*;

cases! {
    gim_engine_reads:
    our_own_reset_shows_in_a_younger_read_only,
    a_message_between_read_and_answer_takes_nothing_from_either,
    what_a_younger_read_shows_came_after_load,
    a_failure_is_judged_by_the_read_that_followed_it,
    an_adoption_waits_for_its_own_read,
    a_read_whose_answer_is_lost_is_made_again,
    answers_that_nobody_waits_for_count_for_nothing,
    who_looks_is_told_at_once_unless_the_gpu_is_not_there,
    the_seat_of_the_vf_before_is_not_that_of_the_vf_enabled_now,
}

/// A bench with two loaded VFs, whose reads the test answers.
fn bench() -> Bench {
    let mut bench = Bench::new(2);
    bench.load(vf(0));
    bench.load(vf(1));
    bench.answers = false;
    bench.seen.clear();
    bench
}

/// The read that the last step ordered.
fn ordered(bench: &Bench) -> u64 {
    read_in(&bench.out).unwrap()
}

fn answer(bench: &mut Bench, read: u64, mask: u32) {
    bench.feed(Event::ResetSeen { read, mask });
}

/// A message of the other VF comes, and the register is to be read anyway.
fn message_and_read(bench: &mut Bench, f: VfId) -> u64 {
    bench.engine.housekeeping_at = bench.now;
    bench.send(vf(1 - f.raw() as u32), GuestMessage::ReqFini);
    ordered(bench)
}

/// Up to the RUN of a switch; of whom, and the read that goes with it.
fn until_run(bench: &mut Bench) -> (VfId, u64) {
    bench.until_command();
    loop {
        bench.now += 10 * US;
        bench.done(CmdStatus::Done);
        if let Some(Action::Command(run)) = bench.out.as_slice().last().copied() {
            if let (CmdKind::Run, Fcn::Vf(f)) = (run.kind, run.fcn) {
                return (f, ordered(bench));
            }
        }
    }
}

fn our_own_reset_shows_in_a_younger_read_only() {
    let (mut bench, f) = (bench(), vf(0));
    while bench.engine.running() != Some(Fcn::Vf(f)) {
        bench.answers = true;
        bench.settle();
    }
    bench.answers = false;
    bench.feed(Event::ResetVf(f));
    let read = ordered(&bench);
    assert_eq!(bench.engine.seat(), Seat::Unknown);
    answer(&mut bench, read, f.bit());
    assert_eq!(bench.engine.seat(), Seat::Unknown, "it was its guest's own");
    bench.now += 200 * US;
    bench.feed(Event::Timer);
    let read = ordered(&bench);
    answer(&mut bench, read, f.bit());
    assert_eq!(bench.engine.seat(), Seat::Empty);
}

fn a_message_between_read_and_answer_takes_nothing_from_either() {
    for late in [false, true] {
        let mut bench = bench();
        let f = until_run(&mut bench).0;
        bench.feed(Event::ResetVf(f));
        let old = ordered(&bench);
        if !late {
            answer(&mut bench, old, 0);
        }
        let new = message_and_read(&mut bench, f);
        if late {
            // The message was one that waited, and was read before.
            answer(&mut bench, old, f.bit());
            assert_eq!(bench.engine.seat(), Seat::Unknown);
        }
        answer(&mut bench, new, f.bit());
        assert_eq!(bench.engine.seat(), Seat::Empty, "late {late}");
    }
}

fn what_a_younger_read_shows_came_after_load() {
    for early in [false, true] {
        let mut bench = bench();
        let (f, read) = until_run(&mut bench);
        let next = message_and_read(&mut bench, f);
        bench.seen.clear();
        let (first, second) = if early { (f.bit(), 0) } else { (0, f.bit()) };
        answer(&mut bench, read, first);
        answer(&mut bench, next, second);
        assert_eq!(bench.engine.vf_state(f), VfState::Resetting);
        // What was loaded after the reset runs, and must be stopped.
        let own = bench.seen.contains(&Action::Queue(Work::Reset(f)));
        assert_eq!((own, bench.engine.blocked == Some(f)), (early, early));
    }
}

fn a_failure_is_judged_by_the_read_that_followed_it() {
    for resets in [false, true] {
        let mut bench = bench();
        let (f, old) = until_run(&mut bench);
        bench.done(CmdStatus::Failed(0x0e));
        let read = ordered(&bench);
        answer(&mut bench, old, 0);
        assert_eq!(bench.engine.vf_state(f), VfState::Active);
        bench.now += 50 * US;
        bench.feed(Event::Timer);
        assert_eq!(bench.engine.vf_state(f), VfState::Active);
        answer(&mut bench, read, if resets { f.bit() } else { 0 });
        assert_eq!(bench.engine.vf_state(f), VfState::Resetting);
        let hangs = bench.engine.vf_stats(f, bench.now).hangs;
        assert_eq!(hangs, u64::from(!resets));
    }
}

fn an_adoption_waits_for_its_own_read() {
    for resets in [false, true] {
        let mut bench = Bench::new(2);
        bench.answers = false;
        let (f, g) = (vf(0), vf(1));
        bench.feed(Event::Look);
        let old = ordered(&bench);
        bench.feed(Event::Adopt(f));
        let read = ordered(&bench);
        answer(&mut bench, old, g.bit());
        assert_eq!(bench.engine.adoption(f), Adoption::Waiting);
        answer(&mut bench, read, if resets { f.bit() } else { 0 });
        let want = [Adoption::Taken, Adoption::Waiting];
        assert_eq!(bench.engine.adoption(f), want[usize::from(resets)]);
    }
}

fn a_read_whose_answer_is_lost_is_made_again() {
    let (mut bench, f) = (Bench::new(2), vf(0));
    bench.answers = false;
    bench.seen.clear();
    bench.send(f, GuestMessage::ReqInit);
    let lost = ordered(&bench);
    assert_eq!(bench.engine.vf_state(f), VfState::FullAccess);
    // Nobody is let in on a guess.
    bench.now += 500 * US;
    bench.feed(Event::Timer);
    assert_eq!(bench.commands(), []);
    while read_in(&bench.out).is_none() {
        bench.tick();
    }
    let again = ordered(&bench);
    assert!(again > lost);
    answer(&mut bench, again, 0);
    assert_eq!(bench.commands(), [(CmdKind::Init, Fcn::Vf(f))]);
    // The first one turns up.
    let stray = bench.engine.gpu_stats(bench.now).stray;
    answer(&mut bench, lost, f.bit());
    assert_eq!(bench.engine.gpu_stats(bench.now).stray, stray + 1);
    assert_eq!(bench.engine.vf_state(f), VfState::FullAccess);
}

fn answers_that_nobody_waits_for_count_for_nothing() {
    let (mut bench, f) = (bench(), vf(0));
    bench.feed(Event::Look);
    let read = ordered(&bench);
    for wrong in [0, read - 1, read + 1, u64::MAX] {
        answer(&mut bench, wrong, f.bit());
        assert_eq!(bench.engine.vf_state(f), VfState::Active, "{wrong}");
    }
    answer(&mut bench, read, 0);
    answer(&mut bench, read, f.bit());
    assert_eq!(bench.engine.vf_state(f), VfState::Active, "twice");
    // The GPU is not what it was when this was read.
    for back in [false, true] {
        bench.feed(Event::Look);
        let read = ordered(&bench);
        bench.feed(Event::Detached);
        if back {
            bench.feed(Event::Attached);
        }
        let resets = bench.engine.vf_stats(f, bench.now).resets;
        let stray = bench.engine.gpu_stats(bench.now).stray;
        answer(&mut bench, read, f.bit());
        assert_eq!(bench.engine.gpu_stats(bench.now).stray, stray + 1);
        assert_eq!(bench.engine.vf_stats(f, bench.now).resets, resets);
        assert!(back || bench.engine.reads_deadline().is_none());
        if !back {
            bench.feed(Event::Attached);
        }
    }
}

fn who_looks_is_told_at_once_unless_the_gpu_is_not_there() {
    let (mut bench, f) = (bench(), vf(0));
    bench.answers = true;
    bench.resets = f.bit();
    bench.feed(Event::Look);
    assert_eq!(bench.engine.vf_state(f), VfState::Resetting);
    bench.feed(Event::Detached);
    bench.feed(Event::Look);
    assert_eq!(read_in(&bench.out), None);
    bench.feed(Event::Gone);
    bench.feed(Event::Look);
    assert_eq!(read_in(&bench.out), None);
}

fn the_seat_of_the_vf_before_is_not_that_of_the_vf_enabled_now() {
    let (mut bench, f) = (Bench::new(1), vf(0));
    let init = (CmdKind::Init, Fcn::Vf(f));
    bench.send(f, GuestMessage::ReqInit);
    while !bench.commands().contains(&init) {
        bench.now += 10 * US;
        match bench.engine.awaits_command() {
            true => bench.done(CmdStatus::Done),
            false => bench.tick(),
        }
    }
    bench.feed(Event::Disable);
    bench.done(CmdStatus::Done);
    assert_eq!(bench.engine.phase(), Phase::Off);
    assert_eq!(bench.engine.seat(), Seat::Fresh(Fcn::Vf(f)));
    bench.feed(Event::Enable { count: 1 });
    assert_eq!(bench.engine.seat(), Seat::Empty);
    // While the first scrub goes on.
    bench.reset_seen(f.bit());
    bench.settle();
    bench.load(f);
}
