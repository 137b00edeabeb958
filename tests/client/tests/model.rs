// SPDX-License-Identifier: GPL-2.0
//! The client against the model of the GPU, in virtual time.

mod sim;

use gpu_regs::referee::{self, fault};
use sim::{machine, machines, Machine, SimVf};
use vf_client::job::Workload;
use vf_client::layout::WORK;
use vf_client::pulse::Pulse;
use vf_client::runner::{Plan, Runner};
use vf_client::scrub;
use vf_client::vf::Vf;
use vf_client::Error;

const MIB: u64 = 1 << 20;
const ALL: u64 = 1 << 40;

fn runner(m: &Machine, n: usize, window: u64, plan: Plan) -> Runner<SimVf> {
    Runner::new(SimVf::new(m, n, window), plan).unwrap()
}

/// Steps all runners until `m` shows `ms` more milliseconds.
fn run_for(m: &Machine, runners: &mut [Runner<SimVf>], ms: u64) {
    let end = m.borrow().world.now + ms * 1_000_000;
    while m.borrow().world.now < end {
        for r in runners.iter_mut() {
            r.step(true).unwrap();
        }
    }
}

#[test]
fn four_tenants_with_different_work() {
    for m in machines(4, 32) {
        let kinds = [Workload::Fill, Workload::Copy, Workload::Dma, Workload::Mix];
        let mut runners: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(n, &workload)| {
                let plan = Plan {
                    workload,
                    seed: n as u64,
                    repeat: 3,
                    ..Plan::default()
                };
                runner(&m, n, ALL, plan)
            })
            .collect();
        for r in &mut runners {
            r.start().unwrap();
        }
        run_for(&m, &mut runners, 200);
        for r in &mut runners {
            r.finish().unwrap();
            let s = &r.vf.stats;
            assert!(s.jobs > 50, "{s:?}");
            assert!(s.bytes_verified > 100_000 && s.bytes_guarded > 0, "{s:?}");
            assert!(s.traps >= s.jobs && s.interrupts > 0, "{s:?}");
            assert_eq!((s.recoveries, s.late_interrupts), (0, 0), "{s:?}");
        }
        assert_eq!(m.borrow_mut().faults(), 0);
    }
}

#[test]
fn every_workload_near_and_behind_the_end_of_bar0() {
    let kinds = [
        Workload::Fill,
        Workload::Copy,
        Workload::Dma,
        Workload::Write,
        Workload::Indirect,
        Workload::Mix,
    ];
    for workload in kinds {
        for window in [ALL, 8 * MIB] {
            for m in machines(1, 64) {
                let mut r = runner(
                    &m,
                    0,
                    window,
                    Plan {
                        workload,
                        repeat: 2,
                        ..Plan::default()
                    },
                );
                r.start().unwrap();
                run_for(&m, std::slice::from_mut(&mut r), 20);
                r.finish().unwrap();
                assert!(r.vf.stats.jobs > 20, "{workload:?} {:?}", r.vf.stats);
                assert_eq!(m.borrow_mut().faults(), 0, "{workload:?}");
            }
        }
    }
}

