// SPDX-License-Identifier: GPL-2.0
//! PCI devices in sysfs: identity, drivers, IOMMU groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use gpu_regs::chip::Chip;

use crate::error::{Error, Result};

const BUS: &str = "/sys/bus/pci";

/// A PCI device by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciDevice {
    address: String,
}

impl PciDevice {
    /// The device at `address`, with or without the domain: `0000:03:02.1` or `03:02.1`.
    pub fn new(address: &str) -> Result<Self> {
        let long = match address.matches(':').count() {
            1 => format!("0000:{address}"),
            _ => address.to_owned(),
        };
        let device = Self { address: long };
        if !device.dir().exists() {
            return Err(Error::Unsupported(format!(
                "there is no PCI device {address} ({} is missing)",
                device.dir().display()
            )));
        }
        Ok(device)
    }

    /// All devices with the given ids, in ascending order of address.
    pub fn find(vendor: u16, device: u16) -> Result<Vec<Self>> {
        let dir = Path::new(BUS).join("devices");
        let entries = fs::read_dir(&dir)
            .map_err(|e| Error::transport(format!("reading {}", dir.display()), e))?;
        let mut found: Vec<Self> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .map(|address| Self { address })
            .filter(|d| d.ids() == Some((vendor, device)))
            .collect();
        found.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(found)
    }

    /// Full address, with domain.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its folder in sysfs.
    pub fn dir(&self) -> PathBuf {
        Path::new(BUS).join("devices").join(&self.address)
    }

    /// Vendor and device id.
    pub fn ids(&self) -> Option<(u16, u16)> {
        let read = |name: &str| {
            let text = fs::read_to_string(self.dir().join(name)).ok()?;
            u16::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
        };
        Some((read("vendor")?, read("device")?))
    }

    /// The chip that it is a VF of.
    pub fn vf_chip(&self) -> Result<&'static Chip> {
        let chip = self.ids().and_then(|(_, device)| Chip::by_device(device));
        chip.ok_or_else(|| {
            let address = &self.address;
            Error::Unsupported(format!(
                "{address} is no VF of a GPU that this program knows"
            ))
        })
    }

    /// Name of the driver that it is bound to.
    pub fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.dir().join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// Binds the device to vfio-pci, taking it from another driver if need be.
    pub fn bind_vfio(&self) -> Result<()> {
        if self.driver().as_deref() == Some("vfio-pci") {
            return Ok(());
        }
        if !Path::new(BUS).join("drivers/vfio-pci").exists() {
            load_vfio()?;
        }
        self.write("driver_override", "vfio-pci")?;
        if self.driver().is_some() {
            self.write("driver/unbind", &self.address)?;
        }
        write(&Path::new(BUS).join("drivers_probe"), &self.address)?;
        match self.driver() {
            Some(name) if name == "vfio-pci" => Ok(()),
            other => Err(Error::Unsupported(format!(
                "{} did not bind to vfio-pci (bound to {}); has it an IOMMU group, and did the kernel log a reason?",
                self.address,
                other.as_deref().unwrap_or("nothing")
            ))),
        }
    }

    /// Takes the device from vfio-pci and forgets the override.  A device that is gone is fine.
    pub fn unbind(&self) -> Result<()> {
        if self.driver().as_deref() == Some("vfio-pci") {
            self.write("driver/unbind", &self.address)?;
        }
        if self.dir().exists() {
            self.write("driver_override", "\n")?;
        }
        Ok(())
    }

    /// Opens the folder of the IOMMU group once udev or devtmpfs has made its node.
    pub fn wait_vfio_group(&self) -> Result<PathBuf> {
        let link = fs::read_link(self.dir().join("iommu_group")).map_err(|_| {
            Error::Unsupported(format!(
                "{} has no IOMMU group: is an IOMMU on?",
                self.address
            ))
        })?;
        let group = link.file_name().unwrap_or_default();
        let node = Path::new("/dev/vfio").join(group);
        for _ in 0..100 {
            if node.exists() {
                return Ok(node);
            }
            sleep(Duration::from_millis(10));
        }
        Err(Error::Unsupported(format!(
            "{} does not appear; is {} bound to vfio-pci?",
            node.display(),
            self.address
        )))
    }

    /// Writes to one of its files.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write(&self.dir().join(name), text)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| {
        Error::transport(
            format!("writing {:?} to {}", text.trim(), path.display()),
            e,
        )
    })
}

fn load_vfio() -> Result<()> {
    let what = "modprobe vfio-pci";
    match Command::new("modprobe").arg("vfio-pci").output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(Error::transport(
            what,
            String::from_utf8_lossy(&out.stderr).trim(),
        )),
        Err(e) => Err(Error::transport(what, e)),
    }
}
