// SPDX-License-Identifier: GPL-2.0

//! Work that sleeps: resets of VFs, zeroing of framebuffer. One piece of each kind at a time.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue::WorkItem, //
};

use super::{
    Gpu,
    State,
    PREPARES,
    RESETS,
    SCRUBS, //
};
use crate::gim_core::{
    engine::Phase,
    event::{
        Event,
        Work, //
    },
    partition::Part,
    types::VfId, //
};

/// How often, and with what pause, slow work is tried that something in the way makes fail: whoever
/// holds a VF's lock, a lack of memory. It may pass, and a VF is not given up for it.
const TRIES: u32 = 200;
const PAUSE_MS: i64 = 10;

/// How long a guest that asks for a reset may take to see the acknowledgement, which the reset
/// wipes: it looks every 5 ms (gpu-iov-hardware.md, 4.3).
const ACK_PAUSE_MS: i64 = 20;

/// Bytes of framebuffer mapped at a time.
const SCRUB_CHUNK: u64 = 16 << 20;

impl Gpu {
    /// Remembers slow work and has it done; from interrupts too.
    pub(super) fn queue_slow(this: ArcBorrow<'_, Self>, st: &mut State, work: Work) {
        // Already queued is fine: the workers look at the bits until none is left.
        match work {
            Work::Reset(vf) => {
                st.resets |= vf.bit();
                let _ = this.queue.queue().enqueue::<_, RESETS>(Arc::from(this));
            }
            Work::Scrub(vf) => {
                st.scrubs |= vf.bit();
                let _ = this.queue.queue().enqueue::<_, SCRUBS>(Arc::from(this));
            }
            Work::Prepare(vf) => {
                st.prepares |= vf.bit();
                let _ = this.queue.queue().enqueue::<_, PREPARES>(Arc::from(this));
            }
            Work::GpuReset => {
                st.reset_all = true;
                // A job that waits for the engine would keep it from being freed.
                this.cancel_copies(st);
                let _ = this.queue.queue().enqueue::<_, RESETS>(Arc::from(this));
            }
        }
    }

    /// Zeroes what VFs leave behind once they are gone; waits until it is done.
    pub(super) fn scrub_leftovers(self: &Arc<Self>, mask: u32) {
        self.with(|st| st.leftovers |= mask);
        let _ = self.queue.queue().enqueue::<_, SCRUBS>(self.clone());
        self.flush_slow();
    }

    /// Waits until the queued slow work is done.
    pub(super) fn flush_slow(&self) {
        self.queue.flush();
    }

    /// Zeroes the framebuffer of a VF.
    fn scrub_vf(self: &Arc<Self>, vf: VfId) -> Result {
        // Whoever was writing to it has ended then, and does not begin again.
        drop(self.fills[vf.index()].lock());
        let part = self.with(|st| st.table.as_ref().and_then(|table| table.vf(vf)));
        self.scrub(part.ok_or(ENOENT)?)
    }

    fn do_leftovers(self: &Arc<Self>) {
        let mask = self.with(|st| core::mem::take(&mut st.leftovers));
        for vf in VfId::all().filter(|vf| mask & vf.bit() != 0) {
            if self.hw.answers() && self.scrub_vf(vf).is_err() {
                let dev = self.hw.pf.get();
                dev_err!(dev, "framebuffer of VF{} was not zeroed\n", vf.raw());
            }
        }
    }

    /// Resets a VF by FLR.
    fn reset_vf(&self, vf: VfId) -> Result {
        let dev = self.hw.pf.vf(vf.raw()).ok_or(ENODEV)?;
        if self.with(|st| take_bit(&mut st.requested, vf)) {
            fsleep(Delta::from_millis(ACK_PAUSE_MS));
        }
        self.retry_while_busy(|| dev.try_reset())
    }

