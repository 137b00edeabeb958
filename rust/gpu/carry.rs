// SPDX-License-Identifier: GPL-2.0

//! What a VF is besides its framebuffer and its context: read for a save, set by a restore.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    hold::Epoch,
    Gpu, //
};
use crate::{
    ffi::timer,
    gim_core::{
        access::Access,
        engine::Adoption,
        event::{
            Event,
            MailWords, //
        },
        stream::{
            Mailbox,
            State,
            Want, //
        },
        types::VfId, //
    }, //
};

/// How long a VF may take to become clean: as when VFs are enabled.
const ADOPT_LIMIT_MS: u32 = 180_000;

/// Number of the register BAR of a VF.
const REGISTER_BAR: u8 = 5;

impl Gpu {
    /// Takes a VF that is nobody's for a restore: it is held until it is filled and resumed, or
    /// reset. Waits while it is being cleaned.
    ///
    /// Errors: `EBUSY` it is in use; `EINTR`, `ETIMEDOUT` it did not become clean in time.
    pub(crate) fn adopt(self: &Arc<Self>, vf: VfId) -> Result {
        let mut st = self.state.lock();
        Self::feed(self.as_arc_borrow(), &mut st, Event::Adopt(vf));
        drop(st);
        let waited = self.wait(ADOPT_LIMIT_MS, |st| {
            st.engine.adoption(vf) != Adoption::Waiting
        });
        match waited {
            Ok(()) => {}
            Err(e) => {
                self.give_up_vf(vf);
                return Err(e.into());
            }
        }
        match self.with(|st| st.engine.adoption(vf)) {
            Adoption::Taken => Ok(()),
            _ => Err(EBUSY),
        }
    }

    /// What the engine knows of a paused VF, and the messages that the other side has not taken. Its
    /// own stay unread from here on.
    pub(crate) fn export_vf(self: &Arc<Self>, vf: VfId) -> (State, Mailbox) {
        let mut st = self.state.lock();
        Self::feed(self.as_arc_borrow(), &mut st, Event::Seal(vf));
        let now = timer::now_ns();
        let config = st.engine.config();
        let state = State {
            loaded: st.engine.loaded(vf),
            want: to_want(st.engine.wants(vf)),
            slice: config.slice(vf),
            share: config.share(vf),
            counters: st.engine.vf_stats(vf, now).counters(),
        };
        let sent = self.hw.hal.unacknowledged(&self.hw, vf);
        let untaken = self.hw.hal.untaken(&self.hw, vf);
        drop(st);
        // Sealed: nobody takes another message meanwhile.
        let taken = self.taken_unseen(vf);
        let mailbox = Mailbox {
            to_guest: sent.unwrap_or_default(),
            from_guest: untaken.or(taken).unwrap_or_default(),
            to_valid: sent.is_some(),
            from_valid: untaken.is_some(),
            from_taken: taken.is_some(),
        };
        (state, mailbox)
    }

    /// The message that a VF has sent and that was taken, while its VALID still stands.
    fn taken_unseen(&self, vf: VfId) -> Option<MailWords> {
        let dev = self.hw.pf.vf(vf.raw())?;
        let read = |at: u32| {
            let window = dev.registers(REGISTER_BAR, u64::from(at), 4).ok()?;
            Some(window.read32(0))
        };
        self.hw.hal.taken_unseen(&read)
    }

    /// Registers of a VF that are no part of its context: number and value.
    pub(crate) fn read_vf_registers(&self, vf: VfId) -> Result<KVec<(u32, u32)>> {
        let dev = self.hw.pf.vf(vf.raw()).ok_or(ENODEV)?;
        let mut list = KVec::new();
        for at in self.hw.hal.vf_registers() {
            let window = dev.registers(REGISTER_BAR, u64::from(at), 4)?;
            list.push((at, window.read32(0)), GFP_KERNEL)?;
        }
        Ok(list)
    }

    /// Gives a VF that was adopted its state; its context image is in its place already.
    ///
    /// Errors: `EIO` it was reset meanwhile; `EINVAL` a register that is none of its chip's.
    pub(crate) fn import_vf(
        self: &Arc<Self>,
        (vf, epoch): (VfId, Epoch),
        state: &State,
        registers: &[(u32, u32)],
        mailbox: &Mailbox,
        again: bool,
    ) -> Result {
        let known = self.hw.hal.vf_registers();
        if registers.iter().any(|(at, _)| !known.contains(at)) {
            return Err(EINVAL);
        }
        let dev = self.hw.pf.vf(vf.raw()).ok_or(ENODEV)?;
        let write = |&(at, value): &(u32, u32)| -> Result {
            let window = dev.registers(REGISTER_BAR, u64::from(at), 4)?;
            window.write32(0, value);
            Ok(())
        };
        registers.iter().try_for_each(write)?;
        // If it was loaded, the context has it, with all else of the mailbox.
        let stands = (mailbox.from_valid || mailbox.from_taken) && !state.loaded;
        if stands {
            let sent = self.hw.hal.as_sent(mailbox.from_guest);
            sent.iter().try_for_each(write)?;
        }
        if self.epoch(vf) != Some(epoch) {
            return Err(EIO);
        }
        let mut st = self.state.lock();
        if stands && mailbox.from_taken {
            // Its meaning is in `want`; what is missing is the acknowledgement.
            let _ = self.hw.hal.receive(&self.hw, vf);
        }
        st.engine.add_counters(vf, &state.counters);
        let event = Event::Adopted {
            vf,
            loaded: state.loaded,
            want: from_want(state.want),
        };
        Self::feed(self.as_arc_borrow(), &mut st, event);
        if st.engine.adoption(vf) != Adoption::Restored {
            return Err(EIO);
        }
        // The decoder has checked the range.
        let _ = st.engine.set_slice(vf, state.slice);
        if mailbox.to_valid {
            self.hw.hal.send(&self.hw, vf, mailbox.to_guest, true);
        } else if again {
            st.raise |= vf.bit();
        }
        Ok(())
    }

    /// Has the guest look at everything: a message that means nothing raises its interrupt.
    pub(crate) fn raise_irq(self: &Arc<Self>, vf: VfId) {
        let mut st = self.state.lock();
        Self::feed(self.as_arc_borrow(), &mut st, Event::Alert(vf));
    }
}

fn to_want(access: Option<Access>) -> Want {
    match access {
        None => Want::Nothing,
        Some(Access::Init) => Want::Init,
        Some(Access::Fini) => Want::Fini,
        Some(Access::Reset) => Want::Reset,
    }
}

fn from_want(want: Want) -> Option<Access> {
    match want {
        Want::Nothing => None,
        Want::Init => Some(Access::Init),
        Want::Fini => Some(Access::Fini),
        Want::Reset => Some(Access::Reset),
    }
}
