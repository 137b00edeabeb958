// SPDX-License-Identifier: GPL-2.0

//! The shell around the engine of one GPU: it owns lock, timer, interrupt and slow work.
//!
//! All that happens becomes an [`Event`]; the engine answers with [`Action`]s, which are carried
//! out at once, under the same lock. Nothing here decides anything.

mod bus;
mod carry;
mod control;
mod copy;
pub(crate) mod exchange;
mod handover;
pub(crate) mod hold;
mod irq;
mod slow;
mod tell;
mod users;
mod vfs;

pub(crate) use self::irq::IrqHandler;

use kernel::{
    impl_has_hr_timer,
    impl_has_work,
    new_condvar,
    new_mutex,
    new_spinlock_irq,
    new_work,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        CondVar,
        Mutex,
        SpinLockIrq, //
    },
    time::hrtimer::{
        HrTimer,
        HrTimerCallback,
        HrTimerCallbackContext,
        HrTimerRestart, //
    },
    workqueue::Work, //
};

use crate::{
    ffi::{
        boxed,
        queue::OwnQueue,
        random,
        timer,
        trace, //
    },
    gim_core::{
        actions::Actions,
        config::Config,
        engine::Engine,
        event::{
            Action,
            Event,
            StatusSource, //
        },
        notice::Notices,
        partition::Partition,
        types::{
            Fcn,
            VfId,
            MAX_VFS, //
        },
    },
    hw::Hw, //
};

/// How many events one interrupt or call may lead to before something must be wrong.
const MAX_FOLLOW_UPS: usize = 64;

/// The two kinds of slow work. A scrub may wait for the copy engine, and the copy engine for the
/// reset of a VF that hangs: so they must not wait for each other.
const RESETS: u64 = 0;
const SCRUBS: u64 = 1;

/// And telling user space, which waits for neither, nor do guests that are told something.
const NOTICES: u64 = 2;
const PREPARES: u64 = 3;

/// One GPU.
#[pin_data(PinnedDrop)]
pub(crate) struct Gpu {
    #[pin]
    timer: HrTimer<Self>,
    #[pin]
    reset_work: Work<Self, RESETS>,
    #[pin]
    scrub_work: Work<Self, SCRUBS>,
    #[pin]
    notice_work: Work<Self, NOTICES>,
    #[pin]
    prepare_work: Work<Self, PREPARES>,
    #[pin]
    changed: CondVar,
    /// Held by whoever has work for the copy engine.
    #[pin]
    copies: Mutex<()>,
    /// One for each VF: held while framebuffer of it is written, so that a scrub comes after it.
    #[pin]
    fills: [Mutex<()>; MAX_VFS],
    /// What guests said of themselves when they were asked last.
    #[pin]
    told: Mutex<KVec<Option<exchange::Told>>>,
    #[pin]
    state: SpinLockIrq<State>,
    queue: OwnQueue,
    hw: Hw,
}

/// What the lock protects: the engine and what the shell must remember for it.
pub(crate) struct State {
    /// Decides.
    pub(crate) engine: KBox<Engine>,
    /// The framebuffer table while VFs are enabled.
    pub(crate) table: Option<Partition>,
    /// The PCI functions of the VFs.
    functions: users::Functions,
    /// What user space is still to be told.
    pub(crate) notices: KBox<Notices>,
    actions: KBox<Actions>,
    /// How far the interrupt ring has been read, in bytes.
    ih_read: u32,
    /// Slow work that is queued: a bit per VF.
    resets: u32,
    scrubs: u32,
    prepares: u32,
    /// The whole GPU is to be reset.
    reset_all: bool,
    /// Resets that the guest itself has asked for: it must see its message acknowledged first.
    requested: u32,
    /// VFs that are gone and whose framebuffer is still to be zeroed: a bit per VF.
    leftovers: u32,
    /// The PF is on the engine and runs.
    pf_runs: bool,
    /// What the copy engine is to do when the PF runs next.
    order: Option<copy::Order>,
    /// The engine has said that everything has stopped.
    stopped: bool,
    /// The host goes down: nothing is enabled any more.
    closed: bool,
    /// VFs are to be left to the next life of the driver when this one ends.
    pub(crate) bequeaths: bool,
    /// Whether the engine has left them, once it has said so.
    left: Option<bool>,
    /// A VF is being reset by the worker.
    resetting: bool,
    /// The thread that resets the PF for the engine, while it does.
    resetter: Option<i32>,
    /// VFs whose guest is to be interrupted once they are resumed: a bit per VF.
    raise: u32,
    /// Names this GPU's VFs to their guests.
    uuid: u64,
    /// Counts the resets of each VF.
    epochs: [u32; MAX_VFS],
    /// When the timer is armed to.
    armed: Option<u64>,
}

