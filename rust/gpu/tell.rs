// SPDX-License-Identifier: GPL-2.0

//! Telling whoever watches: tracepoints and the log at once, uevents from a worker.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    workqueue::WorkItem, //
};

use super::{
    fcn_number,
    Gpu,
    State,
    NOTICES, //
};
use crate::{
    ffi::{
        log::may_log,
        timer::now_ns,
        trace,
        uevent::Vars, //
    },
    gim_core::{
        event::{
            Note,
            ResetReason, //
        },
        notice::{
            Notice,
            What, //
        },
        vf::VfState,
    },
};

impl Gpu {
    /// Tells whoever watches.
    pub(super) fn note(this: ArcBorrow<'_, Self>, st: &mut State, note: Note) {
        this.trace(&note);
        this.log(&note);
        match note {
            Note::State { vf, to, .. } => {
                if matches!(to, VfState::Resetting | VfState::Unavailable) {
                    let epoch = &mut st.epochs[vf.index()];
                    *epoch = epoch.wrapping_add(1);
                }
                this.changed.notify_all();
            }
            Note::Reset {
                vf,
                reason: ResetReason::GuestRequest,
            } => st.requested |= vf.bit(),
            // The copy engine will not finish what it has begun.
            Note::Detached | Note::Dead | Note::Gone => this.cancel_copies(st),
            _ => {}
        }
        if st.notices.put(now_ns(), &note) {
            // Already queued is fine: the worker looks until none is left.
            let _ = this.queue.queue().enqueue::<_, NOTICES>(Arc::from(this));
        }
    }

    fn trace(&self, note: &Note) {
        let gpu = self.id();
        match *note {
            Note::Switch { from, to, took } => {
                trace::switch(gpu, from.map_or(0xff, fcn_number), fcn_number(to), took);
            }
            Note::State { vf, from, to } => {
                // CAST: The discriminants are small and never negative, here and below.
                trace::state(gpu, vf.raw().into(), from as u32, to as u32);
            }
            Note::CmdFailed { cmd, status } => {
                trace::command_failed(
                    gpu,
                    cmd.kind as u32,
                    fcn_number(cmd.fcn),
                    status.map_or(0x100, u32::from),
                );
            }
            Note::Reset { vf, reason } => trace::reset(gpu, vf.raw().into(), reason as u32),
            Note::MessageDropped { vf, code } => trace::mailbox(gpu, vf.raw().into(), 2, code, 0),
            Note::Guard { vf, limit, act } => {
                trace::guard(gpu, vf.raw().into(), limit as u32, act as u32);
            }
            Note::LostIrq
            | Note::GpuReset
            | Note::GpuReady
            | Note::Detached
            | Note::Dead
            | Note::Gone
            | Note::Polling => {}
        }
    }

    fn log(&self, note: &Note) {
        let dev = self.hw.pf.get();
        match *note {
            Note::CmdFailed { cmd, status } if may_log() => match status {
                Some(code) => dev_warn!(dev, "{cmd:?} ended with status {code:#04x}\n"),
                None => dev_warn!(dev, "{cmd:?} timed out\n"),
            },
            // A guest or its VMM resets at every start: that is no news.
            Note::Reset {
                reason: ResetReason::GuestFlr | ResetReason::GuestRequest,
                ..
            } => {}
            Note::Reset { vf, reason } if may_log() => {
                dev_warn!(dev, "VF{} is reset: {reason:?}\n", vf.raw());
            }
            Note::Guard { vf, limit, act } if may_log() => {
                dev_warn!(dev, "VF{} exceeds {}: {act:?}\n", vf.raw(), limit.name());
            }
            Note::GpuReset => dev_err!(dev, "the GPU does not answer: it is reset\n"),
            Note::GpuReady => dev_info!(dev, "the GPU was reset\n"),
            Note::Detached => dev_warn!(dev, "the GPU is taken away, its VFs lose their state\n"),
            Note::Dead => dev_err!(
                dev,
                "the GPU does not answer: disable its VFs and reset it\n"
            ),
            Note::Gone => dev_err!(dev, "the GPU has left the bus\n"),
            Note::Polling => {
                dev_warn!(
                    dev,
                    "completion interrupts do not come: commands are polled\n"
                );
            }
            _ => {}
        }
    }

    /// Sends a notice as a uevent.
    fn send_notice(&self, notice: &Notice) -> Result {
        let mut vars = Vars::new();
        vars.add("GIM_EVENT", notice.what.name())?;
        vars.add("GIM_SEQ", notice.seq)?;
        vars.add("GIM_DROPPED", notice.dropped)?;
        if let Some(vf) = notice.vf {
            vars.add("GIM_VF", vf.raw())?;
        }
        match notice.what {
            What::Guard { limit, act } => {
                vars.add("GIM_LIMIT", limit.name())?;
                vars.add("GIM_ACT", act.name())?;
            }
            What::Reset(reason) => vars.add("GIM_REASON", reason.name())?,
            _ => {}
        }
        vars.send(&self.hw.pf)
    }
}

impl WorkItem<NOTICES> for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while let Some(notice) = this.with(|st| st.notices.fetch()) {
            if this.send_notice(&notice).is_err() {
                this.with(|st| st.notices.lost());
            }
        }
    }
}
