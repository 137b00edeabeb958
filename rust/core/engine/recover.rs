// SPDX-License-Identifier: GPL-2.0

//! Resets and scrubs of VFs.
//!
//! A reset takes effect long before it is complete: as soon as RESET_NOTIFICATION shows it, the
//! seat is empty and the others go on, while the VF's FLR, its configuration and its scrub take
//! their time.

use super::super::{
    actions::Actions,
    event::{
        Action,
        Cmd,
        Note,
        ResetReason,
        Work, //
    },
    guard::{
        Act,
        Limit, //
    },
    mailbox::HostMessage,
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        Ns,
        VfId,
        MS, //
    },
    vf::{
        VfEvent,
        VfState, //
    },
};
use super::{
    Adoption,
    Engine,
    Phase, //
};

/// How often RESET_NOTIFICATION is read for a reset that keeps nobody waiting.
const LAZY_RESET_POLL: Ns = 10 * MS;

/// The start of work that is not waited for any more, but has not ended either.
pub(super) const GIVEN_UP: Ns = Ns::MAX;

impl Engine {
    /// Resets a VF that is neither being reset nor quarantined.
    pub(super) fn reset(&mut self, vf: VfId, reason: ResetReason, out: &mut Actions) {
        let engaged = self.engages(vf);
        // After its guest's own reset the seat is empty, unless that may have come before LOAD.
        let own = reason != ResetReason::GuestFlr || (engaged && self.doubt.is_about(vf));
        out.push(Action::Note(Note::Reset { vf, reason }));
        // A VMM resets the function several times whenever a VM starts: that is no offence. Nor is how
        // it ends.
        if !matches!(
            reason,
            ResetReason::HostRequest | ResetReason::GuestFlr | ResetReason::Abandoned
        ) {
            self.spend(vf, Limit::Resets, 1);
        }
        self.users.forget(vf);
        self.keep_request(vf, reason);
        let told = matches!(
            reason,
            ResetReason::Hang
                | ResetReason::FullAccessTimeout
                | ResetReason::HostRequest
                | ResetReason::Abandoned
        );
        let wait = if told { self.ready_wait(vf) } else { 0 };
        let each = self.vf(vf);
        each.stats.resets = each.stats.resets.saturating_add(1);
        each.loaded = false;
        each.context = Context::Clear;
        each.notified = told;
        self.shift(vf, VfEvent::Reset, out);
        if told {
            self.send(vf, HostMessage::FlrNotification, out);
        }
        if engaged {
            self.vacate(vf, own);
        }
        match (own, wait) {
            (true, 0) => self.queue_reset(vf, out),
            (true, wait) => self.await_ready(vf, wait),
            (false, _) => self.dirty |= vf.bit(),
        }
    }

    /// A request that was not answered yet survives one reset that its guest did not cause. READY
    /// that nobody has read when the GPU is reset is no answer: it was wiped with the mailbox.
    pub(super) fn keep_request(&mut self, vf: VfId, reason: ResetReason) {
        let mut unanswered = None;
        if let Some(holder) = self.holder.filter(|holder| holder.vf == vf) {
            let wiped = reason == ResetReason::GpuReset && !holder.read;
            if holder.ready.is_none() || wiped {
                unanswered = Some(holder.kind);
            }
            self.end_access();
        }
        let guests = matches!(reason, ResetReason::GuestRequest | ResetReason::GuestFlr);
        if self.adoption(vf) != Adoption::None {
            // Who asked has never run here.
            self.vf(vf).want = None;
        }
        let each = self.vf(vf);
        let want = each.want.or(unanswered);
        let keep = guests || !each.retried;
        each.want = want.filter(|_| keep);
        if !guests {
            each.retried = true;
        }
        match self.vf(vf).want {
            Some(_) => self.queue.push(vf),
            None => self.queue.remove(vf),
        }
    }

