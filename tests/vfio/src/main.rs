// SPDX-License-Identifier: GPL-2.0
//! `vfio-test`: VFIO migration of two VFs that nobody else uses: every arc, every rule of the uAPI
//! header's text. Prints TAP without a plan; fails if a test does.

mod absent;
mod arcs;
mod ends;
mod features;
mod logging;
mod replaced;
mod streams;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::Parser;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use vf_client::migration::{self, set_state, State};
use vf_client::pci::PciDevice;
use vf_client::transport::Transport;
use vf_client::vfio::Vfio;

/// Errors as Linux numbers them.
pub(crate) mod errno {
    pub(crate) const EBADF: i32 = 9;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const ENOTTY: i32 = 25;
    pub(crate) const ESPIPE: i32 = 29;
    pub(crate) const EPIPE: i32 = 32;
    pub(crate) const EBADMSG: i32 = 74;
}

#[derive(Parser)]
struct Cli {
    /// PCI address of the PF
    #[arg(long)]
    gpu: String,
    /// What happens to open devices while the driver of the PF is unloaded; it is afterwards
    #[arg(long)]
    absent: bool,
    /// What happens to them while it is replaced by this one
    #[arg(long, value_name = "GIM.KO", conflicts_with = "absent")]
    replaced: Option<PathBuf>,
    /// Only the tests whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Where random choices come from; printed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the tests have: a GPU with at least two VFs, bound to gim-vfio-pci.
pub(crate) struct Bench {
    pub(crate) gpu: String,
    sysfs: PathBuf,
    pub(crate) seed: u64,
    /// The driver that replaces the one that is loaded.
    pub(crate) module: Option<PathBuf>,
}

impl Bench {
    /// PCI address of a VF.
    pub(crate) fn address(&self, n: u32) -> Result<String> {
        let link = std::fs::read_link(self.sysfs.join(format!("virtfn{n}")))?;
        let address = link.file_name().context("virtfn")?;
        Ok(address.to_string_lossy().into_owned())
    }

    /// Opens a VF and waits until it is clean.
    pub(crate) fn open(&self, n: u32) -> Result<Vfio> {
        let pci = PciDevice::new(&self.address(n)?)?;
        ensure!(
            pci.driver().as_deref() == Some("gim-vfio-pci"),
            "VF{n} is bound to {:?}",
            pci.driver()
        );
        let vf = Vfio::open(&pci)?;
        self.wait_state(n, "available")?;
        Ok(vf)
    }

    /// The life-cycle state that sysfs shows.
    pub(crate) fn state(&self, n: u32) -> Result<String> {
        // Its directories count VFs from 1.
        let path = self.sysfs.join(format!("sriov_admin/vf{}/state", n + 1));
        Ok(std::fs::read_to_string(path)?.trim().to_owned())
    }

    /// Whether the driver leaves its VFs to the next one.
    pub(crate) fn handover(&self) -> PathBuf {
        self.sysfs.join("gim/handover")
    }

    /// Bytes of framebuffer that each VF has.
    pub(crate) fn fb_bytes(&self) -> Result<u64> {
        let mib = std::fs::read_to_string(self.sysfs.join("sriov_admin/vf1/fb_mib"))?;
        Ok(mib.trim().parse::<u64>()? << 20)
    }

    /// How often the VF was reset, as far as the driver knows.
    pub(crate) fn resets(&self, n: u32) -> Result<u64> {
        let path = self.sysfs.join(format!("sriov_admin/vf{}/stats", n + 1));
        let stats = std::fs::read_to_string(path)?;
        let line = stats.lines().find_map(|line| line.strip_prefix("resets "));
        Ok(line.context("resets")?.parse()?)
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
                start.elapsed() < Duration::from_secs(60),
                "VF{n} is {state}, not {want}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
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

/// The VF is in this state.
pub(crate) fn is(vf: &Vfio, want: State) -> Result<()> {
    let (state, fd) = migration::state(vf)?;
    ensure!(state == want as u32, "state {state}, not {want:?}");
    ensure!(fd == -1, "descriptor {fd}");
    Ok(())
}

/// Goes to a state that begins a session.
pub(crate) fn begin(vf: &Vfio, state: State) -> Result<File> {
    let file = set_state(vf, state).with_context(|| format!("to {state:?}"))?;
    file.with_context(|| format!("no file in {state:?}"))
}

/// Goes to a state that begins none.
pub(crate) fn go(vf: &Vfio, state: State) -> Result<()> {
    let file = set_state(vf, state).with_context(|| format!("to {state:?}"))?;
    ensure!(file.is_none(), "a file in {state:?}");
    Ok(())
}

/// A file that has to do with the VF no more.
pub(crate) fn dead(file: &File) -> Result<()> {
    let mut byte = [0];
    match { file }.read(&mut byte) {
        Ok(0) => {}
        Ok(n) => bail!("{n} bytes from a session that has ended"),
        // Not for reading: a write has to fail.
        Err(e) if e.raw_os_error() == Some(errno::EBADF) => {
            refused(io::Write::write(&mut { file }, &byte), errno::ENODEV)?;
        }
        Err(e) => ensure!(e.raw_os_error() == Some(errno::ENODEV), "{e}"),
    }
    let ready = polled(file)?;
    ensure!(ready.contains(PollFlags::HUP), "poll says {ready:?}");
    Ok(())
}

/// What poll() says at once.
pub(crate) fn polled(file: &File) -> Result<PollFlags> {
    let mut fds = [PollFd::new(file, PollFlags::IN | PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default()))?;
    Ok(fds[0].revents())
}

/// Fills some of the framebuffer through BAR0; returns what was written where.
pub(crate) fn fill(b: &Bench, vf: &mut Vfio, salt: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let size = b.fb_bytes()?.min(vf.vram_window());
    let mut rng = fastrand::Rng::with_seed(b.seed ^ salt);
    let mut all = Vec::new();
    for at in [0, (3 << 20) + 4096, size - 65536] {
        let data: Vec<u8> = (0..65536).map(|_| rng.u8(..)).collect();
        vf.vram_write(at, &data)?;
        all.push((at, data));
    }
    Ok(all)
}

/// What was written is there.
pub(crate) fn compare(vf: &mut Vfio, all: &[(u64, Vec<u8>)]) -> Result<()> {
    for (at, data) in all {
        let mut back = vec![0; data.len()];
        vf.vram_read(*at, &mut back)?;
        ensure!(&back == data, "other bytes at {at:#x}");
    }
    Ok(())
}

pub(crate) type Test = (&'static str, fn(&Bench) -> Result<()>);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bench = Bench {
        sysfs: PathBuf::from("/sys/bus/pci/devices").join(&cli.gpu),
        gpu: cli.gpu,
        seed: cli.seed,
        module: cli.replaced,
    };
    println!("# seed {}", bench.seed);
    let all = [
        features::TESTS,
        arcs::TESTS,
        streams::TESTS,
        ends::TESTS,
        &logging::tests(),
    ]
    .concat();
    let tests = match bench.module {
        _ if cli.absent => absent::TESTS.to_vec(),
        Some(_) => replaced::TESTS.to_vec(),
        None => all,
    };
    let only = cli.only.unwrap_or_default();
    let mut failed = 0;
    for (i, (name, test)) in tests.into_iter().enumerate() {
        if !name.contains(&only) {
            continue;
        }
        match test(&bench) {
            Ok(()) => println!("ok {} vfio: {name}", i + 1),
            Err(e) => {
                println!("# {e:#}\nnot ok {} vfio: {name}", i + 1);
                failed += 1;
            }
        }
    }
    ExitCode::from(u8::from(failed != 0))
}
