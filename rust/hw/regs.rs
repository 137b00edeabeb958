// SPDX-License-Identifier: GPL-2.0

//! Registers of the PF's register BAR (BAR5) on Volcanic Islands (Tonga).
//!
//! Offsets are in bytes: four times the dword index that gpu-iov-hardware.md gives (2.7, 4.1,
//! Appendix A). Names are AMD's, without the `mm` prefix.

#![allow(
    missing_docs,
    reason = "the register! macro documents what it generates"
)]

use kernel::io::register;

register! {
    /// Which VF's mailbox the banked mailbox registers show (0x14C6).
    pub(crate) MAILBOX_INDEX(u32) @ 0x5318 {
        3:0 vf;
    }

    /// First word of the message to the VF; three more follow (0x14C8).
    pub(crate) MSGBUF_TRN_DW(u32)[4] @ 0x5320 {
        31:0 word;
    }

    /// First word of the message from the VF; three more follow (0x14CC).
    pub(crate) MSGBUF_RCV_DW(u32)[4] @ 0x5330 {
        31:0 word;
    }

    /// Handshake bits of the selected mailbox (0x14D0).
    pub(crate) MAILBOX_CONTROL(u32) @ 0x5340 {
        /// Write 1: the VF's message has been taken.
        9:9 rcv_msg_ack => bool;
        /// The VF has a message for us.
        8:8 rcv_msg_valid => bool;
        /// The VF has taken our message.
        1:1 trn_msg_ack => bool;
        /// Our message is valid.
        0:0 trn_msg_valid => bool;
    }

    /// Which mailbox events of the selected VF interrupt us (0x14D1).
    pub(crate) MAILBOX_INT_CNTL(u32) @ 0x5344 {
        1:1 ack_int_en => bool;
        0:0 valid_int_en => bool;
    }

    /// One bit per VF that saw a function level reset; write 1 to clear (0x14D5).
    pub(crate) GPUIOV_RESET_NOTIFICATION(u32) @ 0x5354 {
        15:0 vfs;
    }

    /// What kind of function this is (0x1503).
    pub(crate) IOV_FUNC_IDENTIFIER(u32) @ 0x540c {
        31:31 iov_enable => bool;
        0:0 is_vf => bool;
    }

    /// Size of the framebuffer in MiB; not 0 once the board is posted (0x150A).
    pub(crate) CONFIG_MEMSIZE(u32) @ 0x5428 {
        31:0 mib;
    }

    /// Copy engine: halted or not (0x3412).
    pub(crate) SDMA0_F32_CNTL(u32) @ 0xd048 {
        0:0 halt => bool;
    }

    /// Copy engine: ring control (0x3480).
    pub(crate) SDMA0_GFX_RB_CNTL(u32) @ 0xd200 {
        /// Log2 of the ring's size in dwords.
        5:1 rb_size;
        0:0 rb_enable => bool;
    }

    /// Copy engine: ring address, bits 39:8 (0x3481).
    pub(crate) SDMA0_GFX_RB_BASE(u32) @ 0xd204 {
        31:0 addr;
    }

    /// Copy engine: ring address, bits 63:40 (0x3482).
    pub(crate) SDMA0_GFX_RB_BASE_HI(u32) @ 0xd208 {
        23:0 addr;
    }

    /// Copy engine: read position in bytes (0x3483).
    pub(crate) SDMA0_GFX_RB_RPTR(u32) @ 0xd20c {
        31:0 bytes;
    }

    /// Copy engine: write position in bytes (0x3484).
    pub(crate) SDMA0_GFX_RB_WPTR(u32) @ 0xd210 {
        31:0 bytes;
    }

    /// Interrupt ring control (0xE30).
    pub(crate) IH_RB_CNTL(u32) @ 0x38c0 {
        /// Write 1: the overflow has been noted.
        31:31 wptr_overflow_clear => bool;
        /// Interrupt again once the read pointer was written.
        21:21 rptr_rearm => bool;
        17:17 enable_intr => bool;
        16:16 wptr_overflow_enable => bool;
        /// Write the write pointer to memory too.
        8:8 wptr_writeback_enable => bool;
        /// Log2 of the ring's size in dwords.
        5:1 rb_size;
        0:0 rb_enable => bool;
    }

    /// Bus address of the interrupt ring, divided by 256 (0xE31).
    pub(crate) IH_RB_BASE(u32) @ 0x38c4 {
        31:0 addr;
    }

    /// Read pointer in bytes (0xE32).
    pub(crate) IH_RB_RPTR(u32) @ 0x38c8 {
        31:0 bytes;
    }

    /// Write pointer in bytes, overflow in bit 0 (0xE33).
    pub(crate) IH_RB_WPTR(u32) @ 0x38cc {
        31:0 bytes;
    }

    /// Where the write pointer is written back, bits 39:32 (0xE34).
    pub(crate) IH_RB_WPTR_ADDR_HI(u32) @ 0x38d0 {
        7:0 addr;
    }

    /// Where the write pointer is written back, bits 31:0 (0xE35).
    pub(crate) IH_RB_WPTR_ADDR_LO(u32) @ 0x38d4 {
        31:0 addr;
    }
}
