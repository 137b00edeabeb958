// SPDX-License-Identifier: GPL-2.0
//! What the host needs, whatever GPU it has.

use std::fs;
use std::path::Path;

use super::tree::{Module, Tree};
use super::{Finding, Outcome};
use crate::sysfs::chosen;

/// A module that the host should have loaded, what it is if there is none, and what to do then.
type Wanted = (&'static str, Outcome, &'static str);

const MODULES: [Wanted; 3] = [
    (
        "gim_seam",
        Outcome::Warn,
        "make modules_install; without it gim cannot be replaced while VMs run",
    ),
    ("vfio_pci", Outcome::Fail, "a kernel with CONFIG_VFIO_PCI"),
    (
        "gim_vfio_pci",
        Outcome::Warn,
        "make modules_install; without it VMs with a VF cannot be moved",
    ),
];

pub(super) fn checks(tree: &Tree) -> Vec<Finding> {
    let mut checks = vec![kernel(tree), kvm(tree), iommu(tree), remapping(tree)];
    checks.push(gim(tree));
    checks.extend(signatures(tree));
    checks.extend(MODULES.map(|m| module(tree, m)));
    checks.push(container(tree));
    checks
}

fn kernel(tree: &Tree) -> Finding {
    const CHECK: &str = "kernel";
    let Some(release) = tree.release() else {
        return Finding::unknown(CHECK, "its release cannot be read");
    };
    let rmeta = format!("{release}/build/rust/libkernel.rmeta");
    match tree.module("gim") {
        Module::Loaded => Finding::ok(CHECK, format!("{release}, runs gim")),
        Module::Installed(path) => match built_for(&path) {
            Some(other) if other != release => Finding::fail(
                CHECK,
                format!("{release}; {} is for {other}", path.display()),
                format!("boot {other}, or: make && make modules_install"),
            ),
            _ => Finding::ok(CHECK, format!("{release}, has a gim.ko")),
        },
        _ if tree.modules.join(rmeta).exists() => {
            Finding::ok(CHECK, format!("{release}, can build gim.ko"))
        }
        _ => Finding::unknown(CHECK, format!("{release}; for it there is no gim.ko yet")).hint(
            "gim.ko must be built for exactly this kernel, whose build tree (linux-headers) must know Rust",
        ),
    }
}

/// The kernel that a module was built for, if it is not packed.
fn built_for(path: &Path) -> Option<String> {
    const KEY: &[u8] = b"\0vermagic=";
    let bytes = fs::read(path).ok().filter(|b| b.starts_with(b"\x7fELF"))?;
    let at = bytes.windows(KEY.len()).position(|w| w == KEY)?;
    let value = bytes.get(at + KEY.len()..)?;
    let value = value.split(|&b| b == b' ' || b == 0).next()?;
    String::from_utf8(value.to_vec()).ok()
}

/// The word for hardware virtualization in /proc/cpuinfo, and the module that needs it.
fn virtualization(tree: &Tree) -> Option<(&'static str, &'static str)> {
    let cpu = tree.proc_text("cpuinfo")?;
    let flags = cpu.lines().find(|line| line.starts_with("flags"))?;
    [("vmx", "kvm_intel"), ("svm", "kvm_amd")]
        .into_iter()
        .find(|(flag, _)| flags.split_whitespace().any(|f| f == *flag))
}

fn kvm(tree: &Tree) -> Finding {
    const CHECK: &str = "KVM";
    match (tree.dev.join("kvm").try_exists(), virtualization(tree)) {
        (Ok(true), cpu) => {
            let cpu = cpu.map_or(String::new(), |(flag, _)| format!(", {flag}"));
            Finding::ok(CHECK, format!("/dev/kvm{cpu}"))
        }
        (Err(_), _) => Finding::unknown(CHECK, "/dev cannot be read"),
        (Ok(false), Some((flag, module))) => Finding::fail(
            CHECK,
            format!("no /dev/kvm, though the CPU has {flag}"),
            format!("modprobe {module}"),
        ),
        (Ok(false), None) => Finding::fail(
            CHECK,
            "no /dev/kvm, and the CPU shows neither vmx nor svm",
            "firmware: Intel VT-x or AMD SVM on",
        ),
    }
}

fn iommu(tree: &Tree) -> Finding {
    const CHECK: &str = "IOMMU";
    let count = |path| tree.names(path).map_or(0, |names| names.len());
    let (groups, units) = (count("kernel/iommu_groups"), count("class/iommu"));
    if tree.has_iommu() {
        return Finding::ok(CHECK, format!("{groups} groups, {units} units"));
    }
    if tree.names("kernel").is_none() {
        return Finding::unknown(CHECK, "sysfs cannot be read");
    }
    let found = match (groups, units) {
        (0, 0) => "off".to_owned(),
        (0, _) => format!("{units} units, but no groups"),
        _ => format!("{groups} groups without an IOMMU (VFIO's unsafe mode)"),
    };
    Finding::fail(CHECK, found, how_to_switch_on(tree))
}

/// What keeps the IOMMU off: a kernel parameter, the firmware, or a parameter that is missing.
fn how_to_switch_on(tree: &Tree) -> String {
    for name in ["intel_iommu", "amd_iommu", "iommu"] {
        if tree.has_parameter(name, "off") {
            return format!("kernel parameter {name}=off: remove it");
        }
    }
    let tables = tree.names("firmware/acpi/tables").unwrap_or_default();
    let has = |name: &str| tables.iter().any(|t| t == name);
    let cpu = tree.proc_text("cpuinfo").unwrap_or_default();
    let intel = "kernel parameter intel_iommu=on";
    let log = "the kernel's log says why: dmesg | grep -i -e dmar -e amd-vi";
    if has("DMAR") {
        return match tree.has_parameter("intel_iommu", "on") {
            true => log.to_owned(),
            false => intel.to_owned(),
        };
    }
    match () {
        () if has("IVRS") => log.to_owned(),
        () if cpu.contains("GenuineIntel") => format!("firmware: VT-d on; {intel}"),
        () if cpu.contains("AuthenticAMD") => "firmware: AMD-Vi (IOMMU) on".to_owned(),
        () => format!("firmware: VT-d or AMD-Vi on; with Intel's {intel}"),
    }
}

