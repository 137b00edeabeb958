// SPDX-License-Identifier: GPL-2.0

//! CRC32C by the kernel, which uses what the CPU has for it.

use kernel::{
    ffi::c_void,
    prelude::*, //
};

use crate::gim_core::stream::crc::Crc32c;

mod c {
    extern "C" {
        pub(super) fn gim_crc32c(rest: u32, bytes: *const super::c_void, len: usize) -> u32;
    }
}

/// Appends bytes to a remainder, as the core's streams want it.
pub(crate) fn update(rest: u32, bytes: &[u8]) -> u32 {
    // SAFETY: The bytes are valid, and only read.
    unsafe { c::gim_crc32c(rest, bytes.as_ptr().cast(), bytes.len()) }
}

/// Whether it computes what the core's own tables do.
pub(crate) fn check() -> Result {
    let text = b"the same CRC, whoever computes it";
    let mut crc = Crc32c::by(update);
    crc.update(text);
    match crc.value() == Crc32c::of(text) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}
