// SPDX-License-Identifier: GPL-2.0

//! Turns by share: the VF that is furthest behind has the next one, unless another cannot wait.
//!
//! Each VF has a virtual time: what it ran, divided by its part of the GPU. Whoever is alone is not
//! charged, and whoever becomes active starts level with the one furthest behind, so nobody hoards
//! credit. Time that nobody may have (caps, strictness) belongs to an idler of its own, which has a
//! part, a virtual time and turns like a VF.

use super::super::{
    config::{
        Mode,
        Policy, //
    },
    policy::{
        distribute,
        Table,
        ONE, //
    },
    record::{
        Reader,
        Unfit, //
    },
    types::{
        Fcn,
        Ns,
        VfId,
        MAX_VFS,
        MS,
        US, //
    },
};
use super::{
    schedule::{
        Turn,
        PF_BIT, //
    },
    Engine,
};

/// The PF's part while it has work.
const PF_PART: u32 = ONE / 16;

/// Parts below this are rounding.
const IDLE_PART_MIN: u32 = ONE / 1024;

/// Who has waited longer has a turn before full access is granted to another.
const WAIT_BEFORE_ACCESS: Ns = 50 * MS;

/// The shortest slice there is.
const SLICE_MIN: Ns = 100 * US;

/// Who has which part of the GPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// For which VFs this was computed; `None` if it has to be computed anew.
    mask: Option<u32>,
    /// Which of them were active.
    active: u32,
    vfs: Table<u32>,
    /// What of it is nobody's.
    idle: u32,
    /// The virtual times of the idler and of the PF.
    idle_vtime: u64,
    pf_vtime: u64,
}

impl Parts {
    pub(super) const NEW: Self = Self {
        mask: None,
        active: 0,
        vfs: [0; MAX_VFS],
        idle: 0,
        idle_vtime: 0,
        pf_vtime: 0,
    };

    /// The virtual times of who is no VF.
    pub(super) const fn vtimes(&self) -> [u64; 2] {
        [self.idle_vtime, self.pf_vtime]
    }

    /// Reads them; the rest follows from the settings.
    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        (self.idle_vtime, self.pf_vtime) = (from.take()?, from.take()?);
        Ok(())
    }

    /// The settings have changed.
    pub(super) fn forget(&mut self) {
        self.mask = None;
    }

    pub(super) const fn of(&self, vf: VfId) -> u32 {
        self.vfs[vf.index()]
    }
}

/// Virtual time: longer for smaller parts.
fn virtual_time(ran: Ns, part: u32) -> u64 {
    ran.saturating_mul(u64::from(ONE)) / u64::from(part.max(1))
}

impl Engine {
    /// Whether VFs take turns one after the other.
    pub(super) fn rotates(&self) -> bool {
        self.cfg.policy() == Policy::RoundRobin
    }

    /// Nobody is ahead or behind.
    pub(super) fn level(&mut self) {
        self.parts = Parts::NEW;
        for each in &mut self.vfs {
            each.vtime = 0;
            each.debt = 0;
        }
    }

    /// Computes the parts anew if somebody came or left.
    fn refresh_parts(&mut self) {
        let mask = match self.cfg.mode() {
            Mode::WorkConserving => self.runnable(),
            Mode::Strict => u32::MAX >> (32 - u32::from(self.count.clamp(1, 16))),
        };
        if self.parts.mask == Some(mask) && self.parts.active == self.active {
            return;
        }
        self.parts.mask = Some(mask);
        self.parts.active = self.active;
        self.parts.vfs = distribute(self.cfg.shares(), self.cfg.slices(), mask);
        let used: u32 = VfId::in_mask(self.active).map(|vf| self.parts.of(vf)).sum();
        self.parts.idle = Some(ONE.saturating_sub(used))
            .filter(|&idle| idle >= IDLE_PART_MIN)
            .unwrap_or(0);
    }

    /// The part that nobody may have.
    pub(super) fn idle_part(&mut self) -> u32 {
        self.refresh_parts();
        self.parts.idle
    }

    /// How long a turn of the idler lasts: not longer than anybody's slice.
    pub(super) fn idle_slice(&self) -> Ns {
        VfId::in_mask(self.active)
            .map(|vf| self.cfg.slice(vf))
            .min()
            .unwrap_or(SLICE_MIN)
    }

    /// Books what the VF ran while others wanted the engine.
    pub(super) fn charge_part(&mut self, vf: VfId, ran: Ns) {
        if self.rotates() || !self.slot.contended {
            return;
        }
        // Who has a turn without work has no part in the contest.
        let part = match self.parts.of(vf) {
            0 => PF_PART,
            part => part,
        };
        let each = self.vf(vf);
        each.vtime = each.vtime.saturating_add(virtual_time(ran, part));
    }

    /// Books the slot that ends.
    pub(super) fn charge_slot(&mut self) {
        if self.rotates() || !self.slot.started {
            return;
        }
        let took = self.now.saturating_sub(self.slot.since);
        match self.slot.turn {
            Turn::Vf(vf) if self.running() == Some(Fcn::Vf(vf)) => self.book_run(Fcn::Vf(vf)),
            Turn::Pf => {
                let vtime = &mut self.parts.pf_vtime;
                *vtime = vtime.saturating_add(virtual_time(took, PF_PART));
            }
            Turn::Idle => {
                let vtime = &mut self.parts.idle_vtime;
                *vtime = vtime.saturating_add(virtual_time(took, self.parts.idle));
            }
            _ => {}
        }
    }

