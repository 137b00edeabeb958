// SPDX-License-Identifier: GPL-2.0

//! VFIO's callbacks for DMA logging. A kernel without `CONFIG_IOMMUFD_DRIVER` has the structures,
//! but nothing that could report: there VFIO must not believe that we log.

use kernel::{
    bindings,
    error::from_result,
    ffi::{
        c_int,
        c_ulong, //
    }, //
};

use super::{
    device::{
        migration,
        Table, //
    },
    raw, //
};
use crate::log::PAGE_SHIFT;

#[cfg(CONFIG_IOMMUFD_DRIVER)]
mod c {
    extern "C" {
        // Exported by iommufd's `iova_bitmap.c`.
        pub(super) fn iova_bitmap_set(
            bitmap: *mut super::bindings::iova_bitmap,
            iova: super::c_ulong,
            length: usize,
        );
    }
}

/// There is none, and nobody to call it.
#[cfg(not(CONFIG_IOMMUFD_DRIVER))]
mod c {
    use super::{
        bindings::iova_bitmap,
        c_ulong, //
    };

    /// # Safety
    ///
    /// None is needed.
    pub(super) unsafe fn iova_bitmap_set(_: *mut iova_bitmap, _: c_ulong, _: usize) {}
}

static LOG_OPS: Table<raw::vfio_log_ops> = Table(raw::vfio_log_ops {
    log_start: Some(log_start),
    log_stop: Some(log_stop),
    log_read_and_clear: Some(log_read_and_clear),
});

/// Has VFIO offer logging, if the GPU has a log.
///
/// # Safety
///
/// `vdev` must be one of ours, which nobody uses yet.
pub(super) unsafe fn offer(vdev: *mut raw::vfio_device) {
    // SAFETY: By the contract.
    let there = cfg!(CONFIG_IOMMUFD_DRIVER) && unsafe { migration(vdev) }.log().is_there();
    let ops = match there {
        true => &raw const LOG_OPS.0,
        false => core::ptr::null(),
    };
    // SAFETY: By the contract; VFIO looks at it in calls of whoever uses the device.
    unsafe { (*vdev).log_ops = ops };
}

/// All that the VF writes is logged, whatever ranges the user is interested in.
///
/// # Safety
///
/// Only for VFIO's core; `page_size` must be valid for a write.
unsafe extern "C" fn log_start(
    vdev: *mut raw::vfio_device,
    _ranges: *mut bindings::rb_root_cached,
    _count: u32,
    page_size: *mut u64,
) -> c_int {
    from_result(|| {
        // SAFETY: One of ours.
        unsafe { migration(vdev) }.log().start()?;
        // SAFETY: Valid by the contract.
        unsafe { page_size.write(1 << PAGE_SHIFT) };
        Ok(0)
    })
}

/// # Safety
///
/// Only for VFIO's core.
unsafe extern "C" fn log_stop(vdev: *mut raw::vfio_device) -> c_int {
    // SAFETY: One of ours.
    unsafe { migration(vdev) }.log().stop();
    0
}

/// # Safety
///
/// Only for VFIO's core; `dirty` must be a bitmap that has `length` bytes from `iova` on.
unsafe extern "C" fn log_read_and_clear(
    vdev: *mut raw::vfio_device,
    iova: c_ulong,
    length: c_ulong,
    dirty: *mut bindings::iova_bitmap,
) -> c_int {
    from_result(|| {
        let mark = |at: u64, bytes: u64| {
            // CAST: A `u64` and a `usize` are the same here.
            // SAFETY: Valid by the contract; what is marked lies within what was asked for.
            unsafe { c::iova_bitmap_set(dirty, at as c_ulong, bytes as usize) };
        };
        // SAFETY: One of ours.
        unsafe { migration(vdev) }.log().take(
            u64::try_from(iova)?,
            u64::try_from(length)?,
            mark,
        )?;
        Ok(0)
    })
}
