// SPDX-License-Identifier: GPL-2.0
//! Whatever guests and drivers do, in any order: the model does not panic, keeps its accounts,
//! and lets no VF touch what is not its own.

mod rig;

use gpu_model::Fault;
use gpu_regs::chip::{CHIPS, DOORBELL_IH, DOORBELL_SDMA0};
use gpu_regs::referee::{self, func};
use gpu_regs::sdma::{Packet, Poll};
use gpu_regs::vm::{Space, Table};
use gpu_regs::vsec::cmd;
use gpu_regs::{gart, sdma};
use proptest::collection::vec;
use proptest::prelude::*;
use rig::*;

#[derive(Debug, Clone)]
enum Act {
    Read(usize, u32),
    Write(usize, u32, u32),
    Doorbell(usize, u32, u32),
    CfgRead(u16, u8),
    CfgWrite(u16, u8, u32),
    Command(u8, usize, usize),
    Step(usize),
    Ring(usize),
    Jobs(usize, Vec<Job>),
    Garbage(usize, Vec<u32>),
    SpoilImage(usize, usize, u8),
    Flr(usize),
    Enable(u32),
    Fault(Fault),
    Pass(u64),
    Referee(u32, u32),
    Json,
}

#[derive(Debug, Clone)]
enum Job {
    Copy(u64, u64, u32),
    Fill(u64, u32, u32),
    Write(u64, Vec<u32>),
    Fence(u64),
    Trap,
    Poll(u64, bool),
    Indirect(u64, u32),
    Nop(u32),
}

/// Addresses that matter: inside, around the edges, in the page table's range, anywhere.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20 * MB,
        2 => (16 * MB - 100)..(16 * MB + 100),
        2 => 0x10_0000_0000u64..0x10_0001_0000,
        1 => any::<u64>(),
    ]
}

fn job() -> impl Strategy<Value = Job> {
    let bytes = prop_oneof![0..5000u32, 0..100_000u32];
    prop_oneof![
        4 => (address(), address(), bytes.clone()).prop_map(|(a, b, n)| Job::Copy(a, b, n)),
        3 => (address(), any::<u32>(), bytes).prop_map(|(a, v, n)| Job::Fill(a, v, n)),
        2 => (address(), vec(any::<u32>(), 0..40)).prop_map(|(a, d)| Job::Write(a, d)),
        2 => address().prop_map(Job::Fence),
        1 => Just(Job::Trap),
        1 => (address(), any::<bool>()).prop_map(|(a, h)| Job::Poll(a, h)),
        1 => (address(), 0..500u32).prop_map(|(a, n)| Job::Indirect(a, n)),
        1 => (0..20u32).prop_map(Job::Nop),
    ]
}

fn chip() -> impl Strategy<Value = &'static str> {
    (0..CHIPS.len()).prop_map(|n| CHIPS[n].name)
}

fn register() -> impl Strategy<Value = u32> {
    prop_oneof![
        3 => 0x14C0..0x14DCu32,
        3 => 0xE30..0xE44u32,
        3 => 0x3480..0x3493u32,
        2 => 0x500..0x560u32,
        1 => 0..8u32,
        1 => 0xF980..0xF992u32,
        3 => 0xE50..0xE63u32,
        3 => 0x1120..0x1128u32,
        3 => 0x12E0..0x1314u32,
        2 => 0x1_A6C0..0x1_A840u32,
        1 => any::<u32>(),
        2 => 0..0x2_0000u32,
    ]
}

/// What guests can do by themselves.
fn guest(slots: std::ops::Range<usize>) -> impl Strategy<Value = Act> {
    let s = slots;
    prop_oneof![
        2 => (s.clone(), register()).prop_map(|(s, r)| Act::Read(s, r)),
        3 => (s.clone(), register(), any::<u32>()).prop_map(|(s, r, v)| Act::Write(s, r, v)),
        1 => (s.clone(), prop_oneof![Just(DOORBELL_SDMA0), Just(DOORBELL_IH), any::<u32>()], any::<u32>())
            .prop_map(|(s, i, v)| Act::Doorbell(s, i, v)),
        3 => s.clone().prop_map(Act::Ring),
        6 => (s.clone(), vec(job(), 1..6)).prop_map(|(s, j)| Act::Jobs(s, j)),
        1 => (s.clone(), vec(any::<u32>(), 1..40)).prop_map(|(s, d)| Act::Garbage(s, d)),
        1 => s.prop_map(Act::Flr),
        6 => (0..300_000u64).prop_map(Act::Pass),
    ]
}

