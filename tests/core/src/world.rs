// SPDX-License-Identifier: GPL-2.0

//! The shell of the simulation: virtual time, interrupts, timers, slow work, and the engine between
//! the guests and the GPU.
//!
//! - [`act`]: what the engine orders;
//! - [`host`]: what the host and its operator do;
//! - [`bus`]: somebody else takes the GPU away;
//! - [`leave`]: the driver is replaced.

mod act;
mod bus;
mod host;
mod leave;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use gim_core::{
    actions::Actions,
    config::Config,
    engine::{Engine, Phase},
    event::{Action, Event, MailWords, StatusSource, Work},
    types::{Ns, VfId, MAX_VFS, MS, US},
};

use crate::{
    gpu::Gpu,
    guest::{Deed, Guest},
    referee::Referee,
    rng::Rng,
};

/// How many of the last steps a failure shows.
const TRACE: usize = 60;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    /// The completion interrupt.
    Irq,
    /// The timer, if it was not armed anew since.
    Timer(u64),
    /// A guest wakes, if it was not woken since.
    Guest(usize, u64),
    /// A guest acknowledges a message.
    Ack(usize),
    /// A VF's reset takes effect.
    ResetEffect(usize),
    /// A VF's reset is complete.
    ResetDone(usize),
    /// A VF's scrub is complete.
    ScrubDone(usize),
    /// A VF is prepared.
    PrepareDone(usize),
    /// The reset of the GPU is complete.
    GpuResetDone,
    /// The host has filled a VF, or gives up.
    Filled(usize),
    /// The operator does something.
    Host,
    /// The GPU is taken away by somebody else.
    Detached,
    /// It is given back, if it was not given back since.
    Attached(u64),
    /// The next life of the driver comes.
    Arrive,
}

/// One step, for the trace.
#[derive(Clone, Debug)]
struct Step {
    now: Ns,
    event: Event,
    actions: Vec<Action>,
}

/// How unpleasant the world is.
#[derive(Clone, Debug)]
pub struct Weather {
    /// The timer comes up to this much too late, in ns.
    pub timer_late: Ns,
    /// How long a reset takes after its effect, in ns.
    pub reset: std::ops::Range<u64>,
    /// How long a scrub takes, in ns.
    pub scrub: std::ops::Range<u64>,
    /// Slow work fails in so many of 10000 cases.
    pub work_fails: u64,
    /// The interrupt of a message is lost in so many of 10000 cases.
    pub lost_messages: u64,
    /// The operator pauses, resets and changes settings.
    pub host: bool,
    /// Somebody else resets the GPU from time to time, this often on average, in ns; 0: never.
    pub bus_resets: Ns,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            timer_late: 30 * US,
            reset: 100 * MS..110 * MS,
            scrub: MS..20 * MS,
            work_fails: 0,
            lost_messages: 0,
            host: false,
            bus_resets: 0,
        }
    }
}

/// Everything.
pub struct World {
    /// The time.
    pub now: Ns,
    /// The engine under test.
    pub engine: Engine,
    /// The hardware.
    pub gpu: Gpu,
    /// The guests, one per VF.
    pub guests: Vec<Guest>,
    /// The judge.
    pub referee: Referee,
    /// How unpleasant it is.
    pub weather: Weather,
    /// Events that the engine was fed.
    pub steps: u64,
    /// [`Action::Stopped`] was said.
    pub stopped: bool,
    /// [`Action::AllPaused`] was said.
    pub all_paused: bool,
    /// The GPU was taken away.
    pub detached: bool,
    /// How often so far.
    pub detachments: u64,
    /// The driver was told to leave.
    pub leaving: bool,
    /// How often another has come.
    pub lives: u64,
    /// VFs that somebody has open, a bit each.
    pub users: u32,
    /// How often one that nobody had open any more was reset for it.
    pub abandoned: u64,
    /// VFs that are adopted are filled, or given up, at random.
    pub fills: bool,
    /// What [`Action::Restored`] said last.
    restored: Option<(VfId, bool)>,
    /// What VFs have sent last and the engine has not heard of.
    unread: [Option<MailWords>; MAX_VFS],
    rng: Rng,
    coming: BinaryHeap<Reverse<(Ns, u64, Coming)>>,
    serial: u64,
    timer: u64,
    naps: [u64; MAX_VFS],
    answers: VecDeque<Event>,
    out: Actions,
    trace: VecDeque<Step>,
    spins: u32,
}

/// What broke, as the referee says it.
pub type Verdict = Result<(), String>;

