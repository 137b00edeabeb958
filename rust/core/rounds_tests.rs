// SPDX-License-Identifier: GPL-2.0

//! Tests of the policy of rounds, in a simulated migration.

use super::super::types::US;
use super::*;

cases! {
    gim_rounds:
    a_gigabyte_of_which_one_percent_per_second_changes,
    without_a_brownout_the_blackout_still_keeps_its_limit,
    what_does_not_converge_is_given_up,
    an_idle_vf_stops_after_its_first_round,
    every_rate_ends_within_the_limits_or_is_given_up,
    figures_that_say_nothing_spoil_nothing,
}

const SEC: Ns = 1_000 * MS;
const GIB: u64 = 1 << 30;
const PAGES: u64 = GIB / PAGE as u64;
/// 1 Gbit/s.
const LINK: u64 = 125_000_000;

/// A VF that writes pages at a constant rate, and a link.
struct World {
    link: u64,
    /// Pages per second, all different until all were written.
    writes: u64,
    /// The part of them that its CPU writes, in 1/100.
    cpu: u64,
    costs: Costs,
    limits: Limits,
    /// How long a scan of everything takes while the VF runs; 0: the hardware knows.
    scan_period: Ns,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    how: Next,
    rounds: u32,
    brownout: Ns,
    blackout: Ns,
    sent: u64,
}

impl World {
    const HARDWARE: Self = Self {
        link: LINK,
        writes: PAGES / 100,
        cpu: 10,
        costs: Costs {
            fixed: 4 * MS,
            scan: 0,
        },
        limits: Limits::DEFAULT,
        scan_period: 0,
    };

    /// As above, with page hashes: 1 GiB at 4 GB/s once stopped, and 3 s per scan while it runs.
    const SOFTWARE: Self = Self {
        costs: Costs {
            fixed: 4 * MS,
            scan: 270 * MS,
        },
        scan_period: 3 * SEC,
        ..Self::HARDWARE
    };

    fn written(&self, ns: Ns) -> u64 {
        amount(self.writes, ns).min(PAGES)
    }

    fn play(&self) -> Outcome {
        let mut rounds = Rounds::new(self.limits, self.costs, PAGES);
        let (mut dirty, mut sent) = (PAGES, 0);
        // Pages that were written and not found yet.
        let mut hidden = 0;
        loop {
            let sending = time(bytes(dirty), self.link);
            let took = sending.max(self.scan_period);
            sent += bytes(dirty);
            let now = self.written(took);
            // What was written behind the scan is found by the next one.
            let missed = if self.scan_period != 0 { now / 2 } else { 0 };
            let found = now - missed + hidden;
            hidden = missed;
            let figures = Figures {
                sent: bytes(dirty),
                sending,
                took,
                dirtied: found,
                dirty: found,
                age: if self.scan_period != 0 { took / 2 } else { 0 },
            };
            dirty = found;
            let how = rounds.ended(&figures);
            if how == Next::Round {
                assert!(rounds.number() < 100, "it never ends");
                continue;
            }
            let (rest, scan) = (bytes(dirty + hidden), self.costs.scan);
            let copy = time(rest, self.link) + scan;
            let brownout = if how == Next::Brownout { copy } else { 0 };
            let late = bytes(self.written(brownout) * self.cpu / 100);
            let blackout = self.costs.fixed
                + match how {
                    Next::Brownout => time(late, self.link),
                    _ => copy,
                };
            let estimate = rounds.estimate();
            let told = if how == Next::Brownout {
                estimate.blackout
            } else {
                estimate.at_once
            };
            assert!(
                told >= blackout / 2,
                "{estimate:?} was told, {blackout} it was"
            );
            return Outcome {
                how,
                rounds: rounds.number(),
                brownout,
                blackout,
                sent: sent + rest + late,
            };
        }
    }

    /// The blackout without any tracking.
    fn plain(&self) -> Ns {
        self.costs.fixed + time(GIB, self.link)
    }
}

