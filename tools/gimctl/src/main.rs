// SPDX-License-Identifier: GPL-2.0
//! `gimctl`: the operator's tool for `gim`.

mod check;
mod config;
mod events;
mod exporter;
mod migrate;
mod policy;
mod show;
mod top;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use gimctl::sysfs::Sysfs;

#[derive(Parser)]
#[command(
    name = "gimctl",
    version,
    about = "Control and watch GPUs shared by gim"
)]
struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Where sysfs is mounted (for tests)
    #[arg(
        long,
        global = true,
        hide = true,
        default_value = "/sys",
        value_name = "ROOT"
    )]
    sysfs: PathBuf,
    /// Where procfs is mounted (for tests)
    #[arg(
        long,
        global = true,
        hide = true,
        default_value = "/proc",
        value_name = "ROOT"
    )]
    proc: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether this host is ready to share its GPUs, and what to do where it is not
    Precheck(check::Precheck),
    /// List all GPUs
    List,
    /// Show one GPU and its VFs in full
    Show {
        /// PCI address of the GPU, or its number in `gimctl list`, from 0
        gpu: Option<String>,
    },
    /// Set or list virtual functions
    #[command(subcommand)]
    Vfs(Vfs),
    /// Show or set how a GPU is shared: policy, slices, limits, what VFs are promised
    Policy(policy::Policy),
    /// Write all settings to a file, or bring the host to what a file says
    #[command(subcommand)]
    Config(config::Config),
    /// Take a VF off the engine, or park the scheduler; its guest waits
    Pause(Whom),
    /// Let a paused VF, or the scheduler, go on
    Resume(Whom),
    /// Reset a VF; gives a quarantined one another chance
    Reset {
        #[command(flatten)]
        choice: Choice,
        /// The VF, counted from 0
        #[arg(long)]
        vf: u32,
    },
    /// Watch the VFs of a GPU: shares of its time, switches, gaps
    Top(TopArgs),
    /// Move a running VF to a file, to another host, or back
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Replace the driver by another build of it while VMs run on their VFs
    Upgrade(upgrade::Upgrade),
    /// Print what the driver tells: limits exceeded, resets, quarantines, trouble with the GPU
    Events(EventsArgs),
    /// Print what monitoring wants to know in Prometheus' format, or serve it
    Metrics(exporter::Metrics),
    /// Print every counter
    Stats {
        #[command(flatten)]
        choice: Choice,
        /// Only this VF, counted from 0
        #[arg(long)]
        vf: Option<u32>,
    },
}

#[derive(Subcommand)]
enum Vfs {
    /// Divide a GPU into 1, 2, 4, 8 or 16 VFs; 0 takes them away
    Set {
        /// Number of VFs
        count: u32,
        #[command(flatten)]
        choice: Choice,
        /// Take VFs away although guests use them
        #[arg(long)]
        force: bool,
    },
    /// List the VFs of a GPU
    List {
        #[command(flatten)]
        choice: Choice,
    },
}

#[derive(Args)]
struct Choice {
    /// PCI address of the GPU, or its number in `gimctl list`, from 0
    #[arg(short, long)]
    gpu: Option<String>,
}

#[derive(Args)]
struct Whom {
    #[command(flatten)]
    choice: Choice,
    /// Only this VF, counted from 0; without it, all of the GPU
    #[arg(long)]
    vf: Option<u32>,
}

#[derive(Args)]
struct TopArgs {
    #[command(flatten)]
    choice: Choice,
    /// Seconds between two readings
    #[arg(short, long, default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    /// Print this many readings, one below the other, and stop
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// Print the totals since the driver was loaded, and stop
    #[arg(long, conflicts_with = "iterations")]
    once: bool,
}

#[derive(Args)]
struct EventsArgs {
    #[command(flatten)]
    choice: Choice,
    /// Stop after this many events
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after this many seconds
    #[arg(short, long, value_parser = interval)]
    seconds: Option<f64>,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.05..=3600.0).contains(&s) => Ok(s),
        _ => Err("a number of seconds from 0.05 to 3600 is allowed".to_owned()),
    }
}

fn run(cli: &Cli) -> Result<()> {
    let sysfs = Sysfs::new(&cli.sysfs);
    match &cli.command {
        Command::Precheck(args) => check::run(&cli.sysfs, &cli.proc, args, cli.json),
        Command::List => show::list(&sysfs, cli.json),
        Command::Show { gpu } => show::gpu(&sysfs, &cli.proc, gpu.as_deref(), cli.json),
        Command::Vfs(Vfs::List { choice }) => {
            show::vfs(&sysfs, &cli.proc, choice.gpu.as_deref(), cli.json)
        }
        Command::Vfs(Vfs::Set {
            count,
            choice,
            force,
        }) => show::set_vfs(&sysfs, choice.gpu.as_deref(), *count, *force, cli.json),
        Command::Policy(args) => policy::run(&sysfs, args, cli.json),
        Command::Config(command) => config::run(&sysfs, command, cli.json),
        Command::Stats { choice, vf } => show::stats(&sysfs, choice.gpu.as_deref(), *vf, cli.json),
        Command::Migrate(command) => migrate::run(&sysfs, command, cli.json),
        Command::Pause(Whom { choice, vf }) => {
            show::order(&sysfs, choice.gpu.as_deref(), *vf, "pause", cli.json)
        }
        Command::Resume(Whom { choice, vf }) => {
            show::order(&sysfs, choice.gpu.as_deref(), *vf, "resume", cli.json)
        }
        Command::Reset { choice, vf } => {
            show::order(&sysfs, choice.gpu.as_deref(), Some(*vf), "reset", cli.json)
        }
        Command::Metrics(args) => exporter::run(&sysfs, &cli.proc, args, cli.json),
        Command::Events(args) => events::run(&sysfs, args, cli.json),
        Command::Upgrade(args) => upgrade::run(&sysfs, args, cli.json),
        Command::Top(args) => top::run(&sysfs, args, cli.json),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gimctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `gimctl ... | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
