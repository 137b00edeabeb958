// SPDX-License-Identifier: GPL-2.0
//! A chain job: a long row of steps, each made of the one before, whose end is known.
//!
//! A block of bytes walks through the framebuffer, from place to place, and around again.  Each
//! step copies it from its place to the next, turned by some bytes (a part of them by way of the
//! client's own memory), and writes a note over it.  Some steps make a job; at its end the GPU
//! copies the block into own memory, from where the client adds it to a digest.  The notes of a
//! job depend on the digest of an earlier one, so that neither GPU nor client can go on with
//! wrong bytes without a wrong end.
//!
//! At the end the client computes the same by itself ([`truth`]) and compares the digest and
//! every place of the framebuffer.
//!
//! A chain can be frozen at any time: the client just leaves it, whatever the GPU is at.  What is
//! neither in the GPU nor in the framebuffer is a [`Checkpoint`], from which
//! [`Chain::resume`] goes on with another VF.

mod plan;
mod truth;
mod verify;

use std::collections::VecDeque;
use std::time::Duration;

use gpu_regs::sdma::Packet;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::layout::{DMA_WORK, RING_BYTES, WORK};
use crate::ring::Stream;
use crate::runner::FENCE_LIMIT;
use crate::transport::Transport;
use crate::vf::{nanos, reached, Vf};
use plan::{DETOUR, RESULTS};
use truth::{first_block, untouched, Digests, Step, MAX_TURN, NOTE};

pub use plan::Plan;
pub use verify::Outcome;

/// How often memory and mailbox are looked at although no interrupt came.
const LOOK: Duration = Duration::from_millis(10);
/// Most bytes of packets that a step takes.
const STEP_PACKETS: u64 = 160;

/// A job that the GPU is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    seq: u32,
    position: u32,
}

/// What of a chain is in the client alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    plan: Plan,
    digests: Digests,
    flight: VecDeque<Flight>,
}

/// A chain at work.
#[derive(Debug)]
pub struct Chain<T: Transport> {
    /// The VF.
    pub vf: Vf<T>,
    plan: Plan,
    places: u64,
    digests: Digests,
    flight: VecDeque<Flight>,
    /// From when, and from which job on, the rate counts.
    since: (Duration, u64),
    last_done: Duration,
    /// How long a job may take before it counts as a hang.  The clock of a guest VM goes on while it
    /// is moved.
    pub patience: Duration,
}

impl<T: Transport> Chain<T> {
    /// Takes the VF over; [`Chain::start`] begins.
    pub fn new(t: T, plan: Plan) -> Result<Self> {
        plan.check()?;
        Ok(Self {
            vf: Vf::attach(t, RESULTS - DMA_WORK + plan.results())?,
            plan,
            places: 2,
            digests: Digests::new(&plan),
            flight: VecDeque::new(),
            since: (Duration::ZERO, 0),
            last_done: Duration::ZERO,
            patience: FENCE_LIMIT,
        })
    }

    /// Gets full access, sets up, gives it back, and brings the first block to its place.
    pub fn start(&mut self) -> Result<()> {
        self.vf.start()?;
        self.places = self.plan.places(self.vf.space.vram_bytes)?;
        if self.plan.prefill {
            self.prefill()?;
        }
        let block = first_block(&self.plan);
        self.vf.t.dma_write(&self.vf.dma, RESULTS, &block)?;
        let mut stream = self.vf.stream();
        stream.push(&Packet::CopyLinear {
            src: self.vf.space.dma(RESULTS),
            dst: self.place(0),
            bytes: self.plan.bytes,
        });
        self.alone(stream)?;
        self.go_on();
        Ok(())
    }

    fn prefill(&mut self) -> Result<()> {
        let mut place = 0;
        while place < self.places {
            let end = self.places.min(place + 1024);
            let mut stream = self.vf.stream();
            for p in place..end {
                stream.push(&Packet::ConstFill {
                    dst: self.place(p),
                    value: untouched(&self.plan, p),
                    bytes: self.plan.bytes,
                });
            }
            self.alone(stream)?;
            place = end;
        }
        Ok(())
    }

