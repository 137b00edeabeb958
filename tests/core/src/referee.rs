// SPDX-License-Identifier: GPL-2.0

//! The judge: what must hold after every step, whoever the guests are.
//!
//! - [`events`]: what it learns before the engine does;
//! - [`actions`]: what the engine may do, and when;
//! - [`adoption`]: VFs that are taken for a restore;
//! - [`state`]: what must hold between steps.

mod actions;
mod adoption;
mod events;
mod state;

use gim_core::{
    access::Access,
    mailbox::GuestMessage,
    types::{Ns, VfId, MAX_VFS},
};

use crate::world::Verdict;

/// What the judge knows of one VF.
#[derive(Clone, Copy, Debug, Default)]
struct Vf {
    /// Its framebuffer may hold what another tenant left, since then.
    dirty_since: Option<Ns>,
    /// When the scrub that is going on began.
    scrub: Option<Ns>,
    /// A reset is going on.
    reset: bool,
    /// A preparation is going on, and nothing has spoilt it.
    preparing: Option<bool>,
    /// What its guest reads is written, for one full access.
    prepared: bool,
    /// It was when full access was granted, or did not have to be.
    may_read: bool,
    /// Its guest has asked for it.
    curious: bool,
    /// Before this step, its guest had the GPU, or its driver was loaded, and it was listened to.
    has_guest: bool,
    /// It was told of a reset that has not begun.
    told: Option<Told>,
    /// Its oldest request that was neither answered nor refused.
    asked: Option<Ns>,
    /// READY was sent for it, and its guest has not acknowledged it.
    unread: bool,
    /// Its last request.
    message: Option<GuestMessage>,
    /// Both as they were before that.
    before: (Option<Ns>, Option<GuestMessage>),
    /// Since when it could run and has not.
    waits: Option<Ns>,
    /// A pause was ordered and not confirmed.
    pausing: Option<Ns>,
    paused: bool,
    /// When the pause ends by itself.
    until: Option<Ns>,
    /// An adoption was ordered and not answered.
    adopting: Option<Ns>,
    /// It is the host's, and must not run.
    adopted: bool,
    /// The host has filled it.
    filled: bool,
    /// What the host says of it is to be answered by this step: what its guest has asked.
    restoring: Option<Option<Access>>,
    /// Its messages are to stay unread.
    sealed: bool,
}

/// A VF whose guest was told of a reset.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// When.
    at: Ns,
    /// Nothing but an answer may make its reset begin before the guest has had its time.
    patient: bool,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct Referee {
    count: usize,
    vfs: [Vf; MAX_VFS],
    /// The longest that a VF that could run has waited.
    pub gap_max: Ns,
    /// The longest that a request went unanswered.
    pub answer_max: Ns,
    /// Bound of the first.
    pub gap_bound: Ns,
    /// Bound of the second, and of pauses.
    pub answer_bound: Ns,
    /// Requests, and how many of them were answered.
    pub asked: u64,
    /// Answers.
    pub answered: u64,
    /// World switches.
    pub switches: u64,
    /// VFs that were taken for a restore, restored, and run then.
    pub adoptions: [u64; 3],
    disabling: Option<Ns>,
    gpu_reset: bool,
    frozen: bool,
    pf_runs: bool,
    /// The GPU was taken away, in an earlier step.
    away: bool,
}

impl Default for Referee {
    fn default() -> Self {
        Self {
            count: 0,
            vfs: [Vf::default(); MAX_VFS],
            gap_max: 0,
            answer_max: 0,
            gap_bound: Ns::MAX,
            answer_bound: Ns::MAX,
            asked: 0,
            answered: 0,
            switches: 0,
            adoptions: [0; 3],
            disabling: None,
            gpu_reset: false,
            frozen: false,
            pf_runs: false,
            away: false,
        }
    }
}

fn no(what: impl Into<String>) -> Verdict {
    Err(what.into())
}

impl Vf {
    /// What was written to its framebuffer, or is being written, is gone.
    fn spoil(&mut self) {
        self.prepared = false;
        self.preparing = self.preparing.map(|_| false);
    }
}

impl Referee {
    /// VFs begin to exist; nobody knows what is in their framebuffers.
    pub fn enabled(&mut self, count: usize) {
        self.count = count;
        self.vfs = [Vf {
            dirty_since: Some(0),
            ..Vf::default()
        }; MAX_VFS];
    }

    /// VFs are to be disabled.
    pub fn disabling(&mut self, now: Ns) {
        self.disabling = Some(now);
    }

    /// VFs are disabled.
    pub fn disabled(&mut self) {
        self.disabling = None;
        self.count = 0;
        self.vfs = [Vf::default(); MAX_VFS];
    }

    /// A VF was reset: its tenant may be another one now.
    pub fn flr(&mut self, now: Ns, vf: VfId) {
        let each = &mut self.vfs[vf.index()];
        each.dirty_since = Some(now);
        each.spoil();
        self.hurry(vf);
    }

    /// The VF's reset may begin at any time.
    fn hurry(&mut self, vf: VfId) {
        if let Some(told) = &mut self.vfs[vf.index()].told {
            told.patient = false;
        }
    }

    /// How long the VF has waited, at this moment.
    pub fn gap(&self, n: usize, now: Ns) -> Ns {
        now - self.vfs[n].waits.unwrap_or(now)
    }
}