/// What everybody together can do, the driver's mistakes and the emulator's faults included.
fn anybody() -> impl Strategy<Value = Act> {
    let fault = (0..10u32, 0..6u32, 0..8u32, 0..1000u32, 1..3u32).prop_map(
        |(kind, slot, cmd, arg, count)| Fault {
            kind,
            slot,
            cmd,
            arg,
            count,
        },
    );
    let slot = 0..6usize;
    prop_oneof![
        10 => guest(0..6),
        6 => (0..16u8, slot.clone(), slot.clone()).prop_map(|(c, a, b)| Act::Command(c, a, b)),
        8 => slot.clone().prop_map(Act::Step),
        1 => (0..0x70u16, prop_oneof![Just(1u8), Just(2), Just(4)]).prop_map(|(o, n)| Act::CfgRead(o, n)),
        1 => (0..0x70u16, prop_oneof![Just(1u8), Just(2), Just(4)], any::<u32>())
            .prop_map(|(o, n, v)| Act::CfgWrite(o, n, v)),
        1 => (slot, 0..200usize, any::<u8>()).prop_map(|(s, a, x)| Act::SpoilImage(s, a, x)),
        1 => (0..7u32).prop_map(Act::Enable),
        1 => fault.prop_map(Act::Fault),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(o, v)| Act::Referee(o, v)),
        1 => Just(Act::Json),
    ]
}

fn submit(r: &mut Rig, slot: usize, jobs: &[Job]) {
    for j in jobs {
        let p = match *j {
            Job::Copy(src, dst, bytes) => Packet::CopyLinear { src, dst, bytes },
            Job::Fill(dst, value, bytes) => Packet::ConstFill { dst, value, bytes },
            Job::Write(dst, ref d) => Packet::WriteLinear { dst, data: &d[..] },
            Job::Fence(addr) => Packet::Fence { addr, value: 3 },
            Job::Trap => Packet::Trap { context: 1 },
            Job::Poll(addr, true) => Packet::PollRegmem(Poll::hang(addr, 0, 1)),
            Job::Poll(addr, false) => Packet::PollRegmem(Poll::memory(addr, 0, 3)),
            Job::Indirect(base, dwords) => Packet::Indirect {
                base,
                dwords,
                vmid: 0,
            },
            Job::Nop(extra) => Packet::Nop { extra },
        };
        r.submit(slot, &[p]);
    }
}

/// The next legal command that brings `slot` forward, as a driver would give it.
fn step(r: &mut Rig, slot: usize) {
    let on = r.stat(referee::ON_ENGINE);
    let (who, phase) = (on as u32, (on >> 32) as u32);
    let w = who as usize;
    match phase {
        referee::phase::EMPTY => r.issue(cmd::INIT, slot, 0),
        referee::phase::LOADED | referee::phase::INITED => r.issue(cmd::RUN, w, 0),
        referee::phase::RUNNING => r.issue(cmd::IDLE, w, 0),
        referee::phase::IDLED => r.issue(cmd::SAVE, w, 0),
        _ => r.gpu.flr(&mut r.host, w),
    }
}

fn setup_ring(r: &mut Rig, slot: usize) {
    r.ih(slot);
    r.ring(slot);
    let space = Space {
        fb_base: 0,
        fb_last: 16 * MB - 1,
        table: Some(Table {
            base: 0x40_0000,
            first_page: 0x100_0000,
            last_page: 0x100_000F,
        }),
    };
    let vm = &r.regs().vm;
    vm.write(&space, |reg, v| r.set(slot, reg, v));
    for page in 0..12u64 {
        let pte = gart::system_page(page * 0x1000 + 0x8_0000);
        r.fb(slot, 0x40_0000 + page * 8, 8)
            .copy_from_slice(&pte.to_le_bytes());
    }
}

