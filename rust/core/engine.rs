// SPDX-License-Identifier: GPL-2.0

//! The engine: one per GPU, the only one who decides what the GPU does next.
//!
//! | file | what |
//! |---|---|
//! | `command.rs` | the command in flight: completion, lost interrupts, watchdog, verdict |
//! | `schedule.rs` | whose turn it is, for how long, and full access |
//! | `qos.rs` | who is furthest behind its share, and who cannot wait |
//! | `message.rs` | what guests ask |
//! | `guard.rs` | what is done about guests that exceed their limits |
//! | `adopt.rs` | VFs that are filled from a stream, or whose state is taken |
//! | `hold.rs` | pauses that end by themselves |
//! | `recover.rs` | resets and scrubs of VFs |
//! | `reads.rs` | what is read of RESET_NOTIFICATION, and in which order |
//! | `prepare.rs` | what guests read before they initialise |
//! | `ready.rs` | guests that are told of a reset and answer |
//! | `bus.rs` | the GPU taken away for a while, given back, or gone |
//! | `whole.rs` | the GPU as a whole: parking it, and resetting it when it does not answer |
//! | `settings.rs` | what the host sets, from one decision to the next |
//! | `ask.rs` | what the engine tells of itself to who asks |
//! | `leave.rs` | leaving the GPU to the next life of the driver, and coming to it |
//! | `record.rs` | what the next life must know |
//! | `host.rs` | what the host orders: enable, disable, pause, resume, work for the PF |

mod adopt;
mod ask;
mod bus;
mod command;
mod guard;
mod hold;
mod host;
mod leave;
mod message;
mod prepare;
mod qos;
mod reads;
mod ready;
mod record;
mod recover;
mod schedule;
mod settings;
mod users;
mod whole;

pub use self::{
    adopt::Adoption,
    bus::Awake,
    ready::{
        READY_WAIT,
        READY_WAIT_GPU,
        SEE_GPU_RESET, //
    }, //
};
use self::{
    adopt::Adoptions,
    bus::Bus,
    command::{
        Doubt,
        Flight, //
    },
    guard::Buckets,
    hold::Holds,
    leave::Leaving,
    prepare::Prepares,
    qos::Parts,
    reads::Reads,
    ready::Ready,
    schedule::Slot,
    users::Users, //
};
use super::{
    access::{
        Access,
        Fifo,
        Holder, //
    },
    account::{
        GpuStats,
        VfStats, //
    },
    actions::Actions,
    config::{
        Config,
        Mode, //
    },
    event::{
        Action,
        Cmd,
        Event,
        Note, //
    },
    guard::Bucket,
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        Ns,
        VfId,
        MAX_VFS, //
    },
    vf::{
        VfEvent,
        VfState, //
    },
};

/// What the engine as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// No VF is enabled; the PF may still have work.
    Off,
    /// VFs are enabled.
    On,
    /// VFs are being disabled.
    Stopping,
    /// The GPU is being reset, by us or by somebody else; then VFs are admitted again.
    Recovering,
    /// The GPU does not answer: nothing is commanded until VFs are disabled.
    Dead,
    /// The device has left the bus: nothing is commanded, unless a reset of its bus brings it back.
    Gone,
}

/// How far a VF, or the whole scheduler, has followed an order to pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Held {
    /// Not ordered.
    No,
    /// Ordered: full access or a reset is finished first.
    Pending,
    /// Off the engine, or such that it will never be on it.
    Yes,
}

impl Held {
    const fn new(ordered: bool, pending: bool) -> Self {
        match (ordered, pending) {
            (false, _) => Self::No,
            (true, true) => Self::Pending,
            (true, false) => Self::Yes,
        }
    }

    /// The name that the ABI gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "running",
            Self::Pending => "pausing",
            Self::Yes => "paused",
        }
    }
}

