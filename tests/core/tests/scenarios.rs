// SPDX-License-Identifier: GPL-2.0

//! Situations with a known right outcome, in virtual time.

use gim_core::{
    config::{Completion, Config, Mode, Policy},
    engine::Phase,
    event::Event,
    guard::{Limit, Rate},
    mailbox::{GuestMessage, Protocol},
    policy::{Share, Table},
    types::{Fcn, Ns, MAX_VFS, MS, US},
    vf::VfState,
};
use gim_core_sim::{
    gpu::Faults,
    guest::{Guest, Kind},
    rng::Rng,
    world::{vf, World},
};

const SEC: Ns = 1_000 * MS;

/// A world in which these guests have had a second to load.
fn loaded(cfg: Config, kinds: &[Kind]) -> World {
    let mut world = World::new(cfg, Rng::new(7));
    world
        .enable(kinds.iter().map(|&kind| Guest::new(kind)).collect())
        .unwrap();
    let settled = kinds.len() as u64 * 300 * MS + SEC;
    world.run_until(settled).unwrap();
    world.referee.gap_max = 0;
    world
}

/// Without limits, so that guests may offend as often as a test wants.
fn plain() -> Config {
    let mut cfg = Config::DEFAULT;
    cfg.set_guard(false);
    cfg
}

fn config(mode: Mode) -> Config {
    let mut cfg = plain();
    cfg.set_mode(mode);
    cfg
}

