// SPDX-License-Identifier: GPL-2.0

//! The physical function as something that outlives one call, and operations on its VFs.

use core::ptr::NonNull;

use kernel::{
    bindings,
    device::Bound,
    error::to_result,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

use super::fb::FbWindow;

mod c {
    use kernel::bindings::pci_dev;

    #[allow(
        improper_ctypes,
        reason = "the kernel's structures hold zero-sized lock keys"
    )]
    extern "C" {
        pub(super) fn gim_pci_disable_sriov_unbind(pf: *mut pci_dev);
        pub(super) fn gim_pci_save_vfs(pf: *mut pci_dev);
        pub(super) fn gim_pci_restore_vfs(pf: *mut pci_dev);
        pub(super) fn gim_pci_link_vfs(pf: *mut pci_dev);
        pub(super) fn gim_pci_silence(pf: *mut pci_dev);
        pub(super) fn gim_pci_gone(dev: *mut pci_dev) -> bool;
        pub(super) fn gim_pci_is_enabled(dev: *mut pci_dev) -> bool;
        pub(super) fn gim_pci_try_reset_with_vfs(pf: *mut pci_dev) -> kernel::ffi::c_int;
        pub(super) fn gim_capable() -> bool;
        pub(super) fn gim_pci_domain(dev: *mut pci_dev) -> kernel::ffi::c_int;
        pub(super) fn gim_pci_get_vf(pf: *mut pci_dev, n: kernel::ffi::c_uint) -> *mut pci_dev;
    }
}

/// `pci::Device::as_raw` is private, but the type is transparent over `struct pci_dev`.
fn raw<C: kernel::device::DeviceContext>(pdev: &pci::Device<C>) -> *mut bindings::pci_dev {
    core::ptr::from_ref(pdev).cast_mut().cast()
}

/// Where a function is on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// PCI domain.
    pub(crate) domain: u32,
    /// Bus, device and function: bus << 8 | device << 3 | function.
    pub(crate) id: u16,
}

/// A PF that stays bound to this driver for as long as the value exists.
///
/// # Invariants
///
/// The device is bound to this driver.
pub(crate) struct BoundPf(ARef<pci::Device>);

impl BoundPf {
    /// Keeps hold of a bound device.
    ///
    /// # Safety
    ///
    /// The value, and everything made from [`Self::get`], must be gone before the driver's data is
    /// freed after unbind.
    pub(crate) unsafe fn new(pdev: &pci::Device<Bound>) -> Self {
        // INVARIANT: Bound now, and until the caller keeps its promise.
        Self(ARef::from(&**pdev))
    }

