// SPDX-License-Identifier: GPL-2.0
//! The rig with a DMA log, what a driver does with it, and a guest with system memory.

use gpu_model::Config;
use gpu_regs::dma_log::{CLEAR, ENABLE, GROUP_PAGES, NONE, PAGE};
use gpu_regs::gart;
use gpu_regs::sdma::Packet;
use gpu_regs::vm::{Space, Table};

use super::{rig_with, Rig, MB};

/// Engine address of the first page of system memory, and where the page table lies.
pub(crate) const GART: u64 = 0x10_0000_0000;
const TABLE: u64 = 0x40_0000;

/// The rig with a log, and with system memory at every address.
pub(crate) fn logging(chip: u32) -> Rig {
    let mut r = rig_with(Config {
        chip,
        tick_ns: 1,
        dma_log: true,
        ..Config::default()
    });
    r.host.everywhere = true;
    r
}

/// Selects VF `slot - 1`.
pub(crate) fn select(r: &mut Rig, slot: usize) {
    r.set(0, r.regs().dma_log.fcn, slot as u32 - 1);
}

pub(crate) fn log(r: &mut Rig, slot: usize) {
    select(r, slot);
    r.set(0, r.regs().dma_log.cntl, ENABLE | CLEAR);
}

pub(crate) fn count(r: &mut Rig, slot: usize) -> u32 {
    select(r, slot);
    r.get(0, r.regs().dma_log.count)
}

/// Looks from `page` on.
pub(crate) fn seek(r: &mut Rig, page: u64) {
    r.set(0, r.regs().dma_log.from_lo, page as u32);
    r.set(0, r.regs().dma_log.from_hi, (page >> 32) as u32);
}

pub(crate) fn from(r: &mut Rig) -> u64 {
    let d = r.regs().dma_log;
    u64::from(r.get(0, d.from_lo)) | (u64::from(r.get(0, d.from_hi)) << 32)
}

/// The next group that has a page marked.
pub(crate) fn find(r: &mut Rig) -> Option<u64> {
    let d = r.regs().dma_log;
    let (low, high) = (r.get(0, d.at_lo), r.get(0, d.at_hi));
    let none = (low, high) == (NONE, NONE);
    (!none).then_some(u64::from(low) | (u64::from(high) << 32))
}

/// The pages of the next group, which is clear afterwards.
pub(crate) fn take(r: &mut Rig) -> Option<Vec<u64>> {
    let group = find(r)?;
    let bits = r.get(0, r.regs().dma_log.data);
    assert!(bits != 0 && group % GROUP_PAGES == 0);
    let pages = (0..GROUP_PAGES).filter(|b| bits & (1 << b) != 0);
    Some(pages.map(|b| group + b).collect())
}

/// All pages of the log of `slot`, in order; it is clear afterwards.
pub(crate) fn pages(r: &mut Rig, slot: usize) -> Vec<u64> {
    let n = count(r, slot);
    let pages: Vec<u64> = std::iter::from_fn(|| take(r)).flatten().collect();
    assert_eq!((pages.len(), count(r, slot)), (n as usize, 0));
    pages
}

pub(crate) fn map(r: &mut Rig, slot: usize, page: u64, pte: u64) {
    r.fb(slot, TABLE + page * 8, 8)
        .copy_from_slice(&pte.to_le_bytes());
}

/// `slot` begins to work, with these pages of system memory.
pub(crate) fn guest(r: &mut Rig, slot: usize, system: &[u64]) {
    r.start(slot);
    r.ring(slot);
    let space = Space {
        fb_base: 0,
        fb_last: 16 * MB - 1,
        table: Some(Table {
            base: TABLE,
            first_page: GART / PAGE,
            last_page: GART / PAGE + system.len() as u64 - 1,
        }),
    };
    let vm = &r.regs().vm;
    vm.write(&space, |reg, v| r.set(slot, reg, v));
    for (n, page) in (0..).zip(system) {
        map(r, slot, n, gart::system_page(page * PAGE));
    }
}

pub(crate) fn work(r: &mut Rig, slot: usize, packets: &[Packet<&[u32]>]) {
    r.submit(slot, packets);
    r.pass(100_000);
}
