// SPDX-License-Identifier: GPL-2.0
//! A made-up sysfs tree for `gimctl`.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use assert_cmd::assert::Assert;
use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn driver(&self) -> PathBuf {
        self.0.path().join("bus/pci/drivers/gim")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.driver().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A tree with the driver loaded and a GPU with `vfs` VFs, the first of which is active.
    pub(crate) fn gpu(self, pci: &str, vfs: u32) -> Self {
        for (file, text) in [
            ("sriov_numvfs", format!("{vfs}\n")),
            ("sriov_totalvfs", "16\n".into()),
            ("gim/chip", "Tonga\n".into()),
            ("gim/framebuffer_mib", "8192\n".into()),
            ("gim/policy", "[rr] qos\n".into()),
            ("gim/mode", "[strict] work-conserving\n".into()),
            ("gim/slice_us", "6000\n".into()),
            ("gim/state", "running\n".into()),
            ("gim/control", "running\n".into()),
            (
                "gim/stats",
                "switches 100\nlost_irqs 0\nbrand_new_key 5\n".into(),
            ),
            ("sriov_admin/pf/stats", "run_ns 7\n".into()),
            ("bind", String::new()),
        ] {
            let at = if file == "bind" {
                file.to_owned()
            } else {
                format!("{pci}/{file}")
            };
            self.write(&at, &text);
        }
        for i in 0..vfs {
            let vf = format!("{pci}/sriov_admin/vf{}", i + 1);
            let state = if i == 0 { "active\n" } else { "available\n" };
            self.write(&format!("{vf}/state"), state);
            self.write(&format!("{vf}/control"), "running\n");
            self.write(&format!("{vf}/fb_mib"), "1968\n");
            self.write(
                &format!("{vf}/fb_offset_mib"),
                &format!("{}\n", 272 + 1968 * i),
            );
            self.write(
                &format!("{vf}/stats"),
                &format!(
                    "run_ns {}\nswitches {}\nmax_gap_ns 18000000\n",
                    (i + 1) * 1000,
                    i
                ),
            );
            let guest = match i {
                0 => "report valid\ndriver amdgpu 7.3\nos other\nfb_used_mib 77\n",
                1 => "report bad-checksum\n",
                _ => "report none\n",
            };
            self.write(&format!("{vf}/guest"), guest);
            let bus = pci.trim_end_matches(":00.0");
            let address = format!("{bus}:{:02x}.{}", 2 + i / 8, i % 8);
            let link = self.driver().join(pci).join(format!("virtfn{i}"));
            symlink(format!("../{address}"), link).unwrap();
            let device = self.path().join("bus/pci/devices").join(address);
            fs::create_dir_all(device.join(format!("vfio-dev/vfio{i}"))).unwrap();
            symlink(
                format!("../../iommu_groups/{}", 40 + i),
                device.join("iommu_group"),
            )
            .unwrap();
        }
        self
    }

    /// A process under `proc` that has these files open.
    pub(crate) fn process(&self, pid: u32, command: &[&str], files: &[&str]) {
        let dir = self.path().join("proc").join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        fs::write(dir.join("cmdline"), command.join("\0")).unwrap();
        fs::write(dir.join("comm"), format!("{}\n", command[0])).unwrap();
        for (i, file) in files.iter().enumerate() {
            symlink(file, dir.join("fd").join(i.to_string())).unwrap();
        }
    }

    /// A GPU with `vfs` VFs enabled and all settings; the files of four VFs are there.
    pub(crate) fn settled(self, pci: &str, vfs: u32) -> Self {
        for (file, text) in [
            ("sriov_numvfs", vfs.to_string()),
            ("gim/policy", "[rr] qos".to_owned()),
            ("gim/mode", "strict [work-conserving]".to_owned()),
            ("gim/slice_preset", "[long] short own".to_owned()),
            ("gim/slice_us", "6000".to_owned()),
            ("gim/watchdog_ms", "50".to_owned()),
            ("gim/limits/enforced", "1".to_owned()),
            ("gim/limits/messages", "56 60".to_owned()),
            ("gim/limits/access-time", "2000 200".to_owned()),
        ] {
            self.write(&format!("{pci}/{file}"), &format!("{text}\n"));
        }
        for n in 1..=4 {
            for (file, text) in [
                ("state", "available\n"),
                ("slice_us", "6000\n"),
                ("weight", "100\n"),
                ("min_permille", "0\n"),
                ("cap_permille", "1000\n"),
                ("latency_us", "0\n"),
            ] {
                self.write(&format!("{pci}/sriov_admin/vf{n}/{file}"), text);
            }
        }
        self
    }

    /// A file of the driver.
    pub(crate) fn file(&self, at: &str) -> PathBuf {
        self.driver().join(at)
    }

    /// What a file of the GPU at [`PCI`] says.
    pub(crate) fn read(&self, at: &str) -> String {
        let text = fs::read_to_string(self.file(&format!("{PCI}/{at}"))).unwrap();
        text.trim().to_owned()
    }

    pub(crate) fn set(&self, args: &[&str]) -> Assert {
        self.run(&[&["policy", "set"], args].concat())
    }

    pub(crate) fn apply(&self, file: &str, args: &[&str]) -> Assert {
        let mut command = self.command();
        command.args(["config", "apply", "-"]).args(args);
        command.write_stdin(file).assert()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::cargo_bin("gimctl").unwrap();
        command.arg("--sysfs").arg(self.path());
        command.arg("--proc").arg(self.path().join("proc"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Assert {
        self.command().args(args).assert()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let assert = self.run(args).success();
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    }

    pub(crate) fn numvfs(&self, pci: &str) -> String {
        fs::read_to_string(self.driver().join(pci).join("sriov_numvfs")).unwrap()
    }
}

pub(crate) const PCI: &str = "0000:03:00.0";

pub(crate) fn says(text: &str) -> impl Predicate<str> + '_ {
    predicate::str::contains(text)
}
