// SPDX-License-Identifier: GPL-2.0

//! The messages of the PF/VF mailbox (gpu-iov-hardware.md, 4.2): codes, and the parser of what a
//! guest sent.

use super::{
    event::MailWords,
    exchange, //
};

/// What a guest may ask or say. Anything else is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GuestMessage {
    /// REQ_GPU_INIT_ACCESS: let me initialise.
    ReqInit = 1,
    /// REL_GPU_INIT_ACCESS: I have initialised.
    RelInit = 2,
    /// REQ_GPU_FINI_ACCESS: let me unload.
    ReqFini = 3,
    /// REL_GPU_FINI_ACCESS: I have unloaded.
    RelFini = 4,
    /// REQ_GPU_RESET_ACCESS: reset me, then let me initialise.
    ReqReset = 5,
    /// REQ_GPU_INIT_DATA: have what you tell me ready in my framebuffer.
    ReqInitData = 6,
    /// READY_TO_RESET: I have stopped, you may reset me.
    ReadyToReset = 201,
}

impl GuestMessage {
    /// All messages.
    pub const ALL: [Self; 7] = [
        Self::ReqInit,
        Self::RelInit,
        Self::ReqFini,
        Self::RelFini,
        Self::ReqReset,
        Self::ReqInitData,
        Self::ReadyToReset,
    ];

    /// What the words mean, or `None` if nothing that is known; only the first word counts.
    pub fn parse(words: &MailWords) -> Option<Self> {
        Some(match words[0] {
            1 => Self::ReqInit,
            2 => Self::RelInit,
            3 => Self::ReqFini,
            4 => Self::RelFini,
            5 => Self::ReqReset,
            6 => Self::ReqInitData,
            201 => Self::ReadyToReset,
            _ => return None,
        })
    }

    /// The words, as a guest sends them.
    pub const fn words(self) -> MailWords {
        // CAST: the discriminants are the codes.
        [self as u32, 0, 0, 0]
    }
}

/// What the guest drivers of a chip know beside the messages that all know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// They answer FLR_NOTIFICATION by READY_TO_RESET.
    pub ready_to_reset: bool,
    /// They read what the host writes to the VF's framebuffer, and ask for it by REQ_GPU_INIT_DATA.
    pub exchange: bool,
}

/// What the host says to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HostMessage {
    /// READY_TO_ACCESS_GPU: the GPU is yours.
    Ready = 1,
    /// FLR_NOTIFICATION: you are about to be reset.
    FlrNotification = 2,
    /// FLR_NOTIFICATION_CMPL: you have been reset.
    FlrComplete = 3,
    /// QUERY_ALIVE: nothing; but the interrupt has the guest look at all that may have happened.
    QueryAlive = 6,
    /// GPU_INIT_DATA_READY: what I tell you is in your framebuffer.
    InitDataReady = 7,
}

impl HostMessage {
    /// All messages.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::FlrNotification,
        Self::FlrComplete,
        Self::QueryAlive,
        Self::InitDataReady,
    ];

    /// What the words mean, as a guest reads them.
    pub fn parse(words: &MailWords) -> Option<Self> {
        Some(match words[0] {
            1 => Self::Ready,
            2 => Self::FlrNotification,
            3 => Self::FlrComplete,
            6 => Self::QueryAlive,
            7 => Self::InitDataReady,
            _ => return None,
        })
    }

    /// The words to send.
    pub const fn words(self) -> MailWords {
        // CAST: the discriminants are the codes.
        let code = self as u32;
        match self {
            Self::InitDataReady => [code, exchange::LAYOUT, 0, 0],
            _ => [code, 0, 0, 0],
        }
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_mailbox:
        codes_go_there_and_back,
        nothing_else_is_a_message,
        the_other_words_are_not_looked_at,
    }

    fn codes_go_there_and_back() {
        for msg in GuestMessage::ALL {
            assert_eq!(GuestMessage::parse(&msg.words()), Some(msg));
        }
        for msg in HostMessage::ALL {
            assert_eq!(HostMessage::parse(&msg.words()), Some(msg));
        }
    }

    fn nothing_else_is_a_message() {
        for code in (0..=0xFFFF).chain(u32::MAX - 0xFFFF..=u32::MAX) {
            let known = GuestMessage::parse(&[code, 0, 0, 0]).is_some();
            assert_eq!(known, matches!(code, 1..=6 | 201), "{code}");
            let known = HostMessage::parse(&[code, 0, 0, 0]).is_some();
            assert_eq!(known, matches!(code, 1..=3 | 6 | 7), "{code}");
        }
    }

    fn the_other_words_are_not_looked_at() {
        let words = [1, u32::MAX, 7, 0xDEAD_BEEF];
        assert_eq!(GuestMessage::parse(&words), Some(GuestMessage::ReqInit));
    }
}
