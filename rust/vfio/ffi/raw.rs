// SPDX-License-Identifier: GPL-2.0

//! VFIO's interface in C, as bindgen sees it.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::disallowed_methods,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports,
    reason = "generated"
)]

use kernel::bindings::*;
use kernel::ffi;
use pin_init::MaybeZeroable;

include!("raw_generated.rs");
