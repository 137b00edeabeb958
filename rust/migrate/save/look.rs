// SPDX-License-Identifier: GPL-2.0

//! Looks at pages, to find those that have changed, beside whoever reads the stream.
//!
//! Pages are read and hashed without the stream's lock; whether they differ from what was sent is
//! judged under it. Looks by the CPU cost the VF no engine time. While it runs they take half of
//! one CPU's time at most; the last look takes all of it.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue::WorkItem, //
};

use super::{
    super::track::{
        Source,
        BATCH, //
    },
    Phase,
    Save,
    SaveStream, //
};
use crate::{
    ffi::timer,
    gim_core::{
        hash::{
            PageHash,
            PAGE_BYTES, //
        },
        stream::Run,
        types::Ns, //
    },
    gpu::{
        hold::FbAccess,
        Gpu, //
    },
};

/// The longest rest after a look.
const REST_MAX_US: i64 = 20_000;

/// What the worker alone uses.
pub(super) struct Scratch {
    fb: FbAccess,
    contents: VVec<u8>,
    hashes: KVec<u64>,
    hash: Option<KBox<PageHash>>,
}

impl Scratch {
    pub(super) fn new(source: Source) -> Result<Self> {
        let looks = matches!(source, Source::Hash | Source::Exact);
        let bytes = if looks { super::PIECE } else { 0 };
        Ok(Self {
            fb: FbAccess::new(),
            contents: VVec::zeroed(bytes, GFP_KERNEL)?,
            hashes: KVec::from_elem(0, BATCH, GFP_KERNEL)?,
            hash: None,
        })
    }

    /// Reads pages and hashes them.
    fn read(&mut self, gpu: &Arc<Gpu>, base: u64, run: Run) -> Result {
        let bytes = usize::try_from(run.count)? * PAGE_BYTES;
        let contents = self.contents.get_mut(..bytes).ok_or(EINVAL)?;
        let at = u64::from(run.first) * u64::try_from(PAGE_BYTES)?;
        self.fb.read(gpu, base + at, contents)?;
        if let Some(hash) = &self.hash {
            hash.of_each(contents, &mut self.hashes);
        }
        Ok(())
    }
}

impl Save {
    /// Whether somebody wants pages to be looked at.
    fn wants_looks(&mut self) -> bool {
        let goes_on = matches!(self.phase, Phase::Header | Phase::Pages);
        let track = self.tracker.track();
        let wanted = self.sweep || (track.is_last() && !track.is_complete());
        goes_on && wanted && self.tracker.by_reading()
    }

    /// The pages to look at next; `None`: there is nothing to do.
    fn next_look(&mut self, gpu: &Gpu) -> Result<Option<Run>> {
        // The reader finds out what has become of it.
        let same = gpu.epoch(self.vf) == Some(self.epoch);
        if !same || !self.wants_looks() {
            return Ok(None);
        }
        let next = self.tracker.next_look(timer::now_ns())?;
        if next.is_none() {
            self.sweep = false;
            self.swept();
        }
        Ok(next)
    }

    /// Pages were looked at, which took so long.
    fn looked(&mut self, run: Run, scratch: &Scratch, took: Ns) -> Result {
        self.meter.looked(run.count, took);
        self.tracker.looked(run, &scratch.contents, &scratch.hashes)
    }
}

impl SaveStream {
    /// Looks at some pages; how long to rest, or `None` if nothing is to be done.
    fn look(&self) -> Result<Option<Delta>> {
        let gpu = self.port.enter()?;
        let mut scratch = self.scratch.lock();
        let mut save = self.save.lock();
        if scratch.hash.is_none() {
            let hash = save.tracker.hash();
            scratch.hash = match hash {
                Some(hash) => Some(KBox::new(hash, GFP_KERNEL)?),
                None => None,
            };
        }
        let Some(run) = save.next_look(&gpu)? else {
            return Ok(None);
        };
        let base = save.base;
        drop(save);
        let from = timer::now_ns();
        scratch.read(&gpu, base, run)?;
        let took = timer::now_ns().saturating_sub(from);
        let mut save = self.save.lock();
        save.looked(run, &scratch, took)?;
        let rest = match save.tracker.track().is_last() {
            true => 0,
            false => i64::try_from(took / 1000).unwrap_or(REST_MAX_US),
        };
        Ok(Some(Delta::from_micros(rest.min(REST_MAX_US))))
    }
}

impl WorkItem for SaveStream {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        loop {
            let looked = this.look();
            this.save.lock().looked = true;
            this.looked.notify_all();
            match looked {
                Ok(Some(rest)) if rest.is_zero() => {}
                Ok(Some(rest)) => fsleep(rest),
                Ok(None) => return,
                Err(e) => {
                    let mut save = this.save.lock();
                    this.fail(&mut save, e);
                    drop(save);
                    this.looked.notify_all();
                    return;
                }
            }
        }
    }
}
