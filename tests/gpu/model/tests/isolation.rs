// SPDX-License-Identifier: GPL-2.0
//! Nobody reaches what is not his: gating, windows, page table, bus access.

mod rig;

use gpu_regs::chip::{MM_DATA, MM_INDEX};
use gpu_regs::referee::func;
use gpu_regs::sdma::Packet;
use gpu_regs::vm::{Space, Table};
use gpu_regs::vsec::{self, cmd};
use gpu_regs::{gart, mailbox};
use rig::*;

const ALL_ONES: u32 = u32::MAX;

#[test]
fn registers_of_a_vf_that_does_not_run_are_gated() {
    let mut r = rig();
    let gated = [
        r.regs().scratch0,
        r.regs().config_memsize,
        r.regs().sdma.rb_wptr,
        r.regs().ih.cntl,
        MM_DATA,
        0x1234,
    ];
    r.start(2);
    for (i, reg) in gated.into_iter().enumerate() {
        assert_eq!(r.get(1, reg), ALL_ONES, "{reg:#x}");
        r.set(1, reg, 5);
        assert_eq!(r.fstat(1, func::GATED), 2 * (i as u64 + 1));
    }
    assert_eq!(r.get(1, r.regs().func_identifier), 0x8000_0001);
    r.set(1, r.regs().mailbox_trn_dw0, 9);
    assert_eq!(r.get(1, r.regs().mailbox_trn_dw0), 9);
    assert_eq!(
        r.get(2, r.regs().scratch0),
        0,
        "dropped, and not sent to another"
    );
    assert_eq!(r.get(2, r.regs().config_memsize), 16);
    // It stays gated until RUN has ended, and is gated as soon as IDLE begins.
    r.stop(2);
    r.cmds(&[cmd::INIT], 1);
    assert_eq!(r.get(1, r.regs().scratch0), ALL_ONES);
    r.issue(cmd::RUN, 1, 0);
    assert_eq!(r.get(1, r.regs().scratch0), ALL_ONES);
    r.pass(20_000);
    assert_eq!(r.get(1, r.regs().scratch0), 0);
    r.issue(cmd::IDLE, 1, 0);
    assert_eq!(r.get(1, r.regs().scratch0), ALL_ONES);
}

#[test]
fn the_pf_has_its_registers_but_not_the_engines() {
    let mut r = rig();
    assert_eq!(r.get(0, r.regs().func_identifier), 0x8000_0000);
    assert_eq!(r.get(0, r.regs().config_memsize), 128);
    assert_eq!(r.get(0, r.regs().sdma.rb_cntl), ALL_ONES);
    r.start(0);
    assert_eq!(r.get(0, r.regs().sdma.rb_cntl), 0);
    // The mirrors of the capability.
    assert_eq!(r.get(0, r.regs().windows + 1), r.vsec().window(48, 16));
    r.set(0, r.regs().windows + 1, r.vsec().window(112, 16));
    assert_eq!(r.cfg_get(r.vsec().vf_fb + 4), r.vsec().window(112, 16));
    assert_eq!(r.host.windows[1], (112 * MB, 16 * MB));
    assert_eq!(r.get(0, r.regs().vm_init_status.unwrap()), 0);
    r.stop(0);
    r.start(3);
    assert_eq!(r.get(0, r.regs().vm_init_status.unwrap()), 4);
    r.set(0, r.regs().vm_init_status.unwrap(), 4);
    assert_eq!(r.cfg_get(r.vsec().vm_init_status.unwrap()), 0);
    assert_eq!(r.get(0, r.regs().rlc.active_fcn), (1 << 31) | 2);
    assert_eq!(r.get(0, r.regs().rlc.vf_enable), 0xF);
    assert_eq!(r.cfg_get(vsec::SRIOV_SHADOW), (4 << 16) | 1);
    assert_eq!(r.cfg_get(r.vsec().total_fb), 128);
    r.cfg(r.vsec().total_fb, (112 << 16) | 5);
    assert_eq!(r.get(0, r.regs().fb_total.unwrap()), (112 << 16) | 128);
}

#[test]
fn bytes_of_the_capability() {
    let mut r = rig();
    let l = r.vsec();
    r.issue(cmd::INIT, 2, 0);
    let byte = |r: &mut Rig, off| r.gpu.cfg_read(&mut r.host, off, 1);
    assert_eq!(byte(&mut r, l.command), 0x37);
    assert_eq!(byte(&mut r, l.command + 1), 0x81);
    assert_eq!(byte(&mut r, l.status), 0x15);
    r.pass(1_000_000);
    // By single bytes, the function first.
    r.gpu.cfg_write(&mut r.host, l.command + 1, 1, 0x81);
    r.gpu.cfg_write(&mut r.host, l.command, 1, 0x14);
    r.pass(1_000_000);
    assert_eq!(r.fstat(2, func::RUNS), 1);
    r.gpu.cfg_write(&mut r.host, l.total_fb + 2, 2, 96);
    assert_eq!(r.gpu.cfg_read(&mut r.host, l.total_fb + 2, 2), 96);
}

