// SPDX-License-Identifier: GPL-2.0

//! Vega10 (Radeon Instinct MI25): scheduler blocks and interrupt causes in config space, mailbox by
//! bytes, registers of SOC15.
//!
//! Section numbers are those of gpu-iov-hardware.md. No host driver for this chip is public; what
//! the public headers leave open is assumed, here and in the emulated GPU
//! (Documentation/emulated-gpu.md):
//! - a cause in INTR_STATUS reaches the host as the PF's MSI;
//! - OFFSETS counts in units of 16 bytes, and a window's SIZE is not less one, both as on MI300;
//! - RESET_NOTIFICATION, whose place is public, is cleared by writing 1, as on Tonga.

use super::{
    Block,
    Facts,
    Hal,
    Interrupt,
    Layout,
    Signals, //
};
use crate::{
    gim_core::{
        event::Cmd,
        mailbox::Protocol, //
    },
    hw::{
        ih,
        regs::{
            Mailbox,
            Registers, //
        },
        sdma,
        vsec::Vsec,
        Hw, //
    },
};

/// Where register blocks start, in dwords.
const NBIF: usize = 0xd20;
const OSSSYS: usize = 0x10a0;
const SDMA0: usize = 0x1260;

/// The tables: 2.8, 4.1; headers nbio_6_1, nbif_6_1, osssys_4_0, sdma0_4_0.
static FACTS: Facts = Facts {
    name: "Radeon Instinct MI25 (Vega10)",
    vsec: Layout {
        // Up to and including VF15_FB; where the scheduler's block must be is checked apart.
        len: 0x70,
        // The revision is not public: 2 is the emulated device's, 0 and 1 are as likely.
        revisions: &[0, 1, 2],
        context: 0x24,
        total_fb: 0x28,
        vf_fb: 0x30,
        size_bias: 0,
    },
    regs: Registers {
        func_identifier: 4 * (NBIF + 0xc5),
        config_memsize: 4 * (NBIF + 0xc3),
        reset_notification: 4 * (NBIF + 0x142),
        mailbox: Mailbox {
            index: 4 * (NBIF + 0x135),
            transmit: 4 * (NBIF + 0x136),
            receive: 4 * (NBIF + 0x13a),
            control: 4 * (NBIF + 0x13e),
            int_cntl: 4 * (NBIF + 0x13f),
            by_bytes: true,
        },
    },
    ih: ih::Layout {
        cntl: 4 * (OSSSYS + 0x80),
        base: 4 * (OSSSYS + 0x81),
        base_hi: Some(4 * (OSSSYS + 0x82)),
        rptr: 4 * (OSSSYS + 0x83),
        wptr: 4 * (OSSSYS + 0x84),
        wptr_addr_hi: 4 * (OSSSYS + 0x85),
        wptr_addr_lo: 4 * (OSSSYS + 0x86),
        // MC_SPACE 1: bus addresses; MC_SNOOP.
        cntl_bus: 1 << 28 | 1 << 20,
        format: ih::Format::Soc15,
    },
    sdma: sdma::Layout {
        f32_cntl: 4 * (SDMA0 + 0x2a),
        rb_cntl: 4 * (SDMA0 + 0x80),
        rb_base: 4 * (SDMA0 + 0x81),
        rb_base_hi: 4 * (SDMA0 + 0x82),
        rb_rptr: 4 * (SDMA0 + 0x83),
        rb_rptr_hi: Some(4 * (SDMA0 + 0x84)),
        rb_wptr: 4 * (SDMA0 + 0x85),
        rb_wptr_hi: Some(4 * (SDMA0 + 0x86)),
        count_bias: 1,
    },
    protocol: Protocol {
        ready_to_reset: true,
        exchange: true,
    },
    vf_device: 0x686c,
    // Assumed (emulated-gpu.md).
    dirty_plane: 4 * (0x1a000 + 0xe00),
    dma_log: 4 * (0x1a000 + 0xe10),
};

/// Registers of the capability beside those of the table (2.8).
mod vsec_at {
    pub(super) const INTR_ENABLE: u16 = 0x0c;
    pub(super) const INTR_STATUS: u16 = 0x10;
    /// GFXSCH in bits 23:16, in units of 16 bytes.
    pub(super) const OFFSETS: u16 = 0x2c;
}

