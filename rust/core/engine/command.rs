// SPDX-License-Identifier: GPL-2.0

//! The command in flight.
//!
//! It ends by the completion interrupt, by a status read, or by the watchdog; a read is always the
//! last word before the watchdog's. A failure is not blamed on the function at once: a reset by the
//! guest in the meantime would have made the command fail too, so RESET_NOTIFICATION is read
//! first, and only then the verdict is passed.

use super::super::{
    actions::Actions,
    config::{
        Completion,
        LOST_IRQS_MAX, //
    },
    event::{
        Action,
        Cmd,
        CmdKind,
        CmdStatus,
        Event,
        Note,
        StatusSource, //
    },
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        Ns,
        VfId,
        MS,
        US, //
    },
    vf::VfState, //
};
use super::Engine;

/// How often the status is read once interrupts have failed.
const FALLBACK_POLL: Ns = 10 * US;

/// The longest time of a command that counts for what a switch costs on average.
const COST_MAX: Ns = 5 * MS;

/// A command that was issued and has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) cmd: Cmd,
    pub(super) issued: Ns,
    /// When the status is to be read next.
    check: Ns,
    /// When the watchdog ends it.
    watch: Ns,
    /// The last status read has been ordered.
    last_call: bool,
    /// Its function was reset meanwhile: only its end matters, not how.
    pub(super) aborted: bool,
    verdict: Option<Verdict>,
}

/// A failure that waits for its verdict.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    status: Option<u8>,
    /// The read of RESET_NOTIFICATION that it waits for.
    read: u64,
}

/// Whether a function may have been reset before it was loaded rather than after.
///
/// A reset that shows after LOAD or INIT may have happened before it; then the function runs, else
/// the seat is empty. RESET_NOTIFICATION is read with every RUN, so doubt is short: it ends with the
/// answer to that read, which is itself still in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// RESET_NOTIFICATION was clear after the function had been loaded.
    None,
    /// The function was loaded, RESET_NOTIFICATION was not read since.
    Since(Fcn),
    /// This read of it has been ordered.
    Asked(Fcn, u64),
}

impl Doubt {
    /// Whether the doubt is about `vf`.
    pub(super) fn is_about(self, vf: VfId) -> bool {
        matches!(self, Self::Since(f) | Self::Asked(f, _) if f == Fcn::Vf(vf))
    }
}

impl Engine {
    /// The status that was ordered to be read comes before any other event, but for what was ordered
    /// to be read before it.
    pub(super) fn expect_status(&mut self, ev: &Event) {
        if !matches!(ev, Event::ResetSeen { .. } | Event::Message { .. }) {
            self.status_asked = false;
        }
    }

    /// Issues a command.
    pub(super) fn issue(&mut self, cmd: Cmd, out: &mut Actions) {
        match (cmd.kind, cmd.fcn) {
            (CmdKind::Idle, Fcn::Pf) => self.tell_pf(false, out),
            (CmdKind::Load | CmdKind::Init, fcn) => {
                // Whoever was loaded but never ran is replaced.
                self.seat = Seat::Empty;
                self.doubt = Doubt::Since(fcn);
            }
            (CmdKind::Run, Fcn::Vf(_)) => {
                self.read_resets(out);
                self.doubt = Doubt::Asked(cmd.fcn, self.reads.last());
            }
            _ => {}
        }
        self.stats.commands = self.stats.commands.saturating_add(1);
        self.flight = Some(self.flight_of(cmd));
        out.push(Action::Command(cmd));
    }

    fn flight_of(&self, cmd: Cmd) -> Flight {
        let now = self.now;
        let watch = now.saturating_add(self.cfg.watchdog());
        Flight {
            cmd,
            issued: now,
            check: self.next_check(now, now, watch),
            watch,
            last_call: false,
            aborted: false,
            verdict: None,
        }
    }

    /// Waits for the end of a command that was never seen, before anything else is commanded.
    pub(super) fn await_undone(&mut self) {
        if let Some(cmd) = self.undone.take() {
            self.flight = Some(self.flight_of(cmd));
            self.abort_flight();
        }
    }

    /// Tells the shell whether the PF runs, if that is new.
    pub(super) fn tell_pf(&mut self, runs: bool, out: &mut Actions) {
        if self.pf.told != runs {
            self.pf.told = runs;
            out.push(Action::PfRuns(runs));
        }
    }

