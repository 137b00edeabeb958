// SPDX-License-Identifier: GPL-2.0

//! VFIO's callbacks: all that is not migration is vfio-pci-core's.

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result, //
    },
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    types::ForeignOwnable, //
};

use super::raw;
use crate::{
    abi::Address,
    migration::Migration,
    module_parameters,
    states::State, //
};

/// What VFIO allocates for a VF.
///
/// # Invariants
///
/// Between `init` and `release` `migration` is an `Arc<Migration>` that this owns.
#[repr(C)]
struct Device {
    core: raw::vfio_pci_core_device,
    migration: *mut c_void,
}

/// # Safety
///
/// `vdev` must be one of ours, between `init` and `release`, for as long as `'a`.
pub(super) unsafe fn migration<'a>(vdev: *mut raw::vfio_device) -> ArcBorrow<'a, Migration> {
    // SAFETY: By the contract it is the first field of a `Device`, whose invariant holds.
    unsafe { Arc::<Migration>::borrow((*vdev.cast::<Device>()).migration) }
}

/// What VFIO has for the function, if it is bound to us.
///
/// # Safety
///
/// `pdev` must be valid, its device lock held, and bound to our driver or being bound to it.
unsafe fn of_pci<'a>(pdev: *mut bindings::pci_dev) -> Option<ArcBorrow<'a, Migration>> {
    // SAFETY: By the contract; what our probe has stored there is a `Device`, from its `init` on.
    unsafe {
        let data = bindings::dev_get_drvdata(&raw mut (*pdev).dev);
        (!data.is_null()).then(|| migration(data.cast()))
    }
}

/// Where the VF's PF is, and the number of the VF.
///
/// # Safety
///
/// `pdev` must be a valid VF.
unsafe fn place(pdev: *mut bindings::pci_dev) -> Result<(Address, u32)> {
    let mut domain = 0;
    // SAFETY: By the contract.
    let (id, vf) = unsafe {
        (
            raw::gim_vfio_pf(pdev, &mut domain),
            bindings::pci_iov_vf_id(pdev),
        )
    };
    Ok((Address { domain, id }, u32::try_from(vf)?))
}

/// # Safety
///
/// Only for VFIO's core, which has just allocated `vdev` as a [`Device`].
unsafe extern "C" fn init(vdev: *mut raw::vfio_device) -> c_int {
    from_result(|| {
        // SAFETY: VFIO's core has set `dev` to that of our probe, a function on the PCI bus.
        let pdev = unsafe {
            let dev = (*vdev).dev;
            kernel::container_of!(dev, bindings::pci_dev, dev)
        };
        // SAFETY: Our probe has made sure that it is a VF.
        let (pf, vf) = unsafe { place(pdev) }?;
        let migration = Migration::new(pf, vf)?;
        // SAFETY: The device is being made, nobody else has it.
        let result = unsafe {
            (*vdev).migration_flags = migration_flags();
            (*vdev).mig_ops = &raw const MIGRATION_OPS.0;
            raw::vfio_pci_core_init_dev(vdev)
        };
        kernel::error::to_result(result)?;
        // INVARIANT: From here on `release` will be called.
        // SAFETY: As above.
        unsafe { (*vdev.cast::<Device>()).migration = migration.into_foreign() };
        Ok(0)
    })
}

/// What VFIO is told that we can.
fn migration_flags() -> u32 {
    let always = raw::VFIO_MIGRATION_STOP_COPY | raw::VFIO_MIGRATION_P2P;
    match module_parameters::precopy.value() {
        0 => always,
        _ => always | raw::VFIO_MIGRATION_PRE_COPY,
    }
}

/// # Safety
///
/// Only for VFIO's core, once, last.
unsafe extern "C" fn release(vdev: *mut raw::vfio_device) {
    // SAFETY: By the contract nobody uses it any more; the reference is the device's.
    unsafe {
        drop(Arc::<Migration>::from_foreign(
            (*vdev.cast::<Device>()).migration,
        ));
        raw::vfio_pci_core_release_dev(vdev);
    }
}

/// How often, and with what pause, a user's reset of a VF is tried, when it is opened too: the PF's
/// driver may just be resetting it.
const RESET_TRIES: u32 = 200;
const RESET_PAUSE_MS: i64 = 10;

