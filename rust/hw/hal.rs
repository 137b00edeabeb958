// SPDX-License-Identifier: GPL-2.0

//! What differs between chips: one trait, one file per chip, one table.
//!
//! A further chip is a file in this folder, with its [`Facts`] and what it does otherwise than the
//! others, and a line in the table [`CHIPS`] (Documentation/chips.md).

mod gpuiov;
mod mailbox;
mod tonga;
mod vega10;

pub(crate) use self::gpuiov::{
    Block,
    Layout, //
};

use kernel::pci;

use super::{
    ih,
    regs::{
        self,
        control, //
    },
    sdma,
    vsec::Vsec,
    Hw,
    Mmio, //
};
use crate::gim_core::{
    event::{
        Cmd,
        CmdStatus,
        MailWords, //
    },
    mailbox::Protocol,
    partition::{
        Partition,
        CONTEXT_SIZE, //
    },
    types::{
        Ns,
        VfId,
        MAX_VFS, //
    },
};

/// A chip.
pub(crate) type Chip = &'static dyn Hal;

kernel::pci_device_table!(
    TABLE,
    Chip,
    [
        // Tonga XT GL: FirePro S7150.
        (
            pci::DeviceId::from_id(pci::Vendor::ATI, 0x6929),
            tonga::TONGA_HAL
        ),
        // Vega10: Radeon Instinct MI25.
        (
            pci::DeviceId::from_id(pci::Vendor::ATI, 0x6860),
            vega10::VEGA10_HAL
        )
    ]
);

/// The chips this driver knows, by the PCI ids of their physical functions.
pub(crate) const CHIPS: pci::IdTable<Chip> = &TABLE;

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

/// What the GPU-IOV capability itself told by an interrupt, beside the ring.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signals {
    /// The command in flight ended.
    pub(crate) done: bool,
    /// The function on the engine hangs: the status to take the command in flight for ended with.
    pub(crate) hang: Option<u8>,
    /// Which VFs have work, a bit each, if that has changed.
    pub(crate) busy: Option<u32>,
}

/// Tables of a chip.
pub(crate) struct Facts {
    /// The chip, as the operator knows it.
    pub(crate) name: &'static str,
    /// Layout of the GPU-IOV capability.
    pub(crate) vsec: Layout,
    /// Registers.
    pub(crate) regs: regs::Registers,
    /// The interrupt ring.
    pub(crate) ih: ih::Layout,
    /// The copy engine.
    pub(crate) sdma: sdma::Layout,
    /// What its guest drivers know beside the messages that all know (4.2).
    pub(crate) protocol: Protocol,
    /// PCI device id of its VFs.
    pub(crate) vf_device: u16,
    /// Where in the register BAR a dirty plane's registers would be, in bytes.
    pub(crate) dirty_plane: u64,
    /// The same of a DMA log.
    pub(crate) dma_log: u64,
}

/// The questions a chip answers. All methods that take the hardware run under the engine's lock, in
/// hard interrupt context at worst: they touch registers and never wait.
pub(crate) trait Hal: Sync {
    /// The chip's tables.
    fn facts(&self) -> &'static Facts;

    /// Where the graphics scheduler's block is in the capability just found; `None` if it is not
    /// inside.
    fn command_block(&self, vsec: &Vsec) -> Option<Block>;

    /// What an interrupt ring entry means.
    fn interrupt(&self, entry: ih::Entry) -> Interrupt;

    /// How the end of a command is noticed.
    fn completion(&self) -> Completion {
        Completion::Irq
    }

    /// Lets the capability itself interrupt us, or not.
    fn enable_signals(&self, _hw: &Hw, _on: bool) {}

    /// Reads and clears what the capability itself tells. To be asked again until it is `None`:
    /// only then it interrupts again.
    fn take_signals(&self, _hw: &Hw) -> Option<Signals> {
        None
    }

    /// Has signals that were not taken, if there are any, interrupt again.
    fn rearm_signals(&self, _hw: &Hw) {}

