// SPDX-License-Identifier: GPL-2.0

//! What the core's tests need, wherever they run: `cargo test` on a host, KUnit in a kernel.
//!
//! A case is an ordinary function, and its module lists it:
//!
//! ```text
//! #[cfg(any(test, kunit))]
//! mod tests {
//!     use super::*;
//!
//!     cases! {
//!         gim_something:
//!         it_works,
//!     }
//!
//!     fn it_works() {
//!         let all: Vec<u32> = (0..3).collect();
//!         assert_eq!(all, [0, 1, 2], "{all:?}");
//!     }
//! }
//! ```
//!
//! A case that is forgotten in the list is dead code, which the compiler tells. A `#[test]` of its
//! own, outside of the list, runs on the host only: what needs threads or much time.

/// Makes functions the cases of a KUnit suite, and tests of the host.
macro_rules! cases {
    ($suite:ident: $($case:ident),+ $(,)?) => {
        #[cfg(kunit)]
        #[allow(unused_imports, reason = "not every suite uses containers")]
        use $crate::gim_core::testing::*;

        #[cfg_attr(kunit, ::kernel::macros::kunit_tests($suite))]
        mod cases {
            $(
                #[test]
                fn $case() {
                    super::$case()
                }
            )+
        }
    };
}

#[cfg(kunit)]
#[macro_use]
mod kunit;
#[cfg(kunit)]
pub(crate) use kunit::*;

/// Divides the repetitions of a long case: the kernel that runs it is a slow one, full of checks.
pub(crate) const FEWER: u32 = if cfg!(kunit) { 20 } else { 1 };
