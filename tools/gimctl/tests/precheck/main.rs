// SPDX-License-Identifier: GPL-2.0
//! `gimctl precheck` against made-up hosts, each of which lacks something.

mod made_up;

use std::fs;

use predicates::prelude::*;

use made_up::{vf, Host, DEVICES, PCI, PORT, RELEASE, VFS};

#[test]
fn a_host_that_is_ready() {
    let host = Host::new();
    assert_eq!(host.odd(), []);
    let all = host.json();
    assert_eq!((&all["ready"], &all["failed"]), (&true.into(), &0.into()));
    let checks = all["checks"].as_array().unwrap();
    assert_eq!(checks[0]["subject"], "host");
    assert_eq!(checks.last().unwrap()["subject"], PCI);
    let last = format!(
        "none of {} checks failed; 0 warnings, 0 unknown\n",
        checks.len()
    );
    let assert = host.run(&[]).success().stderr("");
    let assert = assert.stdout(predicate::str::ends_with(last.as_str()));
    // The head, a line for each check, the last line.
    let lines = String::from_utf8_lossy(&assert.get_output().stdout)
        .lines()
        .count();
    assert_eq!(lines, checks.len() + 2);
    host.says("VF groups", "ok", "each VF has its own", "");
    host.says("VF drivers", "ok", "4 vfio-pci", "");
    host.says("link", "ok", "8.0 GT/s x16", "");
}

#[test]
fn the_iommu_is_off() {
    let host = Host::new();
    host.remove("sys/kernel/iommu_groups");
    host.remove("sys/class/iommu");
    host.write("proc/interrupts", " 8: 0 IO-APIC 8-edge rtc0\n");
    for i in 0..VFS {
        host.remove(&format!("{DEVICES}/{}/iommu_group", vf(i)));
    }
    host.remove(&format!("{DEVICES}/{PCI}/iommu_group"));
    // One thing is wrong; what follows from it is not said again.
    let failed: Vec<_> = host.odd().into_iter().filter(|o| o.1 == "FAIL").collect();
    assert_eq!(failed, [("IOMMU".to_owned(), "FAIL".to_owned())]);
    for (cmdline, table, vendor, todo) in [
        (
            "intel_iommu=on",
            true,
            "GenuineIntel",
            "the kernel's log says why",
        ),
        (
            "quiet",
            true,
            "GenuineIntel",
            "kernel parameter intel_iommu=on",
        ),
        ("quiet", false, "GenuineIntel", "firmware: VT-d on"),
        ("quiet", false, "AuthenticAMD", "firmware: AMD-Vi"),
        ("iommu=pt,off", true, "GenuineIntel", "iommu=off: remove it"),
    ] {
        host.write("proc/cmdline", cmdline);
        host.write(
            "proc/cpuinfo",
            &format!("vendor_id : {vendor}\nflags : vmx"),
        );
        match table {
            true => host.write("sys/firmware/acpi/tables/DMAR", ""),
            false => drop(fs::remove_file(host.path("sys/firmware/acpi/tables/DMAR"))),
        }
        host.says("IOMMU", "FAIL", "off", todo);
    }
    // VFIO without an IOMMU makes groups, which are none.
    host.write("sys/kernel/iommu_groups/0/name", "vfio-noiommu");
    host.says("IOMMU", "FAIL", "1 groups without", "");
}

#[test]
fn interrupts_are_not_remapped() {
    let host = Host::new();
    host.write("proc/interrupts", " 8: 0 IO-APIC 8-edge rtc0\n");
    host.only("interrupt remapping", "FAIL", "off", "firmware");
    host.write("proc/cmdline", "intel_iommu=on intremap=off");
    host.only("interrupt remapping", "FAIL", "off", "intremap=off");
    let allowed = "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
    host.write(allowed, "Y\n");
    host.only("interrupt remapping", "warn", "off", "strangers");
    host.remove("proc/interrupts");
    host.only("interrupt remapping", "unknown", "cannot be read", "");
}

#[test]
fn no_kvm() {
    let host = Host::new();
    host.remove("dev/kvm");
    host.only("KVM", "FAIL", "the CPU has vmx", "modprobe kvm_intel");
    host.write("proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : fpu");
    host.only("KVM", "FAIL", "neither vmx nor svm", "firmware");
}