/// Without it a VF could send any interrupt by DMA, so VFIO refuses.
fn remapping(tree: &Tree) -> Finding {
    const CHECK: &str = "interrupt remapping";
    let Some(interrupts) = tree.proc_text("interrupts") else {
        return Finding::unknown(CHECK, "/proc/interrupts cannot be read");
    };
    // The kernel puts this before the names of what is remapped.
    if interrupts.split_whitespace().any(|w| w.starts_with("IR-")) {
        return Finding::ok(CHECK, "on");
    }
    if !tree.has_iommu() {
        return Finding::unknown(CHECK, "the IOMMU is off");
    }
    let unsafe_ok = tree.sys_text("module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
    if unsafe_ok.as_deref() == Some("Y") {
        let todo = "guests can send interrupts that are not theirs: do not share with strangers";
        return Finding::warn(CHECK, "off, and VFIO told not to mind", todo);
    }
    let off = tree.parameter("nointremap").is_some() || tree.has_parameter("intremap", "off");
    let todo = match off {
        true => "kernel parameters nointremap, intremap=off: remove them",
        false => "firmware: interrupt remapping and x2APIC on. Where all guests are trusted: modprobe vfio_iommu_type1 allow_unsafe_interrupts=1",
    };
    Finding::fail(CHECK, "off", todo)
}

fn gim(tree: &Tree) -> Finding {
    const CHECK: &str = "gim";
    let others = || tree.kernels_with("gim");
    match tree.module("gim") {
        Module::Loaded => {
            let version = tree.sys_text("module/gim/version");
            let version = version.map_or(String::new(), |v| format!(" {v}"));
            Finding::ok(CHECK, format!("loaded{version}"))
        }
        Module::Installed(_) => Finding::warn(CHECK, "installed, not loaded", "modprobe gim"),
        _ if !others().is_empty() => Finding::warn(
            CHECK,
            format!("installed for {} only", others().join(", ")),
            "boot that kernel, or: make && make modules_install",
        ),
        _ => Finding::warn(
            CHECK,
            "neither loaded nor installed",
            "make, then: insmod gim.ko, or make modules_install && modprobe gim",
        ),
    }
}

/// Whether the kernel would load a module that nobody has signed; of no interest once it has.
fn signatures(tree: &Tree) -> Option<Finding> {
    const CHECK: &str = "module signatures";
    if tree.loaded("gim") {
        return None;
    }
    let enforced = tree.sys_text("module/module/parameters/sig_enforce");
    let lockdown = tree.sys_text("kernel/security/lockdown");
    let locked = lockdown.as_deref().map_or("none", chosen) != "none";
    if enforced.as_deref() == Some("Y") || locked {
        let todo = "sign gim.ko with a key that the firmware knows (mokutil --import), or: firmware: Secure Boot off";
        return Some(Finding::warn(CHECK, "needed", todo));
    }
    enforced.or(lockdown)?;
    Some(Finding::ok(CHECK, "not needed"))
}

fn module(tree: &Tree, (name, missing, todo): Wanted) -> Finding {
    let load = format!("modprobe {name}");
    match tree.module(name) {
        Module::Loaded => Finding::ok(name, "loaded"),
        Module::Installed(_) => Finding::warn(name, "installed, not loaded", load),
        Module::Unknown => Finding::unknown(name, "not loaded").hint(load),
        // Either of the two passes VFs on.
        Module::Missing if name == "vfio_pci" && tree.loaded("gim_vfio_pci") => {
            Finding::warn(name, "not installed", todo)
        }
        Module::Missing => Finding {
            result: missing,
            ..Finding::warn(name, "not installed", todo)
        },
    }
}

/// What VMMs put devices into: iommufd, or a container of type 1.
fn container(tree: &Tree) -> Finding {
    const CHECK: &str = "VFIO";
    let there = |node: &str| tree.dev.join(node).try_exists();
    match (there("iommu"), there("vfio/vfio")) {
        (Ok(true), Ok(true)) => Finding::ok(CHECK, "/dev/iommu, /dev/vfio/vfio"),
        (Ok(true), _) => Finding::ok(CHECK, "/dev/iommu"),
        (_, Ok(true)) => Finding::ok(CHECK, "/dev/vfio/vfio"),
        (Err(_), _) | (_, Err(_)) => Finding::unknown(CHECK, "/dev cannot be read"),
        _ => {
            let found = "neither /dev/iommu nor /dev/vfio/vfio";
            match tree.module("vfio_iommu_type1") {
                Module::Missing => Finding::fail(CHECK, found, "a kernel with CONFIG_VFIO"),
                _ => Finding::warn(CHECK, found, "modprobe vfio_iommu_type1"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_was_built_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |bytes: &[u8]| fs::write(file.path(), bytes).unwrap();
        write(b"\x7fELF..\0name=gim\0vermagic=7.3.4+deb13-amd64 SMP preempt \0..");
        let release = built_for(file.path());
        assert_eq!(release.as_deref(), Some("7.3.4+deb13-amd64"));
        write(b"\xfd7zXZ\0vermagic=7.3.4 ");
        assert_eq!(built_for(file.path()), None);
        write(b"\x7fELF\0vermagic=");
        assert_eq!(built_for(file.path()).as_deref(), Some(""));
    }
}
