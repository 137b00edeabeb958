// SPDX-License-Identifier: GPL-2.0

//! What the registry exports to other modules (`exports.c` names it): the unsafe side of it.

use kernel::{
    error::{
        code::EPROTO,
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
    registry::{
        self,
        Entry, //
    }, //
};

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

/// Enters what is registered for a PF; to be left by [`gim_seam_leave`]. `ENODEV`: nothing is.
///
/// # Safety
///
/// `out` must be valid for a write.
#[no_mangle]
pub(crate) unsafe extern "C" fn gim_seam_enter(domain: u32, id: u32, out: *mut Visit) -> c_int {
    let entry = match registry::enter(Address { domain, id }) {
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
