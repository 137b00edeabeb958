// SPDX-License-Identifier: GPL-2.0

//! Printing of the core's types: the kernel's `Display` is a trait of its own.

use core::fmt;

/// Prints what `core::fmt::Display` prints.
pub(crate) struct Show<T>(pub(crate) T);

impl<T: fmt::Display> kernel::fmt::Display for Show<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
