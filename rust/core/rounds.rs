// SPDX-License-Identifier: GPL-2.0

//! How often the framebuffer of a running VF is sent before the VF stops: a round, another one, a
//! brownout in which it only misses its slices, and at last the blackout.
//!
//! After each round some pages are dirty again. While a round leaves much less than it had to send,
//! the next one is worth it; in the end the VF is held off the engine, so that the last pages
//! are found and sent while its vCPUs still run, and the blackout carries its state and the few
//! pages that the CPU wrote meanwhile.

use super::{
    stream::PAGE,
    types::{
        mul_div,
        Ns,
        MS, //
    },
};

/// Bytes per second that are assumed as long as nothing was measured: a link of 1 Gbit/s.
const RATE_UNKNOWN: u64 = 110_000_000;

/// What is shorter, or less, is no measurement.
const MEASURES_FROM: Ns = MS;
/// See [`MEASURES_FROM`]; in bytes.
const MEASURES_BYTES: u64 = 64 << 10;

/// Nanoseconds of a second.
const SECOND: Ns = 1000 * MS;

/// Rounds that gain too little before they are given up.
const STUCK_MAX: u32 = 3;

/// What the operator and the chip allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest blackout, in ns.
    pub downtime: Ns,
    /// Longest time for which the VF is held off the engine before it, in ns; 0: never.
    pub brownout: Ns,
    /// Most rounds, the last one not counted.
    pub rounds: u32,
}

impl Limits {
    /// 300 ms of blackout, 800 ms of brownout, 30 rounds.
    pub const DEFAULT: Self = Self {
        downtime: 300 * MS,
        brownout: 800 * MS,
        rounds: 30,
    };
}

/// What things cost that are not pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Pause, state and resume, in ns: what any blackout lasts at least.
    pub fixed: Ns,
    /// The last scan for dirty pages, in ns; 0 where the hardware knows them.
    pub scan: Ns,
}

/// What a round has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes that were sent.
    pub sent: u64,
    /// How long something was there to be sent, in ns: the link's time, without waits for scans.
    pub sending: Ns,
    /// How long the round took, in ns.
    pub took: Ns,
    /// Pages that were written by the VF meanwhile, as far as is known.
    pub dirtied: u64,
    /// Pages that are to be sent, as far as is known.
    pub dirty: u64,
    /// How long ago, on average, pages were last looked at, in ns; 0 where the hardware knows.
    pub age: Ns,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another round.
    Round,
    /// Hold the VF off the engine, send what is dirty, then stop it.
    Brownout,
    /// Stop it at once: what is left fits into the blackout.
    Stop,
    /// More rounds do not help: the blackout will exceed its limit. Whoever migrates decides.
    GiveUp,
}

/// How long things will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes that are to be sent.
    pub left: u64,
    /// The brownout that would come now, in ns; 0 if there is none.
    pub brownout: Ns,
    /// The blackout after it, in ns.
    pub blackout: Ns,
    /// The blackout without a brownout, in ns.
    pub at_once: Ns,
}

/// The policy, and what it has learnt.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    limits: Limits,
    costs: Costs,
    /// Rounds that have ended.
    number: u32,
    /// Bytes per second, while something is sent; and pages that are written per second.
    rate: u64,
    writes: u64,
    measured: bool,
    /// Pages that were dirty when the last round ended; rounds that have gained little.
    dirty: u64,
    stuck: u32,
    estimate: Estimate,
}

/// `amount` per second at `rate` per second, in ns.
fn time(amount: u64, rate: u64) -> Ns {
    mul_div(amount, SECOND, rate)
}

/// What `amount` in `ns` is per second.
fn per_second(amount: u64, ns: Ns) -> u64 {
    mul_div(amount, SECOND, ns)
}

/// How much comes at `rate` per second in `ns`.
fn amount(rate: u64, ns: Ns) -> u64 {
    mul_div(rate, ns, SECOND)
}

fn bytes(pages: u64) -> u64 {
    pages.saturating_mul(PAGE.into())
}

impl Rounds {
    /// A policy that has seen nothing of a framebuffer of `pages` pages.
    pub fn new(limits: Limits, costs: Costs, pages: u64) -> Self {
        let mut rounds = Self {
            limits,
            costs,
            number: 0,
            rate: RATE_UNKNOWN,
            writes: 0,
            measured: false,
            dirty: pages,
            stuck: 0,
            estimate: Estimate::default(),
        };
        rounds.estimate = rounds.estimate_of(pages);
        rounds
    }

    /// What a look at everything costs was measured.
    pub const fn set_scan(&mut self, scan: Ns) {
        self.costs.scan = scan;
    }

    /// A round has ended.
    pub fn ended(&mut self, round: &Figures) -> Next {
        self.number = self.number.saturating_add(1);
        if round.sending >= MEASURES_FROM && round.sent >= MEASURES_BYTES {
            let rate = per_second(round.sent, round.sending).max(1);
            // A round says more of the link than all before it, if it was not a short one.
            self.rate = match self.measured {
                true => rate / 2 + self.rate / 2,
                false => rate,
            };
            self.measured = true;
        }
        self.writes = per_second(round.dirtied, round.took.max(MEASURES_FROM));
        let hidden = amount(self.writes, round.age);
        let dirty = round.dirty.saturating_add(hidden);
        self.estimate = self.estimate_of(dirty);
        // Less than a quarter off is little.
        let gained = dirty < self.dirty / 4 * 3;
        self.stuck = if gained { 0 } else { self.stuck + 1 };
        self.dirty = dirty;
        self.decide(dirty)
    }

    fn decide(&self, dirty: u64) -> Next {
        let now = self.estimate;
        let send = time(bytes(dirty), self.rate);
        let (black, brown) = (self.limits.downtime, self.limits.brownout);
        // What one more round would leave, if it is not slower than it seems.
        let next = amount(self.writes, send);
        let gains = next <= dirty / 2 && send > self.costs.fixed;
        let last = self.number >= self.limits.rounds;
        if gains && !last && self.stuck < STUCK_MAX {
            return Next::Round;
        }
        // Of two ways, the one with the shorter blackout; without a brownout there is no scan yet.
        let browned = brown != 0 && now.brownout <= brown && now.blackout <= black;
        if browned && now.blackout < now.at_once {
            return Next::Brownout;
        }
        if now.at_once <= black {
            return Next::Stop;
        }
        match last || self.stuck >= STUCK_MAX {
            true => Next::GiveUp,
            false => Next::Round,
        }
    }

    /// How long it would take to stop now, with so many dirty pages.
    fn estimate_of(&self, dirty: u64) -> Estimate {
        let left = bytes(dirty);
        // What the last look finds is sent while it goes on.
        let brownout = self.costs.scan.max(time(left, self.rate));
        // Not more than what the whole VF writes: without the engine, only its CPU does.
        let written = bytes(amount(self.writes, brownout)).min(left);
        let fixed = self.costs.fixed;
        Estimate {
            left,
            brownout,
            blackout: fixed.saturating_add(time(written, self.rate)),
            at_once: fixed.saturating_add(brownout),
        }
    }

    /// What is known of how long it will take.
    pub const fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// Rounds that have ended.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Bytes per second that are sent, and pages per second that the VF writes.
    pub const fn rates(&self) -> (u64, u64) {
        (self.rate, self.writes)
    }
}

#[cfg(any(test, kunit))]
#[path = "rounds_tests.rs"]
mod tests;
