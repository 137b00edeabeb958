// SPDX-License-Identifier: GPL-2.0

//! Whose turn it is, for how long, and who gets the GPU alone.
//!
//! A slot begins with the decision, starts to count when its function runs (or, for an absent VF,
//! when the engine is parked) and ends when its time is due. What a VF runs beyond that is its
//! debt: its next slices are shortened, to not less than half, and turns are skipped for debts
//! above a slice. A VF that is alone is not switched, and what it then runs is nobody's loss.

use super::super::{
    access::{
        Access,
        Holder, //
    },
    actions::Actions,
    config::{
        Mode,
        Policy, //
    },
    event::Action,
    guard::Limit,
    mailbox::HostMessage,
    switch::{
        next,
        Context,
        Goal,
        Next, //
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
    Engine,
    Phase, //
};

/// Most time that a VF can owe.
const DEBT_MAX: Ns = 200 * MS;

/// A VF that waited this long has its turn, whatever it owes.
pub(super) const SKIP_WAIT_MAX: Ns = 200 * MS;

/// What a full access leaves for the switches and the reset that may follow it.
const FULL_ACCESS_MARGIN: Ns = 30 * MS;

/// The bound of a full access while others wait for one: 16 of them within 11 s, because a guest
/// waits 12 s for its answer (gpu-iov-hardware.md, 4.3).
const FULL_ACCESS_QUEUED: Ns = 11_000 * MS / 16;

/// The PF's bit in masks of functions.
pub(super) const PF_BIT: u32 = 1 << 31;

/// Who has the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody: the engine is parked.
    Nobody,
    /// The PF, to make its clean image.
    Boot,
    /// The PF, for its copy engine.
    Pf,
    /// A VF.
    Vf(VfId),
    /// A VF that does not use its slot; nobody else does either.
    Absent(VfId),
    /// The PF, in the slot of a VF that does not use it: its work costs nobody anything then.
    Lent(VfId),
    /// Nobody, for a slice: caps and strictness leave time that nobody may have.
    Idle,
    /// A VF with full access.
    Full(VfId),
}

/// The slot that is being served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) turn: Turn,
    /// When it was decided.
    pub(super) decided: Ns,
    /// Its time runs.
    pub(super) started: bool,
    /// Somebody else wants the engine.
    pub(super) contended: bool,
    /// Its VF had no work when it was decided.
    idle: bool,
    /// How long it lasts.
    budget: Ns,
    /// When its time began.
    pub(super) since: Ns,
    /// Once it has started: when it ends, or when it was first wanted by others after that.
    due: Ns,
}

impl Slot {
    pub(super) const NONE: Self = Self::new(Turn::Nobody, 0, 0);

    /// That of a VF that runs when the driver comes: it is over as soon as somebody else waits.
    pub(super) const fn running(vf: VfId, now: Ns) -> Self {
        let mut slot = Self::new(Turn::Vf(vf), now, 0);
        slot.started = true;
        slot.due = now;
        slot
    }

    const fn new(turn: Turn, decided: Ns, budget: Ns) -> Self {
        Self {
            turn,
            decided,
            started: false,
            contended: false,
            idle: false,
            budget,
            since: decided,
            due: Ns::MAX,
        }
    }
}

impl Engine {
    /// Decides whose turn it is and takes the next step on the way there.
    pub(super) fn drive(&mut self, out: &mut Actions) {
        let lost = matches!(self.phase, Phase::Recovering | Phase::Dead | Phase::Gone);
        if lost || self.detached() {
            return;
        }
        self.decide(out);
        let waits = self.flight.is_some() || self.blocked.is_some();
        if waits || self.reads.awaits(self.hold) || self.status_asked {
            return;
        }
        let (goal, context) = match self.slot.turn {
            Turn::Lent(_) if self.pf.work => (Goal::Run(Fcn::Pf), self.pf.context),
            Turn::Nobody | Turn::Absent(_) | Turn::Lent(_) | Turn::Idle => {
                (Goal::Park, Context::Kept)
            }
            Turn::Boot | Turn::Pf => (Goal::Run(Fcn::Pf), self.pf.context),
            Turn::Vf(vf) | Turn::Full(vf) => (Goal::Run(Fcn::Vf(vf)), self.vf(vf).context),
        };
        match next(self.seat, goal, context) {
            Next::Issue(cmd) => self.issue(cmd, out),
            Next::Reached => match goal {
                Goal::Run(fcn) => self.slot_runs(fcn, out),
                Goal::Park => self.parked(),
            },
            // Only while VFs are being disabled: otherwise an unknown seat is a blocked or a dead
            // one.
            Next::Stuck => {}
        }
    }

