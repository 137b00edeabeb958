// SPDX-License-Identifier: GPL-2.0

//! Registration of a PCI driver that has VFs: the callbacks `pci::Driver` does not offer.

use core::marker::PhantomData;

use kernel::{
    bindings,
    device,
    driver,
    error::from_result,
    pci,
    prelude::*,
    types::Opaque, //
};

/// A PCI driver for a physical function.
pub(crate) trait PfDriver: pci::Driver {
    /// The administrator wrote `num_vfs` to `sriov_numvfs`; 0 disables.
    ///
    /// Runs with the PF's device lock and the PCI rescan lock held. Returns how many VFs are
    /// enabled now.
    fn sriov_configure<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
        num_vfs: u16,
    ) -> Result<u16>;
}

/// Registers a [`PfDriver`]: `pci::Adapter` plus the fields that it leaves empty.
pub(crate) struct Adapter<T: PfDriver>(PhantomData<T>);

// SAFETY: These are the facts `pci::Adapter<T>` states for the same types.
unsafe impl<T: PfDriver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::pci_driver;
    type DriverData<'bound> = T::Data<'bound>;
    const DEVICE_DRIVER_OFFSET: usize = core::mem::offset_of!(bindings::pci_driver, driver);
}

// SAFETY: Registration and its undoing are those of `pci::Adapter<T>`.
unsafe impl<T: PfDriver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        reg: &Opaque<bindings::pci_driver>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: `reg` is zeroed and not registered yet, so nobody else looks at it.
        unsafe { (*reg.get()).sriov_configure = Some(sriov_configure_callback::<T>) };
        // SAFETY: The caller's contract is the same.
        unsafe { <pci::Adapter<T> as driver::RegistrationOps>::register(reg, name, module) }
    }

    unsafe fn unregister(reg: &Opaque<bindings::pci_driver>) {
        // SAFETY: The caller's contract is the same.
        unsafe { <pci::Adapter<T> as driver::RegistrationOps>::unregister(reg) }
    }
}

/// # Safety
///
/// Only for the PCI core, as callback of a driver registered by [`Adapter<T>`].
unsafe extern "C" fn sriov_configure_callback<T: PfDriver>(
    pdev: *mut bindings::pci_dev,
    num_vfs: c_int,
) -> c_int {
    // SAFETY: The PCI core calls this for a device bound to this driver, with its lock held.
    let pdev = unsafe { &*pdev.cast::<pci::Device<device::CoreInternal<'_>>>() };
    // SAFETY: The device is bound, so probe has stored data of this type.
    let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };
    from_result(|| T::sriov_configure(pdev, data, u16::try_from(num_vfs)?).map(c_int::from))
}
