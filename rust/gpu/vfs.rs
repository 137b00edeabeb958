// SPDX-License-Identifier: GPL-2.0

//! Enabling and disabling of VFs: partition, scrub, PCI.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        CondVarTimeoutResult, //
    },
    time::msecs_to_jiffies, //
};

use super::{
    first_vfs,
    Gpu,
    State, //
};
use crate::gim_core::{
    engine::Held,
    event::Event,
    partition::Partition,
    vf::VfState, //
};
use crate::show::Show;

/// How long VFs may take to become clean: a framebuffer of 16 GiB at 100 MB/s, and some.
const SCRUB_LIMIT_MS: u32 = 180_000;

/// How long a guest may take to let go before `sriov_numvfs` is refused.
const RELEASE_LIMIT_MS: u32 = 500;

/// The least that the PF keeps for itself, in bytes: the smallest the table allows.
const PF_MIN: u64 = 16 << 20;

/// Why a wait ended without what was waited for.
pub(super) enum Unmet {
    Signal,
    Timeout,
}

impl From<Unmet> for Error {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Signal => EINTR,
            Unmet::Timeout => ETIMEDOUT,
        }
    }
}

impl Gpu {
    /// Partitions the framebuffer, scrubs it, and makes `count` VFs appear.
    pub(crate) fn enable_vfs(self: &Arc<Self>, count: u16) -> Result {
        let dev = self.hw.pf.get();
        let (closed, may) = self.with(|st| (st.closed, st.engine.may_enable()));
        if closed {
            return Err(ENODEV);
        }
        if !may {
            let phase = self.with(|st| st.engine.phase());
            dev_err!(dev, "cannot enable VFs: the GPU is not ready ({phase:?})\n");
            return Err(EBUSY);
        }
        if self.with(|st| st.engine.all_held()) != Held::No {
            dev_err!(dev, "cannot enable VFs: the scheduler is paused\n");
            return Err(EBUSY);
        }
        let total = u64::from(self.hw.hal.framebuffer_mib(&self.hw)) << 20;
        let table = Partition::equal(total, PF_MIN, count.into()).map_err(|e| {
            dev_err!(dev, "cannot enable VFs: {}\n", Show(e));
            EINVAL
        })?;
        self.start(table);
        let mut done = self.wait_clean(table.count());
        if done.is_ok() {
            done = self.hw.pf.enable_vfs(count);
        }
        if let Err(e) = done {
            dev_err!(dev, "{count} VFs could not be enabled: {}\n", e.to_errno());
            self.stop();
            return done;
        }
        self.find_functions();
        let first = first_vfs(1).find_map(|vf| table.vf(vf));
        let each = first.map_or(0, |part| part.size() >> 20);
        dev_info!(dev, "{count} VFs enabled, {each} MiB of framebuffer each\n");
        Ok(())
    }

    /// Takes all VFs away, waiting for their users.
    pub(crate) fn disable_vfs(self: &Arc<Self>) {
        self.stop_engine();
        self.hw.pf.disable_vfs();
        self.clean_up();
    }

    /// The same while the driver is being bound or unbound.
    pub(crate) fn disable_vfs_at_unbind(self: &Arc<Self>) {
        self.stop_engine();
        self.hw.pf.disable_vfs_at_unbind();
        self.clean_up();
    }

    /// Whether a guest uses a VF, after a little patience for one that is just leaving.
    pub(crate) fn in_use(&self) -> bool {
        let busy = |st: &mut State| first_vfs(st.engine.count()).any(|vf| st.engine.has_guest(vf));
        self.hw.pf.vfs_assigned() || self.wait(RELEASE_LIMIT_MS, |st| !busy(st)).is_err()
    }

    fn start(self: &Arc<Self>, table: Partition) {
        let mut st = self.state.lock();
        self.hw.hal.program_partition(&self.hw, &table);
        // Resets of VFs that were there before are nobody's any more.
        let old = self.hw.hal.resets(&self.hw).unwrap_or_default();
        self.hw.hal.clear_resets(&self.hw, old);
        for vf in first_vfs(table.count()) {
            self.hw.hal.enable_mailbox(&self.hw, vf, true);
        }
        st.stopped = false;
        st.table = Some(table);
        let count = table.count();
        Self::feed(self.as_arc_borrow(), &mut st, Event::Enable { count });
    }

    /// Waits until every VF's framebuffer is clean.
    fn wait_clean(&self, count: u8) -> Result {
        let settled = |state| matches!(state, VfState::Available | VfState::Quarantined);
        self.wait(SCRUB_LIMIT_MS, |st| {
            first_vfs(count).all(|vf| settled(st.engine.vf_state(vf)))
        })
        .map_err(Error::from)?;
        let clean =
            self.with(|st| first_vfs(count).all(|vf| st.engine.vf_state(vf) == VfState::Available));
        if clean {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// Stops the engine; the VFs may still be there.
    pub(crate) fn stop_engine(self: &Arc<Self>) {
        let mut st = self.state.lock();
        if st.stopped {
            return;
        }
        Self::feed(self.as_arc_borrow(), &mut st, Event::Disable);
        // The PF gets no turn from here to the end, and the end waits for scrubs that are going on.
        self.cancel_copies(&mut st);
        // The engine says it within a bounded time, whatever the hardware does.
        while !st.stopped {
            self.changed.wait(&mut st);
        }
        drop(st);
        self.flush_slow();
    }

    /// Silences the mailboxes and zeroes what the VFs leave behind.
    fn clean_up(self: &Arc<Self>) {
        self.forget_functions();
        let Some(table) = self.with(|st| st.table) else {
            return;
        };
        let mut mask = 0;
        for vf in first_vfs(table.count()) {
            self.with(|_| self.hw.hal.enable_mailbox(&self.hw, vf, false));
            mask |= vf.bit();
        }
        self.scrub_leftovers(mask);
        self.with(|st| st.table = None);
    }

    fn stop(self: &Arc<Self>) {
        self.stop_engine();
        self.clean_up();
    }

    /// Waits until `met`, at most `limit_ms`.
    pub(super) fn wait(
        &self,
        limit_ms: u32,
        met: impl Fn(&mut State) -> bool,
    ) -> Result<(), Unmet> {
        let mut st = self.state.lock();
        let mut left = msecs_to_jiffies(limit_ms);
        while !met(&mut st) {
            match self.changed.wait_interruptible_timeout(&mut st, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                CondVarTimeoutResult::Signal { .. } => return Err(Unmet::Signal),
                CondVarTimeoutResult::Timeout if met(&mut st) => return Ok(()),
                CondVarTimeoutResult::Timeout => return Err(Unmet::Timeout),
            }
        }
        Ok(())
    }
}
