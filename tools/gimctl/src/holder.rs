// SPDX-License-Identifier: GPL-2.0
//! Who has a VF open: a process, and the VM it runs.
//!
//! The driver knows VFs, an operator knows VMs. VFIO's files join them, as far as the caller may see
//! other processes' files (root sees all).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A process that has a VF open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Name of its program.
    pub program: String,
    /// The VM, if the command line names one as QEMU's does: its name, else its UUID.
    pub vm: Option<String>,
}

impl Holder {
    /// The VM if it is known, else the program.
    pub fn name(&self) -> &str {
        self.vm.as_deref().unwrap_or(&self.program)
    }
}

/// All holders of VFIO devices.
#[derive(Debug, Default)]
pub struct Holders(HashMap<PathBuf, Holder>);

impl Holders {
    /// Looks through all processes under `proc`, normally `/proc`.
    pub fn read(proc: &Path) -> Self {
        let mut found = HashMap::new();
        for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let dir = entry.path();
            for file in vfio_files(&dir) {
                found.entry(file).or_insert_with(|| holder(pid, &dir));
            }
        }
        Self(found)
    }

    /// Who has one of these files open.
    pub fn of<'a>(&self, files: impl IntoIterator<Item = &'a PathBuf>) -> Option<&Holder> {
        files.into_iter().find_map(|file| self.0.get(file))
    }
}

/// VFIO's files that a process has open.
fn vfio_files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let fds = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter(|file| file.starts_with("/dev/vfio"))
}

fn holder(pid: u32, dir: &Path) -> Holder {
    let text = |file| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let command = text("cmdline");
    let words: Vec<&str> = command.split('\0').collect();
    Holder {
        pid,
        program: text("comm").trim().to_owned(),
        vm: vm(&words),
    }
}

/// The VM of QEMU's command line: `-name web1`, `-name guest=web1,debug-threads=on`, or `-uuid ...`.
fn vm(words: &[&str]) -> Option<String> {
    let after = |option: &str| {
        let at = words
            .iter()
            .position(|w| w.trim_start_matches('-') == option && w.starts_with('-'))?;
        words.get(at + 1).copied()
    };
    let named = after("name").and_then(|value| {
        // A comma of the name itself is doubled.
        let parts = value.replace(",,", "\0");
        let mut parts = parts.split(',').map(|part| part.replace('\0', ","));
        parts.find_map(|part| match part.split_once('=') {
            None => Some(part),
            Some(("guest", name)) => Some(name.to_owned()),
            Some(_) => None,
        })
    });
    named
        .or_else(|| after("uuid").map(str::to_owned))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vms() {
        for (line, name) in [
            ("qemu -name web1 -m 4", Some("web1")),
            ("qemu -name guest=web1,debug-threads=on", Some("web1")),
            ("qemu --name debug-threads=on,guest=a,,b", Some("a,b")),
            ("qemu -uuid 7b1a -m 4", Some("7b1a")),
            ("qemu -name debug-threads=on -uuid 7b1a", Some("7b1a")),
            ("qemu -m 4 name web1", None),
            ("qemu -name", None),
            ("", None),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(vm(&words).as_deref(), name, "{line}");
        }
    }
}