fn a_gigabyte_of_which_one_percent_per_second_changes() {
    let worlds = [World::HARDWARE, World::SOFTWARE];
    for (world, stall) in worlds.iter().zip([300 * MS, 1_000 * MS]) {
        let outcome = world.play();
        let gain = world.plain() / outcome.blackout;
        assert_eq!(outcome.how, Next::Brownout, "{outcome:?}");
        assert!(gain >= 50, "gain {gain}: {outcome:?}");
        assert!(outcome.brownout + outcome.blackout <= stall, "{outcome:?}");
        assert!(outcome.sent < GIB * 5 / 4, "{outcome:?}");
        assert!(outcome.rounds <= 8, "{outcome:?}");
    }
}

fn without_a_brownout_the_blackout_still_keeps_its_limit() {
    let mut world = World::HARDWARE;
    world.limits.brownout = 0;
    let outcome = world.play();
    assert_eq!(outcome.how, Next::Stop, "{outcome:?}");
    assert!(world.plain() / outcome.blackout >= 50, "{outcome:?}");
    // Hashes need their last scan then.
    let mut world = World::SOFTWARE;
    world.limits.brownout = 0;
    world.limits.downtime = 800 * MS;
    let outcome = world.play();
    assert_eq!(outcome.how, Next::Stop, "{outcome:?}");
    assert!(outcome.blackout <= 800 * MS, "{outcome:?}");
}

fn what_does_not_converge_is_given_up() {
    // More is written than can be sent.
    let world = World {
        writes: LINK / u64::from(PAGE) * 2,
        ..World::HARDWARE
    };
    let outcome = world.play();
    assert_eq!(outcome.how, Next::GiveUp);
    assert!(outcome.rounds <= 4, "{outcome:?}");
    // It shrinks, but too slowly for the rounds that it may have.
    let mut world = World {
        writes: LINK / u64::from(PAGE) * 7 / 10,
        ..World::HARDWARE
    };
    world.limits.rounds = 3;
    let outcome = world.play();
    assert_eq!((outcome.how, outcome.rounds), (Next::GiveUp, 3));
}

fn an_idle_vf_stops_after_its_first_round() {
    for world in [World::HARDWARE, World::SOFTWARE] {
        let world = World { writes: 0, ..world };
        let outcome = world.play();
        assert_eq!(outcome.rounds, 1, "{outcome:?}");
        assert!(outcome.how != Next::GiveUp && outcome.blackout <= 300 * MS);
    }
}

fn every_rate_ends_within_the_limits_or_is_given_up() {
    for link in [10_000_000, LINK, 1_250_000_000, 12_500_000_000] {
        for percent in [0, 1, 3, 10, 30, 90] {
            for base in [World::HARDWARE, World::SOFTWARE] {
                let writes = PAGES * percent / 100;
                let world = World {
                    link,
                    writes,
                    ..base
                };
                let outcome = world.play();
                assert!(outcome.rounds <= world.limits.rounds);
                if outcome.how != Next::GiveUp {
                    let limit = world.limits.downtime * 2;
                    assert!(outcome.blackout <= limit, "{link} {percent}: {outcome:?}");
                }
            }
        }
    }
}

fn figures_that_say_nothing_spoil_nothing() {
    let mut rounds = Rounds::new(Limits::DEFAULT, World::HARDWARE.costs, PAGES);
    assert!(rounds.estimate().at_once > 9 * SEC);
    let rate = rounds.rates().0;
    // A round of zero pages only.
    rounds.ended(&Figures {
        sent: 100,
        sending: 10 * US,
        took: 10 * US,
        ..Figures::default()
    });
    assert_eq!(rounds.rates().0, rate);
    for figures in [
        Figures::default(),
        Figures {
            sent: u64::MAX,
            sending: u64::MAX,
            took: u64::MAX,
            dirtied: u64::MAX,
            dirty: u64::MAX,
            age: u64::MAX,
        },
        Figures {
            sending: 1,
            took: 1,
            dirtied: u64::MAX,
            dirty: u64::MAX,
            age: u64::MAX,
            sent: u64::MAX,
        },
    ] {
        for _ in 0..40 {
            rounds.ended(&figures);
        }
    }
    assert_eq!(rounds.number(), 121);
}
