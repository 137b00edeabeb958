// SPDX-License-Identifier: GPL-2.0
//! Which pages of VFs' windows were written: the dirty plane that the driver may read
//! ([`gpu_regs::dirty`]), and the referee's own, which no driver can touch.
//!
//! Both are fed from the same places.  They are shared with whoever else can write the
//! framebuffer: a write by CPU may come while the model itself is at work.

use std::cell::RefCell;
use std::rc::Rc;

use gpu_regs::dirty::{self, DirtyRegs};

use crate::{Gpu, Host};

/// Planes of all VFs, and the registers that select from them.
#[derive(Debug, Default)]
pub struct Planes {
    areas: Vec<Area>,
    /// VFs that are enabled.
    enabled: usize,
    /// The driver's selection: VF, word of the plane, word of the summary.
    fcn: u32,
    index: u32,
    summary_index: u32,
    /// The referee's: slot and word.
    truth_fn: u32,
    truth_index: u32,
}

/// What the model and the CPU's way to the framebuffer share.
pub type Shared = Rc<RefCell<Planes>>;

/// One VF's.
#[derive(Debug, Default)]
struct Area {
    offset: u64,
    bytes: u64,
    tracked: bool,
    plane: Plane,
    truth: Plane,
}

/// One bit per page.
#[derive(Debug, Default)]
struct Plane {
    words: Vec<u32>,
    set: u32,
}

impl Plane {
    fn sized(bytes: u64) -> Self {
        let pages = bytes.div_ceil(dirty::PAGE);
        Self {
            words: vec![0; pages.div_ceil(dirty::WORD_PAGES) as usize],
            set: 0,
        }
    }

    fn clear(&mut self) {
        self.words.fill(0);
        self.set = 0;
    }

    fn mark(&mut self, first: u64, last: u64) {
        for page in first..=last {
            let bit = 1 << (page % dirty::WORD_PAGES);
            if let Some(w) = self.words.get_mut((page / dirty::WORD_PAGES) as usize) {
                self.set += u32::from(*w & bit == 0);
                *w |= bit;
            }
        }
    }

    fn get(&self, word: u32) -> u32 {
        self.words.get(word as usize).copied().unwrap_or(0)
    }

    fn take(&mut self, word: u32) -> u32 {
        let taken = self.words.get_mut(word as usize).map_or(0, std::mem::take);
        self.set -= taken.count_ones();
        taken
    }

    /// One bit per word of the plane that is not 0.
    fn summary(&self, word: u32) -> u32 {
        let first = (word as usize).saturating_mul(dirty::SUMMARY_WORDS as usize);
        let words = self.words.iter().skip(first);
        words
            .take(dirty::SUMMARY_WORDS as usize)
            .zip(0..)
            .fold(0, |s, (&w, b)| s | (u32::from(w != 0) << b))
    }
}

impl Planes {
    pub(crate) fn new(vfs: u32) -> Self {
        Self {
            areas: (0..vfs).map(|_| Area::default()).collect(),
            ..Self::default()
        }
    }

    /// Window of `vf` is now `bytes` (0: none) from `offset` of the framebuffer.
    pub(crate) fn set_window(&mut self, vf: usize, offset: u64, bytes: u64) {
        if let Some(a) = self.areas.get_mut(vf) {
            *a = Area {
                offset,
                bytes,
                tracked: false,
                plane: Plane::sized(bytes),
                truth: Plane::sized(bytes),
            };
        }
    }

    /// The number of VFs changed: those that go leave nothing.
    pub(crate) fn set_enabled(&mut self, vfs: usize) {
        for a in self.areas.iter_mut().skip(vfs) {
            a.tracked = false;
            a.plane.clear();
            a.truth.clear();
        }
        self.enabled = vfs;
    }

    /// `len` bytes from `at` of the framebuffer were written by a VF, or through its BAR0.
    pub fn written(&mut self, at: u64, len: u64) {
        let end = at.saturating_add(len);
        for a in self.areas.iter_mut().take(self.enabled) {
            let from = at.max(a.offset);
            let to = end.min(a.offset + a.bytes);
            if from >= to {
                continue;
            }
            let page = |at: u64| (at - a.offset) >> dirty::PAGE_SHIFT;
            let (first, last) = (page(from), page(to - 1));
            a.truth.mark(first, last);
            if a.tracked {
                a.plane.mark(first, last);
            }
        }
    }

    /// What FCN selects.
    fn area(&mut self) -> Option<&mut Area> {
        let fcn = self.fcn as usize;
        let area = self.areas.get_mut(fcn);
        area.filter(|a| fcn < self.enabled && a.bytes > 0)
    }

