// SPDX-License-Identifier: GPL-2.0
//! Vega10: Radeon Instinct MI25 (gpu-iov-hardware.md, sections 2.8, 2.3 to 2.6, 4; numbers of AMD's
//! public headers nbio_6_1, nbif_6_1, osssys_4_0, sdma0_4_0, mmhub_1_0 and gc_9_0, each plus the
//! base of its block).

use super::{Chip, Guest, MailboxAccess, Registers, RlcRegs};
use crate::dirty::DirtyRegs;
use crate::dma_log::DmaLogRegs;
use crate::ih::{Format, IhRegs};
use crate::sdma::{Counts, SdmaRegs};
use crate::vm::{Vm9, VmRegs};
use crate::vsec::Layout;

/// Bases of the register blocks, in dwords.
const NBIF: u32 = 0x0D20;
const OSSSYS: u32 = 0x10A0;
const SDMA0: u32 = 0x1260;
const GC: u32 = 0xA000;
const MMHUB: u32 = 0x1_A000;

/// Where the graphics scheduler's block starts in the capability.
const GFXSCH: u16 = 0xD0;

/// Radeon Instinct MI25.
pub static VEGA10: Chip = Chip {
    name: "vega10",
    board: "Radeon Instinct MI25",
    pf_device: 0x6860,
    vf_device: 0x686C,
    cap_pcie: 0x64,
    mmio_bytes: 512 << 10,
    vsec: Layout {
        // No public source tells it; Tonga's successor has to differ from 1.
        revision: 2,
        length: 0xF4,
        command: GFXSCH + 0x04,
        status: GFXSCH + 0x08,
        busy: GFXSCH + 0x0C,
        active_function: Some(GFXSCH + 0x14),
        hang_status: false,
        intr: Some(0x0C),
        reset_control: 0x14,
        reset_notification: None,
        vm_init_status: None,
        context: 0x24,
        total_fb: 0x28,
        // In units of 16 bytes, as MI300's: UVDSCH at 0x70, VCESCH at 0xA0, GFXSCH at 0xD0.
        offsets: Some((0x2C, 0x07 | (0x0A << 8) | ((GFXSCH as u32 >> 4) << 16))),
        vf_fb: 0x30,
        // Not public; as MI300's.
        size_bias: 0,
    },
    regs: Registers {
        mailbox_index: NBIF + 0x135,
        mailbox_trn_dw0: NBIF + 0x136,
        mailbox_rcv_dw0: NBIF + 0x13A,
        mailbox_control: NBIF + 0x13E,
        mailbox_int_cntl: NBIF + 0x13F,
        reset_notification: NBIF + 0x142,
        vm_init_status: None,
        fb_total: None,
        doorbell_aper_en: NBIF + 0xC0,
        func_identifier: NBIF + 0xC5,
        config_memsize: NBIF + 0xC3,
        hdp_flush_req: NBIF + 0x106,
        hdp_flush_done: NBIF + 0x107,
        scratch0: GC + 0x2040,
        ih: IhRegs {
            first: OSSSYS,
            last: OSSSYS + 0x1BF,
            cntl: OSSSYS + 0x80,
            base: OSSSYS + 0x81,
            base_hi: Some(OSSSYS + 0x82),
            rptr: OSSSYS + 0x83,
            wptr: OSSSYS + 0x84,
            wptr_addr_hi: OSSSYS + 0x85,
            wptr_addr_lo: OSSSYS + 0x86,
            doorbell: OSSSYS + 0x87,
            doorbell_mask: 0x3FF_FFFF,
            // MC_SPACE 1: the ring is at a bus address; MC_SNOOP.
            cntl_bus: (1 << 28) | (1 << 20),
        },
        sdma: SdmaRegs {
            status: SDMA0 + 0x25,
            f32_cntl: SDMA0 + 0x2A,
            rb_cntl: SDMA0 + 0x80,
            rb_base: SDMA0 + 0x81,
            rb_base_hi: SDMA0 + 0x82,
            rb_rptr: SDMA0 + 0x83,
            rb_rptr_hi: Some(SDMA0 + 0x84),
            rb_wptr: SDMA0 + 0x85,
            rb_wptr_hi: Some(SDMA0 + 0x86),
            wptr_poll_cntl: SDMA0 + 0x87,
            wptr_poll_addr_hi: SDMA0 + 0xB2,
            wptr_poll_addr_lo: SDMA0 + 0xB3,
            rptr_addr_hi: SDMA0 + 0x88,
            rptr_addr_lo: SDMA0 + 0x89,
            ib_cntl: SDMA0 + 0x8A,
            doorbell: SDMA0 + 0x92,
            doorbell_offset: Some(SDMA0 + 0xAB),
            // By hardware, or by the engine's firmware as for VFs.
            wptr_poll_enable: (1 << 0) | (1 << 2),
        },
        vm: VmRegs::Mmhub1(Vm9 {
            fb_base: MMHUB + 0x82C,
            fb_top: MMHUB + 0x82D,
            aperture_low: MMHUB + 0x831,
            aperture_high: MMHUB + 0x832,
            context0_cntl: MMHUB + 0x6C0,
            invalidate_req: MMHUB + 0x6F4,
            invalidate_ack: MMHUB + 0x706,
            fault_status: MMHUB + 0x68B,
            fault_addr: MMHUB + 0x68C,
            table_base: MMHUB + 0x72B,
            table_start: MMHUB + 0x74B,
            table_end: MMHUB + 0x76B,
        }),
        windows: MMHUB + 0x7CC,
        rlc: RlcRegs {
            vf_enable: GC + 0x5B00,
            command: GC + 0x5B35,
            status: GC + 0x5B36,
            context: GC + 0x5B06,
            active_fcn: GC + 0x5B39,
            active_status: None,
        },
        // Assumed; a place that nothing known uses.
        dirty: DirtyRegs::at(MMHUB + 0xE00),
        dma_log: DmaLogRegs::at(MMHUB + 0xE10),
        pf_only: &[
            (NBIF + 0x140, NBIF + 0x1FF),
            (GC + 0x5B00, GC + 0x5B5F),
            (MMHUB + 0x7CC, MMHUB + 0x7DB),
            (MMHUB + 0xE00, MMHUB + 0xE1F),
        ],
    },
    mailbox: MailboxAccess::Bytes,
    ih: Format::Soc15,
    sdma: Counts::LessOne,
    guest: Guest {
        ack_ms: 500,
        access_ms: 6_000,
        reset_ms: 10_000,
        ready_to_reset: true,
        exchange: true,
    },
};
