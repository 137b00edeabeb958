// SPDX-License-Identifier: GPL-2.0

//! The judge: what must hold after every step, whoever the guests are.

use gim_core::{
    access::Access,
    engine::{Engine, Held, Phase, READY_WAIT, READY_WAIT_GPU},
    event::{Action, Cmd, CmdKind, Event, Note, Work},
    guard::Limit,
    mailbox::{GuestMessage, HostMessage},
    switch::Seat,
    types::{Fcn, Ns, VfId, MAX_VFS, MS},
    vf::VfState,
};

use crate::{gpu::Gpu, world::Verdict};

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

/// How late a reset may begin, by a late timer.
const RESET_LATE: Ns = 5 * MS;

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

/// Whether the action needs the GPU.
fn touches(action: &Action) -> bool {
    matches!(
        action,
        Action::Command(_)
            | Action::ReadStatus
            | Action::ReadResets(_)
            | Action::Send { .. }
            | Action::ClearValid(_)
            | Action::Listen(_)
    )
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

    /// An event is about to be fed.
    pub fn before(&mut self, now: Ns, event: &Event, engine: &Engine) {
        for (n, each) in self.vfs.iter_mut().enumerate().take(self.count) {
            let vf = crate::world::vf(n);
            each.has_guest = engine.has_guest(vf) && engine.takes_messages(vf);
        }
        match *event {
            Event::Message { vf, words } => {
                let message = GuestMessage::parse(&words);
                if message == Some(GuestMessage::ReadyToReset) {
                    self.hurry(vf);
                }
                self.vfs[vf.index()].curious |= message == Some(GuestMessage::ReqInitData);
                let each = &mut self.vfs[vf.index()];
                let asks = matches!(
                    message,
                    Some(GuestMessage::ReqInit | GuestMessage::ReqFini | GuestMessage::ReqReset)
                );
                each.before = (each.asked, each.message);
                if asks {
                    each.message = message;
                    each.asked = each.asked.or(Some(now));
                    self.asked += 1;
                }
            }
            Event::WorkDone { work, ok } => match work {
                Work::Reset(vf) => self.vfs[vf.index()].reset = false,
                Work::GpuReset => self.gpu_reset = false,
                Work::Prepare(vf) => {
                    let each = &mut self.vfs[vf.index()];
                    each.prepared |= each.preparing.take().unwrap_or(false);
                }
                Work::Scrub(vf) => {
                    let each = &mut self.vfs[vf.index()];
                    let began = each.scrub.take();
                    let clean = began.is_some_and(|at| each.dirty_since.is_none_or(|d| d < at));
                    if ok && clean {
                        each.dirty_since = None;
                    }
                }
            },
            Event::Pause(vf) => {
                let each = &mut self.vfs[vf.index()];
                each.pausing = each.pausing.or(Some(now));
                (each.paused, each.until) = (true, None);
            }
            Event::Hold { vf, ns } => {
                let each = &mut self.vfs[vf.index()];
                if !each.paused || each.until.is_some() {
                    each.pausing = each.pausing.or(Some(now));
                    (each.paused, each.until) = (true, Some(now.saturating_add(ns)));
                }
            }
            Event::Adopt(vf) => {
                let each = &mut self.vfs[vf.index()];
                each.adopting = each.adopting.or(Some(now));
            }
            Event::Adopted { vf, want, .. } => self.vfs[vf.index()].restoring = Some(want),
            Event::Attached => {
                self.away = false;
                self.wait_anew(now);
            }
            Event::Gone => self.away = false,
            Event::PauseAll => self.frozen = true,
            Event::ResumeAll => {
                self.frozen = false;
                self.wait_anew(now);
            }
            Event::Resume(vf) => {
                let each = &mut self.vfs[vf.index()];
                each.pausing = None;
                each.until = None;
                if each.paused {
                    each.paused = false;
                    // How long it waited until here was the operator's business.
                    each.asked = each.asked.map(|_| now);
                }
            }
            _ => {}
        }
    }

    /// Waiting so far was somebody else's business: the operator's, or of whoever resets the GPU.
    fn wait_anew(&mut self, now: Ns) {
        for each in &mut self.vfs {
            each.asked = each.asked.map(|_| now);
            each.adopting = each.adopting.map(|_| now);
            each.pausing = each.pausing.map(|_| now);
            each.waits = each.waits.map(|_| now);
        }
    }

    /// An action is about to be carried out.
    pub fn action(&mut self, now: Ns, action: &Action, engine: &Engine, gpu: &mut Gpu) -> Verdict {
        match *action {
            _ if self.away && touches(action) => no(format!("{action:?} while the GPU is away")),
            Action::Command(cmd) if gpu.busy(now) => {
                no(format!("{cmd:?} while a command is in flight"))
            }
            Action::Command(cmd) if self.is_held(cmd.fcn) => {
                no(format!("{cmd:?} for a VF that is being restored"))
            }
            Action::Command(Cmd {
                kind: CmdKind::Load,
                fcn: Fcn::Vf(vf),
            }) if !gpu.may_load(vf) && gpu.unread_resets() & vf.bit() == 0 => {
                no(format!("{vf:?} is loaded, but its state is void"))
            }
            Action::Command(_)
                if matches!(
                    engine.phase(),
                    Phase::Recovering | Phase::Dead | Phase::Gone
                ) =>
            {
                no("a command for a GPU that does not answer")
            }
            Action::Send { vf, words, .. } => self.sent(now, vf, &words, engine, gpu),
            Action::Queue(work) => self.queued(now, work),
            Action::PfRuns(runs) => self.pf(runs, gpu),
            Action::Stopped => self.stopped(gpu),
            Action::AllPaused if matches!(engine.phase(), Phase::Dead | Phase::Gone) => Ok(()),
            // Nobody is left whose state could be saved.
            Action::AllPaused
                if engine.seat() == Seat::Unknown
                    && matches!(engine.phase(), Phase::Stopping | Phase::Off) =>
            {
                Ok(())
            }
            Action::AllPaused => match gpu.seat() {
                Seat::Running(_) | Seat::Idled(_) if !gpu.gone => no("all paused, but one runs"),
                _ => Ok(()),
            },
            Action::Paused(vf) => self.paused(vf, engine, gpu),
            Action::Adopted { vf, ok } => self.adopted(now, vf, ok, engine, gpu),
            Action::Restored { vf, ok } => self.restored(now, vf, ok),
            Action::Listen(vf) if self.vfs[vf.index()].sealed => {
                no(format!("{vf:?} is listened to while it is sealed"))
            }
            Action::Note(note) => self.note(now, note),
            _ => Ok(()),
        }
    }

    fn sent(
        &mut self,
        now: Ns,
        vf: VfId,
        words: &[u32; 4],
        engine: &Engine,
        gpu: &mut Gpu,
    ) -> Verdict {
        let each = &mut self.vfs[vf.index()];
        if HostMessage::parse(words) == Some(HostMessage::FlrNotification) {
            let knows = engine.config().protocol().ready_to_reset;
            // What keeps the seat, or was reset already, is waited for less.
            let free = engine.seat() != Seat::Unknown && gpu.unread_resets() & vf.bit() == 0;
            each.told = Some(Told {
                at: now,
                patient: knows && free && each.has_guest,
            });
        }
        let excused = gpu.unread_resets() & vf.bit() != 0;
        if HostMessage::parse(words) == Some(HostMessage::InitDataReady) {
            if !std::mem::take(&mut each.curious) {
                return no(format!("{vf:?} is told what it did not ask for"));
            }
            if !each.prepared && !excused {
                return no(format!("{vf:?} is told to read what is not there"));
            }
        }
        if HostMessage::parse(words) != Some(HostMessage::Ready) {
            return Ok(());
        }
        let Some(asked) = each.asked.take() else {
            return no(format!("READY for {vf:?}, which did not ask"));
        };
        self.answered += 1;
        self.answer_max = self.answer_max.max(now - asked);
        // What the guest did to itself since the last look is not the driver's fault.
        gpu.busy(now);
        if gpu.seat() != Seat::Running(Fcn::Vf(vf)) && !excused {
            return no(format!(
                "READY for {vf:?}, but the seat is {:?}",
                gpu.seat()
            ));
        }
        if each.dirty_since.is_some() && !excused {
            return no(format!(
                "{vf:?} is granted a framebuffer that was not scrubbed"
            ));
        }
        let loads = each.message != Some(GuestMessage::ReqFini);
        let reads = engine.config().protocol().exchange;
        if loads && reads && !each.may_read && !excused {
            return no(format!("{vf:?} is to initialise, but was not prepared"));
        }
        let init = each.message == Some(GuestMessage::ReqInit);
        if init && !gpu.was_initialised(vf) && !excused {
            return no(format!("{vf:?} is to initialise with old state"));
        }
        Ok(())
    }

    fn queued(&mut self, now: Ns, work: Work) -> Verdict {
        let (Work::Reset(vf) | Work::Scrub(vf) | Work::Prepare(vf)) = work else {
            for each in &mut self.vfs {
                each.told = None;
            }
            let twice = std::mem::replace(&mut self.gpu_reset, true);
            return match twice {
                true => no("the GPU is reset while it is being reset"),
                false => Ok(()),
            };
        };
        let each = &mut self.vfs[vf.index()];
        // A reset does not touch what is being written.
        let writes = each.preparing.is_some() && !matches!(work, Work::Reset(_));
        if each.reset || each.scrub.is_some() || writes {
            return no(format!("{work:?} while work for it is going on"));
        }
        match work {
            Work::Prepare(_) => {
                if each.prepared {
                    return no(format!("{vf:?} is prepared twice"));
                }
                each.preparing = Some(true);
            }
            Work::Reset(_) => {
                each.reset = true;
                if let Some(told) = each.told.take() {
                    let early = now < told.at + READY_WAIT && self.disabling.is_none();
                    if told.patient && early {
                        return no(format!("{vf:?} is reset before its guest could answer"));
                    }
                }
            }
            _ => each.scrub = Some(now),
        }
        Ok(())
    }

    fn pf(&mut self, runs: bool, gpu: &Gpu) -> Verdict {
        if runs == self.pf_runs {
            return no("PfRuns says what was said before");
        }
        self.pf_runs = runs;
        if runs && gpu.seat() != Seat::Running(Fcn::Pf) {
            return no("PfRuns, but the PF does not run");
        }
        Ok(())
    }

    fn stopped(&mut self, gpu: &Gpu) -> Verdict {
        if self.disabling.take().is_none() {
            return no("Stopped without Disable");
        }
        if self
            .vfs
            .iter()
            .any(|each| each.reset || each.scrub.is_some() || each.preparing.is_some())
            && !gpu.gone
        {
            return no("Stopped while work is going on");
        }
        Ok(())
    }

    fn paused(&mut self, vf: VfId, engine: &Engine, gpu: &mut Gpu) -> Verdict {
        let each = &mut self.vfs[vf.index()];
        if each.pausing.take().is_none() {
            return no(format!("{vf:?} is paused, but nobody asked"));
        }
        if engine.vf_state(vf) != VfState::Suspended {
            return Ok(());
        }
        let f = Fcn::Vf(vf);
        if gpu.seat() == Seat::Running(f) || gpu.seat() == Seat::Idled(f) {
            return no(format!("{vf:?} is said to be paused, but is on the seat"));
        }
        Ok(())
    }

    /// A VF was taken for a restore, or is refused.
    fn adopted(&mut self, now: Ns, vf: VfId, ok: bool, engine: &Engine, gpu: &Gpu) -> Verdict {
        let each = &mut self.vfs[vf.index()];
        if each.adopting.take().is_none() {
            return no(format!("{vf:?} is adopted, but nobody asked"));
        }
        if !ok {
            return Ok(());
        }
        self.adoptions[0] += 1;
        (each.adopted, each.filled, each.sealed) = (true, false, true);
        each.spoil();
        each.asked = None;
        let f = Fcn::Vf(vf);
        if gpu.seat() == Seat::Running(f) || gpu.seat() == Seat::Idled(f) {
            return no(format!("{vf:?} is said to be adopted, but is on the seat"));
        }
        if engine.vf_state(vf) != VfState::Suspended || engine.takes_messages(vf) {
            return no(format!("{vf:?} is adopted, but not held"));
        }
        let excused = gpu.unread_resets() & vf.bit() != 0;
        if each.dirty_since.is_some() && !excused {
            return no(format!("{vf:?} is adopted with what another tenant left"));
        }
        // What the host writes is nobody's until it is complete.
        each.dirty_since = Some(now.saturating_sub(1));
        Ok(())
    }

    /// The host has filled a VF, or comes too late.
    fn restored(&mut self, now: Ns, vf: VfId, ok: bool) -> Verdict {
        let each = &mut self.vfs[vf.index()];
        let Some(want) = each.restoring.take() else {
            return no(format!("{vf:?} is restored, but nobody said so"));
        };
        if ok && !each.adopted {
            return no(format!("{vf:?} is restored, but was not the host's"));
        }
        if ok {
            self.adoptions[1] += 1;
            each.filled = true;
            each.dirty_since = None;
            each.asked = want.map(|_| now);
            each.message = want.map(|want| match want {
                Access::Init => GuestMessage::ReqInit,
                Access::Fini => GuestMessage::ReqFini,
                Access::Reset => GuestMessage::ReqReset,
            });
        }
        Ok(())
    }

    /// A VF that may not run: it is the host's.
    fn is_held(&self, fcn: Fcn) -> bool {
        fcn.vf().is_some_and(|vf| self.vfs[vf.index()].adopted)
    }

    /// The host takes a VF's state; nothing of it is read until it runs again.
    pub fn seals(&mut self, vf: VfId) {
        self.vfs[vf.index()].sealed = true;
    }

    fn note(&mut self, now: Ns, note: Note) -> Verdict {
        match note {
            Note::Switch { .. } => self.switches += 1,
            Note::MessageDropped { vf, code } => {
                let each = &mut self.vfs[vf.index()];
                if each
                    .message
                    .is_some_and(|message| message.words()[0] == code)
                {
                    each.asked = None;
                }
            }
            Note::State { vf, to, .. } => {
                let each = &mut self.vfs[vf.index()];
                if matches!(to, VfState::Unavailable | VfState::Quarantined) {
                    each.told = None;
                }
                let runs = matches!(to, VfState::Active | VfState::Available);
                if each.adopted && runs && !each.filled {
                    return no(format!("{vf:?} is {to}, but was not restored"));
                }
                self.adoptions[2] += u64::from(each.adopted && runs);
                (each.adopted, each.sealed) = (false, false);
                if matches!(to, VfState::Resetting | VfState::Unavailable) {
                    each.spoil();
                }
                if to == VfState::FullAccess {
                    let unloads = each.message == Some(GuestMessage::ReqFini);
                    each.may_read = unloads || std::mem::take(&mut each.prepared);
                }
                each.waits = (to == VfState::Active).then_some(now);
                if matches!(to, VfState::Quarantined | VfState::Unavailable) {
                    each.asked = None;
                }
            }
            // What was not taken is as if it had not been sent.
            Note::Guard {
                vf,
                limit: Limit::Messages,
                ..
            } => {
                let each = &mut self.vfs[vf.index()];
                (each.asked, each.message) = each.before;
            }
            // A guest that is told of its reset asks again.
            Note::Reset { vf, .. } => {
                let each = &mut self.vfs[vf.index()];
                if each.message != Some(GuestMessage::ReqReset) {
                    each.asked = each.asked.map(|_| now);
                }
                if each.adopted {
                    // Who asked has never run here.
                    each.asked = None;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A step has been made and carried out.
    pub fn after(&mut self, now: Ns, engine: &Engine, gpu: &mut Gpu) -> Verdict {
        self.away = engine.detached();
        if self.away {
            for each in &mut self.vfs {
                // When it is reset is up to whoever has the GPU.
                each.told = None;
            }
        }
        let busy = gpu.busy(now);
        let unread = gpu.unread_resets();
        if let Some(wrong) = gpu.wrong_state() {
            return no(wrong);
        }
        let believed = engine.seat();
        // A failed command may have left there who was to be replaced, and a reset may have taken
        // away who will be initialised anyway. Whoever is run then is judged by the hardware.
        let free = |seat| matches!(seat, Seat::Empty | Seat::Loaded(_) | Seat::Fresh(_));
        let empty = believed == Seat::Empty || gpu.seat() == Seat::Empty;
        let void = empty && free(believed) && free(gpu.seat());
        let excused = believed == Seat::Unknown
            || busy
            || void
            || matches!(
                engine.phase(),
                Phase::Recovering | Phase::Dead | Phase::Gone
            )
            || believed
                .fcn()
                .and_then(Fcn::vf)
                .is_some_and(|vf| unread & vf.bit() != 0);
        if !excused && !engine.awaits_command() && believed != gpu.seat() {
            return no(format!(
                "the engine believes {believed:?}, it is {:?}",
                gpu.seat()
            ));
        }
        for n in 0..self.count {
            self.check_vf(now, n, engine, gpu)?;
        }
        Ok(())
    }

    fn check_vf(&mut self, now: Ns, n: usize, engine: &Engine, gpu: &Gpu) -> Verdict {
        let each = &mut self.vfs[n];
        let vf = crate::world::vf(n);
        if each.until.is_some_and(|until| until <= now) {
            if engine.held(vf) != Held::No {
                return no(format!("{vf:?} is held longer than it may be"));
            }
            each.asked = each.asked.map(|_| now);
            (each.paused, each.pausing, each.until) = (false, None, None);
        }
        if engine.vf_state(vf) == VfState::Active {
            if gpu.seat() == Seat::Running(Fcn::Vf(vf)) {
                each.waits = Some(now);
            }
            let gap = now - each.waits.unwrap_or(now);
            self.gap_max = self.gap_max.max(gap);
            if gap > self.gap_bound && !self.frozen {
                let stats = engine.vf_stats(vf, now);
                return no(format!("{vf:?} has not run for {} ms: {stats:?}", gap / MS));
            }
        }
        if let Some(told) = each.told {
            let bound = match (engine.config().protocol().ready_to_reset, engine.phase()) {
                (false, _) => 0,
                (true, Phase::On) => READY_WAIT + RESET_LATE,
                (true, _) => READY_WAIT_GPU + RESET_LATE,
            };
            if now - told.at > bound {
                return no(format!("{vf:?} was told of a reset that does not begin"));
            }
        }
        if !matches!(engine.phase(), Phase::On) {
            return Ok(());
        }
        let late = |at: Option<Ns>| at.is_some_and(|at| now - at > self.answer_bound);
        if late(each.asked) && !each.paused && !self.frozen {
            return no(format!("the request of {vf:?} was never answered"));
        }
        if each.restoring.is_some() {
            return no(format!("what was said of {vf:?} was not answered"));
        }
        // A scrub that an adoption waits for waits itself while the scheduler is parked.
        if late(each.adopting) && !self.frozen {
            return no(format!("the adoption of {vf:?} was never answered"));
        }
        if late(each.pausing) && !self.frozen {
            return no(format!("the pause of {vf:?} was never confirmed"));
        }
        Ok(())
    }
}