/// The time each VF runs during `time`, by the hardware's clock.
fn run_for(world: &mut World, count: usize, time: Ns) -> Vec<Ns> {
    let run = |world: &World| -> Vec<Ns> {
        let each = |n| world.gpu.run_time(Fcn::Vf(vf(n)), world.now);
        (0..count).map(each).collect()
    };
    let before = run(world);
    world.run_until(world.now + time).unwrap();
    let after = run(world);
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

/// The largest distance of a share from the mean, as a part of the mean.
fn share_error(runs: &[Ns]) -> f64 {
    let mean = runs.iter().sum::<Ns>() as f64 / runs.len() as f64;
    let far = |run: &Ns| (*run as f64 - mean).abs() / mean;
    runs.iter().map(far).fold(0.0, f64::max)
}

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
    assert!(runs(&world) - left < 100 * US, "the PF runs on");
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

#[test]
fn a_hang_costs_the_others_one_watchdog_period() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    world.run_until(world.now + SEC).unwrap();
    let quiet = world.referee.gap_max;
    world.gpu.hang(vf(2));
    world.run_until(world.now + SEC).unwrap();
    let lost = world.referee.gap_max - quiet;
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
        world.run_until(world.now + SEC).unwrap();
        let quiet = world.referee.gap_max;
        world.gpu.hang(vf(2));
        world.run_until(world.now + SEC).unwrap();
        let lost = world.referee.gap_max - quiet;
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

/// A configuration with weights, and what `change` makes of it.
fn qos(mode: Mode, weights: &[u16], change: impl Fn(&mut Table<Share>)) -> Config {
    let mut cfg = config(mode);
    cfg.set_policy(Policy::Qos);
    let mut shares = [Share::DEFAULT; MAX_VFS];
    for (share, &weight) in shares.iter_mut().zip(weights) {
        share.weight = weight;
    }
    change(&mut shares);
    cfg.set_shares(&shares).unwrap();
    cfg
}

/// The parts of all that was run, in 1/1000.
fn parts(runs: &[Ns]) -> Vec<f64> {
    let all = runs.iter().sum::<Ns>() as f64;
    runs.iter().map(|&run| run as f64 * 1000.0 / all).collect()
}

#[test]
fn shares_follow_weights() {
    for mode in [Mode::WorkConserving, Mode::Strict] {
        // In strict mode, twelve VFs of weight 1 that do not exist take nothing: only four do.
        let mut world = loaded(qos(mode, &[4, 2, 1, 1], |_| {}), &[Kind::Steady; 4]);
        world.weather.timer_late = 300 * US;
        world.gpu.slow_idle[2] = 3 * MS;
        let runs = run_for(&mut world, 4, 10 * SEC);
        for (part, want) in parts(&runs).iter().zip([500.0, 250.0, 125.0, 125.0]) {
            assert!(
                (part / want - 1.0).abs() < 0.01,
                "{mode:?} {:?}",
                parts(&runs)
            );
        }
    }
}

#[test]
fn minima_and_caps_hold() {
    let cfg = qos(Mode::WorkConserving, &[100; 16], |shares| {
        shares[3].min = 400;
        shares[5].cap = 20;
    });
    let mut world = loaded(cfg, &[Kind::Steady; 16]);
    let runs = run_for(&mut world, 16, 20 * SEC);
    let parts = parts(&runs);
    assert!(parts[3] > 399.0 && parts[3] < 405.0, "{parts:?}");
    assert!(parts[5] > 18.0 && parts[5] < 21.0, "{parts:?}");
}

#[test]
fn a_cap_holds_for_who_is_alone_too() {
    let cfg = qos(Mode::WorkConserving, &[100; 2], |shares| {
        shares[0].cap = 300
    });
    let mut world = loaded(cfg, &[Kind::Steady; 2]);
    world.feed(Event::Pause(vf(1))).unwrap();
    let runs = run_for(&mut world, 1, 10 * SEC);
    assert!((2_900 * MS..3_050 * MS).contains(&runs[0]), "{runs:?}");
}

#[test]
fn strict_shares_of_absent_vfs_are_nobodys() {
    let mut world = loaded(qos(Mode::Strict, &[4, 2, 1, 1], |_| {}), &[Kind::Steady; 4]);
    world.feed(Event::Pause(vf(1))).unwrap();
    let runs = run_for(&mut world, 4, 10 * SEC);
    assert!((4_700 * MS..5_100 * MS).contains(&runs[0]), "{runs:?}");
    assert!((1_150 * MS..1_280 * MS).contains(&runs[2]), "{runs:?}");
}

#[test]
fn a_bound_on_waits_is_kept() {
    let cfg = qos(Mode::WorkConserving, &[100; 8], |shares| {
        shares[2].latency = Some(15 * MS);
        shares[6].latency = Some(30 * MS);
    });
    let mut world = loaded(cfg, &[Kind::Steady; 8]);
    let log = std::iter::repeat_n((), 2_000).map(|()| {
        world.run_until(world.now + 5 * MS).unwrap();
        [2, 6, 0].map(|n| world.referee.gap(n, world.now))
    });
    let most = log.fold([0; 3], |a, b| {
        [a[0].max(b[0]), a[1].max(b[1]), a[2].max(b[2])]
    });
    assert!(most[0] <= 15 * MS + 500 * US, "{most:?}");
    assert!(most[1] <= 30 * MS + 500 * US, "{most:?}");
    assert!(most[2] > 30 * MS, "{most:?}");
}

#[test]
fn a_bound_that_slow_commands_make_impossible_starves_nobody() {
    for mode in [Mode::WorkConserving, Mode::Strict] {
        let cfg = qos(mode, &[100; 2], |shares| shares[1].latency = Some(20 * MS));
        let mut world = loaded(cfg, &[Kind::Steady; 2]);
        world.gpu.latency = 3 * MS..4 * MS;
        let runs = run_for(&mut world, 2, 10 * SEC);
        assert!(world.referee.gap_max < 500 * MS, "{mode:?}");
        assert!(
            runs[0] > 500 * MS && runs[1] > 500 * MS,
            "{mode:?} {runs:?}"
        );
    }
}

#[test]
fn the_smallest_weight_runs_before_its_guest_gives_up() {
    let mut weights = [10_000; 16];
    weights[7] = 1;
    let mut world = loaded(
        qos(Mode::WorkConserving, &weights, |_| {}),
        &[Kind::Steady; 16],
    );
    let runs = run_for(&mut world, 16, 20 * SEC);
    let parts = parts(&runs);
    assert!(
        world.referee.gap_max < 500 * MS,
        "{}",
        world.referee.gap_max
    );
    assert!(parts[7] < 10.0, "{parts:?}");
}

#[test]
fn full_access_leaves_no_gap_by_shares_either() {
    let mut weights = [1_000; 16];
    weights[7] = 1;
    let mut kinds = [Kind::Steady; 16];
    kinds[5] = Kind::Hogging;
    let mut world = loaded(qos(Mode::WorkConserving, &weights, |_| {}), &kinds);
    for n in 0..20 {
        let words = GuestMessage::ReqInit.words();
        world.feed(Event::Message { vf: vf(5), words }).unwrap();
        world.run_until(world.now + (900 + 13 * n) * MS).unwrap();
    }
    let stats = world.engine.vf_stats(vf(5), world.now);
    assert!(stats.timeouts > 10, "{stats:?}");
    assert!(
        world.referee.gap_max < 500 * MS,
        "{}",
        world.referee.gap_max
    );
}

#[test]
fn policies_change_while_running() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    run_for(&mut world, 4, SEC);
    let mut share = Share::DEFAULT;
    share.weight = 300;
    world.engine.set_share(vf(0), share).unwrap();
    let runs = run_for(&mut world, 4, 5 * SEC);
    assert!(
        share_error(&runs) < 0.01,
        "round robin knows no weights: {runs:?}"
    );
    world.engine.set_policy(Policy::Qos);
    let runs = run_for(&mut world, 4, 5 * SEC);
    let part = parts(&runs)[0];
    assert!((495.0..505.0).contains(&part), "{part}");
    world.engine.set_policy(Policy::RoundRobin);
    let runs = run_for(&mut world, 4, 5 * SEC);
    assert!(share_error(&runs) < 0.01, "{runs:?}");
}

fn states(world: &World, count: usize) -> Vec<VfState> {
    (0..count).map(|n| world.engine.vf_state(vf(n))).collect()
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

#[test]
fn a_device_that_is_gone_is_left_alone() {
    let mut world = loaded(plain(), &[Kind::Steady; 4]);
    world.gpu.gone = true;
    world.run_until(world.now + SEC).unwrap();
    assert_eq!(world.engine.phase(), Phase::Gone);
    world.disable().unwrap();
    assert_eq!(world.engine.deadline(), None);
}
