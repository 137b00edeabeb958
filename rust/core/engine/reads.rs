// SPDX-License-Identifier: GPL-2.0

//! Reads of RESET_NOTIFICATION, in the order in which they are done.
//!
//! Each read has a number and is answered, also if it shows nothing. So whoever has to know what
//! happened before what remembers a number: a reset that was queued when `n` reads were ordered
//! cannot show in the answers up to `n`, and what a guest said before read `n` was done is younger
//! than nothing that a later answer shows. No other event says anything about a read.

use super::super::{
    actions::Actions,
    event::Action,
    types::{
        Ns,
        MS, //
    }, //
};
use super::{
    command::Doubt,
    Engine,
    Phase, //
};

/// When the register is read again, should an answer not come.
const ANSWER_WAIT: Ns = MS;

/// How many reads there were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads {
    /// The number of the last one that was ordered; the first is 1.
    ordered: u64,
    /// The last one whose answer is known, or not awaited any more.
    answered: u64,
    /// The last one was ordered by this step.
    fresh: bool,
    /// When to read again.
    again: Ns,
}

impl Reads {
    pub(super) const NONE: Self = Self {
        ordered: 0,
        answered: 0,
        fresh: false,
        again: 0,
    };

    /// A step begins: what was read so far is older than its event.
    pub(super) fn begin_step(&mut self) {
        self.fresh = false;
    }

    /// The number of the last one that was ordered.
    pub(super) const fn last(&self) -> u64 {
        self.ordered
    }

    /// Whether the answer to this one is still to come.
    pub(super) const fn awaits(&self, read: u64) -> bool {
        read > self.answered
    }

    /// What was read so far counts for nothing: the GPU is not what it was.
    pub(super) fn forget(&mut self) {
        self.answered = self.ordered;
    }

    /// Whether an answer is still to come.
    pub(super) const fn open(&self) -> bool {
        self.awaits(self.ordered)
    }
}

impl Engine {
    /// Orders RESET_NOTIFICATION to be read, once per step.
    pub(super) fn read_resets(&mut self, out: &mut Actions) {
        let reads = &mut self.reads;
        if !reads.fresh {
            reads.fresh = true;
            reads.ordered = reads.ordered.saturating_add(1);
            reads.again = self.now.saturating_add(ANSWER_WAIT);
            out.push(Action::ReadResets(reads.ordered));
        }
    }

    /// Somebody has to know which VFs were reset. All VFs of a GPU that is away or gone have lost
    /// what they had.
    pub(super) fn look(&mut self, out: &mut Actions) {
        if !self.detached() && self.phase != Phase::Gone {
            self.read_resets(out);
        }
    }

    /// A read has shown resets of these VFs, or none.
    pub(super) fn reads_answer(&mut self, read: u64, mask: u32, out: &mut Actions) {
        if !self.reads.awaits(read) || read > self.reads.ordered {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        }
        self.resets_seen(read, mask, out);
        self.reads.answered = read;
        self.settle_reads();
    }

    /// What waited for answers does not any more, where they are known.
    pub(super) fn settle_reads(&mut self) {
        if matches!(self.doubt, Doubt::Asked(_, read) if !self.reads.awaits(read)) {
            self.doubt = Doubt::None;
        }
        if !self.reads.awaits(self.adoptions.read) {
            self.adoptions.fresh = 0;
        }
        if !self.reads.awaits(self.prepares.read) {
            self.prepares.fresh = 0;
        }
    }

    /// Nothing is read any more of what was ordered so far.
    pub(super) fn forget_reads(&mut self) {
        self.reads.forget();
        self.settle_reads();
    }

    /// When the register is to be read again, since an answer has not come.
    pub(super) fn reads_deadline(&self) -> Option<Ns> {
        self.reads.open().then_some(self.reads.again)
    }
}
