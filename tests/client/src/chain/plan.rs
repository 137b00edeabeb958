// SPDX-License-Identifier: GPL-2.0
//! What a chain is to do, and where it lies in memory and framebuffer.

use serde::{Deserialize, Serialize};

use super::truth::MAX_TURN;
use crate::error::{Error, Result};
use crate::layout::{DMA_WORK, MAX_DMA, WORK};

/// Own memory through which a part of each step goes.
pub(super) const DETOUR: usize = DMA_WORK;
/// Own memory for results, and for what is fetched to be compared.
pub(super) const RESULTS: usize = DETOUR + MAX_TURN;
/// Least bytes of it: to fetch a framebuffer in pieces as small as blocks takes long.
const MIN_RESULTS: usize = 4 << 20;

/// What a chain is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where blocks and steps come from.
    pub seed: u64,
    /// Steps in all, at least 1.
    pub steps: u64,
    /// Bytes of the block, and so of framebuffer that a step writes: a multiple of 4096, at most
    /// 1 MiB.
    pub bytes: u32,
    /// Steps of a job, 1 to 64.
    pub per_job: u32,
    /// Jobs in flight, 1 to 16.
    pub depth: u32,
    /// Bytes of framebuffer to walk through; 0: all.
    pub spread: u64,
    /// Bytes of framebuffer to be written in a second; 0: as many as it can.
    pub rate: u64,
    /// Write all places before the first step.
    pub prefill: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            steps: 1000,
            bytes: 64 << 10,
            per_job: 4,
            depth: 4,
            spread: 0,
            rate: 0,
            prefill: false,
        }
    }
}

impl Plan {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<()> {
        let sound = self.steps > 0
            && self.bytes % 4096 == 0
            && (4096..=1 << 20).contains(&self.bytes)
            && (1..=64).contains(&self.per_job)
            && (1..=16).contains(&self.depth)
            && RESULTS + self.results() <= MAX_DMA;
        if sound {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "a chain of {} steps of {} bytes, {} to a job, {} jobs in flight; allowed are 1 or more steps of 4096 to 1048576 bytes (multiples of 4096), 1 to 64 to a job, 1 to 16 jobs",
            self.steps, self.bytes, self.per_job, self.depth
        )))
    }

    pub(super) fn results(&self) -> usize {
        MIN_RESULTS.max(self.depth as usize * self.bytes as usize)
    }

    pub(super) fn jobs(&self) -> u64 {
        self.steps.div_ceil(self.per_job.into())
    }

    /// The last step of job `n`.
    pub(super) fn last_step(&self, n: u64) -> u64 {
        let end = n.saturating_add(1).saturating_mul(self.per_job.into());
        end.min(self.steps)
    }

    /// Places in a framebuffer of `vram` bytes.
    pub(super) fn places(&self, vram: u64) -> Result<u64> {
        let room = vram - WORK;
        let room = if self.spread == 0 {
            room
        } else {
            room.min(self.spread)
        };
        match room / u64::from(self.bytes) {
            n @ 2.. => Ok(n),
            _ => Err(Error::Unsupported(format!(
                "{room} bytes of framebuffer have no two places of {} bytes",
                self.bytes
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsound_plans_are_refused() {
        let sound = Plan::default();
        assert!(sound.check().is_ok());
        for plan in [
            Plan { steps: 0, ..sound },
            Plan { bytes: 0, ..sound },
            Plan {
                bytes: 4097,
                ..sound
            },
            Plan {
                bytes: 2 << 20,
                ..sound
            },
            Plan {
                per_job: 0,
                ..sound
            },
            Plan {
                per_job: 65,
                ..sound
            },
            Plan { depth: 0, ..sound },
            Plan { depth: 17, ..sound },
        ] {
            assert!(plan.check().is_err(), "{plan:?}");
        }
        assert!(sound.places(WORK + (100 << 10)).is_err());
        assert_eq!(sound.places(WORK + (1 << 20)).unwrap(), 16);
    }
}
