// SPDX-License-Identifier: GPL-2.0

//! Large values on the heap that never pass through the (16 KiB) kernel stack.

use kernel::prelude::*;

/// A box with a copy of a static value, which must be plain data.
pub(crate) fn copied<T: 'static>(from: &'static T) -> Result<KBox<T>> {
    const {
        assert!(
            !core::mem::needs_drop::<T>(),
            "only plain data can be copied"
        )
    };
    let mut place = KBox::<T>::new_uninit(GFP_KERNEL)?;
    // SAFETY: Source and destination are valid and apart; a value that nothing needs to be done to
    // when it is dropped owns nothing, so there may be two of it. Then all of it is initialised.
    Ok(unsafe {
        core::ptr::copy_nonoverlapping(from, place.as_mut_ptr(), 1);
        place.assume_init()
    })
}
