// SPDX-License-Identifier: GPL-2.0

//! Dirty tracking in software: which pages to look at next, how many at a time, and what follows
//! from what was seen.
//!
//! A page that is not in the dirty map was sent, and what was sent of it is known: by its hash, or
//! by a copy (a shadow) that the shell keeps. While the VF is switched out, pages are read and
//! compared with that; those that differ become dirty. Once nothing can write any more, a last
//! look at every page finds the rest. Three rules make that complete:
//!
//! 1. a page is taken out of the map before it is read to be sent;
//! 2. what is kept of it is of the very bytes that were sent, not of what was seen before or after:
//!    a page that changes and changes back between two looks must be what the target has;
//! 3. the last look begins after the last write that is not reported by [`Track::touched`].
//!
//! With hashes, a changed page is missed with a probability of about 2^-64 each time it is looked at;
//! with a shadow, never: it costs as much memory as the framebuffer has, and reads of it.

use super::{
    dirty::DirtyMap,
    stream::Run,
    types::{
        mul_div,
        Ns,
        MS, //
    },
};

/// What is kept of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// What was sent: for streams.
    Sent,
    /// What was seen last: for users, who learn which pages differ from look to look.
    Seen,
}

/// The state of software tracking of one VF. Hashes and map are the caller's, always the same.
#[derive(Clone, Copy, Debug)]
pub struct Track {
    pages: u32,
    keeps: Keeps,
    /// The next page to look at.
    cursor: u32,
    /// Pages before this one were compared in this sweep, or are dirty.
    seen: u32,
    /// When this sweep began, and how long the last one took.
    since: Ns,
    took: Ns,
    sweeps: u32,
    /// The last look is going on, or is complete.
    last: bool,
    complete: bool,
}

impl Track {
    /// Tracking of `pages` pages from `now` on. All pages are dirty to begin with: the caller sets
    /// them in its map.
    pub const fn new(pages: u32, keeps: Keeps, now: Ns) -> Self {
        Self {
            pages,
            keeps,
            cursor: 0,
            seen: 0,
            since: now,
            took: 0,
            sweeps: 0,
            last: false,
            complete: false,
        }
    }

    /// The pages to look at next, at most `most`; those that are dirty are left out.
    ///
    /// `None` at the end of a sweep; a new one begins with the next call, unless it was the last.
    pub fn next(&mut self, dirty: &DirtyMap<'_>, most: u32, now: Ns) -> Option<Run> {
        if self.complete || most == 0 {
            return None;
        }
        match dirty.next_clean_run(self.cursor, most) {
            Some(run) => {
                self.seen = run.first;
                self.cursor = run.first.saturating_add(run.count);
                Some(run)
            }
            None => {
                (self.cursor, self.seen) = (0, 0);
                self.took = now.saturating_sub(self.since);
                self.since = now;
                self.sweeps = self.sweeps.saturating_add(1);
                self.complete = self.last;
                None
            }
        }
    }

    /// The pages that [`Self::next`] has told were all compared. Where a sweep has begun since they
    /// were told, they are no part of it.
    pub fn ended_look(&mut self) {
        self.seen = self.cursor;
    }

    /// A page was read, and has this hash. Returns whether it has become dirty.
    pub fn looked(
        &mut self,
        dirty: &mut DirtyMap<'_>,
        hashes: &mut [u64],
        page: u32,
        hash: u64,
    ) -> bool {
        let Some(kept) = hashes.get_mut(page as usize) else {
            return false;
        };
        let same = *kept == hash;
        if self.keeps == Keeps::Seen {
            *kept = hash;
        }
        self.compared(dirty, page, same)
    }

    /// A page was compared with the shadow. Returns whether it has become dirty.
    pub fn compared(&mut self, dirty: &mut DirtyMap<'_>, page: u32, same: bool) -> bool {
        let new = !same && !dirty.is_set(page);
        if !same {
            dirty.set(page);
        }
        new
    }

    /// A page was sent whose bytes have this hash. It was taken out of the map before it was read.
    pub fn sent(&mut self, hashes: &mut [u64], page: u32, hash: u64) {
        if let Some(kept) = hashes.get_mut(page as usize) {
            *kept = hash;
        }
    }

