// SPDX-License-Identifier: GPL-2.0

//! The argument of `VFIO_MIG_GET_PRECOPY_INFO`.

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

use super::raw;

/// The argument.
#[repr(transparent)]
struct Info(raw::vfio_precopy_info);

// SAFETY: Integers without padding.
unsafe impl AsBytes for Info {}
// SAFETY: Integers: any bytes are a value.
unsafe impl FromBytes for Info {}

/// Whether this is the ioctl.
pub(crate) fn is_info(cmd: u32) -> bool {
    // _IO(';', 100 + 21), which bindgen does not evaluate.
    cmd == kernel::ioctl::_IO(raw::VFIO_TYPE.into(), raw::VFIO_BASE + 21)
}

/// Answers it. With `v2` the flags are ours; without, they are whatever the caller has there.
pub(crate) fn answer(arg: usize, v2: bool, bytes: impl FnOnce() -> Result<(u64, u64)>) -> Result {
    let slice = || UserSlice::new(UserPtr::from_addr(arg), size_of::<Info>());
    let mut info: Info = slice().reader().read()?;
    if usize::try_from(info.0.argsz)? < size_of::<Info>() {
        return Err(EINVAL);
    }
    if v2 {
        // Initial data never comes anew.
        info.0.flags = 0;
    }
    (info.0.initial_bytes, info.0.dirty_bytes) = bytes()?;
    slice().writer().write(&info)
}
