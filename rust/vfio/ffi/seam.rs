// SPDX-License-Identifier: GPL-2.0

//! Calls to the PF's driver, through the seam.

use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*, //
};

use crate::abi::{
    Address,
    DirtyPages,
    Info,
    Progress,
    Visit as RawVisit, //
};

mod c {
    use crate::abi::Visit;

    extern "C" {
        // Exported by gim_seam.ko.
        pub(super) fn gim_seam_enter(
            domain: u32,
            id: u32,
            patient: bool,
            out: *mut Visit,
        ) -> super::c_int;
        pub(super) fn gim_seam_leave(visit: *const Visit);
    }
}

/// A call that is inside of the PF's driver: it is not unloaded before this is dropped.
///
/// # Invariants
///
/// `raw` comes from `gim_seam_enter` and was not left: its operations may be called with its `ctx`.
pub(crate) struct Visit {
    raw: RawVisit,
    vf: u32,
}

impl Visit {
    /// Enters for one VF; waits a moment for a PF's driver that is being replaced. `ENODEV`: it is
    /// absent.
    pub(crate) fn enter(pf: Address, vf: u32) -> Result<Self> {
        Self::enter_or_wait(pf, vf, true)
    }

    /// The same without waiting.
    pub(crate) fn enter_now(pf: Address, vf: u32) -> Result<Self> {
        Self::enter_or_wait(pf, vf, false)
    }

    fn enter_or_wait(pf: Address, vf: u32, patient: bool) -> Result<Self> {
        let mut raw = core::mem::MaybeUninit::<RawVisit>::uninit();
        // SAFETY: `raw` is valid for a write.
        to_result(unsafe { c::gim_seam_enter(pf.domain, pf.id, patient, raw.as_mut_ptr()) })?;
        // SAFETY: It was written, as nothing failed.
        let raw = unsafe { raw.assume_init() };
        // INVARIANT: Just entered.
        Ok(Self { raw, vf })
    }

    /// Which registration this is.
    pub(crate) fn serial(&self) -> u64 {
        self.raw.serial
    }

    /// What the VF is.
    pub(crate) fn info(&self) -> Result<Info> {
        let mut out = Info::default();
        // SAFETY: By the invariant; `out` is valid for a write.
        to_result(unsafe { ((*self.raw.ops).info)(self.raw.ctx, self.vf, &mut out) })?;
        Ok(out)
    }

    /// Takes the VF off the GPU.
    pub(crate) fn pause(&self) -> Result {
        // SAFETY: By the invariant.
        to_result(unsafe { ((*self.raw.ops).pause)(self.raw.ctx, self.vf) })
    }

    /// Lets the VF run.
    pub(crate) fn resume(&self) -> Result {
        // SAFETY: By the invariant.
        to_result(unsafe { ((*self.raw.ops).resume)(self.raw.ctx, self.vf) })
    }

    /// Begins to save the VF.
    pub(crate) fn save(&self, flags: u32) -> Result<u64> {
        // SAFETY: By the invariant.
        number(unsafe { ((*self.raw.ops).save)(self.raw.ctx, self.vf, flags) })
    }

    /// Begins to restore the VF.
    pub(crate) fn restore(&self) -> Result<u64> {
        // SAFETY: By the invariant.
        number(unsafe { ((*self.raw.ops).restore)(self.raw.ctx, self.vf) })
    }

    /// Reads from a save to user memory.
    pub(crate) fn read(&self, session: u64, to: usize, len: usize) -> Result<usize> {
        let to: *mut c_void = core::ptr::without_provenance_mut(to);
        // SAFETY: By the invariant; that the address is the user's is looked at there.
        count(unsafe { ((*self.raw.ops).read)(self.raw.ctx, session, to, len) })
    }

    /// Writes user memory to a restore.
    pub(crate) fn write(&self, session: u64, from: usize, len: usize) -> Result<usize> {
        let from: *mut c_void = core::ptr::without_provenance_mut(from);
        // SAFETY: As above.
        count(unsafe { ((*self.raw.ops).write)(self.raw.ctx, session, from, len) })
    }

    /// How far a save is.
    pub(crate) fn progress(&self, session: u64) -> Result<Progress> {
        let mut out = Progress::default();
        // SAFETY: By the invariant; `out` is valid for a write.
        to_result(unsafe { ((*self.raw.ops).progress)(self.raw.ctx, session, &mut out) })?;
        Ok(out)
    }

    /// The stream may come to its end.
    pub(crate) fn last(&self, session: u64) -> Result {
        // SAFETY: By the invariant.
        to_result(unsafe { ((*self.raw.ops).last)(self.raw.ctx, session) })
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: u64) -> Result {
        // SAFETY: By the invariant.
        to_result(unsafe { ((*self.raw.ops).end)(self.raw.ctx, session) })
    }

    /// Tells of a reset.
    pub(crate) fn reset(&self, when: u32) -> Result {
        // SAFETY: By the invariant.
        to_result(unsafe { ((*self.raw.ops).reset)(self.raw.ctx, self.vf, when) })
    }
}

impl Visit {
    /// Begins to log which memory the VF writes, or ends it.
    pub(crate) fn log_dma(&self, on: bool) -> Result {
        // SAFETY: By the invariant.
        to_result(unsafe { ((*self.raw.ops).log_dma)(self.raw.ctx, self.vf, on) })
    }

    /// Moves what was logged of pages `first` to `last` to `out`; how many elements that took.
    pub(crate) fn dma_dirty(&self, first: u64, last: u64, out: &mut [DirtyPages]) -> Result<usize> {
        let (ctx, to, room) = (self.raw.ctx, out.as_mut_ptr(), out.len());
        // SAFETY: By the invariant; `out` is valid for reads and writes of `room` elements.
        count(unsafe { ((*self.raw.ops).dma_dirty)(ctx, self.vf, first, last, to, room) })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // SAFETY: By the invariant; it is left once.
        unsafe { c::gim_seam_leave(&self.raw) }
    }
}

/// A number or a negative errno.
fn number(value: i64) -> Result<u64> {
    match u64::try_from(value) {
        Ok(n) => Ok(n),
        Err(_) => Err(Error::from_errno(c_int::try_from(value)?)),
    }
}

/// A count or a negative errno.
fn count(value: isize) -> Result<usize> {
    match usize::try_from(value) {
        Ok(n) => Ok(n),
        Err(_) => Err(Error::from_errno(c_int::try_from(value)?)),
    }
}
