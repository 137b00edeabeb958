// SPDX-License-Identifier: GPL-2.0

//! The simulated hardware: one seat, one command at a time, a save area, and a strict judge of the
//! order of commands.

use gim_core::{
    event::{Cmd, CmdKind, CmdStatus},
    switch::Seat,
    types::{Fcn, Ns, VfId, MAX_VFS, MS, US},
};

use crate::rng::Rng;

/// How often what goes wrong, in 1/10000 of the commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A command never completes.
    pub hang: u64,
    /// A command ends with a hang code.
    pub fail: u64,
    /// A command takes nearly as long as, or longer than, the watchdog.
    pub late: u64,
    /// The completion interrupt does not come.
    pub lost_irq: u64,
    /// A command for the PF never completes.
    pub pf_hang: u64,
}

/// The command that the hardware executes.
#[derive(Clone, Copy, Debug)]
struct Flight {
    cmd: Cmd,
    /// When it ends; `None` if it never does.
    ends: Option<Ns>,
    /// The status it ends with.
    status: CmdStatus,
}

/// What a command's issue leads to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Issued {
    /// When the completion interrupt comes, if it does.
    pub irq_at: Option<Ns>,
    /// What was illegal about it.
    pub violation: Option<&'static str>,
}

/// A GPU with one engine.
#[derive(Debug)]
pub struct Gpu {
    seat: Seat,
    flight: Option<Flight>,
    status: CmdStatus,
    notification: u32,
    /// What was read of it, and the driver may not have been told yet.
    answering: u32,
    /// The engine state of the function on the seat: a number that grows while it runs.
    live: u64,
    /// The save area.
    saved: [Option<u64>; MAX_VFS + 1],
    /// What each function's state must be when it comes back.
    expected: [Option<u64>; MAX_VFS + 1],
    /// Functions that came onto the seat by INIT, not by LOAD.
    initialised: [bool; MAX_VFS + 1],
    /// VFs that do not idle until they are reset.
    hung: u32,
    /// When the function on the seat began to run, and how long each has run.
    run_since: Ns,
    run: [Ns; MAX_VFS + 1],
    /// The latency of commands, in ns.
    pub latency: std::ops::Range<u64>,
    /// How much longer IDLE takes for each VF, in ns.
    pub slow_idle: [Ns; MAX_VFS],
    /// What goes wrong.
    pub faults: Faults,
    /// There is a completion interrupt.
    pub interrupts: bool,
    /// The device has been pulled out.
    pub gone: bool,
    /// What is loaded was replaced by another image, and must not run.
    replaced: bool,
    fresh: u64,
}

fn slot(f: Fcn) -> usize {
    f.vf().map_or(MAX_VFS, VfId::index)
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            seat: Seat::Empty,
            flight: None,
            status: CmdStatus::Done,
            notification: 0,
            answering: 0,
            live: 0,
            saved: [None; MAX_VFS + 1],
            expected: [None; MAX_VFS + 1],
            initialised: [false; MAX_VFS + 1],
            hung: 0,
            run_since: 0,
            run: [0; MAX_VFS + 1],
            latency: 20 * US..150 * US,
            slow_idle: [0; MAX_VFS],
            faults: Faults::default(),
            interrupts: true,
            gone: false,
            replaced: false,
            fresh: 1 << 32,
        }
    }
}

impl Gpu {
    /// Who is on the seat.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// Whether a command is being executed at `now`.
    pub fn busy(&mut self, now: Ns) -> bool {
        self.advance(now);
        self.flight.is_some()
    }

    /// Resets that the driver does not know of yet.
    pub fn unread_resets(&self) -> u32 {
        self.notification | self.answering
    }

    /// Of what it has read the driver has been told all but this.
    pub fn answering(&mut self, left: u32) {
        self.answering = left;
    }

