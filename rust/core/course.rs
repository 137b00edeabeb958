// SPDX-License-Identifier: GPL-2.0

//! The course of a stream: rounds as passes over the map of dirty pages, from the first to the last.
//!
//! In the first round every page is dirty. What becomes dirty behind the pass waits for the next
//! one. Where software looks for changes, a round begins when a sweep of looks has ended; during
//! the last look the pass follows it, so that what is found is sent while the look goes on.

use super::{
    dirty::DirtyMap,
    stream::ROUNDS_MAX, //
};

/// How the VF stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It runs, or will run again.
    Runs,
    /// It is held, and nobody writes to its framebuffer without a report.
    Quiet,
    /// It is paused: nothing writes.
    Paused,
}

/// How changes become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Without looking: all are in the map.
    Known,
    /// By sweeps, of which so many have ended.
    Sweeps(u32),
    /// By the last look, which has seen the pages before this one.
    Last(u32),
    /// The last look is complete: all are in the map.
    Complete,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send dirty pages from the cursor on, none from this one on.
    Send(u32),
    /// Say that the round is over.
    EndRound,
    /// Nothing can be sent while the VF runs: ask again later.
    Idle,
    /// The last look has to come further.
    Wait,
    /// All pages were sent: the state follows.
    State,
}

/// Rounds that are kept back for when the VF is held, of those that a stream may have.
const RESERVE: u32 = 100;

/// The course of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    cursor: u32,
    /// A round is going on.
    active: bool,
    /// The first round is not over.
    first: bool,
    /// The round is to end, wherever it is.
    cut: bool,
    /// Rounds that have ended.
    rounds: u32,
    /// Sweeps that had ended when the last round began or, for the first one, ended.
    sweeps: u32,
}

impl Course {
    /// One that is at its beginning; the map is to be full.
    pub const fn new() -> Self {
        Self {
            cursor: 0,
            active: true,
            first: true,
            cut: false,
            rounds: 0,
            sweeps: 0,
        }
    }

    /// What is to be done next.
    pub fn next(&mut self, dirty: &DirtyMap<'_>, stand: Stand, looks: Looks) -> Step {
        if !self.active {
            if let Some(other) = self.between(dirty, stand, looks) {
                return other;
            }
            (self.active, self.cursor) = (true, 0);
            if let Looks::Sweeps(ended) = looks {
                self.sweeps = ended;
            }
        }
        let end = match looks {
            Looks::Last(at) if !self.first => at.min(dirty.pages()),
            _ => dirty.pages(),
        };
        let next = dirty.next_run(self.cursor, 1);
        if !self.cut && next.is_some_and(|run| run.first < end) {
            return Step::Send(end);
        }
        // Also at the last page: until the look is complete there would be a round for each time
        // that is asked, and a stream has only so many.
        if !self.cut && !self.first && matches!(looks, Looks::Last(_)) {
            return Step::Wait;
        }
        if let (true, Looks::Sweeps(ended)) = (self.first, looks) {
            self.sweeps = ended;
        }
        (self.active, self.first, self.cut) = (false, false, false);
        self.rounds = self.rounds.saturating_add(1);
        Step::EndRound
    }

    /// Between two rounds: what is to be done instead of beginning another one.
    fn between(&self, dirty: &DirtyMap<'_>, stand: Stand, looks: Looks) -> Option<Step> {
        let none = dirty.next_run(0, 1).is_none();
        match (stand, looks) {
            (Stand::Paused, Looks::Known | Looks::Complete) if none => Some(Step::State),
            (_, Looks::Last(_)) => None,
            (Stand::Runs, _) if self.rounds >= ROUNDS_MAX - RESERVE => Some(Step::Idle),
            (_, Looks::Sweeps(ended)) if ended == self.sweeps => Some(Step::Idle),
            _ if none => Some(Step::Idle),
            _ => None,
        }
    }

    /// Pages before this one were sent, or left out.
    pub fn passed(&mut self, page: u32) {
        self.cursor = self.cursor.max(page);
    }

    /// The next page to look for dirty ones from.
    pub const fn cursor(&self) -> u32 {
        self.cursor
    }

    /// The last look begins: the round that is going on ends, unless it is the first one.
    pub fn begin_last(&mut self) {
        self.cut = self.active && !self.first;
    }

    /// A sweep has shown that nothing is dirty: the next one is waited for.
    pub fn swept(&mut self, sweeps: u32) {
        if !self.active {
            self.sweeps = sweeps;
        }
    }

    /// Sweeps that had ended when a sweep was made use of last.
    pub const fn sweeps(&self) -> u32 {
        self.sweeps
    }

    /// Whether a round is going on.
    pub const fn is_active(&self) -> bool {
        self.active
    }

    /// Whether the first round is not over.
    pub const fn is_first(&self) -> bool {
        self.first
    }

    /// Rounds that have ended.
    pub const fn rounds(&self) -> u32 {
        self.rounds
    }
}

impl Default for Course {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
