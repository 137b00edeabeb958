// SPDX-License-Identifier: GPL-2.0

//! Random episodes: a number of VFs, a mode, settings, guests and faults, all from the seed.

use std::panic::{catch_unwind, AssertUnwindSafe};

use gim_core::{
    config::{Completion, Config, Mode, Policy},
    event::Event,
    mailbox::Protocol,
    partition::{Partition, PartitionError},
    policy::Share,
    types::{VfId, MS, US},
};

use crate::{
    gpu::Faults,
    guest::{Guest, Kind},
    rng::Rng,
    world::{Verdict, World},
};

/// What a campaign has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Events fed.
    pub events: u64,
    /// Episodes played.
    pub episodes: u64,
    /// World switches.
    pub switches: u64,
    /// Requests of guests.
    pub asked: u64,
    /// Answers to them.
    pub answered: u64,
    /// Commands that failed or timed out.
    pub failures: u64,
    /// VFs that were taken for a restore, restored, and run then.
    pub adoptions: [u64; 3],
    /// How often the GPU was taken away.
    pub detachments: u64,
    /// How often the driver was replaced.
    pub lives: u64,
    /// VFs that were closed without a reset, and were reset for it.
    pub abandoned: u64,
}

/// The seed: GIM_SEED, or the time of day.
pub fn seed() -> u64 {
    given_seed().unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_nanos() as u64) % 1_000_000_000
    })
}

/// GIM_SEED, or what is given here: for tests that have to pass again where they passed.
pub fn seed_or(default: u64) -> u64 {
    given_seed().unwrap_or(default)
}

fn given_seed() -> Option<u64> {
    std::env::var("GIM_SEED").ok().and_then(|s| s.parse().ok())
}

/// How many events to play: GIM_EVENTS, or what is given here.
pub fn events(default: u64) -> u64 {
    number("GIM_EVENTS", default)
}

/// A number from the environment, or what is given here.
pub fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok().and_then(|s| s.parse().ok());
    given.unwrap_or(default)
}

/// Plays episodes until at least `events` events were fed; all counts and modes in turn.
pub fn run(seed: u64, events: u64) -> Result<Summary, String> {
    let mut rng = Rng::new(seed);
    let mut sum = Summary::default();
    let each = (events / 40).clamp(1_000, 30_000);
    while sum.events < events {
        let own = rng.bits();
        episode(sum.episodes, Rng::new(own), each, &mut sum)
            .map_err(|e| format!("GIM_SEED={seed} episode {}: {e}", sum.episodes))?;
        sum.episodes += 1;
    }
    Ok(sum)
}

/// Plays one episode.
fn episode(number: u64, mut rng: Rng, events: u64, sum: &mut Summary) -> Verdict {
    let count = [1, 2, 4, 8, 16][(number % 5) as usize];
    let strict = (number / 5) % 2 == 1;
    let clean = (number / 10) % 2 == 1;
    partition(count, &mut rng)?;
    let mut world = world(strict, clean, &mut rng)?;
    let kinds: &[Kind] = if clean { &[Kind::Good] } else { &Kind::ALL };
    let what = format!("{count} VFs, strict {strict}, clean {clean}");
    let played = catch_unwind(AssertUnwindSafe(|| {
        play(&mut world, count, kinds, events, &mut rng)
    }));
    sum.events += world.steps;
    sum.switches += world.referee.switches;
    sum.asked += world.referee.asked;
    sum.answered += world.referee.answered;
    sum.failures += world.engine.gpu_stats(world.now).failures;
    sum.detachments += world.detachments;
    sum.lives += world.lives;
    sum.abandoned += world.abandoned;
    for (sum, each) in sum.adoptions.iter_mut().zip(world.referee.adoptions) {
        *sum += each;
    }
    let failed = match played {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(e)) => e,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            format!("panic: {}", text.unwrap_or("?"))
        }
    };
    let (trace, engine) = (world.trace(), &world.engine);
    Err(format!("{what}: {failed}\n{trace}\n{engine:?}"))
}

fn play(world: &mut World, count: usize, kinds: &[Kind], events: u64, rng: &mut Rng) -> Verdict {
    for _ in 0..2 {
        let guests = (0..count).map(|_| Guest::new(rng.pick(kinds))).collect();
        world.enable(guests)?;
        world.run_steps(events / 2)?;
        if rng.chance(1, 8) {
            world.gpu.gone = true;
            world.feed(Event::Gone)?;
            if rng.chance(1, 2) {
                return world.disable();
            }
            // It was the bus only: a reset brings it back.
            world.run_until(world.now + rng.within(0..300 * MS))?;
            world.detached = false;
            world.gpu.gone = false;
            world.detach()?;
            world.run_steps(events / 4)?;
        }
        world.disable()?;
        // What the PF does between is nobody's concern.
        world.feed(Event::PfWork(rng.chance(1, 2)))?;
        world.run_until(world.now + 50 * MS)?;
        world.feed(Event::PfWork(false))?;
        world.run_until(world.now + MS)?;
    }
    Ok(())
}

