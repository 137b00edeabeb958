// SPDX-License-Identifier: GPL-2.0
//! The mailbox between the PF and one VF (gpu-iov-hardware.md, section 4.1).
//!
//! What a side receives is what the other side's outgoing dwords hold now: data without VALID is
//! seen, but neither flagged nor signalled.

use gpu_regs::mailbox::{ACK_INT_EN, RCV_ACK, RCV_VALID, TRN_ACK, TRN_VALID, VALID_INT_EN};

/// One direction of the mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Way {
    data: [u32; 4],
    /// The sender's TRN_VALID.
    valid: bool,
    /// The receiver's RCV_VALID.
    pending: bool,
    /// The sender's TRN_ACK.
    acked: bool,
}

impl Way {
    fn flags(&self) -> u32 {
        u32::from(self.valid) | (u32::from(self.pending) << 1) | (u32::from(self.acked) << 2)
    }

    fn new(flags: u32, data: [u32; 4]) -> Self {
        Self {
            data,
            valid: flags & 1 != 0,
            pending: flags & 2 != 0,
            acked: flags & 4 != 0,
        }
    }
}

/// Which side of the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Pf,
    Vf,
}

/// What a write to CONTROL has to be told to the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// A new message became valid (whether or not the peer wants an interrupt).
    pub(crate) sent: bool,
    /// Interrupt the peer: message valid.
    pub(crate) valid_irq: bool,
    /// Interrupt the peer: its message was acknowledged.
    pub(crate) ack_irq: bool,
}

/// Mailbox of one VF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mailbox {
    to_vf: Way,
    to_pf: Way,
    pf_int: u32,
    vf_int: u32,
}

impl Mailbox {
    /// (outgoing, incoming, own interrupt enables, peer's interrupt enables) of a side.
    fn ways(&mut self, side: Side) -> (&mut Way, &mut Way, &mut u32, &mut u32) {
        match side {
            Side::Pf => (
                &mut self.to_vf,
                &mut self.to_pf,
                &mut self.pf_int,
                &mut self.vf_int,
            ),
            Side::Vf => (
                &mut self.to_pf,
                &mut self.to_vf,
                &mut self.vf_int,
                &mut self.pf_int,
            ),
        }
    }

    /// Outgoing dword `i` (0 to 3).
    pub(crate) fn trn(&mut self, side: Side, i: usize) -> u32 {
        self.ways(side).0.data.get(i).copied().unwrap_or(0)
    }

    /// Writes outgoing dword `i` (0 to 3).
    pub(crate) fn set_trn(&mut self, side: Side, i: usize, value: u32) {
        if let Some(d) = self.ways(side).0.data.get_mut(i) {
            *d = value;
        }
    }

    /// Incoming dword `i` (0 to 3).
    pub(crate) fn rcv(&mut self, side: Side, i: usize) -> u32 {
        self.ways(side).1.data.get(i).copied().unwrap_or(0)
    }

    /// CONTROL as a side reads it.
    pub(crate) fn control(&mut self, side: Side) -> u32 {
        let (out, inc, ..) = self.ways(side);
        let mut v = 0;
        if out.valid {
            v |= TRN_VALID;
        }
        if out.acked {
            v |= TRN_ACK;
        }
        if inc.pending {
            v |= RCV_VALID;
        }
        v
    }

    /// CONTROL as a side writes it.  Read-only bits are ignored; acknowledging what is not there
    /// does nothing, so that a read-modify-write is harmless.
    pub(crate) fn set_control(&mut self, side: Side, value: u32) -> Signal {
        let (out, inc, _, peer_int) = self.ways(side);
        let mut signal = Signal::default();
        if value & RCV_ACK != 0 && inc.pending {
            inc.pending = false;
            inc.acked = true;
            signal.ack_irq = *peer_int & ACK_INT_EN != 0;
        }
        if value & TRN_VALID == 0 {
            out.valid = false;
            out.acked = false;
            out.pending = false;
        } else if !out.valid {
            out.valid = true;
            out.acked = false;
            out.pending = true;
            signal.sent = true;
            signal.valid_irq = *peer_int & VALID_INT_EN != 0;
        }
        signal
    }

    /// What a context image keeps of it: flags, then the VF's interrupt enables and the dwords
    /// of both ways.
    pub(crate) fn image(&self) -> (u32, [u32; 9]) {
        let mut words = [self.vf_int, 0, 0, 0, 0, 0, 0, 0, 0];
        let data = self.to_vf.data.iter().chain(&self.to_pf.data);
        for (w, &d) in words.iter_mut().skip(1).zip(data) {
            *w = d;
        }
        (self.to_vf.flags() | (self.to_pf.flags() << 3), words)
    }

