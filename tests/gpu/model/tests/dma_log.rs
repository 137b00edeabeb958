// SPDX-License-Identifier: GPL-2.0
//! The DMA log has every page of system memory that a VF has written, and no other.

mod rig;

use gpu_regs::chip::CHIPS;
use gpu_regs::dma_log::{self, CLEAR, ENABLE, GROUP_PAGES, NONE, PAGES};
use gpu_regs::ih::{self, Format};
use gpu_regs::mailbox::{TRN_VALID, VALID_INT_EN};
use gpu_regs::sdma::Packet;
use gpu_regs::{gart, referee};
use rig::dma_log::*;
use rig::*;

const PAGE: u64 = dma_log::PAGE;
const NOTHING: [u64; 0] = [];
const READ_ONLY: u64 = gart::VALID | gart::SYSTEM | gart::READABLE;

fn both() -> impl Iterator<Item = Rig> {
    (0..CHIPS.len() as u32).map(logging)
}

fn fence(addr: u64) -> Packet<&'static [u32]> {
    Packet::Fence { addr, value: 1 }
}

const TRAP: Packet<&[u32]> = Packet::Trap { context: 1 };

#[test]
fn there_is_nothing_without_the_property() {
    for mut r in rigs() {
        let (first, last) = r.regs().dma_log.range();
        assert_eq!(last - first, 9);
        for reg in first..=last {
            r.set(0, reg, 3);
            r.set(0, reg, 0);
        }
        r.set(0, r.regs().dma_log.cntl, ENABLE);
        r.set(0, r.regs().dma_log.from_lo, 0x40);
        guest(&mut r, 1, &[5]);
        work(&mut r, 1, &[fence(GART)]);
        for reg in first..=last {
            assert_eq!(r.get(0, reg), 0, "{reg:#x}");
        }
        let features = (r.stat(referee::FUNCTIONS) >> 32) as u32;
        assert_eq!(features & referee::FEATURE_DMA_LOG, 0);
    }
}

#[test]
fn it_says_what_it_is_and_only_to_the_pf() {
    let places = both().map(|r| r.regs().dma_log.cap);
    assert_eq!(places.collect::<Vec<_>>(), [0xFE10, 0x1_AE10]);
    for mut r in both() {
        let d = r.regs().dma_log;
        assert_eq!(r.get(0, d.magic), u32::from_le_bytes(*b"DLOG"));
        assert_eq!(r.get(0, d.cap), 1 | (12 << 8) | (48 << 16));
        let features = (r.stat(referee::FUNCTIONS) >> 32) as u32;
        assert_eq!(features & 0x1A, referee::FEATURE_DMA_LOG);
        r.set(0, d.fcn, 0xF3);
        assert_eq!(r.get(0, d.fcn), 3);
        log(&mut r, 1);
        guest(&mut r, 1, &[5]);
        work(&mut r, 1, &[fence(GART)]);
        for reg in [d.cap, d.count, d.at_lo, d.at_hi, d.magic] {
            let before = r.get(0, reg);
            r.set(0, reg, 5);
            assert_eq!(r.get(0, reg), before, "{reg:#x} is read-only");
        }
        // A VF's registers of these numbers mean nothing, and are its own.
        for reg in d.cap..=d.magic {
            assert_eq!(r.get(1, reg), 0);
            r.set(1, reg, CLEAR);
            assert_eq!(r.get(1, reg), CLEAR);
        }
        assert_eq!(pages(&mut r, 1), [5]);
    }
}

