// SPDX-License-Identifier: GPL-2.0

//! The mailboxes between PF and VFs (gpu-iov-hardware.md, 4.1): the same handshake on all chips,
//! by dwords or by bytes.
//!
//! The registers show one VF's mailbox at a time. Selecting and using it must not be separated:
//! the engine's lock is held throughout.

use crate::{
    gim_core::{
        event::MailWords,
        types::VfId, //
    },
    hw::{
        regs::{
            self,
            control,
            int_cntl,
            Mailbox, //
        },
        Mmio, //
    },
};

impl Mailbox {
    fn select(&self, mmio: &Mmio, vf: VfId) {
        regs::write(mmio, self.index, vf.raw().into());
    }

    /// Lets the VF's mailbox interrupt us, or not.
    pub(super) fn enable(&self, mmio: &Mmio, vf: VfId, on: bool) {
        self.select(mmio, vf);
        let bits = int_cntl::VALID | int_cntl::ACK;
        regs::write(mmio, self.int_cntl, if on { bits } else { 0 });
    }

    /// Takes the VF's message and acknowledges it, if there is one.
    pub(super) fn receive(&self, mmio: &Mmio, vf: VfId) -> Option<MailWords> {
        self.select(mmio, vf);
        let state = regs::read(mmio, self.control);
        if state & control::RCV_VALID == 0 || state == u32::MAX {
            return None;
        }
        let mut words = [0; 4];
        for (i, word) in words.iter_mut().enumerate() {
            *word = regs::read(mmio, self.receive + 4 * i);
        }
        if self.by_bytes {
            // CAST: The bit is in the second byte.
            regs::write_byte(mmio, self.control + 1, (control::RCV_ACK >> 8) as u8);
        } else {
            // VALID of our own message, in the same register, stays as it is.
            regs::write(mmio, self.control, state | control::RCV_ACK);
        }
        Some(words)
    }

    /// Sends a message, over an unacknowledged one if need be.
    pub(super) fn send(&self, mmio: &Mmio, vf: VfId, words: MailWords, valid: bool) {
        self.select(mmio, vf);
        self.set_valid(mmio, false);
        for (i, word) in words.into_iter().enumerate() {
            regs::write(mmio, self.transmit + 4 * i, word);
        }
        if valid {
            self.set_valid(mmio, true);
        }
    }

    /// The message of a VF that stands valid and was not taken, if there is one; it stays.
    pub(super) fn untaken(&self, mmio: &Mmio, vf: VfId) -> Option<MailWords> {
        self.select(mmio, vf);
        let state = regs::read(mmio, self.control);
        if state & control::RCV_VALID == 0 || state == u32::MAX {
            return None;
        }
        let mut words = [0; 4];
        for (i, word) in words.iter_mut().enumerate() {
            *word = regs::read(mmio, self.receive + 4 * i);
        }
        Some(words)
    }

    /// The message to a VF that stands valid and not acknowledged, if there is one.
    pub(super) fn unacknowledged(&self, mmio: &Mmio, vf: VfId) -> Option<MailWords> {
        self.select(mmio, vf);
        let state = regs::read(mmio, self.control);
        let waits = state & (control::TRN_VALID | control::TRN_ACK) == control::TRN_VALID;
        if !waits || state == u32::MAX {
            return None;
        }
        let mut words = [0; 4];
        for (i, word) in words.iter_mut().enumerate() {
            *word = regs::read(mmio, self.transmit + 4 * i);
        }
        Some(words)
    }

    /// Drops VALID after the VF's acknowledgement.
    pub(super) fn clear_valid(&self, mmio: &Mmio, vf: VfId) {
        self.select(mmio, vf);
        self.set_valid(mmio, false);
    }

    fn set_valid(&self, mmio: &Mmio, on: bool) {
        if self.by_bytes {
            regs::write_byte(mmio, self.control, u8::from(on));
        } else {
            let state = regs::read(mmio, self.control) & !control::TRN_VALID;
            regs::write(mmio, self.control, state | u32::from(on));
        }
    }
}
