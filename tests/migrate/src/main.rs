// SPDX-License-Identifier: GPL-2.0
//! `migrate-test`: every ioctl of `/dev/gim`, its errors, and streams that are whole, cut or
//! spoiled, with two VFs that nobody uses. Prints TAP without a plan; fails if a test does.

mod calls;
mod dirty;
mod streams;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::Parser;
use gim_uapi::{open_vf, Vf};

/// Errors as Linux numbers them.
pub(crate) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const E2BIG: i32 = 7;
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
    /// How many spoiled streams are tried
    #[arg(long, default_value_t = 24)]
    spoiled: usize,
    /// Where random choices come from; printed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the tests have: a GPU with at least two VFs.
pub(crate) struct Bench {
    pub(crate) address: (u32, u32, u32),
    sysfs: PathBuf,
    pub(crate) spoiled: usize,
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
            seed: cli.seed,
        })
    }

    pub(crate) fn vf(&self, n: u32) -> Result<Vf> {
        open_vf(self.address, n).with_context(|| format!("opening VF{n}"))
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

type Test = (&'static str, fn(&Bench) -> Result<()>);

fn main() -> ExitCode {
    let bench = match Bench::new(&Cli::parse()) {
        Ok(bench) => bench,
        Err(e) => {
            eprintln!("migrate-test: {e:#}");
            return ExitCode::from(2);
        }
    };
    println!("# seed {}", bench.seed);
    let mut failed = 0;
    let tests = [calls::TESTS, dirty::TESTS, streams::TESTS].concat();
    for (i, (name, test)) in tests.into_iter().enumerate() {
        let result = (0..2)
            .try_for_each(|n| bench.wait_state(n, "available"))
            .and_then(|()| test(&bench));
        match result {
            Ok(()) => println!("ok {} migrate: {name}", i + 1),
            Err(e) => {
                println!("# {e:#}\nnot ok {} migrate: {name}", i + 1);
                failed += 1;
            }
        }
    }
    ExitCode::from(u8::from(failed != 0))
}
