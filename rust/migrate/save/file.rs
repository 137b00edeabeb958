// SPDX-License-Identifier: GPL-2.0

//! The stream as a file: reads, and whoever waits for them.

use kernel::{
    prelude::*,
    sync::{
        poll::PollCondVar,
        Arc,
        ArcBorrow,
        CondVarTimeoutResult, //
    },
    time::msecs_to_jiffies,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceWriter, //
    },
};

use super::{
    Phase,
    Save,
    SaveStream,
    Step, //
};
use crate::{
    ffi::{
        anon::{
            ready,
            AnonFile, //
        },
        timer,
        uapi, //
    },
    gim_core::migrate::Happens,
};

/// The longest that one read waits for the last look; then it is asked again.
const WAIT_MS: u32 = 1000;

impl SaveStream {
    /// Has the worker look, if the reader wants it to.
    fn wake(this: ArcBorrow<'_, Self>, save: &mut Save) {
        if core::mem::take(&mut save.wake) {
            if let Some(queue) = &*this.queue.lock() {
                // Already queued is fine: it looks until nobody wants it to.
                let _ = queue.queue().enqueue::<_, 0>(Arc::from(this));
            }
        }
    }

    /// Delivers what there is; whether to wait for more where a look has to come further.
    fn deliver(
        this: ArcBorrow<'_, Self>,
        out: &mut UserSliceWriter,
        may_wait: bool,
    ) -> Result<usize> {
        let mut save = this.save.lock();
        save.meter.reader_came(timer::now_ns());
        let mut n = 0;
        let result = loop {
            if out.is_empty() {
                break Ok(n);
            }
            if save.sent < save.made {
                match save.hand_over(out) {
                    Ok(more) => n += more,
                    Err(e) => break Err(e),
                }
                continue;
            }
            if save.phase == Phase::Done || (n != 0 && kernel::current!().signal_pending()) {
                break Ok(n);
            }
            let gpu = this.port.enter()?;
            let done = save.step(&gpu, &this.port);
            if done.is_ok() && save.phase == Phase::Done {
                let _ = this
                    .port
                    .moving(&gpu, save.vf, |m, now| m.happens(now, Happens::End));
            }
            // Whoever waits for a look lets the GPU go meanwhile.
            drop(gpu);
            Self::wake(this, &mut save);
            match done {
                Ok(Step::Staged) => {}
                Ok(Step::Round) => {
                    break save.hand_over(out).map(|more| n + more);
                }
                Ok(_) if n != 0 => break Ok(n),
                Ok(Step::Quiet) => break Err(ENOMSG),
                Ok(Step::Wait) if !may_wait => {
                    save.looked = false;
                    break Err(EAGAIN);
                }
                Ok(Step::Wait) => {
                    let limit = msecs_to_jiffies(WAIT_MS);
                    let met = this.looked.wait_interruptible_timeout(&mut save, limit);
                    if let CondVarTimeoutResult::Signal { .. } = met {
                        break Err(EINTR);
                    }
                }
                Err(e) => {
                    this.fail(&mut save, e);
                    break Err(e);
                }
            }
        };
        save.meter.reader_goes(timer::now_ns(), n as u64);
        result
    }
}

impl Save {
    /// Hands over what is staged.
    fn hand_over(&mut self, out: &mut UserSliceWriter) -> Result<usize> {
        let n = out.len().min(self.made - self.sent);
        let bytes = self.staged.get(self.sent..self.sent + n).ok_or(EINVAL)?;
        out.write_slice(bytes)?;
        self.sent += n;
        // CAST: Below the size of a step.
        self.passed = self.passed.saturating_add(n as u64);
        Ok(n)
    }
}

impl AnonFile for SaveStream {
    const NAME: &'static CStr = c"gim-save";

    fn read(this: ArcBorrow<'_, Self>, mut out: UserSliceWriter) -> Result<usize> {
        Self::deliver(this, &mut out, true)
    }

    fn read_now(this: ArcBorrow<'_, Self>, to: usize, len: usize) -> Result<usize> {
        let mut out = UserSlice::new(UserPtr::from_addr(to), len).writer();
        Self::deliver(this, &mut out, false)
    }

    /// A read waits for the framebuffer and, while the VF is held, for the last look at it: who was
    /// told so (`EAGAIN`) finds it ready when the look has come further.
    fn poll(&self) -> u32 {
        match (self.port.is_open(), self.save.lock().looked) {
            (false, _) => ready::ERR | ready::HUP,
            (true, true) => ready::IN,
            (true, false) => 0,
        }
    }

    fn changes(&self) -> Option<&PollCondVar> {
        Some(&self.looked)
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            uapi::GIM_IOCTL_STREAM_QUERY => self.query(arg).map(|()| 0),
            _ => Err(ENOTTY),
        }
    }

    fn release(&self) {
        let vf = {
            let mut save = self.save.lock();
            // The worker has nothing to do then.
            if save.phase != Phase::Done {
                save.phase = Phase::Broken(ECANCELED);
            }
            save.vf
        };
        // This waits for the worker.
        let queue = self.queue.lock().take();
        drop(queue);
        if let Ok(gpu) = self.port.enter() {
            let save = self.save.lock();
            if save.phase != Phase::Done {
                save.tracker.stop(&gpu);
            }
            let _ = self
                .port
                .moving(&gpu, vf, |m, now| m.happens(now, Happens::Close));
            gpu.end_hold(vf);
        }
    }
}
