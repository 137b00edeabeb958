// SPDX-License-Identifier: GPL-2.0
//! The host's side of the demo: VFs made and bound, and taken away again whatever happens.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};
use gimctl::sysfs::{Gpu, Sysfs};
use vf_client::pci::PciDevice;

/// Further tries, a tenth of a second apart, to take the VFs away.
const SETTLE_TRIES: u32 = 150;

/// A GPU with VFs for the tenants; dropping it takes them away.
pub(crate) struct Host {
    sysfs: Sysfs,
    /// PCI address of the GPU.
    pub(crate) pci: String,
    vfs: Vec<PciDevice>,
    /// Mode to go back to at the end.
    mode: Option<String>,
    up: bool,
}

impl Host {
    /// Divides the GPU into `count` VFs and binds all of them to vfio-pci.
    pub(crate) fn set_up(choice: Option<&str>, count: u32) -> Result<Self> {
        let sysfs = Sysfs::default();
        let gpu = sysfs.gpu(choice)?;
        let mut host = Self {
            sysfs,
            pci: gpu.pci.clone(),
            vfs: Vec::new(),
            mode: None,
            up: false,
        };
        if gpu.num_vfs != 0 {
            // VFs of an earlier run: start from the same point each time.
            gpu.set_vfs(0, false)?;
        }
        host.up = true;
        // Equal shares are promised in strict mode; in the other one an idle moment costs a turn.
        if let Some(mode) = gpu.mode.as_deref().filter(|&m| m != "strict") {
            gpu.set_mode("strict")?;
            host.mode = Some(mode.to_owned());
        }
        host.read()?.set_vfs(count, false)?;
        let gpu = host.read()?;
        if gpu.num_vfs != count {
            bail!("asked for {count} VFs, GPU {} has {}", gpu.pci, gpu.num_vfs);
        }
        for vf in &gpu.vfs {
            let address = vf.pci.as_deref().ok_or_else(|| {
                anyhow!(
                    "VF {} has no PCI device (virtfn{} is missing)",
                    vf.index,
                    vf.index
                )
            })?;
            let device = PciDevice::new(address)?;
            device.bind_vfio()?;
            host.vfs.push(device);
        }
        Ok(host)
    }

    /// PCI addresses of the VFs.
    pub(crate) fn vfs(&self) -> Vec<String> {
        self.vfs.iter().map(|d| d.address().to_owned()).collect()
    }

    /// Reads the driver's view of the GPU.
    pub(crate) fn read(&self) -> Result<Gpu> {
        self.sysfs.read_gpu(&self.pci)
    }

    /// Unbinds the VFs and takes them away.
    pub(crate) fn tear_down(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.up) {
            return Ok(());
        }
        let mut first = None;
        for device in self.vfs.drain(..) {
            if let Err(e) = device.unbind() {
                first.get_or_insert(anyhow!(e));
            }
        }
        // The driver may still be about to reset and clear what the clients left.
        let mut gone = self.read().and_then(|gpu| gpu.set_vfs(0, true));
        for _ in 0..SETTLE_TRIES {
            if gone.is_ok() {
                break;
            }
            sleep(Duration::from_millis(100));
            gone = self.read().and_then(|gpu| gpu.set_vfs(0, true));
        }
        if let Err(e) = gone {
            first.get_or_insert(e);
        }
        if let Some(mode) = self.mode.take() {
            if let Err(e) = self.read().and_then(|gpu| gpu.set_mode(&mode)) {
                first.get_or_insert(e);
            }
        }
        first.map_or(Ok(()), Err).context("tearing down")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(e) = self.tear_down() {
            eprintln!("gim-demo: {e:#}");
        }
    }
}
