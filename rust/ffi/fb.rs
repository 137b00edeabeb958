// SPDX-License-Identifier: GPL-2.0

//! A piece of the framebuffer aperture, mapped write-combining for as long as it is needed.

use core::ptr::NonNull;

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

mod c {
    use kernel::ffi::{
        c_int,
        c_uint,
        c_ulong,
        c_void, //
    };

    // Exported by the kernel, but not among the `kernel` crate's bindings.
    extern "C" {
        pub(super) fn ioremap_wc(phys: kernel::bindings::phys_addr_t, size: c_ulong)
            -> *mut c_void;
        pub(super) fn ioremap(phys: kernel::bindings::phys_addr_t, size: c_ulong) -> *mut c_void;
        pub(super) fn iounmap(addr: *mut c_void);
        pub(super) fn memset_io(addr: *mut c_void, value: c_int, size: usize);
        pub(super) fn memcpy_fromio(to: *mut c_void, from: *const c_void, size: usize);
        pub(super) fn memcpy_toio(to: *mut c_void, from: *const c_void, size: usize);
        pub(super) fn gim_read_wc(to: *mut c_void, from: *const c_void, len: usize);
        pub(super) fn gim_read_wc_user(user: c_ulong, from: *const c_void, len: usize) -> usize;
        pub(super) fn gim_can_read_wc() -> bool;
        pub(super) fn ioread32(addr: *const c_void) -> c_uint;
        pub(super) fn iowrite32(value: c_uint, addr: *mut c_void);
    }
}

/// What streaming loads fetch at once, in bytes.
const LINE: usize = 64;

/// A mapped piece of the aperture.
///
/// # Invariants
///
/// `addr` is a mapping of `size` bytes of device memory, owned by this value.
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
    pub(super) unsafe fn map(phys: u64, size: usize) -> Result<Self> {
        // SAFETY: Mapping device memory that is ours has no other effect.
        let addr = unsafe { c::ioremap_wc(phys, size) };
        // INVARIANT: Just mapped.
        NonNull::new(addr)
            .map(|addr| Self { addr, size })
            .ok_or(ENOMEM)
    }

    /// Maps `size` bytes of registers from bus address `phys`: uncached, in order.
    ///
    /// # Safety
    ///
    /// The range must lie within a BAR of a device that this driver, or the PF it drives, governs.
    pub(super) unsafe fn map_registers(phys: u64, size: usize) -> Result<Self> {
        // SAFETY: Mapping device memory that is ours has no other effect.
        let addr = unsafe { c::ioremap(phys, size) };
        // INVARIANT: Just mapped.
        NonNull::new(addr)
            .map(|addr| Self { addr, size })
            .ok_or(ENOMEM)
    }

    /// Reads the dword at byte `at`; one outside reads as all ones, like a device that is gone.
    pub(crate) fn read32(&self, at: usize) -> u32 {
        if !self.holds(at) {
            return u32::MAX;
        }
        // SAFETY: Inside of the mapping, and aligned.
        unsafe { c::ioread32(self.addr.as_ptr().byte_add(at)) }
    }

    /// Writes the dword at byte `at`; one outside is ignored.
    pub(crate) fn write32(&self, at: usize, value: u32) {
        if self.holds(at) {
            // SAFETY: Inside of the mapping, and aligned.
            unsafe { c::iowrite32(value, self.addr.as_ptr().byte_add(at)) }
        }
    }

    fn holds(&self, at: usize) -> bool {
        at % 4 == 0 && at.checked_add(4).is_some_and(|end| end <= self.size)
    }

    /// Reads the bytes from byte `at` on.
    ///
    /// Errors: `EINVAL` where the window does not reach so far.
    pub(crate) fn copy_out(&self, at: usize, to: &mut [u8]) -> Result {
        let end = at.checked_add(to.len()).ok_or(EINVAL)?;
        if end > self.size {
            return Err(EINVAL);
        }
        let aligned = at % LINE == 0 && to.len() % LINE == 0 && to.as_ptr().addr() % LINE == 0;
        // SAFETY: Inside of the mapping; the destination is ours alone; what the fast way asks of
        // alignment, CPU and context was checked.
        unsafe {
            let from = self.addr.as_ptr().byte_add(at);
            if aligned && c::gim_can_read_wc() {
                c::gim_read_wc(to.as_mut_ptr().cast(), from, to.len());
            } else {
                c::memcpy_fromio(to.as_mut_ptr().cast(), from, to.len());
            }
        }
        Ok(())
    }

    /// Reads `len` bytes from byte `at` on to address `user` of the calling process, with nothing
    /// between. Returns whether it was done: it takes whole pages of ordinary memory, and a CPU that
    /// has streaming loads.
    ///
    /// Errors: `EINVAL` where the window does not reach so far.
    pub(crate) fn copy_to_user(&self, at: usize, user: usize, len: usize) -> Result<bool> {
        let end = at.checked_add(len).ok_or(EINVAL)?;
        if end > self.size || user.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        // SAFETY: It may be called anywhere.
        let can = unsafe { c::gim_can_read_wc() };
        if !can || at % LINE != 0 || user % PAGE_SIZE != 0 || len % PAGE_SIZE != 0 {
            return Ok(false);
        }
        // SAFETY: Inside of the mapping; the rest was checked. What memory the process has there is
        // looked for by the function.
        let done = unsafe {
            let from = self.addr.as_ptr().byte_add(at);
            c::gim_read_wc_user(user, from, len)
        };
        Ok(done == len)
    }

    /// Writes the bytes from byte `at` on.
    ///
    /// Errors: `EINVAL` where the window does not reach so far.
    pub(crate) fn copy_in(&self, at: usize, from: &[u8]) -> Result {
        let end = at.checked_add(from.len()).ok_or(EINVAL)?;
        if end > self.size {
            return Err(EINVAL);
        }
        // SAFETY: Inside of the mapping.
        unsafe {
            let to = self.addr.as_ptr().byte_add(at);
            c::memcpy_toio(to, from.as_ptr().cast(), from.len());
        }
        Ok(())
    }

    /// Zeroes `len` bytes from byte `at` on.
    ///
    /// Errors: `EINVAL` where the window does not reach so far.
    pub(crate) fn zero_range(&self, at: usize, len: usize) -> Result {
        let end = at.checked_add(len).ok_or(EINVAL)?;
        if end > self.size {
            return Err(EINVAL);
        }
        // SAFETY: Inside of the mapping.
        unsafe { c::memset_io(self.addr.as_ptr().byte_add(at), 0, len) }
        Ok(())
    }

    /// Zeroes the whole window.
    pub(crate) fn zero(&self) {
        // SAFETY: The mapping covers `size` bytes by the invariant.
        unsafe { c::memset_io(self.addr.as_ptr(), 0, self.size) }
    }
}

// SAFETY: A mapping may be used from any thread; accesses of dwords do not tear.
unsafe impl Send for FbWindow {}
// SAFETY: As above.
unsafe impl Sync for FbWindow {}

impl Drop for FbWindow {
    fn drop(&mut self) {
        // SAFETY: Mapped by us, by the invariant, and not used after this.
        unsafe { c::iounmap(self.addr.as_ptr()) }
    }
}
