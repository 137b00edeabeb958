// SPDX-License-Identifier: GPL-2.0

//! What the host orders: enable, disable, pause, resume, reset.

use super::super::{
    actions::Actions,
    config::Preset,
    event::{
        Action,
        Note,
        ResetReason, //
    },
    mailbox::HostMessage,
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        VfId,
        MAX_VFS, //
    },
    vf::{
        VfEvent,
        VfState, //
    },
};
use super::{
    adopt::Adoptions,
    command::Doubt,
    guard,
    Adoption,
    Engine,
    Phase,
    Slot,
    Vf, //
};

impl Engine {
    /// VFs `0..count` begin to exist; each is available once it has been scrubbed.
    pub(super) fn enable(&mut self, count: u8) {
        if !self.may_enable() || !matches!(count, 1 | 2 | 4 | 8 | 16) {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        }
        for vf in VfId::all() {
            let each = self.vf(vf);
            // Work that was given up on when VFs were disabled may still be going on.
            let (reset_since, scrub_since) = (each.reset_since, each.scrub_since);
            let prepare_since = each.prepare_since;
            *each = Vf {
                reset_since,
                scrub_since,
                prepare_since,
                ..Vf::NEW
            };
        }
        self.phase = Phase::On;
        self.count = count;
        self.cfg.forget_beyond(count);
        if self.cfg.preset() == Preset::Short {
            // Where promises leave no room for it, the slices stay.
            let _ = self.cfg.set_preset(Preset::Short, count);
        }
        self.parts.forget();
        self.dirty = u32::MAX >> (32 - u32::from(count));
        VfId::all().for_each(|vf| self.users.forget(vf));
        (self.active, self.paused, self.pausing) = (0, 0, 0);
        VfId::all().for_each(|vf| self.holds.let_go(vf));
        self.adoptions = Adoptions::NONE;
        self.unprepare_all();
        self.own_resets = 0;
        (self.muted, self.delayed, self.condemned) = (0, 0, 0);
        self.busy = u32::MAX;
        self.polling = false;
        self.lost_irqs = 0;
        self.cursor = 0;
        self.housekeeping_at = self.now.saturating_add(self.cfg.housekeeping());
        match self.seat {
            // Whoever was on it does not exist any more; the PF's image may have suffered.
            Seat::Unknown => {
                self.seat = Seat::Empty;
                self.pf.context = Context::Clear;
                self.await_undone();
            }
            // Loaded when it was disabled, or not even that: the new VF of that number starts anew.
            seat if matches!(seat.fcn(), Some(Fcn::Vf(_))) => {
                self.seat = Seat::Empty;
                self.doubt = Doubt::None;
            }
            _ => {}
        }
    }

    /// VFs cease to exist: whoever runs is parked, then the shell is told.
    pub(super) fn disable(&mut self, out: &mut Actions) {
        self.stopping = true;
        if self.phase != Phase::Gone {
            self.phase = Phase::Stopping;
        }
        self.drop_vfs(out);
    }

    /// No VF takes part in anything any more.
    pub(super) fn drop_vfs(&mut self, out: &mut Actions) {
        self.holder = None;
        self.owed = 0;
        self.queue.clear();
        self.dirty = 0;
        self.delayed = 0;
        self.slot = Slot::NONE;
        self.overrun_from = None;
        for vf in VfId::all().take(usize::from(self.count).min(MAX_VFS)) {
            let each = self.vf(vf);
            each.want = None;
            each.notified = false;
            each.loaded = false;
            self.shift(vf, VfEvent::Disable, out);
        }
        self.muted = 0;
    }

    /// Says [`Action::Stopped`] once nothing runs and nothing is queued.
    pub(super) fn tell_stopped(&mut self, out: &mut Actions) {
        let off = !matches!(self.seat, Seat::Running(_) | Seat::Idled(_));
        if !self.stopping
            || !off
            || self.flight.is_some()
            || self.blocked.is_some()
            || self.awaits_work()
        {
            return;
        }
        self.stopping = false;
        self.count = 0;
        self.own_resets = 0;
        if self.phase == Phase::Stopping {
            self.phase = Phase::Off;
        }
        out.push(Action::Stopped);
    }

    /// The host takes a VF off the engine; full access and resets are finished first.
    pub(super) fn pause(&mut self, vf: VfId) {
        self.paused |= vf.bit();
        self.pausing |= vf.bit();
    }

    /// The host gives a VF back, unless that is adopted and not filled.
    pub(super) fn resume(&mut self, vf: VfId, out: &mut Actions) {
        self.paused &= !vf.bit();
        self.pausing &= !vf.bit();
        self.holds.let_go(vf);
        let resumes = self.may_resume(vf);
        let each = self.vf(vf);
        if each.state == VfState::Suspended && resumes {
            let event = match each.loaded {
                true => VfEvent::ResumeActive,
                false => VfEvent::ResumeAvailable,
            };
            self.shift(vf, event, out);
        }
    }

    /// Suspends VFs that are to be paused, as soon as they can be.
    pub(super) fn suspend_paused(&mut self, out: &mut Actions) {
        if self.paused == 0 {
            return;
        }
        for vf in VfId::in_mask(self.paused) {
            let may = match self.vf(vf).state {
                // One that is to be adopted is suspended when it is taken, and not before.
                VfState::Available => self.adoption(vf) != Adoption::Waiting,
                state => state == VfState::Active,
            };
            if may {
                self.shift(vf, VfEvent::Suspend, out);
            }
        }
    }

    /// Says [`Action::Paused`] for VFs that are off the engine, or will never be on it.
    pub(super) fn tell_paused(&mut self, out: &mut Actions) {
        if self.pausing == 0 {
            return;
        }
        for vf in VfId::in_mask(self.pausing) {
            let over = match self.vf(vf).state {
                VfState::Suspended => !self.occupies(vf),
                VfState::Unavailable => vf.raw() >= self.count || self.phase != Phase::On,
                VfState::Quarantined => true,
                _ => false,
            };
            if over {
                self.pausing &= !vf.bit();
                out.push(Action::Paused(vf));
            }
        }
    }

    /// The guest is interrupted by a message that asks nothing of it.
    pub(super) fn alert(&mut self, vf: VfId, out: &mut Actions) {
        let each = &self.vfs[vf.index()];
        if each.loaded && matches!(each.state, VfState::Active | VfState::Suspended) {
            self.send(vf, HostMessage::QueryAlive, out);
        }
    }

    /// The host orders a reset; one that is going on, or a VF that nobody has used, is enough. It
    /// gives a quarantined VF another chance.
    pub(super) fn host_reset(&mut self, vf: VfId, out: &mut Actions) {
        self.drop_adoption(vf, out);
        let each = &self.vfs[vf.index()];
        match each.state {
            VfState::Unavailable | VfState::Resetting => {}
            VfState::Quarantined if each.recovering() || self.phase != Phase::On => {}
            VfState::Quarantined => self.release_vf(vf, out),
            _ => self.reset(vf, ResetReason::HostRequest, out),
        }
    }

    fn release_vf(&mut self, vf: VfId, out: &mut Actions) {
        let reason = ResetReason::HostRequest;
        out.push(Action::Note(Note::Reset { vf, reason }));
        self.condemned &= !vf.bit();
        let each = self.vf(vf);
        each.buckets = guard::FULL;
        each.stats.resets = each.stats.resets.saturating_add(1);
        each.notified = true;
        self.shift(vf, VfEvent::Release, out);
        self.send(vf, HostMessage::FlrNotification, out);
        self.queue_reset(vf, out);
    }
}
