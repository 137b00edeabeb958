// SPDX-License-Identifier: GPL-2.0
//! A chain job on the model of the GPU, in virtual time: where it stays, and where it moves.

mod sim;

use gpu_regs::referee::{self, func};
use sim::{machine, machines, Machine, SimVf};
use vf_client::chain::{Chain, Outcome, Plan};
use vf_client::checkpoint::Checkpoint;
use vf_client::runner::{self, Runner};
use vf_client::transport::Transport;
use vf_client::Error;

const MIB: u64 = 1 << 20;
const ALL: u64 = 1 << 40;
const VF_MIB: u32 = 32;

fn plan() -> Plan {
    Plan {
        steps: 900,
        bytes: 32 << 10,
        spread: 8 * MIB,
        prefill: true,
        ..Plan::default()
    }
}

fn chain(m: &Machine, n: usize, window: u64, plan: Plan) -> Chain<SimVf> {
    let mut c = Chain::new(SimVf::new(m, n, window), plan).unwrap();
    c.start().unwrap();
    c
}

fn stays(chip: usize, plan: Plan) -> Outcome {
    let m = machines(2, VF_MIB).nth(chip).unwrap();
    chain(&m, 0, ALL, plan).finish().unwrap()
}

fn counter(m: &Machine, n: u32, which: u32) -> u64 {
    m.borrow_mut()
        .referee(referee::FN + (n + 1) * referee::FN_STRIDE + which)
}

#[test]
fn it_comes_to_its_end_near_and_behind_the_end_of_bar0() {
    let mut ends = Vec::new();
    for window in [ALL, 5 * MIB] {
        for (i, m) in machines(1, VF_MIB).enumerate() {
            let mut c = chain(&m, 0, window, plan());
            let o = c.finish().unwrap();
            assert_eq!((o.steps, o.verified), (900, 8 * MIB));
            assert_eq!(c.vf.stats.jobs, 225);
            assert_eq!(c.vf.stats.late_interrupts, 0, "{:?}", c.vf.stats);
            assert_eq!(m.borrow_mut().faults(), 0);
            assert_eq!(stays(i, plan()), o);
            ends.push(o.digest);
        }
    }
    ends.dedup();
    assert_eq!(ends.len(), 1, "neither window nor chip has to do with it");
}

#[test]
fn short_chains_and_odd_ones() {
    for (steps, bytes, per_job, depth) in [
        (1, 4096, 1, 1),
        (1, 1 << 20, 64, 16),
        (7, 4096, 64, 16),
        (130, 8192, 64, 2),
        (300, 4096, 1, 16),
    ] {
        let plan = Plan {
            steps,
            bytes,
            per_job,
            depth,
            spread: 0,
            prefill: true,
            ..plan()
        };
        let m = machine(1, VF_MIB);
        let o = chain(&m, 0, ALL, plan).finish().unwrap();
        assert_eq!(o.verified, 28 * MIB, "all of the framebuffer is looked at");
        assert_eq!(m.borrow_mut().faults(), 0);
    }
}

#[test]
fn it_keeps_its_rate() {
    let m = machine(1, VF_MIB);
    let plan = Plan {
        rate: 32 * MIB,
        prefill: false,
        ..plan()
    };
    let mut c = chain(&m, 0, ALL, plan);
    let start = m.borrow().world.now;
    while !c.is_done() {
        c.step().unwrap();
    }
    let took = m.borrow().world.now - start;
    let due = 900 * (32 << 10) * 1_000_000_000 / (32 * MIB);
    assert!(
        took > due - due / 50 && took < due + due / 50,
        "{took} {due}"
    );
    c.finish().unwrap();
}

/// Moves a frozen client with its VF from one machine to another; its file too.
fn carry(c: &mut Chain<SimVf>, a: &Machine, from: usize, b: &Machine, to: usize) -> Chain<SimVf> {
    a.borrow_mut().pause(from);
    let file = c.save().unwrap().encode().unwrap();
    let (image, framebuffer) = a.borrow().take(from);
    let saved = Checkpoint::decode(&file).unwrap();
    let moved = Chain::resume(SimVf::new(b, to, ALL), &saved).unwrap();
    // The new host has to do with others before it gets to this one.
    b.borrow_mut().advance(3_000_000);
    b.borrow_mut().put(to, &image, &framebuffer);
    moved
}

/// The client is frozen at odd moments, its GPU goes on for a while, then both move.
#[test]
fn it_goes_on_elsewhere_at_any_time() {
    for chip in 0..2 {
        let expected = stays(chip, plan());
        for (steps, on) in [
            (0, 0),
            (1, 10_000),
            (3, 0),
            (17, 77_777),
            (40, 123_456),
            (41, 1),
            (60, 5_000_000),
        ] {
            let a = machines(2, VF_MIB).nth(chip).unwrap();
            let b = machines(4, VF_MIB).nth(chip).unwrap();
            // Neighbours on both.
            let mut others: Vec<_> = [(&a, 1), (&b, 0), (&b, 2)]
                .map(|(m, n)| Runner::new(SimVf::new(m, n, ALL), runner::Plan::default()).unwrap())
                .into();
            for o in &mut others {
                o.start().unwrap();
            }
            let mut c = chain(&a, 0, ALL, plan());
            for _ in 0..steps {
                c.step().unwrap();
                others[0].step(true).unwrap();
            }
            a.borrow_mut().advance(on);
            let mut moved = carry(&mut c, &a, 0, &b, 1);
            assert!(moved.steps_done() == c.steps_done() && !moved.is_done());
            moved.go_on();
            for _ in 0..20 {
                moved.step().unwrap();
                others[1].step(true).unwrap();
                others[2].step(true).unwrap();
            }
            assert_eq!(
                moved.finish().unwrap(),
                expected,
                "frozen after {steps}, {on} ns"
            );
            let s = &moved.vf.stats;
            assert_eq!(
                (s.late_interrupts, s.recoveries, s.jobs),
                (0, 0, 225),
                "{s:?}"
            );
            for o in &mut others {
                o.finish().unwrap();
            }
            assert_eq!(a.borrow_mut().faults() + b.borrow_mut().faults(), 0);
        }
    }
}

