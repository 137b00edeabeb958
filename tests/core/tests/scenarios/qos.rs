// SPDX-License-Identifier: GPL-2.0

//! QoS: weights, minima, caps and bounds on waits.

use gim_core::{
    config::{Mode, Policy},
    event::Event,
    mailbox::GuestMessage,
    policy::Share,
    types::{Ns, MS, US},
};
use gim_core_sim::{guest::Kind, world::vf};

use super::{loaded, plain, qos, run_for, share_error, SEC};

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