/// What the engine knows of one VF.
#[derive(Clone, Copy, Debug)]
struct Vf {
    state: VfState,
    /// What its save area holds.
    context: Context,
    /// Its guest's driver is loaded; outlives a suspension.
    loaded: bool,
    /// What its guest asked and was not granted yet; it is in the queue while there is something.
    want: Option<Access>,
    /// The request has survived a reset already; the next one ends it.
    retried: bool,
    /// Its guest was told of the reset and is told of the end.
    notified: bool,
    /// When its reset was queued, while it is being done.
    reset_since: Option<Ns>,
    /// The last read of RESET_NOTIFICATION that was done before.
    reset_after: u64,
    /// When its scrub was queued, while it is being done.
    scrub_since: Option<Ns>,
    /// When its preparation was queued, while that is being done.
    prepare_since: Option<Ns>,
    /// Time it ran too long and has not repaid (round robin).
    debt: Ns,
    /// What it ran, divided by its part of the GPU, relative to the others (QoS).
    vtime: u64,
    /// Since when it waits for the engine, while it could run and does not.
    waits_since: Option<Ns>,
    /// What it may still have of what is limited.
    buckets: Buckets,
    stats: VfStats,
}

impl Vf {
    const NEW: Self = Self {
        state: VfState::Unavailable,
        context: Context::Clear,
        loaded: false,
        want: None,
        retried: false,
        notified: false,
        reset_since: None,
        reset_after: 0,
        scrub_since: None,
        prepare_since: None,
        debt: 0,
        vtime: 0,
        waits_since: None,
        buckets: guard::FULL,
        stats: VfStats::NEW,
    };

    /// Slow work for it is queued or being done.
    const fn working(&self) -> bool {
        self.recovering() || self.prepare_since.is_some()
    }

    /// It is being reset or scrubbed.
    const fn recovering(&self) -> bool {
        self.reset_since.is_some() || self.scrub_since.is_some()
    }
}

/// What the engine knows of the PF.
#[derive(Clone, Copy, Debug)]
struct Pf {
    /// Its clean image is saved, or is on the engine and will be saved.
    context: Context,
    /// Its copy engine has work.
    work: bool,
    /// [`Action::PfRuns`] said so.
    told: bool,
}

/// The engine of one GPU.
#[derive(Debug)]
pub struct Engine {
    cfg: Config,
    /// The latest time that was seen.
    now: Ns,
    phase: Phase,
    bus: Bus,
    count: u8,
    /// The shell waits for [`Action::Stopped`].
    stopping: bool,
    leaving: Leaving,

    seat: Seat,
    flight: Option<Flight>,
    /// The command that was in flight when the GPU stopped to answer.
    undone: Option<Cmd>,
    doubt: Doubt,
    /// The VF whose reset must take effect before the seat is known again.
    blocked: Option<VfId>,
    /// Since when somebody has been running.
    run_since: Ns,
    /// Completion interrupts have failed: poll.
    polling: bool,
    /// Completion interrupts that were lost in a row.
    lost_irqs: u8,
    /// The status was ordered to be read by the last step: what is read is about that command.
    status_asked: bool,
    /// Reads of RESET_NOTIFICATION.
    reads: Reads,
    /// Nothing is issued before the answer to this one.
    hold: u64,
    /// VFs whose own reset has not been seen in RESET_NOTIFICATION yet.
    own_resets: u32,
    /// When RESET_NOTIFICATION is to be read at the latest, and when again if a reset is awaited.
    housekeeping_at: Ns,
    /// Who has VFs open.
    users: Users,
    /// Whose mailbox is looked at next, by number.
    listened: u8,
    reset_poll_at: Ns,

    slot: Slot,
    /// The VF whose slot has ended, until it has stopped, and when it should have.
    overrun_from: Option<(VfId, Ns)>,
    /// The next position of the rotation: VFs, then the PF.
    cursor: u8,
    queue: Fifo,
    holder: Option<Holder>,
    /// VFs (and bit 31: the PF) that have a turn before the next full access.
    owed: u32,
    /// Those that had waited long are among them already.
    owed_patient: bool,
    /// Who ran last, until the engine was parked.
    last: Option<Fcn>,
    /// Mean time of IDLE and SAVE, and of LOAD and RUN.
    cost_out: Ns,
    cost_in: Ns,