#[test]
fn interrupts_that_nobody_took_come_again() {
    for chip in 0..2 {
        let a = machines(1, VF_MIB).nth(chip).unwrap();
        let b = machines(2, VF_MIB).nth(chip).unwrap();
        let mut c = chain(&a, 0, ALL, plan());
        while c.steps_done() < 100 {
            c.step().unwrap();
        }
        // All in flight ends, and its interrupts are lost with the old machine.
        a.borrow_mut().advance(50_000_000);
        let mut moved = carry(&mut c, &a, 0, &b, 1);
        assert_eq!(counter(&b, 1, func::INTERRUPTS), 0);
        let woken = moved
            .vf
            .t
            .wait_interrupt(std::time::Duration::from_millis(50));
        assert!(woken.unwrap());
        assert_eq!(counter(&b, 1, func::INTERRUPTS), 1);
        moved.go_on();
        moved.finish().unwrap();
        assert_eq!(moved.vf.stats.late_interrupts, 1, "the one taken here");
    }
}

#[test]
fn many_moves() {
    let m = [machine(1, VF_MIB), machine(2, VF_MIB)];
    let mut c = chain(&m[0], 0, ALL, plan());
    let mut at = 0;
    let mut moves = 0;
    while !c.is_done() {
        for _ in 0..3 + moves % 7 {
            c.step().unwrap();
        }
        let next = 1 - at;
        m[next].borrow_mut().forget_memory(next);
        let mut moved = carry(&mut c, &m[at], at, &m[next], next);
        moved.go_on();
        (c, at, moves) = (moved, next, moves + 1);
    }
    assert!(moves > 10, "{moves}");
    assert_eq!(c.finish().unwrap(), stays(0, plan()));
    assert_eq!(m[0].borrow_mut().faults() + m[1].borrow_mut().faults(), 0);
}

#[test]
fn a_byte_that_did_not_come_along_is_found() {
    // Places that are read next, one that no step comes to, results in own memory, none.
    for case in 0..4 {
        let (a, b) = (machine(1, VF_MIB), machine(2, VF_MIB));
        let plan = Plan {
            steps: 200,
            ..plan()
        };
        let mut c = chain(&a, 0, ALL, plan);
        while c.steps_done() < 100 {
            c.step().unwrap();
        }
        // What is in flight ends; its results lie in own memory.
        a.borrow_mut().advance(50_000_000);
        a.borrow_mut().pause(0);
        let mut saved = c.save().unwrap();
        let (image, mut framebuffer) = a.borrow().take(0);
        let results = (20 << 10) + 4096;
        match case {
            0 => framebuffer[7 << 20..8 << 20]
                .iter_mut()
                .for_each(|b| *b ^= 1),
            1 => framebuffer[(12 << 20) - 1] ^= 1,
            2 => saved.memory[results..][..4 * (32 << 10)]
                .iter_mut()
                .for_each(|b| *b ^= 1),
            _ => {}
        }
        let mut moved = Chain::resume(SimVf::new(&b, 1, ALL), &saved).unwrap();
        b.borrow_mut().put(1, &image, &framebuffer);
        moved.go_on();
        let end = moved.finish();
        match case {
            3 => assert!(end.is_ok(), "{end:?}"),
            _ => assert!(matches!(end, Err(Error::WrongBytes(_))), "{case}: {end:?}"),
        }
    }
}

#[test]
fn a_frozen_client_can_stay() {
    let m = machine(2, VF_MIB);
    let mut c = chain(&m, 0, ALL, plan());
    for _ in 0..20 {
        c.step().unwrap();
    }
    m.borrow_mut().pause(0);
    c.save().unwrap();
    m.borrow_mut().advance(5_000_000_000);
    m.borrow_mut().unpause(0);
    c.go_on();
    assert_eq!(c.finish().unwrap(), stays(0, plan()));
}

#[test]
fn damaged_files_are_refused() {
    let m = machine(1, VF_MIB);
    let mut c = chain(&m, 0, ALL, plan());
    c.step().unwrap();
    let file = c.save().unwrap().encode().unwrap();
    let whole = Checkpoint::decode(&file).unwrap();
    assert_eq!(whole, c.save().unwrap());
    for at in [
        0,
        7,
        8,
        15,
        16,
        300,
        2000,
        1 << 20,
        file.len() - 9,
        file.len() - 1,
    ] {
        let mut bad = file.clone();
        bad[at] ^= 4;
        assert!(Checkpoint::decode(&bad).is_err(), "byte {at}");
        assert!(Checkpoint::decode(&file[..at]).is_err(), "cut at {at}");
    }
    let mut wrong = whole.clone();
    wrong.chip = "vega10".into();
    assert!(Chain::resume(SimVf::new(&m, 0, ALL), &wrong).is_err());
    let mut wrong = whole;
    wrong.memory.pop();
    assert!(Chain::resume(SimVf::new(&m, 0, ALL), &wrong).is_err());
}
