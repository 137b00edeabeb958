// SPDX-License-Identifier: GPL-2.0

//! Tracepoints, each as a safe function; they are defined in `trace_points.h`.

/// Declares the C side of a tracepoint and a safe function that calls it.
///
/// The `kernel` crate's `declare_trace!` looks for the symbols in its own bindings, which an
/// out-of-tree module cannot extend.
macro_rules! tracepoint {
    ($(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $ty:ty),*) = $key:ident, $call:ident;
    )*) => {
        mod c {
            #[allow(improper_ctypes, reason = "the kernel's tracepoint holds zero-sized lock keys")]
            extern "C" {
                $(
                    pub(super) static $key: kernel::bindings::tracepoint;
                    pub(super) fn $call($($arg: $ty),*);
                )*
            }
        }

        $(
            $(#[$doc])*
            #[inline(always)]
            pub(crate) fn $name($($arg: $ty),*) {
                // SAFETY: `trace_points.c` defines this tracepoint, with its static key.
                let enabled = unsafe {
                    kernel::jump_label::static_branch_unlikely!(
                        c::$key,
                        kernel::bindings::tracepoint,
                        key
                    )
                };
                if enabled {
                    // SAFETY: The tracepoint takes plain numbers and may be called in any context.
                    unsafe { c::$call($($arg),*) }
                }
            }
        )*
    };
}

tracepoint! {
    /// The engine passed from one function to another.
    switch(gpu: u32, from: u32, to: u32, took_ns: u64)
        = __tracepoint_gim_switch, rust_do_trace_gim_switch;
    /// A VF's life-cycle state changed.
    state(gpu: u32, vf: u32, from: u32, to: u32)
        = __tracepoint_gim_state, rust_do_trace_gim_state;
    /// A mailbox message was received (0), sent (1) or dropped (2).
    mailbox(gpu: u32, vf: u32, dir: u32, code: u32, data: u32)
        = __tracepoint_gim_mailbox, rust_do_trace_gim_mailbox;
    /// A VF is being reset.
    reset(gpu: u32, vf: u32, reason: u32)
        = __tracepoint_gim_reset, rust_do_trace_gim_reset;
    /// A VF has exceeded a limit, and what is done about it.
    guard(gpu: u32, vf: u32, limit: u32, act: u32)
        = __tracepoint_gim_guard, rust_do_trace_gim_guard;
    /// A command failed or timed out.
    command_failed(gpu: u32, command: u32, fcn: u32, status: u32)
        = __tracepoint_gim_command_failed, rust_do_trace_gim_command_failed;
}
