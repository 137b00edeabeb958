// SPDX-License-Identifier: GPL-2.0
//! `gimctl upgrade`: the driver is replaced by another build of it while VMs run on their VFs.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;
use gimctl::sysfs::{Gpu, Sysfs};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::setpriority_process;
use rustix::system::{delete_module, init_module};
use serde_json::json;

#[derive(Args)]
pub(crate) struct Upgrade {
    /// The new driver: gim.ko, not compressed
    module: PathBuf,
    /// A driver to go back to if the new one cannot take the VFs over
    #[arg(long, value_name = "GIM.KO")]
    back: Option<PathBuf>,
    /// Parameters for either, as for insmod: NAME=VALUE
    #[arg(value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<String>,
}

fn parameter(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("a module parameter is NAME=VALUE".to_owned()),
    }
}

/// A module that is in memory, so that nobody waits for a disk while VFs wait for a driver.
struct Image {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Image {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !bytes.starts_with(b"\x7fELF") {
            bail!(
                "{} is no kernel module; a compressed one has to be unpacked first",
                path.display()
            );
        }
        let path = path.to_owned();
        Ok(Self { path, bytes })
    }

    fn load(&self, parameters: &CString) -> Result<()> {
        init_module(&self.bytes, parameters)
            .with_context(|| format!("the kernel does not load {}", self.path.display()))
    }
}

/// Until the kernel has seen that nobody uses the module, who has it open, say.
const UNLOAD_TRIES: u32 = 50;

fn unload() -> Result<()> {
    for n in 1.. {
        // CAST: The flag is small.
        match delete_module(c"gim", OFlags::NONBLOCK.bits() as i32) {
            Ok(()) => break,
            Err(Errno::AGAIN | Errno::BUSY) if n < UNLOAD_TRIES => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e).context("gim cannot be unloaded: is /dev/gim open somewhere?"),
        }
    }
    Ok(())
}

pub(crate) fn run(sysfs: &Sysfs, args: &Upgrade, as_json: bool) -> Result<()> {
    let new = Image::read(&args.module)?;
    let back = args.back.as_deref().map(Image::read).transpose()?;
    let parameters = CString::new(args.parameters.join(" "))?;
    let before = sysfs.gpus()?;
    let old = sysfs.version();
    for (n, gpu) in before.iter().enumerate() {
        if let Err(e) = gpu.hand_over(true) {
            for gpu in before.iter().take(n) {
                gpu.hand_over(false)?;
            }
            return Err(e);
        }
    }
    // VMs wait for this, whose CPUs would else have their share of its time. It need not succeed.
    let _ = setpriority_process(None, -20);
    let began = Instant::now();
    if let Err(e) = unload() {
        for gpu in &before {
            gpu.hand_over(false)?;
        }
        return Err(e);
    }
    let taken = new.load(&parameters).and_then(|()| taken(sysfs, &before));
    let took = began.elapsed();
    if let Err(e) = taken {
        return Err(go_back(sysfs, &before, back, &parameters, e));
    }
    let vfs: u32 = before.iter().map(|gpu| gpu.num_vfs).sum();
    if as_json {
        let report = json!({
            "from": old,
            "to": sysfs.version(),
            "gpus": before.len(),
            "vfs": vfs,
            "took_ms": took.as_secs_f64() * 1e3,
        });
        println!("{report}");
    } else {
        println!(
            "gim {} was replaced by {} in {:.0} ms under {vfs} VFs",
            old.unwrap_or_default(),
            sysfs.version().unwrap_or_default(),
            took.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// Whether all GPUs are driven again, with all VFs.
fn taken(sysfs: &Sysfs, before: &[Gpu]) -> Result<()> {
    for had in before {
        let has = sysfs.read_gpu(&had.pci);
        let vfs = has.map_or(0, |gpu| gpu.vfs.len());
        if vfs != had.vfs.len() {
            bail!(
                "the new gim has not taken over the VFs of {}: the kernel's log says why",
                had.pci
            );
        }
    }
    Ok(())
}

/// The driver to go back to is loaded, if there is one; returns what is to be said.
fn go_back(
    sysfs: &Sysfs,
    before: &[Gpu],
    back: Option<Image>,
    parameters: &CString,
    why: anyhow::Error,
) -> anyhow::Error {
    let Some(back) = back else {
        return why.context("VFs stay as they are, and wait for a gim that can take them over");
    };
    // It may not be loaded at all.
    let _ = unload();
    let gone = back.load(parameters).and_then(|()| taken(sysfs, before));
    match gone {
        Ok(()) => why.context("gim was not replaced: the other one serves again"),
        Err(e) => e
            .context(why)
            .context("neither gim has taken the VFs over; they stay as they are, and wait"),
    }
}
