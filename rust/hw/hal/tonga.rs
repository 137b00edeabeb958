// SPDX-License-Identifier: GPL-2.0

//! Tonga (FirePro S7150): GPU-IOV commands in config space, mailbox of Volcanic Islands.
//!
//! Section numbers are those of gpu-iov-hardware.md.

use kernel::{
    io::{
        register::Array,
        Io, //
    },
    prelude::*, //
};

use super::{
    Completion,
    Hal,
    Hw,
    Interrupt, //
};
use crate::{
    gim_core::{
        event::{
            Cmd,
            CmdKind,
            CmdStatus,
            MailWords, //
        },
        partition::{
            Partition,
            CONTEXT_SIZE, //
        },
        types::{
            VfId,
            MAX_VFS, //
        },
    },
    hw::regs,
};

/// Layout of the capability (2.2); offsets in bytes.
mod layout {
    pub(super) const COMMAND: u16 = 0x0c;
    pub(super) const CMD_STATUS: u16 = 0x10;
    pub(super) const CONTEXT: u16 = 0x20;
    pub(super) const TOTAL_FB_AVAILABLE: u16 = 0x24;
    pub(super) const TOTAL_FB_CONSUMED: u16 = 0x26;
    pub(super) const VF_FB: u16 = 0x2c;
    /// Up to and including VF15_FB.
    pub(super) const LEN: u16 = 0x6c;
}

/// Bits of the command dword (2.2).
const CMD_EXECUTE: u32 = 0x10;
const CMD_EXECUTE_INTR_EN: u32 = 0x20;

/// Status codes that end a command with a hang (2.4); 0x01 and 0x02 refuse it.
const STATUS_FINAL: [u8; 4] = [0x01, 0x02, 0x0e, 0x0f];

/// Interrupt sources (4.1). That of the command completion is not public for Tonga: 139 is this
/// project's assumption, and where nothing comes the engine falls back to polling.
mod source {
    pub(super) const MAILBOX_ACK: u8 = 136;
    pub(super) const MAILBOX_VALID: u8 = 137;
    pub(super) const COMMAND_DONE: u8 = 139;
    pub(super) const SDMA_TRAP: u8 = 224;
}

struct Tonga;

pub(super) const TONGA_HAL: &dyn Hal = &Tonga;

