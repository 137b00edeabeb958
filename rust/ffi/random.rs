// SPDX-License-Identifier: GPL-2.0

//! Numbers that nobody can guess.

/// A random number.
pub(crate) fn number() -> u64 {
    // SAFETY: May be called in any context.
    unsafe { kernel::bindings::get_random_u64() }
}
