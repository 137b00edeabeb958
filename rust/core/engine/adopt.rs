// SPDX-License-Identifier: GPL-2.0

//! VFs that the host fills from a stream (adoption), and VFs whose state it takes (sealing).
//!
//! ```text
//!            Adopt                Adopted                    Adopted { loaded, .. }         Resume
//!   clean ----------> Waiting ------------------> Taken ---------------------> Restored ------------> runs
//!   VF       waits for resets and scrubs,     the host fills     next command
//!            then until nothing of it runs    framebuffer, slot  for it: LOAD
//! ```
//!
//! From `Taken` on nothing of the VF runs and none of its messages is read. A reset, whoever causes
//! it, ends an adoption: the VF is scrubbed, is available again, and what the host still says of
//! it is refused. That is also how the host gives up: by [`Event::ResetVf`](super::Event).

use super::super::{
    access::Access,
    account::COUNTERS,
    actions::Actions,
    event::Action,
    record::{
        Reader,
        Unfit, //
    },
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        VfId, //
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

/// How far the adoption of a VF is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It is not being adopted.
    None,
    /// It will be, once resets and scrubs have ended and nothing of it runs.
    Waiting,
    /// The host may fill it.
    Taken,
    /// It has been filled, and will run after [`super::Event::Resume`].
    Restored,
}

/// Which VFs are adopted and sealed: one bit per VF.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adoptions {
    waiting: u32,
    /// Those of them that were taken just now: what is being read may show a reset of them.
    pub(super) fresh: u32,
    /// The read that tells.
    pub(super) read: u64,
    taken: u32,
    restored: u32,
    /// VFs whose messages stay unread.
    pub(super) sealed: u32,
}

impl Adoptions {
    pub(super) const NONE: Self = Self {
        waiting: 0,
        fresh: 0,
        read: 0,
        taken: 0,
        restored: 0,
        sealed: 0,
    };

    /// Whether nobody is filling the VF, or waits to.
    pub(super) const fn rest(&self, vf: VfId) -> bool {
        (self.waiting | (self.taken & !self.restored)) & vf.bit() == 0
    }

    /// The masks of one at [`Self::rest`] for every VF.
    pub(super) const fn masks(&self) -> [u32; 3] {
        [self.taken, self.restored, self.sealed]
    }

    /// Reads them.
    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        from.masks([&mut self.taken, &mut self.restored, &mut self.sealed])
    }
}

impl Engine {
    /// How far the adoption of the VF is.
    pub const fn adoption(&self, vf: VfId) -> Adoption {
        let (all, bit) = (&self.adoptions, vf.bit());
        if all.waiting & bit != 0 {
            Adoption::Waiting
        } else if all.restored & bit != 0 {
            Adoption::Restored
        } else if all.taken & bit != 0 {
            Adoption::Taken
        } else {
            Adoption::None
        }
    }

    /// Whether the guest's driver is loaded: then, while the VF is suspended, its context image is
    /// in its save area.
    pub const fn loaded(&self, vf: VfId) -> bool {
        self.vfs[vf.index()].loaded
    }

    /// What the guest has asked and was not granted yet.
    pub const fn wants(&self, vf: VfId) -> Option<Access> {
        self.vfs[vf.index()].want
    }

    /// Resets the VF has had, whoever caused them: what was read of it before is void after one.
    pub const fn resets(&self, vf: VfId) -> u64 {
        self.vfs[vf.index()].stats.resets
    }

    /// Adds what an adopted VF has had elsewhere to its counters; false, and nothing is changed,
    /// unless it is [`Adoption::Taken`]. The longest gap is the longer one of both.
    pub fn add_counters(&mut self, vf: VfId, had: &[u64; COUNTERS]) -> bool {
        let taken = self.adoption(vf) == Adoption::Taken;
        if taken {
            self.vf(vf).stats.add_counters(had);
        }
        taken
    }

    /// Whether the VF is on the engine in a way that its save area does not tell of.
    pub(super) fn occupies(&self, vf: VfId) -> bool {
        let fcn = Fcn::Vf(vf);
        let seated = matches!(self.seat, Seat::Running(f) | Seat::Idled(f) if f == fcn);
        let flies = self.flight.as_ref().is_some_and(|f| f.cmd.fcn == fcn);
        self.blocked == Some(vf) || seated || flies
    }

