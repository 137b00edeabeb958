// SPDX-License-Identifier: GPL-2.0

//! Zeroing by the PF's copy engine: the PF takes turns on the engine like a VF meanwhile.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    Gpu,
    State, //
};
use crate::{
    gim_core::event::Event,
    hw::sdma::SUBMIT_MAX, //
};

/// How long one submission may take, the other functions' turns included.
const LIMIT_MS: u32 = 60_000;

/// A piece of framebuffer that is being zeroed.
#[derive(Clone, Copy)]
pub(super) struct Fill {
    at: u64,
    len: u64,
    /// What the fence will say when it is done.
    fence: u32,
    /// The copy engine has it.
    submitted: bool,
}

impl Gpu {
    /// The PF has got the engine (true) or loses it: a submission that waits is made.
    ///
    /// One that was lost with the PF's context is made again: zeroing twice does no harm.
    pub(super) fn pf_runs(&self, st: &mut State, runs: bool) {
        st.pf_runs = runs;
        let copy = &self.hw.copy;
        if let Some(fill) = st.fill.as_mut().filter(|_| runs) {
            if !fill.submitted || !copy.is_set_up(&self.hw.mmio) {
                copy.zero(&self.hw.mmio, fill.at, fill.len, fill.fence);
                fill.submitted = true;
            }
        }
    }

    /// Nothing runs any more: whoever waits for the copy engine is told.
    pub(super) fn cancel_fill(&self, st: &mut State) {
        st.fill = None;
        self.changed.notify_all();
    }

    /// Zeroes a range of framebuffer addresses; sleeps.
    ///
    /// Only the scrub worker calls this: one job at a time, and no signal ends its waits.
    pub(super) fn zero_by_engine(self: &Arc<Self>, range: Range<u64>) -> Result {
        let mut at = range.start;
        let mut done = Ok(());
        while at < range.end && done.is_ok() {
            let len = SUBMIT_MAX.min(range.end - at);
            done = self.submit(at, len);
            at += len;
        }
        let mut st = self.state.lock();
        st.fill = None;
        Self::feed(self.as_arc_borrow(), &mut st, Event::PfWork(false));
        done
    }

    fn submit(self: &Arc<Self>, at: u64, len: u64) -> Result {
        // Any number that the fence does not hold now will do.
        let fence = self.hw.copy.fence().wrapping_add(1);
        let mut st = self.state.lock();
        st.fill = Some(Fill {
            at,
            len,
            fence,
            submitted: false,
        });
        if st.pf_runs {
            self.pf_runs(&mut st, true);
        } else {
            Self::feed(self.as_arc_borrow(), &mut st, Event::PfWork(true));
        }
        drop(st);
        let done = || self.hw.copy.fence() == fence;
        self.wait(LIMIT_MS, |st| done() || st.fill.is_none())
            .map_err(|_| ETIMEDOUT)?;
        if done() {
            Ok(())
        } else {
            Err(ECANCELED)
        }
    }
}