/// # Safety
///
/// Only for VFIO's core.
unsafe extern "C" fn open_device(vdev: *mut raw::vfio_device) -> c_int {
    let core = vdev.cast::<raw::vfio_pci_core_device>();
    // SAFETY: One of ours.
    let result = retry(EAGAIN.to_errno(), interrupted, || unsafe {
        raw::vfio_pci_core_enable(core)
    });
    if result == 0 {
        // SAFETY: As above; it is just being opened.
        unsafe {
            super::log::offer(vdev);
            raw::vfio_pci_core_finish_enable(core);
        }
    }
    result
}

/// # Safety
///
/// Only for VFIO's core.
unsafe extern "C" fn ioctl(vdev: *mut raw::vfio_device, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: One of ours.
    let call = || unsafe { raw::vfio_pci_core_ioctl(vdev, cmd, arg) };
    match cmd == reset_ioctl() {
        // CAST: Errno fits.
        true => retry(EAGAIN.to_errno() as c_long, interrupted, call),
        false => call(),
    }
}

/// `VFIO_DEVICE_RESET`: _IO(';', 100 + 11), which bindgen does not evaluate.
fn reset_ioctl() -> u32 {
    kernel::ioctl::_IO(raw::VFIO_TYPE.into(), raw::VFIO_BASE + 11)
}

/// Whether a signal waits: the user is not to be kept.
fn interrupted() -> bool {
    kernel::current!().signal_pending()
}

/// Calls again, for some time, while the answer is `again` and nobody says stop.
fn retry<T: PartialEq>(again: T, stop: impl Fn() -> bool, call: impl Fn() -> T) -> T {
    let mut tries = RESET_TRIES;
    loop {
        let result = call();
        if result != again || tries == 0 || stop() {
            return result;
        }
        tries -= 1;
        fsleep(Delta::from_millis(RESET_PAUSE_MS));
    }
}

/// # Safety
///
/// Only for VFIO's core.
unsafe extern "C" fn close_device(vdev: *mut raw::vfio_device) {
    // SAFETY: One of ours.
    let this = unsafe { migration(vdev) };
    this.close();
    let core = vdev.cast::<raw::vfio_pci_core_device>();
    // SAFETY: As above.
    let (missed, pdev) = unsafe {
        raw::vfio_pci_core_close_device(vdev);
        ((*core).needs_reset, (*core).pdev)
    };
    // That has reset the function, without a word to its driver; unless somebody had the lock of it or of
    // its bridge, as when another VF was closed at the same moment. It must not work on for a dead guest.
    if missed {
        // SAFETY: The device is ours until `remove`, which waits for this.
        let reset = || unsafe { bindings::pci_try_reset_function(pdev) };
        // Signals do not matter: there is no user any more, and who was killed may have some left.
        let _ = retry(EAGAIN.to_errno(), || false, reset);
    }
    this.was_reset();
}

/// # Safety
///
/// Only for VFIO's core.
unsafe extern "C" fn set_state(
    vdev: *mut raw::vfio_device,
    new: raw::vfio_device_mig_state,
) -> *mut bindings::file {
    // SAFETY: One of ours.
    let this = unsafe { migration(vdev) };
    // SAFETY: As above.
    let v2 = unsafe { (*vdev).precopy_info_v2 } != 0;
    let next = |from: State, to: State| {
        let mut via = 0;
        // SAFETY: As above; `via` is valid for a write.
        let result =
            unsafe { raw::vfio_mig_get_next_state(vdev, from.number(), to.number(), &mut via) };
        kernel::error::to_result(result)?;
        State::new(via).ok_or(EINVAL)
    };
    let done = State::new(new)
        .ok_or(EINVAL)
        .and_then(|new| this.set_state(new, v2, next));
    match done {
        Ok(None) => core::ptr::null_mut(),
        Ok(Some(file)) => ARef::<File>::into_raw(file).as_ptr().cast(),
        Err(e) => e.to_ptr(),
    }
}

/// # Safety
///
/// Only for VFIO's core; `out` must be valid for a write.
unsafe extern "C" fn get_state(
    vdev: *mut raw::vfio_device,
    out: *mut raw::vfio_device_mig_state,
) -> c_int {
    // SAFETY: One of ours; `out` is valid by the contract.
    unsafe { out.write(migration(vdev).state().number()) };
    0
}