fn act(r: &mut Rig, a: &Act) {
    match *a {
        Act::Read(s, reg) => {
            r.get(s, reg);
        }
        Act::Write(s, reg, v) => r.set(s, reg, v),
        Act::Doorbell(s, i, v) => r.gpu.doorbell(&mut r.host, s, i, v),
        Act::CfgRead(o, n) => {
            r.gpu.cfg_read(&mut r.host, o, n);
        }
        Act::CfgWrite(o, n, v) => r.gpu.cfg_write(&mut r.host, o, n, v),
        Act::Command(c, a, b) => r.issue(c, a, b),
        Act::Step(s) => step(r, s),
        Act::Ring(s) => setup_ring(r, s),
        Act::Jobs(s, ref j) => submit(r, s, j),
        Act::Garbage(s, ref d) => {
            for (i, v) in d.iter().enumerate() {
                r.fb(s, RING + 4 * i as u64, 4)
                    .copy_from_slice(&v.to_le_bytes());
            }
            r.set(s, r.regs().sdma.rb_rptr, 0);
            r.set(s, r.regs().sdma.rb_wptr, d.len() as u32 * 4);
        }
        Act::SpoilImage(s, at, x) => {
            r.host.vram[(CONTEXT as usize) + s * (256 << 10) + at] ^= x;
        }
        Act::Flr(s) => r.gpu.flr(&mut r.host, s),
        Act::Enable(n) => r.gpu.set_enabled(&mut r.host, n),
        Act::Fault(f) => {
            r.gpu.arm_fault(&mut r.host, f);
        }
        Act::Pass(ns) => r.pass(ns),
        Act::Referee(o, v) => {
            // Not the reset of statistics: the accounts are checked.
            r.gpu.referee_read(&mut r.host, o, 8);
            r.gpu.referee_read(&mut r.host, o, 4);
            r.gpu.referee_write(&mut r.host, o.max(0x84), v);
        }
        Act::Json => {
            r.gpu.referee_json(&mut r.host);
        }
    }
}

/// Somebody runs or nobody does, at any time exactly one of the two.
fn check_accounts(r: &mut Rig) {
    let ran: u64 = (0..5).map(|s| r.fstat(s, func::RUN_NS)).sum();
    assert_eq!(ran + r.stat(referee::NOBODY_NS), r.host.now);
    for s in 0..5 {
        assert!(r.fstat(s, func::BUSY_NS) <= r.fstat(s, func::RUN_NS));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_makes_it_panic(chip in chip(), acts in vec(anybody(), 1..300)) {
        let mut r = rig_of(chip);
        for a in &acts {
            act(&mut r, a);
            check_accounts(&mut r);
        }
    }

    /// VF0 to VF2 do what they like under a correct driver; VF3 and the PF keep every byte.
    #[test]
    fn guests_stay_in_their_own(chip in chip(), acts in vec(guest(1..4), 1..200), order in vec(1..4usize, 60)) {
        let mut r = rig_of(chip);
        r.host.vram[..16 << 20].fill(0xC3);
        r.fb(4, 0, 16 << 20).fill(0x3C);
        let mut order = order.iter().cycle();
        for (i, a) in acts.iter().enumerate() {
            act(&mut r, a);
            if i % 2 == 0 {
                if !r.executing() {
                    step(&mut r, *order.next().unwrap());
                }
                // A guest may hang its engine; the driver resets it then.
                r.pass(250_000);
                if r.executing() {
                    let who = r.stat(referee::ON_ENGINE) as usize;
                    r.gpu.flr(&mut r.host, who);
                }
                // Whoever runs has work.
                let who = r.stat(referee::ON_ENGINE) as u32 as usize;
                if (1..4).contains(&who) && r.get(who, r.regs().sdma.rb_cntl) == 0 {
                    setup_ring(&mut r, who);
                }
            }
            check_accounts(&mut r);
        }
        prop_assert!(r.host.vram[..16 << 20].iter().all(|&b| b == 0xC3));
        prop_assert!(r.fb(4, 0, 16 << 20).iter().all(|&b| b == 0x3C));
        prop_assert_eq!(r.violations(), 0);
        prop_assert_eq!(r.fstat(4, func::RUNS), 0);
    }
}

#[test]
fn extremes_of_sizes() {
    for (cntl, chip) in (0..=0x3Fu32).flat_map(|c| CHIPS.map(|chip| (c, chip))) {
        for reg in [chip.regs.sdma.rb_cntl, chip.regs.ih.cntl] {
            let mut r = rig_of(chip.name);
            r.start(1);
            r.ih(1);
            r.ring(1);
            r.set(1, reg, cntl | sdma::RB_ENABLE);
            r.submit(
                1,
                &[Packet::Trap { context: 1 }, Packet::Nop { extra: 0x3FFF }],
            );
            r.set(1, r.regs().sdma.rb_wptr, u32::MAX);
            r.pass(10_000_000);
        }
    }
    let mut r = rig();
    r.cfg(r.vsec().context, u32::MAX);
    r.cfg(r.vsec().context, !0x80);
    for i in 0..20 {
        r.cfg(r.vsec().vf_fb + 4 * i, u32::MAX);
    }
    r.issue(cmd::INIT, 1, 0);
    r.pass(1_000_000);
}