    /// How long a function has run until `now`.
    pub fn run_time(&self, f: Fcn, now: Ns) -> Ns {
        let live = match self.seat {
            Seat::Running(g) if g == f => now.saturating_sub(self.run_since),
            _ => 0,
        };
        self.run[slot(f)] + live
    }

    /// Whether the save area holds what the function had when it ran last.
    pub fn is_saved(&self, vf: VfId) -> bool {
        let at = slot(Fcn::Vf(vf));
        self.saved[at].is_some() && self.saved[at] == self.expected[at]
    }

    /// The host writes an image into the VF's save slot. Unless it is `valid` it must never be loaded.
    pub fn plant(&mut self, vf: VfId, valid: bool) {
        let at = slot(Fcn::Vf(vf));
        self.fresh += 1 << 32;
        self.saved[at] = Some(self.fresh);
        self.expected[at] = self.saved[at].filter(|_| valid);
        // What the seat may have of it was loaded before.
        let f = Fcn::Vf(vf);
        self.replaced |= valid && matches!(self.seat, Seat::Loaded(g) | Seat::Fresh(g) if f == g);
    }

    /// Whether there is a state that the VF may be given back.
    pub fn may_load(&self, vf: VfId) -> bool {
        self.expected[vf.index()].is_some()
    }

    /// The VF's work does not end: it will not idle.
    pub fn hang(&mut self, vf: VfId) {
        self.hung |= vf.bit();
    }

    /// Issues a command.
    pub fn issue(&mut self, now: Ns, cmd: Cmd, rng: &mut Rng) -> Issued {
        if self.gone {
            return Issued::default();
        }
        self.advance(now);
        if self.flight.is_some() {
            return Issued {
                violation: Some("a command is in flight"),
                ..Issued::default()
            };
        }
        if cmd.kind == CmdKind::Run && self.replaced {
            return Issued {
                violation: Some("what was replaced runs"),
                ..Issued::default()
            };
        }
        let mut took = rng.within(self.latency.clone());
        if let (CmdKind::Idle, Some(vf)) = (cmd.kind, cmd.fcn.vf()) {
            took += self.slow_idle[vf.index()];
        }
        let mut flight = Flight {
            cmd,
            ends: Some(now + took),
            status: CmdStatus::Done,
        };
        if self.seat.after(cmd).is_none() {
            // A function that was reset behind the driver's back is no fault of the driver.
            let excused = cmd
                .fcn
                .vf()
                .is_some_and(|vf| self.unread_resets() & vf.bit() != 0);
            flight.status = CmdStatus::Failed(0x02);
            self.flight = Some(flight);
            return Issued {
                irq_at: flight.ends,
                violation: (!excused).then_some("illegal order"),
            };
        }
        self.inject(&mut flight, now, rng);
        let lost = !self.interrupts || rng.chance(self.faults.lost_irq, 10_000);
        self.flight = Some(flight);
        Issued {
            irq_at: flight.ends.filter(|_| !lost),
            violation: None,
        }
    }

    fn inject(&mut self, flight: &mut Flight, now: Ns, rng: &mut Rng) {
        let faults = self.faults;
        match flight.cmd.fcn {
            Fcn::Pf => {
                if rng.chance(faults.pf_hang, 10_000) {
                    flight.ends = None;
                }
            }
            Fcn::Vf(vf) => {
                let leaves = matches!(flight.cmd.kind, CmdKind::Idle | CmdKind::Save);
                if (leaves && self.hung & vf.bit() != 0) || rng.chance(faults.hang, 10_000) {
                    flight.ends = None;
                } else if rng.chance(faults.fail, 10_000) {
                    flight.status = CmdStatus::Failed(rng.pick(&[0x0E, 0x0F]));
                } else if rng.chance(faults.late, 10_000) {
                    flight.ends = Some(now + rng.within(10 * MS..70 * MS));
                }
            }
        }
    }

