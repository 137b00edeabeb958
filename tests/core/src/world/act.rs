// SPDX-License-Identifier: GPL-2.0

//! What the engine orders, done: by the GPU, by slow work that ends some time, and by guests who hear.

use gim_core::{
    event::{Action, Event, Note, ResetReason, StatusSource, Work},
    types::{MS, US},
};

use super::{Coming, Verdict, World};

impl World {
    pub(super) fn act(&mut self, action: Action) -> Verdict {
        self.referee
            .action(self.now, &action, &self.engine, &mut self.gpu)?;
        match action {
            Action::Note(Note::Reset {
                vf,
                reason: ResetReason::Abandoned,
            }) => {
                if self.users & vf.bit() != 0 {
                    return Err(format!("{vf:?} is reset, but somebody has it open"));
                }
                self.abandoned += 1;
            }
            Action::Command(cmd) => {
                let issued = self.gpu.issue(self.now, cmd, &mut self.rng);
                if let Some(what) = issued.violation {
                    return Err(format!("{what}: {cmd:?}, seat {:?}", self.gpu.seat()));
                }
                if let Some(at) = issued.irq_at {
                    let late = self.rng.within(0..2 * US);
                    self.plan(at - self.now + late, Coming::Irq);
                }
            }
            Action::ReadStatus => {
                let status = self.gpu.read_status(self.now);
                let source = StatusSource::Poll;
                self.answers.push_back(Event::CmdStatus { status, source });
            }
            Action::ReadResets(_) if self.gpu.gone => self.answers.push_back(Event::Gone),
            Action::ReadResets(read) => {
                let mask = self.gpu.read_resets();
                self.answers.push_back(Event::ResetSeen { read, mask });
            }
            Action::ReadUsers => self.answers.push_back(Event::Users { mask: self.users }),
            Action::Send { vf, words, .. } => {
                let n = vf.index();
                if let Some(guest) = self.guests.get_mut(n) {
                    guest.answers &= self.engine.config().protocol().ready_to_reset;
                    if let Some(sleep) = guest.hear(&words, &mut self.rng) {
                        self.nap(n, sleep);
                    }
                    if self.rng.chance(3, 4) {
                        self.plan(50 * US, Coming::Ack(n));
                    }
                }
            }
            Action::Queue(Work::Reset(vf)) => {
                let after = self.rng.within(10 * US..MS);
                self.plan(after, Coming::ResetEffect(vf.index()));
                let done = after + self.rng.within(self.weather.reset.clone());
                self.plan(done, Coming::ResetDone(vf.index()));
            }
            Action::Queue(Work::Scrub(vf)) => {
                let done = self.rng.within(self.weather.scrub.clone());
                self.plan(done, Coming::ScrubDone(vf.index()));
            }
            Action::Queue(Work::Prepare(vf)) => {
                let done = self.rng.within(10 * US..5 * MS);
                self.plan(done, Coming::PrepareDone(vf.index()));
            }
            Action::Queue(Work::GpuReset) => {
                let done = self.rng.within(300 * MS..600 * MS);
                self.plan(done, Coming::GpuResetDone);
            }
            Action::Listen(vf) => {
                if let Some(words) = self.unread[vf.index()].take() {
                    self.answers.push_back(Event::Message { vf, words });
                }
            }
            Action::Stopped => self.stopped = true,
            Action::AllPaused => self.all_paused = true,
            Action::Adopted { vf, ok: true } if self.fills => {
                let fills = self.rng.within(100 * US..50 * MS);
                self.plan(fills, Coming::Filled(vf.index()));
            }
            Action::Restored { vf, ok } => self.restored = Some((vf, ok)),
            Action::Adopted { .. }
            | Action::Left { .. }
            | Action::ClearValid(_)
            | Action::PfRuns(_)
            | Action::Paused(_)
            | Action::Note(_) => {}
        }
        Ok(())
    }
}