#[test]
fn what_the_engine_writes() {
    // Anywhere, next to each other, and at the end of what a page table reaches.
    let system = [5, 0x12_3456, 0x12_3457, 0x100_0000, 0xFFF_FFFF, 8, 9];
    for mut r in both() {
        guest(&mut r, 1, &system);
        map(&mut r, 1, 5, (8 * PAGE) | READ_ONLY);
        log(&mut r, 1);
        let at = |n: u64| GART + n * PAGE;
        let words = [7u32; 8];
        let packets: [(Packet<&[u32]>, &[u64]); 8] = [
            (
                Packet::CopyLinear {
                    src: DATA,
                    dst: at(1) - 1,
                    bytes: 2,
                },
                &[5, 0x12_3456],
            ),
            (
                Packet::CopyLinear {
                    src: DATA,
                    dst: at(2),
                    bytes: 2 * PAGE as u32 + 1,
                },
                &[0x12_3457, 0x100_0000, 0xFFF_FFFF],
            ),
            (
                // To the last byte, and no further.
                Packet::ConstFill {
                    dst: at(1),
                    value: 1,
                    bytes: 2 * PAGE as u32,
                },
                &[0x12_3456, 0x12_3457],
            ),
            (
                Packet::WriteLinear {
                    dst: at(4) - 16,
                    data: &words,
                },
                &[0x100_0000, 0xFFF_FFFF],
            ),
            (fence(at(4)), &[0xFFF_FFFF]),
            // Reading is no writing, nor is a write of the framebuffer.
            (
                Packet::CopyLinear {
                    src: at(0),
                    dst: DATA,
                    bytes: 3 * PAGE as u32,
                },
                &[],
            ),
            // What cannot be written: a page of two, and none.
            (
                Packet::ConstFill {
                    dst: at(6) - 8,
                    value: 1,
                    bytes: 16,
                },
                &[9],
            ),
            (fence(at(7)), &[]),
        ];
        for (p, logged) in packets {
            work(&mut r, 1, &[p]);
            assert_eq!(pages(&mut r, 1), logged, "{p:?}");
        }
        // The ring's position is written back there.
        let sdma = &r.regs().sdma;
        let wb = at(3) + 8;
        r.set(1, sdma.rptr_addr_hi, (wb >> 32) as u32);
        r.set(1, sdma.rptr_addr_lo, wb as u32);
        assert_eq!(pages(&mut r, 1), NOTHING);
        work(&mut r, 1, &[Packet::Nop { extra: 0 }]);
        assert_eq!(pages(&mut r, 1), [0x100_0000]);
        r.host.no_dma[1] = true;
        work(&mut r, 1, &[fence(at(0))]);
        assert_eq!(pages(&mut r, 1), NOTHING, "the bus refuses");
    }
}

#[test]
fn a_write_is_there_when_it_is_done() {
    for mut r in both() {
        guest(&mut r, 1, &[0x40, 0x41, 0x42, 0x43]);
        log(&mut r, 1);
        let fill = Packet::ConstFill {
            dst: GART,
            value: 7,
            bytes: 4 * PAGE as u32,
        };
        r.submit(1, &[fill]);
        // 1000 bytes in a microsecond.
        for n in 1..=4 {
            assert_eq!(count(&mut r, 1), n - 1);
            r.pass(4_100);
            assert_eq!(count(&mut r, 1), n);
            let written = (0x40..0x44u64).filter(|p| r.sys32(p * PAGE) == 7);
            assert_eq!(written.count(), n as usize);
        }
    }
}

#[test]
fn what_the_interrupt_ring_writes() {
    for mut r in both() {
        log(&mut r, 1);
        guest(&mut r, 1, &[5]);
        r.ih(1);
        r.set(1, r.regs().mailbox_int_cntl, VALID_INT_EN);
        assert_eq!(pages(&mut r, 1), NOTHING);
        work(&mut r, 1, &[TRAP]);
        assert_eq!(pages(&mut r, 1), [0x10, 0x11]);
        // The PF speaks while the VF is away.
        r.stop(1);
        r.set(0, r.regs().mailbox_index, 0);
        r.set(0, r.regs().mailbox_control, TRN_VALID);
        assert_eq!(pages(&mut r, 1), [0x10, 0x11]);
        r.resume(1);
        assert_eq!(pages(&mut r, 1), NOTHING);
        let cntl = r.get(1, r.regs().ih.cntl);
        let no_wb = cntl & !ih::WPTR_WRITEBACK_ENABLE;
        r.set(1, r.regs().ih.cntl, no_wb);
        work(&mut r, 1, &[TRAP]);
        assert_eq!(pages(&mut r, 1), [0x10]);
        r.host.no_dma[1] = true;
        let irqs = r.host.irqs[1];
        r.set(1, r.regs().ih.rptr, r.gpu.chip().ih.bytes());
        assert_eq!(r.host.irqs[1], irqs + 1);
        work(&mut r, 1, &[TRAP]);
        assert_eq!(pages(&mut r, 1), NOTHING, "only the message went out");
    }
}