impl World {
    /// A world with no VF enabled.
    pub fn new(cfg: Config, rng: Rng) -> Self {
        Self {
            now: 1,
            engine: Engine::new(cfg),
            gpu: Gpu::default(),
            guests: Vec::new(),
            referee: Referee::default(),
            weather: Weather::default(),
            steps: 0,
            stopped: false,
            all_paused: false,
            detached: false,
            detachments: 0,
            leaving: false,
            lives: 0,
            users: u32::MAX,
            abandoned: 0,
            fills: true,
            restored: None,
            unread: [None; MAX_VFS],
            rng,
            coming: BinaryHeap::new(),
            serial: 0,
            timer: 0,
            naps: [0; MAX_VFS],
            answers: VecDeque::new(),
            out: Actions::new(),
            trace: VecDeque::with_capacity(TRACE),
            spins: 0,
        }
    }

    /// Enables VFs for these guests.
    pub fn enable(&mut self, guests: Vec<Guest>) -> Verdict {
        // The host waits for a GPU that is away.
        while self.detached && self.happen()? {}
        self.arrive()?;
        let count = guests.len();
        self.guests = guests;
        for guest in &mut self.guests {
            guest.curious = self.engine.config().protocol().exchange;
        }
        self.stopped = false;
        self.unread = [None; MAX_VFS];
        self.gpu.disable();
        self.referee.enabled(count);
        self.feed(Event::Enable { count: count as u8 })?;
        for n in 0..count {
            let first = self.rng.within(0..20 * MS);
            self.nap(n, first);
        }
        if self.weather.host {
            self.plan(MS, Coming::Host);
        }
        self.plan_detach();
        Ok(())
    }

    /// Disables VFs and waits until the engine has stopped.
    pub fn disable(&mut self) -> Verdict {
        self.arrive()?;
        self.guests.clear();
        self.referee.disabling(self.now);
        self.feed(Event::Disable)?;
        let limit = self.now + 60_000 * MS;
        // A GPU that is away comes back before anybody enables VFs again.
        while !self.stopped || self.detached {
            if self.now > limit || !self.happen()? {
                return Err("Stopped was never said".into());
            }
        }
        self.gpu.disable();
        self.referee.disabled();
        Ok(())
    }

