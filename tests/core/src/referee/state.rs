// SPDX-License-Identifier: GPL-2.0

//! What must hold between steps: the seat is what the engine believes, and nobody waits too long.

use gim_core::{
    engine::{Engine, Held, Phase, READY_WAIT, READY_WAIT_GPU, SEE_GPU_RESET},
    switch::Seat,
    types::{Fcn, Ns, MS},
    vf::VfState,
};

use super::{no, Referee};
use crate::{
    gpu::Gpu,
    world::{self, Verdict},
};

/// How late a reset may begin, by a late timer.
const RESET_LATE: Ns = 5 * MS;

impl Referee {
    /// A step has been made and carried out.
    pub fn after(&mut self, now: Ns, engine: &Engine, gpu: &mut Gpu) -> Verdict {
        self.away = engine.detached();
        if self.away {
            for each in &mut self.vfs {
                // When it is reset is up to whoever has the GPU.
                each.told = None;
            }
        }
        let busy = gpu.busy(now);
        let unread = gpu.unread_resets();
        if let Some(wrong) = gpu.wrong_state() {
            return no(wrong);
        }
        let believed = engine.seat();
        // A failed command may have left there who was to be replaced, and a reset may have taken
        // away who will be initialised anyway. Whoever is run then is judged by the hardware.
        let free = |seat| matches!(seat, Seat::Empty | Seat::Loaded(_) | Seat::Fresh(_));
        let empty = believed == Seat::Empty || gpu.seat() == Seat::Empty;
        let void = empty && free(believed) && free(gpu.seat());
        let excused = believed == Seat::Unknown
            || busy
            || void
            || matches!(
                engine.phase(),
                Phase::Recovering | Phase::Dead | Phase::Gone
            )
            || believed
                .fcn()
                .and_then(Fcn::vf)
                .is_some_and(|vf| unread & vf.bit() != 0);
        if !excused && !engine.awaits_command() && believed != gpu.seat() {
            return no(format!(
                "the engine believes {believed:?}, it is {:?}",
                gpu.seat()
            ));
        }
        for n in 0..self.count {
            self.check_vf(now, n, engine, gpu)?;
        }
        Ok(())
    }

    fn check_vf(&mut self, now: Ns, n: usize, engine: &Engine, gpu: &Gpu) -> Verdict {
        let each = &mut self.vfs[n];
        let vf = world::vf(n);
        if each.until.is_some_and(|until| until <= now) {
            if engine.held(vf) != Held::No {
                return no(format!("{vf:?} is held longer than it may be"));
            }
            each.asked = each.asked.map(|_| now);
            (each.paused, each.pausing, each.until) = (false, None, None);
        }
        if engine.vf_state(vf) == VfState::Active {
            if gpu.seat() == Seat::Running(Fcn::Vf(vf)) {
                each.waits = Some(now);
            }
            let gap = now - each.waits.unwrap_or(now);
            self.gap_max = self.gap_max.max(gap);
            if gap > self.gap_bound && !self.frozen {
                let stats = engine.vf_stats(vf, now);
                return no(format!("{vf:?} has not run for {} ms: {stats:?}", gap / MS));
            }
        }
        if let Some(told) = each.told {
            let bound = match (engine.config().protocol().ready_to_reset, engine.phase()) {
                (false, Phase::On) => 0,
                (false, _) => SEE_GPU_RESET + RESET_LATE,
                (true, Phase::On) => READY_WAIT + RESET_LATE,
                (true, _) => READY_WAIT_GPU + RESET_LATE,
            };
            if now - told.at > bound {
                return no(format!("{vf:?} was told of a reset that does not begin"));
            }
        }
        if !matches!(engine.phase(), Phase::On) {
            return Ok(());
        }
        let late = |at: Option<Ns>| at.is_some_and(|at| now - at > self.answer_bound);
        if late(each.asked) && !each.paused && !self.frozen {
            return no(format!("the request of {vf:?} was never answered"));
        }
        if each.restoring.is_some() {
            return no(format!("what was said of {vf:?} was not answered"));
        }
        // A scrub that an adoption waits for waits itself while the scheduler is parked.
        if late(each.adopting) && !self.frozen {
            return no(format!("the adoption of {vf:?} was never answered"));
        }
        if late(each.pausing) && !self.frozen {
            return no(format!("the pause of {vf:?} was never confirmed"));
        }
        Ok(())
    }
}