    /// Takes a VF that is reset off the seat: at once, or when our own reset takes effect.
    fn vacate(&mut self, vf: VfId, own: bool) {
        let fcn = Fcn::Vf(vf);
        if self.seat == Seat::Running(fcn) {
            self.end_run(fcn);
        }
        if self.flight.as_ref().is_some_and(|f| f.cmd.fcn == fcn) {
            self.abort_flight();
        }
        if own {
            self.seat = Seat::Unknown;
            self.blocked = Some(vf);
        } else if self.seat.fcn() == Some(fcn) {
            self.seat = Seat::Empty;
        }
    }

    /// Queues the reset. RESET_NOTIFICATION is read before, so that a reset by the guest, if it
    /// shows, is not taken for ours.
    pub(super) fn queue_reset(&mut self, vf: VfId, out: &mut Actions) {
        let now = self.now;
        let wait = match self.blocked {
            Some(_) => self.cfg.reset_poll(),
            None => LAZY_RESET_POLL,
        };
        self.reset_poll_at = now.saturating_add(wait);
        self.read_resets(out);
        let read = self.reads.last();
        self.own_resets |= vf.bit();
        let each = self.vf(vf);
        each.reset_since = Some(now);
        each.reset_after = read;
        self.works = self.works.saturating_add(1);
        out.push(Action::Queue(Work::Reset(vf)));
    }

    /// The reset that the seat was waiting for has taken effect.
    fn unblock(&mut self) {
        self.blocked = None;
        self.seat = Seat::Empty;
        // Only now does the end of a command that was in flight matter.
        self.abort_flight();
    }

    pub(super) fn send(&mut self, vf: VfId, message: HostMessage, out: &mut Actions) {
        out.push(Action::Send {
            vf,
            words: message.words(),
            valid: true,
        });
    }

    /// This read of RESET_NOTIFICATION has shown resets of these VFs: ours, or their guests'.
    pub(super) fn resets_seen(&mut self, read: u64, mask: u32, out: &mut Actions) {
        let count = self.count;
        for vf in VfId::in_mask(mask).take_while(|vf| vf.raw() < count) {
            if self.own_resets & vf.bit() != 0 {
                if read <= self.vf(vf).reset_after {
                    // Ours cannot have shown yet; what did is beside the point.
                    continue;
                }
                self.own_resets &= !vf.bit();
                if self.blocked == Some(vf) {
                    self.unblock();
                }
                continue;
            }
            self.hurry(vf);
            let each = &self.vfs[vf.index()];
            match each.state {
                // What was scrubbed so far may have been written by the tenant before the reset.
                VfState::Unavailable | VfState::Resetting if each.scrub_since.is_some() => {
                    self.dirty |= vf.bit();
                }
                VfState::Unavailable if self.engages(vf) => self.reset_while_stopping(vf, out),
                VfState::Unavailable | VfState::Resetting | VfState::Quarantined => {}
                _ => self.reset(vf, ResetReason::GuestFlr, out),
            }
        }
    }

    /// A VF on the seat was reset, or failed, while VFs are being disabled.
    fn reset_while_stopping(&mut self, vf: VfId, out: &mut Actions) {
        let own = self.doubt.is_about(vf);
        self.vacate(vf, own);
        if own {
            self.queue_reset(vf, out);
        }
    }

    /// The command has failed and its function was not reset by its guest: it is to blame.
    pub(super) fn convict(&mut self, cmd: Cmd, status: Option<u8>, out: &mut Actions) {
        self.stats.failures = self.stats.failures.saturating_add(1);
        out.push(Action::Note(Note::CmdFailed { cmd, status }));
        let Fcn::Vf(vf) = cmd.fcn else {
            self.dead(out);
            return;
        };
        if !self.take_one(vf, Limit::Hangs) {
            self.condemned |= vf.bit();
            self.note_guard(vf, Limit::Hangs, Act::Quarantine, out);
        }
        let each = self.vf(vf);
        each.stats.hangs = each.stats.hangs.saturating_add(1);
        match each.state {
            VfState::Unavailable if each.recovering() => self.dead(out),
            VfState::Unavailable => {
                self.vacate(vf, true);
                self.queue_reset(vf, out);
            }
            VfState::Resetting | VfState::Quarantined => self.dead(out),
            _ => self.reset(vf, ResetReason::Hang, out),
        }
    }

