// SPDX-License-Identifier: GPL-2.0

//! What guests ask. Nothing of it is trusted: what has no place where it comes is dropped.
//!
//! | message | state | what happens |
//! |---|---|---|
//! | REQ_INIT | available, unavailable, resetting, suspended | queued until it can be granted |
//! | REQ_INIT | active | the guest has crashed: its context is dropped, then as above |
//! | REQ_INIT | full access | while READY is on its way: the same request; later: as a crash |
//! | REQ_FINI | full access | the access goes on as one to unload, its bound stays |
//! | REQ_FINI | other | queued; an active VF is scheduled on meanwhile |
//! | REQ_RESET | unavailable, resetting | queued: it is being reset |
//! | REQ_RESET | other | reset, then as REQ_INIT |
//! | REL_INIT, REL_FINI | full access of that kind, READY sent | full access ends |
//! | REL_INIT, REL_FINI | other | dropped |
//! | REQ_INIT_DATA | full access | dropped, and always where guests of the chip do not know it |
//! | REQ_INIT_DATA | other | answered once it is written |
//! | READY_TO_RESET | told of a reset that has not begun | the reset begins |
//! | READY_TO_RESET | other | dropped |
//! | any | quarantined, not enabled | dropped |
//! | any | being adopted, or sealed | not read until the VF runs again |

use super::super::{
    access::{
        Access,
        Holder, //
    },
    actions::Actions,
    event::{
        Action,
        MailWords,
        Note,
        ResetReason, //
    },
    mailbox::GuestMessage,
    switch::Context,
    types::VfId,
    vf::{
        VfEvent,
        VfState, //
    },
};
use super::{
    Engine,
    Phase, //
};

impl Engine {
    /// A VF has sent a message.
    pub(super) fn message(&mut self, vf: VfId, words: &MailWords, out: &mut Actions) {
        let open = matches!(self.phase, Phase::On | Phase::Recovering) && vf.raw() < self.count;
        let state = self.vf(vf).state;
        let stats = &mut self.vf(vf).stats;
        stats.messages = stats.messages.saturating_add(1);
        let message = GuestMessage::parse(words);
        let open = open && state != VfState::Quarantined && self.takes(vf, out);
        let known = message.filter(|_| open);
        let done = match known {
            Some(GuestMessage::ReqInit) => self.req_init(vf, out),
            Some(GuestMessage::ReqFini) => self.req_fini(vf, out),
            Some(GuestMessage::ReqReset) => self.req_reset(vf, out),
            Some(GuestMessage::RelInit) => self.release(vf, true, out),
            Some(GuestMessage::RelFini) => self.release(vf, false, out),
            Some(GuestMessage::ReqInitData) => self.req_init_data(vf, out),
            Some(GuestMessage::ReadyToReset) => self.ready_to_reset(vf),
            None => false,
        };
        if !done {
            let stats = &mut self.vf(vf).stats;
            stats.dropped = stats.dropped.saturating_add(1);
            if !self.takes_messages(vf) {
                // That was said once.
                return;
            }
            let code = words[0];
            out.push(Action::Note(Note::MessageDropped { vf, code }));
        }
    }

    /// The holder, if it is this VF.
    fn held_by(&self, vf: VfId) -> Option<Holder> {
        self.holder.filter(|holder| holder.vf == vf)
    }

    fn req_init(&mut self, vf: VfId, out: &mut Actions) -> bool {
        match self.held_by(vf) {
            Some(holder) if holder.ready.is_none() => {
                let kind = match holder.kind {
                    Access::Fini => Access::Init,
                    kind => kind,
                };
                if holder.kind == Access::Fini {
                    self.forget_guest(vf);
                }
                self.holder = Some(Holder { kind, ..holder });
                return true;
            }
            Some(_) => {
                self.end_access();
                self.shift(vf, VfEvent::Unloaded, out);
            }
            None if self.vf(vf).state == VfState::Active => {
                self.shift(vf, VfEvent::Unloaded, out);
            }
            None => {}
        }
        self.forget_guest(vf);
        self.look_before_preparing(vf, out);
        self.ask(vf, Access::Init)
    }

    fn req_fini(&mut self, vf: VfId, out: &mut Actions) -> bool {
        let Some(holder) = self.held_by(vf) else {
            return self.ask(vf, Access::Fini);
        };
        self.holder = Some(Holder {
            kind: Access::Fini,
            read: false,
            ..holder
        });
        if holder.ready.is_some() {
            self.send_ready(vf, out);
        }
        true
    }

    fn req_reset(&mut self, vf: VfId, out: &mut Actions) -> bool {
        self.ask(vf, Access::Reset);
        let state = self.vf(vf).state;
        if !matches!(state, VfState::Unavailable | VfState::Resetting) {
            self.reset(vf, ResetReason::GuestRequest, out);
        }
        true
    }

    /// A VF has acknowledged what was sent to it last.
    pub(super) fn acknowledged(&mut self, vf: VfId, out: &mut Actions) {
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.vf == vf) {
            holder.read |= holder.ready.is_some();
        }
        out.push(Action::ClearValid(vf));
    }

    /// Remembers what the guest wants; a later request replaces an earlier one.
    pub(super) fn ask(&mut self, vf: VfId, kind: Access) -> bool {
        let each = self.vf(vf);
        each.want = Some(kind);
        each.retried = false;
        self.queue.push(vf);
        true
    }

    /// Whatever driver was loaded is there no longer.
    fn forget_guest(&mut self, vf: VfId) {
        let each = self.vf(vf);
        each.loaded = false;
        each.context = Context::Clear;
    }

    fn release(&mut self, vf: VfId, loaded: bool, out: &mut Actions) -> bool {
        let Some(holder) = self.held_by(vf) else {
            return false;
        };
        let loads = holder.kind != Access::Fini;
        if holder.ready.is_none() || loads != loaded {
            return false;
        }
        if loaded {
            self.vf(vf).loaded = true;
            self.shift(vf, VfEvent::Loaded, out);
        } else {
            self.forget_guest(vf);
            self.shift(vf, VfEvent::Unloaded, out);
        }
        self.end_access();
        true
    }
}
