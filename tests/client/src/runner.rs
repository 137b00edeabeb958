// SPDX-License-Identifier: GPL-2.0
//! Keeps a VF busy: several jobs ahead, each verified, reset survived.

use std::time::Duration;

use fastrand::Rng;

use crate::error::{Error, Result};
use crate::job::Workload;
use crate::slot::{Sizes, Slot};
use crate::stats::State;
use crate::transport::Transport;
use crate::vf::{nanos, reached, Vf};

/// How long a job may take before the guest calls it a hang, as in Linux 7.3 (section 4.3 of
/// gpu-iov-hardware.md).
pub const FENCE_LIMIT: Duration = Duration::from_secs(2);

/// How often memory and mailbox are looked at although no interrupt came.
const LOOK: Duration = Duration::from_millis(10);

/// What a client is told to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Kind of jobs.
    pub workload: Workload,
    /// Where all data and jobs come from.
    pub seed: u64,
    /// Jobs in flight.
    pub depth: usize,
    /// Most bytes of one operation.
    pub op_bytes: usize,
    /// How often the chain of a job runs: more work for the GPU, no more to verify.
    pub repeat: u32,
    /// How long a job may take before it counts as a hang.
    pub patience: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workload: Workload::Mix,
            seed: 1,
            depth: 8,
            op_bytes: 16 << 10,
            repeat: 1,
            patience: FENCE_LIMIT,
        }
    }
}

impl Plan {
    /// The largest `repeat` with which all jobs in flight fit into the ring.
    pub fn max_repeat(&self) -> u32 {
        // A job has at most 8 operations of at most 4 + 32 dwords, or 8 dwords of INDIRECT.
        let ring = crate::layout::RING_BYTES as usize - 1024;
        let once = crate::job::MAX_OPS * 36 * 4;
        u32::try_from(ring / self.depth.max(1) / once)
            .unwrap_or(1)
            .max(1)
    }
}

/// A client at work.
#[derive(Debug)]
pub struct Runner<T: Transport> {
    /// The VF.
    pub vf: Vf<T>,
    /// Where it is.
    pub state: State,
    plan: Plan,
    sizes: Sizes,
    rng: Rng,
    slots: Vec<Slot>,
    last_done: Duration,
    hang: Option<u32>,
}

impl<T: Transport> Runner<T> {
    /// Takes the VF over; [`Runner::start`] begins.
    pub fn new(t: T, plan: Plan) -> Result<Self> {
        let sizes = Sizes::new(plan.depth, plan.op_bytes)?;
        let most = plan.max_repeat();
        if !(1..=most).contains(&plan.repeat) {
            return Err(Error::Unsupported(format!(
                "{} repetitions; with {} jobs in flight 1 to {most} are allowed",
                plan.repeat, plan.depth
            )));
        }
        Ok(Self {
            vf: Vf::attach(t, sizes.dma_bytes())?,
            state: State::Starting,
            plan,
            sizes,
            rng: Rng::with_seed(plan.seed),
            slots: Vec::new(),
            last_done: Duration::ZERO,
            hang: None,
        })
    }

    /// Gets full access, sets up, prepares the memory and submits the first jobs.
    pub fn start(&mut self) -> Result<()> {
        self.vf.start()?;
        self.fill()
    }

    /// Slots anew, all with a job.
    fn fill(&mut self) -> Result<()> {
        let (bytes, window) = (self.vf.space.vram_bytes, self.vf.t.vram_window());
        let need = crate::layout::WORK + (self.sizes.slots * self.sizes.slot_bytes) as u64;
        if need + 4096 * self.sizes.slots as u64 > bytes {
            return Err(Error::Unsupported(format!(
                "{} jobs in flight need {need} bytes of framebuffer, the VF has {bytes}",
                self.sizes.slots
            )));
        }
        self.slots = (0..self.sizes.slots)
            .map(|i| Slot::new(i, self.sizes, bytes, window))
            .collect();
        for slot in &mut self.slots {
            slot.prepare(&mut self.vf, &mut self.rng)?;
        }
        for slot in &mut self.slots {
            slot.submit(
                &mut self.vf,
                &mut self.rng,
                self.plan.workload,
                self.plan.repeat,
            )?;
        }
        self.last_done = self.vf.t.now();
        self.hang = None;
        self.state = State::Running;
        Ok(())
    }

