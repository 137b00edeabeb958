// SPDX-License-Identifier: GPL-2.0

//! Which pages of a VF's framebuffer have changed, from one of three sources.
//!
//! - The device's dirty plane marks every write of the VF: nothing is read, nothing is missed.
//! - Hashes: every page is read again and its hash compared with that of what was seen before. A
//!   change is missed only if the hashes of both contents, of 64 bits, are equal; the seed is
//!   random, so that no guest can choose such contents.
//! - Comparison with a copy of what was seen before: misses nothing, costs as much memory.
//!
//! With the latter two a page may change after it was looked at; only what is looked at while the
//! VF is paused is final.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::PIECE;
use crate::{
    ffi::{
        random,
        uapi, //
    },
    gim_core::{
        course::Looks,
        dirty::DirtyMap,
        hash::{
            PageHash,
            PAGE_BYTES, //
        },
        stream::Run,
        track::{
            Keeps,
            Track, //
        },
        types::{
            Ns,
            VfId, //
        },
    },
    gpu::{
        hold::FbAccess,
        Gpu, //
    },
};

/// Pages that are looked at together.
pub(super) const BATCH: usize = PIECE / PAGE_BYTES;

/// Where the knowledge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nothing changes: the VF is paused.
    Still,
    /// The device's dirty plane.
    Plane,
    /// Hashes.
    Hash,
    /// Comparison with a copy.
    Exact,
}

impl Source {
    /// The source that the caller asks for. `EOPNOTSUPP` if it cannot be had.
    pub(super) fn choose(gpu: &Gpu, wanted: u32) -> Result<Self> {
        let plane = has_plane(gpu);
        Ok(match wanted {
            uapi::GIM_DIRTY_SRC_AUTO if plane => Self::Plane,
            uapi::GIM_DIRTY_SRC_AUTO => Self::Hash,
            uapi::GIM_DIRTY_SRC_HW if plane => Self::Plane,
            uapi::GIM_DIRTY_SRC_HW => return Err(EOPNOTSUPP),
            uapi::GIM_DIRTY_SRC_SW => Self::Hash,
            uapi::GIM_DIRTY_SRC_EXACT => Self::Exact,
            _ => return Err(EINVAL),
        })
    }
}

fn has_plane(gpu: &Gpu) -> bool {
    gpu.hw().plane.is_some()
}

/// The sources that can be had: a bit each.
pub(super) fn sources(gpu: &Gpu) -> u32 {
    let soft = 1 << uapi::GIM_DIRTY_SRC_SW | 1 << uapi::GIM_DIRTY_SRC_EXACT;
    match has_plane(gpu) {
        true => soft | 1 << uapi::GIM_DIRTY_SRC_HW,
        false => soft,
    }
}

/// What is known of one VF's pages.
pub(super) struct Tracker {
    vf: VfId,
    source: Source,
    pages: u32,
    /// Pages that have changed and were not asked for, or sent, yet: a bit each.
    map: VVec<u64>,
    /// Hash of each page's contents as they were sent, or seen last.
    hashes: VVec<u64>,
    /// These contents.
    copy: VVec<u8>,
    hash: KBox<PageHash>,
    track: Track,
    /// Pages that have become dirty, ever.
    found: u64,
}

impl Tracker {
    /// Begins: every page is dirty, and changes from now on are noticed.
    pub(super) fn start(
        gpu: &Gpu,
        vf: VfId,
        source: Source,
        keeps: Keeps,
        now: Ns,
    ) -> Result<Self> {
        let bytes = usize::try_from(gpu.part(vf)?.size())?;
        let count = bytes / PAGE_BYTES;
        let (mut hashes, mut copy) = (VVec::new(), VVec::new());
        match source {
            Source::Plane | Source::Still => {}
            Source::Hash => hashes = VVec::zeroed(count, GFP_KERNEL)?,
            Source::Exact => copy = VVec::zeroed(bytes, GFP_KERNEL)?,
        }
        let pages = u32::try_from(count)?;
        let mut tracker = Self {
            vf,
            source,
            pages,
            map: VVec::zeroed(count.div_ceil(64), GFP_KERNEL)?,
            hashes,
            copy,
            hash: KBox::new(PageHash::new(random::number()), GFP_KERNEL)?,
            track: Track::new(pages, keeps, now),
            found: 0,
        };
        tracker.map()?.set_all();
        tracker.switch(gpu, true);
        Ok(tracker)
    }

    /// Ends.
    pub(super) fn stop(&self, gpu: &Gpu) {
        self.switch(gpu, false);
    }

    fn switch(&self, gpu: &Gpu, on: bool) {
        if let (Source::Plane, Some(plane)) = (self.source, &gpu.hw().plane) {
            plane.track(self.vf, on);
        }
    }

    /// Pages of the framebuffer.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// Whether the VF may run meanwhile.
    pub(super) fn follows(&self) -> bool {
        self.source != Source::Still
    }

