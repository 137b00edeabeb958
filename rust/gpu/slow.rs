// SPDX-License-Identifier: GPL-2.0

//! Work that sleeps: resets of VFs, zeroing of framebuffer. One piece at a time, in a workqueue.

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
    State, //
};
use crate::{
    ffi::fb::FbWindow,
    gim_core::{
        event::{
            Event,
            Work, //
        },
        partition::Part,
        types::VfId, //
    },
};

/// How often, and with what pause, a reset is tried while somebody holds the VF's lock.
const RESET_TRIES: u32 = 200;
const RESET_PAUSE_MS: i64 = 10;

/// Bytes of framebuffer mapped at a time.
const SCRUB_CHUNK: u64 = 16 << 20;

impl Gpu {
    /// Remembers slow work and has it done.
    pub(super) fn queue_slow(this: ArcBorrow<'_, Self>, st: &mut State, work: Work) {
        match work {
            Work::Reset(vf) => st.resets |= vf.bit(),
            Work::Scrub(vf) => st.scrubs |= vf.bit(),
        }
        // Already queued is fine: the worker looks at the bits until none is left.
        let _ = this.queue.queue().enqueue(Arc::from(this));
    }

    /// Waits until the queued slow work is done.
    pub(crate) fn flush_slow(&self) {
        self.queue.flush();
    }

    /// Takes the next piece of slow work, resets first.
    fn next_slow(st: &mut State) -> Option<Work> {
        if let Some(vf) = VfId::all().find(|vf| st.resets & vf.bit() != 0) {
            st.resets &= !vf.bit();
            return Some(Work::Reset(vf));
        }
        let vf = VfId::all().find(|vf| st.scrubs & vf.bit() != 0)?;
        st.scrubs &= !vf.bit();
        Some(Work::Scrub(vf))
    }

    fn do_slow(&self, work: Work) -> Result {
        match work {
            Work::Reset(vf) => self.reset_vf(vf),
            Work::Scrub(vf) => {
                let part = self.with(|st| st.table.as_ref().and_then(|table| table.vf(vf)));
                self.scrub(part.ok_or(ENOENT)?)
            }
        }
        .inspect_err(|e| {
            dev_err!(self.hw.pf.get(), "{work:?} failed: {}\n", e.to_errno());
        })
    }

    /// Resets a VF by FLR.
    fn reset_vf(&self, vf: VfId) -> Result {
        let dev = self.hw.pf.vf(vf.raw()).ok_or(ENODEV)?;
        for _ in 0..RESET_TRIES {
            match dev.try_reset() {
                Err(e) if e == EAGAIN => fsleep(Delta::from_millis(RESET_PAUSE_MS)),
                result => return result,
            }
        }
        Err(EBUSY)
    }

    /// Zeroes a part of the framebuffer through the PF's aperture.
    pub(super) fn scrub(&self, part: Part) -> Result {
        let (base, len) = self.hw.aperture()?;
        let range = part.range();
        if range.end > len {
            dev_err!(
                self.hw.pf.get(),
                "framebuffer beyond the aperture of {} MiB cannot be zeroed by the CPU\n",
                len >> 20
            );
            return Err(ENXIO);
        }
        let mut at = range.start;
        while at < range.end {
            let size = SCRUB_CHUNK.min(range.end - at);
            // SAFETY: The range lies within BAR0, which the driver has requested, and in a part
            // that no guest owns while it is scrubbed.
            let window = unsafe { FbWindow::map(base + at, usize::try_from(size)?) }?;
            window.zero();
            at += size;
        }
        Ok(())
    }
}

impl WorkItem for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while let Some(work) = this.with(Self::next_slow) {
            let ok = this.do_slow(work).is_ok();
            let mut st = this.state.lock();
            Self::feed(this.as_arc_borrow(), &mut st, Event::WorkDone { work, ok });
        }
    }
}