#[test]
fn same_seed_same_bytes() {
    let run = |seed| {
        let m = machine(1, 16);
        let mut r = runner(
            &m,
            0,
            ALL,
            Plan {
                seed,
                ..Plan::default()
            },
        );
        r.start().unwrap();
        run_for(&m, std::slice::from_mut(&mut r), 10);
        r.finish().unwrap();
        (r.vf.stats.jobs, r.vf.stats.bytes_verified)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn a_byte_changed_by_someone_else_is_found() {
    // At the start of the first slot lies its guard zone, at the end of BAR0's view nothing is.
    for window in [ALL, 2 * MIB + 512 * 1024] {
        let m = machine(1, 16);
        let mut r = runner(&m, 0, window, Plan::default());
        r.start().unwrap();
        let mut byte = [0];
        SimVf::new(&m, 0, ALL).vram_read_at(WORK + 3, &mut byte);
        SimVf::new(&m, 0, ALL).poke(WORK + 3, !byte[0]);
        let error = (0..1000)
            .find_map(|_| r.step(true).err())
            .expect("nothing was found");
        let Error::WrongBytes(wrong) = error else {
            panic!("{error}")
        };
        assert_eq!(
            (wrong.place, wrong.offset, wrong.count),
            ("VRAM", WORK + 3, 1)
        );
        assert_eq!((wrong.found, wrong.expected), (!byte[0], byte[0]));
        assert!(wrong.context.contains("not to touch"), "{wrong}");
    }
}

#[test]
fn a_byte_lost_in_own_memory_is_found() {
    for m in machines(1, 16) {
        let mut r = runner(
            &m,
            0,
            ALL,
            Plan {
                workload: Workload::Dma,
                ..Plan::default()
            },
        );
        r.start().unwrap();
        let own = vf_client::layout::DMA_WORK + 5;
        let dma = r.vf.dma;
        let mut byte = [0];
        use vf_client::transport::Transport;
        r.vf.t.dma_read(&dma, own, &mut byte).unwrap();
        r.vf.t.dma_write(&dma, own, &[byte[0] ^ 1]).unwrap();
        let error = (0..1000)
            .find_map(|_| r.step(true).err())
            .expect("nothing was found");
        let Error::WrongBytes(wrong) = error else {
            panic!("{error}")
        };
        assert_eq!((wrong.place, wrong.offset), ("own memory", own as u64));
    }
}

#[test]
fn a_hang_is_survived_and_neighbours_go_on() {
    for m in machines(2, 32) {
        let mut runners = [0, 1].map(|n| runner(&m, n, ALL, Plan::default()));
        for r in &mut runners {
            r.start().unwrap();
        }
        run_for(&m, &mut runners, 20);
        let before = runners[0].vf.stats.jobs;
        runners[0].submit_hang().unwrap();
        run_for(&m, &mut runners, 200);
        let [victim, neighbour] = &mut runners;
        assert_eq!(m.borrow().resets, 1);
        assert_eq!((victim.vf.stats.recoveries, victim.vf.stats.hangs), (1, 1));
        assert!(victim.vf.stats.jobs > before + 10, "{:?}", victim.vf.stats);
        assert_eq!(neighbour.vf.stats.recoveries, 0);
        victim.finish().unwrap();
        neighbour.finish().unwrap();
        assert_eq!(m.borrow_mut().faults(), 0);
    }
}

#[test]
fn a_hang_that_the_host_does_not_see_is_reported_by_the_guest() {
    // A lone VF is never switched, so nobody notices: the guest asks for its reset.
    for m in machines(1, 16) {
        let mut r = runner(&m, 0, ALL, Plan::default());
        r.start().unwrap();
        run_for(&m, std::slice::from_mut(&mut r), 5);
        r.submit_hang().unwrap();
        run_for(&m, std::slice::from_mut(&mut r), 3000);
        assert_eq!(r.vf.stats.recoveries, 1);
        r.finish().unwrap();
    }
}

#[test]
fn lost_interrupts_cost_time_only() {
    for m in machines(1, 16) {
        let mut r = runner(&m, 0, ALL, Plan::default());
        r.start().unwrap();
        m.borrow_mut().arm(fault::LOST_INTERRUPT, 1, referee::ANY);
        run_for(&m, std::slice::from_mut(&mut r), 200);
        let s = r.vf.stats.clone();
        assert!(s.jobs > 20 && s.late_interrupts > 0, "{s:?}");
        r.finish().unwrap();
    }
}

#[test]
fn a_silent_host_is_named() {
    for m in machines(1, 16) {
        m.borrow_mut().alive = false;
        let limit = m.borrow().gpu.chip().guest.ack_ms;
        let error = runner(&m, 0, ALL, Plan::default()).start().unwrap_err();
        let Error::Timeout { what, waited, seen } = &error else {
            panic!("{error}")
        };
        // The first message of a guest of the chip.
        let first = if m.borrow().gpu.chip().guest.exchange {
            6
        } else {
            1
        };
        let text = format!("acknowledge message {first}");
        assert!(what.contains(&text), "{what}");
        assert!(
            waited.as_millis() >= u128::from(limit) && seen.contains("control"),
            "{error}"
        );
    }
}

#[test]
fn dirty_framebuffer_is_found_wherever_it_is() {
    for (at, dirty) in [
        (None, 0),
        (Some(5), 1),
        (Some(2 * MIB), 1),
        (Some(63 * MIB + 77), 1),
    ] {
        let m = machine(2, 64);
        let vf = SimVf::new(&m, 1, 8 * MIB);
        if let Some(at) = at {
            vf.poke(at, 0xA5);
        }
        let mut vf = Vf::attach(vf, scrub::DMA_BYTES).unwrap();
        let report = scrub::check(&mut vf).unwrap();
        assert_eq!(
            (report.bytes, report.dirty, report.first),
            (64 * MIB, dirty, at)
        );
        vf.stop().unwrap();
    }
}

#[test]
fn a_reset_is_told_from_corruption() {
    let m = machine(1, 16);
    let mut r = runner(&m, 0, ALL, Plan::default());
    r.start().unwrap();
    run_for(&m, std::slice::from_mut(&mut r), 5);
    assert!(!r.vf.was_reset());
    m.borrow_mut().reset(1);
    assert!(r.vf.was_reset());
    run_for(&m, std::slice::from_mut(&mut r), 20);
    assert_eq!(r.vf.stats.recoveries, 1);
    assert!(!r.vf.was_reset());
}

#[test]
fn interrupts_that_do_not_come_are_counted() {
    for m in machines(2, 32) {
        let patience = std::time::Duration::from_millis(50);
        let mut client = Pulse::new(SimVf::new(&m, 0, ALL), patience).unwrap();
        client.start().unwrap();
        for lost in [0, 3] {
            m.borrow_mut().arm(fault::LOST_INTERRUPT, 1, lost);
            for _ in 0..20 {
                client.step().unwrap();
            }
            let s = &client.vf.stats;
            assert_eq!(s.late_interrupts, u64::from(lost), "{s:?}");
        }
        let s = &client.vf.stats;
        assert_eq!((s.jobs, s.traps >= 40), (40, true), "{s:?}");
        client.vf.stop().unwrap();
        assert_eq!(m.borrow_mut().faults(), 0);
    }
}