#[test]
fn to_the_end_of_all_addresses() {
    for mut r in both() {
        let d = r.regs().dma_log;
        log(&mut r, 1);
        guest(&mut r, 1, &[5]);
        r.ih(1);
        // A ring that begins 256 bytes before the end of what its registers reach.
        let top = match r.regs().ih.base_hi {
            Some(hi) => {
                r.set(1, hi, 0xFF);
                PAGES
            }
            None => PAGES >> 8,
        };
        r.set(1, r.regs().ih.base, u32::MAX);
        let size = r.gpu.chip().ih.bytes();
        let bus = r.regs().ih.cntl_bus;
        r.set(1, r.regs().ih.cntl, ih::rb_cntl(4096) | bus);
        work(&mut r, 1, &[TRAP]);
        assert_eq!(pages(&mut r, 1), [0x11, top - 1]);
        // One of 40 bits runs on; of more than 48 bits there is nothing.
        r.set(1, r.regs().ih.wptr, 256 - size);
        work(&mut r, 1, &[TRAP, TRAP]);
        if r.gpu.chip().ih == Format::Vi {
            assert_eq!(pages(&mut r, 1), [0x11, top - 1, top]);
            continue;
        }
        select(&mut r, 1);
        assert_eq!(take(&mut r), Some(vec![0x11]));
        assert_eq!(find(&mut r), Some(top - GROUP_PAGES));
        assert_eq!(r.get(0, d.at_hi), 0xF);
        assert_eq!(r.get(0, d.data), 1 << 31);
        // Behind the last there is nothing, and it does not begin again.
        assert_eq!(from(&mut r), PAGES);
        work(&mut r, 1, &[TRAP]);
        assert_eq!((find(&mut r), r.get(0, d.count)), (None, 1));
        seek(&mut r, u64::MAX);
        assert_eq!(from(&mut r), 2 * PAGES - GROUP_PAGES);
        assert_eq!(find(&mut r), None);
        assert_eq!(pages(&mut r, 1), [0x11]);
    }
}

#[test]
fn groups_are_found_and_taken_in_order() {
    for mut r in both() {
        let d = r.regs().dma_log;
        let system = [0x20, 0x3F, 0x40, 0x10_0000, 0x10_001F, 0x234_5678];
        guest(&mut r, 2, &system);
        log(&mut r, 2);
        assert_eq!(r.get(0, d.cntl), ENABLE);
        assert_eq!(r.get(0, d.at_hi), NONE, "nobody has looked yet");
        assert_eq!(r.get(0, d.data), 0);
        let all = |r: &mut Rig| {
            let fences: Vec<_> = (0..6).map(|n| fence(GART + n * PAGE)).collect();
            work(r, 2, &fences);
            assert_eq!(count(r, 2), 6);
        };
        all(&mut r);
        // Looking takes nothing, and goes on nowhere.
        assert_eq!(find(&mut r), Some(0x20));
        assert_eq!((find(&mut r), from(&mut r)), (Some(0x20), 0));
        assert_eq!(r.get(0, d.data), 1 | (1 << 31));
        assert_eq!((r.get(0, d.count), from(&mut r)), (4, 0x40));
        assert_eq!(r.get(0, d.data), 0, "it is clear");
        assert_eq!((find(&mut r), r.get(0, d.data)), (Some(0x40), 1));
        // What is written again meanwhile is behind.
        work(&mut r, 2, &[fence(GART)]);
        assert_eq!(take(&mut r), Some(vec![0x10_0000, 0x10_001F]));
        assert_eq!(take(&mut r), Some(vec![0x234_5678]));
        assert_eq!((take(&mut r), r.get(0, d.data)), (None, 0));
        assert_eq!(pages(&mut r, 2), [0x20]);
        all(&mut r);
        // From within a group, which is whole.
        seek(&mut r, 0x3E);
        assert_eq!((from(&mut r), find(&mut r)), (0x20, Some(0x20)));
        seek(&mut r, 0x60);
        assert_eq!(find(&mut r), Some(0x10_0000));
        seek(&mut r, 1 << 33);
        assert_eq!((from(&mut r), find(&mut r)), (1 << 33, None));
        assert_eq!(r.get(0, d.data), 0);
        // What came between looking and taking is taken too.
        r.set(0, d.cntl, ENABLE | CLEAR);
        work(&mut r, 2, &[fence(GART)]);
        seek(&mut r, 0);
        assert_eq!(find(&mut r), Some(0x20));
        work(&mut r, 2, &[fence(GART + PAGE)]);
        assert_eq!(r.get(0, d.data), 1 | (1 << 31));
        // Who wants one page of them gives the others back.
        r.set(0, d.data, 1 << 31);
        assert_eq!((r.get(0, d.count), from(&mut r)), (1, 0x40));
        seek(&mut r, 0x20);
        assert_eq!(take(&mut r), Some(vec![0x3F]));
        // Another VF's begins at its own start, and nothing is found of it by what was found here.
        all(&mut r);
        log(&mut r, 1);
        assert_eq!((r.get(0, d.data), from(&mut r)), (0, 0));
        r.set(0, d.data, u32::MAX);

        assert_eq!(pages(&mut r, 2), system);
    }
}

