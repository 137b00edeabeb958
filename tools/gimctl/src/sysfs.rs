// SPDX-License-Identifier: GPL-2.0
//! The sysfs interface of `gim`, read into plain data.
//!
//! Nothing here insists on a file that a future or past driver may lack: a missing attribute is
//! `None`, an unknown key of a `stats` file is kept as it is.

mod file;
mod orders;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

pub use self::file::{chosen, is_pci_address, parse_stats};
pub(crate) use self::file::{link_name, read_number, read_text};
use self::file::{read_choice, read_stats};
use crate::holder::{Holder, Holders};

/// The numbers of VFs into which a GPU can be divided; 0 takes all VFs away.
pub const VF_COUNTS: [u32; 5] = [1, 2, 4, 8, 16];

/// Lines `key value` of a `stats` file, in the order of the file.
pub type Stats = IndexMap<String, Value>;

/// One virtual function as the driver shows it under `sriov_admin/vfN`.
#[derive(Debug, Clone, Serialize)]
pub struct Vf {
    /// Index of the VF, from 0.
    pub index: u32,
    /// PCI address of the VF, while it is enabled.
    pub pci: Option<String>,
    /// Driver that the VF is bound to on this host.
    pub driver: Option<String>,
    /// Number of its IOMMU group.
    pub iommu_group: Option<String>,
    /// Life-cycle state: unavailable, available, full-access, active, suspended, resetting or
    /// quarantined.
    pub state: Option<String>,
    /// Whether the host holds the VF off the engine: running, pausing or paused.
    pub control: Option<String>,
    /// Size of the VF's framebuffer in MiB.
    pub fb_mib: Option<u64>,
    /// Where the VF's framebuffer starts in the GPU's, in MiB.
    pub fb_offset_mib: Option<u64>,
    /// Length of the VF's time slice in microseconds.
    pub slice_us: Option<u64>,
    /// Counters, times in nanoseconds.
    pub stats: Stats,
    /// What its guest says of itself, once it was asked for ([`Gpu::read_guests`]).
    #[serde(skip_serializing_if = "Stats::is_empty")]
    pub guest: Stats,
    /// Who has it open, once it was asked for ([`Gpu::read_holders`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// VFIO's files for it.
    #[serde(skip)]
    files: Vec<PathBuf>,
}

impl Vf {
    /// A counter of the VF, or 0 where the driver does not have it.
    pub fn counter(&self, key: &str) -> u64 {
        self.stats.get(key).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Whether a guest holds the VF: taking it away now would pull the GPU from under a VM.
    pub fn in_use(&self) -> bool {
        matches!(
            self.state.as_deref(),
            Some("full-access" | "active" | "suspended" | "resetting")
        )
    }
}

/// One GPU that `gim` drives.
#[derive(Debug, Clone, Serialize)]
pub struct Gpu {
    /// PCI address of the physical function.
    pub pci: String,
    /// Name of the chip.
    pub chip: Option<String>,
    /// Size of the whole framebuffer in MiB.
    pub framebuffer_mib: Option<u64>,
    /// State of the GPU as a whole.
    pub state: Option<String>,
    /// Whether the host has parked the scheduler: running, pausing or paused.
    pub control: Option<String>,
    /// Scheduling policy in force.
    pub policy: Option<String>,
    /// Whether the time of an idle VF is given away (`work-conserving`) or not (`strict`).
    pub mode: Option<String>,
    /// Default time slice in microseconds.
    pub slice_us: Option<u64>,
    /// Number of VFs enabled.
    pub num_vfs: u32,
    /// Most VFs the device has.
    pub total_vfs: u32,
    /// Counters of the GPU as a whole.
    pub stats: Stats,
    /// Counters of the physical function as a tenant of the engine.
    pub pf_stats: Stats,
    /// The VFs that are enabled.
    pub vfs: Vec<Vf>,
    #[serde(skip)]
    dir: PathBuf,
}

/// The sysfs tree, normally `/sys`.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::new("/sys")
    }
}

