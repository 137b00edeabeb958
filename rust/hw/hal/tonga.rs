// SPDX-License-Identifier: GPL-2.0

//! Tonga (FirePro S7150): GPU-IOV commands in config space, registers of Volcanic Islands.
//!
//! Section numbers are those of gpu-iov-hardware.md.

use super::{
    Block,
    Facts,
    Hal,
    Interrupt,
    Layout, //
};
use crate::{
    gim_core::mailbox::Protocol,
    hw::{
        ih,
        regs::{
            Mailbox,
            Registers, //
        },
        sdma,
        vsec::Vsec, //
    },
};

/// The tables: 2.2, 2.7, 4.1, 8.4, Appendix A.
static FACTS: Facts = Facts {
    name: "FirePro S7150 (Tonga)",
    vsec: Layout {
        // Up to and including VF15_FB.
        len: 0x6c,
        revisions: &[1],
        context: 0x20,
        total_fb: 0x24,
        vf_fb: 0x2c,
        size_bias: 1,
    },
    regs: Registers {
        func_identifier: 4 * 0x1503,
        config_memsize: 4 * 0x150a,
        reset_notification: 4 * 0x14d5,
        mailbox: Mailbox {
            index: 4 * 0x14c6,
            transmit: 4 * 0x14c8,
            receive: 4 * 0x14cc,
            control: 4 * 0x14d0,
            int_cntl: 4 * 0x14d1,
            by_bytes: false,
        },
    },
    ih: ih::Layout {
        cntl: 4 * 0xe30,
        base: 4 * 0xe31,
        base_hi: None,
        rptr: 4 * 0xe32,
        wptr: 4 * 0xe33,
        wptr_addr_hi: 4 * 0xe34,
        wptr_addr_lo: 4 * 0xe35,
        cntl_bus: 0,
        format: ih::Format::Vi,
    },
    sdma: sdma::Layout {
        f32_cntl: 4 * 0x3412,
        rb_cntl: 4 * 0x3480,
        rb_base: 4 * 0x3481,
        rb_base_hi: 4 * 0x3482,
        rb_rptr: 4 * 0x3483,
        rb_rptr_hi: None,
        rb_wptr: 4 * 0x3484,
        rb_wptr_hi: None,
        count_bias: 0,
    },
    protocol: Protocol {
        ready_to_reset: false,
        exchange: false,
    },
    vf_device: 0x692f,
    // Assumed (emulated-gpu.md).
    dirty_plane: 4 * 0xfe00,
    dma_log: 4 * 0xfe10,
};

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
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn command_block(&self, _: &Vsec) -> Option<Block> {
        Some(Block::tonga())
    }

    fn interrupt(&self, entry: ih::Entry) -> Interrupt {
        match entry.src_id {
            source::COMMAND_DONE => Interrupt::CommandDone,
            source::MAILBOX_VALID => Interrupt::Message(entry.src_data),
            source::MAILBOX_ACK => Interrupt::MessageAck(entry.src_data),
            source::SDMA_TRAP => Interrupt::CopyDone,
            _ => Interrupt::Other,
        }
    }
}
