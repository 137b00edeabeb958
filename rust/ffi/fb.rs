// SPDX-License-Identifier: GPL-2.0

//! A piece of the framebuffer aperture, mapped write-combining for as long as it is needed.

use core::ptr::NonNull;

use kernel::prelude::*;

mod c {
    use kernel::ffi::{
        c_int,
        c_ulong,
        c_void, //
    };

    // Exported by the kernel, but not among the `kernel` crate's bindings.
    extern "C" {
        pub(super) fn ioremap_wc(phys: kernel::bindings::phys_addr_t, size: c_ulong)
            -> *mut c_void;
        pub(super) fn iounmap(addr: *mut c_void);
        pub(super) fn memset_io(addr: *mut c_void, value: c_int, size: usize);
    }
}

/// A mapped piece of the aperture.
///
/// # Invariants
///
/// `addr` is a write-combining mapping of `size` bytes of device memory, owned by this value.
pub(crate) struct FbWindow {
    addr: NonNull<c_void>,
    size: usize,
}

impl FbWindow {
    /// Maps `size` bytes from bus address `phys`, which must be device memory of a BAR that this
    /// driver has requested.
    ///
    /// # Safety
    ///
    /// The range must lie within such a BAR, and nothing else may rely on its contents.
    pub(crate) unsafe fn map(phys: u64, size: usize) -> Result<Self> {
        // SAFETY: Mapping device memory that is ours has no other effect.
        let addr = unsafe { c::ioremap_wc(phys, size) };
        // INVARIANT: Just mapped.
        NonNull::new(addr)
            .map(|addr| Self { addr, size })
            .ok_or(ENOMEM)
    }

    /// Zeroes the whole window.
    pub(crate) fn zero(&self) {
        // SAFETY: The mapping covers `size` bytes by the invariant.
        unsafe { c::memset_io(self.addr.as_ptr(), 0, self.size) }
    }
}

impl Drop for FbWindow {
    fn drop(&mut self) {
        // SAFETY: Mapped by us, by the invariant, and not used after this.
        unsafe { c::iounmap(self.addr.as_ptr()) }
    }
}
