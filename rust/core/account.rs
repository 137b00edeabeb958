// SPDX-License-Identifier: GPL-2.0

//! What is counted: times and events per VF and for the GPU. All counters only grow.
//!
//! The engine is the only writer. Readers that must not stop it take a [`Snapshot`], which one
//! writer publishes and any number of readers copy whole, without a lock.

use core::sync::atomic::{
    fence,
    AtomicU32,
    AtomicU64,
    Ordering, //
};

use super::types::{
    Ns,
    US, //
};

/// Buckets of the histogram of waits.
pub const WAIT_BUCKETS: usize = 16;

/// Buckets of the histogram of switches.
pub const SWITCH_BUCKETS: usize = 8;

/// The lower bound of the first bucket, in ns.
const FIRST: Ns = 16 * US;

/// A histogram of times: bucket n counts those from 16 us * 2^n up to, not including, twice that;
/// the first also what is shorter, the last also what is longer (with 16 buckets from 0.5 s, with
/// 8 from 2 ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram<const N: usize>(pub [u32; N]);

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self::NEW
    }
}

impl<const N: usize> Histogram<N> {
    /// Nothing counted yet.
    pub const NEW: Self = Self([0; N]);

    /// The bucket that counts `time`.
    pub const fn bucket(time: Ns) -> usize {
        // CAST: less than 64.
        let n = match (time / FIRST).checked_ilog2() {
            Some(n) => n as usize,
            None => 0,
        };
        if n < N {
            n
        } else {
            N - 1
        }
    }

    /// Counts a time.
    pub(super) fn add(&mut self, time: Ns) {
        if let Some(count) = self.0.get_mut(Self::bucket(time)) {
            *count = count.wrapping_add(1);
        }
    }

    /// How many were counted (modulo 2^32 per bucket).
    pub fn total(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    /// The lower bound of the bucket in which the part `permille` of all times lies, in ns.
    pub fn quantile(&self, permille: u32) -> Ns {
        let rank = self.total().saturating_mul(permille.into()).div_ceil(1000);
        let mut seen = 0;
        for (n, &count) in self.0.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank.max(1) {
                return FIRST << n;
            }
        }
        0
    }
}

/// What one VF has had and done since it was enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VfStats {
    /// Time on the engine, from RUN to the end of IDLE, in ns; full access included.
    pub run: Ns,
    /// Time during which it could have run and another did, in ns.
    pub wait: Ns,
    /// Time its IDLE and SAVE commands took, in ns.
    pub save: Ns,
    /// Time its LOAD, INIT and RUN commands took, in ns.
    pub load: Ns,
    /// Time it ran beyond its slices, in ns; it is repaid from later ones.
    pub overrun: Ns,
    /// Part of `run` that was full access, in ns.
    pub full_access: Ns,
    /// Longest time it waited for the engine while it could have run, in ns.
    pub gap_max: Ns,
    /// Slices it had.
    pub slices: u64,
    /// Turns that were skipped, because it had overrun before.
    pub skips: u64,
    /// Full accesses it was granted.
    pub grants: u64,
    /// Full accesses that exceeded their bound.
    pub timeouts: u64,
    /// Commands for it that timed out or failed.
    pub hangs: u64,
    /// Resets, whoever caused them.
    pub resets: u64,
    /// Messages it sent.
    pub messages: u64,
    /// Messages of it that were refused or ignored.
    pub dropped: u64,
    /// Times it exceeded a limit.
    pub guarded: u64,
    /// Switches to it: from the decision until it ran.
    pub switch_times: Histogram<SWITCH_BUCKETS>,
    /// Waits for the engine while it could run.
    pub waits: Histogram<WAIT_BUCKETS>,
}

/// What the engine of one GPU has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuStats {
    /// Times the engine passed from one function to another.
    pub switches: u64,
    /// Time from the decision to switch until RUN completed, in ns, over all switches.
    pub switch_time: Ns,
    /// Commands issued.
    pub commands: u64,
    /// Commands that timed out or failed.
    pub failures: u64,
    /// Completion interrupts that did not come.
    pub lost_irqs: u64,
    /// Status reads by poll or check.
    pub polls: u64,
    /// Time the PF was on the engine, in ns.
    pub pf_run: Ns,
    /// Resets of the whole GPU.
    pub gpu_resets: u64,
    /// Events that had no place where they came: a late interrupt, an answer nobody waits for.
    pub stray: u64,
}

impl VfStats {
    /// Nothing counted yet.
    pub const NEW: Self = Self {
        run: 0,
        wait: 0,
        save: 0,
        load: 0,
        overrun: 0,
        full_access: 0,
        gap_max: 0,
        slices: 0,
        skips: 0,
        grants: 0,
        timeouts: 0,
        hangs: 0,
        resets: 0,
        messages: 0,
        dropped: 0,
        guarded: 0,
        switch_times: Histogram::NEW,
        waits: Histogram::NEW,
    };
}

