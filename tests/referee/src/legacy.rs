// SPDX-License-Identifier: GPL-2.0
//! Baselines: the same engine without `gim`, while its scheduler is paused, so that both see the
//! same VFs; afterwards nobody is on the engine, as `gim` has left it.
//!
//! For the cost of a world switch it is driven as older drivers do it: four commands one after the
//! other, each asked for its end every 100 us by a busy CPU. For the cost of `gim` to a VF that is
//! alone, nobody touches it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gpu_regs::chip::{Chip, CHIPS};
use gpu_regs::vsec::{self, cmd};
use vf_client::{Error, Result};

/// How long the CPU spins between two looks (gpu-iov-hardware.md, 3).
const LOOK: Duration = Duration::from_micros(100);

/// How long a command may take.
const LIMIT: Duration = Duration::from_millis(500);

/// Vendor-specific capabilities in the extended configuration space.
const CAP_VENDOR: u32 = 0x000B;

/// A PF's configuration space.
struct Pf {
    config: File,
    chip: &'static Chip,
    base: u64,
}

impl Pf {
    fn open(pci: &str) -> Result<Self> {
        let path = Path::new("/sys/bus/pci/devices").join(pci).join("config");
        let wrap = |e| Error::transport("configuration space of the PF", e);
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(wrap)?;
        let id = read(&config, 0).map_err(wrap)? >> 16;
        let chip = CHIPS
            .iter()
            .copied()
            .find(|chip| u32::from(chip.pf_device) == id)
            .ok_or_else(|| Error::Unsupported(format!("{pci} is no PF that is known")))?;
        let base = find(&config).map_err(wrap)?;
        let base = base.ok_or_else(|| Error::Unsupported(format!("{pci} has no GPU-IOV")))?;
        Ok(Self { config, chip, base })
    }

    /// One command, from its start to the look that sees its end.
    fn command(&self, code: u8, fcn: u8) -> Result<()> {
        let wrap = |e| Error::transport("GPU-IOV command", e);
        let at = self.base + u64::from(self.chip.vsec.command);
        let dword = vsec::command(code, fcn, 0, false);
        self.config
            .write_all_at(&dword.to_le_bytes(), at)
            .map_err(wrap)?;
        let start = Instant::now();
        loop {
            let look = Instant::now();
            while look.elapsed() < LOOK {
                std::hint::spin_loop();
            }
            let state = read(&self.config, at).map_err(wrap)?;
            let status = read(&self.config, self.base + u64::from(self.chip.vsec.status));
            let status = status.map_err(wrap)? & 0xFF;
            if state & vsec::EXECUTE == 0 && status == 0 {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                let seen = format!("command {state:#x}, status {status:#x}");
                let what = format!("command {code:#x} for function {fcn:#x}");
                return Err(Error::Timeout {
                    what,
                    waited: LIMIT,
                    seen,
                });
            }
        }
    }
}

fn read(config: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    config.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Where the GPU-IOV capability is.
fn find(config: &File) -> io::Result<Option<u64>> {
    let mut at = 0x100;
    while at != 0 {
        let head = read(config, at)?;
        if head & 0xFFFF == CAP_VENDOR {
            let vendor = read(config, at + 4)?;
            if vendor & 0xFFFF == u32::from(vsec::ID) {
                return Ok(Some(at));
            }
        }
        at = u64::from(head >> 20);
    }
    Ok(None)
}

/// Lets one VF run for `time` and do as it likes.
pub(crate) fn hold(pci: &str, vf: u8, time: Duration) -> Result<()> {
    let pf = Pf::open(pci)?;
    let fcn = vsec::fcn_vf(vf);
    pf.command(cmd::LOAD, fcn)?;
    pf.command(cmd::RUN, fcn)?;
    std::thread::sleep(time);
    pf.command(cmd::IDLE, fcn)?;
    pf.command(cmd::SAVE, fcn)
}

/// Switches between two VFs `count` times; prints what the CPU has spent, as JSON.
pub(crate) fn run(pci: &str, vfs: [u8; 2], count: u32, slice: Duration) -> Result<()> {
    let pf = Pf::open(pci)?;
    let fcns = vfs.map(vsec::fcn_vf);
    let [mut now, mut next] = fcns;
    pf.command(cmd::LOAD, now)?;
    pf.command(cmd::RUN, now)?;
    let mut spent = Duration::ZERO;
    for _ in 0..count {
        std::thread::sleep(slice);
        let start = Instant::now();
        pf.command(cmd::IDLE, now)?;
        pf.command(cmd::SAVE, now)?;
        pf.command(cmd::LOAD, next)?;
        pf.command(cmd::RUN, next)?;
        spent += start.elapsed();
        (now, next) = (next, now);
    }
    pf.command(cmd::IDLE, now)?;
    pf.command(cmd::SAVE, now)?;
    // All of it was spent by a CPU that spins.
    let each = spent.as_nanos() / u128::from(count.max(1));
    println!(
        "{}",
        serde_json::json!({ "switches": count, "cpu_ns": u64::try_from(each).unwrap_or(u64::MAX) })
    );
    Ok(())
}
