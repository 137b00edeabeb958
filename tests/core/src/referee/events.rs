// SPDX-License-Identifier: GPL-2.0

//! What the judge learns from events, before the engine does.

use gim_core::{
    engine::Engine,
    event::{Event, Work},
    mailbox::GuestMessage,
    types::Ns,
};

use super::Referee;
use crate::world;

impl Referee {
    /// An event is about to be fed.
    pub fn before(&mut self, now: Ns, event: &Event, engine: &Engine) {
        for (n, each) in self.vfs.iter_mut().enumerate().take(self.count) {
            let vf = world::vf(n);
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
            Event::MessageAck(vf) => self.vfs[vf.index()].unread = false,
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
}