    /// Ends the slot if its time has come, and gives the engine to whoever is next.
    fn decide(&mut self, out: &mut Actions) {
        let runnable = self.runnable();
        self.owed &= runnable | if self.pf.work { PF_BIT } else { 0 };
        self.owe_patient();
        self.see_contention();
        if !self.slot_over() {
            return;
        }
        self.charge_slot();
        let turn = self.pick();
        if turn == Turn::Nobody && self.slot.turn == Turn::Nobody {
            return;
        }
        self.slot_ends();
        let budget = match turn {
            Turn::Vf(vf) => self.budget(vf),
            Turn::Absent(vf) | Turn::Lent(vf) => self.cfg.slice(vf),
            Turn::Idle => self.idle_slice(),
            _ => self.cfg.pf_slice(),
        };
        self.slot = Slot::new(turn, self.now, budget);
        self.slot.idle = matches!(turn, Turn::Vf(vf) if self.busy & vf.bit() == 0);
        self.see_contention();
        if let Turn::Full(vf) = turn {
            self.grant(vf, out);
        }
    }

    /// Others want the engine from now on, or no longer.
    fn see_contention(&mut self) {
        let waiting = self.grantable().is_some();
        let runnable = self.runnable();
        let contended = match self.slot.turn {
            Turn::Vf(vf) => {
                let others = runnable & !vf.bit() != 0;
                let slots = match self.cfg.policy() {
                    Policy::RoundRobin => self.cfg.mode() == Mode::Strict && self.count > 1,
                    Policy::Qos => self.idle_part() != 0,
                };
                if !others && !slots {
                    self.vf(vf).debt = 0;
                }
                others || slots || self.pf.work || waiting
            }
            Turn::Pf => runnable != 0 || waiting,
            _ => true,
        };
        if contended && !self.slot.contended && self.slot.started {
            // What it ran while it was alone is nobody's loss.
            if let Some(fcn) = self.seat.running() {
                self.book_run(fcn);
            }
            self.slot.due = self.slot.due.max(self.now);
        }
        self.slot.contended = contended;
    }

    fn slot_over(&self) -> bool {
        let slot = &self.slot;
        let late = slot.started && slot.contended && self.now >= slot.due && !self.keeps_engine();
        let late =
            late || (self.frozen && !matches!(slot.turn, Turn::Boot | Turn::Pf | Turn::Full(_)));
        match (self.phase, slot.turn) {
            (Phase::Stopping, _) | (_, Turn::Nobody) => true,
            (_, Turn::Boot) => self.pf.context == Context::Kept,
            (_, Turn::Pf) => late || !self.pf.work,
            (_, Turn::Vf(vf)) => {
                // Whoever runs out of work makes room, unless it had none when its turn came.
                let among = if slot.idle {
                    self.active
                } else {
                    self.runnable()
                };
                late || among & vf.bit() == 0
            }
            // The slot is not shorter if the PF's work ends.
            (_, Turn::Absent(_) | Turn::Lent(_)) => {
                late || self.active == 0 || self.cfg.mode() != Mode::Strict || !self.rotates()
            }
            (_, Turn::Idle) => late || self.active == 0 || self.rotates(),
            (_, Turn::Full(vf)) => self.holder.map(|holder| holder.vf) != Some(vf),
        }
    }

    /// Who is next. Moves the rotation on.
    fn pick(&mut self) -> Turn {
        let pf = if self.pf.work { Turn::Pf } else { Turn::Nobody };
        match self.phase {
            Phase::On => {}
            Phase::Off => return pf,
            Phase::Stopping | Phase::Recovering | Phase::Dead | Phase::Gone => return Turn::Nobody,
        }
        if self.pf.context == Context::Clear {
            return Turn::Boot;
        }
        if self.frozen {
            // What the PF has begun is finished, and nothing new begins.
            return pf;
        }
        if let Some(vf) = self.grantable() {
            return Turn::Full(vf);
        }
        if self.active == 0 {
            return pf;
        }
        if !self.rotates() {
            return self.pick_by_share();
        }
        // In the first round those with much debt are skipped, in the second nobody is.
        self.rotate(true)
            .or_else(|| self.rotate(false))
            .unwrap_or(pf)
    }

