// SPDX-License-Identifier: GPL-2.0
//! The sysfs interface of `gim`, read into plain data.
//!
//! Nothing here insists on a file that a future or past driver may lack: a missing attribute is
//! `None`, an unknown key of a `stats` file is kept as it is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

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

    /// Enables `count` VFs, or takes all away with 0.
    ///
    /// Refuses what [`Self::check_vfs`] does. Returns the count that was in force before.
    pub fn set_vfs(&self, count: u32, force: bool) -> Result<u32> {
        self.check_vfs(count, force)?;
        if count == self.num_vfs {
            return Ok(self.num_vfs);
        }
        if self.num_vfs != 0 {
            // The PCI core refuses to go from one count to another without passing through 0.
            self.write_numvfs(0)?;
        }
        if count != 0 {
            self.write_numvfs(count)?;
        }
        Ok(self.num_vfs)
    }

    /// Refuses counts outside [`VF_COUNTS`] and, unless `force`, to take away VFs that guests use.
    pub fn check_vfs(&self, count: u32, force: bool) -> Result<()> {
        self.check_count(count)?;
        if count != self.num_vfs {
            let busy: Vec<String> = self
                .vfs
                .iter()
                .filter(|vf| vf.in_use())
                .map(|vf| {
                    let state = vf.state.as_deref().unwrap_or("?");
                    format!(
                        "VF {} ({}) is {state}",
                        vf.index,
                        vf.pci.as_deref().unwrap_or("?")
                    )
                })
                .collect();
            if !busy.is_empty() && !force {
                bail!(
                    "VFs of GPU {} are in use: {}; shut their VMs down first (--force pulls the GPU from under them)",
                    self.pci,
                    busy.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Sets whether the time of an idle VF is given away: `strict` or `work-conserving`.
    pub fn set_mode(&self, mode: &str) -> Result<()> {
        let path = self.dir.join("gim/mode");
        fs::write(&path, format!("{mode}\n"))
            .with_context(|| format!("cannot set mode {mode} ({})", path.display()))
    }

    /// Orders `pause`, `resume` or (of a VF) `reset`, and returns when it is done.
    ///
    /// Without a VF, the order is for the scheduler as a whole.
    pub fn order(&self, vf: Option<u32>, order: &str) -> Result<()> {
        let (path, whom) = match vf {
            None => (self.dir.join("gim/control"), "the scheduler".to_owned()),
            Some(n) if n < self.num_vfs => {
                let path = format!("sriov_admin/vf{}/control", n + 1);
                (self.dir.join(path), format!("VF {n}"))
            }
            Some(n) => bail!(
                "GPU {} has no VF {n}; it has {} VFs, counted from 0",
                self.pci,
                self.num_vfs
            ),
        };
        fs::write(&path, format!("{order}\n")).map_err(|e| {
            let why = match e.raw_os_error() {
                Some(EACCES | EPERM) => "this needs root; run it again with sudo".to_owned(),
                Some(ETIMEDOUT) => "it takes too long; nothing was changed".to_owned(),
                Some(ECANCELED) => "somebody else has ordered otherwise meanwhile".to_owned(),
                Some(EIO) => {
                    "the reset has failed, or the VF is quarantined; see the kernel log".to_owned()
                }
                Some(ENOENT) => format!("{} is missing: is the driver older?", path.display()),
                _ => e.to_string(),
            };
            anyhow!("cannot {order} {whom} of GPU {}: {why}", self.pci)
        })
    }

    /// Has the driver leave its VFs to the next one when it is unloaded, or take them with it.
    pub fn hand_over(&self, on: bool) -> Result<()> {
        let path = self.dir.join("gim/handover");
        fs::write(&path, format!("{}\n", u8::from(on))).map_err(|e| {
            let why = match e.raw_os_error() {
                Some(EACCES | EPERM) => "this needs root; run it again with sudo".to_owned(),
                Some(ENODEV) => {
                    "gim_seam, which keeps what the next gim must know, is not loaded; run: modprobe gim_seam".to_owned()
                }
                Some(EBUSY) => "a VF is being saved, restored or tracked; let that end first".to_owned(),
                Some(ENOENT) => format!("{} is missing: is the driver older?", path.display()),
                _ => e.to_string(),
            };
            anyhow!("the VFs of GPU {} cannot be handed over: {why}", self.pci)
        })
    }

    fn check_count(&self, count: u32) -> Result<()> {
        if count != 0 && !VF_COUNTS.contains(&count) {
            bail!("{count} VFs are not possible; allowed are 1, 2, 4, 8, 16, or 0 to disable");
        }
        if self.total_vfs != 0 && count > self.total_vfs {
            bail!(
                "GPU {} has {} VFs at most, {count} were asked for",
                self.pci,
                self.total_vfs
            );
        }
        Ok(())
    }

    fn write_numvfs(&self, count: u32) -> Result<()> {
        let path = self.dir.join("sriov_numvfs");
        fs::write(&path, format!("{count}\n")).map_err(|e| {
            let why = match e.raw_os_error() {
                Some(EACCES | EPERM) => "this needs root; run it again with sudo".to_owned(),
                Some(EBUSY) => "VFs are in use (EBUSY); shut down the VMs that hold them, or unbind them from their driver".to_owned(),
                Some(ENOSYS | ENOENT) => "the device offers no SR-IOV, or it is switched off in the firmware".to_owned(),
                Some(ENOMEM | ENOSPC) => format!("{e}; there is not enough PCI address space or bus numbers for the VFs (try the kernel parameter pci=realloc)"),
                Some(EINVAL | ERANGE) => format!("the driver refused {count} VFs; see the kernel log"),
                _ => e.to_string(),
            };
            anyhow!("cannot set {count} VFs on GPU {}: {why}", self.pci)
        })
    }
}

// Values of x86 and every other architecture with generic error numbers.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ERANGE: i32 = 34;
const ENOSYS: i32 = 38;
const ETIMEDOUT: i32 = 110;
const ECANCELED: i32 = 125;

/// Whether `name` is a full PCI address such as `0000:03:00.0`.
pub fn is_pci_address(name: &str) -> bool {
    let hex = |s: &str, n: usize| s.len() >= n && s.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = name.split([':', '.']).collect();
    matches!(parts.as_slice(), [d, b, s, f]
        if name.matches(':').count() == 2 && hex(d, 4) && hex(b, 2) && hex(s, 2) && hex(f, 1))
}

/// Parses a `stats` file: one `key value` a line; numbers become numbers, the rest stays text.
pub fn parse_stats(text: &str) -> Stats {
    text.lines()
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .map(|(key, value)| {
            let value = value.trim();
            let parsed = value
                .parse::<u64>()
                .map_or_else(|_| Value::from(value), Value::from);
            (key.trim_end_matches(':').to_owned(), parsed)
        })
        .collect()
}

/// The entry in brackets of `rr [qos]`, or the whole text where there are no brackets.
pub fn chosen(text: &str) -> &str {
    match (text.find('['), text.find(']')) {
        (Some(a), Some(b)) if a < b => &text[a + 1..b],
        _ => text,
    }
}

pub(crate) fn read_text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn read_choice(path: &Path) -> Option<String> {
    read_text(path).map(|text| chosen(&text).to_owned())
}

pub(crate) fn read_number(path: &Path) -> Option<u64> {
    read_text(path)?.parse().ok()
}

fn read_stats(path: &Path) -> Stats {
    read_text(path)
        .map(|text| parse_stats(&text))
        .unwrap_or_default()
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

pub(crate) fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(is_pci_address("0000:03:00.0"));
        assert!(is_pci_address("10000:03:1f.7"));
        for bad in [
            "module",
            "bind",
            "03:00.0",
            "0000:03:00",
            "0000.03.00:0",
            "0000:0g:00.0",
            "",
        ] {
            assert!(!is_pci_address(bad), "{bad}");
        }
    }

    #[test]
    fn stats_keep_what_they_do_not_know() {
        let s = parse_stats("run_ns 12\nnew_thing: 7\nlast_error none yet\nrubbish\n\n");
        assert_eq!(s["run_ns"], 12);
        assert_eq!(s["new_thing"], 7);
        assert_eq!(s["last_error"], "none yet");
        assert_eq!(s.len(), 3);
        assert_eq!(
            s.keys().collect::<Vec<_>>(),
            ["run_ns", "new_thing", "last_error"]
        );
    }

    #[test]
    fn choices() {
        assert_eq!(chosen("[rr] qos"), "rr");
        assert_eq!(chosen("strict [work-conserving]"), "work-conserving");
        assert_eq!(chosen("rr"), "rr");
        assert_eq!(chosen("]odd["), "]odd[");
    }
}
