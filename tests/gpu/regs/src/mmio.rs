// SPDX-License-Identifier: GPL-2.0
//! Registers of BAR5, as dword indices (byte offset = 4 x index).
//!
//! Names and numbers follow AMD's public headers for Tonga (bif_5_0, oss_3_0, gmc_8_1) and
//! gpu-iov-hardware.md, section 2.7.

/// Address of an indirect access: b31 set reaches the framebuffer, else a register (bytes).
pub const MM_INDEX: u32 = 0x0000;
/// Data of an indirect access.
pub const MM_DATA: u32 = 0x0001;
/// Address bits above 30 of an indirect framebuffer access.
pub const MM_INDEX_HI: u32 = 0x0006;

/// Selects the VF whose mailbox the PF sees, \[3:0\].
pub const MAILBOX_INDEX: u32 = 0x14C6;
/// First of four dwords to send.
pub const MAILBOX_TRN_DW0: u32 = 0x14C8;
/// First of four dwords received.
pub const MAILBOX_RCV_DW0: u32 = 0x14CC;
/// Valid and acknowledge bits ([`crate::mailbox`]).
pub const MAILBOX_CONTROL: u32 = 0x14D0;
/// Interrupt enables ([`crate::mailbox`]).
pub const MAILBOX_INT_CNTL: u32 = 0x14D1;
/// Reset request of a VF.
pub const BIF_VIRT_RESET_REQ: u32 = 0x14D2;
/// One bit per VF that had an FLR, write 1 to clear.
pub const RESET_NOTIFICATION: u32 = 0x14D5;
/// One bit per VF that was initialised, write 1 to clear.
pub const VM_INIT_STATUS: u32 = 0x14D6;
/// Mirror of the capability's framebuffer totals: available \[15:0\], consumed \[31:16\].
pub const FB_TOTAL_FB_INFO: u32 = 0x14D8;
/// Doorbell aperture enable.
pub const DOORBELL_APER_EN: u32 = 0x1501;
/// What this function is ([`FUNC_IS_VF`], [`FUNC_IOV_ENABLED`]).
pub const FUNC_IDENTIFIER: u32 = 0x1503;
/// Framebuffer of this function in MB.
pub const CONFIG_MEMSIZE: u32 = 0x150A;
/// Interrupt control.
pub const INTERRUPT_CNTL: u32 = 0x151A;
/// Dummy page of the interrupt block.
pub const INTERRUPT_CNTL2: u32 = 0x151B;
/// Flush of the host data path.
pub const HDP_MEM_COHERENCY_FLUSH_CNTL: u32 = 0x1520;
/// Request of a host data path flush.
pub const GPU_HDP_FLUSH_REQ: u32 = 0x1537;
/// Completion of a host data path flush.
pub const GPU_HDP_FLUSH_DONE: u32 = 0x1538;

/// FUNC_IDENTIFIER: this function is a VF.
pub const FUNC_IS_VF: u32 = 1;
/// FUNC_IDENTIFIER: I/O virtualisation is on.
pub const FUNC_IOV_ENABLED: u32 = 1 << 31;

/// First register of the interrupt block.
pub const IH_FIRST: u32 = 0x0E00;
/// Last register of the interrupt block.
pub const IH_LAST: u32 = 0x0E4F;
/// Interrupt ring control ([`crate::ih`]).
pub const IH_RB_CNTL: u32 = 0x0E30;
/// Interrupt ring base, bus address bits \[39:8\].
pub const IH_RB_BASE: u32 = 0x0E31;
/// Interrupt ring read position in bytes.
pub const IH_RB_RPTR: u32 = 0x0E32;
/// Interrupt ring write position in bytes; b0 is the overflow bit.
pub const IH_RB_WPTR: u32 = 0x0E33;
/// Where the write position is written back, bits \[39:32\].
pub const IH_RB_WPTR_ADDR_HI: u32 = 0x0E34;
/// Where the write position is written back, bits \[31:0\].
pub const IH_RB_WPTR_ADDR_LO: u32 = 0x0E35;
/// Interrupt block control.
pub const IH_CNTL: u32 = 0x0E36;
/// Doorbell that carries the read position: index \[20:0\], [`DOORBELL_ENABLE`].
pub const IH_DOORBELL_RPTR: u32 = 0x0E42;

/// Doorbell enable bit of `IH_DOORBELL_RPTR` and `SDMA0_GFX_DOORBELL`.
pub const DOORBELL_ENABLE: u32 = 1 << 28;
/// Doorbell index field of the same registers, in dwords of BAR2.
pub const DOORBELL_OFFSET: u32 = 0x1F_FFFF;
/// Doorbell index that Linux gives to SDMA0 on this family.
pub const DOORBELL_SDMA0: u32 = 0x1E0;
/// Doorbell index that Linux gives to the interrupt ring on this family.
pub const DOORBELL_IH: u32 = 0x1E8;

