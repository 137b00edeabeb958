// SPDX-License-Identifier: GPL-2.0
//! The referee's accounts, to the nanosecond.

mod rig;

use gpu_regs::referee::{self as map, func};
use gpu_regs::sdma::Packet;
use gpu_regs::vsec::cmd;
use rig::*;

#[test]
fn run_time_gaps_and_waits() {
    let mut r = rig();
    // Runs end when IDLE is written and begin when RUN ends.
    r.issue(cmd::INIT, 1, 0);
    r.pass(200_000);
    r.issue(cmd::RUN, 1, 0);
    r.pass(20_000);
    let begin = r.host.now;
    r.pass(6_000_000);
    assert_eq!(
        r.fstat(1, func::RUN_NS),
        6_000_000,
        "an unfinished run counts"
    );
    r.issue(cmd::IDLE, 1, 0);
    let end = r.host.now;
    r.pass(50_000);
    r.issue(cmd::SAVE, 1, 0);
    r.pass(2_100_000);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 1,
        }],
    );
    r.pass(900_000);
    r.issue(cmd::LOAD, 1, 0);
    r.pass(100_000);
    r.issue(cmd::RUN, 1, 0);
    r.pass(20_000);
    let again = r.host.now;
    r.pass(1_000_000);
    r.issue(cmd::IDLE, 1, 0);
    r.pass(50_000);
    assert_eq!(r.fstat(1, func::RUN_NS), 7_000_000);
    assert_eq!(r.fstat(1, func::RUNS), 2);
    assert_eq!(r.fstat(1, func::MAX_RUN_NS), 6_000_000);
    assert_eq!(r.fstat(1, func::MAX_GAP_NS), again - end);
    assert_eq!(r.fstat(1, func::WAITS), 1);
    assert_eq!(r.fstat(1, func::WAIT_NS), 1_020_000);
    assert_eq!(r.fstat(1, func::LAST_RUN_START), again);
    assert_eq!(r.fstat(1, func::LAST_RUN_END), again + 1_000_000);
    assert_eq!(r.stat(map::NOBODY_NS), r.host.now - 7_000_000);
    assert!(begin < end);
    // INIT begins anew: what lies between is no gap.
    r.pass(50_000_000);
    r.start(1);
    assert_eq!(r.fstat(1, func::MAX_GAP_NS), again - end);
}

#[test]
fn statistics_start_again_in_the_middle_of_a_run() {
    let mut r = rig();
    r.start(1);
    r.pass(1_000_000);
    r.stop(1);
    r.start(2);
    r.pass(1_000_000);
    r.gpu.referee_write(&mut r.host, map::RESET_STATS, 1);
    let t = r.host.now;
    assert_eq!(r.stat(map::STATS_SINCE_NS), t);
    r.pass(300_000);
    assert_eq!(
        (r.fstat(1, func::RUN_NS), r.fstat(2, func::RUN_NS)),
        (0, 300_000)
    );
    r.stop(2);
    r.resume(1);
    let gap = r.host.now - t;
    let seen = r.fstat(1, func::MAX_GAP_NS);
    assert!(
        seen <= gap && seen > gap - 20_000,
        "from the reset on: {seen} of {gap}"
    );
    assert_eq!(r.stat(map::COMMANDS), 4);
    assert_eq!(r.violations(), 0);
}

#[test]
fn the_map_of_the_debug_device() {
    let mut r = rig();
    let r32 = |r: &mut Rig, off| r.gpu.referee_read(&mut r.host, off, 4) as u32;
    assert_eq!(r32(&mut r, map::MAGIC), map::MAGIC_VALUE);
    assert_eq!(r32(&mut r, map::VERSION), map::VERSION_VALUE);
    assert_eq!(r32(&mut r, map::FUNCTIONS), 5);
    assert_eq!(r32(&mut r, map::FEATURES), 1);
    r.host.now = (3 << 32) - 1;
    // Two halves read one after the other belong together.
    assert_eq!(r32(&mut r, map::NOW_NS), u32::MAX);
    r.host.now += 1;
    assert_eq!(r32(&mut r, map::NOW_NS + 4), 2);
    assert_eq!(r32(&mut r, map::NOW_NS + 4), 3, "held once");
    // Every offset may be read.
    for off in (0..map::BAR_BYTES as u32).step_by(4) {
        r32(&mut r, off);
        r.stat(off & !7);
    }
}

#[test]
fn the_same_as_json() {
    let mut r = rig();
    r.start(1);
    r.pass(1_000_000);
    let json = r.gpu.referee_json(&mut r.host);
    let v: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(v["functions"].as_array().unwrap().len(), 5);
    let run = r.fstat(1, func::RUN_NS);
    assert_eq!(v["functions"][1]["run_ns"].as_u64(), Some(run));
    assert_eq!(v["functions"][1]["runs"], 1);
    assert_eq!(v["violations"], 0);
    assert_eq!(v["on_engine"], 1);
}