    /// Lets things happen until `until`.
    pub fn run_until(&mut self, until: Ns) -> Verdict {
        while self.coming.peek().is_some_and(|next| next.0 .0 <= until) {
            self.happen()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Lets things happen until the engine was fed so many events.
    pub fn run_steps(&mut self, steps: u64) -> Verdict {
        let end = self.steps + steps;
        // Unless somebody else resets it, nothing happens to a dead GPU any more.
        let ends =
            |world: &Self| world.engine.phase() == Phase::Dead && world.weather.bus_resets == 0;
        while self.steps < end && !ends(self) && self.happen()? {}
        Ok(())
    }

    /// The last steps.
    pub fn trace(&self) -> String {
        let lines = self.trace.iter().map(|step| {
            let at = step.now as f64 / 1e6;
            format!(
                "{at:14.6} ms  {:?}\n        -> {:?}\n",
                step.event, step.actions
            )
        });
        lines.collect()
    }

    /// Feeds an event, and then what the engine wants to have read.
    pub fn feed(&mut self, event: Event) -> Verdict {
        self.step(event)?;
        while let Some(answer) = self.answers.pop_front() {
            let left = self.resets_to_tell();
            self.gpu.answering(left);
            self.step(answer)?;
        }
        self.arm()
    }

    /// What was read of RESET_NOTIFICATION and not fed yet.
    fn resets_to_tell(&self) -> u32 {
        let masks = self.answers.iter().map(|answer| match answer {
            Event::ResetSeen { mask, .. } => *mask,
            _ => 0,
        });
        masks.fold(0, |all, mask| all | mask)
    }

    fn step(&mut self, event: Event) -> Verdict {
        self.steps += 1;
        self.referee.before(self.now, &event, &self.engine);
        self.engine.step(self.now, event, &mut self.out);
        let actions = self.out.as_slice().to_vec();
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(Step {
            now: self.now,
            event,
            actions: actions.clone(),
        });
        if self.out.lost() != 0 {
            return Err(format!("{} actions did not fit", self.out.lost()));
        }
        for action in actions {
            self.act(action)?;
        }
        self.referee.after(self.now, &self.engine, &mut self.gpu)
    }

    /// Arms the timer to the engine's deadline.
    fn arm(&mut self) -> Verdict {
        self.timer += 1;
        if let Some(at) = self.engine.deadline() {
            let late = self.rng.within(0..self.weather.timer_late + 1);
            let wait = at.saturating_sub(self.now);
            self.spins = if wait == 0 { self.spins + 1 } else { 0 };
            if self.spins > 20 {
                return Err(format!("the deadline {at} stays in the past"));
            }
            self.plan(wait.saturating_add(late), Coming::Timer(self.timer));
        }
        Ok(())
    }

    fn plan(&mut self, wait: Ns, what: Coming) {
        self.serial += 1;
        let at = self.now.saturating_add(wait);
        self.coming.push(Reverse((at, self.serial, what)));
    }

    fn nap(&mut self, n: usize, sleep: Ns) {
        self.naps[n] += 1;
        self.plan(sleep, Coming::Guest(n, self.naps[n]));
    }

    /// Lets the next thing happen; false if nothing ever will.
    fn happen(&mut self) -> Result<bool, String> {
        let Some(Reverse((at, _, what))) = self.coming.pop() else {
            return Ok(false);
        };
        self.now = self.now.max(at);
        match what {
            Coming::Timer(armed) if armed == self.timer => self.feed(Event::Timer)?,
            Coming::Timer(_) => {}
            Coming::Irq => {
                let status = self.gpu.read_status(self.now);
                let source = StatusSource::Irq;
                self.feed(Event::CmdStatus { status, source })?;
            }
            Coming::Guest(n, nap) if n < self.guests.len() && self.naps[n] == nap => {
                let (deed, sleep) = self.guests[n].wake(&mut self.rng);
                self.nap(n, sleep);
                self.deed(n, deed)?;
            }
            Coming::Guest(..) => {}
            Coming::Ack(_) if self.detached => {}
            Coming::Ack(n) => self.feed(Event::MessageAck(vf(n)))?,
            Coming::ResetEffect(n) => self.flr(vf(n)),
            Coming::ResetDone(n) => self.work_done(Work::Reset(vf(n)))?,
            Coming::ScrubDone(n) => self.work_done(Work::Scrub(vf(n)))?,
            Coming::PrepareDone(n) => self.work_done(Work::Prepare(vf(n)))?,
            Coming::GpuResetDone => {
                let ok = !self.gpu.gone && !self.rng.chance(self.weather.work_fails, 10_000);
                if ok {
                    self.reset_gpu();
                }
                let work = Work::GpuReset;
                self.feed(Event::WorkDone { work, ok })?;
            }
            Coming::Filled(_) | Coming::Host | Coming::Detached if self.postponed(what) => {}
            Coming::Filled(n) if n < self.guests.len() => self.filled(n)?,
            Coming::Filled(_) => {}
            Coming::Host => self.host()?,
            Coming::Detached => {
                self.detach()?;
                self.plan_detach();
            }
            Coming::Attached(n) if n == self.detachments => self.attach()?,
            Coming::Attached(_) => {}
            Coming::Arrive => self.arrive()?,
        }
        Ok(true)
    }

    fn work_done(&mut self, work: Work) -> Verdict {
        let ok = !self.rng.chance(self.weather.work_fails, 10_000);
        self.feed(Event::WorkDone { work, ok })
    }

    fn deed(&mut self, n: usize, deed: Deed) -> Verdict {
        match deed {
            Deed::Nothing => Ok(()),
            Deed::Send(words) => self.hear(vf(n), words),
            Deed::Flr => {
                self.flr(vf(n));
                Ok(())
            }
            Deed::Hang => {
                self.gpu.hang(vf(n));
                Ok(())
            }
        }
    }

    /// A VF is reset, by whomever; what it has sent last is wiped.
    pub fn flr(&mut self, vf: VfId) {
        self.unread[vf.index()] = None;
        self.referee.flr(self.now, vf);
        self.gpu.flr(self.now, vf, &mut self.rng);
    }

    /// A VF has sent a message; it is only read if it is listened to.
    pub fn hear(&mut self, vf: VfId, words: MailWords) -> Verdict {
        if self.detached {
            // Its mailbox is reset with the rest.
            Ok(())
        } else if self.engine.takes_messages(vf)
            && !self.rng.chance(self.weather.lost_messages, 10_000)
        {
            self.feed(Event::Message { vf, words })
        } else {
            self.unread[vf.index()] = Some(words);
            Ok(())
        }
    }
}

/// The VF with an index that is known to be one.
pub fn vf(n: usize) -> VfId {
    VfId::new(n as u32).expect("fewer than MAX_VFS guests")
}