#[test]
fn gim_is_not_loaded() {
    let host = Host::new();
    host.remove("sys/module/gim");
    host.remove(&format!("{DEVICES}/{PCI}/driver"));
    host.attr(PCI, "sriov_numvfs", "0");
    for i in 0..VFS {
        host.remove(&format!("{DEVICES}/{PCI}/virtfn{i}"));
    }
    host.says("gim", "warn", "neither loaded", "insmod gim.ko");
    host.says("kernel", "unknown", RELEASE, "linux-headers");
    host.says("driver", "ok", "free for gim", "");
    host.says("VFs", "ok", "0 of 16", "gimctl vfs set");
    host.run(&[]).success();

    let dep = |release: &str| format!("modules/{release}/modules.dep");
    host.write(&dep("6.12.0"), "updates/gim.ko.xz:\n");
    host.says("gim", "warn", "for 6.12.0 only", "boot that kernel");
    host.write(&dep(RELEASE), "updates/gim.ko:\n");
    host.says("gim", "warn", "installed, not loaded", "modprobe gim");
    let ko = format!("modules/{RELEASE}/updates/gim.ko");
    host.write(&ko, &format!("\x7fELF\0vermagic={RELEASE} SMP "));
    host.only("gim", "warn", "installed", "modprobe");
    host.write(&ko, "\x7fELF\0vermagic=6.12.0 SMP ");
    host.says("kernel", "FAIL", "is for 6.12.0", "boot 6.12.0");
    host.write("sys/kernel/security/lockdown", "none [integrity] x\n");
    host.says("module signatures", "warn", "needed", "mokutil");
}

#[test]
fn modules_and_nodes() {
    let host = Host::new();
    for module in ["vfio_pci", "gim_vfio_pci", "gim_seam"] {
        host.remove(&format!("sys/module/{module}"));
    }
    host.says("vfio_pci", "unknown", "not loaded", "modprobe vfio_pci");
    let dep = format!("modules/{RELEASE}/modules.dep");
    host.write(&dep, "kernel/vfio-pci-core.ko.xz:\n");
    host.says("vfio_pci", "FAIL", "not installed", "CONFIG_VFIO_PCI");
    host.says("gim_vfio_pci", "warn", "not installed", "cannot be moved");
    host.write("sys/module/gim_vfio_pci/version", "0.1.0\n");
    host.says("vfio_pci", "warn", "not installed", "CONFIG_VFIO_PCI");
    host.write(&dep, "kernel/vfio-pci.ko.xz: x\nupdates/gim_seam.ko:\n");
    host.says("vfio_pci", "warn", "installed", "modprobe vfio_pci");
    host.says("gim_seam", "warn", "installed", "modprobe gim_seam");
    host.remove("dev/vfio");
    host.says("VFIO", "FAIL", "neither", "CONFIG_VFIO");
    host.write(&dep, "kernel/vfio_iommu_type1.ko.xz:\n");
    host.says("VFIO", "warn", "neither", "modprobe vfio_iommu_type1");
    host.write("dev/iommu", "");
    host.says("VFIO", "ok", "/dev/iommu", "");
}

#[test]
fn vf_bars_have_no_address() {
    let host = Host::new();
    host.resources(&[0, 2, 5, 9, 12]);
    host.only("VF BARs", "FAIL", "0: no address", "Above 4G Decoding");
    host.says("VF BARs", "FAIL", "2: 1.0 MiB", "pci=realloc");
    host.write("proc/cmdline", "pci=realloc");
    let todo = host.check("VF BARs")["todo"].clone();
    assert!(!todo.as_str().unwrap().contains("pci=realloc"));
    host.resources(&[7, 9, 12]);
    host.only("BARs", "FAIL", "0: no address", "Above 4G Decoding");
}

#[test]
fn another_driver_has_the_gpu() {
    let host = Host::new();
    host.driver(PCI, "amdgpu");
    host.only("driver", "FAIL", "amdgpu", "blacklist amdgpu");
    host.driver(PCI, "vfio-pci");
    host.only("driver", "FAIL", "vfio-pci", "ids=");
    host.says("driver", "FAIL", "", "drivers/vfio-pci/unbind");
    host.remove(&format!("{DEVICES}/{PCI}/driver"));
    host.only("driver", "FAIL", "though gim is loaded", "drivers/gim/bind");
    host.attr(PCI, "driver_override", "vfio-pci\n");
    host.only("driver", "FAIL", "reserved for vfio-pci", "driver_override");
}

#[test]
fn sriov_is_off() {
    let host = Host::new();
    host.remove(&format!("{DEVICES}/{PCI}/sriov_totalvfs"));
    host.only("SR-IOV", "FAIL", "no VFs", "firmware: SR-IOV Support on");
    let all = host.json().to_string();
    assert!(!all.contains("VF BARs") && !all.contains("\"ARI\""));
}

