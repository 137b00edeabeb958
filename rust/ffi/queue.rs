// SPDX-License-Identifier: GPL-2.0

//! A workqueue of our own, so that slow work of one GPU waits for nobody else's and can be flushed.

use core::ptr::NonNull;

use kernel::{
    bindings,
    prelude::*,
    workqueue, //
};

/// A workqueue, destroyed when dropped.
///
/// # Invariants
///
/// Points to a workqueue that this value owns.
pub(crate) struct OwnQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: Workqueues may be used from any thread.
unsafe impl Send for OwnQueue {}
// SAFETY: Workqueues may be used from several threads at once.
unsafe impl Sync for OwnQueue {}

impl OwnQueue {
    /// Makes a queue; `name` is what its worker is called.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        Self::with(
            name,
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_HIGHPRI,
        )
    }

    /// Makes a queue for work that may take all day.
    pub(crate) fn patient(name: &'static CStr) -> Result<Self> {
        Self::with(name, bindings::wq_flags_WQ_UNBOUND)
    }

    fn with(name: &'static CStr, flags: c_uint) -> Result<Self> {
        // SAFETY: The format takes one string, which is given.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // INVARIANT: Ours alone.
        NonNull::new(wq).map(Self).ok_or(ENOMEM)
    }

    /// The queue to enqueue work items on.
    pub(crate) fn queue(&self) -> &workqueue::Queue {
        // SAFETY: Valid as long as `self`, by the invariant.
        unsafe { workqueue::Queue::from_raw(self.0.as_ptr()) }
    }

    /// Waits until all that is queued now is done.
    pub(crate) fn flush(&self) {
        // SAFETY: The queue is valid by the invariant.
        unsafe { bindings::__flush_workqueue(self.0.as_ptr()) }
    }
}

impl Drop for OwnQueue {
    fn drop(&mut self) {
        // SAFETY: Ours by the invariant; this waits for the work that is queued.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}