    /// Reads the command status.
    pub fn read_status(&mut self, now: Ns) -> CmdStatus {
        if self.gone {
            return CmdStatus::Gone;
        }
        self.advance(now);
        match self.flight {
            Some(_) => CmdStatus::Busy,
            None => self.status,
        }
    }

    /// Reads and clears RESET_NOTIFICATION.
    pub fn read_resets(&mut self) -> u32 {
        self.answering |= self.notification;
        std::mem::take(&mut self.notification)
    }

    /// A VF is reset, by whomever.
    pub fn flr(&mut self, now: Ns, vf: VfId, rng: &mut Rng) {
        self.advance(now);
        let f = Fcn::Vf(vf);
        self.notification |= vf.bit();
        self.hung &= !vf.bit();
        self.expected[slot(f)] = None;
        if self.seat.fcn() == Some(f) {
            self.book(now);
            self.seat = Seat::Empty;
            self.replaced = false;
        }
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.cmd.fcn == f) {
            // The command ends soon, one way or another.
            flight.ends = Some(now + rng.within(0..20 * US));
            flight.status = rng.pick(&[CmdStatus::Failed(0x02), CmdStatus::Done]);
            flight.cmd.kind = CmdKind::Save;
        }
    }

    /// The whole GPU is reset: nothing is left but who is enabled.
    pub fn reset(&mut self, now: Ns, vfs: u32) {
        self.advance(now);
        self.book(now);
        self.seat = Seat::Empty;
        self.replaced = false;
        self.flight = None;
        self.status = CmdStatus::Done;
        self.disable();
        self.saved[MAX_VFS] = None;
        self.expected[MAX_VFS] = None;
        self.notification = vfs;
    }

    /// VFs have been disabled: nothing of them is left.
    pub fn disable(&mut self) {
        self.notification = 0;
        self.hung = 0;
        for at in 0..MAX_VFS {
            self.expected[at] = None;
            self.saved[at] = None;
        }
    }

    fn book(&mut self, now: Ns) {
        if let Seat::Running(f) = self.seat {
            let ran = now.saturating_sub(self.run_since);
            self.run[slot(f)] += ran;
            self.live = self.live.wrapping_add(ran + 1);
        }
    }

    /// Completes the command whose time has come.
    fn advance(&mut self, now: Ns) {
        let Some(flight) = self.flight else { return };
        let Some(ends) = flight.ends.filter(|&at| at <= now) else {
            return;
        };
        self.flight = None;
        self.status = flight.status;
        let at = slot(flight.cmd.fcn);
        let Some(seat) = self.seat.after(flight.cmd) else {
            return;
        };
        if flight.status != CmdStatus::Done {
            return;
        }
        self.book(ends);
        self.seat = seat;
        match flight.cmd.kind {
            CmdKind::Idle => {}
            CmdKind::Save => {
                self.saved[at] = Some(self.live);
                self.expected[at] = Some(self.live);
            }
            CmdKind::Load => {
                self.replaced = false;
                self.initialised[at] = false;
                self.live = self.saved[at].unwrap_or(0);
            }
            CmdKind::Init => {
                self.replaced = false;
                self.initialised[at] = true;
                self.fresh += 1 << 32;
                self.live = self.fresh;
                self.expected[at] = Some(self.fresh);
            }
            CmdKind::Run => self.run_since = ends,
        }
    }

    /// Whether the VF was given fresh state when it came onto the seat last.
    pub fn was_initialised(&self, vf: VfId) -> bool {
        self.initialised[vf.index()]
    }

    /// What is wrong with the state that the function on the seat was given, if anything.
    pub fn wrong_state(&self) -> Option<String> {
        let f = match self.seat {
            Seat::Loaded(f) | Seat::Fresh(f) if !self.replaced => f,
            _ => return None,
        };
        let want = self.expected[slot(f)]?;
        (self.live != want).then(|| format!("{f:?} has state {:#x}, not {want:#x}", self.live))
    }
}