    /// The chip, as the operator knows it.
    fn name(&self) -> &'static str {
        self.facts().name
    }

    /// The layouts of the GPU-IOV capability that this code knows: least length in bytes, revisions.
    fn vsec(&self) -> (u16, &'static [u8]) {
        (self.facts().vsec.len, self.facts().vsec.revisions)
    }

    /// What this function says it is: b0 a VF; all ones if nobody answers.
    fn identifier(&self, mmio: &Mmio) -> u32 {
        regs::read(mmio, self.facts().regs.func_identifier)
    }

    /// Size of the framebuffer in MiB as the board's VBIOS has left it; 0 if it has not run.
    fn memsize_mib(&self, mmio: &Mmio) -> u32 {
        regs::read(mmio, self.facts().regs.config_memsize)
    }

    /// Framebuffer that the board can give to functions, in MiB.
    fn framebuffer_mib(&self, hw: &Hw) -> u32 {
        self.facts().vsec.framebuffer_mib(&hw.vsec)
    }

    /// Programs the context save area and every VF's framebuffer window.
    fn program_partition(&self, hw: &Hw, table: &Partition) {
        self.facts().vsec.program(&hw.vsec, table);
    }

    /// What the registers that this programs say: the same as long as nobody else writes them.
    fn tables(&self, hw: &Hw) -> gpuiov::Tables {
        self.facts().vsec.tables(&hw.vsec)
    }

    /// Which context save area is a VF's, counted from the first, and its size in bytes. No public
    /// source gives the order: the PF's first, then those of the VFs, is this project's assumption.
    fn context_slot(&self, vf: VfId) -> (u64, u64) {
        (u64::from(vf.raw()) + 1, CONTEXT_SIZE)
    }

    /// Registers of a VF's register BAR that are reachable while it does not run and are no part of
    /// its context: what its guest has set there must move with it. Bytes, rising.
    fn vf_registers(&self) -> [u32; 1] {
        // CAST: Within the register BAR.
        [self.facts().regs.mailbox.int_cntl as u32]
    }

    /// The message to a VF that stands valid and not acknowledged, if there is one.
    fn unacknowledged(&self, hw: &Hw, vf: VfId) -> Option<MailWords> {
        self.facts().regs.mailbox.unacknowledged(&hw.mmio, vf)
    }

    /// The message of a VF that stands and was not taken, if there is one.
    fn untaken(&self, hw: &Hw, vf: VfId) -> Option<MailWords> {
        self.facts().regs.mailbox.untaken(&hw.mmio, vf)
    }

    /// The message that a VF has sent and that was taken, if the VF has not seen that. `read` reads
    /// from the VF's own register BAR, where its side of the handshake is.
    fn taken_unseen(&self, read: &dyn Fn(u32) -> Option<u32>) -> Option<MailWords> {
        let mailbox = &self.facts().regs.mailbox;
        // CAST: Within the register BAR.
        let state = read(mailbox.control as u32)?;
        let both = control::TRN_VALID | control::TRN_ACK;
        if state == u32::MAX || state & both != both {
            return None;
        }
        let mut words = [0; 4];
        for (i, word) in words.iter_mut().enumerate() {
            // CAST: As above.
            *word = read((mailbox.transmit + 4 * i) as u32)?;
        }
        Some(words)
    }

    /// What to write to a VF's own register BAR, in this order, so that it has sent these words:
    /// bytes and values.
    fn as_sent(&self, words: MailWords) -> [(u32, u32); 5] {
        let mailbox = &self.facts().regs.mailbox;
        // CAST: Within the register BAR.
        let at = |i: usize| (mailbox.transmit + 4 * i) as u32;
        let [a, b, c, d] = words;
        let valid = (mailbox.control as u32, control::TRN_VALID);
        [(at(0), a), (at(1), b), (at(2), c), (at(3), d), valid]
    }

    /// Issues a command with its completion interrupt enabled.
    fn issue(&self, hw: &Hw, cmd: Cmd) {
        hw.block.issue(&hw.vsec, cmd);
    }

    /// Reads what became of the command in flight.
    fn status(&self, hw: &Hw) -> CmdStatus {
        hw.block.status(&hw.vsec)
    }

    /// Reads which VFs saw a function level reset since that was cleared; `None` if nobody answers.
    fn resets(&self, hw: &Hw) -> Option<u32> {
        let seen = regs::read(&hw.mmio, self.facts().regs.reset_notification);
        (seen != u32::MAX).then_some(seen & ((1 << MAX_VFS) - 1))
    }

    /// The resets of these VFs are known.
    fn clear_resets(&self, hw: &Hw, vfs: u32) {
        if vfs != 0 {
            regs::write(&hw.mmio, self.facts().regs.reset_notification, vfs);
        }
    }

    /// Lets the VF's mailbox interrupt us, or not.
    fn enable_mailbox(&self, hw: &Hw, vf: VfId, on: bool) {
        self.facts().regs.mailbox.enable(&hw.mmio, vf, on);
    }

    /// Takes the message the VF has sent, if it has.
    fn receive(&self, hw: &Hw, vf: VfId) -> Option<MailWords> {
        self.facts().regs.mailbox.receive(&hw.mmio, vf)
    }

    /// Sends a message, over an unacknowledged one if need be.
    fn send(&self, hw: &Hw, vf: VfId, words: MailWords, valid: bool) {
        self.facts().regs.mailbox.send(&hw.mmio, vf, words, valid);
    }

    /// Drops VALID after the VF's acknowledgement.
    fn clear_valid(&self, hw: &Hw, vf: VfId) {
        self.facts().regs.mailbox.clear_valid(&hw.mmio, vf);
    }
}