    /// How often to poll, or `None` if interrupts are relied on.
    fn poll_interval(&self) -> Option<Ns> {
        match self.cfg.completion() {
            Completion::Poll { interval } => Some(interval),
            Completion::Irq if self.polling => Some(FALLBACK_POLL),
            Completion::Irq => None,
        }
    }

    /// When to read the status next, not later than the watchdog.
    ///
    /// Both distances grow with the age of the command: polls up to tenfold, checks without bound.
    fn next_check(&self, issued: Ns, now: Ns, watch: Ns) -> Ns {
        let age = now.saturating_sub(issued);
        let wait = match self.poll_interval() {
            Some(interval) => (age / 16).clamp(interval, interval.saturating_mul(10)),
            None => self.cfg.irq_check().max(age),
        };
        now.saturating_add(wait).min(watch)
    }

    /// The status of the command in flight was read.
    pub(super) fn status(&mut self, status: CmdStatus, source: StatusSource, out: &mut Actions) {
        if status == CmdStatus::Gone {
            self.gone(out);
            return;
        }
        if source == StatusSource::Irq {
            self.lost_irqs = 0;
        }
        let now = self.now;
        let Some(mut flight) = self.flight else {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        };
        match status {
            CmdStatus::Busy if flight.last_call && source == StatusSource::Poll => {
                if flight.aborted {
                    // Not even a reset of its function has ended the command.
                    self.dead(out);
                } else if flight.verdict.is_none() {
                    self.suspect(None, out);
                }
            }
            CmdStatus::Busy if source == StatusSource::Poll => {
                flight.check = self.next_check(flight.issued, now, flight.watch);
                self.flight = Some(flight);
            }
            CmdStatus::Busy | CmdStatus::Gone => {}
            CmdStatus::Done | CmdStatus::Failed(_) if flight.aborted => self.flight = None,
            CmdStatus::Done => {
                self.note_source(source, out);
                self.flight = None;
                self.complete(&flight, out);
            }
            CmdStatus::Failed(code) => {
                if flight.verdict.is_none() {
                    self.suspect(Some(code), out);
                }
            }
        }
    }

    /// Counts interrupts that did not come.
    fn note_source(&mut self, source: StatusSource, out: &mut Actions) {
        if source == StatusSource::Irq || self.poll_interval().is_some() {
            return;
        }
        self.stats.lost_irqs = self.stats.lost_irqs.saturating_add(1);
        self.lost_irqs = self.lost_irqs.saturating_add(1);
        out.push(Action::Note(Note::LostIrq));
        if self.lost_irqs >= LOST_IRQS_MAX {
            self.polling = true;
            out.push(Action::Note(Note::Polling));
        }
    }

    /// The command has failed; asks whether its function was reset before it is blamed.
    fn suspect(&mut self, status: Option<u8>, out: &mut Actions) {
        self.read_resets(out);
        let read = self.reads.last();
        if let Some(flight) = &mut self.flight {
            flight.verdict = Some(Verdict { status, read });
        }
    }

    /// Orders status reads and passes verdicts whose time has come.
    pub(super) fn check_command(&mut self, out: &mut Actions) {
        let now = self.now;
        let Some(mut flight) = self.flight else {
            return;
        };
        if let Some(verdict) = flight.verdict {
            if !self.reads.awaits(verdict.read) {
                self.convict(flight.cmd, verdict.status, out);
            }
            return;
        }
        // While a reset is awaited, the end of an aborted command is of no use.
        if self.blocked.is_some() && flight.aborted {
            return;
        }
        if now >= flight.check && !self.status_asked {
            self.status_asked = true;
            flight.last_call = now >= flight.watch;
            // Should the answer not come, ask again.
            flight.check = now.saturating_add(MS);
            self.flight = Some(flight);
            self.stats.polls = self.stats.polls.saturating_add(1);
            out.push(Action::ReadStatus);
        }
    }

    /// When [`Self::check_command`] has something to do.
    pub(super) fn command_deadline(&self) -> Option<Ns> {
        let flight = self.flight.as_ref()?;
        let waits = flight.verdict.is_some() || (self.blocked.is_some() && flight.aborted);
        (!waits).then_some(flight.check)
    }

    /// The function of the command in flight was reset: wait for the command's end only.
    pub(super) fn abort_flight(&mut self) {
        let (now, watchdog) = (self.now, self.cfg.watchdog());
        if let Some(flight) = &mut self.flight {
            let failed = matches!(
                flight.verdict,
                Some(Verdict {
                    status: Some(_),
                    ..
                })
            );
            flight.aborted = true;
            flight.verdict = None;
            flight.last_call = false;
            flight.issued = now;
            flight.check = now;
            flight.watch = now.saturating_add(watchdog);
            if failed {
                // The register has said that the command has ended.
                self.flight = None;
            }
        }
    }