#[test]
fn bar0_shows_the_partition_and_moves_with_it() {
    let mut r = rig();
    assert_eq!(
        &r.host.windows[..2],
        &[(32 * MB, 16 * MB), (48 * MB, 16 * MB)]
    );
    r.cfg(r.vsec().vf_fb, r.vsec().window(112, 32));
    assert_eq!(
        r.host.windows[0],
        (112 * MB, 16 * MB),
        "cut at the framebuffer's end"
    );
    r.cfg(r.vsec().vf_fb, 0);
    assert_eq!(r.host.windows[0], (0, 0));
}

#[test]
fn the_engine_stays_inside_the_window() {
    let mut r = rig();
    r.fb(2, 0, 4096).fill(0x77);
    r.start(1);
    r.ring(1);
    let out = 16 * MB; // the first byte of VF1
    r.submit(
        1,
        &[
            Packet::CopyLinear {
                src: out,
                dst: DATA,
                bytes: 64,
            },
            Packet::ConstFill {
                dst: out - 32,
                value: 0x1111_1111,
                bytes: 64,
            },
            Packet::Fence {
                addr: out + 4096,
                value: 1,
            },
            Packet::CopyLinear {
                src: u64::MAX - 31,
                dst: u64::MAX - 63,
                bytes: 64,
            },
            Packet::Fence {
                addr: DATA + 64,
                value: 2,
            },
        ],
    );
    r.pass(100_000);
    assert!(
        r.fb(1, DATA, 64).iter().all(|&b| b == 0xFF),
        "nothing was read"
    );
    assert!(
        r.fb(1, 16 * MB - 32, 32).iter().all(|&b| b == 0x11),
        "up to the edge"
    );
    assert!(r.fb(2, 0, 4096).iter().all(|&b| b == 0x77));
    assert_eq!(r.fb32(1, DATA + 64), 2, "it goes on after a fault");
    assert!(r.fstat(1, func::WINDOW_FAULTS) >= 5);
    assert_eq!(r.regs().vm.last_fault(|reg| r.get(1, reg)).0 & 1, 1);
    // MM_INDEX is held to the window too.
    r.set(1, MM_INDEX, (1 << 31) | DATA as u32);
    assert_eq!(r.get(1, MM_DATA), ALL_ONES);
    r.set(1, MM_DATA, 0x1234);
    assert_eq!(r.fb32(1, DATA), 0x1234);
    r.set(1, MM_INDEX, (1 << 31) | out as u32);
    assert_eq!(r.get(1, MM_DATA), ALL_ONES);
    r.set(1, MM_DATA, 0);
    assert_eq!(r.fb32(2, 0), 0x7777_7777);
    // As an index of registers.
    r.set(1, MM_INDEX, r.regs().func_identifier * 4);
    assert_eq!(r.get(1, MM_DATA), 0x8000_0001);
    r.set(1, MM_INDEX, 4);
    assert_eq!(r.get(1, MM_DATA), 0);
}

const GART: u64 = 0x100_0000_0000 >> 4;
const TABLE: u64 = 0x40_0000;

fn map(r: &mut Rig, slot: usize, page: u64, pte: u64) {
    r.fb(slot, TABLE + page * 8, 8)
        .copy_from_slice(&pte.to_le_bytes());
}

fn gart_on(r: &mut Rig, slot: usize, pages: u32) {
    table_at(r, slot, TABLE, pages);
}

fn table_at(r: &mut Rig, slot: usize, base: u64, pages: u32) {
    let first_page = GART >> 12;
    let space = Space {
        fb_base: 0,
        fb_last: 16 * MB - 1,
        table: Some(Table {
            base,
            first_page,
            last_page: first_page + u64::from(pages) - 1,
        }),
    };
    let vm = &r.regs().vm;
    vm.write(&space, |reg, v| r.set(slot, reg, v));
}

