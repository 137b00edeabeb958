// SPDX-License-Identifier: GPL-2.0

//! Where the migration of each VF is: the core's [`Phase`], kept in step with the engine.
//!
//! What happens to the VF itself (a pause, the end of a hold, a reset, by whomever) is not reported
//! here but seen: whoever asks brings how the VF stands now, and what has happened meanwhile
//! follows from the difference.

use kernel::prelude::*;

use crate::{
    gim_core::{
        migrate::{
            Happens,
            Operation,
            Phase, //
        },
        stream::Run,
    },
    gpu::hold::Stand,
};

/// Ranges that are kept apart; beyond, all pages count as touched.
const TOUCHED_MAX: usize = 64;

/// The migration of one VF.
pub(crate) struct Move {
    phase: Phase,
    /// How the VF stood when it was looked at last.
    seen: Option<Stand>,
    /// The stay during which nobody writes to the framebuffer without a report.
    promised: Option<u32>,
    /// What was reported.
    touched: KVec<Run>,
}

impl Move {
    pub(crate) const NONE: Self = Self {
        phase: Phase::Idle,
        seen: None,
        promised: None,
        touched: KVec::new(),
    };

    fn go(&mut self, what: Happens) {
        if let Some((to, _)) = self.phase.after(what) {
            self.phase = to;
        }
    }

    /// Where it is, now that the VF stands so.
    pub(crate) fn refresh(&mut self, now: Stand) -> Phase {
        let was = self.seen.replace(now).unwrap_or(now);
        if now.epoch.is_none() {
            self.go(Happens::Gone);
            return self.phase;
        }
        if was.epoch != now.epoch {
            self.go(Happens::Reset);
        } else if was.stay != now.stay {
            self.let_go();
        }
        if !now.ordered {
            self.let_go();
        }
        match (self.phase, now.held, now.bounded) {
            (Phase::Idle | Phase::PreCopy, true, true) => self.go(Happens::Hold),
            (Phase::Idle | Phase::PreCopy | Phase::Held, true, false) => self.go(Happens::Pause),
            _ => {}
        }
        self.phase
    }

    /// The VF was given back to the engine.
    fn let_go(&mut self) {
        match self.phase {
            Phase::Held => self.go(Happens::HoldOver),
            // Not held by a pause: the engine says when it ends.
            Phase::Restoring => {}
            phase if phase.is_off() => self.go(Happens::Resume),
            _ => {}
        }
    }

    /// The VF was taken for a restore; resets that came before are no concern of that.
    pub(crate) fn adopted(&mut self, now: Stand) -> Stand {
        self.seen = Some(now);
        now
    }

    /// Something happens that the engine does not know of. `EBUSY` where it has no place.
    pub(crate) fn happens(&mut self, now: Stand, what: Happens) -> Result {
        self.refresh(now);
        let (to, _) = self.phase.after(what).ok_or(EBUSY)?;
        self.phase = to;
        Ok(())
    }

    /// Whether something may be ordered of the engine: `EBUSY` if not.
    pub(crate) fn may_happen(&mut self, now: Stand, what: Happens) -> Result {
        self.refresh(now).after(what).map(drop).ok_or(EBUSY)
    }

    /// Whether users may do this now: `EBUSY` if not.
    pub(crate) fn allow(&mut self, now: Stand, what: Operation) -> Result {
        match self.refresh(now).allows(what) {
            true => Ok(()),
            false => Err(EBUSY),
        }
    }

    /// The VF is held, and nobody writes to its framebuffer without a report.
    pub(crate) fn promise(&mut self, now: Stand) {
        self.refresh(now);
        self.promised = Some(now.stay);
        self.touched.clear();
    }

    /// Whether that was said of the stay in which the VF is.
    pub(crate) fn is_promised(&self, now: Stand) -> bool {
        self.promised == Some(now.stay)
    }

    /// Pages may be written from now on. `EBUSY` unless the VF is held.
    pub(crate) fn touch(&mut self, now: Stand, run: Run) -> Result {
        if self.refresh(now) != Phase::Held {
            return Err(EBUSY);
        }
        if self.touched.len() < TOUCHED_MAX {
            return Ok(self.touched.push(run, GFP_KERNEL)?);
        }
        // Rather all than one too few.
        let all = Run {
            first: 0,
            count: u32::MAX,
        };
        self.touched.clear();
        self.touched.push(all, GFP_KERNEL)?;
        Ok(())
    }

    /// Takes what was reported.
    pub(crate) fn take_touched(&mut self) -> KVec<Run> {
        core::mem::replace(&mut self.touched, KVec::new())
    }
}