    /// The next position that is somebody's turn: VFs in order, then the PF.
    fn rotate(&mut self, skipping: bool) -> Option<Turn> {
        let positions = self.count.saturating_add(1);
        let runnable = self.runnable();
        for _ in 0..positions {
            let at = if self.cursor < positions {
                self.cursor
            } else {
                0
            };
            self.cursor = at.saturating_add(1);
            let Some(vf) = VfId::new(u32::from(at)).filter(|_| at < self.count) else {
                if self.pf.work && !self.lends() {
                    return Some(Turn::Pf);
                }
                continue;
            };
            if runnable & vf.bit() != 0 {
                if !(skipping && self.skip(vf)) {
                    return Some(Turn::Vf(vf));
                }
            } else if self.cfg.mode() == Mode::Strict {
                return Some(match self.pf.work {
                    true => Turn::Lent(vf),
                    false => Turn::Absent(vf),
                });
            }
        }
        None
    }

    /// Whether the PF has the slots of absent VFs, and so needs none of its own.
    fn lends(&self) -> bool {
        let runnable = self.runnable();
        self.cfg.mode() == Mode::Strict && self.enabled().any(|vf| runnable & vf.bit() == 0)
    }

    /// Whether the VF's turn passes to repay a debt of more than a slice. Not if it has waited long,
    /// and not if full access waits for it.
    fn skip(&mut self, vf: VfId) -> bool {
        let (now, slice) = (self.now, self.cfg.slice(vf));
        let others = self.active & !vf.bit() != 0;
        let owed = self.owed & vf.bit() != 0;
        let each = self.vf(vf);
        let since = each.waits_since.unwrap_or(now);
        let waited = now.saturating_sub(since);
        if !others || owed || each.debt < slice || waited >= SKIP_WAIT_MAX {
            return false;
        }
        each.debt -= slice;
        each.stats.skips = each.stats.skips.saturating_add(1);
        true
    }

    /// The length of the VF's next slice; part of its debt is repaid by it.
    fn budget(&mut self, vf: VfId) -> Ns {
        if !self.rotates() {
            return self.share_budget(vf);
        }
        let slice = self.cfg.slice(vf);
        let each = self.vf(vf);
        let pay = each.debt.min(slice / 2);
        each.debt -= pay;
        slice - pay
    }

    /// The function runs and its time counts, if it is its turn and not counting yet.
    pub(super) fn slot_runs(&mut self, fcn: Fcn, out: &mut Actions) {
        match (self.slot.turn, fcn) {
            (Turn::Vf(vf), Fcn::Vf(f)) if vf == f && !self.slot.started => {
                self.owed &= !vf.bit();
                self.start_slot(self.slot.budget);
                let stats = &mut self.vf(vf).stats;
                stats.slices = stats.slices.saturating_add(1);
            }
            (Turn::Pf | Turn::Lent(_), Fcn::Pf) if !self.slot.started => {
                self.owed &= !PF_BIT;
                self.start_slot(self.slot.budget);
            }
            (Turn::Full(vf), Fcn::Vf(f)) if vf == f => self.ready(vf, out),
            _ => {}
        }
    }

    /// Nobody runs; the slot of an absent VF lasts as long as if it had been switched to.
    fn parked(&mut self) {
        self.last = None;
        if self.slot.started {
            return;
        }
        let cost = self.cost_in.saturating_add(self.cost_out);
        match self.slot.turn {
            Turn::Absent(_) | Turn::Lent(_) => {
                self.start_slot(self.slot.budget.saturating_add(cost));
            }
            Turn::Idle => self.start_slot(self.slot.budget),
            _ => {}
        }
    }

    fn start_slot(&mut self, lasts: Ns) {
        self.slot.started = true;
        self.slot.since = self.now;
        self.slot.due = self.now.saturating_add(lasts);
    }

    /// Remembers until when the VF whose slot ends should have run.
    fn slot_ends(&mut self) {
        self.overrun_from = match self.slot.turn {
            Turn::Vf(vf) if self.slot.started && self.slot.contended => Some((vf, self.slot.due)),
            _ => None,
        };
    }

    /// The function has stopped: what it ran beyond its slot is its debt.
    pub(super) fn charge_overrun(&mut self, fcn: Fcn) {
        let now = self.now;
        let Some((vf, due)) = self.overrun_from.take() else {
            return;
        };
        if fcn == Fcn::Vf(vf) && self.active & vf.bit() != 0 {
            let over = now.saturating_sub(due);
            let rotates = self.rotates();
            let each = self.vf(vf);
            each.stats.overrun = each.stats.overrun.saturating_add(over);
            // By shares, it is charged like all that it ran.
            if rotates {
                each.debt = each.debt.saturating_add(over).min(DEBT_MAX);
            }
        }
    }

