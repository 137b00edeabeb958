// SPDX-License-Identifier: GPL-2.0

//! A longer simulation: GIM_SEED and GIM_EVENTS (default 20 million) as in the test.

use std::process::ExitCode;

use gim_core_sim::campaign;

fn main() -> ExitCode {
    let (seed, events) = (campaign::seed(), campaign::events(20_000_000));
    println!("GIM_SEED={seed} GIM_EVENTS={events}");
    match campaign::run(seed, events) {
        Ok(sum) => {
            println!("{sum:?}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
