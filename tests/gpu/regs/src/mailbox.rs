// SPDX-License-Identifier: GPL-2.0
//! Mailbox bits and messages between PF and VF (gpu-iov-hardware.md, sections 4.1 and 4.2).

/// CONTROL: the outgoing message is valid; written by the sender.
pub const TRN_VALID: u32 = 1 << 0;
/// CONTROL: the peer has acknowledged it; read-only.
pub const TRN_ACK: u32 = 1 << 1;
/// CONTROL: there is a message from the peer; read-only.
pub const RCV_VALID: u32 = 1 << 8;
/// CONTROL: acknowledge the peer's message; write 1, reads 0.
pub const RCV_ACK: u32 = 1 << 9;

/// INT_CNTL: interrupt when a message arrives.
pub const VALID_INT_EN: u32 = 1 << 0;
/// INT_CNTL: interrupt when the own message was acknowledged.
pub const ACK_INT_EN: u32 = 1 << 1;

/// What a VF says to the PF, in its first dword.
pub mod request {
    /// Wants the GPU for itself to initialise.
    pub const REQ_INIT_ACCESS: u32 = 1;
    /// Has finished initialising.
    pub const REL_INIT_ACCESS: u32 = 2;
    /// Wants the GPU for itself to shut down.
    pub const REQ_FINI_ACCESS: u32 = 3;
    /// Has finished shutting down.
    pub const REL_FINI_ACCESS: u32 = 4;
    /// Wants to be reset and to initialise again.
    pub const REQ_RESET_ACCESS: u32 = 5;
    /// Wants what the host has to tell it ([`crate::exchange`]).
    pub const REQ_INIT_DATA: u32 = 6;
    /// Reports an error of its driver.
    pub const LOG_VF_ERROR: u32 = 200;
    /// Has stopped and may be reset.
    pub const READY_TO_RESET: u32 = 201;
    /// Eight characters in dwords 2 and 3.
    pub const TEXT_MESSAGE: u32 = 255;
}

/// What the PF says to a VF, in its first dword.
pub mod event {
    /// Nothing.
    pub const CLR_MSG_BUF: u32 = 0;
    /// The VF has the GPU for itself.
    pub const READY_TO_ACCESS_GPU: u32 = 1;
    /// The VF is about to be reset.
    pub const FLR_NOTIFICATION: u32 = 2;
    /// The VF was reset.
    pub const FLR_NOTIFICATION_CMPL: u32 = 3;
    /// What the host has to tell is there; its layout is in dword 1.
    pub const INIT_DATA_READY: u32 = 7;
    /// Eight characters in dwords 2 and 3.
    pub const TEXT_MESSAGE: u32 = 255;
}