impl Sysfs {
    /// A tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn driver_dir(&self) -> PathBuf {
        self.root.join("bus/pci/drivers/gim")
    }

    /// Whether the driver is loaded.
    pub fn is_loaded(&self) -> bool {
        self.driver_dir().is_dir()
    }

    /// Version of the loaded module.
    pub fn version(&self) -> Option<String> {
        read_text(&self.root.join("module/gim/version"))
    }

    /// PCI addresses of all GPUs that `gim` drives, in ascending order.
    ///
    /// Fails when the module is not loaded; a loaded module without a GPU gives an empty list.
    pub fn gpu_addresses(&self) -> Result<Vec<String>> {
        let dir = self.driver_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                bail!(
                    "the gim driver is not loaded ({} is missing); run: modprobe gim",
                    dir.display()
                )
            }
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", dir.display())),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry
                .with_context(|| format!("cannot read {}", dir.display()))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if is_pci_address(&name) {
                found.push(name);
            }
        }
        found.sort();
        Ok(found)
    }

    /// All GPUs that `gim` drives.
    pub fn gpus(&self) -> Result<Vec<Gpu>> {
        self.gpu_addresses()?
            .iter()
            .map(|pci| self.read_gpu(pci))
            .collect()
    }

    /// The GPU that `choice` names: an address (the domain may be left out), a number counted
    /// from 0, or none if there is only one GPU.
    pub fn gpu(&self, choice: Option<&str>) -> Result<Gpu> {
        let all = self.gpu_addresses()?;
        if all.is_empty() {
            bail!("gim is loaded but drives no GPU; it knows the FirePro S7150 (1002:6929) and the Radeon Instinct MI25 (1002:6860)");
        }
        let Some(choice) = choice else {
            let [only] = all.as_slice() else {
                bail!(
                    "there are {} GPUs, choose one of: {}",
                    all.len(),
                    all.join(", ")
                );
            };
            return self.read_gpu(only);
        };
        let by_number = choice.parse::<usize>().ok().and_then(|i| all.get(i));
        let by_address = || {
            let long = format!("0000:{choice}");
            all.iter().find(|a| *a == choice || **a == long)
        };
        match by_number.or_else(by_address) {
            Some(pci) => self.read_gpu(pci),
            None => bail!(
                "gim drives no GPU \"{choice}\"; choose one of: {}",
                all.join(", ")
            ),
        }
    }

    /// Reads everything about the GPU at `pci`.
    pub fn read_gpu(&self, pci: &str) -> Result<Gpu> {
        let dir = self.driver_dir().join(pci);
        if !dir.exists() {
            bail!("GPU {pci} is gone ({} is missing)", dir.display());
        }
        let group = dir.join("gim");
        let num_vfs = read_number(&dir.join("sriov_numvfs")).unwrap_or(0);
        let mut gpu = Gpu {
            pci: pci.to_owned(),
            chip: read_text(&group.join("chip")),
            framebuffer_mib: read_number(&group.join("framebuffer_mib")),
            state: read_text(&group.join("state")),
            control: read_text(&group.join("control")),
            policy: read_choice(&group.join("policy")),
            mode: read_choice(&group.join("mode")),
            slice_us: read_number(&group.join("slice_us")),
            num_vfs: u32::try_from(num_vfs).unwrap_or(0),
            total_vfs: read_number(&dir.join("sriov_totalvfs"))
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
            stats: read_stats(&group.join("stats")),
            pf_stats: read_stats(&dir.join("sriov_admin/pf/stats")),
            vfs: Vec::new(),
            dir,
        };
        gpu.vfs = (0..gpu.num_vfs)
            .map(|i| self.read_vf(&gpu.dir, i))
            .collect();
        Ok(gpu)
    }

    fn read_vf(&self, dir: &Path, index: u32) -> Vf {
        // Directories are numbered from 1, as in other drivers: 0 would be the PF.
        let admin = dir.join(format!("sriov_admin/vf{}", index + 1));
        let pci = link_name(&dir.join(format!("virtfn{index}")))
            .or_else(|| link_name(&admin.join("device")));
        let device = pci
            .as_ref()
            .map(|a| self.root.join("bus/pci/devices").join(a));
        let link = |name| device.as_ref().and_then(|d| link_name(&d.join(name)));
        let iommu_group = link("iommu_group");
        Vf {
            index,
            driver: link("driver"),
            files: vfio_files(iommu_group.as_deref(), device.as_deref()),
            iommu_group,
            pci,
            state: read_text(&admin.join("state")),
            control: read_text(&admin.join("control")),
            fb_mib: read_number(&admin.join("fb_mib")),
            fb_offset_mib: read_number(&admin.join("fb_offset_mib")),
            slice_us: read_number(&admin.join("slice_us")),
            stats: read_stats(&admin.join("stats")),
            guest: Stats::default(),
            holder: None,
        }
    }
}

impl Gpu {
    /// The GPU's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads what guests say of themselves, which costs a look into their framebuffers.
    pub fn read_guests(&mut self) {
        for vf in &mut self.vfs {
            let file = format!("sriov_admin/vf{}/guest", vf.index + 1);
            vf.guest = read_stats(&self.dir.join(file));
        }
    }

    /// Finds out who has the VFs open, among these.
    pub fn read_holders(&mut self, holders: &Holders) {
        for vf in &mut self.vfs {
            vf.holder = holders.of(&vf.files).cloned();
        }
    }
}

/// The files by which a VFIO device can be opened: that of its group, and its own.
fn vfio_files(group: Option<&str>, device: Option<&Path>) -> Vec<PathBuf> {
    let own = device
        .into_iter()
        .flat_map(|d| fs::read_dir(d.join("vfio-dev")));
    let own = own.flatten().flatten().map(|entry| entry.file_name());
    let dir = Path::new("/dev/vfio");
    group
        .map(|group| dir.join(group))
        .into_iter()
        .chain(own.map(|name| dir.join("devices").join(name)))
        .collect()
}
