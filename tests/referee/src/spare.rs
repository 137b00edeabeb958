// SPDX-License-Identifier: GPL-2.0
//! What CPU time the host takes for itself: what a program that takes all it can have does not get.
//!
//! In deterministic time, on the one CPU of the VM, two such measures differ by what the driver has
//! done in between, to the instruction.

use std::hint::black_box;
use std::time::{Duration, Instant};

use vf_client::referee::Referee;
use vf_client::Result;

/// A piece of work between two looks at the clock.
const LOOPS: u32 = 1000;

/// Works for `time`; prints how many pieces of work were done, and the commands that the GPU has
/// done meanwhile.
pub(crate) fn run(referee: &Referee, time: Duration) -> Result<()> {
    let before = referee.snapshot()?.commands;
    let start = Instant::now();
    let mut pieces = 0u64;
    let mut took = Duration::ZERO;
    while took < time {
        for n in 0..LOOPS {
            black_box(n);
        }
        pieces += 1;
        took = start.elapsed();
    }
    let commands = referee.snapshot()?.commands - before;
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    println!(
        "{}",
        serde_json::json!({ "pieces": pieces, "ns": ns, "commands": commands })
    );
    Ok(())
}