    /// The device.
    ///
    /// The lifetime is `'static` because timers, interrupts and work items must be `'static`; what
    /// bounds it really is the promise given to [`Self::new`].
    pub(crate) fn get(&self) -> &'static pci::Device<Bound> {
        // SAFETY: Device contexts do not change the representation; the device is bound by the
        // invariant, and the reference count of `self` outlives what is made of this by the
        // contract of `new`.
        unsafe { &*core::ptr::from_ref(&*self.0).cast::<pci::Device<Bound>>() }
    }

    /// Where it is on the bus.
    pub(crate) fn address(&self) -> Address {
        // SAFETY: The device is valid.
        let domain = unsafe { c::gim_pci_domain(raw(self.get())) };
        Address {
            domain: domain.unsigned_abs(),
            id: self.get().dev_id(),
        }
    }

    /// Maps `len` bytes of registers from byte `at` of a BAR on.
    pub(crate) fn registers(&self, bar: u32, at: u64, len: usize) -> Result<FbWindow> {
        let pdev = self.get();
        let (start, size) = (pdev.resource_start(bar)?, pdev.resource_len(bar)?);
        let end = at.checked_add(u64::try_from(len)?).ok_or(EINVAL)?;
        if end > size {
            return Err(EINVAL);
        }
        // SAFETY: Inside of a BAR of the device that we are bound to.
        unsafe { FbWindow::map_registers(start + at, len) }
    }

    /// Enables `count` VFs; their drivers probe synchronously.
    pub(crate) fn enable_vfs(&self, count: u16) -> Result {
        // SAFETY: The device is valid; the caller of `sriov_configure` or probe holds its lock.
        to_result(unsafe { bindings::pci_enable_sriov(raw(self.get()), c_int::from(count)) })?;
        // SAFETY: The device is valid.
        unsafe { c::gim_pci_link_vfs(raw(self.get())) };
        Ok(())
    }

    /// Disables all VFs; waits for their users (VFIO) to let go. From `sriov_configure`, and where
    /// enabling has failed.
    pub(crate) fn disable_vfs(&self) {
        // SAFETY: As above; disabling when none is enabled does nothing.
        unsafe { bindings::pci_disable_sriov(raw(self.get())) }
    }

    /// Disables all VFs while the driver is being unbound, under the locks that this needs.
    pub(crate) fn disable_vfs_at_unbind(&self) {
        // SAFETY: The device is valid, and the driver core holds its lock.
        unsafe { c::gim_pci_disable_sriov_unbind(raw(self.get())) }
    }

    /// How many VFs are enabled, whoever has done that.
    pub(crate) fn num_vfs(&self) -> u16 {
        // SAFETY: The device is valid.
        let count = unsafe { bindings::pci_num_vf(raw(self.get())) };
        u16::try_from(count).unwrap_or(0)
    }

    /// Whether a VF is in use by a guest (assigned by a legacy assigner or marked as such).
    pub(crate) fn vfs_assigned(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { bindings::pci_vfs_assigned(raw(self.get())) != 0 }
    }

    /// Resets the PF (FLR) and restores its configuration and that of its VFs. Sleeps.
    ///
    /// Fails with `EAGAIN` while somebody else holds the PF's lock.
    pub(crate) fn try_reset_with_vfs(&self) -> Result {
        // SAFETY: The device is valid.
        to_result(unsafe { c::gim_pci_try_reset_with_vfs(raw(self.get())) })
    }

    /// Resets the PF like [`Self::try_reset_with_vfs`], from a callback that has its lock: its VFs'
    /// configuration is not saved before, only restored.
    pub(crate) fn reset_locked(&self) -> Result {
        // SAFETY: The device is valid; the driver core holds its lock during callbacks.
        to_result(unsafe { bindings::pci_reset_function_locked(raw(self.get())) })
    }

    /// Remembers the configuration of the PF, for [`Self::restore`].
    pub(crate) fn save(&self) {
        // SAFETY: The device is valid. A capability that cannot be saved for want of memory is
        // left out.
        let _ = unsafe { bindings::pci_save_state(raw(self.get())) };
    }

    /// Gives the PF its configuration again, VFs enabled as they were, and lets it use the bus.
    pub(crate) fn restore(&self) {
        // SAFETY: The device is valid, and its configuration was saved at the end of probe.
        unsafe {
            bindings::pci_restore_state(raw(self.get()));
            bindings::pci_set_master(raw(self.get()));
        }
    }

    /// Remembers the configuration of all VFs.
    pub(crate) fn save_vfs(&self) {
        // SAFETY: The device is valid.
        unsafe { c::gim_pci_save_vfs(raw(self.get())) }
    }

    /// Gives all VFs the configuration that was remembered last, by us or by the PCI core.
    pub(crate) fn restore_vfs(&self) {
        // SAFETY: The device is valid.
        unsafe { c::gim_pci_restore_vfs(raw(self.get())) }
    }

    /// Keeps PF and VFs from writing to memory.
    pub(crate) fn silence(&self) {
        // SAFETY: The device is valid.
        unsafe { c::gim_pci_silence(raw(self.get())) }
    }

    /// Whether the PCI core knows that the device was pulled out.
    pub(crate) fn is_gone(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { c::gim_pci_gone(raw(self.get())) }
    }

    /// Where an extended capability starts, searching on from `after` (0: from the start).
    pub(crate) fn next_ext_capability(&self, after: u16, id: u16) -> Option<u16> {
        // SAFETY: The device is valid; config space is only read.
        let pos = unsafe {
            bindings::pci_find_next_ext_capability(raw(self.get()), after, c_int::from(id))
        };
        (pos != 0).then_some(pos)
    }

    /// Looks up VF `n`; `None` when it is not enabled.
    pub(crate) fn vf(&self, n: u8) -> Option<VfDevice> {
        // SAFETY: The device is valid; the helper only walks the device list.
        let vf = unsafe { c::gim_pci_get_vf(raw(self.get()), c_uint::from(n)) };
        // INVARIANT: The helper returns a device with a reference, which passes to us.
        NonNull::new(vf).map(VfDevice)
    }
}

