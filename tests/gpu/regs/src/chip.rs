// SPDX-License-Identifier: GPL-2.0
//! The chips: one description each, and nothing about a chip anywhere else.
//!
//! A further chip is a file in this folder and an entry of [`CHIPS`].

mod tonga;
mod vega10;

pub use tonga::TONGA;
pub use vega10::VEGA10;

use crate::dirty::DirtyRegs;
use crate::dma_log::DmaLogRegs;
use crate::ih::{Format, IhRegs};
use crate::sdma::{Counts, SdmaRegs};
use crate::vm::VmRegs;
use crate::vsec::Layout;

/// Every chip that the emulated GPU can be.
pub static CHIPS: [&Chip; 2] = [&TONGA, &VEGA10];

/// A chip.
#[derive(Debug)]
pub struct Chip {
    /// How the device's property names it.
    pub name: &'static str,
    /// The board that it stands for.
    pub board: &'static str,
    /// Device id of the physical function.
    pub pf_device: u16,
    /// Device id of the virtual functions.
    pub vf_device: u16,
    /// Configuration offset of the PCI Express capability.
    pub cap_pcie: u8,
    /// Bytes of the register BAR, a power of two.
    pub mmio_bytes: u32,
    /// The GPU-IOV capability.
    pub vsec: Layout,
    /// Registers.
    pub regs: Registers,
    /// How the mailbox's handshake bits are accessed.
    pub mailbox: MailboxAccess,
    /// Entries of the interrupt ring.
    pub ih: Format,
    /// How packets of the copy engine count.
    pub sdma: Counts,
    /// What the guest driver of this chip does.
    pub guest: Guest,
}

/// How software handles the bits of MAILBOX_CONTROL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxAccess {
    /// By reading, changing and writing the dword.
    Dword,
    /// Byte 0 is for sending, byte 1 for receiving; each is written alone.
    Bytes,
}

/// Limits of the Linux guest driver in milliseconds (gpu-iov-hardware.md, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// Waits for the acknowledgement of a message.
    pub ack_ms: u32,
    /// Waits for READY_TO_ACCESS_GPU.
    pub access_ms: u32,
    /// Waits for FLR_NOTIFICATION_CMPL.
    pub reset_ms: u32,
    /// Answers FLR_NOTIFICATION by READY_TO_RESET.
    pub ready_to_reset: bool,
    /// Reads and writes the exchange pages ([`crate::exchange`]).
    pub exchange: bool,
}

/// Registers of BAR5, as dword indices (byte offset = 4 x index), under AMD's names.
#[derive(Debug)]
pub struct Registers {
    /// MAILBOX_INDEX selects the VF whose mailbox the PF sees, \[3:0\].
    pub mailbox_index: u32,
    /// MAILBOX_MSGBUF_TRN_DW0, first of four dwords to send.
    pub mailbox_trn_dw0: u32,
    /// MAILBOX_MSGBUF_RCV_DW0, first of four dwords received.
    pub mailbox_rcv_dw0: u32,
    /// MAILBOX_CONTROL ([`crate::mailbox`]).
    pub mailbox_control: u32,
    /// MAILBOX_INT_CNTL ([`crate::mailbox`]).
    pub mailbox_int_cntl: u32,
    /// RESET_NOTIFICATION: one bit per VF that had an FLR, write 1 to clear; PF only.
    pub reset_notification: u32,
    /// VM_INIT_STATUS: one bit per VF that was initialised, write 1 to clear; PF only.
    pub vm_init_status: Option<u32>,
    /// Mirror of the framebuffer totals: available \[15:0\], consumed \[31:16\]; PF only.
    pub fb_total: Option<u32>,
    /// DOORBELL_APER_EN.
    pub doorbell_aper_en: u32,
    /// IOV_FUNC_IDENTIFIER: what this function is ([`FUNC_IS_VF`], [`FUNC_IOV_ENABLED`]).
    pub func_identifier: u32,
    /// CONFIG_MEMSIZE: framebuffer of this function in MB.
    pub config_memsize: u32,
    /// GPU_HDP_FLUSH_REQ, request of a host data path flush.
    pub hdp_flush_req: u32,
    /// GPU_HDP_FLUSH_DONE, its completion.
    pub hdp_flush_done: u32,
    /// SCRATCH_REG0, which the Linux guest reads to find out whether its registers are gated.
    pub scratch0: u32,
    /// The interrupt ring.
    pub ih: IhRegs,
    /// The copy engine.
    pub sdma: SdmaRegs,
    /// Address translation.
    pub vm: VmRegs,
    /// MC_VM_FB_SIZE_OFFSET_VF0, first of sixteen mirrors of the VF windows; PF only.
    pub windows: u32,
    /// Mirrors of the scheduler; PF only.
    pub rlc: RlcRegs,
    /// The dirty plane (an assumption of the emulated GPU); PF only.
    pub dirty: DirtyRegs,
    /// The DMA log (an assumption of the emulated GPU); PF only.
    pub dma_log: DmaLogRegs,
    /// Ranges (first, last) that only the PF knows.
    pub pf_only: &'static [(u32, u32)],
}

/// RLC_GPU_IOV_*: the scheduler firmware's view of the capability.
#[derive(Debug)]
pub struct RlcRegs {
    /// VF_ENABLE: VFs that are enabled, one bit each.
    pub vf_enable: u32,
    /// CFG_REG1: mirror of the command dword.
    pub command: u32,
    /// CFG_REG2: mirror of the status byte.
    pub status: u32,
    /// CFG_REG6: mirror of CONTEXT.
    pub context: u32,
    /// ACTIVE_FCN_ID: function on the engine, VF number \[3:0\], b31 set for a VF.
    pub active_fcn: u32,
    /// CFG_REG9: function on the engine \[7:0\] and whether it runs \[11:8\].
    pub active_status: Option<u32>,
}

/// Address of an indirect access: b31 set reaches the framebuffer, else a register (bytes).
pub const MM_INDEX: u32 = 0x0000;
/// Data of an indirect access.
pub const MM_DATA: u32 = 0x0001;
/// Address bits above 30 of an indirect framebuffer access.
pub const MM_INDEX_HI: u32 = 0x0006;

/// IOV_FUNC_IDENTIFIER: this function is a VF.
pub const FUNC_IS_VF: u32 = 1;
/// IOV_FUNC_IDENTIFIER: I/O virtualisation is on.
pub const FUNC_IOV_ENABLED: u32 = 1 << 31;

/// Doorbell index (dwords of BAR2) that Linux gives to SDMA0, on both families.
pub const DOORBELL_SDMA0: u32 = 0x1E0;
/// Doorbell index (dwords of BAR2) that Linux gives to the interrupt ring, on both families.
pub const DOORBELL_IH: u32 = 0x1E8;
/// Enable bit of the doorbell registers of interrupt ring and copy engine.
pub const DOORBELL_ENABLE: u32 = 1 << 28;

impl Chip {
    /// The chip whose property name is `name`.
    pub fn by_name(name: &str) -> Option<&'static Chip> {
        CHIPS.into_iter().find(|c| c.name == name)
    }

    /// The chip whose VFs, or whose PF, have this device id (vendor 1002).
    pub fn by_device(device: u16) -> Option<&'static Chip> {
        CHIPS
            .into_iter()
            .find(|c| c.vf_device == device || c.pf_device == device)
    }
}