#[test]
fn system_memory_through_the_page_table() {
    let mut r = rig();
    for (i, b) in r.host.system.iter_mut().enumerate() {
        *b = (i / 4096) as u8;
    }
    r.start(1);
    r.ring(1);
    gart_on(&mut r, 1, 8);
    // Scattered pages: 0 -> 0x50000, 1 -> 0x30000, 2 is read-only, 3 -> VRAM, 4 none.
    map(&mut r, 1, 0, gart::system_page(0x5_0000));
    map(&mut r, 1, 1, gart::system_page(0x3_0000));
    map(&mut r, 1, 2, gart::system_page(0x2_0000) & !gart::WRITEABLE);
    map(
        &mut r,
        1,
        3,
        0x20_0000 | gart::VALID | gart::READABLE | gart::WRITEABLE,
    );
    r.submit(
        1,
        &[
            Packet::CopyLinear {
                src: GART + 4000,
                dst: DATA,
                bytes: 200,
            },
            Packet::ConstFill {
                dst: GART + 4090,
                value: 0xEEEE_EEEE,
                bytes: 12,
            },
            Packet::Fence {
                addr: GART + 3 * 4096 + 8,
                value: 42,
            },
        ],
    );
    r.pass(20_000);
    let got = r.fb(1, DATA, 200).to_vec();
    assert!(got[..96].iter().all(|&b| b == 0x50) && got[96..].iter().all(|&b| b == 0x30));
    assert_eq!(&r.host.system[0x5_0FFA..0x5_1000], &[0xEE; 6]);
    assert_eq!(
        &r.host.system[0x3_0000..0x3_0007],
        &[0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0x30]
    );
    assert_eq!(r.fb32(1, 0x20_0008), 42);
    assert_eq!(
        r.fstat(1, func::DMA_FAULTS) + r.fstat(1, func::WINDOW_FAULTS),
        0
    );
    // What is not allowed.
    for (n, addr) in [
        GART + 2 * 4096, // read-only
        GART + 4 * 4096, // not valid
        GART + 8 * 4096, // behind the table
        GART - 4,        // before it
    ]
    .into_iter()
    .enumerate()
    {
        r.submit(1, &[Packet::Fence { addr, value: 1 }]);
        r.pass(5_000);
        let faults = r.fstat(1, func::DMA_FAULTS) + r.fstat(1, func::WINDOW_FAULTS);
        assert_eq!(faults, n as u64 + 1);
    }
    assert_eq!(r.host.system[0x2_0000], 0x20);
    // The bus refuses this function, as an IOMMU or a clear bus master bit would.
    r.host.no_dma[1] = true;
    r.submit(
        1,
        &[Packet::Fence {
            addr: GART,
            value: 1,
        }],
    );
    r.pass(5_000);
    assert_eq!(r.fstat(1, func::DMA_FAULTS), 3);
}

#[test]
fn a_page_table_cannot_lead_out_of_the_window() {
    let mut r = rig();
    r.start(1);
    r.ring(1);
    gart_on(&mut r, 1, 4);
    map(
        &mut r,
        1,
        0,
        (16 * MB) | gart::VALID | gart::READABLE | gart::WRITEABLE,
    );
    r.submit(
        1,
        &[Packet::Fence {
            addr: GART,
            value: 1,
        }],
    );
    r.pass(5_000);
    assert_eq!(r.fb32(2, 0), 0);
    // Nor can the table lie outside.
    table_at(&mut r, 1, 16 * MB, 1);
    r.fb(2, 0, 8)
        .copy_from_slice(&gart::system_page(0).to_le_bytes());
    r.submit(
        1,
        &[Packet::Fence {
            addr: GART,
            value: 0x99,
        }],
    );
    r.pass(5_000);
    assert_eq!(r.sys32(0), 0);
    assert_eq!(r.fstat(1, func::WINDOW_FAULTS), 2);
}

#[test]
fn the_framebuffer_may_start_elsewhere_in_the_gpus_addresses() {
    let mut r = rig();
    r.start(1);
    r.ring(1);
    let fb = 0x8000_0000u64;
    let space = Space {
        fb_base: fb,
        fb_last: fb + 16 * MB - 1,
        table: None,
    };
    let vm = &r.regs().vm;
    vm.write(&space, |reg, v| r.set(1, reg, v));
    r.set(1, r.regs().sdma.rb_base, ((fb + RING) >> 8) as u32);
    r.submit(
        1,
        &[
            Packet::Fence {
                addr: fb + DATA,
                value: 6,
            },
            Packet::Fence { addr: 0, value: 7 },
        ],
    );
    r.pass(5_000);
    assert_eq!((r.fb32(1, DATA), r.fb32(1, 0)), (6, 0));
}

#[test]
fn disabled_vfs_are_not_there() {
    let mut r = rig();
    r.gpu.set_enabled(&mut r.host, 2);
    assert_eq!(r.get(3, r.regs().func_identifier), ALL_ONES);
    r.set(3, r.regs().mailbox_control, mailbox::TRN_VALID);
    assert_eq!(r.fstat(3, func::MESSAGES), 0);
    r.start(2);
    r.gpu.set_enabled(&mut r.host, 0);
    assert_eq!(r.get(2, r.regs().func_identifier), ALL_ONES);
    assert_eq!(
        r.stat(gpu_regs::referee::ON_ENGINE) as u32,
        ALL_ONES,
        "taken off the engine"
    );
}
