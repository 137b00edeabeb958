// SPDX-License-Identifier: GPL-2.0

//! Somebody else takes the GPU away, and gives it back.

use gim_core::{
    event::Event,
    types::{MAX_VFS, MS, US},
};

use super::{vf, Coming, Verdict, World};

impl World {
    pub(super) fn plan_detach(&mut self) {
        if self.weather.bus_resets != 0 {
            let wait = self.rng.within(0..2 * self.weather.bus_resets);
            self.plan(wait, Coming::Detached);
        }
    }

    /// The GPU is taken away, and will be given back.
    pub fn detach(&mut self) -> Verdict {
        if self.detached || self.gpu.gone {
            return Ok(());
        }
        self.detached = true;
        self.detachments += 1;
        let lasts = self.rng.pick(&[100 * US, 10 * MS, 500 * MS, 2_000 * MS]);
        let lasts = self.rng.within(0..lasts);
        self.plan(lasts, Coming::Attached(self.detachments));
        self.feed(Event::Detached)
    }

    /// The GPU is given back; until now it may have gone on.
    pub fn attach(&mut self) -> Verdict {
        if !self.detached || self.gpu.gone {
            self.detached = false;
            return Ok(());
        }
        self.detached = false;
        self.reset_gpu();
        self.unread = [None; MAX_VFS];
        self.feed(Event::Attached)
    }

    pub(super) fn reset_gpu(&mut self) {
        let count = self.engine.count();
        self.gpu.reset(self.now, ((1 << count) - 1) as u32);
        for n in 0..usize::from(count) {
            self.referee.flr(self.now, vf(n));
        }
    }
}
