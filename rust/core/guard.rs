// SPDX-License-Identifier: GPL-2.0

//! Limits on what a guest may cost the others: one token bucket per VF and kind of nuisance.
//!
//! The defaults are AMD's (gpu-iov-hardware.md, 6.3), where there are any.

use super::{
    config::RangeError,
    types::{
        Ns,
        MS, //
    },
};

/// What is limited, per VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Limit {
    /// Messages: what comes too often is not taken.
    Messages,
    /// Requests for full access: later ones wait.
    Requests,
    /// Full accesses that exceeded their bound: the next ones wait.
    Timeouts,
    /// Resets, except those that the host or the VMM ordered: the next full access waits.
    Resets,
    /// Hangs: the VF is quarantined.
    Hangs,
    /// Time of full access while others run, in ms: the next one waits.
    AccessTime,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 6] = [
        Self::Messages,
        Self::Requests,
        Self::Timeouts,
        Self::Resets,
        Self::Hangs,
        Self::AccessTime,
    ];

    /// The name that the ABI gives the limit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Requests => "requests",
            Self::Timeouts => "timeouts",
            Self::Resets => "resets",
            Self::Hangs => "hangs",
            Self::AccessTime => "access-time",
        }
    }

    pub(super) const fn index(self) -> usize {
        // CAST: the discriminants are small.
        self as usize
    }
}

/// What is done about a VF that exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Act {
    /// What it sends is not taken.
    Drop,
    /// What it asked for is granted later.
    Delay,
    /// It gets nothing more until the host resets it.
    Quarantine,
}

impl Act {
    /// The name that the ABI gives the act.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay => "delay",
            Self::Quarantine => "quarantine",
        }
    }
}

/// How much of something a VF may have: `count` at once, and `count` per `window` in the long run.
///
/// # Invariants
///
/// `count` is 1 to 10000, `window` 1 s to 1 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    window: Ns,
}

impl Rate {
    /// So many (1 to 10000) per `window` ns (1 s to 1 h).
    pub const fn new(count: u32, window: Ns) -> Result<Self, RangeError> {
        if count < 1 || count > 10_000 {
            return Err(RangeError {
                what: "limit",
                // CAST: widening.
                got: count as u64,
                min: 1,
                max: 10_000,
            });
        }
        if window < 1_000 * MS || window > 3_600_000 * MS {
            return Err(RangeError {
                what: "window (ns)",
                got: window,
                min: 1_000 * MS,
                max: 3_600_000 * MS,
            });
        }
        // INVARIANT: checked above.
        Ok(Self { count, window })
    }

    /// How many.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// In which time, in ns.
    pub const fn window(self) -> Ns {
        self.window
    }

    /// The time that one of them is worth.
    const fn each(self) -> Ns {
        // CAST: widening.
        // Never by 0, by the invariant; so the compiler knows it too, and adds no panic.
        match self.window.checked_div(self.count as u64) {
            Some(ns) => ns,
            None => self.window,
        }
    }
}

/// The limits of all VFs of a GPU.
pub type Rates = [Rate; Limit::ALL.len()];

/// AMD's limits; those of hangs and of access time are ours.
pub const RATES: Rates = {
    const fn rate(count: u32, seconds: u64) -> Rate {
        Rate {
            count,
            window: seconds * 1_000 * MS,
        }
    }
    [
        rate(56, 60),
        rate(9, 60),
        rate(2, 500),
        rate(3, 60),
        rate(6, 600),
        // 2 s at once, 1 % of the time in the long run.
        rate(2_000, 200),
    ]
};

/// A token bucket, kept as the time at which it will be full again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket(Ns);

impl Bucket {
    /// A full bucket.
    pub(super) const FULL: Self = Self(0);

    /// One that is full again at this time.
    pub(super) const fn full_again(at: Ns) -> Self {
        Self(at)
    }

    /// When it is full again.
    pub(super) const fn full_at(self) -> Ns {
        self.0
    }

    /// When `n` tokens are there, `now` at the earliest.
    pub(super) fn next(self, now: Ns, rate: Rate, n: u32) -> Ns {
        let need = rate.each().saturating_mul(n.into());
        let room = rate.window.saturating_sub(need);
        self.0.saturating_sub(room).max(now)
    }

    /// Takes `n` tokens, whether they are there or not; a bucket never owes more than it holds.
    pub(super) fn charge(&mut self, now: Ns, rate: Rate, n: u64) {
        let cost = rate.each().saturating_mul(n);
        let most = now.saturating_add(rate.window.saturating_mul(2));
        self.0 = self.0.max(now).saturating_add(cost).min(most);
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: Ns, rate: Rate) -> bool {
        let there = self.next(now, rate, 1) <= now;
        if there {
            self.charge(now, rate, 1);
        }
        there
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_guard:
        a_burst_then_one_at_a_time,
        debts_are_bounded,
        never_more_than_the_rate_in_any_window,
        rates_out_of_range_are_refused,
    }

    const SEC: Ns = 1_000 * MS;

    fn a_burst_then_one_at_a_time() {
        let rate = Rate::new(3, 60 * SEC).unwrap();
        let mut bucket = Bucket::FULL;
        let now = 1_000 * SEC;
        for _ in 0..3 {
            assert!(bucket.take(now, rate));
        }
        assert!(!bucket.take(now, rate));
        assert_eq!(bucket.next(now, rate, 1), now + 20 * SEC);
        assert_eq!(bucket.next(now, rate, 3), now + 60 * SEC);
        assert!(!bucket.take(now + 20 * SEC - 1, rate));
        assert!(bucket.take(now + 20 * SEC, rate));
        assert!(!bucket.take(now + 20 * SEC, rate));
        // Full again after the window, and not fuller.
        let later = now + 500 * SEC;
        for _ in 0..3 {
            assert!(bucket.take(later, rate));
        }
        assert!(!bucket.take(later, rate));
    }

    fn debts_are_bounded() {
        let rate = Rate::new(2, 500 * SEC).unwrap();
        let mut bucket = Bucket::FULL;
        for _ in 0..1_000 {
            bucket.charge(0, rate, 1_000_000);
        }
        assert_eq!(bucket.next(0, rate, 1), 750 * SEC);
    }

    fn never_more_than_the_rate_in_any_window() {
        let mut seed = 7u64;
        for (count, window) in [(3, 60), (56, 60), (9, 60), (2, 500), (1, 1)] {
            let rate = Rate::new(count, window * SEC).unwrap();
            let (mut bucket, mut now, mut taken) = (Bucket::FULL, 0u64, Vec::new());
            for _ in 0..5_000 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                now += (seed >> 1) % (2 * window * SEC / u64::from(count));
                if bucket.take(now, rate) {
                    taken.push(now);
                }
            }
            // A full bucket and what flows into it meanwhile.
            let most = 2 * count as usize;
            for (i, &from) in taken.iter().enumerate() {
                let within = taken[i..]
                    .iter()
                    .take_while(|&&at| at < from + window * SEC);
                assert!(within.count() <= most);
            }
            assert!(taken.len() > 1_000);
        }
    }

    fn rates_out_of_range_are_refused() {
        assert_eq!(Rate::new(0, SEC).unwrap_err().min, 1);
        assert!(Rate::new(10_001, SEC).is_err());
        assert!(Rate::new(1, SEC - 1).is_err());
        assert_eq!(Rate::new(1, Ns::MAX).unwrap_err().max, 3_600 * SEC);
        for limit in Limit::ALL {
            let rate = RATES[limit.index()];
            assert_eq!(Rate::new(rate.count(), rate.window()), Ok(rate));
        }
    }
}
