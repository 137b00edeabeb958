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
        dirty::DirtyMap,
        hash::{
            PageHash,
            PAGE_BYTES, //
        },
        types::VfId, //
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
    pages: usize,
    /// Pages that the plane has marked and nobody has asked for yet: a bit each.
    map: VVec<u64>,
    /// Hash of each page's contents when it was seen last.
    hashes: VVec<u64>,
    /// The contents when they were seen last.
    copy: VVec<u8>,
    hash: KBox<PageHash>,
}

impl Tracker {
    /// Begins: every page counts as not seen yet, and changes from now on are noticed.
    pub(super) fn start(gpu: &Gpu, vf: VfId, source: Source, pages: usize) -> Result<Self> {
        let words = pages.div_ceil(64);
        let (mut hashes, mut copy) = (VVec::new(), VVec::new());
        match source {
            Source::Plane => {}
            Source::Hash => hashes = VVec::zeroed(pages, GFP_KERNEL)?,
            Source::Exact => {
                let bytes = pages.checked_mul(PAGE_BYTES).ok_or(ENOMEM)?;
                copy = VVec::zeroed(bytes, GFP_KERNEL)?;
            }
        }
        let tracker = Self {
            vf,
            source,
            pages,
            map: VVec::zeroed(words, GFP_KERNEL)?,
            hashes,
            copy,
            hash: KBox::new(PageHash::new(random::number()), GFP_KERNEL)?,
        };
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

    /// Whether pages have to be read to know whether they have changed.
    pub(super) fn by_reading(&self) -> bool {
        self.source != Source::Plane
    }

    /// Takes over what the plane has marked; returns how many pages are known to be dirty.
    pub(super) fn collect(&mut self, gpu: &Gpu) -> u64 {
        if let (Source::Plane, Some(plane)) = (self.source, &gpu.hw().plane) {
            plane.take(self.vf, &mut self.map);
        }
        self.known()
    }

    /// Pages that are known to be dirty.
    pub(super) fn known(&self) -> u64 {
        self.map
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// The pages that are known to be dirty.
    pub(super) fn map(&mut self) -> Result<DirtyMap<'_>> {
        DirtyMap::new(&mut self.map, u32::try_from(self.pages)?).ok_or(EINVAL)
    }

    /// Whether a page has contents other than when it was seen last; these are remembered.
    ///
    /// The plane does not know: there the answer is that of the map, which forgets the page.
    pub(super) fn judge(&mut self, page: usize, contents: &[u8; PAGE_BYTES]) -> bool {
        match self.source {
            Source::Plane => self.forget(page),
            Source::Hash => {
                let new = self.hash.of(contents);
                let old = self.hashes.get_mut(page);
                old.is_some_and(|old| core::mem::replace(old, new) != new)
            }
            Source::Exact => {
                let at = page * PAGE_BYTES;
                let Some(old) = self.copy.get_mut(at..at + PAGE_BYTES) else {
                    return false;
                };
                let changed = old != contents;
                if changed {
                    old.copy_from_slice(contents);
                }
                changed
            }
        }
    }

    /// Takes a page out of the map; whether it was in it.
    pub(super) fn forget(&mut self, page: usize) -> bool {
        let Some(word) = self.map.get_mut(page / 64) else {
            return false;
        };
        let bit = 1 << (page % 64);
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    /// Whether a page is in the map.
    pub(super) fn knows(&self, page: usize) -> bool {
        self.map
            .get(page / 64)
            .is_some_and(|word| word >> (page % 64) & 1 != 0)
    }

    /// Reads pages `first..end` of the VF at framebuffer address `base` and judges them; those
    /// that have changed come into the map.
    pub(super) fn scan(
        &mut self,
        gpu: &Arc<Gpu>,
        fb: &mut FbAccess,
        base: u64,
        (first, end): (usize, usize),
        buf: &mut [u8],
    ) -> Result {
        let mut at = first;
        while at < end {
            let n = (end - at).min(BATCH);
            let bytes = buf.get_mut(..n * PAGE_BYTES).ok_or(EINVAL)?;
            fb.read(gpu, base + u64::try_from(at * PAGE_BYTES)?, bytes)?;
            for (i, contents) in bytes.chunks(PAGE_BYTES).enumerate() {
                let contents = contents.first_chunk().ok_or(EINVAL)?;
                if self.judge(at + i, contents) {
                    let page = at + i;
                    if let Some(word) = self.map.get_mut(page / 64) {
                        *word |= 1 << (page % 64);
                    }
                }
            }
            at += n;
        }
        Ok(())
    }
}
