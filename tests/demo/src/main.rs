// SPDX-License-Identifier: GPL-2.0
//! `gim-demo`: one GPU, several tenants; who got how much, and was every byte right?
//!
//! Runs where `gim` is loaded.  Each tenant is a process of its own (`vf-client`) on a VF of its
//! own.  Act 1 measures shares while all work; in act 2 one tenant hangs its VF, which must cost
//! the others little and come back.

mod board;
mod host;
mod play;
mod tenant;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "gim-demo",
    version,
    about = "One GPU, several tenants: shares and verified bytes"
)]
struct Options {
    /// Number of tenants: 1, 2, 4, 8 or 16
    #[arg(long, default_value_t = 4, value_parser = count)]
    vfs: u32,
    /// Length of the measured window in seconds; made longer if it holds too few slices
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Leave out act 2
    #[arg(long)]
    no_hang: bool,
    /// Print nothing but the outcome, as JSON
    #[arg(long)]
    json: bool,
    /// Print one table below the other even on a terminal, such as a VM's serial line
    #[arg(long)]
    plain: bool,
    /// GPU to use, if there are several: PCI address or number
    #[arg(long)]
    gpu: Option<String>,
    /// Longest gap that a hang may cost the others, in milliseconds
    #[arg(long, default_value_t = 500)]
    gap_limit_ms: u64,
    /// How often each job's chain of operations runs: more work for the GPU per byte verified
    #[arg(long, default_value_t = 8)]
    repeat: u32,
    /// Where data and jobs come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The client's program [default: vf-client beside this program or in PATH]
    #[arg(long)]
    client: Option<PathBuf>,
}

fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if gimctl::sysfs::VF_COUNTS.contains(&n) => Ok(n),
        _ => Err("allowed are 1, 2, 4, 8 and 16".to_owned()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match play::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gim-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