    /// The host wants to fill a VF.
    pub(super) fn adopt(&mut self, vf: VfId, out: &mut Actions) {
        self.users.forget(vf);
        if self.adoption(vf) == Adoption::Waiting {
            // One answer will do for both.
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        }
        match self.may_be_adopted(vf) {
            true => self.adoptions.waiting |= vf.bit(),
            false => out.push(Action::Adopted { vf, ok: false }),
        }
    }

    /// Whether the VF is clean and free, or soon will be.
    fn may_be_adopted(&self, vf: VfId) -> bool {
        let open = matches!(self.phase, Phase::On | Phase::Recovering) && vf.raw() < self.count;
        let state = self.vf_state(vf);
        let free = matches!(
            state,
            VfState::Available | VfState::Unavailable | VfState::Resetting
        );
        open && free
    }

    /// Takes VFs that are to be adopted and have become available.
    pub(super) fn take_adopted(&mut self, out: &mut Actions) {
        for vf in VfId::in_mask(self.adoptions.waiting) {
            // What is being written must not land in what the host fills.
            if self.vf_state(vf) != VfState::Available || self.vf(vf).prepare_since.is_some() {
                continue;
            }
            // Whoever asked has gone: another guest comes.
            self.vf(vf).want = None;
            self.queue.remove(vf);
            self.delayed &= !vf.bit();
            self.unprepare(vf);
            self.shift(vf, VfEvent::Suspend, out);
            self.adoptions.sealed |= vf.bit();
            // A VF that was reset meanwhile has to be scrubbed first.
            self.read_resets(out);
            self.hold = self.reads.last();
            self.adoptions.fresh |= vf.bit();
            self.adoptions.read = self.hold;
        }
    }

    /// Says [`Action::Adopted`] for VFs that were taken and of which nothing runs, and for those
    /// that cannot be.
    pub(super) fn tell_adopted(&mut self, out: &mut Actions) {
        for vf in VfId::in_mask(self.adoptions.waiting & !self.adoptions.fresh) {
            let taken = self.vf_state(vf) == VfState::Suspended;
            let waits = match taken {
                true => self.occupies(vf),
                false => self.may_be_adopted(vf),
            };
            if waits {
                continue;
            }
            self.adoptions.waiting &= !vf.bit();
            if taken {
                self.adoptions.taken |= vf.bit();
            }
            out.push(Action::Adopted { vf, ok: taken });
        }
    }

    /// The host does not wait for the VF any more: it must not be taken when it becomes clean.
    pub(super) fn drop_adoption(&mut self, vf: VfId, out: &mut Actions) {
        if self.adoptions.waiting & vf.bit() != 0 {
            self.adoptions.waiting &= !vf.bit();
            out.push(Action::Adopted { vf, ok: false });
        }
    }

    /// The host has filled a VF.
    pub(super) fn adopted(
        &mut self,
        vf: VfId,
        loaded: bool,
        want: Option<Access>,
        out: &mut Actions,
    ) {
        let ok = self.adoption(vf) == Adoption::Taken;
        if ok {
            self.adoptions.restored |= vf.bit();
            // The hardware cannot know yet whether it has work.
            self.busy |= vf.bit();
            let each = self.vf(vf);
            each.loaded = loaded;
            each.context = match loaded {
                // What the seat may still have of this VF is not what was restored.
                true => Context::Restored,
                false => Context::Clear,
            };
            if let Some(kind) = want {
                self.ask(vf, kind);
            }
        }
        out.push(Action::Restored { vf, ok });
    }

    /// Whether the VF may be given back: one that is being adopted only once it has been filled.
    pub(super) fn may_resume(&self, vf: VfId) -> bool {
        matches!(self.adoption(vf), Adoption::None | Adoption::Restored)
    }

    /// The host takes the state of a suspended VF: its messages stay unread until it runs again.
    pub(super) fn seal(&mut self, vf: VfId) {
        match self.vf_state(vf) {
            VfState::Suspended => self.adoptions.sealed |= vf.bit(),
            _ => self.stats.stray = self.stats.stray.saturating_add(1),
        }
    }

    /// The VF is suspended no longer.
    pub(super) fn unseal(&mut self, vf: VfId) {
        let all = &mut self.adoptions;
        all.taken &= !vf.bit();
        all.restored &= !vf.bit();
        if all.sealed & vf.bit() != 0 {
            all.sealed &= !vf.bit();
            // It is listened to as if it had been silenced for what it sent.
            self.muted |= vf.bit();
        }
    }
}
