// SPDX-License-Identifier: GPL-2.0

//! What a stream has shown of link and VF, and what follows: the figures for the core's policy.

use super::{
    super::track::Tracker,
    Save, //
};
use crate::{
    ffi::uapi,
    gim_core::{
        course::Looks,
        rounds::{
            Costs,
            Figures,
            Limits,
            Next,
            Rounds, //
        },
        track::Budget,
        types::{
            Ns,
            MS, //
        },
    },
};

/// Pause, state and resume: what any blackout lasts at least.
const FIXED: Ns = 10 * MS;

/// Measures one stream.
pub(super) struct Meter {
    rounds: Rounds,
    /// What looks cost.
    looks: Budget,
    next: Option<Next>,
    /// When the round began, and what had been read and found by then.
    since: Ns,
    passed: u64,
    found: u64,
    read: u64,
    /// Time in it in which nothing was there to be sent.
    idle: Ns,
    idle_since: Option<Ns>,
}

impl Meter {
    pub(super) fn new(limits: Limits, pages: u32, now: Ns) -> Self {
        let costs = Costs {
            fixed: FIXED,
            scan: 0,
        };
        Self {
            rounds: Rounds::new(limits, costs, pages.into()),
            looks: Budget::new(0),
            next: None,
            since: now,
            passed: 0,
            found: 0,
            read: 0,
            idle: 0,
            idle_since: Some(now),
        }
    }

    /// Somebody reads.
    pub(super) fn reader_came(&mut self, now: Ns) {
        if let Some(since) = self.idle_since.take() {
            self.idle = self.idle.saturating_add(now.saturating_sub(since));
        }
    }

    /// He has got so many bytes; with none, what follows is no time of the link's.
    pub(super) fn reader_goes(&mut self, now: Ns, bytes: u64) {
        self.read = self.read.saturating_add(bytes);
        if bytes == 0 {
            self.idle_since = Some(now);
        }
    }

    /// Pages were looked at.
    pub(super) fn looked(&mut self, pages: u32, took: Ns) {
        self.looks.spent(pages, took, took);
    }

    /// A round has ended, and all is known of what is dirty that will be known without a hold.
    fn ended(&mut self, tracker: &mut Tracker, now: Ns) {
        let by_reading = tracker.by_reading();
        if by_reading {
            self.rounds.set_scan(self.looks.scan(tracker.pages()));
        }
        let took = now.saturating_sub(self.since);
        let found = tracker.found();
        let figures = Figures {
            sent: self.read.saturating_sub(self.passed),
            sending: took.saturating_sub(self.idle),
            took,
            dirtied: found.saturating_sub(self.found),
            dirty: tracker.known(),
            age: match by_reading {
                true => tracker.track().age(now),
                false => 0,
            },
        };
        self.next = Some(self.rounds.ended(&figures));
        (self.since, self.passed, self.found) = (now, self.read, found);
        self.idle = 0;
        if self.idle_since.is_some() {
            self.idle_since = Some(now);
        }
    }

    /// Tells what is known.
    pub(super) fn tell(&self, info: &mut uapi::gim_stream_info) {
        let estimate = self.rounds.estimate();
        info.left_bytes = estimate.left;
        info.brownout_ns = estimate.brownout;
        info.blackout_ns = estimate.blackout;
        info.at_once_ns = estimate.at_once;
        info.rate = self.rounds.rates().0;
        info.next = match self.next {
            None => uapi::GIM_NEXT_READ,
            Some(Next::Round) => uapi::GIM_NEXT_ROUND,
            Some(Next::Brownout) => uapi::GIM_NEXT_HOLD,
            Some(Next::Stop) => uapi::GIM_NEXT_PAUSE,
            Some(Next::GiveUp) => uapi::GIM_NEXT_GIVE_UP,
        };
    }
}

impl Save {
    /// A round has ended: where the device knows all, so does the policy.
    pub(super) fn measure_round(&mut self, now: Ns) {
        if self.tracker.looks() == Looks::Known {
            self.meter.ended(&mut self.tracker, now);
        }
    }

    /// A sweep of looks has ended. Between two rounds that is when the policy knows most.
    pub(super) fn swept(&mut self) {
        let Looks::Sweeps(_) = self.tracker.looks() else {
            return;
        };
        if !self.course.is_active() {
            let now = crate::ffi::timer::now_ns();
            self.meter.ended(&mut self.tracker, now);
        }
    }
}