    /// The mailbox of an image; the PF's interrupt enables are not in it.
    pub(crate) fn from_image(flags: u32, words: [u32; 9]) -> Self {
        let [vf_int, a, b, c, d, e, f, g, h] = words;
        Self {
            to_vf: Way::new(flags, [a, b, c, d]),
            to_pf: Way::new(flags >> 3, [e, f, g, h]),
            pf_int: 0,
            vf_int: vf_int & (VALID_INT_EN | ACK_INT_EN),
        }
    }

    /// Takes over the mailbox of a function that comes from elsewhere.
    pub(crate) fn restore(&mut self, image: Self) {
        *self = Self {
            pf_int: self.pf_int,
            ..image
        };
    }

    /// A message of the VF's waits, and the PF wants to be interrupted by such.
    pub(crate) fn waits_for_pf(&self) -> bool {
        self.to_pf.pending && self.pf_int & VALID_INT_EN != 0
    }

    /// INT_CNTL of a side.
    pub(crate) fn int_cntl(&mut self, side: Side) -> u32 {
        *self.ways(side).2
    }

    /// Writes INT_CNTL of a side.
    pub(crate) fn set_int_cntl(&mut self, side: Side, value: u32) {
        *self.ways(side).2 = value & (VALID_INT_EN | ACK_INT_EN);
    }

    /// An FLR of the VF: all is forgotten but the PF's interrupt enables.
    pub(crate) fn reset_vf(&mut self) {
        *self = Self {
            pf_int: self.pf_int,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of section 4.1, row by row.
    #[test]
    fn a_message_is_sent_acknowledged_and_withdrawn() {
        for (s, r) in [(Side::Pf, Side::Vf), (Side::Vf, Side::Pf)] {
            let mut m = Mailbox::default();
            m.set_int_cntl(s, ACK_INT_EN);
            m.set_int_cntl(r, VALID_INT_EN);
            m.set_trn(s, 0, 7);
            assert_eq!(m.control(r), 0);
            assert_eq!(m.rcv(r, 0), 7, "data without VALID is seen");
            let sig = m.set_control(s, TRN_VALID);
            assert_eq!(
                sig,
                Signal {
                    sent: true,
                    valid_irq: true,
                    ack_irq: false
                }
            );
            assert_eq!((m.control(s), m.control(r)), (TRN_VALID, RCV_VALID));
            let sig = m.set_control(r, RCV_ACK);
            assert_eq!(
                sig,
                Signal {
                    sent: false,
                    valid_irq: false,
                    ack_irq: true
                }
            );
            assert_eq!((m.control(s), m.control(r)), (TRN_VALID | TRN_ACK, 0));
            m.set_control(s, 0);
            assert_eq!((m.control(s), m.control(r)), (0, 0));
        }
    }

    #[test]
    fn withdrawing_takes_an_unread_message_back_and_it_can_be_overwritten() {
        let mut m = Mailbox::default();
        m.set_trn(Side::Pf, 0, 2);
        m.set_control(Side::Pf, TRN_VALID);
        m.set_control(Side::Pf, 0);
        assert_eq!(m.control(Side::Vf), 0);
        m.set_trn(Side::Pf, 0, 3);
        assert!(m.set_control(Side::Pf, TRN_VALID).sent);
        assert_eq!((m.control(Side::Vf), m.rcv(Side::Vf, 0)), (RCV_VALID, 3));
    }

    #[test]
    fn read_modify_write_is_harmless() {
        let mut m = Mailbox::default();
        m.set_control(Side::Pf, TRN_VALID);
        m.set_control(Side::Vf, TRN_VALID);
        let c = m.control(Side::Vf);
        assert_eq!(m.set_control(Side::Vf, c | TRN_ACK), Signal::default());
        assert_eq!(m.control(Side::Vf), c, "RO bits ignored, no second message");
        m.set_control(Side::Vf, c | RCV_ACK);
        let c = m.control(Side::Vf);
        assert_eq!(c & (RCV_ACK | RCV_VALID), 0);
        assert_eq!(m.set_control(Side::Vf, c | RCV_ACK), Signal::default());
    }

    #[test]
    fn interrupts_only_where_enabled() {
        let mut m = Mailbox::default();
        assert!(!m.set_control(Side::Vf, TRN_VALID).valid_irq);
        assert!(!m.set_control(Side::Pf, RCV_ACK).ack_irq);
        m.set_int_cntl(Side::Pf, u32::MAX);
        assert_eq!(m.int_cntl(Side::Pf), 3);
        m.reset_vf();
        assert_eq!((m.int_cntl(Side::Pf), m.int_cntl(Side::Vf)), (3, 0));
    }
}