/// A BAR of the PF that no other driver may use while this exists.
///
/// # Invariants
///
/// The region was requested by this value; it is `len` bytes from bus address `start` on.
pub(crate) struct Claim {
    pf: &'static pci::Device<Bound>,
    bar: c_int,
    start: u64,
    len: u64,
}

impl Claim {
    /// Claims a BAR without mapping it.
    pub(crate) fn new(pf: &BoundPf, bar: u8, name: &'static CStr) -> Result<Self> {
        let pf = pf.get();
        let (start, len) = (pf.resource_start(bar.into())?, pf.resource_len(bar.into())?);
        let bar = c_int::from(bar);
        // SAFETY: The device is valid, the name is static.
        to_result(unsafe { bindings::pci_request_region(raw(pf), bar, name.as_char_ptr()) })?;
        // INVARIANT: Just requested.
        Ok(Self {
            pf,
            bar,
            start,
            len,
        })
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Maps `len` bytes from byte `at` of the BAR on.
    pub(crate) fn window(&self, at: u64, len: usize) -> Result<FbWindow> {
        let end = at.checked_add(u64::try_from(len)?).ok_or(EINVAL)?;
        if end > self.len {
            return Err(EINVAL);
        }
        // SAFETY: The range lies within the BAR, which is ours by the invariant.
        unsafe { FbWindow::map(self.start + at, len) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // SAFETY: Requested by us, by the invariant.
        unsafe { bindings::pci_release_region(raw(self.pf), self.bar) }
    }
}

/// A VF's PCI device.
///
/// # Invariants
///
/// Points to a valid `struct pci_dev` of which this value owns a reference.
pub(crate) struct VfDevice(NonNull<bindings::pci_dev>);

// SAFETY: A reference to a device belongs to no thread.
unsafe impl Send for VfDevice {}

impl VfDevice {
    /// Whether a driver has enabled the function, as VFIO does while it is open. From interrupts too.
    pub(crate) fn is_enabled(&self) -> bool {
        // SAFETY: The device is valid by the invariant; a counter is read.
        unsafe { c::gim_pci_is_enabled(self.0.as_ptr()) }
    }

    /// Resets the function (FLR) and restores its configuration. Sleeps at least 100 ms.
    ///
    /// Fails with `EAGAIN` while somebody else holds the device's lock.
    pub(crate) fn try_reset(&self) -> Result {
        // SAFETY: The device is valid by the invariant.
        to_result(unsafe { bindings::pci_try_reset_function(self.0.as_ptr()) })
    }

    /// Maps `len` bytes of registers from byte `at` of a BAR on; its user may have them mapped too.
    pub(crate) fn registers(&self, bar: u8, at: u64, len: usize) -> Result<FbWindow> {
        // SAFETY: The device is valid by the invariant.
        let res = unsafe { (*self.0.as_ptr()).resource.get(usize::from(bar)).copied() };
        let res = res.ok_or(EINVAL)?;
        let (first, last) = (res.start, res.end);
        let from = first.checked_add(at).ok_or(EINVAL)?;
        let end = from.checked_add(u64::try_from(len)?).ok_or(EINVAL)?;
        if first == 0 || end > last.saturating_add(1) {
            return Err(EINVAL);
        }
        // SAFETY: Inside of a BAR of a VF of the PF that we are bound to.
        unsafe { FbWindow::map_registers(from, len) }
    }

    /// The kobject that stands for it in sysfs.
    pub(super) fn kobj(&self) -> *mut bindings::kobject {
        // SAFETY: The device is valid by the invariant; only an address is computed.
        unsafe { &raw mut (*self.0.as_ptr()).dev.kobj }
    }
}

impl Drop for VfDevice {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the invariant.
        unsafe { bindings::pci_dev_put(self.0.as_ptr()) }
    }
}

/// The kobject that stands for the PF in sysfs.
pub(super) fn kobj(pf: &BoundPf) -> *mut bindings::kobject {
    // SAFETY: The device is valid; only an address is computed.
    unsafe { &raw mut (*raw(pf.get())).dev.kobj }
}

/// Whether the calling process may do what the administrator may.
pub(crate) fn may_administrate() -> bool {
    // SAFETY: Looks at the current task's credentials; called from ioctls only.
    unsafe { c::gim_capable() }
}
