// SPDX-License-Identifier: GPL-2.0
//! What an operator does: load, bind, enable, and back.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use gim_uapi::{open_vf, Vf};

/// A GPU and the module that drives it.
pub(crate) struct Host {
    module: PathBuf,
    address: String,
    parts: (u32, u32, u32),
    /// VFs that are enabled together.
    pub(crate) most: u32,
}

fn write(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, text).with_context(|| format!("{} < {text}", path.display()))
}

/// The kernel's number of what went wrong, or 0.
pub(crate) fn errno(error: &anyhow::Error) -> i32 {
    let of = |e: &(dyn std::error::Error + 'static)| {
        let io = e.downcast_ref::<io::Error>().map(io::Error::raw_os_error);
        let raw = e.downcast_ref::<rustix::io::Errno>();
        io.flatten().or(raw.map(|e| e.raw_os_error()))
    };
    error.chain().find_map(of).unwrap_or(0)
}

impl Host {
    pub(crate) fn new(module: PathBuf, address: String, most: u32) -> Result<Self> {
        let parts: Vec<u32> = address
            .split([':', '.'])
            .map(|part| u32::from_str_radix(part, 16))
            .collect::<Result<_, _>>()
            .context("--gpu is a PCI address")?;
        let &[domain, bus, device, function] = parts.as_slice() else {
            anyhow::bail!("--gpu is a PCI address: domain:bus:device.function");
        };
        Ok(Self {
            module,
            address,
            parts: (domain, bus, (device << 3) | function),
            most,
        })
    }

    fn device(&self) -> PathBuf {
        Path::new("/sys/bus/pci/devices").join(&self.address)
    }

    /// Whether devices are bound to the driver by themselves.
    pub(crate) fn autoprobe(&self, on: bool) -> Result<()> {
        write("/sys/bus/pci/drivers_autoprobe", if on { "1" } else { "0" })
    }

    pub(crate) fn load(&self) -> Result<()> {
        self.load_with(c"guard=0")
    }

    pub(crate) fn load_with(&self, parameters: &CStr) -> Result<()> {
        let file = fs::File::open(&self.module)?;
        Ok(rustix::system::finit_module(&file, parameters, 0)?)
    }

    pub(crate) fn unload(&self) -> Result<()> {
        Ok(rustix::system::delete_module(c"gim", 0)?)
    }

    pub(crate) fn bind(&self) -> Result<()> {
        write("/sys/bus/pci/drivers/gim/bind", &self.address)
    }

    pub(crate) fn unbind(&self) -> Result<()> {
        write("/sys/bus/pci/drivers/gim/unbind", &self.address)
    }

    pub(crate) fn vfs(&self, n: u32) -> Result<()> {
        write(self.device().join("sriov_numvfs"), &n.to_string())
    }

    pub(crate) fn vf(&self, n: u32) -> Result<Vf> {
        Ok(open_vf(self.parts, n)?)
    }

    /// There is no module, and nothing that it made.
    pub(crate) fn is_unloaded(&self) -> Result<()> {
        ensure!(
            !Path::new("/sys/module/gim").exists(),
            "the module is there"
        );
        ensure!(!Path::new("/dev/gim").exists(), "/dev/gim is there");
        ensure!(
            !Path::new("/sys/bus/pci/drivers/gim").exists(),
            "the driver is there"
        );
        Ok(())
    }

    /// The driver is there, the GPU is not bound to it.
    pub(crate) fn is_unbound(&self) -> Result<()> {
        for left in ["driver", "gim", "sriov_admin", "virtfn0"] {
            ensure!(!self.device().join(left).exists(), "{left} was left behind");
        }
        Ok(())
    }

    /// The GPU is bound, and has no VF.
    pub(crate) fn is_off(&self) -> Result<()> {
        let read = |file| fs::read_to_string(self.device().join(file));
        let state = read("gim/state")?;
        ensure!(state.trim() == "off", "the engine is {}", state.trim());
        let vfs = read("sriov_numvfs")?;
        ensure!(vfs.trim() == "0", "there are {} VFs", vfs.trim());
        ensure!(!self.device().join("virtfn0").exists(), "VF0 is there");
        ensure!(
            !self.device().join("sriov_admin/vf1").exists(),
            "VF0's files are there"
        );
        Ok(())
    }

    /// VFs are enabled, nobody uses one.
    pub(crate) fn is_on(&self, n: u32) -> Result<()> {
        for vf in 1..=n {
            let path = self.device().join(format!("sriov_admin/vf{vf}/state"));
            let mut tries = 0;
            loop {
                let state =
                    fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                if state.trim() == "available" {
                    break;
                }
                tries += 1;
                ensure!(tries < 500, "VF{} is {}", vf - 1, state.trim());
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        Ok(())
    }
}