#[test]
fn bridges_without_ari() {
    let host = Host::new();
    host.attr(PCI, "ari_enabled", "0");
    host.only("ARI", "warn", "7 VFs", "another slot: 0000:00:01.0");
    host.attr(PCI, "sriov_offset", "16");
    host.only("ARI", "FAIL", "no VF", "firmware: ARI");
    host.write("proc/cmdline", "pci=noari");
    host.only("ARI", "FAIL", "no VF", "pci=noari: remove");
    host.remove(&format!("{DEVICES}/{PCI}/sriov_offset"));
    host.only("ARI", "warn", "not all VFs", "");
    host.remove(&format!("{DEVICES}/{PCI}/ari_enabled"));
    host.only("ARI", "unknown", "", "");
}

#[test]
fn groups_are_shared() {
    let host = Host::new();
    // A bridge in the group does no harm.
    host.group(PORT, 30);
    assert_eq!(host.odd(), []);
    host.group(&vf(2), 31);
    host.only("VF groups", "FAIL", "0000:03:00.2 with 0000:03:00.3", "ACS");
    host.group(&vf(2), 20);
    host.says("IOMMU group", "warn", "20, with 0000:03:00.3", "ACS");
}

#[test]
fn vfs_that_no_vm_could_have() {
    let host = Host::new();
    host.driver(&vf(1), "amdgpu");
    host.only("VF drivers", "FAIL", "0000:03:00.2 amdgpu", "unbind");
    host.driver(&vf(1), "gim-vfio-pci");
    host.says("VF drivers", "ok", "3 vfio-pci, 1 gim-vfio-pci", "");
    host.attr(&vf(3), "reset_method", "bus\n");
    host.only("VF reset", "FAIL", "0000:03:00.4 by: bus", "flr");
    for i in 0..VFS {
        host.remove(&format!("{DEVICES}/{}/reset_method", vf(i)));
        host.remove(&format!("{DEVICES}/{PCI}/virtfn{i}"));
    }
    host.attr(PCI, "sriov_numvfs", "0");
    host.write("sys/module/amdgpu/initstate", "live");
    host.only("VF drivers", "warn", "amdgpu", "sriov_drivers_autoprobe");
}

#[test]
fn what_slows_or_stops_a_gpu() {
    let host = Host::new();
    host.attr(PCI, "current_link_width", "8");
    host.only("link", "warn", "8.0 GT/s x8 of 8.0 GT/s x16", "slot");
    host.attr(PCI, "current_link_width", "16");
    host.attr(PCI, "current_link_speed", "Unknown");
    host.only("link", "unknown", "", "");
    host.attr(PCI, "current_link_speed", "8.0 GT/s PCIe");
    host.attr(PCI, "power_state", "D3hot");
    host.only("power", "FAIL", "D3hot", "power/control");
    let config = host.path(&format!("{DEVICES}/{PCI}/config"));
    fs::write(config, [0xff; 64]).unwrap();
    host.only("power", "FAIL", "does not answer", "");
}

#[test]
fn no_gpu() {
    let host = Host::new();
    host.remove(&format!("{DEVICES}/{PCI}"));
    host.only("GPU", "FAIL", "no FirePro S7150", "lspci -d 1002:");
    host.run(&[PCI])
        .code(1)
        .stderr(predicate::str::contains("1002:6860, and there is none"));
}

#[test]
fn gpus_by_name() {
    let host = Host::new();
    let other = "0000:04:00.0";
    host.device(other, Some(PORT), 0x1002, 0x6860, "0x030000", 50);
    let subjects = |args: &[&str]| {
        let out = host.run(args).get_output().stdout.clone();
        let text = String::from_utf8(out).unwrap();
        [PCI, other].map(|pci| text.lines().any(|line| line.starts_with(pci)))
    };
    assert_eq!(subjects(&[]), [true, true]);
    assert_eq!(subjects(&["03:00.0"]), [true, false]);
    assert_eq!(subjects(&["1"]), [false, true]);
    assert_eq!(subjects(&[PCI, other, "0"]), [true, true]);
    let here = "0000:03:00.0, 0000:04:00.0";
    for (name, why) in [(PORT, "is 8086:3420"), ("05:00.0", "no GPU \"05:00.0\"")] {
        let says = predicate::str::contains(why).and(predicate::str::contains(here));
        host.run(&[name]).code(1).stdout("").stderr(says);
    }
}

#[test]
fn nothing_to_read() {
    let host = Host::empty();
    for check in ["kernel", "IOMMU", "interrupt remapping", "vfio_pci", "GPU"] {
        host.says(check, "unknown", "", "");
    }
}
