// SPDX-License-Identifier: GPL-2.0

//! Work for the PF's copy engine: the PF takes turns on the engine like a VF meanwhile.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use super::{
    vfs::Unmet,
    Gpu,
    State, //
};
use crate::{
    ffi::timer,
    gim_core::{
        engine::Phase,
        event::Event,
        types::MS, //
    },
    hw::sdma::{
        Job,
        SUBMIT_MAX, //
    }, //
};

/// How long one submission may take, the other functions' turns included.
const LIMIT_MS: u32 = 60_000;

/// How often the fence is looked at though nobody has told that it was written: the interrupt behind
/// it may be lost, or come late.
const CHECK_MS: u32 = 50;

/// How often the fence is looked at once a signal waits, which must not end the job.
const LOOK_MS: i64 = 1;

/// A job of the copy engine.
#[derive(Clone, Copy)]
pub(super) struct Order {
    job: Job,
    /// What the fence will say when it is done.
    fence: u32,
    /// The copy engine has it.
    submitted: bool,
}

impl Gpu {
    /// The PF has got the engine (true) or loses it: a job that waits is submitted.
    ///
    /// One that was lost with the PF's context is submitted again: doing it twice does no harm.
    pub(super) fn pf_runs(&self, st: &mut State, runs: bool) {
        st.pf_runs = runs;
        let copy = &self.hw.copy;
        if let Some(order) = st.order.as_mut().filter(|_| runs) {
            if !order.submitted || !copy.is_set_up(&self.hw.mmio) {
                copy.submit(&self.hw.mmio, order.job, order.fence);
                order.submitted = true;
            }
        }
    }

    /// Nothing runs any more: whoever waits for the copy engine is told.
    pub(super) fn cancel_copies(&self, st: &mut State) {
        st.order = None;
        self.changed.notify_all();
    }

    /// Zeroes a range of framebuffer addresses; sleeps.
    pub(super) fn zero_by_engine(self: &Arc<Self>, range: Range<u64>) -> Result {
        let _turn = self.copies.lock();
        let mut at = range.start;
        let mut done = Ok(());
        while at < range.end && done.is_ok() {
            let len = SUBMIT_MAX.min(range.end - at);
            done = self.submit(Job::Zero { at, len });
            at += len;
        }
        self.release_pf();
        done
    }

    /// Has the copy engine do a job, with `before` and `after` while nobody else uses it; sleeps.
    pub(super) fn copy_by_engine<R>(
        self: &Arc<Self>,
        job: Job,
        before: impl FnOnce() -> Result,
        after: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let _turn = self.copies.lock();
        before()?;
        let done = self.submit(job);
        self.release_pf();
        done?;
        after()
    }

    /// The PF needs no more turns.
    fn release_pf(self: &Arc<Self>) {
        let mut st = self.state.lock();
        st.order = None;
        Self::feed(self.as_arc_borrow(), &mut st, Event::PfWork(false));
    }

    fn submit(self: &Arc<Self>, job: Job) -> Result {
        // Any number that the fence does not hold now will do.
        let fence = self.hw.copy.fence().wrapping_add(1);
        let mut st = self.state.lock();
        match st.engine.phase() {
            Phase::Gone => return Err(ENODEV),
            // The PF gets no turn, and what waits for this job would wait for its whole limit.
            Phase::Stopping | Phase::Dead => return Err(ECANCELED),
            Phase::Off | Phase::On | Phase::Recovering => {}
        }
        st.order = Some(Order {
            job,
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
        let until = timer::now_ns().saturating_add(u64::from(LIMIT_MS) * MS);
        loop {
            match self.wait(CHECK_MS, |st| done() || st.order.is_none()) {
                Ok(()) if done() => return Ok(()),
                Ok(()) => return Err(self.gone_or(ECANCELED)),
                Err(_) if timer::now_ns() >= until => return Err(ETIMEDOUT),
                // What has been submitted cannot be taken back.
                Err(Unmet::Signal) => fsleep(Delta::from_millis(LOOK_MS)),
                Err(Unmet::Timeout) => {}
            }
        }
    }
}
