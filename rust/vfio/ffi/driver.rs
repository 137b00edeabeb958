// SPDX-License-Identifier: GPL-2.0

//! The PCI driver. Not `pci::Adapter`: VFIO wants the driver data for itself, and a driver that
//! manages DMA.

use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    ffi::c_int,
    prelude::*,
    types::Opaque, //
};

use super::{
    device,
    raw, //
};

/// What sysfs calls the driver.
pub(crate) const NAME: &CStr = c"gim-vfio-pci";

/// Its registration.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration {
    #[pin]
    driver: Opaque<bindings::pci_driver>,
}

// SAFETY: It has no operation but its drop, which may be done by any thread.
unsafe impl Send for Registration {}
// SAFETY: As above.
unsafe impl Sync for Registration {}

struct Handlers(bindings::pci_error_handlers);

// SAFETY: Never written to.
unsafe impl Sync for Handlers {}

static HANDLERS: Handlers = Handlers(bindings::pci_error_handlers {
    error_detected: Some(raw::vfio_pci_core_aer_err_detected),
    reset_prepare: Some(device::reset_prepare),
    reset_done: Some(device::reset_done),
    ..pin_init::zeroed()
});

impl Registration {
    /// Registers the driver.
    pub(crate) fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(move |driver: *mut bindings::pci_driver| {
                // SAFETY: `driver` is valid for writes, and stays where it is until it is
                // unregistered.
                unsafe {
                    driver.write(pin_init::zeroed());
                    (*driver).name = NAME.as_char_ptr();
                    (*driver).id_table = raw::gim_vfio_ids.as_ptr();
                    (*driver).probe = Some(probe);
                    (*driver).remove = Some(remove);
                    (*driver).err_handler = &raw const HANDLERS.0;
                    (*driver).driver_managed_dma = true;
                    to_result(bindings::__pci_register_driver(
                        driver,
                        module.as_ptr(),
                        c"gim_vfio_pci".as_char_ptr(),
                    ))
                }
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Registration {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `new`.
        unsafe { bindings::pci_unregister_driver(self.driver.get()) }
    }
}

/// # Safety
///
/// Only for the PCI core.
unsafe extern "C" fn probe(
    pdev: *mut bindings::pci_dev,
    _: *const bindings::pci_device_id,
) -> c_int {
    // SAFETY: The PCI core calls this with a valid device.
    from_result(|| unsafe { device::probe(pdev) }.map(|()| 0))
}

/// # Safety
///
/// Only for the PCI core.
unsafe extern "C" fn remove(pdev: *mut bindings::pci_dev) {
    // SAFETY: The PCI core calls this with a device that `probe` has accepted.
    unsafe { device::remove(pdev) }
}