    /// Reads a register of the block; `None` if `index` is none of its.
    fn read(&mut self, r: &DirtyRegs, vram_mb: u32, index: u32) -> Option<u32> {
        let fcn = self.fcn;
        let (word, summary) = (self.index, self.summary_index);
        let area = self.area();
        Some(match index {
            i if i == r.cap => dirty::cap(vram_mb),
            i if i == r.magic => dirty::MAGIC,
            i if i == r.fcn => fcn,
            i if i == r.cntl => area.map_or(0, |a| u32::from(a.tracked) * dirty::ENABLE),
            i if i == r.count => area.map_or(0, |a| a.plane.set),
            i if i == r.index => word,
            i if i == r.data => {
                let v = area.map_or(0, |a| a.plane.take(word));
                self.index = word.saturating_add(1);
                v
            }
            i if i == r.summary_index => summary,
            i if i == r.summary => {
                let v = area.map_or(0, |a| a.plane.summary(summary));
                self.summary_index = summary.saturating_add(1);
                v
            }
            _ => return None,
        })
    }

    fn write(&mut self, r: &DirtyRegs, index: u32, value: u32) {
        match index {
            i if i == r.fcn => {
                self.fcn = value & 0xF;
                (self.index, self.summary_index) = (0, 0);
            }
            i if i == r.cntl => {
                if let Some(a) = self.area() {
                    a.tracked = value & dirty::ENABLE != 0;
                    if value & dirty::CLEAR != 0 {
                        a.plane.clear();
                    }
                }
            }
            i if i == r.index => self.index = value,
            i if i == r.summary_index => self.summary_index = value,
            _ => {}
        }
    }

    /// The referee's selection: slot and word.
    pub(crate) fn truth_at(&self) -> (u32, u32) {
        (self.truth_fn, self.truth_index)
    }

    pub(crate) fn truth_select(&mut self, slot: u32) {
        (self.truth_fn, self.truth_index) = (slot, 0);
    }

    pub(crate) fn truth_seek(&mut self, word: u32) {
        self.truth_index = word;
    }

    fn truth(&mut self) -> Option<&mut Plane> {
        let vf = self.truth_fn.checked_sub(1)? as usize;
        let area = self.areas.get_mut(vf).filter(|_| vf < self.enabled)?;
        Some(&mut area.truth)
    }

    pub(crate) fn truth_clear(&mut self) {
        if let Some(p) = self.truth() {
            p.clear();
        }
    }

    /// Pages marked in the selected truth.
    pub(crate) fn truth_pages(&mut self) -> u64 {
        self.truth().map_or(0, |p| u64::from(p.set))
    }

    /// Pages marked in the truth of `vf`.
    pub(crate) fn truth_pages_of(&self, vf: usize) -> u64 {
        let area = self.areas.get(vf).filter(|_| vf < self.enabled);
        area.map_or(0, |a| u64::from(a.truth.set))
    }

    /// The next 64 pages of the selected truth, cleared if `take`.
    pub(crate) fn truth_next(&mut self, take: bool) -> u64 {
        let word = self.truth_index.saturating_mul(2);
        self.truth_index = self.truth_index.saturating_add(1);
        let Some(p) = self.truth() else { return 0 };
        let mut get = |w| if take { p.take(w) } else { p.get(w) };
        let (low, high) = (get(word), get(word.saturating_add(1)));
        u64::from(low) | (u64::from(high) << 32)
    }
}

impl Gpu {
    /// The planes, for the CPU's way to the framebuffer.
    pub fn planes(&self) -> Shared {
        self.planes.clone()
    }

    /// A function has written `len` bytes of the framebuffer; what the PF writes does not count.
    pub(crate) fn wrote(&self, slot: usize, at: u64, len: u64) {
        if slot > 0 {
            self.planes.borrow_mut().written(at, len);
        }
    }

    fn is_dirty_reg(&self, index: u32) -> bool {
        let (first, last) = self.chip.regs.dirty.range();
        (first..=last).contains(&index)
    }

    /// Reads register `index` as the PF; `None` if it does not belong here.
    pub(crate) fn dirty_read(&self, index: u32) -> Option<u32> {
        if !self.is_dirty_reg(index) {
            return None;
        }
        if !self.cfg.dirty_tracking {
            return Some(0);
        }
        let mut planes = self.planes.borrow_mut();
        planes.read(&self.chip.regs.dirty, self.cfg.vram_mb, index)
    }

    /// Writes register `index` as the PF; `false` if it does not belong here.
    pub(crate) fn dirty_write(&self, index: u32, value: u32) -> bool {
        let here = self.is_dirty_reg(index);
        if here && self.cfg.dirty_tracking {
            let mut planes = self.planes.borrow_mut();
            planes.write(&self.chip.regs.dirty, index, value);
        }
        here
    }

    /// Says to the planes and to BAR0 what the window of `vf` now is.
    pub(crate) fn show_window(&mut self, h: &mut dyn Host, vf: usize, offset: u64, bytes: u64) {
        self.planes.borrow_mut().set_window(vf, offset, bytes);
        h.window(vf, offset, bytes);
    }
}
