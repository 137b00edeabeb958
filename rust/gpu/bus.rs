// SPDX-License-Identifier: GPL-2.0

//! The GPU taken away and given back: reset by somebody else, cut off by an error, asleep, gone.
//!
//! All of it comes from the PCI core or the PM core with the PF's device lock held. While the
//! engine is detached nothing here touches the hardware, and no VF is reset.

use kernel::{
    current,
    prelude::*,
    sync::Arc, //
};

use super::{
    first_vfs,
    Gpu,
    State,
    RESETS, //
};
use crate::gim_core::{
    engine::{
        Awake,
        Phase, //
    },
    event::Event, //
};

impl Gpu {
    /// The GPU is about to be reset by somebody else: when this returns nobody uses it.
    pub(crate) fn reset_begins(self: &Arc<Self>) {
        if self.resets_itself() {
            return;
        }
        {
            let mut st = self.state.lock();
            self.detach(&mut st);
            self.hw.stop();
        }
        self.wait_resets();
        self.hw.pf.save_vfs();
    }

    /// The reset is over, and the PF's configuration is what it was.
    pub(crate) fn reset_ended(self: &Arc<Self>) {
        if !self.resets_itself() {
            self.attach();
        }
    }

    /// The GPU is cut off: it must not be touched before its bus has been reset.
    pub(crate) fn cut_off(self: &Arc<Self>) {
        self.detach(&mut self.state.lock());
        self.wait_resets();
    }

    /// The bus has been reset; whether the GPU answers. It stays away until [`Self::attach`].
    pub(crate) fn bus_was_reset(self: &Arc<Self>) -> bool {
        self.cut_off();
        self.hw.pf.restore();
        self.hw.answers()
    }

    /// The GPU is given back, and set up anew; nothing happens if it was not away.
    pub(crate) fn attach(self: &Arc<Self>) {
        if !self.with(|st| st.engine.detached()) {
            return;
        }
        if !self.hw.answers() {
            self.tell(Event::Gone);
            return;
        }
        self.hw.pf.restore_vfs();
        let mut st = self.state.lock();
        self.set_up(&mut st);
        Self::feed(self.as_arc_borrow(), &mut st, Event::Attached);
        // What could not be done meanwhile.
        let _ = self.queue.queue().enqueue::<_, RESETS>(self.clone());
    }

    /// The device is not there any more: whoever waits for it is told.
    pub(crate) fn lost(self: &Arc<Self>) {
        self.tell(Event::Gone);
    }

    /// Whether the device has left the bus, as the PCI core knows or the device shows.
    pub(crate) fn is_lost(&self) -> bool {
        self.hw.pf.is_gone() || !self.hw.answers()
    }

    /// What was read from the GPU, or written to it, counts: it still answers. One that has left
    /// the bus reads as all ones, and takes writes as if they were done.
    ///
    /// Errors: `ENODEV` it has left the bus, and the engine knows; `EIO` it is away, or was.
    pub(crate) fn still_there(self: &Arc<Self>) -> Result {
        if self.hw.answers() {
            return Ok(());
        }
        let mut st = self.state.lock();
        match st.engine.phase() {
            Phase::Gone => return Err(ENODEV),
            // It is being reset, and comes back; what was done before is of another life of its.
            Phase::Recovering | Phase::Dead => return Err(EIO),
            Phase::Off | Phase::On | Phase::Stopping => {}
        }
        // Nobody takes it away while we hold the lock.
        if st.engine.detached() || self.hw.answers() {
            return Err(EIO);
        }
        Self::feed(self.as_arc_borrow(), &mut st, Event::Gone);
        Err(ENODEV)
    }

    /// Whether the engine knows that the GPU has left the bus.
    pub(crate) fn is_gone(&self) -> bool {
        self.with(|st| st.engine.phase()) == Phase::Gone
    }

    /// What it means that a VF is not what it was: `ENODEV` if the whole GPU is gone, else `other`.
    pub(crate) fn gone_or(&self, other: Error) -> Error {
        match self.is_gone() {
            true => ENODEV,
            false => other,
        }
    }

    /// The host is about to sleep. `EBUSY` if that would cost a guest its work.
    pub(crate) fn sleep(self: &Arc<Self>) -> Result {
        let dev = self.hw.pf.get();
        {
            let mut st = self.state.lock();
            let gone = st.engine.phase() == Phase::Gone;
            match st.engine.may_sleep() {
                Ok(()) if gone => return Ok(()),
                Ok(()) => {}
                Err(why) => {
                    drop(st);
                    match why {
                        Awake::Guest(vf) => dev_err!(
                            dev,
                            "cannot sleep: a guest uses VF{}; stop it or unload its driver\n",
                            vf.raw()
                        ),
                        Awake::Busy => dev_err!(dev, "cannot sleep: the GPU is being reset\n"),
                    }
                    return Err(EBUSY);
                }
            }
            self.detach(&mut st);
            self.hw.stop();
        }
        self.wait_resets();
        self.flush_slow();
        Ok(())
    }

    /// The host has slept, or has not in the end: whatever state the GPU is in, it is reset.
    pub(crate) fn wake(self: &Arc<Self>) {
        if !self.with(|st| st.engine.detached()) {
            return;
        }
        let done = self.by_ourselves(|| self.hw.pf.reset_locked());
        match done {
            Ok(()) => self.attach(),
            Err(e) => {
                let dev = self.hw.pf.get();
                dev_err!(dev, "the GPU cannot be reset: {}\n", e.to_errno());
                self.lost();
            }
        }
    }

    /// The host goes down: states are saved, nobody runs, and nothing writes to memory any more. VFs
    /// stay enabled, and their framebuffer as it is: it is zeroed before anybody gets it again.
    pub(crate) fn shut_down(self: &Arc<Self>) {
        self.with(|st| st.closed = true);
        self.stop_engine();
        self.hw.stop();
        self.hw.pf.silence();
        dev_notice!(self.hw.pf.get(), "the host goes down: no VF runs\n");
    }

    /// Programs what a reset of the GPU has wiped.
    pub(super) fn set_up(&self, st: &mut State) {
        if let Some(table) = &st.table {
            self.hw.hal.program_partition(&self.hw, table);
            for vf in first_vfs(table.count()) {
                self.hw.hal.enable_mailbox(&self.hw, vf, true);
            }
        }
        st.ih_read = 0;
        self.hw.start();
    }

    fn detach(self: &Arc<Self>, st: &mut State) {
        if !st.engine.detached() {
            Self::feed(self.as_arc_borrow(), st, Event::Detached);
        }
    }

    /// Waits until no VF is being reset. None begins while the GPU is away.
    fn wait_resets(&self) {
        let mut st = self.state.lock();
        while st.resetting {
            self.changed.wait(&mut st);
        }
    }

    /// Resets the PF by `reset`; the PCI core's callbacks about it are not for the engine.
    pub(super) fn by_ourselves<R>(&self, reset: impl FnOnce() -> R) -> R {
        self.with(|st| st.resetter = Some(current!().pid()));
        let done = reset();
        self.with(|st| st.resetter = None);
        done
    }

    /// Whether it is this very thread that resets the PF, for the engine.
    fn resets_itself(&self) -> bool {
        self.with(|st| st.resetter == Some(current!().pid()))
    }
}
