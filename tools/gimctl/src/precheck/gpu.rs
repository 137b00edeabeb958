// SPDX-License-Identifier: GPL-2.0
//! What one GPU needs, as its physical function (PF) shows it.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree::Tree;
use super::{vf, Finding};
use crate::sysfs::{is_pci_address, link_name, read_number, read_text};
use crate::table::bytes;

/// BARs that the driver and guests' drivers use: framebuffer, doorbells, registers.
const BARS: [usize; 3] = [0, 2, 5];

/// Where the VFs' BARs are among the resources of a PF.
const FIRST_VF_BAR: usize = 7;

/// `IORESOURCE_DISABLED` and `IORESOURCE_UNSET`: the address is none.
const NOT_ASSIGNED: u64 = 0x3000_0000;

/// Functions of one device: more are reached by ARI alone.
const FUNCTIONS: u64 = 8;

/// One PF.
pub(super) struct Pf<'a> {
    pub(super) tree: &'a Tree,
    pub(super) pci: &'a str,
    dir: PathBuf,
}

pub(super) fn checks(tree: &Tree, pci: &str) -> Vec<Finding> {
    let dir = tree.device(pci);
    let pf = Pf { tree, pci, dir };
    let mut checks = vec![driver(&pf), power(&pf), bars(&pf, "BARs", 0)];
    let total = pf.number("sriov_totalvfs").unwrap_or(0);
    checks.push(sriov(total));
    if total != 0 {
        checks.push(bars(&pf, "VF BARs", FIRST_VF_BAR));
        checks.push(ari(&pf, total));
    }
    checks.extend([group(&pf), link(&pf), node(&pf)]);
    if total != 0 {
        checks.extend(vf::checks(&pf, total));
    }
    checks
}

impl Pf<'_> {
    pub(super) fn text(&self, file: &str) -> Option<String> {
        read_text(&self.dir.join(file))
    }

    pub(super) fn number(&self, file: &str) -> Option<u64> {
        read_number(&self.dir.join(file))
    }

    pub(super) fn link(&self, file: &str) -> Option<String> {
        link_name(&self.dir.join(file))
    }

    fn is_driven(&self) -> bool {
        self.link("driver").as_deref() == Some("gim")
    }
}

fn driver(pf: &Pf<'_>) -> Finding {
    const CHECK: &str = "driver";
    let pci = pf.pci;
    let wanted = pf.text("driver_override");
    let wanted = wanted.filter(|w| w != "(null)" && w != "gim");
    let clear = format!("echo > /sys/bus/pci/devices/{pci}/driver_override");
    match (pf.link("driver").as_deref(), wanted) {
        (Some("gim"), _) => Finding::ok(CHECK, "gim"),
        (Some(other), wanted) => {
            let unbind = format!("echo {pci} > /sys/bus/pci/drivers/{other}/unbind");
            let forever = match (other, wanted) {
                (_, Some(_)) => clear,
                ("vfio-pci", None) => "take its id out of vfio-pci's ids=".to_owned(),
                _ => format!("for good: `blacklist {other}` in /etc/modprobe.d/gim.conf"),
            };
            Finding::fail(CHECK, other, format!("{unbind}; {forever}"))
        }
        (None, Some(wanted)) => Finding::fail(CHECK, format!("none, reserved for {wanted}"), clear),
        (None, None) if pf.tree.loaded("gim") => Finding::fail(
            CHECK,
            "none, though gim is loaded",
            format!("echo {pci} > /sys/bus/pci/drivers/gim/bind; if gim refuses it, the kernel's log says why"),
        ),
        (None, None) => Finding::ok(CHECK, "none: free for gim"),
    }
}

fn power(pf: &Pf<'_>) -> Finding {
    const CHECK: &str = "power";
    // The first 64 bytes are for everybody.
    let config = fs::read(pf.dir.join("config")).unwrap_or_default();
    if config.starts_with(&[0xff; 4]) {
        let todo = "it is off the bus: power the host off and on";
        return Finding::fail(CHECK, "does not answer", todo);
    }
    let decodes = config.get(4).map(|command| command & 2 != 0);
    match (pf.text("power_state").as_deref(), pf.is_driven()) {
        (None | Some("unknown"), _) => Finding::unknown(CHECK, "no power_state"),
        (Some("D0"), true) if decodes == Some(false) => Finding::fail(
            CHECK,
            "D0, but it decodes no memory",
            "unload gim and load it again",
        ),
        (Some("D0"), _) => Finding::ok(CHECK, "D0"),
        (Some(state), false) => Finding::ok(CHECK, format!("{state}: gim wakes it")),
        (Some(state), true) => Finding::fail(
            CHECK,
            state,
            format!("echo on > /sys/bus/pci/devices/{}/power/control", pf.pci),
        ),
    }
}

fn sriov(total: u64) -> Finding {
    const CHECK: &str = "SR-IOV";
    if total != 0 {
        return Finding::ok(CHECK, format!("{total} VFs at most"));
    }
    let todo = "firmware: SR-IOV Support on. If it is: a VBIOS of the card with SR-IOV, a kernel with CONFIG_PCI_IOV";
    Finding::fail(CHECK, "no VFs", todo)
}

/// Size of a BAR as it was assigned; `None`: it was not.
fn assigned(resources: &str, index: usize) -> Option<u64> {
    let line = resources.lines().nth(index)?;
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let words: Vec<u64> = line.split_whitespace().filter_map(number).collect();
    let [start, end, flags] = *words.as_slice() else {
        return None;
    };
    let there = start != 0 && flags & NOT_ASSIGNED == 0;
    there.then(|| end.checked_sub(start)?.checked_add(1))?
}

