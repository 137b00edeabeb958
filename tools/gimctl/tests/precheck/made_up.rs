// SPDX-License-Identifier: GPL-2.0
//! Hosts that are made up, and what `gimctl precheck` says of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PCI: &str = "0000:03:00.0";
pub(crate) const PORT: &str = "0000:00:01.0";
pub(crate) const DEVICES: &str = "sys/bus/pci/devices";
pub(crate) const RELEASE: &str = "7.3.4+deb13-amd64";
pub(crate) const VFS: u32 = 4;

/// A host of which nothing is to be said, until a test takes something from it.
pub(crate) struct Host(TempDir);

impl Host {
    /// A host that has nothing.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn new() -> Self {
        let host = Self::empty();
        host.write("proc/sys/kernel/osrelease", RELEASE);
        host.write("proc/cmdline", "root=/dev/sda1 intel_iommu=on quiet");
        host.write(
            "proc/cpuinfo",
            "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx",
        );
        host.write("proc/interrupts", " CPU0\n 8: 0 IR-IO-APIC 8-edge rtc0\n");
        for node in ["dev/kvm", "dev/vfio/vfio"] {
            host.write(node, "");
        }
        for module in ["gim", "gim_seam", "vfio_pci", "gim_vfio_pci"] {
            host.write(&format!("sys/module/{module}/version"), "0.1.0\n");
        }
        host.write("sys/class/iommu/dmar0/intel-iommu/cap", "0\n");
        host.write("sys/firmware/acpi/tables/DMAR", "");
        host.device(PORT, None, 0x8086, 0x3420, "0x060400", 1);
        host.gpu();
        host
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// A file of a device.
    pub(crate) fn attr(&self, pci: &str, file: &str, text: &str) {
        self.write(&format!("{DEVICES}/{pci}/{file}"), text);
    }

    pub(crate) fn link(&self, at: &str, to: &str) {
        let at = self.path(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&at);
        symlink(to, at).unwrap();
    }

    pub(crate) fn driver(&self, pci: &str, driver: &str) {
        let to = format!("../../../bus/pci/drivers/{driver}");
        self.link(&format!("{DEVICES}/{pci}/driver"), &to);
    }

    pub(crate) fn group(&self, pci: &str, group: u32) {
        let to = format!("../../kernel/iommu_groups/{group}");
        self.link(&format!("{DEVICES}/{pci}/iommu_group"), &to);
        let member = format!("sys/kernel/iommu_groups/{group}/devices/{pci}");
        self.write(&member, "");
    }

    pub(crate) fn device(
        &self,
        pci: &str,
        port: Option<&str>,
        vendor: u16,
        device: u16,
        class: &str,
        group: u32,
    ) {
        let port = port.map_or(String::new(), |port| format!("{port}/"));
        let real = format!("devices/pci0000:00/{port}{pci}");
        fs::create_dir_all(self.path(&format!("sys/{real}"))).unwrap();
        self.link(&format!("{DEVICES}/{pci}"), &format!("../../../{real}"));
        self.attr(pci, "vendor", &format!("{vendor:#06x}\n"));
        self.attr(pci, "device", &format!("{device:#06x}\n"));
        self.attr(pci, "class", class);
        self.group(pci, group);
    }

    fn gpu(&self) {
        self.device(PCI, Some(PORT), 0x1002, 0x6929, "0x030000", 20);
        self.driver(PCI, "gim");
        for (file, text) in [
            ("driver_override", "(null)"),
            ("power_state", "D0"),
            ("config", "\u{2}\u{10}\u{29}\u{69}\u{6}\0"),
            ("sriov_totalvfs", "16"),
            ("sriov_numvfs", "4"),
            ("sriov_offset", "1"),
            ("sriov_stride", "1"),
            ("sriov_drivers_autoprobe", "1"),
            ("ari_enabled", "1"),
            ("current_link_speed", "8.0 GT/s PCIe"),
            ("max_link_speed", "8.0 GT/s PCIe"),
            ("current_link_width", "16"),
            ("max_link_width", "16"),
            ("numa_node", "0"),
            ("local_cpulist", "0-15"),
        ] {
            self.attr(PCI, file, text);
        }
        self.resources(&[0, 2, 5, 7, 9, 12]);
        for i in 0..VFS {
            let vf = vf(i);
            self.device(&vf, Some(PORT), 0x1002, 0x692f, "0x030000", 30 + i);
            self.driver(&vf, "vfio-pci");
            self.attr(&vf, "reset_method", "flr bus\n");
            let at = format!("{DEVICES}/{PCI}/virtfn{i}");
            self.link(&at, &format!("../{vf}"));
        }
    }

    /// The GPU's resources, those given with an address.
    pub(crate) fn resources(&self, assigned: &[u64]) {
        let line = |i| match assigned.contains(&i) {
            true => {
                let start = 0x10_0000_0000 + (i << 28);
                format!(
                    "{start:#018x} {:#018x} 0x000000000014220c\n",
                    start + 0xf_ffff
                )
            }
            false => format!("{0:#018x} {0:#018x} {0:#018x}\n", 0),
        };
        let text: String = (0..13).map(line).collect();
        self.attr(PCI, "resource", &text);
    }

    pub(crate) fn run(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = Command::cargo_bin("gimctl").unwrap();
        command.arg("precheck");
        for root in ["sys", "proc", "dev", "modules"] {
            let name = if root == "sys" { "sysfs" } else { root };
            command.arg(format!("--{name}")).arg(self.path(root));
        }
        command.args(args).assert()
    }

    pub(crate) fn json(&self) -> Value {
        let assert = self.run(&["--json"]);
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    }

    /// The one check of this name.
    pub(crate) fn check(&self, name: &str) -> Value {
        let all = self.json();
        let all = all["checks"].as_array().unwrap();
        let mut those = all.iter().filter(|c| c["check"] == name);
        let check = those.next().unwrap_or_else(|| panic!("no check {name}"));
        assert!(those.next().is_none(), "two checks {name}");
        check.clone()
    }

    /// Names of all checks that are not ok, with what they are.
    pub(crate) fn odd(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = self.json();
        let all = all["checks"].as_array().unwrap();
        let odd = all.iter().filter(|c| c["result"] != "ok");
        odd.map(|c| (text(&c["check"]), text(&c["result"])))
            .collect()
    }

    #[track_caller]
    pub(crate) fn only(&self, check: &str, result: &str, found: &str, todo: &str) {
        assert_eq!(self.odd(), [(check.to_owned(), result.to_owned())]);
        self.says(check, result, found, todo);
        let assert = self.run(&[]);
        match result {
            "FAIL" => assert.code(1).stderr(predicate::str::contains("1 of ")),
            _ => assert.code(0).stderr(""),
        };
    }

    #[track_caller]
    pub(crate) fn says(&self, check: &str, result: &str, found: &str, todo: &str) {
        let it = self.check(check);
        let has = |key: &str, part: &str| it[key].as_str().unwrap_or_default().contains(part);
        let right = it["result"] == result && has("found", found) && has("todo", todo);
        assert!(right, "{it}");
    }
}

pub(crate) fn vf(i: u32) -> String {
    format!("0000:03:00.{}", i + 1)
}
