// SPDX-License-Identifier: GPL-2.0

//! The seam: what the driver of a PF and the VFIO driver of its VFs agree on.
//!
//! Three modules share this file: the registry, which only passes pointers on; the PF's driver,
//! which registers [`Ops`]; the VFIO driver, which calls them. They may be of different builds, so
//! all is `repr(C)` and has a version. Nothing that is handed over outlives a call: what goes on
//! from call to call is known by its number.

use kernel::ffi::{
    c_int,
    c_void, //
};

/// The version of all that is here. A driver with another one is not registered.
pub(crate) const VERSION: u32 = 3;

/// Where a function is on the bus.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// PCI domain.
    pub(crate) domain: u32,
    /// Bus, device and function: bus << 8 | device << 3 | function.
    pub(crate) id: u32,
}

/// What a VF is, as far as a migration cares.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Info {
    /// Bytes of device memory.
    pub(crate) memory_bytes: u64,
    /// Bytes of a stream that are no device memory, at most.
    pub(crate) state_bytes: u64,
    /// 1: [`Ops::log_dma`] works, 0: nothing tells which system memory it writes.
    pub(crate) logs_dma: u64,
}

/// Pages of system memory that a VF has written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DirtyPages {
    /// Number of the first one: the VF's bus address, in units of 4 KiB.
    pub(crate) page: u64,
    /// A bit for that one and each of the 31 behind it.
    pub(crate) bits: u32,
}

/// How far a stream is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of the first round that were not read yet.
    pub(crate) initial_bytes: u64,
    /// Bytes that have changed since they were read.
    pub(crate) dirty_bytes: u64,
    /// Bytes that follow them, at most.
    pub(crate) state_bytes: u64,
}

/// A reset of a VF: before it and after it.
pub(crate) const RESET_PREPARE: u32 = 0;
pub(crate) const RESET_DONE: u32 = 1;

/// [`Ops::save`]: the VF may run meanwhile; the stream does not end before [`Ops::last`].
pub(crate) const SAVE_PRECOPY: u32 = 1;

/// What the PF's driver does for the VFIO driver. All return a negative errno if they fail, and
/// may sleep. `ctx` is what was registered with them, `vf` a number from 0.
#[repr(C)]
pub(crate) struct Ops {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Bytes of this structure.
    pub(crate) size: u32,
    /// Tells what a VF is.
    pub(crate) info: unsafe extern "C" fn(ctx: *mut c_void, vf: u32, out: *mut Info) -> c_int,
    /// Takes the VF off the GPU; its state is saved when this returns.
    pub(crate) pause: unsafe extern "C" fn(ctx: *mut c_void, vf: u32) -> c_int,
    /// Lets a paused VF run.
    pub(crate) resume: unsafe extern "C" fn(ctx: *mut c_void, vf: u32) -> c_int,
    /// Begins to save a VF; returns the number of a session.
    pub(crate) save: unsafe extern "C" fn(ctx: *mut c_void, vf: u32, flags: u32) -> i64,
    /// Begins to restore a VF, whatever it was before; returns the number of a session.
    pub(crate) restore: unsafe extern "C" fn(ctx: *mut c_void, vf: u32) -> i64,
    /// Reads from a save to user memory; 0 is the end, `ENOMSG` an end for now.
    pub(crate) read:
        unsafe extern "C" fn(ctx: *mut c_void, session: u64, to: *mut c_void, len: usize) -> isize,
    /// Writes user memory to a restore.
    pub(crate) write: unsafe extern "C" fn(
        ctx: *mut c_void,
        session: u64,
        from: *mut c_void,
        len: usize,
    ) -> isize,
    /// Tells how far a save is.
    pub(crate) progress:
        unsafe extern "C" fn(ctx: *mut c_void, session: u64, out: *mut Progress) -> c_int,
    /// The VF is paused for good: what is left can be read to the end of the stream.
    pub(crate) last: unsafe extern "C" fn(ctx: *mut c_void, session: u64) -> c_int,
    /// Ends a session. A restore that is not complete fails, and the VF is cleaned.
    pub(crate) end: unsafe extern "C" fn(ctx: *mut c_void, session: u64) -> c_int,
    /// The VF is about to be reset by its user, or has been.
    pub(crate) reset: unsafe extern "C" fn(ctx: *mut c_void, vf: u32, when: u32) -> c_int,
    /// Begins to log which system memory the VF writes, or ends it. `EOPNOTSUPP`: the GPU cannot.
    pub(crate) log_dma: unsafe extern "C" fn(ctx: *mut c_void, vf: u32, on: bool) -> c_int,
    /// Moves what was logged of pages `first` to `last` to `room` elements from `out`; returns how
    /// many were used: if all, there may be more. `ESTALE`: logging has ended by itself.
    pub(crate) dma_dirty: unsafe extern "C" fn(
        ctx: *mut c_void,
        vf: u32,
        first: u64,
        last: u64,
        out: *mut DirtyPages,
        room: usize,
    ) -> isize,
}

/// A call that is on its way through the seam.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Visit {
    /// Which registration this is: another one knows nothing of sessions that this one has begun.
    pub(crate) serial: u64,
    /// What was registered.
    pub(crate) ops: *const Ops,
    /// To be given to every one of [`Ops`].
    pub(crate) ctx: *mut c_void,
    /// The registry's own.
    pub(crate) entry: *const c_void,
}