/// Whether there is address space for the PF, or for all VFs together.
fn bars(pf: &Pf<'_>, check: &'static str, first: usize) -> Finding {
    let Some(resources) = pf.text("resource") else {
        return Finding::unknown(check, "no resource file");
    };
    let sizes = BARS.map(|bar| (bar, assigned(&resources, first + bar)));
    let name = |(bar, size): &(usize, Option<u64>)| match size {
        Some(size) => format!("{bar}: {}", bytes(*size)),
        None => format!("{bar}: no address"),
    };
    let found = sizes.iter().map(name).collect::<Vec<_>>().join(", ");
    if sizes.iter().all(|(_, size)| size.is_some()) {
        return Finding::ok(check, found);
    }
    let mut todo = "firmware: Above 4G Decoding (64-bit MMIO) on".to_owned();
    if !pf.tree.has_parameter("pci", "realloc") && !pf.tree.has_parameter("pci", "realloc=on") {
        todo.push_str("; if that is not enough: kernel parameter pci=realloc");
    }
    Finding::fail(check, found, todo)
}

/// The bridge above a device; `None`: it is on the root bus.
fn bridge(dir: &Path) -> Option<String> {
    let real = dir.canonicalize().ok()?;
    let parent = real.parent()?.file_name()?.to_string_lossy().into_owned();
    is_pci_address(&parent).then_some(parent)
}

/// Without ARI the bridge passes on nothing that is beyond the first device's eight functions.
fn ari(pf: &Pf<'_>, total: u64) -> Finding {
    const CHECK: &str = "ARI";
    let Some(above) = bridge(&pf.dir) else {
        return Finding::ok(CHECK, "not needed: no bridge above");
    };
    match pf.number("ari_enabled") {
        Some(0) => (),
        Some(_) => return Finding::ok(CHECK, format!("on at {above}")),
        None => return Finding::unknown(CHECK, "no ari_enabled"),
    }
    let todo = match pf.tree.has_parameter("pci", "noari") {
        true => "kernel parameter pci=noari: remove it".to_owned(),
        false => format!("firmware: ARI (ARI Forwarding) on; or another slot: {above} lacks it"),
    };
    let reached = reached_without_ari(pf).map(|n| n.min(total));
    match reached {
        Some(n) if n == total => Finding::ok(CHECK, "off, not needed"),
        Some(0) => Finding::fail(CHECK, "off: no VF can be reached", todo),
        Some(n) => Finding::warn(CHECK, format!("off: {n} VFs can be reached"), todo),
        None => Finding::warn(CHECK, "off: not all VFs can be reached", todo),
    }
}

fn reached_without_ari(pf: &Pf<'_>) -> Option<u64> {
    let own: u64 = pf.pci.rsplit('.').next()?.parse().ok()?;
    let first = own + pf.number("sriov_offset").filter(|n| *n != 0)?;
    let stride = pf.number("sriov_stride").filter(|n| *n != 0)?;
    Some(FUNCTIONS.saturating_sub(first).div_ceil(stride))
}

/// Who shares the PF's group will be in the VFs' too: what is above separates neither.
fn group(pf: &Pf<'_>) -> Finding {
    const CHECK: &str = "IOMMU group";
    match pf.tree.group(pf.pci) {
        Some((number, others)) if others.is_empty() => Finding::ok(CHECK, number),
        Some((number, others)) => Finding::warn(
            CHECK,
            format!("{number}, with {}", others.join(", ")),
            vf::SEPARATE,
        ),
        None if pf.tree.has_iommu() => Finding::fail(
            CHECK,
            "none",
            "newer firmware: its table of IOMMUs (DMAR, IVRS) leaves this GPU out",
        ),
        None => Finding::unknown(CHECK, "the IOMMU is off"),
    }
}

fn link(pf: &Pf<'_>) -> Finding {
    const CHECK: &str = "link";
    let read = |which: &str| {
        // `8.0 GT/s PCIe`
        let speed = pf.text(&format!("{which}_link_speed"))?;
        let speed: f64 = speed.split_whitespace().next()?.parse().ok()?;
        let width = pf.number(&format!("{which}_link_width"))?;
        Some((speed, width))
    };
    let name = |(speed, width): (f64, u64)| format!("{speed:.1} GT/s x{width}");
    match (read("current"), read("max")) {
        (Some(now), Some(max)) if now.0 < max.0 || now.1 < max.1 => Finding::warn(
            CHECK,
            format!("{} of {}", name(now), name(max)),
            "a slot with all lanes; an idle GPU may have lowered the speed itself",
        ),
        (Some(now), _) => Finding::ok(CHECK, name(now)),
        (None, _) => Finding::unknown(CHECK, "it tells no speed"),
    }
}

/// For information: guests whose CPUs are elsewhere work, slower.
fn node(pf: &Pf<'_>) -> Finding {
    const CHECK: &str = "NUMA node";
    let Some(node) = pf.number("numa_node") else {
        return Finding::ok(CHECK, "none");
    };
    let cpus = pf.text("local_cpulist");
    let cpus = cpus.map_or(String::new(), |list| format!(", CPUs {list}"));
    Finding::ok(CHECK, format!("{node}{cpus}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_that_have_an_address() {
        let resources = "0x00000000e0000000 0x00000000efffffff 0x000000000014220c\n\
            0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
            0x0000000000000000 0x00000000001fffff 0x000000002014220c\n\
            0x00000000f0000000 0x00000000f01fffff 0x000000002014220c\n\
            0xffff 0x0 0x200\nrubbish\n";
        let sizes: Vec<_> = (0..7).map(|i| assigned(resources, i)).collect();
        let none = None;
        assert_eq!(sizes, [Some(256 << 20), none, none, none, none, none, none]);
    }
}
