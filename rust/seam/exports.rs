// SPDX-License-Identifier: GPL-2.0

//! What the registry exports to other modules (`exports.c` names it): the unsafe side of it.

use kernel::{
    error::{
        code::EPROTO,
        from_result,
        Error, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    sync::Arc, //
};

use crate::{
    abi::{
        Address,
        Ops,
        Visit,
        VERSION, //
    },
    kept,
    registry::{
        self,
        Entry, //
    }, //
};

mod c {
    extern "C" {
        // exports.c
        pub(super) fn gim_seam_pin(on: bool);
    }
}

/// Keeps this module from being unloaded, or no longer.
pub(crate) fn pin_module(on: bool) {
    // SAFETY: Called while one of our functions is, by a module that has a reference to this one.
    unsafe { c::gim_seam_pin(on) }
}

/// What the registry keeps for others: it never looks behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pointer(*mut c_void);

// SAFETY: It is a number here: nothing behind it is touched.
unsafe impl Send for Pointer {}
// SAFETY: As above.
unsafe impl Sync for Pointer {}

fn errno(error: Error) -> i64 {
    i64::from(error.to_errno())
}

/// Registers a PF's driver; returns the serial number of the registration, or a negative errno:
/// `EEXIST`, or `EPROTO` for another version.
///
/// # Safety
///
/// `ops` and what it does with `ctx` must be valid until [`gim_seam_unregister`] has returned.
#[no_mangle]
pub(crate) unsafe extern "C" fn gim_seam_register(
    domain: u32,
    id: u32,
    ops: *const Ops,
    ctx: *mut c_void,
) -> i64 {
    // SAFETY: Valid by the contract; version and size come first in every version.
    let (version, size) = unsafe { ((*ops).version, (*ops).size) };
    let same = usize::try_from(size) == Ok(core::mem::size_of::<Ops>());
    if version != VERSION || !same {
        return errno(EPROTO);
    }
    let ops = Pointer(ops.cast_mut().cast());
    match registry::register(Address { domain, id }, ops, Pointer(ctx)) {
        Ok(serial) => i64::try_from(serial).unwrap_or(i64::MAX),
        Err(e) => errno(e),
    }
}

/// Takes a registration back; no call is inside when this returns, and none comes any more.
#[no_mangle]
pub(crate) extern "C" fn gim_seam_unregister(serial: u64) {
    registry::unregister(serial);
}

/// Keeps a record for the next driver of a PF, which registers with the same serial number: 0 or a
/// negative errno.
///
/// # Safety
///
/// `words` must be valid for reads of `count` words.
#[no_mangle]
pub(crate) unsafe extern "C" fn gim_seam_keep(
    domain: u32,
    id: u32,
    serial: u64,
    words: *const u64,
    count: usize,
) -> c_int {
    // SAFETY: By the contract.
    let words = unsafe { core::slice::from_raw_parts(words, count) };
    from_result(|| kept::keep(Address { domain, id }, serial, words).map(|()| 0))
}

/// Copies the record that was left for a PF; returns its words, or a negative errno: `ENOENT`,
/// `ENOSPC`.
///
/// # Safety
///
/// `words` must be valid for writes of `room` words.
#[no_mangle]
pub(crate) unsafe extern "C" fn gim_seam_kept(
    domain: u32,
    id: u32,
    words: *mut u64,
    room: usize,
) -> i64 {
    // SAFETY: By the contract.
    let words = unsafe { core::slice::from_raw_parts_mut(words, room) };
    match kept::copy(Address { domain, id }, words) {
        Ok(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Err(e) => errno(e),
    }
}

/// Drops the record that was left for a PF.
#[no_mangle]
pub(crate) extern "C" fn gim_seam_forget(domain: u32, id: u32) {
    kept::forget(Address { domain, id });
}

/// Enters what is registered for a PF; to be left by [`gim_seam_leave`]. `ENODEV`: nothing is.
/// While the driver is being replaced, whoever is `patient` waits for the next one.
///
/// # Safety
///
/// `out` must be valid for a write.
#[no_mangle]
pub(crate) unsafe extern "C" fn gim_seam_enter(
    domain: u32,
    id: u32,
    patient: bool,
    out: *mut Visit,
) -> c_int {
    let entry = match registry::enter(Address { domain, id }, patient) {
        Ok(entry) => entry,
        Err(e) => return e.to_errno(),
    };
    let visit = Visit {
        serial: entry.serial,
        ops: entry.ops.0.cast(),
        ctx: entry.ctx.0,
        entry: Arc::into_raw(entry).cast(),
    };
    // SAFETY: Valid by the contract.
    unsafe { out.write(visit) };
    0
}

/// Leaves.
///
/// # Safety
///
/// `visit` must come from [`gim_seam_enter`], and be left once.
#[no_mangle]
pub(crate) unsafe extern "C" fn gim_seam_leave(visit: *const Visit) {
    // SAFETY: By the contract the reference that `gim_seam_enter` gave away comes back.
    let entry = unsafe { Arc::<Entry>::from_raw((*visit).entry.cast()) };
    registry::leave(&entry);
}