    /// Resets the whole GPU by a function level reset of the PF; configuration space of the PF and
    /// its VFs is restored, then what this driver has programmed.
    fn reset_gpu(&self) -> Result {
        self.by_ourselves(|| self.retry_while_busy(|| self.hw.pf.try_reset_with_vfs()))?;
        {
            let mut st = self.state.lock();
            if st.engine.detached() {
                // Somebody else resets it now, and sets it up then.
                return Err(ECANCELED);
            }
            self.set_up(&mut st);
        }
        if self.hw.answers() {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// Tries again while somebody else holds the device's lock, for some seconds, or until that
    /// somebody takes the GPU away.
    fn retry_while_busy(&self, reset: impl Fn() -> Result) -> Result {
        let away = || self.with(|st| st.engine.detached());
        retry(|e| e == EAGAIN && !away(), reset).map_err(|e| match e {
            EAGAIN if away() => ECANCELED,
            EAGAIN => EBUSY,
            e => e,
        })
    }

    /// Takes the next VF that is to be reset; none while the GPU is away.
    fn next_reset(&self) -> Option<VfId> {
        self.with(|st| {
            st.resetting = false;
            if st.engine.detached() {
                return None;
            }
            let vf = take_first(&mut st.resets);
            st.resetting = vf.is_some();
            vf
        })
    }

    /// Zeroes a part of the framebuffer: by the CPU where the aperture reaches, which costs the
    /// tenants no engine time, else by the copy engine.
    fn scrub(self: &Arc<Self>, part: Part) -> Result {
        let range = part.range();
        if range.end > self.hw.aperture.len() {
            return self.zero_by_engine(range);
        }
        let mut at = range.start;
        while at < range.end {
            if self.with(|st| abandons_scrubs(st.engine.phase())) {
                return Err(ECANCELED);
            }
            let size = SCRUB_CHUNK.min(range.end - at);
            let bytes = usize::try_from(size)?;
            let window = || self.hw.aperture.window(at, bytes);
            retry(|e| e == ENOMEM, window)?.zero();
            at += size;
        }
        Ok(())
    }
}

/// Does what may fail for a while, again and again for some seconds while it does so by an error that
/// may pass.
fn retry<R>(passes: impl Fn(Error) -> bool, act: impl Fn() -> Result<R>) -> Result<R> {
    for _ in 1..TRIES {
        match act() {
            Err(e) if passes(e) => fsleep(Delta::from_millis(PAUSE_MS)),
            result => return result,
        }
    }
    act()
}

/// Whether a scrub that is going on is of no use any more: it will be done anew, or never.
const fn abandons_scrubs(phase: Phase) -> bool {
    match phase {
        Phase::Stopping | Phase::Recovering | Phase::Dead | Phase::Gone => true,
        Phase::Off | Phase::On => false,
    }
}

/// Takes a VF out of a mask; whether it was in it.
fn take_bit(mask: &mut u32, vf: VfId) -> bool {
    let was = *mask & vf.bit() != 0;
    *mask &= !vf.bit();
    was
}

/// Takes the lowest VF out of a mask.
pub(super) fn take_first(mask: &mut u32) -> Option<VfId> {
    let vf = VfId::all().find(|vf| *mask & vf.bit() != 0)?;
    *mask &= !vf.bit();
    Some(vf)
}

/// Tells the log and the engine how a piece of slow work ended.
pub(super) fn report(gpu: &Arc<Gpu>, work: Work, result: Result) {
    // What was cancelled was not wanted any more.
    if let Some(e) = result.err().filter(|&e| e != ECANCELED) {
        dev_err!(gpu.hw.pf.get(), "{work:?} failed: {}\n", e.to_errno());
    }
    let ok = result.is_ok();
    let mut st = gpu.state.lock();
    Gpu::feed(gpu.as_arc_borrow(), &mut st, Event::WorkDone { work, ok });
}

impl WorkItem<RESETS> for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.with(|st| core::mem::take(&mut st.reset_all)) {
            report(&this, Work::GpuReset, this.reset_gpu());
        }
        while let Some(vf) = this.next_reset() {
            report(&this, Work::Reset(vf), this.reset_vf(vf));
        }
        this.changed.notify_all();
    }
}

impl WorkItem<SCRUBS> for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while let Some(vf) = this.with(|st| take_first(&mut st.scrubs)) {
            report(&this, Work::Scrub(vf), this.scrub_vf(vf));
        }
        this.do_leftovers();
    }
}
