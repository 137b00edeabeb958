// SPDX-License-Identifier: GPL-2.0

//! Guests that hog, flood or hang, and what it costs the others.

use gim_core::{
    config::{Config, Mode},
    event::Event,
    guard::{Limit, Rate},
    mailbox::{GuestMessage, Protocol},
    types::{Fcn, Ns, MS},
    vf::VfState,
};
use gim_core_sim::{
    guest::{Guest, Kind},
    rng::Rng,
    world::{vf, World},
};

use super::{config, loaded, plain, run_for, share_error, SEC};

#[test]
fn a_guest_that_keeps_full_access_costs_the_others_half_a_second() {
    for mode in [Mode::WorkConserving, Mode::Strict] {
        let mut kinds = [Kind::Steady; 16];
        kinds[5] = Kind::Hogging;
        let mut world = loaded(config(mode), &kinds);
        for _ in 0..10 {
            let words = GuestMessage::ReqInit.words();
            world.feed(Event::Message { vf: vf(5), words }).unwrap();
            world.run_until(world.now + SEC).unwrap();
        }
        let stats = world.engine.vf_stats(vf(5), world.now);
        assert!(stats.timeouts >= 8, "{stats:?}");
        let gap = world.referee.gap_max;
        assert!(gap < 500 * MS, "{mode:?}: {gap} ns");
    }
}

#[test]
fn sixteen_hogs_at_once_are_served_within_twelve_seconds() {
    let mut world = World::new(plain(), Rng::new(3));
    world.enable(vec![Guest::new(Kind::Hogging); 16]).unwrap();
    world.run_until(15 * SEC).unwrap();
    assert!(world.referee.answered >= 16);
    assert!(
        world.referee.answer_max < 12 * SEC,
        "{}",
        world.referee.answer_max
    );
}

/// How much longer than usual somebody waits, in ns, when VF2 hangs.
fn lost_to_a_hang(world: &mut World) -> Ns {
    world.run_until(world.now + SEC).unwrap();
    let quiet = world.referee.gap_max;
    world.gpu.hang(vf(2));
    world.run_until(world.now + SEC).unwrap();
    world.referee.gap_max - quiet
}

#[test]
fn a_hang_costs_the_others_one_watchdog_period() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    let lost = lost_to_a_hang(&mut world);
    assert!(lost < 60 * MS, "{lost} ns");
    assert_eq!(world.engine.vf_stats(vf(2), world.now).hangs, 1);
    // Its guest was told, and is back.
    assert_eq!(world.engine.vf_state(vf(2)), VfState::Active);
}

#[test]
fn guests_that_are_told_and_answer_or_not_cost_the_others_hardly_more() {
    for answers in [true, false] {
        let mut cfg = plain();
        cfg.set_protocol(Protocol {
            ready_to_reset: true,
            exchange: false,
        });
        let mut world = loaded(cfg, &[Kind::Steady; 4]);
        for guest in &mut world.guests {
            guest.answers = answers;
        }
        let lost = lost_to_a_hang(&mut world);
        assert!(lost < 60 * MS, "answers {answers}: {lost} ns");
        let stats = world.engine.vf_stats(vf(2), world.now);
        assert_eq!((stats.hangs, stats.dropped), (1, 0));
        assert_eq!(world.engine.vf_state(vf(2)), VfState::Active);
        // Who is reset by the host, and is not on the engine, costs nobody anything.
        world.referee.gap_max = 0;
        while world.engine.running() == Some(Fcn::Vf(vf(2))) {
            world.run_steps(1).unwrap();
        }
        world.feed(Event::ResetVf(vf(2))).unwrap();
        world.run_until(world.now + SEC).unwrap();
        assert_eq!(world.engine.vf_state(vf(2)), VfState::Active);
        assert!(world.referee.gap_max < 150 * MS);
    }
}

#[test]
fn who_hangs_again_and_again_is_quarantined_until_the_host_relents() {
    let mut world = loaded(Config::DEFAULT, &[Kind::Steady; 4]);
    world
        .engine
        .set_rate(Limit::Resets, Rate::new(100, SEC).unwrap());
    for _ in 0..7 {
        assert_eq!(world.engine.vf_state(vf(1)), VfState::Active);
        world.gpu.hang(vf(1));
        world.run_until(world.now + 7 * SEC).unwrap();
    }
    assert_eq!(world.engine.vf_state(vf(1)), VfState::Quarantined);
    assert_eq!(world.engine.vf_stats(vf(1), world.now).hangs, 7);
    let runs = run_for(&mut world, 4, 5 * SEC);
    assert!(runs[1] == 0 && runs[0] > 1_500 * MS, "{runs:?}");
    world.feed(Event::ResetVf(vf(1))).unwrap();
    assert_eq!(world.engine.vf_state(vf(1)), VfState::Resetting);
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.vf_state(vf(1)), VfState::Active);
}

#[test]
fn a_flood_of_messages_is_stopped_and_moves_no_share() {
    let mut world = loaded(Config::DEFAULT, &[Kind::Steady; 4]);
    let before = run_for(&mut world, 4, 5 * SEC);
    let mut taken = 0;
    let from: Vec<Ns> = (0..4)
        .map(|n| world.gpu.run_time(Fcn::Vf(vf(n)), world.now))
        .collect();
    for _ in 0..5_000 {
        taken += u32::from(world.engine.takes_messages(vf(2)));
        world.hear(vf(2), [0xBAD, 0, 0, 0]).unwrap();
        world.run_until(world.now + MS).unwrap();
    }
    assert!((56..64).contains(&taken), "{taken}");
    for n in 0..4 {
        let ran = world.gpu.run_time(Fcn::Vf(vf(n)), world.now) - from[n];
        let moved = ran as f64 / before[n] as f64 - 1.0;
        assert!(moved.abs() < 0.01, "VF{n}: {moved}");
    }
    // In the end it is heard again.
    world.run_until(world.now + 70 * SEC).unwrap();
    assert!(world.engine.takes_messages(vf(2)));
}

#[test]
fn full_access_on_and_on_is_made_to_wait() {
    let mut kinds = [Kind::Steady; 4];
    kinds[3] = Kind::Hogging;
    let mut world = loaded(Config::DEFAULT, &kinds);
    world.run_until(world.now + 20 * SEC).unwrap();
    let from = world.gpu.run_time(Fcn::Vf(vf(3)), world.now);
    for _ in 0..1_000 {
        // It asks, and releases just in time.
        world.hear(vf(3), GuestMessage::ReqInit.words()).unwrap();
        world.run_until(world.now + 200 * MS).unwrap();
    }
    let had = world.gpu.run_time(Fcn::Vf(vf(3)), world.now) - from;
    assert!(had < 4 * SEC, "{had} ns of 200 s");
    let runs = run_for(&mut world, 3, 10 * SEC);
    assert!(share_error(&runs) < 0.01, "{runs:?}");
}
