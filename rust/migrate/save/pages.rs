// SPDX-License-Identifier: GPL-2.0

//! Rounds of pages: which are read, which are sent.
//!
//! The first round has every page. A round that begins while the VF is paused is the last one:
//! what it does not find dirty is final. One that is going on when the VF is paused is cut short.

use super::{
    super::track::BATCH,
    broken,
    Phase,
    Save,
    Step, //
};
use crate::{
    gim_core::{
        hash::{
            is_zero,
            PAGE_BYTES, //
        },
        stream::{
            Run,
            ZERO_RUNS_MAX, //
        },
    },
    gpu::Gpu,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A round of pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// The next page to look at.
    cursor: usize,
    /// Pages of the framebuffer.
    pages: usize,
    /// Whether it is going on.
    active: bool,
    /// Every page is sent, whatever is known of it.
    all: bool,
    /// The VF was paused when it began.
    last: bool,
    /// Pages that were sent in this round, and in the one before.
    found: u64,
    found_before: u64,
    /// Pages that are zero, and were not told yet.
    zeros: Zeros,
}

/// Runs of zero pages.
#[derive(Clone, Copy, Debug)]
struct Zeros {
    runs: [Run; ZERO_RUNS_MAX],
    len: usize,
}

impl Zeros {
    /// Whether there was room.
    fn add(&mut self, page: u32) -> bool {
        let last = self.len.checked_sub(1).and_then(|i| self.runs.get_mut(i));
        if let Some(run) = last {
            if run.first.checked_add(run.count) == Some(page) {
                run.count += 1;
                return true;
            }
        }
        let Some(slot) = self.runs.get_mut(self.len) else {
            return false;
        };
        *slot = Run {
            first: page,
            count: 1,
        };
        self.len += 1;
        true
    }
}

impl Round {
    /// The first one.
    pub(super) const fn first(pages: usize) -> Self {
        Self {
            cursor: 0,
            pages,
            active: false,
            all: true,
            last: false,
            found: 0,
            found_before: 0,
            zeros: Zeros {
                runs: [Run { first: 0, count: 0 }; ZERO_RUNS_MAX],
                len: 0,
            },
        }
    }

    /// Pages of the first round that were not looked at yet.
    pub(super) fn initial_pages(&self) -> u64 {
        match self.all {
            // CAST: Pages of a framebuffer.
            true => (self.pages - self.cursor) as u64,
            false => 0,
        }
    }

    /// Pages that the round before has found dirty.
    pub(super) fn last_found(&self) -> u64 {
        self.found_before.max(self.found)
    }
}

impl Save {
    /// Stages pages, the end of a round, or nothing.
    pub(super) fn page_step(&mut self, gpu: &Arc<Gpu>) -> Result<Step> {
        let same = gpu.epoch(self.vf) == Some(self.epoch);
        let held = gpu.is_held(self.vf);
        // Without a tracker it must not run.
        if !same || (self.tracker.is_none() && !held) {
            return Err(EIO);
        }
        if !self.round.active {
            if self.round.last && !self.round.all {
                self.phase = Phase::State;
                return Ok(Step::Staged);
            }
            return self.begin_round(gpu, held);
        }
        let cut = held && !self.round.last && !self.round.all;
        if cut || self.round.cursor >= self.round.pages {
            let round = &mut self.round;
            if round.found == 0 && !(round.all || round.last || cut) {
                // All was looked at, and nothing has changed.
                (round.active, round.found_before) = (false, 0);
                return Ok(Step::Quiet);
            }
            self.end_round(gpu, cut)?;
        } else {
            self.batch(gpu)?;
        }
        Ok(Step::Staged)
    }

    fn begin_round(&mut self, gpu: &Gpu, held: bool) -> Result<Step> {
        let round = &mut self.round;
        (round.cursor, round.found, round.last) = (0, 0, held);
        if let Some(tracker) = &mut self.tracker {
            let known = tracker.collect(gpu);
            let nothing = !tracker.by_reading() && known == 0;
            if nothing && !round.all && !held {
                return Ok(Step::Quiet);
            }
        }
        round.active = true;
        Ok(Step::Staged)
    }

    /// Tells that the round is over, and what it has left dirty as far as is known.
    fn end_round(&mut self, gpu: &Gpu, cut: bool) -> Result {
        self.flush_zeros()?;
        let round = &mut self.round;
        let left = match &mut self.tracker {
            _ if round.last => 0,
            // Nobody has looked at the rest.
            // CAST: Pages of a framebuffer.
            Some(_) if cut => (round.pages - round.cursor) as u64,
            Some(tracker) if tracker.by_reading() => round.found,
            Some(tracker) => tracker.collect(gpu),
            None => 0,
        };
        round.active = false;
        round.all = false;
        round.found_before = round.found;
        self.stage(|enc, out| enc.round(out, left))
    }

