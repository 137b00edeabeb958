// SPDX-License-Identifier: GPL-2.0

//! What the engine may do, and when.

use gim_core::{
    engine::{Engine, Phase, READY_WAIT},
    event::{Action, Cmd, CmdKind, Note, ResetReason, Work},
    guard::Limit,
    mailbox::{GuestMessage, HostMessage},
    switch::Seat,
    types::{Fcn, Ns, VfId},
    vf::VfState,
};

use super::{no, Referee, Told};
use crate::{gpu::Gpu, world::Verdict};

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

impl Referee {
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
        each.unread = true;
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
                each.unread &= to == VfState::FullAccess;
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
            Note::Reset { vf, reason } => {
                let each = &mut self.vfs[vf.index()];
                if each.unread && reason == ResetReason::GpuReset {
                    // It was wiped with the mailbox, and so has not been given.
                    each.asked = Some(now);
                }
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
}