    /// The shares of the GPU, as they follow from the promises and from who is active.
    parts: Parts,
    /// VFs in state active.
    active: u32,
    /// VFs that the host wants off the engine, and those for which it awaits [`Action::Paused`].
    paused: u32,
    pausing: u32,
    /// Those of them whose pause ends by itself.
    holds: Holds,
    /// VFs that the host fills from a stream, or whose state it takes.
    adoptions: Adoptions,
    /// VFs whose framebuffer is to be scrubbed.
    dirty: u32,
    /// VFs that have work, as the hardware says; all, until it says anything.
    busy: u32,
    /// VFs that are not listened to, whose requests wait, and that are quarantined once reset.
    muted: u32,
    delayed: u32,
    condemned: u32,
    /// The host has parked the scheduler, and waits for [`Action::AllPaused`].
    frozen: bool,
    freezing: bool,
    /// Which VFs their guests may initialise.
    prepares: Prepares,
    /// Guests that were told of a reset and have not answered.
    ready: Ready,
    /// Pieces of slow work that have not ended.
    works: u8,
    /// When the reset of the GPU was queued, while it is being done, and how many there may be.
    gpu_reset_since: Option<Ns>,
    gpu_resets: Bucket,
    pf: Pf,
    vfs: [Vf; MAX_VFS],
    stats: GpuStats,
}

impl Engine {
    /// An engine with no VF enabled and nobody on the hardware's seat.
    pub const fn new(cfg: Config) -> Self {
        Self {
            cfg,
            now: 0,
            phase: Phase::Off,
            bus: Bus::Here,
            count: 0,
            stopping: false,
            leaving: Leaving::No,
            seat: Seat::Empty,
            flight: None,
            undone: None,
            doubt: Doubt::None,
            blocked: None,
            run_since: 0,
            polling: false,
            lost_irqs: 0,
            status_asked: false,
            reads: Reads::NONE,
            hold: 0,
            own_resets: 0,
            housekeeping_at: 0,
            users: Users::NONE,
            listened: 0,
            reset_poll_at: 0,
            slot: Slot::NONE,
            overrun_from: None,
            cursor: 0,
            queue: Fifo::new(),
            holder: None,
            owed: 0,
            owed_patient: false,
            last: None,
            cost_out: 0,
            cost_in: 0,
            parts: Parts::NEW,
            active: 0,
            paused: 0,
            pausing: 0,
            holds: Holds::NONE,
            adoptions: Adoptions::NONE,
            dirty: 0,
            busy: u32::MAX,
            muted: 0,
            delayed: 0,
            condemned: 0,
            frozen: false,
            freezing: false,
            prepares: Prepares::NONE,
            ready: Ready::NONE,
            works: 0,
            gpu_reset_since: None,
            gpu_resets: Bucket::FULL,
            pf: Pf {
                context: Context::Clear,
                work: false,
                told: false,
            },
            vfs: [Vf::NEW; MAX_VFS],
            stats: GpuStats::NEW,
        }
    }

    /// Takes an event at the time `now` and replaces the content of `out` by what is to be done.
    ///
    /// The actions are to be carried out in order, and what is read for [`Action::ReadStatus`],
    /// [`Action::ReadResets`], [`Action::ReadUsers`] and [`Action::Listen`] is to be fed in that order,
    /// before any other event. After that the timer is to be armed to [`Self::deadline`].
    pub fn step(&mut self, now: Ns, ev: Event, out: &mut Actions) {
        out.clear();
        if self.has_left() && !matches!(ev, Event::Stay | Event::Arrive) {
            return;
        }
        self.now = self.now.max(now);
        self.reads.begin_step();
        self.expect_status(&ev);
        self.take(ev, out);
        self.check_command(out);
        self.check_access(out);
        self.check_ready(out);
        self.check_work(out);
        self.check_resets(out);
        self.check_guard(out);
        self.end_holds(out);
        self.take_adopted(out);
        self.suspend_paused(out);
        self.prepare(out);
        self.drive(out);
        self.queue_scrub(out);
        self.tell_paused(out);
        self.tell_adopted(out);
        self.tell_all_paused(out);
        self.tell_stopped(out);
        self.tell_left(out);
    }

