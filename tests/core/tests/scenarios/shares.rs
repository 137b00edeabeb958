// SPDX-License-Identifier: GPL-2.0

//! Round robin: who gets how much, with and without neighbours.

use gim_core::{
    config::{Mode, Policy},
    event::Event,
    types::{Fcn, Ns, MS, US},
};
use gim_core_sim::{
    guest::Kind,
    world::{vf, World},
};

use super::{config, loaded, plain, qos, run_for, share_error, SEC};

#[test]
fn shares_are_equal() {
    for mode in [Mode::WorkConserving, Mode::Strict] {
        for count in [2, 4, 8, 16] {
            let mut world = loaded(config(mode), &vec![Kind::Steady; count]);
            world.weather.timer_late = 300 * US;
            let runs = run_for(&mut world, count, 10 * SEC);
            let error = share_error(&runs);
            assert!(error < 0.01, "{mode:?} {count}: {error} {runs:?}");
            let gap = world.referee.gap_max as f64 / (count as f64 * 6e6);
            assert!(
                gap < 1.2,
                "{mode:?} {count}: the longest gap is {gap} rounds"
            );
            let all: Ns = runs.iter().sum();
            assert!(all > 9 * SEC, "{mode:?} {count}: {all} ns of 10 s are used");
        }
    }
}

#[test]
fn what_idles_slowly_gains_nothing() {
    for mode in [Mode::WorkConserving, Mode::Strict] {
        let mut world = loaded(config(mode), &[Kind::Steady; 4]);
        world.gpu.slow_idle[1] = 5 * MS;
        world.gpu.slow_idle[2] = 20 * MS;
        let runs = run_for(&mut world, 4, 20 * SEC);
        assert!(share_error(&runs) < 0.01, "{mode:?}: {runs:?}");
        let stats = world.engine.vf_stats(vf(2), world.now);
        assert!(stats.overrun > 0 && stats.skips > 0, "{stats:?}");
    }
}

#[test]
fn strict_gives_an_absent_vfs_time_to_nobody() {
    let all = {
        let mut world = loaded(config(Mode::Strict), &[Kind::Steady; 4]);
        run_for(&mut world, 4, 10 * SEC)[0]
    };
    let mut world = loaded(config(Mode::Strict), &[Kind::Steady; 4]);
    world.feed(Event::Pause(vf(1))).unwrap();
    world.feed(Event::Pause(vf(2))).unwrap();
    let runs = run_for(&mut world, 4, 10 * SEC);
    for n in [0, 3] {
        let gain = runs[n] as f64 / all as f64 - 1.0;
        assert!(gain.abs() < 0.01, "VF{n} gains {gain}: {runs:?}, {all}");
    }
    assert!(runs[1] < 10 * MS && runs[2] < 10 * MS, "{runs:?}");
}

#[test]
fn strict_has_the_pf_work_in_the_time_of_who_is_absent() {
    let run = |work| {
        let mut world = loaded(config(Mode::Strict), &[Kind::Steady; 4]);
        world.feed(Event::Pause(vf(1))).unwrap();
        world.feed(Event::PfWork(work)).unwrap();
        let before = world.gpu.run_time(Fcn::Pf, world.now);
        let runs = run_for(&mut world, 4, 10 * SEC);
        (runs, world.gpu.run_time(Fcn::Pf, world.now) - before)
    };
    let (calm, idle) = run(false);
    let (runs, pf) = run(true);
    assert!(
        idle == 0 && pf > 2 * SEC,
        "the PF runs for {idle} and {pf} ns"
    );
    for n in [0, 2, 3] {
        let loss = 1.0 - runs[n] as f64 / calm[n] as f64;
        assert!(loss.abs() < 0.01, "VF{n} loses {loss}: {runs:?}, {calm:?}");
    }
}

#[test]
fn the_pf_leaves_a_slot_that_it_was_lent_when_its_work_ends() {
    let mut world = loaded(config(Mode::Strict), &[Kind::Steady; 4]);
    world.feed(Event::Pause(vf(1))).unwrap();
    world.feed(Event::PfWork(true)).unwrap();
    let runs = |world: &World| world.gpu.run_time(Fcn::Pf, world.now);
    let before = runs(&world);
    while runs(&world) == before {
        world.run_until(world.now + 100 * US).unwrap();
    }
    // Whoever has new work for it must be told anew that it runs.
    world.feed(Event::PfWork(false)).unwrap();
    let left = runs(&world);
    world.run_until(world.now + 100 * MS).unwrap();
    // Until the command that stops it has ended, and not for a slice.
    assert!(runs(&world) - left < MS, "the PF runs on");
}

#[test]
fn work_conserving_gives_it_to_the_others() {
    let mut world = loaded(config(Mode::WorkConserving), &[Kind::Steady; 4]);
    world.feed(Event::Pause(vf(1))).unwrap();
    world.feed(Event::Pause(vf(2))).unwrap();
    let runs = run_for(&mut world, 4, 10 * SEC);
    assert!(runs[0] > 4_600 * MS && runs[3] > 4_600 * MS, "{runs:?}");
}