    /// Whether pages have to be read to know whether they have changed.
    pub(super) fn by_reading(&self) -> bool {
        matches!(self.source, Source::Hash | Source::Exact)
    }

    /// How changes become known, at this moment.
    pub(super) fn looks(&self) -> Looks {
        match (self.by_reading(), self.track.is_last()) {
            (false, _) => Looks::Known,
            (true, false) => Looks::Sweeps(self.track.sweeps()),
            (true, true) if self.track.is_complete() => Looks::Complete,
            (true, true) => Looks::Last(self.track.seen()),
        }
    }

    /// What decides which pages are looked at.
    pub(super) fn track(&mut self) -> &mut Track {
        &mut self.track
    }

    /// Takes over what the plane has marked.
    pub(super) fn collect(&mut self, gpu: &Gpu) {
        if let (Source::Plane, Some(plane)) = (self.source, &gpu.hw().plane) {
            let before = self.known();
            plane.take(self.vf, &mut self.map);
            self.found += self.known().saturating_sub(before);
        }
    }

    /// Pages that are known to be dirty.
    pub(super) fn known(&self) -> u64 {
        self.map
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// Pages that have become dirty since it began.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// The pages that are known to be dirty.
    pub(super) fn map(&mut self) -> Result<DirtyMap<'_>> {
        DirtyMap::new(&mut self.map, self.pages).ok_or(EINVAL)
    }

    /// The pages to read next and hand to [`Self::looked`]; `None`: a sweep is over.
    pub(super) fn next_look(&mut self, now: Ns) -> Result<Option<Run>> {
        let map = DirtyMap::new(&mut self.map, self.pages).ok_or(EINVAL)?;
        // CAST: A small constant.
        Ok(self.track.next(&map, BATCH as u32, now))
    }

    /// A copy of what hashes, for whoever does so without a lock; `None` if it is not needed.
    pub(super) fn hash(&self) -> Option<PageHash> {
        (self.source == Source::Hash).then(|| (*self.hash).clone())
    }

    /// Pages were read; their hashes are in `hashes` if they are compared by that.
    pub(super) fn looked(&mut self, run: Run, contents: &[u8], hashes: &[u64]) -> Result {
        let mut map = DirtyMap::new(&mut self.map, self.pages).ok_or(EINVAL)?;
        let mut found = 0;
        for (n, page) in (run.first..run.first.saturating_add(run.count)).enumerate() {
            let new = match self.source {
                Source::Hash => {
                    let hash = *hashes.get(n).ok_or(EINVAL)?;
                    self.track.looked(&mut map, &mut self.hashes, page, hash)
                }
                _ => {
                    let at = usize::try_from(page)? * PAGE_BYTES;
                    let kept = self.copy.get(at..at + PAGE_BYTES).ok_or(EINVAL)?;
                    let seen = contents.get(n * PAGE_BYTES..(n + 1) * PAGE_BYTES);
                    let same = seen.ok_or(EINVAL)? == kept;
                    self.track.compared(&mut map, page, same)
                }
            };
            found += u64::from(new);
        }
        self.found += found;
        self.track.ended_look();
        Ok(())
    }

    /// A page that was taken out of the map is about to be sent: what is sent is remembered.
    /// Returns whether it differs from what was remembered before.
    pub(super) fn keep(&mut self, page: u32, contents: &[u8; PAGE_BYTES]) -> Result<bool> {
        let n = usize::try_from(page)?;
        Ok(match self.source {
            Source::Plane | Source::Still => true,
            Source::Hash => {
                let new = self.hash.of(contents);
                let kept = self.hashes.get_mut(n).ok_or(EINVAL)?;
                core::mem::replace(kept, new) != new
            }
            Source::Exact => {
                let at = n * PAGE_BYTES;
                let kept = self.copy.get_mut(at..at + PAGE_BYTES).ok_or(EINVAL)?;
                let changed = kept != contents;
                if changed {
                    kept.copy_from_slice(contents);
                }
                changed
            }
        })
    }

    /// Reads pages of the VF at framebuffer address `base`; those that have changed since they
    /// were seen last come into the map.
    pub(super) fn scan(
        &mut self,
        gpu: &Arc<Gpu>,
        fb: &mut FbAccess,
        base: u64,
        run: Run,
        buf: &mut [u8],
    ) -> Result {
        let end = run.first.saturating_add(run.count);
        let mut at = run.first;
        while at < end {
            // CAST: A small constant.
            let n = (end - at).min(BATCH as u32);
            let bytes = usize::try_from(n)? * PAGE_BYTES;
            let bytes = buf.get_mut(..bytes).ok_or(EINVAL)?;
            let place = u64::from(at) * u64::try_from(PAGE_BYTES)?;
            fb.read(gpu, base + place, bytes)?;
            for (page, contents) in (at..).zip(bytes.chunks(PAGE_BYTES)) {
                if self.keep(page, contents.first_chunk().ok_or(EINVAL)?)? {
                    self.map()?.set(page);
                }
            }
            at += n;
        }
        Ok(())
    }
}
