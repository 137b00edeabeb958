// SPDX-License-Identifier: GPL-2.0
//! Whether a host is ready to share its GPUs and to pass VFs to VMs, and what to do where it is not.
//!
//! Reads only, needs neither root nor `gim`. What cannot be read is unknown, not wrong.

mod gpu;
mod host;
mod tree;
mod vf;

use anyhow::{bail, Result};
use serde::Serialize;

pub use self::tree::Tree;
use crate::sysfs::is_pci_address;

/// A chip that `gim` drives.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// PCI device id of the physical function.
    pub device: u16,
    /// Its name in the driver.
    pub name: &'static str,
}

const VENDOR: u16 = 0x1002;

/// The chips of `rust/hw/hal`.
pub const MODELS: [Model; 2] = [
    Model {
        device: 0x6929,
        name: "FirePro S7150 (Tonga)",
    },
    Model {
        device: 0x6860,
        name: "Radeon Instinct MI25 (Vega10)",
    },
];

/// What has come of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// As it should be.
    #[serde(rename = "ok")]
    Ok,
    /// It works, but not all of it or not well.
    #[serde(rename = "warn")]
    Warn,
    /// VFs cannot be had, or not be given to VMs.
    #[serde(rename = "FAIL")]
    Fail,
    /// It cannot be read.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Outcome {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Unknown => "unknown",
        }
    }
}

/// One check and what has come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub result: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub todo: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            result: Outcome::Ok,
            found: found.into(),
            todo: None,
        }
    }

    fn unknown(check: &'static str, why: impl Into<String>) -> Self {
        Self {
            result: Outcome::Unknown,
            ..Self::ok(check, why)
        }
    }

    fn hint(self, todo: impl Into<String>) -> Self {
        Self {
            todo: Some(todo.into()),
            ..self
        }
    }

    fn warn(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            result: Outcome::Warn,
            todo: Some(todo.into()),
            ..Self::ok(check, found)
        }
    }

    fn fail(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            result: Outcome::Fail,
            ..Self::warn(check, found, todo)
        }
    }
}

/// A finding and whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `host`, or the PCI address of a GPU.
    pub subject: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Checks the host, and the GPUs that `choice` names (as in `Sysfs::gpu`), or all.
///
/// Fails only if a GPU is named that is not there or that `gim` does not know.
pub fn run(tree: &Tree, choice: &[String]) -> Result<Vec<Check>> {
    let all = found(tree);
    let mut chosen = Vec::new();
    for name in choice {
        let gpu = choose(tree, &all, name)?;
        if !chosen.contains(&gpu) {
            chosen.push(gpu);
        }
    }
    if choice.is_empty() {
        chosen = all.iter().collect();
    }
    let mut checks = about("host", host::checks(tree));
    checks.extend(about("host", vec![gpus(tree, &all)]));
    for (pci, _) in chosen {
        checks.extend(about(pci, gpu::checks(tree, pci)));
    }
    Ok(checks)
}

fn about(subject: &str, findings: Vec<Finding>) -> Vec<Check> {
    let check = |finding| Check {
        subject: subject.to_owned(),
        finding,
    };
    findings.into_iter().map(check).collect()
}

type Found = (String, &'static Model);

/// PCI addresses of the GPUs that `gim` could drive, in ascending order.
fn found(tree: &Tree) -> Vec<Found> {
    let names = tree.names("bus/pci/devices").unwrap_or_default();
    let known = |pci: String| {
        let (vendor, device) = tree.id(&pci)?;
        let model = MODELS.iter().find(|m| m.device == device)?;
        (vendor == VENDOR).then_some((pci, model))
    };
    names
        .into_iter()
        .filter(|name| is_pci_address(name))
        .filter_map(known)
        .collect()
}

fn choose<'a>(tree: &Tree, all: &'a [Found], name: &str) -> Result<&'a Found> {
    let by_number = name.parse::<usize>().ok().and_then(|i| all.get(i));
    let long = format!("0000:{name}");
    let by_address = all.iter().find(|(pci, _)| pci == name || *pci == long);
    if let Some(gpu) = by_number.or(by_address) {
        return Ok(gpu);
    }
    let what = match tree.id(name).or_else(|| tree.id(&long)) {
        Some((vendor, device)) => format!("{name} is {vendor:04x}:{device:04x}"),
        None => format!("there is no GPU \"{name}\""),
    };
    let here: Vec<&str> = all.iter().map(|(pci, _)| pci.as_str()).collect();
    match here.is_empty() {
        true => bail!("{what}; gim drives {}, and there is none", models()),
        false => bail!("{what}; gim drives {}: {}", models(), here.join(", ")),
    }
}

fn models() -> String {
    let name = |m: &Model| format!("{} {VENDOR:04x}:{:04x}", m.name, m.device);
    MODELS.iter().map(name).collect::<Vec<_>>().join(" and ")
}

fn gpus(tree: &Tree, all: &[Found]) -> Finding {
    const CHECK: &str = "GPU";
    let name = |(pci, model): &Found| format!("{pci} {}", model.name);
    if !all.is_empty() {
        let names: Vec<String> = all.iter().map(name).collect();
        return Finding::ok(CHECK, names.join(", "));
    }
    if tree.names("bus").is_none() {
        return Finding::unknown(CHECK, "sysfs cannot be read");
    }
    let found = format!("no {}", models().replace(" and ", ", no "));
    let todo = "is the card seated, has it power (lspci -d 1002:)? firmware: Above 4G Decoding on";
    Finding::fail(CHECK, found, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_knows_the_same_chips() {
        let table = include_str!("../../../rust/hw/hal.rs");
        let ids: Vec<&str> = table
            .split("pci::Vendor::ATI, 0x")
            .skip(1)
            .filter_map(|rest| rest.get(..4))
            .collect();
        let ours = MODELS.map(|m| format!("{:04x}", m.device));
        assert_eq!(ids, ours);
        for (model, source) in MODELS.iter().zip([
            include_str!("../../../rust/hw/hal/tonga.rs"),
            include_str!("../../../rust/hw/hal/vega10.rs"),
        ]) {
            assert!(source.contains(&format!("name: \"{}\"", model.name)));
        }
    }
}