/// # Safety
///
/// Only for VFIO's core; `out` must be valid for a write.
unsafe extern "C" fn get_data_size(vdev: *mut raw::vfio_device, out: *mut c_ulong) -> c_int {
    from_result(|| {
        // SAFETY: One of ours.
        let bytes = unsafe { migration(vdev) }.data_size()?;
        // SAFETY: Valid by the contract.
        unsafe { out.write(usize::try_from(bytes)?) };
        Ok(0)
    })
}

/// A table of callbacks.
#[repr(transparent)]
pub(super) struct Table<T>(pub(super) T);

// SAFETY: Never written to.
unsafe impl<T> Sync for Table<T> {}

static MIGRATION_OPS: Table<raw::vfio_migration_ops> = Table(raw::vfio_migration_ops {
    migration_set_state: Some(set_state),
    migration_get_state: Some(get_state),
    migration_get_data_size: Some(get_data_size),
});

static OPS: Table<raw::vfio_device_ops> = Table(raw::vfio_device_ops {
    name: kernel::str::as_char_ptr_in_const_context(super::driver::NAME).cast_mut(),
    init: Some(init),
    release: Some(release),
    open_device: Some(open_device),
    close_device: Some(close_device),
    ioctl: Some(ioctl),
    get_region_info_caps: Some(raw::vfio_pci_ioctl_get_region_info),
    device_feature: Some(raw::vfio_pci_core_ioctl_feature),
    read: Some(raw::vfio_pci_core_read),
    write: Some(raw::vfio_pci_core_write),
    mmap: Some(raw::vfio_pci_core_mmap),
    request: Some(raw::vfio_pci_core_request),
    match_: Some(raw::vfio_pci_core_match),
    match_token_uuid: Some(raw::vfio_pci_core_match_token_uuid),
    #[cfg(CONFIG_IOMMUFD)]
    bind_iommufd: Some(raw::vfio_iommufd_physical_bind),
    #[cfg(CONFIG_IOMMUFD)]
    unbind_iommufd: Some(raw::vfio_iommufd_physical_unbind),
    #[cfg(CONFIG_IOMMUFD)]
    attach_ioas: Some(raw::vfio_iommufd_physical_attach_ioas),
    #[cfg(CONFIG_IOMMUFD)]
    detach_ioas: Some(raw::vfio_iommufd_physical_detach_ioas),
    ..pin_init::zeroed()
});

/// Makes a VFIO device of a VF. `ENODEV` for what is no VF.
///
/// # Safety
///
/// Only from our driver's probe.
pub(super) unsafe fn probe(pdev: *mut bindings::pci_dev) -> Result {
    // SAFETY: By the contract the device is valid and stays so until `remove`.
    unsafe {
        if (*pdev).is_virtfn() == 0 {
            return Err(ENODEV);
        }
        let dev = &raw mut (*pdev).dev;
        let vdev = raw::_vfio_alloc_device(size_of::<Device>(), dev, &raw const OPS.0);
        let vdev = NonNull::new(from_err_ptr(vdev)?).ok_or(ENOMEM)?.as_ptr();
        bindings::dev_set_drvdata(dev, vdev.cast());
        let result = raw::vfio_pci_core_register_device(vdev.cast());
        if result != 0 {
            bindings::dev_set_drvdata(dev, core::ptr::null_mut());
            bindings::put_device(&raw mut (*vdev).device);
        }
        kernel::error::to_result(result)
    }
}

/// Takes it back; waits for its user.
///
/// # Safety
///
/// Only from our driver's remove.
pub(super) unsafe fn remove(pdev: *mut bindings::pci_dev) {
    // SAFETY: By the contract `probe` has stored a device there.
    unsafe {
        let vdev = bindings::dev_get_drvdata(&raw mut (*pdev).dev).cast::<raw::vfio_device>();
        raw::vfio_pci_core_unregister_device(vdev.cast());
        bindings::put_device(&raw mut (*vdev).device);
    }
}

/// # Safety
///
/// Only for the PCI core, which holds the device's lock.
pub(super) unsafe extern "C" fn reset_prepare(pdev: *mut bindings::pci_dev) {
    // SAFETY: By the contract.
    if let Some(this) = unsafe { of_pci(pdev) } {
        this.will_be_reset();
    }
}

/// # Safety
///
/// Only for the PCI core, which holds the device's lock.
pub(super) unsafe extern "C" fn reset_done(pdev: *mut bindings::pci_dev) {
    // SAFETY: By the contract.
    if let Some(this) = unsafe { of_pci(pdev) } {
        this.was_reset();
    }
}