impl Gpu {
    /// Makes the shell; the hardware is not told anything yet.
    pub(crate) fn new(hw: Hw, cfg: &Config) -> Result<Arc<Self>> {
        static ENGINE: Engine = Engine::new(Config::DEFAULT);
        static ACTIONS: Actions = Actions::new();
        static NONE: Notices = Notices::new();

        let queue = OwnQueue::new(c"gim")?;
        let mut engine = boxed::copied(&ENGINE)?;
        engine.configure(cfg);
        let actions = boxed::copied(&ACTIONS)?;
        let notices = boxed::copied(&NONE)?;
        let told = exchange::nothing_told()?;
        Arc::pin_init(
            try_pin_init!(Self {
                timer <- HrTimer::new(),
                reset_work <- new_work!("gim::reset"),
                scrub_work <- new_work!("gim::scrub"),
                notice_work <- new_work!("gim::notice"),
                prepare_work <- new_work!("gim::prepare"),
                changed <- new_condvar!("gim::changed"),
                copies <- new_mutex!((), "gim::copies"),
                fills <- pin_init::pin_init_array_from_fn(|_| new_mutex!((), "gim::fills")),
                told <- new_mutex!(told, "gim::told"),
                state <- new_spinlock_irq!(State {
                    engine,
                    table: None,
                    functions: users::Functions::NONE,
                    notices,
                    actions,
                    ih_read: 0,
                    resets: 0,
                    scrubs: 0,
                    prepares: 0,
                    reset_all: false,
                    requested: 0,
                    leftovers: 0,
                    pf_runs: false,
                    order: None,
                    stopped: true,
                    closed: false,
                    bequeaths: false,
                    left: None,
                    resetting: false,
                    resetter: None,
                    raise: 0,
                    uuid: random::number(),
                    epochs: [0; MAX_VFS],
                    armed: None,
                }, "gim::state"),
                queue,
                hw,
            }),
            GFP_KERNEL,
        )
    }

    /// The last act before the device is let go: nobody is told anything after this.
    pub(crate) fn finish(&self) {
        self.hw.stop();
        self.flush_slow();
        self.forget_functions();
    }

    /// The hardware.
    pub(crate) fn hw(&self) -> &Hw {
        &self.hw
    }

    /// Looks at the state, without changing what the engine will do.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock())
    }

    /// The number by which tracepoints name this GPU: its bus, device and function.
    fn id(&self) -> u32 {
        u32::from(self.hw.pf.get().dev_id())
    }

    /// Tells the engine what happened and does what it answers.
    pub(crate) fn feed(this: ArcBorrow<'_, Self>, st: &mut State, event: Event) {
        // What the engine asked for is answered in the order in which it asked, before all else.
        let mut pending = Answers::first(event);
        for _ in 0..MAX_FOLLOW_UPS {
            let Some(event) = pending.next() else {
                break;
            };
            if let Event::ResetSeen { mask, .. } = event {
                // Now, not when it was read: a command that was ordered in between was so in ignorance,
                // and the GPU refuses it while it stands there.
                this.hw.hal.clear_resets(&this.hw, mask);
            }
            st.engine.step(timer::now_ns(), event, &mut st.actions);
            for i in 0..st.actions.as_slice().len() {
                let Some(&action) = st.actions.as_slice().get(i) else {
                    break;
                };
                if let Some(answer) = Self::carry_out(this, st, action) {
                    if !pending.add(answer) {
                        // An engine that asks more than this has a bug, which its tests find.
                        kernel::pr_warn_once!("more answers than there is room for\n");
                    }
                }
            }
        }
        this.arm(st);
    }

    /// Does one action; what it reads comes back as an event.
    fn carry_out(this: ArcBorrow<'_, Self>, st: &mut State, action: Action) -> Option<Event> {
        let (hw, hal) = (&this.hw, this.hw.hal);
        match action {
            Action::Command(cmd) => hal.issue(hw, cmd),
            Action::ReadStatus => {
                return Some(Event::CmdStatus {
                    status: hal.status(hw),
                    source: StatusSource::Poll,
                })
            }
            Action::ReadResets(read) => {
                return match hal.resets(hw) {
                    None => Some(Event::Gone),
                    Some(mask) => Some(Event::ResetSeen { read, mask }),
                }
            }
            Action::ReadUsers => {
                return Some(Event::Users {
                    mask: st.functions.in_use(),
                })
            }
            Action::Send { vf, words, valid } => {
                trace::mailbox(this.id(), vf.raw().into(), 1, words[0], words[1]);
                hal.send(hw, vf, words, valid);
            }
            Action::ClearValid(vf) => hal.clear_valid(hw, vf),
            Action::Queue(work) => Self::queue_slow(this, st, work),
            Action::PfRuns(runs) => this.pf_runs(st, runs),
            Action::Stopped => {
                st.stopped = true;
                this.cancel_copies(st);
            }
            Action::Left { ok } => {
                st.left = Some(ok);
                this.changed.notify_all();
            }
            Action::Paused(_)
            | Action::AllPaused
            | Action::Adopted { .. }
            | Action::Restored { .. } => this.changed.notify_all(),
            Action::Listen(vf) => return this.receive(vf),
            Action::Note(note) => Self::note(this, st, note),
        }
        None
    }

    /// Arms the timer to what the engine wants, unless it is armed so already.
    ///
    /// While a command is in flight it may fire early: the engine looks and wants it later. Each of a
    /// switch's commands moves the check of its end by little, and moving the timer is not cheap.
    fn arm(&self, st: &mut State) {
        let want = st.engine.deadline();
        let early = matches!((st.armed, want), (Some(at), Some(want)) if at <= want);
        if want == st.armed || (early && st.engine.awaits_command()) {
            return;
        }
        st.armed = want;
        if let Some(at) = want {
            timer::arm(self, at);
        }
    }
}

