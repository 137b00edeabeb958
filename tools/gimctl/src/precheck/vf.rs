// SPDX-License-Identifier: GPL-2.0
//! What VFs need that are to go to VMs.

use super::gpu::Pf;
use super::Finding;
use crate::sysfs::{link_name, read_text};

/// What separates groups.
pub(super) const SEPARATE: &str =
    "firmware: ACS on; or another slot, below a port that has ACS (lspci -vv)";

/// Drivers that pass a VF on.
const PASSING: [&str; 2] = ["vfio-pci", "gim-vfio-pci"];

pub(super) fn checks(pf: &Pf<'_>, total: u64) -> Vec<Finding> {
    let count = pf.number("sriov_numvfs").unwrap_or(0);
    let vfs: Vec<String> = (0..count)
        .filter_map(|i| pf.link(&format!("virtfn{i}")))
        .collect();
    let mut checks = vec![number(count, total)];
    match vfs.is_empty() {
        true => checks.extend(takers(pf)),
        false => checks.extend([groups(pf, &vfs), resets(pf, &vfs), drivers(pf, &vfs)]),
    }
    checks
}

fn number(count: u64, total: u64) -> Finding {
    let found = format!("{count} of {total}");
    match count {
        0 => Finding::ok("VFs", found).hint("gimctl vfs set N, then once more: gimctl precheck"),
        _ => Finding::ok("VFs", found),
    }
}

/// All VFs, or those that are otherwise: `0000:03:00.1 why, 0000:03:00.2 why`.
fn all_but(vfs: &[String], odd: impl Fn(&str) -> Option<String>) -> Option<String> {
    let odd: Vec<String> = vfs
        .iter()
        .filter_map(|vf| Some(format!("{vf} {}", odd(vf)?)))
        .collect();
    (!odd.is_empty()).then(|| odd.join(", "))
}

fn groups(pf: &Pf<'_>, vfs: &[String]) -> Finding {
    const CHECK: &str = "VF groups";
    if !pf.tree.has_iommu() {
        return Finding::unknown(CHECK, "the IOMMU is off");
    }
    let odd = all_but(vfs, |vf| match pf.tree.group(vf) {
        None => Some("has none".to_owned()),
        Some((_, others)) if others.is_empty() => None,
        Some((_, others)) => Some(format!("with {}", others.join(" "))),
    });
    match odd {
        Some(odd) => Finding::fail(CHECK, odd, SEPARATE),
        None => Finding::ok(CHECK, "each VF has its own"),
    }
}

fn resets(pf: &Pf<'_>, vfs: &[String]) -> Finding {
    const CHECK: &str = "VF reset";
    let methods = |vf: &str| read_text(&pf.tree.device(vf).join("reset_method"));
    if vfs.iter().all(|vf| methods(vf).is_none()) {
        return Finding::unknown(CHECK, "no reset_method");
    }
    let odd = all_but(vfs, |vf| {
        let methods = methods(vf).unwrap_or_default();
        let flr = methods.split_whitespace().any(|m| m == "flr");
        (!flr).then(|| format!("by: {methods}"))
    });
    match odd {
        Some(odd) => Finding::fail(
            CHECK,
            odd,
            "echo flr > /sys/bus/pci/devices/<VF>/reset_method; if that is refused, a VBIOS whose VFs have function level resets",
        ),
        None => Finding::ok(CHECK, "flr"),
    }
}

fn drivers(pf: &Pf<'_>, vfs: &[String]) -> Finding {
    const CHECK: &str = "VF drivers";
    let driver = |vf: &str| link_name(&pf.tree.device(vf).join("driver"));
    let odd = all_but(vfs, |vf| {
        driver(vf).filter(|d| !PASSING.contains(&d.as_str()))
    });
    if let Some(odd) = odd {
        let todo = format!(
            "echo <VF> > /sys/bus/pci/devices/<VF>/driver/unbind; {}",
            keep_away(pf)
        );
        return Finding::fail(CHECK, odd, todo);
    }
    let mut found: Vec<String> = Vec::new();
    for name in PASSING {
        let n = vfs.iter().filter(|vf| driver(vf).as_deref() == Some(name));
        match n.count() {
            0 => (),
            n => found.push(format!("{n} {name}")),
        }
    }
    match vfs.iter().filter(|vf| driver(vf).is_none()).count() {
        0 => (),
        n => found.push(format!("{n} none")),
    }
    Finding::ok(CHECK, found.join(", "))
}

/// Who would take VFs as soon as they are there.
fn takers(pf: &Pf<'_>) -> Option<Finding> {
    let taken = pf.tree.loaded("amdgpu") && pf.number("sriov_drivers_autoprobe") == Some(1);
    taken.then(|| Finding::warn("VF drivers", "amdgpu will take them", keep_away(pf)))
}

fn keep_away(pf: &Pf<'_>) -> String {
    format!(
        "before VFs are enabled: echo 0 > /sys/bus/pci/devices/{}/sriov_drivers_autoprobe",
        pf.pci
    )
}