impl Hal for Tonga {
    fn name(&self) -> &'static str {
        "FirePro S7150 (Tonga)"
    }

    fn vsec(&self) -> (u16, &'static [u8]) {
        (layout::LEN, &[1])
    }

    fn completion(&self) -> Completion {
        Completion::Irq
    }

    fn framebuffer_mib(&self, hw: &Hw) -> u32 {
        u32::from(hw.vsec.read16(layout::TOTAL_FB_AVAILABLE))
    }

    fn program_partition(&self, hw: &Hw, table: &Partition) {
        // SIZE 1 (256 KiB per function), LOC 0 (framebuffer), OFFSET in units of 256 KiB (2.2).
        let unit = table.context().offset() / CONTEXT_SIZE;
        // CAST: The register has 22 bits for the unit, enough for the 1 TiB that a table allows.
        hw.vsec.write32(layout::CONTEXT, 1 | (unit as u32) << 10);
        let pf_mib = table.pf().size() >> 20;
        let consumed = u64::from(self.framebuffer_mib(hw)).saturating_sub(pf_mib);
        // CAST: At most TOTAL_FB_AVAILABLE, which is 16 bits wide.
        hw.vsec.write16(layout::TOTAL_FB_CONSUMED, consumed as u16);
        for vf in VfId::all() {
            // CAST: 16 VFs at most.
            let at = layout::VF_FB + 4 * vf.index() as u16;
            // SIZE in the low half is one less than the number of units (2.2).
            let value = table.vf(vf).map_or(0, |part| {
                part.offset_units() << 16 | part.size_units().saturating_sub(1) & 0xffff
            });
            hw.vsec.write32(at, value);
        }
    }

    fn issue(&self, hw: &Hw, cmd: Cmd) {
        let code: u32 = match cmd.kind {
            CmdKind::Idle => 0x1,
            CmdKind::Save => 0x2,
            CmdKind::Load => 0x3,
            CmdKind::Run => 0x4,
            CmdKind::Init => 0x7,
        };
        let fcn = u32::from(cmd.fcn.fcn_id());
        hw.vsec.write32(
            layout::COMMAND,
            code | CMD_EXECUTE | CMD_EXECUTE_INTR_EN | fcn << 8,
        );
    }

    fn status(&self, hw: &Hw) -> CmdStatus {
        let command = hw.vsec.read32(layout::COMMAND);
        let status = hw.vsec.read8(layout::CMD_STATUS);
        if command == u32::MAX {
            CmdStatus::Gone
        } else if STATUS_FINAL.contains(&status) {
            CmdStatus::Failed(status)
        } else if command & CMD_EXECUTE != 0 || status != 0 {
            CmdStatus::Busy
        } else {
            CmdStatus::Done
        }
    }

    fn take_resets(&self, hw: &Hw) -> u32 {
        let seen = hw.mmio.read(regs::GPUIOV_RESET_NOTIFICATION).into_raw();
        if seen == 0 || seen == u32::MAX {
            return 0;
        }
        hw.mmio
            .write_reg(regs::GPUIOV_RESET_NOTIFICATION::from(seen));
        seen & ((1 << MAX_VFS) - 1)
    }

    fn enable_mailbox(&self, hw: &Hw, vf: VfId, on: bool) {
        hw.select_mailbox(vf);
        hw.mmio.write_reg(
            regs::MAILBOX_INT_CNTL::zeroed()
                .with_ack_int_en(on)
                .with_valid_int_en(on),
        );
    }

    fn receive(&self, hw: &Hw, vf: VfId) -> Option<MailWords> {
        hw.select_mailbox(vf);
        let control = hw.mmio.read(regs::MAILBOX_CONTROL);
        if !control.rcv_msg_valid() || control.into_raw() == u32::MAX {
            return None;
        }
        let mut words = [0; 4];
        for (i, word) in words.iter_mut().enumerate() {
            if let Some(reg) = regs::MSGBUF_RCV_DW::try_at(i) {
                *word = hw.mmio.read(reg).into_raw();
            }
        }
        // Acknowledge; VALID of our own message, in the same register, stays as it is.
        hw.mmio.write_reg(control.with_rcv_msg_ack(true));
        Some(words)
    }

    fn send(&self, hw: &Hw, vf: VfId, words: MailWords, valid: bool) {
        hw.select_mailbox(vf);
        hw.mmio
            .update(regs::MAILBOX_CONTROL, |r| r.with_trn_msg_valid(false));
        for (i, word) in words.into_iter().enumerate() {
            if let Some(at) = regs::MSGBUF_TRN_DW::try_at(i) {
                hw.mmio.write(at, regs::MSGBUF_TRN_DW::from(word));
            }
        }
        if valid {
            hw.mmio
                .update(regs::MAILBOX_CONTROL, |r| r.with_trn_msg_valid(true));
        }
    }

    fn clear_valid(&self, hw: &Hw, vf: VfId) {
        hw.select_mailbox(vf);
        hw.mmio
            .update(regs::MAILBOX_CONTROL, |r| r.with_trn_msg_valid(false));
    }

    fn interrupt(&self, src_id: u8, src_data: u32) -> Interrupt {
        match src_id {
            source::COMMAND_DONE => Interrupt::CommandDone,
            source::MAILBOX_VALID => Interrupt::Message(src_data),
            source::MAILBOX_ACK => Interrupt::MessageAck(src_data),
            source::SDMA_TRAP => Interrupt::CopyDone,
            _ => Interrupt::Other,
        }
    }
}
