// SPDX-License-Identifier: GPL-2.0
//! `referee`: the emulated GPU's debug device on the command line, for tests in the host VM.
//!
//! `get` prints one number, so that a shell script can compare it; `fault` makes the GPU misbehave.

mod legacy;
mod spare;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use gpu_regs::referee as map;
use vf_client::referee::{Fault, Referee};
use vf_client::{Error, Result};

#[derive(Parser)]
#[command(name = "referee", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print all counters as JSON
    Show,
    /// Print one counter of the GPU, or of a function with --vf or --pf
    Get {
        /// Name of the counter, as in `show`
        key: String,
        #[command(flatten)]
        of: Of,
    },
    /// Print what the last switches cost, as JSON: medians in ns
    Switches,
    /// Print a VF's first run's start, last run's start and end in a time that all GPUs of a
    /// machine share, as JSON in ns
    When {
        /// VF, from 0
        #[arg(long)]
        vf: u32,
    },
    /// Print which pages of a VF's window were written: ranges of 4 KiB pages, one a line
    Truth {
        /// VF, from 0
        #[arg(long)]
        vf: u32,
        /// Look at the first so many MiB of the window
        #[arg(long, default_value_t = 1024)]
        mib: u64,
        /// Clear what was printed
        #[arg(long)]
        take: bool,
        /// Clear all and print nothing
        #[arg(long, conflicts_with = "take")]
        clear: bool,
        /// Write it as a bitmap, little endian, instead
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Set all counters to 0
    Reset,
    /// Arm a fault
    Fault {
        kind: Kind,
        #[command(flatten)]
        of: Of,
        /// GPU-IOV command code it is for; 0: any
        #[arg(long, default_value_t = 0)]
        command: u32,
        /// Argument: microseconds for `late`
        #[arg(long, default_value_t = 0)]
        arg: u32,
        /// How often it strikes; without it, always
        #[arg(long)]
        count: Option<u32>,
    },
    /// Forget all faults
    Clear,
    /// Switch between two VFs the legacy way, while gim's scheduler is paused
    Legacy {
        /// PCI address of the PF
        pci: String,
        /// The two VFs, from 0
        #[arg(long, num_args = 2, default_values_t = [0, 1])]
        vfs: Vec<u8>,
        /// How many switches
        #[arg(long, default_value_t = 200)]
        count: u32,
    },
    /// Let one VF run undisturbed, while gim's scheduler is paused
    Hold {
        /// PCI address of the PF
        pci: String,
        /// VF, from 0
        #[arg(long, default_value_t = 0)]
        vf: u8,
        /// How long
        #[arg(long, default_value_t = 12)]
        seconds: u64,
    },
    /// Print how much CPU time is left to a program that takes all it can have, as JSON
    Spare {
        /// How long
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
}

#[derive(clap::Args, Clone, Copy)]
struct Of {
    /// VF, from 0
    #[arg(long)]
    vf: Option<u32>,
    /// The PF
    #[arg(long, conflicts_with = "vf")]
    pf: bool,
}

impl Of {
    fn slot(self) -> Option<u32> {
        self.vf.map(|n| n + 1).or(self.pf.then_some(0))
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    NeverCompletes,
    Late,
    GfxHang,
    SdmaHang,
    LostInterrupt,
    CorruptContext,
    NeverIdles,
    PfDead,
}

impl Kind {
    fn code(self) -> u32 {
        use map::fault as f;
        match self {
            Self::NeverCompletes => f::NEVER_COMPLETES,
            Self::Late => f::LATE,
            Self::GfxHang => f::GFX_HANG,
            Self::SdmaHang => f::SDMA_HANG,
            Self::LostInterrupt => f::LOST_INTERRUPT,
            Self::CorruptContext => f::CORRUPT_CONTEXT,
            Self::NeverIdles => f::NEVER_IDLES,
            Self::PfDead => f::PF_DEAD,
        }
    }
}

fn json_error(e: serde_json::Error) -> Error {
    Error::transport("JSON", e)
}

fn get(referee: &Referee, key: &str, of: Of) -> Result<serde_json::Value> {
    let all = match of.slot() {
        Some(slot) => serde_json::to_value(referee.function(slot)?),
        None => serde_json::to_value(referee.snapshot()?),
    }
    .map_err(json_error)?;
    all.get(key).cloned().ok_or_else(|| {
        let names: Vec<_> = all.as_object().into_iter().flat_map(|o| o.keys()).collect();
        Error::Unsupported(format!("there is no counter {key}; there are: {names:?}"))
    })
}

/// A switch is IDLE, SAVE, LOAD, RUN: what the GPU itself takes for them, and the dead time that
/// the driver adds between one command's end and the next one's start.
fn switches(referee: &Referee) -> Result<serde_json::Value> {
    let log = referee.log()?;
    let (mut device, mut dead) = (Vec::new(), Vec::new());
    for four in log.windows(4) {
        let codes: Vec<u32> = four.iter().map(|c| c.command & 0xF).collect();
        if codes != [1, 2, 3, 4] || four.iter().any(|c| c.ended_ns < c.issued_ns) {
            continue;
        }
        device.push(four.iter().map(|c| c.ended_ns - c.issued_ns).sum::<u64>());
        let gap = |pair: &[vf_client::referee::Command]| {
            pair[1].issued_ns.saturating_sub(pair[0].ended_ns)
        };
        dead.push(four.windows(2).map(gap).sum::<u64>());
    }
    if dead.is_empty() {
        return Err(Error::Unsupported(
            "the log holds no whole switch: at least two functions must be running".to_owned(),
        ));
    }
    let median = |v: &mut Vec<u64>| {
        v.sort_unstable();
        v[v.len() / 2]
    };
    Ok(serde_json::json!({
        "switches": dead.len(),
        "device_ns": median(&mut device),
        "dead_ns": median(&mut dead),
    }))
}

/// When a VF ran, in shared time: what a move of it cost is told by two of these.
fn when(referee: &Referee, vf: u32) -> Result<serde_json::Value> {
    let f = referee.function(vf.saturating_add(1))?;
    let offset = referee.shared_offset_ns()?;
    let shared = |t: u64| (t != 0).then(|| t.saturating_add_signed(offset));
    Ok(serde_json::json!({
        "first_run_start_ns": shared(f.first_run_start_ns),
        "last_run_start_ns": shared(f.last_run_start_ns),
        "last_run_end_ns": shared(f.last_run_end_ns),
    }))
}

/// Runs of bits that are set: first and last.
fn ranges(words: &[u64]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (w, &word) in words.iter().enumerate() {
        for page in (0..64).filter(|b| word & (1 << b) != 0).map(|b| w * 64 + b) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == page => *last = page,
                _ => ranges.push((page, page)),
            }
        }
    }
    ranges
}