#[test]
fn a_lone_vf_is_never_switched() {
    for (mode, count) in [
        (Mode::WorkConserving, 4),
        (Mode::WorkConserving, 1),
        (Mode::Strict, 1),
    ] {
        let mut world = loaded(config(mode), &vec![Kind::Steady; count]);
        for n in 1..count {
            world.feed(Event::Pause(vf(n))).unwrap();
        }
        world.run_until(world.now + SEC).unwrap();
        let commands = world.engine.gpu_stats(world.now).commands;
        let runs = run_for(&mut world, 1, 10 * SEC);
        assert_eq!(runs[0], 10 * SEC);
        assert_eq!(world.engine.gpu_stats(world.now).commands, commands);
        let stats = world.engine.vf_stats(vf(0), world.now);
        assert_eq!(stats.skips, 0);
    }
}

#[test]
fn who_was_alone_owes_nothing() {
    let mut world = loaded(config(Mode::WorkConserving), &[Kind::Steady; 2]);
    world.feed(Event::Pause(vf(1))).unwrap();
    world.run_until(world.now + 5 * SEC).unwrap();
    world.feed(Event::Resume(vf(1))).unwrap();
    let runs = run_for(&mut world, 2, SEC);
    assert!(share_error(&runs) < 0.02, "{runs:?}");
    assert!(world.referee.gap_max < 20 * MS);
}

#[test]
fn the_pf_has_its_turns_and_no_more() {
    let mut world = loaded(plain(), &[Kind::Steady; 2]);
    world.feed(Event::PfWork(true)).unwrap();
    let from = world.gpu.run_time(Fcn::Pf, world.now);
    let runs = run_for(&mut world, 2, 10 * SEC);
    let pf = world.gpu.run_time(Fcn::Pf, world.now) - from;
    assert!(share_error(&runs) < 0.01, "{runs:?}");
    let ratio = pf as f64 / runs[0] as f64;
    assert!((0.3..0.37).contains(&ratio), "{ratio}");
    for n in 0..2 {
        world.feed(Event::Pause(vf(n))).unwrap();
    }
    world.run_until(world.now + 100 * MS).unwrap();
    let commands = world.engine.gpu_stats(world.now).commands;
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.gpu_stats(world.now).commands, commands);
    assert_eq!(world.engine.running(), Some(Fcn::Pf));
}

#[test]
fn what_the_pf_ran_alone_is_not_held_against_it() {
    let mut world = loaded(
        qos(Mode::WorkConserving, &[1, 1], |_| {}),
        &[Kind::Steady; 2],
    );
    let grants = world.engine.vf_stats(vf(0), world.now).grants;
    for n in 0..2 {
        world.feed(Event::Pause(vf(n))).unwrap();
    }
    world.feed(Event::PfWork(true)).unwrap();
    world.run_until(world.now + 10 * SEC).unwrap();
    for n in 0..2 {
        world.feed(Event::Resume(vf(n))).unwrap();
    }
    let from = world.gpu.run_time(Fcn::Pf, world.now);
    world.run_until(world.now + 2 * SEC).unwrap();
    let pf = world.gpu.run_time(Fcn::Pf, world.now) - from;
    assert!(
        pf > 80 * MS,
        "the PF had {pf} ns of two seconds, 1/16 is its part"
    );
    // And full access waits for the PF's turn only as long as that takes.
    world.hear(vf(0), [3, 0, 0, 0]).unwrap();
    world.run_until(world.now + 500 * MS).unwrap();
    let now = world.engine.vf_stats(vf(0), world.now).grants;
    assert!(now > grants, "full access was not granted");
}

#[test]
fn what_the_engine_books_is_what_the_hardware_ran() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    world.run_until(world.now + 10 * SEC).unwrap();
    for n in 0..4 {
        let booked = world.engine.vf_stats(vf(n), world.now);
        let ran = world.gpu.run_time(Fcn::Vf(vf(n)), world.now);
        let error = booked.run.abs_diff(ran) as f64 / ran as f64;
        assert!(error < 0.001, "VF{n}: {booked:?}, {ran}");
        // Running, waiting and being switched is all that a VF does.
        assert!(
            booked.slices > 300 && booked.wait > booked.run * 2,
            "{booked:?}"
        );
    }
}

#[test]
fn who_has_no_work_is_skipped_and_comes_back_at_once() {
    for policy in [Policy::RoundRobin, Policy::Qos] {
        let mut cfg = plain();
        cfg.set_policy(policy);
        let mut world = loaded(cfg, &[Kind::Steady; 4]);
        world.feed(Event::Busy { mask: 0b0011 }).unwrap();
        let runs = run_for(&mut world, 4, 10 * SEC);
        assert!(
            runs[0] > 4_400 * MS && runs[1] > 4_400 * MS,
            "{policy:?} {runs:?}"
        );
        // Nobody relies on what the hardware says alone.
        assert!(
            runs[2] > 100 * MS && runs[2] < 500 * MS,
            "{policy:?} {runs:?}"
        );
        world.feed(Event::Busy { mask: 0b0111 }).unwrap();
        world.referee.gap_max = 0;
        world.run_until(world.now + 20 * MS).unwrap();
        assert!(world.referee.gap(2, world.now) < 20 * MS);
        world.feed(Event::Busy { mask: 0b1111 }).unwrap();
        let runs = run_for(&mut world, 4, 10 * SEC);
        assert!(share_error(&runs) < 0.02, "{policy:?} {runs:?}");
        // Nobody has any: whoever runs, stays.
        world.feed(Event::Busy { mask: 0 }).unwrap();
        let before = world.engine.gpu_stats(world.now).switches;
        world.run_until(world.now + SEC).unwrap();
        assert!(world.engine.gpu_stats(world.now).switches - before < 30);
    }
}