    /// Moves the seat and the accounts on.
    fn complete(&mut self, flight: &Flight, out: &mut Actions) {
        let cmd = flight.cmd;
        let Some(seat) = self.seat.after(cmd) else {
            // Not reached: only legal commands are issued, and resets abort what is in flight.
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        };
        let fresh = self.seat == Seat::Fresh(cmd.fcn);
        self.seat = seat;
        self.charge(flight);
        match cmd.kind {
            CmdKind::Idle => self.end_run(cmd.fcn),
            CmdKind::Save => self.last = Some(cmd.fcn),
            CmdKind::Load => {
                // A restored image is on the engine from here on, unless it was dropped meanwhile.
                let vf = cmd.fcn.vf().map(|vf| self.vf(vf));
                if let Some(vf) = vf.filter(|vf| vf.context == Context::Restored) {
                    vf.context = Context::Kept;
                }
            }
            CmdKind::Init => {}
            CmdKind::Run => {
                if fresh {
                    match cmd.fcn {
                        Fcn::Pf => self.pf.context = Context::Kept,
                        Fcn::Vf(vf) => self.vf(vf).context = Context::Kept,
                    }
                }
                self.begin_run(cmd.fcn, out);
            }
        }
    }

    /// Books the time a command took, and what a switch costs on average.
    fn charge(&mut self, flight: &Flight) {
        let took = self.now.saturating_sub(flight.issued);
        let leaves = matches!(flight.cmd.kind, CmdKind::Idle | CmdKind::Save);
        if let Fcn::Vf(vf) = flight.cmd.fcn {
            let stats = &mut self.vf(vf).stats;
            let sum = if leaves {
                &mut stats.save
            } else {
                &mut stats.load
            };
            *sum = sum.saturating_add(took);
        }
        let half = match flight.cmd.kind {
            CmdKind::Idle | CmdKind::Save => &mut self.cost_out,
            CmdKind::Load | CmdKind::Run => &mut self.cost_in,
            CmdKind::Init => return,
        };
        // Each half is two commands, so the mean of one command counts twice. An outlier says
        // nothing of the next one.
        let took = took.min(COST_MAX);
        *half = half
            .saturating_mul(7)
            .saturating_add(took.saturating_mul(2))
            / 8;
    }

    /// The function has been stopped, or was reset while it ran.
    pub(super) fn end_run(&mut self, fcn: Fcn) {
        self.book_run(fcn);
        if let Fcn::Vf(vf) = fcn {
            let now = self.now;
            let each = self.vf(vf);
            if each.state == VfState::Active {
                each.waits_since = Some(now);
            }
        }
        self.charge_overrun(fcn);
    }

    /// Books what the function has run since it was booked last.
    pub(super) fn book_run(&mut self, fcn: Fcn) {
        let now = self.now;
        let ran = now.saturating_sub(self.run_since);
        self.run_since = now;
        match fcn {
            Fcn::Pf => self.stats.pf_run = self.stats.pf_run.saturating_add(ran),
            Fcn::Vf(vf) => {
                let each = self.vf(vf);
                each.stats.run = each.stats.run.saturating_add(ran);
                if each.state == VfState::FullAccess {
                    each.stats.full_access = each.stats.full_access.saturating_add(ran);
                } else {
                    self.charge_part(vf, ran);
                }
            }
        }
    }

    /// The function runs now.
    fn begin_run(&mut self, fcn: Fcn, out: &mut Actions) {
        let now = self.now;
        self.run_since = now;
        match fcn {
            Fcn::Pf => self.tell_pf(true, out),
            Fcn::Vf(vf) => self.vf(vf).end_wait(now),
        }
        if self.last != Some(fcn) {
            let took = now.saturating_sub(self.slot.decided);
            self.stats.switches = self.stats.switches.saturating_add(1);
            if let Fcn::Vf(vf) = fcn {
                self.vf(vf).stats.switch_times.add(took);
            }
            self.stats.switch_time = self.stats.switch_time.saturating_add(took);
            let from = self.last;
            let to = fcn;
            out.push(Action::Note(Note::Switch { from, to, took }));
        }
        self.last = Some(fcn);
    }
}
