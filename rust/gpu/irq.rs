// SPDX-License-Identifier: GPL-2.0

//! The interrupt: empties the ring and turns each entry into an event.

use kernel::{
    interrupt::LocalInterruptDisabled,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

use super::{
    Gpu,
    State, //
};
use crate::{
    ffi::{
        irq::MsiHandler,
        trace, //
    },
    gim_core::{
        event::{
            CmdStatus,
            Event,
            StatusSource, //
        },
        types::VfId, //
    },
    hw::hal::Interrupt, //
};

/// Ring entries that one interrupt handles; what is left interrupts again.
const MAX_ENTRIES: usize = 512;

/// How often one interrupt looks what the capability tells; what is left interrupts again.
const MAX_SIGNALS: usize = 16;

/// What the interrupt core calls.
pub(crate) struct IrqHandler(pub(crate) Arc<Gpu>);

impl MsiHandler for IrqHandler {
    fn interrupt(&self, irq: &LocalInterruptDisabled) -> bool {
        let gpu = self.0.as_arc_borrow();
        let mut st = gpu.state.lock_with(irq);
        if st.engine.detached() {
            // Sent before it was taken away.
            return true;
        }
        let signals = Gpu::drain_signals(gpu, &mut st);
        Gpu::drain_ring(gpu, &mut st) || signals
    }
}

impl Gpu {
    /// Handles what the GPU-IOV capability itself tells; whether it told anything.
    fn drain_signals(this: ArcBorrow<'_, Self>, st: &mut State) -> bool {
        for round in 0..MAX_SIGNALS {
            let Some(signals) = this.hw.hal.take_signals(&this.hw) else {
                return round > 0;
            };
            if let Some(mask) = signals.busy {
                Self::feed(this, st, Event::Busy { mask });
            }
            let status = match signals.hang {
                Some(code) => CmdStatus::Failed(code),
                None if signals.done => this.hw.hal.status(&this.hw),
                None => continue,
            };
            let source = StatusSource::Irq;
            Self::feed(this, st, Event::CmdStatus { status, source });
        }
        this.hw.hal.rearm_signals(&this.hw);
        true
    }

    /// Handles what the ring holds; whether it held anything.
    fn drain_ring(this: ArcBorrow<'_, Self>, st: &mut State) -> bool {
        let (ih, mmio) = (&this.hw.ih, &this.hw.mmio);
        let mut any = false;
        for _ in 0..MAX_ENTRIES {
            let (wptr, overflow) = ih.write_pointer(mmio);
            if overflow {
                any = true;
                ih.clear_overflow(mmio);
                Self::after_overflow(this, st);
            }
            if wptr == st.ih_read {
                break;
            }
            any = true;
            while st.ih_read != wptr {
                let entry = ih.entry(st.ih_read);
                st.ih_read = ih.next(st.ih_read);
                Self::interrupt(this, st, this.hw.hal.interrupt(entry));
            }
            ih.read_until(mmio, st.ih_read);
        }
        any
    }

    fn interrupt(this: ArcBorrow<'_, Self>, st: &mut State, what: Interrupt) {
        match what {
            Interrupt::CommandDone => {
                let status = this.hw.hal.status(&this.hw);
                let source = StatusSource::Irq;
                Self::feed(this, st, Event::CmdStatus { status, source });
            }
            Interrupt::Message(n) => Self::message(this, st, n),
            Interrupt::MessageAck(n) => {
                if let Some(vf) = enabled(st, n) {
                    Self::feed(this, st, Event::MessageAck(vf));
                }
            }
            Interrupt::CopyDone => this.changed.notify_all(),
            Interrupt::Other => {}
        }
    }

    /// Takes the message of VF `n`, if that is one and it has sent any.
    fn message(this: ArcBorrow<'_, Self>, st: &mut State, n: u32) {
        let Some(vf) = enabled(st, n).filter(|&vf| st.engine.takes_messages(vf)) else {
            return;
        };
        if let Some(event) = this.receive(vf) {
            Self::feed(this, st, event);
        }
    }

    /// Reads and acknowledges the message that waits in the VF's mailbox, if one does.
    pub(super) fn receive(&self, vf: VfId) -> Option<Event> {
        let words = self.hw.hal.receive(&self.hw, vf)?;
        trace::mailbox(self.id(), vf.raw().into(), 0, words[0], words[1]);
        Some(Event::Message { vf, words })
    }

    /// Entries were lost: look at everything they could have spoken of.
    fn after_overflow(this: ArcBorrow<'_, Self>, st: &mut State) {
        kernel::pr_warn_once!("interrupt ring overflow\n");
        for vf in super::first_vfs(st.engine.count()) {
            Self::message(this, st, vf.raw().into());
        }
        let status = this.hw.hal.status(&this.hw);
        let source = StatusSource::Poll;
        Self::feed(this, st, Event::CmdStatus { status, source });
    }
}

/// The enabled VF with this number, which came from the ring and may be anything.
fn enabled(st: &State, n: u32) -> Option<VfId> {
    VfId::new(n).filter(|vf| vf.raw() < st.engine.count())
}
