// SPDX-License-Identifier: GPL-2.0

//! What follows the last page: state, registers, mailbox, interrupts, context, and the end. All of
//! it counts only if the VF has not run since that page was read, and is still there.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    tell::Cause,
    Phase,
    Save, //
};
use crate::{
    gim_core::stream::{
        self,
        Encoder, //
    },
    gpu::Gpu, //
};

impl Save {
    /// `EIO` unless the VF is the one that was paused, and has not run since its last page was read.
    fn still_held(&mut self, gpu: &Arc<Gpu>) -> Result {
        let now = gpu.stand(self.vf);
        if now.epoch != Some(self.epoch) {
            return Err(self.lost(gpu));
        }
        match Some(now.stay) == self.last_stay && now.held && !now.bounded {
            true => Ok(()),
            false => Err(self.spoilt(Cause::Ran)),
        }
    }

    /// The VF is not the one that was to be saved.
    pub(super) fn lost(&mut self, gpu: &Gpu) -> Error {
        match gpu.is_gone() {
            true => ENODEV,
            false => self.spoilt(Cause::Reset),
        }
    }

    /// Everything but framebuffer and context.
    pub(super) fn state_step(&mut self, gpu: &Arc<Gpu>) -> Result {
        self.still_held(gpu)?;
        let (state, mailbox) = gpu.export_vf(self.vf);
        let registers = gpu.read_vf_registers(self.vf)?;
        let irq = stream::Irq {
            again: true,
            vectors: 0,
        };
        self.stage(|enc, out| enc.state(out, &state))?;
        self.stage(|enc, out| enc.registers(out, registers.as_slice()))?;
        self.stage(|enc, out| enc.mailbox(out, &mailbox))?;
        self.stage(|enc, out| enc.irq(out, irq))?;
        if state.loaded {
            self.phase = Phase::Context;
            return Ok(());
        }
        self.end(gpu)
    }

    pub(super) fn context_step(&mut self, gpu: &Arc<Gpu>) -> Result {
        let (at, bytes) = gpu.context_part(self.vf)?;
        let image = self.pages.get_mut(..bytes).ok_or(EINVAL)?;
        self.fb.read(gpu, at, image)?;
        self.stage(Encoder::context)?;
        self.stage_data(0..bytes)?;
        self.stage(Encoder::end_section)?;
        self.end(gpu)
    }

    fn end(&mut self, gpu: &Arc<Gpu>) -> Result {
        // What was read is worth nothing if it was reset meanwhile, or read from nothing.
        self.still_held(gpu)?;
        gpu.still_there()?;
        self.stage(Encoder::end)?;
        self.phase = Phase::Done;
        self.tracker.stop(gpu);
        Ok(())
    }
}
