// SPDX-License-Identifier: GPL-2.0

//! Hardware that fails, and pauses of all of it.

use gim_core::{
    config::Completion,
    engine::Phase,
    event::Event,
    types::{Fcn, MS, US},
    vf::VfState,
};
use gim_core_sim::{
    gpu::Faults,
    guest::{Guest, Kind},
    rng::Rng,
    world::{vf, World},
};

use super::{loaded, plain, run_for, share_error, states, SEC};

#[test]
fn without_interrupts_the_engine_polls() {
    let mut world = loaded(plain(), &[Kind::Steady; 2]);
    world.gpu.faults.lost_irq = 10_000;
    let runs = run_for(&mut world, 2, 10 * SEC);
    assert!(share_error(&runs) < 0.01, "{runs:?}");
    assert_eq!(world.engine.gpu_stats(world.now).lost_irqs, 4);
    assert!(runs[0] > 4_500 * MS, "{runs:?}");
}

#[test]
fn a_chip_without_interrupts_is_polled() {
    let mut cfg = plain();
    cfg.set_completion(Completion::Poll { interval: 5 * US })
        .unwrap();
    let mut world = World::new(cfg, Rng::new(1));
    world.gpu.interrupts = false;
    world.weather.timer_late = US;
    world.enable(vec![Guest::new(Kind::Steady); 2]).unwrap();
    world.run_until(2 * SEC).unwrap();
    let before = world.engine.gpu_stats(world.now);
    let runs = run_for(&mut world, 2, 10 * SEC);
    let after = world.engine.gpu_stats(world.now);
    assert!(share_error(&runs) < 0.01, "{runs:?}");
    assert_eq!(after.lost_irqs, 0);
    // Commands take 85 us on average; four of them and what the polls are late.
    let mean = (after.switch_time - before.switch_time) / (after.switches - before.switches);
    assert!(mean < 375 * US, "{mean} ns per switch");
}

#[test]
fn a_lost_interrupt_is_noticed_and_forgiven() {
    let mut world = loaded(plain(), &[Kind::Steady; 2]);
    world.gpu.faults.lost_irq = 100;
    world.run_until(world.now + 20 * SEC).unwrap();
    let stats = world.engine.gpu_stats(world.now);
    assert!(stats.lost_irqs > 10, "{stats:?}");
    assert_eq!(stats.failures, 0);
}

#[test]
fn guests_whose_interrupts_are_lost_are_heard() {
    let mut world = World::new(plain(), Rng::new(3));
    world.weather.lost_messages = 10_000;
    let count = 16;
    world.enable(vec![Guest::new(Kind::Steady); count]).unwrap();
    // Each asks, which is found in the round, and gives full access back, for which the others wait
    // in vain for one interval.
    let housekeeping = world.engine.config().housekeeping();
    world.run_until(3 * count as u64 * housekeeping).unwrap();
    for n in 0..count {
        assert_eq!(world.engine.vf_state(vf(n)), VfState::Active, "VF{n}");
    }
}

#[test]
fn a_dead_gpu_can_still_be_disabled() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    let faults = Faults {
        hang: 10_000,
        pf_hang: 10_000,
        ..Faults::default()
    };
    world.gpu.faults = faults;
    let from = world.now;
    world.disable().unwrap();
    assert!(world.now - from < SEC);
    assert_eq!(world.engine.phase(), Phase::Off);

    let mut cfg = plain();
    cfg.set_gpu_reset(false);
    let mut world = loaded(cfg, &[Kind::Steady; 4]);
    world.gpu.faults = faults;
    world.feed(Event::PfWork(true)).unwrap();
    world.run_until(world.now + 5 * SEC).unwrap();
    assert_eq!(world.engine.phase(), Phase::Dead);
    assert_eq!(world.engine.vf_state(vf(0)), VfState::Quarantined);
    world.disable().unwrap();
    assert_eq!(world.engine.phase(), Phase::Off);
}

#[test]
fn paused_in_full_access_after_it_and_in_reset() {
    let mut world = loaded(plain(), &[Kind::Steady; 2]);
    world.feed(Event::ResetVf(vf(0))).unwrap();
    world.feed(Event::Pause(vf(0))).unwrap();
    assert_eq!(world.engine.vf_state(vf(0)), VfState::Resetting);
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.vf_state(vf(0)), VfState::Suspended);
    world.feed(Event::Resume(vf(0))).unwrap();
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.vf_state(vf(0)), VfState::Active);
}

#[test]
fn a_gpu_that_does_not_answer_is_reset_and_everybody_comes_back() {
    let mut world = loaded(plain(), &[Kind::Steady; 8]);
    for round in 1..=3 {
        world.gpu.faults.pf_hang = 10_000;
        world.feed(Event::PfWork(true)).unwrap();
        world.run_until(world.now + 200 * MS).unwrap();
        assert_eq!(world.engine.phase(), Phase::Recovering);
        assert_eq!(states(&world, 8), [VfState::Resetting; 8]);
        world.gpu.faults.pf_hang = 0;
        world.feed(Event::PfWork(false)).unwrap();
        world.run_until(world.now + 5 * SEC).unwrap();
        assert_eq!(world.engine.phase(), Phase::On);
        assert_eq!(states(&world, 8), [VfState::Active; 8]);
        assert_eq!(world.engine.gpu_stats(world.now).gpu_resets, round);
    }
    // The fourth time within ten minutes is once too often.
    world.gpu.faults.pf_hang = 10_000;
    world.feed(Event::PfWork(true)).unwrap();
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.phase(), Phase::Dead);
    world.disable().unwrap();
}

#[test]
fn the_whole_scheduler_pauses_and_goes_on() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    world.feed(Event::PauseAll).unwrap();
    world.run_until(world.now + 10 * MS).unwrap();
    assert!(world.all_paused);
    assert_eq!(run_for(&mut world, 4, SEC), [0; 4]);
    world.feed(Event::ResumeAll).unwrap();
    let runs = run_for(&mut world, 4, 5 * SEC);
    assert!(share_error(&runs) < 0.01 && runs[0] > SEC, "{runs:?}");
}

#[test]
fn a_pause_of_all_ends_with_a_gpu_that_dies_while_it_is_stopped() {
    let mut world = loaded(plain(), &[Kind::Steady; 2]);
    world.feed(Event::PfWork(true)).unwrap();
    while world.engine.running() != Some(Fcn::Pf) {
        world.run_until(world.now + 100 * US).unwrap();
    }
    world.gpu.faults.pf_hang = 10_000;
    world.feed(Event::PauseAll).unwrap();
    world.feed(Event::PfWork(false)).unwrap();
    assert!(!world.all_paused);
    world.disable().unwrap();
    assert!(world.all_paused);
    assert_eq!(world.engine.phase(), Phase::Off);
}

#[test]
fn a_device_that_is_gone_is_left_alone() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    world.gpu.gone = true;
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.phase(), Phase::Gone);
    world.disable().unwrap();
    assert_eq!(world.engine.deadline(), None);
}