    pub(super) fn quarantine(&mut self, vf: VfId, out: &mut Actions) {
        self.queue.remove(vf);
        self.dirty &= !vf.bit();
        let each = self.vf(vf);
        each.want = None;
        // Who is given up with the whole GPU has not been reset: its guest is none any more.
        each.loaded = false;
        each.context = Context::Clear;
        if each.state != VfState::Quarantined {
            self.shift(vf, VfEvent::Quarantine, out);
        }
    }

    /// Slow work has ended.
    pub(super) fn work_done(&mut self, work: Work, ok: bool, out: &mut Actions) {
        let since = match work {
            Work::Reset(vf) => self.vf(vf).reset_since.take(),
            Work::Scrub(vf) => self.vf(vf).scrub_since.take(),
            Work::Prepare(vf) => self.vf(vf).prepare_since.take(),
            Work::GpuReset => self.gpu_reset_since.take(),
        };
        let Some(since) = since else {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        };
        self.works = self.works.saturating_sub(1);
        match work {
            Work::Reset(vf) => self.reset_done(vf, ok, out),
            Work::Scrub(vf) => self.scrub_done(vf, ok, out),
            Work::Prepare(vf) => self.prepare_done(vf, ok),
            Work::GpuReset if since == GIVEN_UP => self.gpu_reset_late(ok, out),
            Work::GpuReset => self.gpu_reset_done(ok, out),
        }
    }

    fn reset_done(&mut self, vf: VfId, ok: bool, out: &mut Actions) {
        self.own_resets &= !vf.bit();
        if self.blocked == Some(vf) {
            if !ok {
                self.dead(out);
                return;
            }
            self.unblock();
        }
        if self.phase != Phase::On || self.vf(vf).state != VfState::Resetting {
            return;
        }
        let condemned = self.condemned & vf.bit() != 0;
        if ok && !condemned {
            self.dirty |= vf.bit();
            self.read_resets(out);
        } else {
            self.quarantine(vf, out);
        }
    }

    fn scrub_done(&mut self, vf: VfId, ok: bool, out: &mut Actions) {
        let state = self.vf(vf).state;
        let awaited = matches!(state, VfState::Unavailable | VfState::Resetting);
        if self.phase != Phase::On || vf.raw() >= self.count || !awaited {
            return;
        }
        if !ok {
            self.quarantine(vf, out);
        } else if self.dirty & vf.bit() == 0 {
            self.shift(vf, VfEvent::Clean, out);
            if core::mem::take(&mut self.vf(vf).notified) {
                self.send(vf, HostMessage::FlrComplete, out);
            }
        }
    }

    /// Queues the next scrub: one at a time, those that are asked for first.
    pub(super) fn queue_scrub(&mut self, out: &mut Actions) {
        let may = self.phase == Phase::On && !self.frozen;
        if self.dirty == 0 || !may || self.scrubs() {
            return;
        }
        let can = |vf: &VfId| self.dirty & vf.bit() != 0 && !self.vfs[vf.index()].working();
        let asked = self.queue.as_slice().iter().copied().find(can);
        if let Some(vf) = asked.or_else(|| self.enabled().find(can)) {
            self.dirty &= !vf.bit();
            self.vf(vf).scrub_since = Some(self.now);
            self.works = self.works.saturating_add(1);
            out.push(Action::Queue(Work::Scrub(vf)));
        }
    }