    /// Submits a job and waits for its end, however long other tenants let it wait.
    fn alone(&mut self, stream: Stream) -> Result<()> {
        let (seq, position) = self.vf.submit(stream)?;
        self.vf.wait_fence(seq, 10 * FENCE_LIMIT)?;
        self.vf.ring.retire(position);
        Ok(())
    }

    /// Time counts from now on: the chain begins, or goes on after it was left alone.
    pub fn go_on(&mut self) {
        let now = self.vf.t.now();
        self.since = (now, self.submitted());
        self.last_done = now;
    }

    /// From now on the steps come as fast as they can.
    pub fn hurry(&mut self) {
        self.plan.rate = 0;
    }

    /// GPU address of the place that step `i` writes.
    fn place(&self, i: u64) -> u64 {
        WORK + i % self.places * u64::from(self.plan.bytes)
    }

    fn submitted(&self) -> u64 {
        self.digests.done() + self.flight.len() as u64
    }

    /// Steps whose results are in.
    pub fn steps_done(&self) -> u64 {
        match self.digests.done() {
            0 => 0,
            n => self.plan.last_step(n - 1),
        }
    }

    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.plan.steps
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.digests.done() == self.plan.jobs()
    }

    /// How long the next job has to wait for its time; `None` if there is no next one to submit.
    fn due_in(&self, now: Duration) -> Option<Duration> {
        let n = self.submitted();
        if n >= self.plan.jobs() || self.flight.len() >= self.plan.depth as usize {
            return None;
        }
        if self.plan.rate == 0 {
            return Some(Duration::ZERO);
        }
        let bytes = u64::from(self.plan.bytes) * u64::from(self.plan.per_job);
        let jobs = n - self.since.1;
        let due = jobs as f64 * bytes as f64 / self.plan.rate as f64;
        Some((self.since.0 + Duration::from_secs_f64(due)).saturating_sub(now))
    }

    /// Submits what is due, waits for something to happen, takes in results.
    pub fn step(&mut self) -> Result<()> {
        let mut limit = LOOK;
        while let Some(wait) = self.due_in(self.vf.t.now()) {
            if !wait.is_zero() {
                limit = limit.min(wait);
                break;
            }
            self.submit()?;
        }
        let noticed = self.vf.watch(limit)?;
        let now = self.vf.t.now();
        let mut some = false;
        while let Some(&f) = self
            .flight
            .front()
            .filter(|f| reached(noticed.fence, f.seq))
        {
            self.take_in(f)?;
            some = true;
        }
        if some {
            let gap = nanos(now.saturating_sub(self.last_done));
            self.vf.stats.max_gap_ns = self.vf.stats.max_gap_ns.max(gap);
            self.vf.stats.late_interrupts += u64::from(!noticed.interrupted);
        }
        if some || self.flight.is_empty() {
            self.last_done = now;
        }
        self.check_hang(now, noticed.fence)
    }

    fn check_hang(&mut self, now: Duration, fence: u32) -> Result<()> {
        let waited = now.saturating_sub(self.last_done);
        if waited < self.patience {
            return Ok(());
        }
        let seq = self.flight.front().map_or(0, |f| f.seq);
        let rptr = self.vf.cell(crate::layout::CELL_RPTR)?;
        Err(Error::Timeout {
            what: format!("waiting for job {seq} of a chain"),
            waited,
            seen: format!(
                "fence {fence}, ring read {rptr:#x} of {:#x}",
                self.vf.ring.position()
            ),
        })
    }

    fn submit(&mut self) -> Result<()> {
        let n = self.submitted();
        let key = self.digests.key(&self.plan, n).ok_or_else(|| {
            Error::Unsupported(format!("the digest for job {n} of the chain is not there"))
        })?;
        let mut stream = self.vf.stream();
        let first = n * u64::from(self.plan.per_job) + 1;
        let last = self.plan.last_step(n);
        for i in first..=last {
            self.emit(&mut stream, i, &Step::new(&self.plan, i, key));
        }
        stream.push(&Packet::CopyLinear {
            src: self.place(last),
            dst: self.vf.space.dma(self.result(n)),
            bytes: self.plan.bytes,
        });
        debug_assert!(stream.bytes().len() as u64 <= (last - first + 2) * STEP_PACKETS);
        let (seq, position) = self.vf.submit(stream)?;
        self.flight.push_back(Flight { seq, position });
        self.vf.stats.bytes_written += (last - first + 1) * u64::from(self.plan.bytes);
        Ok(())
    }

    /// Own memory for the result of job `n`.
    fn result(&self, n: u64) -> usize {
        // CAST: below 16.
        RESULTS + (n % u64::from(self.plan.depth)) as usize * self.plan.bytes as usize
    }

    /// The packets of step `i`.
    fn emit(&self, stream: &mut Stream, i: u64, step: &Step) {
        let (old, new) = (self.place(i - 1), self.place(i));
        // CAST: at most MAX_TURN.
        let (turn, detour) = (step.turn as u32, self.vf.space.dma(DETOUR));
        let rest = self.plan.bytes - turn;
        for (src, dst, bytes) in [
            (old + u64::from(turn), new, rest),
            (old, detour, turn),
            (detour, new + u64::from(rest), turn),
        ] {
            stream.push(&Packet::CopyLinear { src, dst, bytes });
        }
        stream.push(&Packet::WriteLinear {
            dst: new + step.at as u64,
            data: &step.note,
        });
    }

    /// The oldest job is done.
    fn take_in(&mut self, f: Flight) -> Result<()> {
        let mut block = vec![0; self.plan.bytes as usize];
        let at = self.result(self.digests.done());
        self.vf.t.dma_read(&self.vf.dma, at, &mut block)?;
        self.digests.add(&self.plan, &block);
        self.vf.ring.retire(f.position);
        self.flight.pop_front();
        self.vf.stats.jobs += 1;
        Ok(())
    }

    /// All of it that is neither in the GPU nor in the framebuffer.  To be called when the VF
    /// stands still: until then the GPU writes into the memory that is copied here.
    pub fn save(&mut self) -> Result<Checkpoint> {
        Ok(Checkpoint {
            chip: self.vf.t.chip().name.to_owned(),
            vf: self.vf.save(),
            chain: ChainState {
                plan: self.plan,
                digests: self.digests.clone(),
                flight: self.flight.clone(),
            },
            memory: self.vf.memory()?,
        })
    }

    /// Prepares to go on with a VF that is to be the one that was saved: memory and interrupts.
    /// When the host has restored it, [`Chain::go_on`] and [`Chain::step`] do the rest.
    pub fn resume(t: T, saved: &Checkpoint) -> Result<Self> {
        let plan = saved.chain.plan;
        plan.check()?;
        let here = t.chip().name;
        if saved.chip != here {
            return Err(Error::Unsupported(format!(
                "a chain of a {} cannot go on with a {here}",
                saved.chip
            )));
        }
        let places = plan.places(saved.vf.vram_bytes.max(WORK))?;
        Ok(Self {
            vf: Vf::resume(t, &saved.vf, &saved.memory)?,
            plan,
            places,
            digests: saved.chain.digests.clone(),
            flight: saved.chain.flight.clone(),
            since: (Duration::ZERO, 0),
            last_done: Duration::ZERO,
            patience: FENCE_LIMIT,
        })
    }
}

// A step's packets fit many times, with the deepest plan.
const _: () = assert!(16 * 65 * STEP_PACKETS + 1024 < RING_BYTES as u64);
const _: () = assert!(NOTE < 4096 && MAX_TURN <= 4096);