/// Causes of graphics in INTR_ENABLE and INTR_STATUS (2.6).
mod cause {
    pub(super) const CMD_COMPLETE: u32 = 1 << 0;
    pub(super) const HANG_SELF_RECOVERED: u32 = 1 << 1;
    pub(super) const HANG_NEED_FLR: u32 = 1 << 2;
    pub(super) const VM_BUSY_TRANSITION: u32 = 1 << 3;
    pub(super) const ALL: u32 =
        CMD_COMPLETE | HANG_SELF_RECOVERED | HANG_NEED_FLR | VM_BUSY_TRANSITION;
}

/// The status that a hang has on chips where it ends the command (2.4).
const STATUS_GFX_HANG: u8 = 0x0e;

/// Interrupt ring: clients and their sources (4.1).
mod source {
    pub(super) const BIF: u8 = 3;
    pub(super) const BIF_MAILBOX_ACK: u8 = 136;
    pub(super) const BIF_MAILBOX_VALID: u8 = 137;
    pub(super) const SDMA0: u8 = 8;
    pub(super) const SDMA_TRAP: u8 = 224;
}

struct Vega10;

pub(super) const VEGA10_HAL: &dyn Hal = &Vega10;

impl Hal for Vega10 {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn command_block(&self, vsec: &Vsec) -> Option<Block> {
        // CAST: Eight bits.
        let units = (vsec.read32(vsec_at::OFFSETS) >> 16 & 0xff) as u16;
        Block::new(vsec, units * 16, FACTS.vsec.len)
    }

    fn interrupt(&self, entry: ih::Entry) -> Interrupt {
        match (entry.client, entry.src_id) {
            (source::BIF, source::BIF_MAILBOX_VALID) => Interrupt::Message(entry.src_data),
            (source::BIF, source::BIF_MAILBOX_ACK) => Interrupt::MessageAck(entry.src_data),
            (source::SDMA0, source::SDMA_TRAP) => Interrupt::CopyDone,
            _ => Interrupt::Other,
        }
    }

    fn enable_signals(&self, hw: &Hw, on: bool) {
        hw.vsec.write32(vsec_at::INTR_ENABLE, 0);
        hw.vsec.write32(vsec_at::INTR_STATUS, cause::ALL);
        if on {
            hw.vsec.write32(vsec_at::INTR_ENABLE, cause::ALL);
        }
    }

    fn take_signals(&self, hw: &Hw) -> Option<Signals> {
        let causes = hw.vsec.read32(vsec_at::INTR_STATUS);
        if causes & cause::ALL == 0 || causes == u32::MAX {
            return None;
        }
        // First clear, then look: what comes up meanwhile is told again.
        hw.vsec.write32(vsec_at::INTR_STATUS, causes & cause::ALL);
        let has = |bit: u32| causes & bit != 0;
        Some(Signals {
            done: has(cause::CMD_COMPLETE),
            // What has gone on by itself needs no reset.
            hang: (has(cause::HANG_NEED_FLR) && !has(cause::HANG_SELF_RECOVERED))
                .then_some(STATUS_GFX_HANG),
            busy: has(cause::VM_BUSY_TRANSITION).then(|| hw.block.busy(&hw.vsec)),
        })
    }

    fn rearm_signals(&self, hw: &Hw) {
        hw.vsec.write32(vsec_at::INTR_ENABLE, 0);
        hw.vsec.write32(vsec_at::INTR_ENABLE, cause::ALL);
    }

    fn issue(&self, hw: &Hw, cmd: Cmd) {
        // A cause whose interrupt was lost keeps all others from interrupting. What an earlier
        // command has left behind is forgotten; the rest is made to interrupt again.
        let pending = hw.vsec.read32(vsec_at::INTR_STATUS) & cause::ALL;
        if pending != 0 {
            hw.vsec
                .write32(vsec_at::INTR_STATUS, pending & !cause::VM_BUSY_TRANSITION);
            self.rearm_signals(hw);
        }
        hw.block.issue(&hw.vsec, cmd);
    }
}