impl GpuStats {
    /// Nothing counted yet.
    pub const NEW: Self = Self {
        switches: 0,
        switch_time: 0,
        commands: 0,
        failures: 0,
        lost_irqs: 0,
        polls: 0,
        pf_run: 0,
        gpu_resets: 0,
        stray: 0,
    };

    /// How many there are.
    pub(super) const WORDS: usize = 9;

    /// All, in the order of their fields.
    pub(super) const fn words(&self) -> [u64; Self::WORDS] {
        [
            self.switches,
            self.switch_time,
            self.commands,
            self.failures,
            self.lost_irqs,
            self.polls,
            self.pf_run,
            self.gpu_resets,
            self.stray,
        ]
    }

    /// As [`Self::words`] told them.
    pub(super) const fn from_words(words: &[u64; Self::WORDS]) -> Self {
        Self {
            switches: words[0],
            switch_time: words[1],
            commands: words[2],
            failures: words[3],
            lost_irqs: words[4],
            polls: words[5],
            pf_run: words[6],
            gpu_resets: words[7],
            stray: words[8],
        }
    }
}

/// 64-bit words of a [`VfStats`] in a [`Snapshot`].
pub(super) const STATS_WORDS: usize = COUNTERS + SWITCH_BUCKETS + WAIT_BUCKETS;

/// Counters that are no histogram.
pub const COUNTERS: usize = 16;

impl VfStats {
    /// The counters that are times or numbers, in the order of their fields.
    pub const fn counters(&self) -> [u64; COUNTERS] {
        [
            self.run,
            self.wait,
            self.save,
            self.load,
            self.overrun,
            self.full_access,
            self.gap_max,
            self.slices,
            self.skips,
            self.grants,
            self.timeouts,
            self.hangs,
            self.resets,
            self.messages,
            self.dropped,
            self.guarded,
        ]
    }

    /// Adds counters that were told by [`Self::counters`]; of [`Self::gap_max`] the larger one stays.
    pub fn add_counters(&mut self, had: &[u64; COUNTERS]) {
        let gap_max = self.gap_max.max(had[6]);
        let all = [
            &mut self.run,
            &mut self.wait,
            &mut self.save,
            &mut self.load,
            &mut self.overrun,
            &mut self.full_access,
            &mut self.gap_max,
            &mut self.slices,
            &mut self.skips,
            &mut self.grants,
            &mut self.timeouts,
            &mut self.hangs,
            &mut self.resets,
            &mut self.messages,
            &mut self.dropped,
            &mut self.guarded,
        ];
        for (to, n) in all.into_iter().zip(had) {
            *to = to.saturating_add(*n);
        }
        self.gap_max = gap_max;
    }

    pub(super) fn to_words(self) -> [u64; STATS_WORDS] {
        let mut words = [0; STATS_WORDS];
        let (counters, rest) = words.split_at_mut(COUNTERS);
        counters.copy_from_slice(&self.counters());
        let buckets = self.switch_times.0.iter().chain(&self.waits.0);
        for (word, &count) in rest.iter_mut().zip(buckets) {
            *word = u64::from(count);
        }
        words
    }

    pub(super) fn from_words(words: &[u64; STATS_WORDS]) -> Self {
        let mut stats = Self {
            run: words[0],
            wait: words[1],
            save: words[2],
            load: words[3],
            overrun: words[4],
            full_access: words[5],
            gap_max: words[6],
            slices: words[7],
            skips: words[8],
            grants: words[9],
            timeouts: words[10],
            hangs: words[11],
            resets: words[12],
            messages: words[13],
            dropped: words[14],
            guarded: words[15],
            ..Self::NEW
        };
        let buckets = stats.switch_times.0.iter_mut().chain(&mut stats.waits.0);
        for (count, &word) in buckets.zip(&words[COUNTERS..]) {
            // CAST: it was made from a `u32`.
            *count = word as u32;
        }
        stats
    }
}

/// The counters of one VF for readers that must not stop the engine (a sequence lock of atomics).
///
/// One writer at a time publishes; readers get what was published last, whole.
#[derive(Debug)]
pub struct Snapshot {
    /// Odd while it is written.
    sequence: AtomicU32,
    words: [AtomicU64; STATS_WORDS],
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshot {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            words: [const { AtomicU64::new(0) }; STATS_WORDS],
        }
    }

    /// Publishes. Only one writer at a time may do so: whoever holds the engine.
    pub fn publish(&self, stats: &VfStats) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, new) in self.words.iter().zip(stats.to_words()) {
            word.store(new, Ordering::Relaxed);
        }
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// What was published last, or `None` if writers came between again and again.
    pub fn read(&self) -> Option<VfStats> {
        for _ in 0..1_000 {
            let before = self.sequence.load(Ordering::Acquire);
            let mut words = [0; STATS_WORDS];
            for (copy, word) in words.iter_mut().zip(&self.words) {
                *copy = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            let after = self.sequence.load(Ordering::Relaxed);
            if before == after && before % 2 == 0 {
                return Some(VfStats::from_words(&words));
            }
            core::hint::spin_loop();
        }
        None
    }
}

#[cfg(any(test, kunit))]
#[path = "account_tests.rs"]
mod tests;
