// SPDX-License-Identifier: GPL-2.0

//! The structures of `include/uapi/gim.h`, as bindgen sees them, and how they cross the border.

use core::mem::size_of;

use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

#[allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]
mod generated {
    include!("uapi_generated.rs");
}

pub(crate) use self::generated::*;

/// An argument of an ioctl: it begins with `argsz` and `flags`.
pub(crate) trait Argument: AsBytes + FromBytes + Default {
    /// Bytes that the caller knows.
    fn argsz(&mut self) -> &mut u32;
}

macro_rules! arguments {
    ($($name:ident),* $(,)?) => {
        $(
            // SAFETY: Integers without padding: bindgen's layout tests and the sizes below say so.
            unsafe impl AsBytes for $name {}
            // SAFETY: Integers: any bytes are a value.
            unsafe impl FromBytes for $name {}

            impl Argument for $name {
                fn argsz(&mut self) -> &mut u32 {
                    &mut self.argsz
                }
            }
        )*
    };
}

arguments!(
    gim_open_vf,
    gim_vf_info,
    gim_vf_pause,
    gim_vf_hold,
    gim_vf_touched,
    gim_vf_save,
    gim_vf_restore,
    gim_dirty_start,
    gim_dirty_bitmap,
    gim_fb_io,
    gim_stream_info,
);

/// The most that a caller may say it knows: far more than any version will.
const ARGSZ_MAX: usize = 4096;

/// Reads an argument. What the caller knows and we do not must be zero; what it does not know is.
pub(crate) fn read<T: Argument>(arg: usize) -> Result<T> {
    let mut reader = UserSlice::new(UserPtr::from_addr(arg), size_of::<u32>()).reader();
    let argsz = usize::try_from(reader.read::<u32>()?)?;
    if !(2 * size_of::<u32>()..=ARGSZ_MAX).contains(&argsz) {
        return Err(EINVAL);
    }
    let mut value = T::default();
    let known = argsz.min(size_of::<T>());
    let mut reader = UserSlice::new(UserPtr::from_addr(arg), argsz).reader();
    let bytes = <T as AsBytes>::as_bytes_mut(&mut value);
    reader.read_slice(bytes.get_mut(..known).ok_or(EINVAL)?)?;
    while !reader.is_empty() {
        if reader.read::<u8>()? != 0 {
            return Err(E2BIG);
        }
    }
    // It may have changed since it was read first.
    *value.argsz() = u32::try_from(argsz)?;
    Ok(value)
}

/// Writes the answer back, as much of it as the caller knows; `argsz` tells it what there is.
pub(crate) fn write<T: Argument>(arg: usize, mut value: T) -> Result {
    let known = usize::try_from(*value.argsz())?.min(size_of::<T>());
    *value.argsz() = u32::try_from(size_of::<T>())?;
    let bytes = value.as_bytes();
    let out = bytes.get(..known).ok_or(EINVAL)?;
    UserSlice::new(UserPtr::from_addr(arg), known)
        .writer()
        .write_slice(out)
}
