// SPDX-License-Identifier: GPL-2.0
//! Where a host shows what it has: sysfs, procfs, devices, modules.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sysfs::{link_name, read_text};

/// The roots of what is read.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Sysfs.
    pub sys: PathBuf,
    /// Procfs.
    pub proc: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// A folder of modules for each kernel.
    pub modules: PathBuf,
}

/// What is known of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Module {
    /// It is loaded, or part of the kernel.
    Loaded,
    /// This file can be loaded.
    Installed(PathBuf),
    /// The running kernel has none.
    Missing,
    /// The folder of modules cannot be read.
    Unknown,
}

impl Tree {
    pub(super) fn sys_text(&self, path: &str) -> Option<String> {
        read_text(&self.sys.join(path))
    }

    pub(super) fn proc_text(&self, path: &str) -> Option<String> {
        read_text(&self.proc.join(path))
    }

    /// Names in a folder of sysfs, in ascending order.
    pub(super) fn names(&self, path: &str) -> Option<Vec<String>> {
        names(&self.sys.join(path))
    }

    /// The folder of a PCI device.
    pub(super) fn device(&self, pci: &str) -> PathBuf {
        self.sys.join("bus/pci/devices").join(pci)
    }

    /// Vendor and device id of a PCI device.
    pub(super) fn id(&self, pci: &str) -> Option<(u16, u16)> {
        let dir = self.device(pci);
        let id = |file| {
            let text = read_text(&dir.join(file))?;
            u16::from_str_radix(text.trim_start_matches("0x"), 16).ok()
        };
        Some((id("vendor")?, id("device")?))
    }

    /// Those in the IOMMU group of a PCI device who are not the device itself; `None`: it has no
    /// group. Bridges do not count: VFIO leaves them where they are.
    pub(super) fn group(&self, pci: &str) -> Option<(String, Vec<String>)> {
        let link = self.device(pci).join("iommu_group");
        let number = link_name(&link)?;
        let others = self.names(&format!("kernel/iommu_groups/{number}/devices"));
        let bridge = |other: &String| {
            let class = read_text(&self.device(other).join("class"));
            class.is_some_and(|class| class.starts_with("0x0604"))
        };
        let others = others.unwrap_or_default().into_iter();
        Some((number, others.filter(|o| o != pci && !bridge(o)).collect()))
    }

    /// Whether devices are behind an IOMMU. VFIO without one makes groups, but no units.
    pub(super) fn has_iommu(&self) -> bool {
        let some = |path| self.names(path).is_some_and(|names| !names.is_empty());
        some("kernel/iommu_groups") && some("class/iommu")
    }

    /// The value of a kernel parameter, and the empty text of one without a value; the last counts.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let line = self.proc_text("cmdline")?;
        let value = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key == name).then(|| value.to_owned())
        };
        line.split_whitespace().rev().find_map(value)
    }

    /// Whether a kernel parameter has this among its values, as in `name=this,that`.
    pub(super) fn has_parameter(&self, name: &str, value: &str) -> bool {
        self.parameter(name)
            .is_some_and(|list| list.split(',').any(|v| v == value))
    }

    /// Name of the kernel that runs.
    pub(super) fn release(&self) -> Option<String> {
        self.proc_text("sys/kernel/osrelease")
    }

    pub(super) fn loaded(&self, name: &str) -> bool {
        self.sys.join("module").join(name).exists()
    }

    /// What is known of a module, whose name is written with underscores.
    pub(super) fn module(&self, name: &str) -> Module {
        if self.loaded(name) {
            return Module::Loaded;
        }
        let Some(release) = self.release() else {
            return Module::Unknown;
        };
        let dir = self.modules.join(release);
        let line_of = |file| find(&read_text(&dir.join(file))?, name);
        if line_of("modules.builtin").is_some() {
            return Module::Loaded;
        }
        match line_of("modules.dep") {
            Some(path) => Module::Installed(dir.join(path)),
            None if dir.join("modules.dep").exists() => Module::Missing,
            None => Module::Unknown,
        }
    }

    /// Other kernels that this module is installed for.
    pub(super) fn kernels_with(&self, name: &str) -> Vec<String> {
        let has = |release: &String| {
            let list = read_text(&self.modules.join(release).join("modules.dep"));
            list.is_some_and(|list| find(&list, name).is_some())
        };
        let all = names(&self.modules).unwrap_or_default();
        all.into_iter().filter(has).collect()
    }
}

fn names(dir: &Path) -> Option<Vec<String>> {
    let entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Some(names)
}

/// The path of a module in a list as depmod makes it: `kernel/a-b.ko.xz: what it needs`.
fn find(list: &str, name: &str) -> Option<String> {
    list.lines()
        .filter_map(|line| line.split(':').next())
        .find(|path| {
            let file = path.rsplit('/').next().unwrap_or(path);
            let stem = file.split_once(".ko").map(|(stem, _)| stem);
            stem.is_some_and(|stem| stem.replace('-', "_") == name)
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_however_they_are_packed() {
        let list = "kernel/drivers/vfio/pci/vfio-pci-core.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n\
            kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/pci/vfio-pci-core.ko.xz\n\
            updates/gim.ko:\nrubbish\n";
        let core = "kernel/drivers/vfio/pci/vfio-pci-core.ko.xz";
        assert_eq!(find(list, "vfio_pci_core").as_deref(), Some(core));
        assert_eq!(find(list, "gim").as_deref(), Some("updates/gim.ko"));
        // What others need is not there for it.
        assert_eq!(find(list, "vfio"), None);
        assert_eq!(find(list, "rubbish"), None);
    }

    #[test]
    fn parameters_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree {
            sys: dir.path().into(),
            proc: dir.path().into(),
            dev: dir.path().into(),
            modules: dir.path().into(),
        };
        assert_eq!(tree.parameter("quiet"), None);
        let line = "quiet intel_iommu=off pci=realloc,noari intel_iommu=on,sm_on\n";
        fs::write(dir.path().join("cmdline"), line).unwrap();
        assert_eq!(tree.parameter("quiet").as_deref(), Some(""));
        assert!(tree.has_parameter("pci", "noari"));
        assert!(tree.has_parameter("intel_iommu", "on"));
        assert!(!tree.has_parameter("intel_iommu", "off"));
        assert_eq!(tree.parameter("iommu"), None);
    }
}
