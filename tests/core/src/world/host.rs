// SPDX-License-Identifier: GPL-2.0

//! The host: it fills VFs that were taken for a restore, and its operator does as he likes.

use gim_core::{
    access::Access,
    config::{Mode, Policy},
    engine::Adoption,
    event::{CmdStatus, Event, StatusSource},
    mailbox::GuestMessage,
    types::{MS, US},
    vf::VfState,
};

use super::{vf, Coming, Verdict, World};
use crate::{campaign, guest::Stage};

impl World {
    /// The host has filled a VF as a stream said; or it gives up; or it gets it wrong.
    pub(super) fn filled(&mut self, n: usize) -> Verdict {
        let (vf, had) = (vf(n), self.engine.adoption(vf(n)));
        match self.rng.within(0..8) {
            0 => return self.feed(Event::ResetVf(vf)),
            // Too early.
            1 => {
                self.plan(10 * MS, Coming::Filled(n));
                return self.feed(Event::Resume(vf));
            }
            _ => {}
        }
        let loaded = self.rng.chance(3, 4);
        let wants = [None, None, Some(Access::Init), Some(Access::Reset)];
        let want = match loaded {
            true => self.rng.pick(&[None, None, None, Some(Access::Fini)]),
            false => self.rng.pick(&wants),
        };
        // The shell writes to the slot of a VF that is its own only. It cannot know that the VF was
        // reset a moment ago.
        if had == Adoption::Taken {
            let unread = self.gpu.unread_resets() & vf.bit() != 0;
            self.gpu.plant(vf, loaded && !unread);
        }
        self.restored = None;
        self.feed(Event::Adopted { vf, loaded, want })?;
        let told = self.restored.take();
        if told != Some((vf, had == Adoption::Taken)) {
            return Err(format!("{vf:?} was {had:?} and is restored: {told:?}"));
        }
        if had != Adoption::Taken {
            return Ok(());
        }
        self.arrives(n, loaded, want);
        if self.engine.has_left() {
            // That was the last thing the driver has waited for.
            return Ok(());
        }
        if self.rng.chance(1, 8) {
            self.feed(Event::ResetVf(vf))?;
        }
        match self.rng.chance(3, 4) {
            true => self.feed(Event::Resume(vf)),
            // The operator does, some time.
            false => Ok(()),
        }
    }

    /// The guest that the stream has brought.
    fn arrives(&mut self, n: usize, loaded: bool, want: Option<Access>) {
        let guest = &mut self.guests[n];
        guest.stage = match want {
            Some(Access::Init) => Stage::Asked(GuestMessage::ReqInit),
            Some(Access::Fini) => Stage::Asked(GuestMessage::ReqFini),
            Some(Access::Reset) => Stage::Asked(GuestMessage::ReqReset),
            None if loaded => Stage::Loaded,
            None => Stage::Off,
        };
        let sleep = match want {
            Some(_) => 12_000 * MS,
            None => self.rng.within(MS..200 * MS),
        };
        self.nap(n, sleep);
    }

    /// The operator does something at random.
    pub(super) fn host(&mut self) -> Verdict {
        if self.guests.is_empty() {
            return Ok(());
        }
        let again = self.rng.within(MS..200 * MS);
        self.plan(again, Coming::Host);
        let n = self.rng.within(0..self.guests.len() as u64) as usize;
        match self.rng.within(0..30) {
            0 => self.feed(Event::Pause(vf(n))),
            1 => {
                let (vf, ns) = (vf(n), self.rng.within(MS..2000 * MS));
                self.feed(Event::Hold { vf, ns })
            }
            2..=4 => self.feed(Event::Resume(vf(n))),
            5 => self.feed(Event::ResetVf(vf(n))),
            6..=7 => self.feed(Event::PfWork(true)),
            8..=9 => self.feed(Event::PfWork(false)),
            10 => {
                let share = campaign::share(&mut self.rng);
                let _ = self.engine.set_share(vf(n), share);
                Ok(())
            }
            11 => {
                let policy = self.rng.pick(&[Policy::RoundRobin, Policy::Qos]);
                self.engine.set_policy(policy);
                Ok(())
            }
            12 => {
                let mode = self.rng.pick(&[Mode::Strict, Mode::WorkConserving]);
                self.engine.set_mode(mode);
                Ok(())
            }
            20..=23 => self.feed(Event::Adopt(vf(n))),
            24 => {
                // Not of a VF that the host has.
                let loaded = self.rng.chance(1, 2);
                let (vf, want) = (vf(n), None);
                match self.engine.adoption(vf) {
                    Adoption::Taken => Ok(()),
                    _ => self.feed(Event::Adopted { vf, loaded, want }),
                }
            }
            25 => {
                if self.engine.vf_state(vf(n)) == VfState::Suspended {
                    self.referee.seals(vf(n));
                }
                self.feed(Event::Seal(vf(n)))
            }
            18 => self.feed(Event::Look),
            26..=28 => self.leave(),
            29 => {
                self.users ^= vf(n).bit();
                Ok(())
            }
            14 => self.feed(Event::PauseAll),
            15..=16 => self.feed(Event::ResumeAll),
            17 => {
                let mask = self.rng.bits() as u32;
                self.feed(Event::Busy { mask })
            }
            13 => {
                let slice = self.rng.pick(&[100 * US, MS, 6 * MS, 20 * MS]);
                // Refused where bounds on waits leave no room.
                let _ = self.engine.set_slice(vf(n), slice);
                Ok(())
            }
            _ => {
                // A stray interrupt.
                let status = CmdStatus::Busy;
                let source = StatusSource::Irq;
                self.feed(Event::CmdStatus { status, source })
            }
        }
    }
}
