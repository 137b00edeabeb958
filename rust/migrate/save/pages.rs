// SPDX-License-Identifier: GPL-2.0

//! Rounds of pages: the core's `course` says what comes next, this reads and stages it.

use super::{
    super::track::BATCH,
    tell::Cause,
    Phase,
    Save,
    Step, //
};
use crate::{
    ffi::timer,
    gim_core::{
        course::{
            self,
            Looks, //
        },
        hash::{
            is_zero,
            PAGE_BYTES, //
        },
        migrate::Operation,
        stream::{
            Run,
            ZERO_RUNS_MAX, //
        },
    },
    gpu::Gpu,
    port::Port, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Pages that were read and are being looked at, and those that are zero and were not told yet.
pub(super) struct Batch {
    /// Their numbers, in the order in which they lie in the buffer.
    numbers: [u32; BATCH],
    len: usize,
    zeros: [Run; ZERO_RUNS_MAX],
    zero_runs: usize,
}

impl Batch {
    pub(super) const NONE: Self = Self {
        numbers: [0; BATCH],
        len: 0,
        zeros: [Run { first: 0, count: 0 }; ZERO_RUNS_MAX],
        zero_runs: 0,
    };

    /// Takes pages in; there must be room.
    fn add(&mut self, run: Run) {
        for page in run.first..run.first.saturating_add(run.count) {
            if let Some(slot) = self.numbers.get_mut(self.len) {
                *slot = page;
                self.len += 1;
            }
        }
    }

    /// Adds a zero page; whether there was room.
    fn add_zero(&mut self, page: u32) -> bool {
        let last = self.zero_runs.checked_sub(1);
        if let Some(run) = last.and_then(|i| self.zeros.get_mut(i)) {
            if run.first.checked_add(run.count) == Some(page) {
                run.count += 1;
                return true;
            }
        }
        let Some(slot) = self.zeros.get_mut(self.zero_runs) else {
            return false;
        };
        *slot = Run {
            first: page,
            count: 1,
        };
        self.zero_runs += 1;
        true
    }

    /// The next chosen pages at or after place `at` that follow each other: place and run.
    fn next_run(&self, chosen: &[bool; BATCH], at: usize) -> Option<(usize, Run)> {
        let from = (at..self.len).find(|&i| chosen.get(i) == Some(&true))?;
        let first = *self.numbers.get(from)?;
        let mut count = 1u32;
        for i in from + 1..self.len {
            let follows = self.numbers.get(i).copied() == first.checked_add(count);
            if !follows || chosen.get(i) != Some(&true) {
                break;
            }
            count += 1;
        }
        Some((from, Run { first, count }))
    }
}

impl Save {
    /// Stages pages, the end of a round, or nothing.
    pub(super) fn page_step(&mut self, gpu: &Arc<Gpu>, port: &Port) -> Result<Step> {
        let stand = self.observe(gpu, port)?;
        if !self.course.is_active() {
            self.tracker.collect(gpu);
        }
        let looks = self.tracker.looks();
        let next = self.course.next(&self.tracker.map()?, stand, looks);
        match next {
            course::Step::Send(end) => {
                // What becomes dirty while it is sent is looked for at the same time.
                if matches!(looks, Looks::Sweeps(_)) && !self.course.is_first() {
                    self.want_sweep();
                }
                self.send(gpu, end)?;
            }
            course::Step::EndRound => {
                self.end_round(gpu)?;
                return Ok(Step::Round);
            }
            course::Step::State => self.phase = Phase::State,
            course::Step::Wait => return Ok(Step::Wait),
            course::Step::Idle => {
                if let Looks::Sweeps(ended) = looks {
                    if self.tracker.known() == 0 {
                        self.course.swept(ended);
                    }
                    if self.course.sweeps() == ended {
                        self.want_sweep();
                    }
                }
                return Ok(Step::Quiet);
            }
        }
        Ok(Step::Staged)
    }

    fn want_sweep(&mut self) {
        self.wake |= !self.sweep;
        self.sweep = true;
    }

    /// How the VF stands, and what follows for what was seen and will be seen of its pages.
    fn observe(&mut self, gpu: &Arc<Gpu>, port: &Port) -> Result<course::Stand> {
        let last = self.last;
        let (now, allowed, promised, touched) = port.moving(gpu, self.vf, |m, mut now| {
            // One that may run on is not at its end, even if it does not run now.
            now.bounded |= now.held && !last;
            let allowed = m.allow(now, Operation::ReadStream);
            let promised = m.is_promised(now);
            let touched = match now.held && !now.bounded {
                true => m.take_touched(),
                false => KVec::new(),
            };
            (now, allowed, promised, touched)
        });
        if now.epoch != Some(self.epoch) {
            return Err(self.lost(gpu));
        }
        let paused = now.held && !now.bounded;
        if allowed.is_err() || !(paused || self.tracker.follows()) {
            return Err(self.spoilt(Cause::Ran));
        }
        let quiet = paused || (now.held && promised);
        if !quiet {
            if self.last_stay.take().is_some() {
                self.tracker.track().resume(timer::now_ns());
            }
            return Ok(course::Stand::Runs);
        }
        if self.last_stay != Some(now.stay) {
            self.begin_last();
        }
        self.last_stay = Some(now.stay);
        let mut map = self.tracker.map()?;
        for run in &touched {
            map.set_run(*run);
        }
        Ok(match paused {
            true => course::Stand::Paused,
            false => course::Stand::Quiet,
        })
    }

    fn begin_last(&mut self) {
        if self.tracker.by_reading() {
            self.tracker.track().begin_last(timer::now_ns());
            self.course.begin_last();
            self.wake = true;
        }
    }

    /// Tells that the round is over, and what it has left dirty as far as is known.
    fn end_round(&mut self, gpu: &Gpu) -> Result {
        self.flush_zeros()?;
        self.tracker.collect(gpu);
        let left = self.tracker.known();
        self.stage(|enc, out| enc.round(out, left))?;
        let now = timer::now_ns();
        match self.tracker.looks() {
            Looks::Sweeps(ended) if self.course.sweeps() != ended => self.swept(),
            Looks::Sweeps(_) => self.want_sweep(),
            _ => self.measure_round(now),
        }
        Ok(())
    }

    /// Reads the next dirty pages before `end` and stages those that are to be sent.
    fn send(&mut self, gpu: &Arc<Gpu>, end: u32) -> Result {
        self.batch.len = 0;
        while self.batch.len < BATCH {
            // CAST: A small constant.
            let room = (BATCH - self.batch.len) as u32;
            let from = self.course.cursor();
            let mut map = self.tracker.map()?;
            let Some(run) = map.next_run(from, room).filter(|run| run.first < end) else {
                break;
            };
            let count = run.count.min(end - run.first);
            let run = Run { count, ..run };
            // One that is written to while it is read is dirty again.
            map.clear_run(run);
            let at = self.batch.len * PAGE_BYTES;
            let bytes = usize::try_from(count)? * PAGE_BYTES;
            let place = u64::from(run.first) * u64::try_from(PAGE_BYTES)?;
            let to = self.pages.get_mut(at..at + bytes).ok_or(EINVAL)?;
            self.fb.read(gpu, self.base + place, to)?;
            self.batch.add(run);
            self.course.passed(run.first.saturating_add(count));
        }
        // Else whoever reads would hear of it at the end.
        gpu.still_there()?;
        let mut chosen = [false; BATCH];
        self.choose(&mut chosen)?;
        self.stage_pages(&chosen)
    }

    /// Leaves out pages that the target has, and those that are zero, which are told otherwise.
    fn choose(&mut self, chosen: &mut [bool; BATCH]) -> Result {
        let all = self.course.is_first();
        for (i, chosen) in chosen.iter_mut().enumerate().take(self.batch.len) {
            let page = *self.batch.numbers.get(i).ok_or(EINVAL)?;
            let contents = self.pages.get(i * PAGE_BYTES..);
            let contents = contents.and_then(|b| b.first_chunk()).ok_or(EINVAL)?;
            let changed = self.tracker.keep(page, contents)?;
            if !changed && !all {
                continue;
            }
            if !is_zero(contents) {
                *chosen = true;
                continue;
            }
            self.zero_pages += 1;
            if !self.batch.add_zero(page) {
                self.flush_zeros()?;
                self.batch.add_zero(page);
            }
        }
        Ok(())
    }

    fn flush_zeros(&mut self) -> Result {
        let runs = self.batch.zeros;
        let count = core::mem::take(&mut self.batch.zero_runs);
        match runs.get(..count) {
            Some(runs) if count != 0 => self.stage(|enc, out| enc.zero(out, runs)),
            _ => Ok(()),
        }
    }

    /// Stages a PAGES section of the chosen pages.
    fn stage_pages(&mut self, chosen: &[bool; BATCH]) -> Result {
        let (mut pages, mut runs, mut at) = (0u32, 0, 0);
        while let Some((place, run)) = self.batch.next_run(chosen, at) {
            pages += run.count;
            runs += 1;
            at = place + usize::try_from(run.count)?;
        }
        if runs == 0 {
            return Ok(());
        }
        self.stage(|enc, out| enc.pages(out, pages, runs))?;
        at = 0;
        while let Some((place, run)) = self.batch.next_run(chosen, at) {
            self.stage(|enc, out| enc.run(out, run))?;
            at = place + usize::try_from(run.count)?;
            self.stage_data(place * PAGE_BYTES..at * PAGE_BYTES)?;
        }
        self.stage(|enc, out| enc.end_section(out))
    }
}