    /// Whether a scrub is going on that is still waited for.
    pub(super) fn scrubs(&self) -> bool {
        let scrubs = |vf: &super::Vf| vf.scrub_since.is_some_and(|at| at != GIVEN_UP);
        self.vfs.iter().any(scrubs)
    }

    /// Whether slow work is going on that is still waited for.
    pub(super) fn awaits_work(&self) -> bool {
        self.work_deadline().is_some()
    }

    /// When the oldest slow work counts as failed.
    pub(super) fn work_deadline(&self) -> Option<Ns> {
        if self.works == 0 {
            return None;
        }
        let started = |vf: &super::Vf| {
            let slow = super::earlier(vf.reset_since, vf.scrub_since);
            super::earlier(slow, vf.prepare_since)
        };
        let oldest = self.vfs.iter().filter_map(started).min();
        let oldest = super::earlier(oldest, self.gpu_reset_since)?;
        (oldest != GIVEN_UP).then(|| oldest.saturating_add(self.cfg.work_bound()))
    }

    /// Gives up on slow work that takes too long.
    pub(super) fn check_work(&mut self, out: &mut Actions) {
        let Some(deadline) = self.work_deadline().filter(|&at| self.now >= at) else {
            return;
        };
        let since = deadline.saturating_sub(self.cfg.work_bound());
        if self.gpu_reset_since.is_some_and(|at| at <= since) {
            self.gpu_reset_since = Some(GIVEN_UP);
            self.gpu_reset_done(false, out);
        }
        for vf in VfId::all() {
            let each = self.vf(vf);
            let late = |at: &Option<Ns>| at.is_some_and(|at| at <= since);
            let (reset, scrub) = (late(&each.reset_since), late(&each.scrub_since));
            let prepare = late(&each.prepare_since);
            if reset {
                each.reset_since = Some(GIVEN_UP);
                self.reset_done(vf, false, out);
            }
            if scrub {
                self.vf(vf).scrub_since = Some(GIVEN_UP);
                self.scrub_done(vf, false, out);
            }
            if prepare {
                self.vf(vf).prepare_since = Some(GIVEN_UP);
                self.prepare_done(vf, false);
            }
        }
    }

    /// Reads RESET_NOTIFICATION from time to time, and often while a reset is awaited; and one
    /// mailbox each time, whose interrupt may have been lost.
    pub(super) fn check_resets(&mut self, out: &mut Actions) {
        let now = self.now;
        if self.phase == Phase::On && now >= self.housekeeping_at {
            self.housekeeping_at = now.saturating_add(self.cfg.housekeeping());
            self.read_resets(out);
            self.listen_to_next(out);
            out.push(Action::ReadUsers);
        }
        if self.own_resets != 0 && now >= self.reset_poll_at {
            let wait = match self.blocked {
                Some(_) => self.cfg.reset_poll(),
                None => LAZY_RESET_POLL,
            };
            self.reset_poll_at = now.saturating_add(wait);
            self.read_resets(out);
        }
        if self.reads_deadline().is_some_and(|at| now >= at) {
            self.read_resets(out);
        }
    }

    /// When [`Self::check_resets`] has something to do.
    pub(super) fn resets_deadline(&self) -> Option<Ns> {
        let regular = (self.phase == Phase::On).then_some(self.housekeeping_at);
        let awaited = (self.own_resets != 0).then_some(self.reset_poll_at);
        super::earlier(regular, awaited)
    }

    /// Resets the holder of full access when its time is over.
    pub(super) fn check_access(&mut self, out: &mut Actions) {
        let late = self.access_deadline().is_some_and(|at| self.now >= at);
        if let Some(holder) = self.holder.filter(|_| late) {
            let stats = &mut self.vf(holder.vf).stats;
            stats.timeouts = stats.timeouts.saturating_add(1);
            self.spend(holder.vf, Limit::Timeouts, 1);
            self.reset(holder.vf, ResetReason::FullAccessTimeout, out);
        }
    }
}
