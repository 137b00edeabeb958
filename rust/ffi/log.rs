// SPDX-License-Identifier: GPL-2.0

//! Rate limits for the log: what a guest can cause, or whoever has a VF's file, must not flood it.

mod c {
    extern "C" {
        pub(super) fn gim_may_log() -> bool;
        pub(super) fn gim_may_log_stream() -> bool;
    }
}

/// Whether a message that a guest can cause may be printed now: at most 10 in 5 seconds. What is
/// suppressed is still a tracepoint and a counter.
pub(crate) fn may_log() -> bool {
    // SAFETY: May be called in any context.
    unsafe { c::gim_may_log() }
}

/// The same for what users of `/dev/gim` and VFIO can cause, counted apart: neither of them shall
/// hide what the other does.
pub(crate) fn may_log_stream() -> bool {
    // SAFETY: May be called in any context.
    unsafe { c::gim_may_log_stream() }
}