    /// Pages may be written from now on in a way that looks do not follow: the CPU has mapped them
    /// while the last look goes on.
    pub fn touched(&mut self, dirty: &mut DirtyMap<'_>, run: Run) {
        dirty.set_run(run);
    }

    /// The last look begins: from now on nothing writes but what [`Self::touched`] tells of.
    pub fn begin_last(&mut self, now: Ns) {
        (self.cursor, self.seen) = (0, 0);
        self.since = now;
        self.last = true;
        self.complete = false;
    }

    /// The VF runs again: the last look was not the last one.
    pub fn resume(&mut self, now: Ns) {
        (self.cursor, self.seen) = (0, 0);
        self.since = now;
        self.last = false;
        self.complete = false;
    }

    /// Pages before this one were seen in this sweep: they are as they were sent, or dirty.
    pub const fn seen(&self) -> u32 {
        self.seen
    }

    /// Whether this is the last look, or it is complete.
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// Whether the last look has seen every page: what differs is in the map.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Sweeps that have ended.
    pub const fn sweeps(&self) -> u32 {
        self.sweeps
    }

    /// How long ago, on average, pages were looked at last, in ns.
    pub fn age(&self, now: Ns) -> Ns {
        if self.complete {
            return 0;
        }
        let here = now.saturating_sub(self.since);
        let all = u64::from(self.pages.max(1));
        let seen = u64::from(self.cursor.min(self.pages));
        let unseen = all.saturating_sub(seen);
        // Pages before the cursor: half of this sweep on average. The others: all of it, and half
        // of the last one.
        let before = mul_div(here / 2, seen, all);
        let after = mul_div(here.saturating_add(self.took / 2), unseen, all);
        before.saturating_add(after)
    }
}

/// Most pages of one look: 16 MiB.
const LOOK_MAX: u32 = 4096;

/// Most time that looks may take at once beyond the time for which the VF is off the engine anyway.
const CREDIT_MAX: Ns = 2 * MS;

/// How much looking there may be: all that fits into the time while the VF is switched out anyway,
/// and a small part of what it runs.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What a page costs, in 1/16 ns.
    cost: u64,
    /// The part of its time that the VF may lose, in 1/1000.
    loss: u32,
    /// What it may lose now, in ns.
    credit: Ns,
}

impl Budget {
    /// What a page is taken to cost until it is measured: 4 GB/s.
    const COST: u64 = 1_000 * 16;

    /// A VF may lose `loss`/1000 of its time (at most half).
    pub const fn new(loss: u32) -> Self {
        let loss = if loss > 500 { 500 } else { loss };
        Self {
            cost: Self::COST,
            loss,
            credit: 0,
        }
    }

    /// The VF has run for so long.
    pub fn ran(&mut self, ns: Ns) {
        let earned = ns / 1000 * Ns::from(self.loss);
        self.credit = self.credit.saturating_add(earned).min(CREDIT_MAX);
    }

    /// How many pages may be looked at now, if the VF stays off the engine for `gap` ns anyway.
    pub fn pages(&self, gap: Ns) -> u32 {
        let time = gap.saturating_add(self.credit);
        let pages = time.saturating_mul(16) / self.cost;
        // CAST: at most `LOOK_MAX`.
        pages.min(LOOK_MAX.into()) as u32
    }

    /// So many pages were looked at, which took so long; of that, `gap` cost the VF nothing.
    pub fn spent(&mut self, pages: u32, took: Ns, gap: Ns) {
        let lost = took.saturating_sub(gap);
        self.credit = self.credit.saturating_sub(lost);
        if pages == 0 {
            return;
        }
        let each = (took.saturating_mul(16) / u64::from(pages)).clamp(16, 16 * MS);
        self.cost = self.cost / 4 * 3 + each / 4;
        self.cost = self.cost.max(16);
    }

    /// How long a look at so many pages takes, in ns.
    pub fn scan(&self, pages: u32) -> Ns {
        self.cost.saturating_mul(pages.into()) / 16
    }
}

#[cfg(any(test, kunit))]
#[path = "track_tests.rs"]
mod tests;