    /// Waits for something to happen, verifies what is done and submits anew if `refill`.
    ///
    /// Survives a reset by the host; then everything starts afresh.
    pub fn step(&mut self, refill: bool) -> Result<()> {
        match self.try_step(refill) {
            Err(Error::Reset(_)) => self.recover(true),
            // The host clears the framebuffer after a reset, perhaps while a job that had ended
            // before is being verified.
            Err(Error::WrongBytes(_)) if self.vf.was_reset() => self.recover(true),
            other => other,
        }
    }

    fn try_step(&mut self, refill: bool) -> Result<()> {
        let noticed = self.vf.watch(LOOK)?;
        let now = self.vf.t.now();
        let mut done: Vec<usize> = (0..self.slots.len())
            .filter(|&i| {
                self.slots[i]
                    .pending
                    .as_ref()
                    .is_some_and(|p| reached(noticed.fence, p.seq))
            })
            .collect();
        if done.is_empty() {
            return self.check_hang(now, noticed.fence);
        }
        if !noticed.interrupted {
            self.vf.stats.late_interrupts += 1;
        }
        let gap = nanos(now.saturating_sub(self.last_done));
        self.vf.stats.max_gap_ns = self.vf.stats.max_gap_ns.max(gap);
        self.last_done = now;
        // Oldest first: the ring is given back in order.
        done.sort_by_key(|&i| {
            let seq = self.slots[i].pending.as_ref().map_or(0, |p| p.seq);
            std::cmp::Reverse(noticed.fence.wrapping_sub(seq))
        });
        for i in done {
            self.slots[i].verify(&mut self.vf)?;
            if refill && self.hang.is_none() {
                let (workload, repeat) = (self.plan.workload, self.plan.repeat);
                self.slots[i].submit(&mut self.vf, &mut self.rng, workload, repeat)?;
            }
        }
        Ok(())
    }

    fn check_hang(&mut self, now: Duration, fence: u32) -> Result<()> {
        let waited = now.saturating_sub(self.last_done);
        let oldest = self.in_flight().min().or(self.hang);
        let Some(seq) = oldest else {
            self.last_done = now;
            return Ok(());
        };
        if waited < self.plan.patience {
            return Ok(());
        }
        if self.hang.is_some() {
            // The host has not noticed; the guest asks for the reset itself.
            return self.recover(false);
        }
        let what = format!("waiting for job {seq} although no job was meant to hang");
        let rptr = self.vf.cell(crate::layout::CELL_RPTR)?;
        let seen = format!(
            "fence {fence}, ring read {rptr:#x} of {:#x}",
            self.vf.ring.position()
        );
        Err(Error::Timeout { what, waited, seen })
    }

    fn in_flight(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots
            .iter()
            .filter_map(|s| s.pending.as_ref().map(|p| p.seq))
    }

    /// Number of jobs that are not verified yet.
    pub fn outstanding(&self) -> usize {
        self.in_flight().count()
    }

    /// Puts a job that never ends behind the others.
    pub fn submit_hang(&mut self) -> Result<()> {
        self.hang = Some(self.vf.submit_hang()?);
        self.state = State::Hung;
        Ok(())
    }

    /// Comes back after a reset; the jobs in flight are lost, the next ones start afresh.
    fn recover(&mut self, announced: bool) -> Result<()> {
        self.vf.stats.jobs_lost += self.outstanding() as u64;
        self.state = State::Recovering;
        self.vf.recover(announced)?;
        self.fill()
    }

    /// Lets all jobs end, verifies them and gives the GPU back.
    pub fn finish(&mut self) -> Result<()> {
        while self.outstanding() != 0 || self.hang.is_some() {
            self.step(false)?;
        }
        self.vf.stop()?;
        self.state = State::Stopped;
        Ok(())
    }
}
