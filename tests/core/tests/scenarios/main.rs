// SPDX-License-Identifier: GPL-2.0

//! Situations with a known right outcome, in virtual time.

mod guests;
mod hardware;
mod qos;
mod shares;

use gim_core::{
    config::{Config, Mode, Policy},
    policy::{Share, Table},
    types::{Fcn, Ns, MAX_VFS, MS},
    vf::VfState,
};
use gim_core_sim::{
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

fn states(world: &World, count: usize) -> Vec<VfState> {
    (0..count).map(|n| world.engine.vf_state(vf(n))).collect()
}
