// SPDX-License-Identifier: GPL-2.0

//! VFIO's DMA logging: which memory of its guest the VF has written, for kernels that have that.
//!
//! The GPU keeps what it has logged; here is only who began to log. If the log ends by itself,
//! because the GPU was reset, say, nobody knows what was written: all memory is dirty then.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    abi::{
        Address,
        DirtyPages, //
    },
    ffi::seam::Visit,
    migration::Link, //
};

/// Log2 of the bytes that the log tells apart.
pub(crate) const PAGE_SHIFT: u32 = 12;

/// Pages of a [`DirtyPages`].
const GROUP: u64 = 32;

/// How much is fetched in one call.
const BATCH: usize = 32;

/// The log of one VF.
///
/// Its lock is held while the user's bitmap is written: a reset must not take it.
#[pin_data]
pub(crate) struct DmaLog {
    pf: Address,
    vf: u32,
    #[pin]
    inner: Mutex<State>,
}

enum State {
    Off,
    On(Link),
    /// It was on, and what it knew is lost.
    Lost(Link),
}

impl DmaLog {
    /// The log of a VF, which is off.
    pub(crate) fn new(pf: Address, vf: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            pf,
            vf,
            inner <- new_mutex!(State::Off),
        })
    }

    /// Whether the GPU has a log; no if its driver is absent.
    pub(crate) fn is_there(&self) -> bool {
        let info = Visit::enter(self.pf, self.vf).and_then(|visit| visit.info());
        info.is_ok_and(|info| info.logs_dma != 0)
    }

    /// Begins to log; nothing is dirty. `EBUSY`: it goes on already.
    pub(crate) fn start(&self) -> Result {
        let mut state = self.inner.lock();
        if !matches!(*state, State::Off) {
            return Err(EBUSY);
        }
        let visit = Visit::enter(self.pf, self.vf)?;
        visit.log_dma(true)?;
        *state = State::On(Link::to(self.pf, self.vf, &visit));
        Ok(())
    }

    /// Ends that, if it goes on.
    pub(crate) fn stop(&self) {
        let state = core::mem::replace(&mut *self.inner.lock(), State::Off);
        if let State::On(link) | State::Lost(link) = state {
            // If that driver is gone, so is its log.
            let _ = link.enter().and_then(|visit| visit.log_dma(false));
        }
    }

    /// Tells `mark` of each piece (address, bytes) that was written since it was told the last
    /// time, of `len` bytes from `iova` on. `EINVAL`: nothing is logged.
    pub(crate) fn take(&self, iova: u64, len: u64, mut mark: impl FnMut(u64, u64)) -> Result {
        let last = len.checked_sub(1).ok_or(EINVAL)?;
        let last = iova.checked_add(last).ok_or(EOVERFLOW)? >> PAGE_SHIFT;
        let mut first = iova >> PAGE_SHIFT;
        let mut state = self.inner.lock();
        let link = match *state {
            State::Off => return Err(EINVAL),
            State::On(link) => link,
            State::Lost(_) => {
                mark(iova, len);
                return Ok(());
            }
        };
        let mut found = [DirtyPages::default(); BATCH];
        loop {
            let count = match link.enter()?.dma_dirty(first, last, &mut found) {
                Err(e) if e == ESTALE => {
                    *state = State::Lost(link);
                    mark(iova, len);
                    return Ok(());
                }
                other => other?,
            };
            let found = found.get(..count).ok_or(EIO)?;
            for group in found {
                each_run(group, &mut mark);
            }
            match found.last() {
                Some(group) if count == BATCH => first = group.page.saturating_add(GROUP),
                _ => return Ok(()),
            }
            if first > last {
                return Ok(());
            }
        }
    }
}

/// Tells `mark` of each run of pages that are set in a group.
fn each_run(group: &DirtyPages, mark: &mut impl FnMut(u64, u64)) {
    let mut bits = u64::from(group.bits);
    let mut page = group.page;
    while bits != 0 {
        let skip = bits.trailing_zeros();
        bits >>= skip;
        let run = bits.trailing_ones();
        bits >>= run;
        page = page.saturating_add(skip.into());
        mark(page << PAGE_SHIFT, u64::from(run) << PAGE_SHIFT);
        page = page.saturating_add(run.into());
    }
}
