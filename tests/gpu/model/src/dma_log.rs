// SPDX-License-Identifier: GPL-2.0
//! Which pages of system memory VFs have written ([`gpu_regs::dma_log`]).
//!
//! All writes of system memory go through [`DmaLogs::write`], so that none is forgotten.

use std::collections::BTreeMap;

use gpu_regs::dma_log::{self, DmaLogRegs, GROUP_PAGES, NONE};

use crate::{Gpu, Host};

/// Logs of all VFs, and the registers that select from them.
#[derive(Debug, Default)]
pub(crate) struct DmaLogs {
    logs: Vec<Log>,
    /// VFs that are enabled.
    enabled: usize,
    fcn: u32,
    /// FROM and AT: first pages of groups.
    from: u64,
    at: Option<u64>,
}

/// One VF's.
#[derive(Debug, Default)]
struct Log {
    on: bool,
    /// By number of the first page; none is 0.  Bus addresses are anywhere, so it is no array.
    groups: BTreeMap<u64, u32>,
    set: u64,
}

impl Log {
    fn clear(&mut self) {
        self.groups.clear();
        self.set = 0;
    }

    /// Marks the pages of `len` bytes from `bus`.
    fn mark(&mut self, bus: u64, len: u64) {
        let Some(more) = len.checked_sub(1) else {
            return;
        };
        let first = bus >> dma_log::PAGE_SHIFT;
        let last = bus.saturating_add(more) >> dma_log::PAGE_SHIFT;
        for page in first..=last.min(dma_log::PAGES - 1) {
            let bit = 1 << (page % GROUP_PAGES);
            let group = self.groups.entry(group_of(page)).or_default();
            self.set += u64::from(*group & bit == 0);
            *group |= bit;
        }
    }

    /// The first group at or behind `from`.
    fn find(&self, from: u64) -> Option<u64> {
        self.groups.range(from..).next().map(|(&at, _)| at)
    }

    fn take(&mut self, group: u64) -> u32 {
        let taken = self.groups.remove(&group).unwrap_or(0);
        self.set -= u64::from(taken.count_ones());
        taken
    }

    /// Marks pages of a group again.
    fn put(&mut self, group: u64, bits: u32) {
        if bits != 0 {
            let there = self.groups.entry(group).or_default();
            self.set += u64::from((bits & !*there).count_ones());
            *there |= bits;
        }
    }
}

/// First page of the group of `page`.
fn group_of(page: u64) -> u64 {
    page & !(GROUP_PAGES - 1)
}

fn low(page: u64) -> u32 {
    page as u32
}

fn high(page: u64) -> u32 {
    (page >> 32) as u32
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

impl DmaLogs {
    pub(crate) fn new(vfs: u32) -> Self {
        Self {
            logs: (0..vfs).map(|_| Log::default()).collect(),
            ..Self::default()
        }
    }

    /// The number of VFs changed: those that go leave nothing.
    pub(crate) fn set_enabled(&mut self, vfs: usize) {
        for l in self.logs.iter_mut().skip(vfs) {
            l.on = false;
            l.clear();
        }
        if self.fcn as usize >= vfs {
            self.select(self.fcn);
        }
        self.enabled = vfs;
    }

    /// Writes system memory as function `slot`; `false` if the access failed.  What the PF writes
    /// is not logged.
    pub(crate) fn write(&mut self, h: &mut dyn Host, slot: usize, bus: u64, buf: &[u8]) -> bool {
        if !h.dma_write(slot, bus, buf) {
            return false;
        }
        let log = slot.checked_sub(1).and_then(|vf| self.logs.get_mut(vf));
        if let Some(l) = log.filter(|l| l.on) {
            l.mark(bus, buf.len() as u64);
        }
        true
    }

    fn select(&mut self, fcn: u32) {
        (self.fcn, self.from, self.at) = (fcn, 0, None);
    }

    /// Reads a register of the block.
    fn read(&mut self, r: &DmaLogRegs, index: u32) -> u32 {
        let fcn = self.fcn as usize;
        let log = self.logs.get_mut(fcn).filter(|_| fcn < self.enabled);
        match (index, log) {
            (i, _) if i == r.cap => dma_log::CAP,
            (i, _) if i == r.magic => dma_log::MAGIC,
            (i, _) if i == r.fcn => self.fcn,
            (i, Some(l)) if i == r.cntl => u32::from(l.on) * dma_log::ENABLE,
            (i, Some(l)) if i == r.count => l.set.try_into().unwrap_or(u32::MAX),
            (i, Some(_)) if i == r.from_lo => low(self.from),
            (i, Some(_)) if i == r.from_hi => high(self.from),
            (i, Some(l)) if i == r.at_lo => {
                self.at = l.find(self.from);
                self.at.map_or(NONE, low)
            }
            (i, Some(_)) if i == r.at_hi => self.at.map_or(NONE, high),
            (i, Some(l)) if i == r.data => self.at.map_or(0, |at| {
                self.from = at + GROUP_PAGES;
                l.take(at)
            }),
            (i, None) if i == r.at_lo || i == r.at_hi => NONE,
            _ => 0,
        }
    }

    fn write_reg(&mut self, r: &DmaLogRegs, index: u32, value: u32) {
        let fcn = self.fcn as usize;
        let log = self.logs.get_mut(fcn).filter(|_| fcn < self.enabled);
        let (lo, hi) = (low(self.from), high(self.from));
        match (index, log) {
            (i, _) if i == r.fcn => self.select(value & 0xF),
            (i, Some(l)) if i == r.cntl => {
                l.on = value & dma_log::ENABLE != 0;
                if value & dma_log::CLEAR != 0 {
                    l.clear();
                }
            }
            (i, Some(_)) if i == r.from_lo => {
                self.from = group_of(join(value, hi));
            }
            (i, Some(_)) if i == r.from_hi => {
                self.from = join(lo, value & dma_log::FROM_HI_MASK);
            }
            (i, Some(l)) if i == r.data => {
                if let Some(at) = self.at {
                    l.put(at, value);
                }
            }
            _ => {}
        }
    }
}

impl Gpu {
    fn is_dma_log_reg(&self, index: u32) -> bool {
        let (first, last) = self.chip.regs.dma_log.range();
        (first..=last).contains(&index)
    }

    /// Reads register `index` as the PF; `None` if it does not belong here.
    pub(crate) fn dma_log_read(&mut self, index: u32) -> Option<u32> {
        if !self.is_dma_log_reg(index) {
            return None;
        }
        if !self.cfg.dma_log {
            return Some(0);
        }
        Some(self.dma_logs.read(&self.chip.regs.dma_log, index))
    }

    /// Writes register `index` as the PF; `false` if it does not belong here.
    pub(crate) fn dma_log_write(&mut self, index: u32, value: u32) -> bool {
        let here = self.is_dma_log_reg(index);
        if here && self.cfg.dma_log {
            let regs = &self.chip.regs.dma_log;
            self.dma_logs.write_reg(regs, index, value);
        }
        here
    }
}
