// SPDX-License-Identifier: GPL-2.0
//! `migrate-test`: every ioctl of `/dev/gim`, its errors, and streams that are whole, cut or
//! spoiled; VFs that move in every phase. Prints TAP without a plan; fails if a test does.

mod arcs;
mod calls;
mod dirty;
mod faults;
mod figures;
mod guest;
mod holds;
mod manners;
mod phases;
mod spoil;
mod streams;
mod strike;
mod together;
mod truth;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::{Parser, ValueEnum};
use gim_uapi::{open_vf, Source, Vf};
use vf_client::mem::Mapping;

/// Errors as Linux numbers them.
pub(crate) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EINTR: i32 = 4;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const E2BIG: i32 = 7;
    pub(crate) const EAGAIN: i32 = 11;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const ENOTTY: i32 = 25;
    pub(crate) const EPIPE: i32 = 32;
    pub(crate) const EBADMSG: i32 = 74;
    pub(crate) const EOPNOTSUPP: i32 = 95;
}

#[derive(Parser)]
struct Cli {
    /// PCI address of the PF
    #[arg(long)]
    gpu: String,
    /// Which tests: all of a group, or those whose name has this in it
    #[arg(default_value = "ioctls")]
    group: String,
    /// Save or restore up to byte --at, and wait to be killed: for the tests themselves
    #[arg(long, hide = true)]
    hold: Option<String>,
    /// See there
    #[arg(long, hide = true, default_value_t = 0)]
    at: usize,
    /// Print a figure for `make bench` instead of testing
    #[arg(long, value_enum)]
    figure: Option<Figure>,
    /// How many spoiled streams are tried
    #[arg(long, default_value_t = 24)]
    spoiled: usize,
    /// Rounds of random writes for each source of dirty pages
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
    /// Where random choices come from; printed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What `make bench` asks for.
#[derive(Clone, Copy, ValueEnum)]
enum Figure {
    /// How fast framebuffer is read
    Copy,
    /// None: the changed pages of VF0 are followed by the device, until it is killed
    FollowHw,
    /// The same by software
    FollowSw,
}

/// What the tests have: a GPU with at least two VFs.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) address: (u32, u32, u32),
    pub(crate) sysfs: PathBuf,
    pub(crate) spoiled: usize,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
}

impl Bench {
    fn new(cli: &Cli) -> Result<Self> {
        let parts: Vec<u32> = cli
            .gpu
            .split([':', '.'])
            .map(|part| u32::from_str_radix(part, 16))
            .collect::<Result<_, _>>()
            .context("--gpu is a PCI address")?;
        let &[domain, bus, device, function] = parts.as_slice() else {
            bail!("--gpu is a PCI address: domain:bus:device.function");
        };
        Ok(Self {
            address: (domain, bus, (device << 3) | function),
            sysfs: PathBuf::from("/sys/bus/pci/devices").join(&cli.gpu),
            spoiled: cli.spoiled,
            rounds: cli.rounds,
            seed: cli.seed,
        })
    }

    pub(crate) fn vf(&self, n: u32) -> Result<Vf> {
        open_vf(self.address, n).with_context(|| format!("opening VF{n}"))
    }

    /// A VF's framebuffer, as a CPU reaches it.
    pub(crate) fn framebuffer(&self, n: u32, bytes: usize) -> Result<Mapping> {
        let vf = self.sysfs.join(format!("virtfn{n}"));
        // A guest of an earlier test may have left its driver, and who has one is not enabled by hand.
        self.function(n)?.unbind().context("unbinding")?;
        // Else the device does not answer to its memory.
        std::fs::write(vf.join("enable"), "1").context("enabling")?;
        let path = vf.join("resource0");
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Mapping::of_file(file.as_fd(), 0, bytes, "framebuffer")?)
    }

    /// The life-cycle state that sysfs shows.
    pub(crate) fn state(&self, n: u32) -> Result<String> {
        // Its directories count VFs from 1.
        let path = self.sysfs.join(format!("sriov_admin/vf{}/state", n + 1));
        Ok(std::fs::read_to_string(path)?.trim().to_owned())
    }

    /// Waits until a VF is in a state.
    pub(crate) fn wait_state(&self, n: u32, want: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let state = self.state(n)?;
            if state == want {
                return Ok(());
            }
            ensure!(
                start.elapsed() < Duration::from_secs(30),
                "VF{n} is {state}, not {want}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Resets a VF by its PCI function.
    pub(crate) fn flr(&self, n: u32) -> Result<()> {
        std::fs::write(self.sysfs.join(format!("virtfn{n}/reset")), "1")?;
        Ok(())
    }
}

/// The call must fail with this error.
pub(crate) fn refused<T>(result: io::Result<T>, want: i32) -> Result<()> {
    match result {
        Ok(_) => bail!("was not refused, though errno {want} was to come"),
        Err(e) if e.raw_os_error() == Some(want) => Ok(()),
        Err(e) => bail!("errno {want} was to come, not {e}"),
    }
}

/// The tests of a group, or of a name.
fn choose(group: &str) -> Vec<Test> {
    let groups: [(&str, &[&[Test]]); 9] = [
        ("ioctls", &[calls::TESTS, dirty::TESTS, streams::TESTS]),
        ("holds", &[holds::TESTS]),
        ("phases", &[phases::TESTS]),
        ("truth", &[truth::TESTS]),
        ("spoil", &[spoil::TESTS]),
        ("together", &[together::TESTS]),
        ("faults", &[faults::TESTS]),
        ("manners", &[manners::TESTS]),
        ("arcs", &[arcs::TESTS]),
    ];
    match groups.iter().find(|(name, _)| *name == group) {
        Some((_, tests)) => tests.concat(),
        None => {
            let all = groups.iter().flat_map(|(_, tests)| tests.concat());
            all.filter(|(name, _)| name.contains(group)).collect()
        }
    }
}

type Test = (&'static str, fn(&Bench) -> Result<()>);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bench = match Bench::new(&cli) {
        Ok(bench) => bench,
        Err(e) => {
            eprintln!("migrate-test: {e:#}");
            return ExitCode::from(2);
        }
    };
    if let Some(what) = &cli.hold {
        let held = manners::hold(&bench, what, cli.at);
        eprintln!("migrate-test: {held:?}");
        return ExitCode::FAILURE;
    }
    if let Some(figure) = cli.figure {
        let done = match figure {
            Figure::Copy => figures::copy(&bench),
            Figure::FollowHw => figures::follow(&bench, Source::Hardware),
            Figure::FollowSw => figures::follow(&bench, Source::Software),
        };
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("migrate-test: {e:#}");
                ExitCode::FAILURE
            }
        };
    }
    println!("# seed {}", bench.seed);
    let mut failed = 0;
    let tests = choose(&cli.group);
    for (i, (name, test)) in tests.into_iter().enumerate() {
        let result = (0..2)
            .try_for_each(|n| bench.wait_state(n, "available"))
            .and_then(|()| test(&bench));
        match result {
            Ok(()) => println!("ok {} migrate: {name}", i + 1),
            Err(e) => {
                println!("# {e:#}\nnot ok {} migrate: {name}", i + 1);
                failed += 1;
                // The others have a chance.
                for n in 0..2 {
                    let _ = bench.vf(n).map(|vf| vf.reset());
                }
            }
        }
    }
    println!("# done");
    ExitCode::from(u8::from(failed != 0))
}