/// Events that wait for the engine, first in first out.
struct Answers {
    slots: [Option<Event>; MAX_ANSWERS],
    /// The slot of the oldest.
    first: usize,
}

/// Questions that are open at once: a status, resets, users, and messages of VFs that are heard again.
const MAX_ANSWERS: usize = 20;

impl Answers {
    fn first(event: Event) -> Self {
        let mut slots = [None; MAX_ANSWERS];
        slots[0] = Some(event);
        Self { slots, first: 0 }
    }

    fn next(&mut self) -> Option<Event> {
        let event = self.slots.get_mut(self.first)?.take()?;
        self.first = (self.first + 1) % MAX_ANSWERS;
        Some(event)
    }

    /// The resets that wait to be told of.
    fn resets(&self) -> u32 {
        let mask = |slot: &Option<Event>| match slot {
            Some(Event::ResetSeen { mask, .. }) => *mask,
            _ => 0,
        };
        self.slots.iter().map(mask).fold(0, |all, mask| all | mask)
    }

    /// Whether there was room. A reset that an earlier answer tells of is not told of twice.
    fn add(&mut self, mut event: Event) -> bool {
        if let Event::ResetSeen { mask, .. } = &mut event {
            *mask &= !self.resets();
        }
        let free = (0..MAX_ANSWERS)
            .map(|i| (self.first + i) % MAX_ANSWERS)
            .find(|&i| self.slots.get(i).is_some_and(Option::is_none));
        let slot = free.and_then(|i| self.slots.get_mut(i));
        slot.map(|slot| *slot = Some(event)).is_some()
    }
}

/// FCN_ID as tracepoints show it.
fn fcn_number(fcn: Fcn) -> u32 {
    fcn.fcn_id().into()
}

impl HrTimerCallback for Gpu {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        timer::in_callback(&ctx, |irq| {
            let mut st = this.state.lock_with(irq);
            st.armed = None;
            Self::feed(this, &mut st, Event::Timer);
        });
        HrTimerRestart::NoRestart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Gpu {
        mode: timer::Mode, field: self.timer
    }
}

impl_has_work! {
    impl HasWork<Self, RESETS> for Gpu { self.reset_work }
    impl HasWork<Self, SCRUBS> for Gpu { self.scrub_work }
    impl HasWork<Self, NOTICES> for Gpu { self.notice_work }
    impl HasWork<Self, PREPARES> for Gpu { self.prepare_work }
}

// SAFETY: `PinnedDrop` below cancels the timer.
unsafe impl timer::Alarm for Gpu {}

#[pinned_drop]
impl PinnedDrop for Gpu {
    fn drop(self: Pin<&mut Self>) {
        timer::cancel(&*self);
    }
}

/// VFs `0..count`.
pub(crate) fn first_vfs(count: u8) -> impl Iterator<Item = VfId> {
    VfId::all().take(count.into())
}