    /// The turn of whoever is furthest behind, or cannot wait. Somebody is active.
    pub(super) fn pick_by_share(&mut self) -> Turn {
        self.refresh_parts();
        self.relate_vtimes();
        // Full access waits only for those who have not had their turn since the last one.
        let owed = match self.queue.is_empty() {
            true => 0,
            false => self.owed & self.active,
        };
        let among = if owed != 0 { owed } else { self.runnable() };
        let behind = VfId::in_mask(among).min_by_key(|vf| self.vfs[vf.index()].vtime);
        let Some(vf) = behind else {
            return Turn::Nobody;
        };
        let vtime = self.vfs[vf.index()].vtime;
        let mut turn = Turn::Vf(vf);
        if owed == 0 && self.parts.idle != 0 && self.parts.idle_vtime < vtime {
            turn = Turn::Idle;
        }
        let pf_owed = !self.queue.is_empty() && self.owed & PF_BIT != 0;
        // Level with the one furthest behind is enough: nobody is further behind than that.
        if self.pf.work && (pf_owed || self.parts.pf_vtime <= vtime) {
            turn = Turn::Pf;
        }
        self.impatient(turn).map_or(turn, Turn::Vf)
    }

    /// Makes virtual times relative to the least of them, so that they stay small. Who has no part
    /// in the contest is level with it.
    fn relate_vtimes(&mut self) {
        let least = VfId::in_mask(self.runnable()).map(|vf| self.vfs[vf.index()].vtime);
        let mut base = least.min().unwrap_or(0);
        if self.parts.idle != 0 {
            base = base.min(self.parts.idle_vtime);
        }
        for each in &mut self.vfs {
            each.vtime = each.vtime.saturating_sub(base);
        }
        let parts = &mut self.parts;
        parts.idle_vtime = match parts.idle {
            0 => 0,
            _ => parts.idle_vtime.saturating_sub(base),
        };
        // What the PF ran while nobody else wanted the engine is nobody's loss: it is never
        // further ahead than by one of its slices.
        parts.pf_vtime = match self.pf.work {
            false => 0,
            true => parts
                .pf_vtime
                .saturating_sub(base)
                .min(virtual_time(self.cfg.pf_slice(), PF_PART)),
        };
    }

    /// By shares, some wait longer than a round: they have a turn, once, before full access.
    pub(super) fn owe_patient(&mut self) {
        if self.queue.is_empty() {
            self.owed_patient = false;
        }
        if self.rotates() || self.owed_patient || self.grantable().is_none() {
            return;
        }
        self.owed_patient = true;
        let now = self.now;
        for vf in VfId::in_mask(self.active) {
            let since = self.vfs[vf.index()].waits_since.unwrap_or(now);
            if now.saturating_sub(since) > WAIT_BEFORE_ACCESS {
                self.owed |= vf.bit();
            }
        }
    }

    /// How long anybody that can run has waited; in a rotation that is made up for by itself.
    pub(super) fn longest_wait(&self) -> Ns {
        if self.rotates() {
            return 0;
        }
        let since = VfId::in_mask(self.active).filter_map(|vf| self.vfs[vf.index()].waits_since);
        since.min().map_or(0, |at| self.now.saturating_sub(at))
    }

    /// When the VF has waited as long as it may: its bound, or what any guest can stand. A bound
    /// that a single turn of `least` ns breaks cannot be kept (switches cost more than was thought
    /// when it was admitted), and does not count.
    fn runs_by(&self, vf: VfId, least: Ns) -> Ns {
        let stands = self.cfg.gap_target() / 5 * 4;
        let bound = self.cfg.share(vf).latency.filter(|&bound| bound > least);
        let since = self.vfs[vf.index()].waits_since.unwrap_or(self.now);
        since.saturating_add(bound.unwrap_or(stands))
    }

    /// The VF that must have the next turn, if `turn` would make anybody wait too long.
    ///
    /// Those that wait are served in the order of their deadlines after `turn`; whoever would be
    /// late makes the first of them go before.
    fn impatient(&self, turn: Turn) -> Option<VfId> {
        let cost = self.cost_in.saturating_add(self.cost_out);
        let slice = |vf: VfId| self.cfg.slice(vf).saturating_add(cost);
        let (first, lasts) = match turn {
            Turn::Vf(vf) => (Some(vf), slice(vf)),
            Turn::Pf => (None, self.cfg.pf_slice().saturating_add(cost)),
            _ => (None, self.idle_slice().saturating_add(cost)),
        };
        let mut waiting = [(Ns::MAX, VfId::FIRST); MAX_VFS];
        let mut count = 0;
        let others = VfId::in_mask(self.runnable()).filter(|&vf| Some(vf) != first);
        for vf in others {
            let by = self.runs_by(vf, lasts.saturating_add(cost));
            // Sorted by insertion: there are few.
            let mut at = count;
            while at > 0 && waiting[at - 1].0 > by {
                waiting[at] = waiting[at - 1];
                at -= 1;
            }
            waiting[at] = (by, vf);
            count += 1;
        }
        // Who has the earliest deadline does not make room for others.
        if first.is_some_and(|vf| self.runs_by(vf, 0) <= waiting[0].0) {
            return None;
        }
        let mut at = self.now.saturating_add(lasts);
        for &(by, vf) in waiting.iter().take(count) {
            if at.saturating_add(cost) > by {
                return Some(waiting[0].1);
            }
            at = at.saturating_add(slice(vf));
        }
        None
    }

    /// The length of the VF's turn: its slice, or a quarter of it if its turn came by impatience
    /// and not by its share.
    pub(super) fn share_budget(&self, vf: VfId) -> Ns {
        let slice = self.cfg.slice(vf);
        let vtime = self.vfs[vf.index()].vtime;
        let ahead = vtime > virtual_time(slice, self.parts.of(vf));
        match ahead && self.cfg.share(vf).latency.is_none() {
            true => (slice / 4).max(SLICE_MIN),
            false => slice,
        }
    }
}
