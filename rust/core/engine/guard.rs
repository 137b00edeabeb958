// SPDX-License-Identifier: GPL-2.0

//! What is done about guests that exceed their limits: their messages are not taken, their requests
//! wait, or they are quarantined. Whoever unloads is not held up.

use super::super::{
    access::Access,
    actions::Actions,
    event::{
        Action,
        Note, //
    },
    guard::{
        Act,
        Bucket,
        Limit, //
    },
    types::{
        Ns,
        VfId, //
    },
    vf::VfState, //
};
use super::Engine;

/// Messages that a VF may send at least once it is listened to again.
const LISTEN_AGAIN: u32 = 4;

/// One bucket per limit.
pub(super) type Buckets = [Bucket; Limit::ALL.len()];

/// Nothing was taken yet.
pub(super) const FULL: Buckets = [Bucket::FULL; Limit::ALL.len()];

impl Engine {
    /// Whether messages of the VF are to be read and acknowledged at this moment.
    pub const fn takes_messages(&self, vf: VfId) -> bool {
        (self.muted | self.adoptions.sealed) & vf.bit() == 0 && !self.has_left()
    }

    /// Takes `n` from what the VF may have, whether it is there or not.
    pub(super) fn spend(&mut self, vf: VfId, limit: Limit, n: u64) {
        let (now, rate) = (self.now, self.cfg.rate(limit));
        self.vf(vf).buckets[limit.index()].charge(now, rate, n);
    }

    /// Takes one from what the VF may have, if it is there or limits are not enforced.
    pub(super) fn take_one(&mut self, vf: VfId, limit: Limit) -> bool {
        let (now, rate) = (self.now, self.cfg.rate(limit));
        self.vf(vf).buckets[limit.index()].take(now, rate) || !self.cfg.guard()
    }

    fn next(&self, vf: VfId, limit: Limit, n: u32) -> Ns {
        let bucket = self.vfs[vf.index()].buckets[limit.index()];
        bucket.next(0, self.cfg.rate(limit), n)
    }

    pub(super) fn note_guard(&mut self, vf: VfId, limit: Limit, act: Act, out: &mut Actions) {
        let stats = &mut self.vf(vf).stats;
        stats.guarded = stats.guarded.saturating_add(1);
        out.push(Action::Note(Note::Guard { vf, limit, act }));
    }

    /// Whether a message is taken; if not, the VF is muted for a while.
    pub(super) fn takes(&mut self, vf: VfId, out: &mut Actions) -> bool {
        if !self.takes_messages(vf) {
            return false;
        }
        let taken = self.take_one(vf, Limit::Messages);
        if !taken {
            self.muted |= vf.bit();
            self.note_guard(vf, Limit::Messages, Act::Drop, out);
        }
        taken
    }

    /// Looks at the mailbox of whoever has full access, for which others wait, and of one VF after
    /// the other: a guest whose interrupt was lost is heard after as many intervals of housekeeping
    /// as there are VFs, at most.
    pub(super) fn listen_to_next(&mut self, out: &mut Actions) {
        let at = if self.listened < self.count {
            self.listened
        } else {
            0
        };
        self.listened = at.saturating_add(1);
        let next = VfId::new(at.into()).filter(|_| at < self.count);
        let holder = self.holder.map(|holder| holder.vf);
        let mask = next.map_or(0, VfId::bit) | holder.map_or(0, VfId::bit);
        let heard = |vf: &VfId| self.takes_messages(*vf) && !self.detached();
        for vf in VfId::in_mask(mask).filter(heard) {
            out.push(Action::Listen(vf));
        }
    }

    /// When the VF is listened to again.
    fn unmute_at(&self, vf: VfId) -> Ns {
        let rate = self.cfg.rate(Limit::Messages);
        self.next(vf, Limit::Messages, LISTEN_AGAIN.min(rate.count()))
    }

    /// Until when full access is not granted to the VF, whatever it asked.
    pub(super) fn held_until(&self, vf: VfId) -> Ns {
        let want = self.vfs[vf.index()].want;
        if !self.cfg.guard() || matches!(want, None | Some(Access::Fini)) {
            return 0;
        }
        let limits = [
            Limit::Requests,
            Limit::Timeouts,
            Limit::Resets,
            Limit::AccessTime,
        ];
        let until = |limit: &Limit| self.next(vf, *limit, 1);
        limits.iter().map(until).max().unwrap_or(0)
    }

    /// Listens again to those that were muted long enough, and tells of requests that wait; one of
    /// each per step.
    pub(super) fn check_guard(&mut self, out: &mut Actions) {
        let now = self.now;
        let muted = self.muted & !self.adoptions.sealed;
        if muted != 0 && !self.detached() {
            let enough = |vf: &VfId| self.unmute_at(*vf) <= now || !self.cfg.guard();
            if let Some(vf) = VfId::in_mask(muted).find(enough) {
                self.muted &= !vf.bit();
                out.push(Action::Listen(vf));
            }
        }
        let waits = |vf: &VfId| self.delayed & vf.bit() == 0 && self.held_until(*vf) > now;
        let new = self.queue.as_slice().iter().copied().find(waits);
        if let Some(vf) = new {
            self.delayed |= vf.bit();
            let until = |limit: &Limit| self.next(vf, *limit, 1);
            let of = [Limit::Timeouts, Limit::Resets, Limit::AccessTime];
            let limit = of.into_iter().find(|limit| until(limit) > now);
            let limit = limit.unwrap_or(Limit::Requests);
            self.note_guard(vf, limit, Act::Delay, out);
        }
    }

    /// When [`Self::check_guard`] has something to do, or a request has waited long enough.
    pub(super) fn guard_deadline(&self) -> Option<Ns> {
        let muted = self.muted & !self.adoptions.sealed;
        let muted = VfId::in_mask(muted).filter(|_| !self.detached());
        let muted = muted.map(|vf| self.unmute_at(vf)).min();
        let can = |vf: &&VfId| self.vfs[vf.index()].state == VfState::Available;
        let held = self.queue.as_slice().iter().filter(can);
        let until = held.map(|&vf| self.held_until(vf));
        let next = until.filter(|&at| at > self.now).min();
        super::earlier(muted, next.filter(|_| self.holder.is_none()))
    }
}