    /// When the slot is due.
    pub(super) fn slot_deadline(&self) -> Option<Ns> {
        let counts = self.slot.started && self.slot.contended;
        let free = self.flight.is_none() && self.blocked.is_none() && !self.keeps_engine();
        (counts && free).then_some(self.slot.due)
    }

    /// The VF that full access can be granted to now.
    pub(super) fn grantable(&self) -> Option<VfId> {
        if self.queue.is_empty()
            || self.frozen
            || self.leaves()
            || self.holder.is_some()
            || self.owed != 0
            || self.phase != Phase::On
        {
            return None;
        }
        let ready = |vf: &&VfId| {
            let each = &self.vfs[vf.index()];
            match each.state {
                VfState::Available => {
                    let held = self.held_until(**vf) > self.now;
                    each.want.is_some() && !held && self.is_prepared(**vf)
                }
                VfState::Active => each.want == Some(Access::Fini),
                _ => false,
            }
        };
        self.queue.as_slice().iter().find(ready).copied()
    }

    fn grant(&mut self, vf: VfId, out: &mut Actions) {
        self.queue.remove(vf);
        self.owed_patient = false;
        let Some(kind) = self.vf(vf).want.take() else {
            return;
        };
        self.holder = Some(Holder {
            vf,
            kind,
            ready: None,
            read: false,
            waited: self.longest_wait(),
        });
        self.delayed &= !vf.bit();
        if kind != Access::Fini {
            self.spend(vf, Limit::Requests, 1);
            self.unprepare(vf);
        }
        self.shift(vf, VfEvent::Grant, out);
        // A guest that was reset meanwhile has to be scrubbed first.
        self.read_resets(out);
        self.hold = self.reads.last();
    }

    /// The VF has the GPU alone and is told so, once.
    fn ready(&mut self, vf: VfId, out: &mut Actions) {
        let now = self.now;
        let Some(holder) = self.holder.as_mut().filter(|h| h.ready.is_none()) else {
            return;
        };
        holder.ready = Some(now);
        let each = self.vf(vf);
        each.retried = false;
        each.stats.grants = each.stats.grants.saturating_add(1);
        self.send_ready(vf, out);
    }

    /// Sends READY_TO_ACCESS_GPU.
    pub(super) fn send_ready(&mut self, vf: VfId, out: &mut Actions) {
        out.push(Action::Send {
            vf,
            words: HostMessage::Ready.words(),
            valid: true,
        });
    }

    /// Ends full access; every other function that runs has a turn before the next one.
    pub(super) fn end_access(&mut self) {
        if let Some(holder) = self.holder.take() {
            let others = self.active & !holder.vf.bit() != 0;
            if let Some(ready) = holder.ready.filter(|_| others) {
                let took = self.now.saturating_sub(ready);
                self.spend(holder.vf, Limit::AccessTime, took / MS);
            }
            let pf = if self.pf.work { PF_BIT } else { 0 };
            self.owed = self.active | pf;
        }
    }

    /// How long the holder may have the GPU alone.
    fn access_bound(&self, vf: VfId) -> Ns {
        let others = self.active & !vf.bit();
        if others == 0 {
            return match self.queue.is_empty() {
                true => self.cfg.full_access_alone(),
                false => self.cfg.full_access_alone().min(FULL_ACCESS_QUEUED),
            };
        }
        let cost = self.cost_in.saturating_add(self.cost_out);
        let slots = match self.cfg.mode() {
            Mode::WorkConserving => others,
            Mode::Strict => u32::MAX,
        };
        let waited = self.holder.as_ref().map_or(0, |holder| holder.waited);
        let mut round = FULL_ACCESS_MARGIN.saturating_add(waited);
        for each in self.enabled().filter(|each| slots & each.bit() != 0) {
            round = round.saturating_add(self.cfg.slice(each).saturating_add(cost));
        }
        let shared = self.cfg.full_access_shared();
        let left = self.cfg.gap_target().saturating_sub(round);
        left.max(shared / 4).min(shared)
    }

    /// When the holder's time is over.
    pub(super) fn access_deadline(&self) -> Option<Ns> {
        let holder = self.holder.as_ref()?;
        let ready = holder.ready?;
        Some(ready.saturating_add(self.access_bound(holder.vf)))
    }
}
