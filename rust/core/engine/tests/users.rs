// SPDX-License-Identifier: GPL-2.0

//! VFs that are closed and not reset.

use super::*;

cases! {
    gim_engine_users:
    users_are_looked_for_regularly,
    who_goes_without_a_word_is_reset,
    one_look_is_not_enough,
    who_was_never_seen_is_not_missed,
    whoever_is_reset_when_he_goes_is_reset_once,
    a_vf_that_is_held_waits,
    a_vf_that_is_filled_is_nobodys_yet,
    many_go_one_after_the_other,
}

/// Two VFs of four are loaded, and somebody has them open.
fn bench() -> Bench {
    let mut bench = Bench::new(4);
    bench.load(vf(0));
    bench.load(vf(1));
    look(&mut bench, 0b11);
    bench.seen.clear();
    bench
}

fn look(bench: &mut Bench, mask: u32) {
    bench.feed(Event::Users { mask });
}

fn abandoned(bench: &Bench) -> Vec<VfId> {
    let of = |action: &Action| match action {
        Action::Note(Note::Reset {
            vf,
            reason: ResetReason::Abandoned,
        }) => Some(*vf),
        _ => None,
    };
    bench.seen.iter().filter_map(of).collect()
}

fn state(bench: &Bench, n: u32) -> VfState {
    bench.engine.vf_state(vf(n))
}

fn users_are_looked_for_regularly() {
    let mut bench = bench();
    let end = bench.now + 1_000 * MS;
    while bench.now < end {
        bench.settle();
    }
    let looks = bench.seen.iter().filter(|a| **a == Action::ReadUsers);
    assert!((9..=11).contains(&looks.count()));
}

fn who_goes_without_a_word_is_reset() {
    let mut bench = bench();
    look(&mut bench, 0b10);
    look(&mut bench, 0b10);
    assert_eq!(abandoned(&bench), [vf(0)]);
    assert_eq!(state(&bench, 0), VfState::Resetting);
    bench.settle();
    bench.reset_seen(0b01);
    bench.settle();
    assert_eq!(state(&bench, 0), VfState::Available);
    assert_eq!(state(&bench, 1), VfState::Active);
    // Whoever had it has nothing to do with whoever is next.
    bench.load(vf(0));
    bench.seen.clear();
    for _ in 0..4 {
        look(&mut bench, 0b10);
    }
    assert_eq!(abandoned(&bench), []);
}

fn one_look_is_not_enough() {
    let mut bench = bench();
    for _ in 0..3 {
        look(&mut bench, 0b10);
        look(&mut bench, 0b11);
    }
    assert_eq!(abandoned(&bench), []);
}

fn who_was_never_seen_is_not_missed() {
    let mut bench = Bench::new(4);
    bench.load(vf(0));
    for _ in 0..4 {
        look(&mut bench, 0);
    }
    assert_eq!(state(&bench, 0), VfState::Active);
}

fn whoever_is_reset_when_he_goes_is_reset_once() {
    let mut bench = bench();
    bench.reset_seen(0b01);
    // It is closed only when it has been reset.
    look(&mut bench, 0b11);
    for _ in 0..4 {
        look(&mut bench, 0b10);
    }
    bench.settle();
    assert_eq!(abandoned(&bench), []);
    assert_eq!(state(&bench, 0), VfState::Available);
}

fn a_vf_that_is_held_waits() {
    let mut bench = bench();
    bench.feed(Event::Pause(vf(0)));
    bench.settle();
    for _ in 0..4 {
        look(&mut bench, 0b10);
    }
    assert_eq!(state(&bench, 0), VfState::Suspended);
    bench.feed(Event::Resume(vf(0)));
    look(&mut bench, 0b10);
    assert_eq!(abandoned(&bench), [vf(0)]);
}

/// It had a user until a moment ago, but what it is filled with is somebody else's.
fn a_vf_that_is_filled_is_nobodys_yet() {
    let mut bench = bench();
    look(&mut bench, 0b111);
    bench.feed(Event::Adopt(vf(2)));
    bench.settle();
    look(&mut bench, 0b11);
    look(&mut bench, 0b11);
    bench.feed(Event::Adopted {
        vf: vf(2),
        loaded: true,
        want: None,
    });
    bench.feed(Event::Resume(vf(2)));
    for _ in 0..4 {
        look(&mut bench, 0b11);
    }
    assert_eq!(state(&bench, 2), VfState::Active);
    // Once it has one again it may lose it.
    look(&mut bench, 0b111);
    look(&mut bench, 0b11);
    look(&mut bench, 0b11);
    assert_eq!(abandoned(&bench), [vf(2)]);
}

fn many_go_one_after_the_other() {
    let mut bench = Bench::new(16);
    for n in 0..16 {
        bench.load(vf(n));
    }
    look(&mut bench, 0xffff);
    bench.seen.clear();
    for _ in 0..17 {
        look(&mut bench, 0);
    }
    assert_eq!(abandoned(&bench), VfId::all().collect::<Vec<_>>());
}