fn world(strict: bool, clean: bool, rng: &mut Rng) -> Result<World, String> {
    let text = |e: gim_core::config::RangeError| e.to_string();
    let mut cfg = Config::DEFAULT;
    let slice = rng.pick(&[100 * US, 500 * US, 2 * MS, 6 * MS]);
    cfg.set_slices(slice).map_err(text)?;
    cfg.set_mode(if strict {
        Mode::Strict
    } else {
        Mode::WorkConserving
    });
    if rng.chance(1, 2) {
        cfg.set_policy(Policy::Qos);
        for vf in VfId::all() {
            // What cannot be promised is refused, and nothing changes.
            let _ = cfg.set_share(vf, share(rng));
        }
    }
    if rng.chance(1, 3) {
        let interval = rng.pick(&[5 * US, 20 * US]);
        cfg.set_completion(Completion::Poll { interval })
            .map_err(text)?;
    }
    cfg.set_guard(rng.chance(1, 3));
    cfg.set_gpu_reset(rng.chance(2, 3));
    cfg.set_protocol(Protocol {
        ready_to_reset: rng.chance(1, 2),
        exchange: rng.chance(1, 2),
    });
    let mut world = World::new(cfg, Rng::new(rng.bits()));
    world.gpu.interrupts = world.engine.config().completion() == Completion::Irq;
    // What the guard holds up waits longer than any episode.
    let guarded = world.engine.config().guard();
    world.referee.answer_bound = if guarded { 2_000_000 * MS } else { 30_000 * MS };
    if clean {
        // A round, full access, and what late timers cost.
        world.referee.gap_bound = 510 * MS;
    } else {
        world.referee.gap_bound = 5_000 * MS;
        world.weather.host = rng.chance(2, 3);
        if rng.chance(1, 4) {
            world.weather.bus_resets = rng.pick(&[20 * MS, 300 * MS, 3_000 * MS]);
        }
        world.weather.timer_late = rng.pick(&[0, 30 * US, 3 * MS]);
        world.weather.work_fails = rng.pick(&[0, 0, 200]);
        world.weather.lost_messages = rng.pick(&[0, 100, 2_000]);
        world.gpu.faults = Faults {
            hang: rng.pick(&[0, 5, 50]),
            fail: rng.pick(&[0, 5, 50]),
            late: rng.pick(&[0, 5, 50]),
            lost_irq: rng.pick(&[0, 20, 500, 10_000]),
            pf_hang: rng.pick(&[0, 0, 0, 5]),
        };
    }
    Ok(world)
}

/// A random promise.
pub fn share(rng: &mut Rng) -> Share {
    Share {
        weight: rng.within(1..1_000) as u16,
        min: rng.pick(&[0, 0, 0, 20, 200]),
        cap: rng.pick(&[1_000, 1_000, 1_000, 300, 50]),
        latency: rng.pick(&[None, None, None, Some(20 * MS), Some(100 * MS)]),
    }
}

/// A random table keeps its promise, or is refused.
fn partition(count: usize, rng: &mut Rng) -> Verdict {
    let mib = 1u64 << 20;
    let total = rng.within(0..16_384) * mib + rng.within(0..mib);
    let pf = rng.within(0..2_048) * mib;
    let table = if rng.chance(1, 2) {
        Partition::equal(total, pf, count)
    } else {
        let sizes: Vec<u64> = (0..count)
            .map(|_| rng.within(0..40) * 16 * mib + rng.pick(&[0, 0, 0, 0, 0, 0, 0, 1]))
            .collect();
        Partition::explicit(total, pf, &sizes)
    };
    match table {
        Ok(table) => {
            let mut end = table.pf().range().end;
            let parts = std::iter::once(table.context());
            for part in parts.chain(VfId::all().filter_map(|vf| table.vf(vf))) {
                if part.size() == 0 || part.range().start < end {
                    return Err(format!("{part:?} overlaps or is empty in {table:?}"));
                }
                end = part.range().end;
            }
            if end > total || table.pf().size() < pf || usize::from(table.count()) != count {
                return Err(format!("{table:?} leaves {total}"));
            }
            Ok(())
        }
        Err(PartitionError::Count { .. }) => Err("a legal count was refused".into()),
        Err(_) => Ok(()),
    }
}