    /// Looks at the next pages and stages those that are to be sent.
    fn batch(&mut self, gpu: &Arc<Gpu>) -> Result {
        let base = gpu.part(self.vf)?.offset();
        let first = self.round.cursor;
        let count = (self.round.pages - first).min(BATCH);
        self.round.cursor += count;

        let all = self.round.all;
        let wanted = match &self.tracker {
            Some(t) if !all && !t.by_reading() => (first..first + count).any(|p| t.knows(p)),
            _ => true,
        };
        if !wanted {
            return Ok(());
        }
        // One that is written to while it is read is dirty again.
        let mut chosen = [false; BATCH];
        for (i, chosen) in chosen.iter_mut().take(count).enumerate() {
            *chosen = match &mut self.tracker {
                Some(t) if !t.by_reading() => t.forget(first + i) || all,
                _ => true,
            };
        }
        self.read_chosen(gpu, base, first, &chosen)?;
        self.judge(first, &mut chosen)?;
        self.stage_pages(first, &chosen)
    }

    /// Reads runs of chosen pages to their places in the buffer.
    fn read_chosen(
        &mut self,
        gpu: &Arc<Gpu>,
        base: u64,
        first: usize,
        chosen: &[bool; BATCH],
    ) -> Result {
        let mut at = 0;
        while let Some((from, to)) = next_run(chosen, at) {
            let bytes = self.pages.get_mut(from * PAGE_BYTES..to * PAGE_BYTES);
            let place = u64::try_from((first + from) * PAGE_BYTES)?;
            self.fb.read(gpu, base + place, bytes.ok_or(EINVAL)?)?;
            at = to;
        }
        Ok(())
    }

    /// Drops pages that have not changed, and those that are zero, which are told otherwise.
    fn judge(&mut self, first: usize, chosen: &mut [bool; BATCH]) -> Result {
        let all = self.round.all;
        for (i, chosen) in chosen.iter_mut().enumerate() {
            if !*chosen {
                continue;
            }
            let at = i * PAGE_BYTES;
            let contents = self.pages.get(at..).and_then(|b| b.first_chunk());
            let contents = contents.ok_or(EINVAL)?;
            let page = first + i;
            let zero = is_zero(contents);
            if let Some(tracker) = self.tracker.as_mut().filter(|t| t.by_reading()) {
                let changed = tracker.judge(page, contents);
                if !changed && !all {
                    *chosen = false;
                    continue;
                }
            }
            self.round.found += 1;
            if zero {
                *chosen = false;
                self.zero_pages += 1;
                let number = u32::try_from(page)?;
                if !self.round.zeros.add(number) {
                    self.flush_zeros()?;
                    self.round.zeros.add(number);
                }
            }
        }
        Ok(())
    }

    fn flush_zeros(&mut self) -> Result {
        let Zeros { runs, len } = self.round.zeros;
        self.round.zeros.len = 0;
        match runs.get(..len) {
            Some(runs) if len != 0 => self.stage(|enc, out| enc.zero(out, runs)),
            _ => Ok(()),
        }
    }

    /// Stages a PAGES section of the chosen pages.
    fn stage_pages(&mut self, first: usize, chosen: &[bool; BATCH]) -> Result {
        let (mut pages, mut runs, mut at) = (0, 0, 0);
        while let Some((from, to)) = next_run(chosen, at) {
            pages += to - from;
            runs += 1;
            at = to;
        }
        if runs == 0 {
            return Ok(());
        }
        let pages = u32::try_from(pages)?;
        self.stage(|enc, out| enc.pages(out, pages, runs))?;
        at = 0;
        while let Some((from, to)) = next_run(chosen, at) {
            let run = Run {
                first: u32::try_from(first + from)?,
                count: u32::try_from(to - from)?,
            };
            self.stage(|enc, out| enc.run(out, run))?;
            let bytes = self.pages.get(from * PAGE_BYTES..to * PAGE_BYTES);
            let bytes = bytes.ok_or(EINVAL)?;
            broken(self.enc.data(bytes))?;
            let place = self.staged.get_mut(self.made..self.made + bytes.len());
            place.ok_or(ENOSPC)?.copy_from_slice(bytes);
            self.made += bytes.len();
            at = to;
        }
        self.stage(|enc, out| enc.end_section(out))
    }
}

/// The next run of chosen pages at or after `at`: the first, and the first behind it.
fn next_run(chosen: &[bool; BATCH], at: usize) -> Option<(usize, usize)> {
    let from = (at..BATCH).find(|&i| chosen[i])?;
    let to = (from..BATCH).find(|&i| !chosen[i]).unwrap_or(BATCH);
    Some((from, to))
}