    fn take(&mut self, ev: Event, out: &mut Actions) {
        match ev {
            Event::Timer => {}
            Event::CmdStatus { status, source } => self.status(status, source, out),
            Event::Message { vf, words } => self.message(vf, &words, out),
            Event::MessageAck(vf) => self.acknowledged(vf, out),
            Event::ResetSeen { read, mask } => self.reads_answer(read, mask, out),
            Event::Users { mask } => self.users(mask, out),
            Event::Look => self.look(out),
            Event::WorkDone { work, ok } => self.work_done(work, ok, out),
            Event::Enable { count } => self.enable(count),
            Event::Disable => self.disable(out),
            Event::Adopt(vf) => self.adopt(vf, out),
            Event::Adopted { vf, loaded, want } => self.adopted(vf, loaded, want, out),
            Event::Seal(vf) => self.seal(vf),
            Event::Pause(vf) => {
                self.holds.unbind(vf);
                self.pause(vf);
            }
            Event::Hold { vf, ns } => self.hold_for(vf, ns),
            Event::Resume(vf) => self.resume(vf, out),
            Event::ResetVf(vf) => self.host_reset(vf, out),
            Event::Alert(vf) => self.alert(vf, out),
            Event::PauseAll => self.pause_all(),
            Event::ResumeAll => self.resume_all(),
            Event::Leave => self.leave(),
            Event::Stay => self.remain(out),
            Event::Arrive => self.arrive(out),
            Event::Busy { mask } => self.busy = mask,
            Event::PfWork(work) => self.pf.work = work,
            Event::Detached => self.detach(out),
            Event::Attached => self.attach(out),
            Event::Gone => self.gone(out),
        }
    }

    /// When [`Event::Timer`] is wanted, at the latest; `None` if no time matters.
    pub fn deadline(&self) -> Option<Ns> {
        if self.has_left() {
            return None;
        }
        let slow = earlier(self.work_deadline(), self.resets_deadline());
        let slow = earlier(slow, self.ready_deadline());
        let slow = earlier(slow, self.reads_deadline());
        let turn = earlier(self.slot_deadline(), self.access_deadline());
        let rest = earlier(slow, earlier(self.guard_deadline(), self.hold_deadline()));
        earlier(self.command_deadline(), earlier(turn, rest))
    }

    /// The VFs that are enabled.
    fn enabled(&self) -> impl Iterator<Item = VfId> {
        VfId::all().take(usize::from(self.count))
    }

    fn vf(&mut self, vf: VfId) -> &mut Vf {
        &mut self.vfs[vf.index()]
    }

    /// Whether the VF is on the engine or a command for it is in flight.
    fn engages(&self, vf: VfId) -> bool {
        let fcn = Some(Fcn::Vf(vf));
        self.blocked == Some(vf)
            || self.seat.fcn() == fcn
            || self.flight.as_ref().map(|flight| flight.cmd.fcn) == fcn
    }

    /// Moves a VF through its life; an event without a place is only counted.
    fn shift(&mut self, vf: VfId, event: VfEvent, out: &mut Actions) {
        let now = self.now;
        let runs = self.seat == Seat::Running(Fcn::Vf(vf));
        let from = self.vf(vf).state;
        let Some(to) = from.after(event) else {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        };
        if from == to {
            return;
        }
        if runs {
            self.book_run(Fcn::Vf(vf));
        }
        if from == VfState::Suspended {
            self.unseal(vf);
        }
        if matches!(to, VfState::Resetting | VfState::Unavailable) {
            self.unprepare(vf);
        }
        let each = self.vf(vf);
        each.state = to;
        each.debt = 0;
        each.vtime = 0;
        if to == VfState::Active {
            each.waits_since = (!runs).then_some(now);
            self.active |= vf.bit();
        } else {
            each.end_wait(now);
            self.active &= !vf.bit();
        }
        out.push(Action::Note(Note::State { vf, from, to }));
    }
}

impl Vf {
    /// It waits no longer: it runs, or it could not run any more.
    fn end_wait(&mut self, now: Ns) {
        if let Some(since) = self.waits_since.take() {
            let waited = now.saturating_sub(since);
            self.stats.wait = self.stats.wait.saturating_add(waited);
            self.stats.gap_max = self.stats.gap_max.max(waited);
            self.stats.waits.add(waited);
        }
    }
}

/// The earlier of two times that may not matter.
fn earlier(a: Option<Ns>, b: Option<Ns>) -> Option<Ns> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(any(test, kunit))]
mod phase_tests;
#[cfg(any(test, kunit))]
mod tests;
