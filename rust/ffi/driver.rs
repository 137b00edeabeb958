// SPDX-License-Identifier: GPL-2.0

//! Registration of a PCI driver that has VFs: the callbacks `pci::Driver` does not offer.

use core::marker::PhantomData;

use kernel::{
    bindings,
    container_of,
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

    /// Somebody resets the PF, or its bus, as soon as this returns. May sleep, as may all that
    /// follow; each runs with the PF's device lock held.
    fn reset_prepare<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    );

    /// The reset is over, and the configuration of the PF is restored.
    fn reset_done<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    );

    /// The PCI core has noticed an error that involves the PF, or something on its bus.
    fn error_detected<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
        channel: Channel,
    ) -> Verdict;

    /// The error was not fatal, and nobody wants a reset: is all well?
    fn mmio_enabled<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Verdict;

    /// The bus was reset because of the error.
    fn slot_reset<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Verdict;

    /// The PCI core is done with the error.
    fn error_over<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    );

    /// The host is about to sleep, or to make its hibernation image; an error keeps it awake.
    fn sleep<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result;

    /// The host has slept, or something else has kept it awake.
    fn wake<'bound>(pdev: &'bound pci::Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>);

    /// The host goes down, or another kernel takes over: nothing may use the bus afterwards.
    fn shutdown<'bound>(
        pdev: &'bound pci::Device<device::Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    );
}

/// How a PCI error has left the way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// It works.
    Normal,
    /// It is cut off until a reset.
    Frozen,
    /// It is lost.
    Lost,
}

/// What a driver thinks of a PCI error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No reset is needed.
    CanRecover,
    /// Only a reset helps.
    NeedReset,
    /// All is well again.
    Recovered,
    /// The device is lost.
    Disconnect,
}

impl Verdict {
    const fn raw(self) -> bindings::pci_ers_result_t {
        match self {
            Self::CanRecover => bindings::pci_ers_result_PCI_ERS_RESULT_CAN_RECOVER,
            Self::NeedReset => bindings::pci_ers_result_PCI_ERS_RESULT_NEED_RESET,
            Self::Recovered => bindings::pci_ers_result_PCI_ERS_RESULT_RECOVERED,
            Self::Disconnect => bindings::pci_ers_result_PCI_ERS_RESULT_DISCONNECT,
        }
    }
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
        // SAFETY: `reg` is zeroed and not registered yet, so nobody else looks at it. The tables
        // are static and of functions for this very kind of driver.
        unsafe {
            let drv = reg.get();
            (*drv).sriov_configure = Some(sriov_configure_callback::<T>);
            (*drv).shutdown = Some(shutdown_callback::<T>);
            (*drv).err_handler = Self::ERROR_HANDLERS;
            (*drv).driver.pm = Self::PM;
        }
        // SAFETY: The caller's contract is the same.
        unsafe { <pci::Adapter<T> as driver::RegistrationOps>::register(reg, name, module) }
    }

    unsafe fn unregister(reg: &Opaque<bindings::pci_driver>) {
        // SAFETY: The caller's contract is the same.
        unsafe { <pci::Adapter<T> as driver::RegistrationOps>::unregister(reg) }
    }
}

impl<T: PfDriver> Adapter<T> {
    const ERROR_HANDLERS: &'static bindings::pci_error_handlers = &bindings::pci_error_handlers {
        error_detected: Some(error_detected_callback::<T>),
        mmio_enabled: Some(mmio_enabled_callback::<T>),
        slot_reset: Some(slot_reset_callback::<T>),
        reset_prepare: Some(reset_prepare_callback::<T>),
        reset_done: Some(reset_done_callback::<T>),
        resume: Some(resume_callback::<T>),
        cor_error_detected: None,
    };

    /// Sleep and hibernation alike.
    const PM: &'static bindings::dev_pm_ops = &bindings::dev_pm_ops {
        suspend: Some(sleep_callback::<T>),
        freeze: Some(sleep_callback::<T>),
        poweroff: Some(sleep_callback::<T>),
        resume: Some(wake_callback::<T>),
        thaw: Some(wake_callback::<T>),
        restore: Some(wake_callback::<T>),
        // SAFETY: No callback, in each of them, is all zeroes.
        ..unsafe { core::mem::zeroed() }
    };
}