fn truth(referee: &Referee, vf: u32, mib: u64, take: bool, out: Option<&Path>) -> Result<()> {
    if !referee.truth_is_whole()? {
        eprintln!(
            "referee: writes by CPU are missing; the GPU needs truth=on or dirty_tracking=on"
        );
    }
    let pages = mib.saturating_mul(256);
    let words = referee.truth(vf.saturating_add(1), pages, take)?;
    let Some(out) = out else {
        for (first, last) in ranges(&words) {
            println!("{first}-{last}");
        }
        return Ok(());
    };
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    std::fs::write(out, bytes)
        .map_err(|e| Error::transport(format!("writing {}", out.display()), e))
}

fn run(cli: Cli) -> Result<()> {
    let referee = Referee::find()?.ok_or_else(|| {
        Error::Unsupported("this machine has no debug device (1b36:0f0f)".to_owned())
    })?;
    match cli.command {
        Command::Show => {
            let text = serde_json::to_string_pretty(&referee.snapshot()?).map_err(json_error)?;
            println!("{text}");
        }
        Command::Get { key, of } => println!("{}", get(&referee, &key, of)?),
        Command::Switches => println!("{}", switches(&referee)?),
        Command::When { vf } => println!("{}", when(&referee, vf)?),
        Command::Truth {
            vf, clear: true, ..
        } => referee.clear_truth(vf.saturating_add(1))?,
        Command::Truth {
            vf, mib, take, out, ..
        } => truth(&referee, vf, mib, take, out.as_deref())?,
        Command::Reset => referee.reset_stats()?,
        Command::Fault {
            kind,
            of,
            command,
            arg,
            count,
        } => referee.arm(Fault {
            kind: kind.code(),
            function: of.slot().unwrap_or(map::ANY),
            command,
            arg,
            count: count.unwrap_or(map::ANY),
        })?,
        Command::Clear => referee.clear_faults()?,
        Command::Legacy { pci, vfs, count } => {
            let vfs = [vfs[0], vfs[1]];
            legacy::run(&pci, vfs, count, Duration::from_millis(6))?;
        }
        Command::Hold { pci, vf, seconds } => {
            legacy::hold(&pci, vf, Duration::from_secs(seconds))?;
        }
        Command::Spare { seconds } => spare::run(&referee, Duration::from_secs(seconds))?,
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("referee: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_on_over_words() {
        assert_eq!(ranges(&[0, 0]), []);
        assert_eq!(
            ranges(&[1 | 2 | 8, 1 << 63, 1]),
            [(0, 1), (3, 3), (127, 128)]
        );
    }
}