/// Start of the framebuffer in the GPU's address space \[15:0\], end \[31:16\], both >> 24.
pub const MC_VM_FB_LOCATION: u32 = 0x0809;
/// Lowest address that bypasses the page table, >> 12.
pub const MC_VM_SYSTEM_APERTURE_LOW_ADDR: u32 = 0x080D;
/// Highest address that bypasses the page table, >> 12.
pub const MC_VM_SYSTEM_APERTURE_HIGH_ADDR: u32 = 0x080E;
/// Page table control of VMID 0: b0 enable, depth \[2:1\].
pub const VM_CONTEXT0_CNTL: u32 = 0x0504;
/// TLB flush, one bit per VMID.
pub const VM_INVALIDATE_REQUEST: u32 = 0x051E;
/// TLB flush done, one bit per VMID.
pub const VM_INVALIDATE_RESPONSE: u32 = 0x051F;
/// Last fault of VMID 0; 0 when there was none.
pub const VM_CONTEXT0_FAULT_STATUS: u32 = 0x0536;
/// Page number of that fault.
pub const VM_CONTEXT0_FAULT_ADDR: u32 = 0x053E;
/// Page table of VMID 0: framebuffer address >> 12.
pub const VM_CONTEXT0_PAGE_TABLE_BASE: u32 = 0x054F;
/// First page that the table of VMID 0 maps: address >> 12.
pub const VM_CONTEXT0_PAGE_TABLE_START: u32 = 0x0557;
/// Last page that the table of VMID 0 maps: address >> 12.
pub const VM_CONTEXT0_PAGE_TABLE_END: u32 = 0x055F;

/// VM_CONTEXT0_CNTL: the context translates.
pub const VM_CONTEXT_ENABLE: u32 = 1;

/// Copy engine status: b0 idle, b2 ring empty.
pub const SDMA0_STATUS: u32 = 0x340D;
/// Copy engine control: b0 halts it.
pub const SDMA0_F32_CNTL: u32 = 0x3412;
/// Ring control ([`crate::sdma`]).
pub const SDMA0_GFX_RB_CNTL: u32 = 0x3480;
/// Ring base, GPU address bits \[39:8\].
pub const SDMA0_GFX_RB_BASE: u32 = 0x3481;
/// Ring base, GPU address bits above 40.
pub const SDMA0_GFX_RB_BASE_HI: u32 = 0x3482;
/// Ring read position in bytes; wraps at the ring's size.
pub const SDMA0_GFX_RB_RPTR: u32 = 0x3483;
/// Ring write position in bytes; what exceeds the ring's size is ignored.
pub const SDMA0_GFX_RB_WPTR: u32 = 0x3484;
/// Write position polling: b0 enables it.
pub const SDMA0_GFX_RB_WPTR_POLL_CNTL: u32 = 0x3485;
/// GPU address of the write position in memory, high.
pub const SDMA0_GFX_RB_WPTR_POLL_ADDR_HI: u32 = 0x3486;
/// GPU address of the write position in memory, low.
pub const SDMA0_GFX_RB_WPTR_POLL_ADDR_LO: u32 = 0x3487;
/// GPU address where the read position is written back, high.
pub const SDMA0_GFX_RB_RPTR_ADDR_HI: u32 = 0x3488;
/// GPU address where the read position is written back, low.
pub const SDMA0_GFX_RB_RPTR_ADDR_LO: u32 = 0x3489;
/// Indirect buffers: b0 enables them.
pub const SDMA0_GFX_IB_CNTL: u32 = 0x348A;
/// Doorbell that carries the write position: index \[20:0\], [`DOORBELL_ENABLE`].
pub const SDMA0_GFX_DOORBELL: u32 = 0x3492;

/// Scratch register that the Linux guest reads to find out whether its registers are gated.
pub const SCRATCH_REG0: u32 = 0xC040;

/// First of sixteen mirrors of the VF windows in the capability.
pub const MC_VM_FB_SIZE_OFFSET_VF0: u32 = 0xF980;

/// VFs that are enabled, one bit each (PF only, as all below).
pub const RLC_GPU_IOV_VF_ENABLE: u32 = 0xFB00;
/// Mirror of the capability's command dword.
pub const RLC_GPU_IOV_CFG_REG1: u32 = 0xFB01;
/// Mirror of the capability's status byte.
pub const RLC_GPU_IOV_CFG_REG2: u32 = 0xFB02;
/// Mirror of the capability's CONTEXT.
pub const RLC_GPU_IOV_CFG_REG6: u32 = 0xFB06;
/// Function on the engine \[7:0\] and its state \[11:8\].
pub const RLC_GPU_IOV_CFG_REG9: u32 = 0xFB21;
/// Function on the engine: VF number \[3:0\], b31 set for a VF.
pub const RLC_GPU_IOV_ACTIVE_FCN_ID: u32 = 0xFB40;
/// Last mirror register of the scheduler.
pub const RLC_GPU_IOV_LAST: u32 = 0xFB5F;