/// Calls `f` with the device and the data of its driver.
///
/// # Safety
///
/// Only in callbacks of a driver registered by [`Adapter<T>`], for a device that is bound to it and
/// stays so: its lock is held.
unsafe fn with_bound<T: PfDriver, R>(
    pdev: *mut bindings::pci_dev,
    f: impl for<'a> FnOnce(&'a pci::Device<device::Core<'a>>, Pin<&'a T::Data<'a>>) -> R,
) -> R {
    // SAFETY: By the contract a device bound to this driver, with its lock held.
    let pdev = unsafe { &*pdev.cast::<pci::Device<device::CoreInternal<'_>>>() };
    // SAFETY: The device is bound, so probe has stored data of this type.
    let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };
    f(pdev, data)
}

/// # Safety
///
/// As for all callbacks here: only for the PCI core and the driver core, which hold the lock of the
/// device, bound to a driver registered by [`Adapter<T>`].
unsafe extern "C" fn error_detected_callback<T: PfDriver>(
    pdev: *mut bindings::pci_dev,
    state: bindings::pci_channel_state_t,
) -> bindings::pci_ers_result_t {
    let channel = match state {
        bindings::pci_channel_io_normal => Channel::Normal,
        bindings::pci_channel_io_frozen => Channel::Frozen,
        _ => Channel::Lost,
    };
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::error_detected(pdev, data, channel)) }.raw()
}

/// # Safety
///
/// See [`error_detected_callback`].
unsafe extern "C" fn mmio_enabled_callback<T: PfDriver>(
    pdev: *mut bindings::pci_dev,
) -> bindings::pci_ers_result_t {
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::mmio_enabled(pdev, data)) }.raw()
}

/// # Safety
///
/// See [`error_detected_callback`].
unsafe extern "C" fn slot_reset_callback<T: PfDriver>(
    pdev: *mut bindings::pci_dev,
) -> bindings::pci_ers_result_t {
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::slot_reset(pdev, data)) }.raw()
}

/// # Safety
///
/// See [`error_detected_callback`].
unsafe extern "C" fn reset_prepare_callback<T: PfDriver>(pdev: *mut bindings::pci_dev) {
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::reset_prepare(pdev, data)) }
}

/// # Safety
///
/// See [`error_detected_callback`].
unsafe extern "C" fn reset_done_callback<T: PfDriver>(pdev: *mut bindings::pci_dev) {
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::reset_done(pdev, data)) }
}

/// # Safety
///
/// See [`error_detected_callback`].
unsafe extern "C" fn resume_callback<T: PfDriver>(pdev: *mut bindings::pci_dev) {
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::error_over(pdev, data)) }
}

/// # Safety
///
/// See [`error_detected_callback`].
unsafe extern "C" fn shutdown_callback<T: PfDriver>(pdev: *mut bindings::pci_dev) {
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::shutdown(pdev, data)) }
}

/// # Safety
///
/// See [`error_detected_callback`]; the device is a PCI device.
unsafe extern "C" fn sleep_callback<T: PfDriver>(dev: *mut bindings::device) -> c_int {
    // SAFETY: Drivers of the PCI bus are for PCI devices only.
    let pdev = unsafe { container_of!(dev, bindings::pci_dev, dev) };
    from_result(|| {
        // SAFETY: By this function's contract.
        unsafe { with_bound::<T, _>(pdev, |pdev, data| T::sleep(pdev, data)) }.map(|()| 0)
    })
}

/// # Safety
///
/// See [`sleep_callback`].
unsafe extern "C" fn wake_callback<T: PfDriver>(dev: *mut bindings::device) -> c_int {
    // SAFETY: Drivers of the PCI bus are for PCI devices only.
    let pdev = unsafe { container_of!(dev, bindings::pci_dev, dev) };
    // SAFETY: By this function's contract.
    unsafe { with_bound::<T, _>(pdev, |pdev, data| T::wake(pdev, data)) };
    0
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