#[test]
fn only_while_it_is_on_and_only_ones_own() {
    for mut r in both() {
        let d = r.regs().dma_log;
        let at = |n: u64| fence(GART + n * PAGE);
        guest(&mut r, 1, &[1, 2, 3, 4]);
        r.ih(1);
        work(&mut r, 1, &[at(0), TRAP]);
        assert_eq!(pages(&mut r, 1), NOTHING, "off at first");
        log(&mut r, 1);
        work(&mut r, 1, &[at(1)]);
        r.set(0, d.cntl, 0);
        assert_eq!(r.get(0, d.cntl), 0);
        work(&mut r, 1, &[at(2), TRAP]);
        r.set(0, d.cntl, ENABLE);
        work(&mut r, 1, &[at(3)]);
        assert_eq!(pages(&mut r, 2), NOTHING);
        assert_eq!(pages(&mut r, 1), [2, 4], "kept when switched off");
        work(&mut r, 1, &[at(3)]);
        r.set(0, d.cntl, CLEAR);
        assert_eq!((count(&mut r, 1), r.get(0, d.cntl)), (0, 0));
        // A VF that there is not.
        r.set(0, d.fcn, 7);
        r.set(0, d.cntl, ENABLE);
        seek(&mut r, 0x40);
        for reg in [d.cntl, d.count, d.from_lo, d.from_hi, d.data] {
            assert_eq!(r.get(0, reg), 0);
        }
        assert_eq!([d.at_lo, d.at_hi].map(|a| r.get(0, a)), [NONE; 2]);
        assert_eq!((r.get(0, d.fcn), r.get(0, d.cap)), (7, dma_log::CAP));
    }
}

#[test]
fn what_the_pf_writes_does_not_count() {
    for mut r in both() {
        (1..=4).for_each(|slot| log(&mut r, slot));
        r.ih(0);
        guest(&mut r, 0, &[5, 6]);
        work(&mut r, 0, &[fence(GART + PAGE), TRAP]);
        assert_eq!(r.sys32(6 * PAGE), 1);
        assert!(r.host.irqs[0] > 0);
        for slot in 1..=4 {
            assert_eq!(pages(&mut r, slot), NOTHING);
        }
    }
}

#[test]
fn what_ends_it_and_what_does_not() {
    for mut r in both() {
        let d = r.regs().dma_log;
        let on = |r: &mut Rig, slot| {
            log(r, slot);
            guest(r, slot, &[5, 6]);
            work(r, slot, &[fence(GART)]);
            assert_eq!(find(r), Some(0));
        };
        let state = |r: &mut Rig, slot| {
            select(r, slot);
            (r.get(0, d.cntl), r.get(0, d.count))
        };
        on(&mut r, 1);
        r.stop(1);
        r.resume(1);
        r.gpu.flr(&mut r.host, 1);
        assert_eq!(state(&mut r, 1), (ENABLE, 1), "switches, FLR");
        guest(&mut r, 1, &[7, 8]);
        assert_eq!(state(&mut r, 1), (ENABLE, 1), "INIT");
        work(&mut r, 1, &[fence(GART)]);
        r.stop(1);
        assert_eq!(pages(&mut r, 1), [5, 7]);
        on(&mut r, 1);
        r.stop(1);
        on(&mut r, 4);
        r.gpu.set_enabled(&mut r.host, 3);
        // What was found goes with the VF.
        assert_eq!([d.at_lo, d.at_hi].map(|a| r.get(0, a)), [NONE; 2]);
        r.gpu.set_enabled(&mut r.host, 4);
        assert_eq!((r.get(0, d.at_hi), r.get(0, d.data)), (NONE, 0));
        assert_eq!(state(&mut r, 4), (0, 0), "fewer VFs");
        assert_eq!(state(&mut r, 1), (ENABLE, 1));
        r.gpu.set_enabled(&mut r.host, 0);
        r.gpu.set_enabled(&mut r.host, 4);
        assert_eq!(state(&mut r, 1), (0, 0), "SR-IOV off");
        on(&mut r, 1);
        r.gpu.flr(&mut r.host, 0);
        assert_eq!(state(&mut r, 1), (0, 0), "reset of the PF");
        r.setup();
        assert_eq!(state(&mut r, 1), (0, 0));
        guest(&mut r, 1, &[5, 6]);
        work(&mut r, 1, &[fence(GART)]);
        assert_eq!(state(&mut r, 1), (0, 0), "and off");
    }
}
