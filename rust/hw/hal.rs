// SPDX-License-Identifier: GPL-2.0

//! What differs between chips: one trait, one file per chip, one table.
//!
//! A third chip adds a variant to [`Chip`], an arm in [`hal`] (which has no default arm, so the
//! compiler asks for it), its PCI ids to the driver's table, and a file in this folder.

mod tonga;

use super::Hw;
use crate::gim_core::{
    event::{
        Cmd,
        CmdStatus,
        MailWords, //
    },
    partition::Partition,
    types::{
        Ns,
        VfId, //
    },
};

/// The chips this driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chip {
    /// Tonga XT GL: FirePro S7150.
    Tonga,
}

/// How the end of a command is noticed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Completion {
    /// By an interrupt; whether it works is found out at the first command.
    Irq,
    /// Only by asking.
    #[expect(dead_code, reason = "for chips without a completion interrupt")]
    Poll(Ns),
}

/// What an entry of the interrupt ring means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    /// The command in flight ended.
    CommandDone,
    /// A VF has sent a message. The number is as the ring said it: not checked yet.
    Message(u32),
    /// A VF has acknowledged a message.
    MessageAck(u32),
    /// The PF's copy engine has come to a TRAP packet.
    CopyDone,
    /// Nothing this driver needs.
    Other,
}

/// The questions a chip answers. All methods but the first group run under the engine's lock, in
/// hard interrupt context at worst: they touch registers and never wait.
pub(crate) trait Hal: Sync {
    /// The chip, as the operator knows it.
    fn name(&self) -> &'static str;

    /// The layouts of the GPU-IOV capability that this code knows: least length in bytes, revisions.
    fn vsec(&self) -> (u16, &'static [u8]);

    /// How the end of a command is noticed.
    fn completion(&self) -> Completion;

    /// Framebuffer that the board can give to functions, in MiB.
    fn framebuffer_mib(&self, hw: &Hw) -> u32;

    /// Programs the context save area and every VF's framebuffer window.
    fn program_partition(&self, hw: &Hw, table: &Partition);

    /// Issues a command with its completion interrupt enabled.
    fn issue(&self, hw: &Hw, cmd: Cmd);

    /// Reads what became of the command in flight.
    fn status(&self, hw: &Hw) -> CmdStatus;

    /// Reads and clears the VFs that saw a function level reset.
    fn take_resets(&self, hw: &Hw) -> u32;

    /// Lets the VF's mailbox interrupt us, or not.
    fn enable_mailbox(&self, hw: &Hw, vf: VfId, on: bool);

    /// Takes the message the VF has sent, if it has.
    fn receive(&self, hw: &Hw, vf: VfId) -> Option<MailWords>;

    /// Sends a message, over an unacknowledged one if need be.
    fn send(&self, hw: &Hw, vf: VfId, words: MailWords, valid: bool);

    /// Drops VALID after the VF's acknowledgement.
    fn clear_valid(&self, hw: &Hw, vf: VfId);

    /// What an interrupt ring entry means.
    fn interrupt(&self, src_id: u8, src_data: u32) -> Interrupt;
}

/// The chip's answers.
pub(crate) fn hal(chip: Chip) -> &'static dyn Hal {
    match chip {
        Chip::Tonga => tonga::TONGA_HAL,
    }
}
