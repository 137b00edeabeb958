// SPDX-License-Identifier: GPL-2.0
//! The commands that read once and print: `list`, `show`, `vfs`, `stats`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{bail, Result};
use gimctl::holder::Holders;
use gimctl::sysfs::{Gpu, Stats, Sysfs, Vf};
use gimctl::table::{or_dash, render, table};
use serde::Serialize;
use serde_json::{json, Value};

/// Prints a line (or several) and reports a closed pipe as an error, where `println!` panics.
pub(crate) fn print(text: &str) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

fn mib(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v} MiB"))
}

fn us(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v} us"))
}

pub(crate) fn list(sysfs: &Sysfs, json: bool) -> Result<()> {
    let gpus = sysfs.gpus()?;
    if json {
        return print_json(&json!({ "version": sysfs.version(), "gpus": gpus }));
    }
    if gpus.is_empty() {
        return print("gim is loaded but drives no GPU");
    }
    let mut t = table(&[
        ">GPU", "PCI", "CHIP", "STATE", ">MEMORY", ">VFS", ">MAX", "POLICY", "MODE",
    ]);
    for (i, gpu) in gpus.iter().enumerate() {
        t.add_row([
            i.to_string(),
            gpu.pci.clone(),
            or_dash(gpu.chip.as_ref()),
            or_dash(gpu.state.as_ref()),
            mib(gpu.framebuffer_mib),
            gpu.num_vfs.to_string(),
            gpu.total_vfs.to_string(),
            or_dash(gpu.policy.as_ref()),
            or_dash(gpu.mode.as_ref()),
        ]);
    }
    print(&render(&t))
}

pub(crate) fn gpu(sysfs: &Sysfs, proc: &Path, choice: Option<&str>, json: bool) -> Result<()> {
    let mut gpu = sysfs.gpu(choice)?;
    gpu.read_guests();
    gpu.read_holders(&Holders::read(proc));
    if json {
        return print_json(&gpu);
    }
    let mut t = table(&["GPU", &gpu.pci]);
    for (key, value) in [
        ("chip", or_dash(gpu.chip.as_ref())),
        ("driver version", or_dash(sysfs.version())),
        ("state", or_dash(gpu.state.as_ref())),
        ("framebuffer", mib(gpu.framebuffer_mib)),
        ("scheduler", or_dash(gpu.control.as_ref())),
        ("policy", or_dash(gpu.policy.as_ref())),
        ("mode", or_dash(gpu.mode.as_ref())),
        ("time slice", us(gpu.slice_us)),
        ("VFs", format!("{} of {}", gpu.num_vfs, gpu.total_vfs)),
    ] {
        t.add_row([key.to_owned(), value]);
    }
    for (key, value) in &gpu.stats {
        t.add_row([key.clone(), text(value)]);
    }
    print(&render(&t))?;
    if gpu.vfs.is_empty() {
        return Ok(());
    }
    print(&format!("\n{}", vf_table(&gpu)))?;
    let tells = |vf: &Vf| {
        vf.guest
            .get("report")
            .is_some_and(|report| report != "none")
    };
    if !gpu.vfs.iter().any(tells) {
        return Ok(());
    }
    print(&format!("\n{}", guest_table(&gpu)))
}

fn vf_table(gpu: &Gpu) -> String {
    let mut t = table(&[
        ">VF", "PCI", "DRIVER", "STATE", ">MEMORY", ">OFFSET", ">SLICE", "VM",
    ]);
    for vf in &gpu.vfs {
        t.add_row([
            vf.index.to_string(),
            or_dash(vf.pci.as_ref()),
            or_dash(vf.driver.as_ref()),
            or_dash(vf.state.as_ref()),
            mib(vf.fb_mib),
            mib(vf.fb_offset_mib),
            us(vf.slice_us),
            or_dash(
                vf.holder
                    .as_ref()
                    .map(|holder| holder.name().to_owned())
                    .as_ref(),
            ),
        ]);
    }
    render(&t)
}

/// What guests say of themselves.
fn guest_table(gpu: &Gpu) -> String {
    let mut t = table(&[
        ">VF", "REPORT", "DRIVER", "OS", ">USED", ">MEMORY", ">GFX", ">COMPUTE",
    ]);
    for vf in &gpu.vfs {
        let value = |key: &str| vf.guest.get(key).map(text);
        let with = |key: &str, unit: &str| value(key).map(|v| format!("{v} {unit}"));
        t.add_row([
            vf.index.to_string(),
            or_dash(value("report").as_ref()),
            or_dash(value("driver").as_ref()),
            or_dash(value("os").as_ref()),
            or_dash(with("fb_used_mib", "MiB").as_ref()),
            or_dash(with("fb_mib", "MiB").as_ref()),
            or_dash(with("gfx_usage_pct", "%").as_ref()),
            or_dash(with("compute_usage_pct", "%").as_ref()),
        ]);
    }
    render(&t)
}

pub(crate) fn vfs(sysfs: &Sysfs, proc: &Path, choice: Option<&str>, json: bool) -> Result<()> {
    let mut gpu = sysfs.gpu(choice)?;
    gpu.read_holders(&Holders::read(proc));
    if json {
        return print_json(&json!({ "gpu": gpu.pci, "vfs": gpu.vfs }));
    }
    if gpu.vfs.is_empty() {
        return print(&format!(
            "GPU {} has no VFs; enable some with: gimctl vfs set 4",
            gpu.pci
        ));
    }
    print(&vf_table(&gpu))
}

pub(crate) fn set_vfs(
    sysfs: &Sysfs,
    choice: Option<&str>,
    count: u32,
    force: bool,
    json: bool,
) -> Result<()> {
    let gpu = sysfs.gpu(choice)?;
    let before = gpu.set_vfs(count, force)?;
    let now = sysfs.read_gpu(&gpu.pci)?;
    if json {
        return print_json(&json!({ "gpu": now.pci, "before": before, "vfs": now.vfs }));
    }
    if before == count {
        return print(&format!("GPU {} has {count} VFs already", now.pci));
    }
    print(&format!("GPU {}: {before} -> {} VFs", now.pci, now.num_vfs))?;
    if now.vfs.is_empty() {
        return Ok(());
    }
    print(&vf_table(&now))
}

/// Orders a pause, a resume or a reset, and shows what has come of it.
pub(crate) fn order(
    sysfs: &Sysfs,
    choice: Option<&str>,
    vf: Option<u32>,
    order: &str,
    json: bool,
) -> Result<()> {
    let gpu = sysfs.gpu(choice)?;
    gpu.order(vf, order)?;
    let now = sysfs.read_gpu(&gpu.pci)?;
    let which = vf.and_then(|n| now.vfs.iter().find(|v| v.index == n));
    let (control, state) = match which {
        Some(v) => (v.control.as_ref(), v.state.as_ref()),
        None => (now.control.as_ref(), now.state.as_ref()),
    };
    if json {
        return print_json(
            &json!({ "gpu": now.pci, "vf": vf, "control": control, "state": state }),
        );
    }
    let whom = match vf {
        Some(n) => format!("VF {n} of GPU {}", now.pci),
        None => format!("GPU {}", now.pci),
    };
    print(&format!(
        "{whom}: {}, state {}",
        or_dash(control),
        or_dash(state)
    ))
}

/// The counters of one tenant under the name that is shown for it.
struct Column<'a> {
    name: String,
    stats: &'a Stats,
}

pub(crate) fn stats(
    sysfs: &Sysfs,
    choice: Option<&str>,
    vf: Option<u32>,
    json: bool,
) -> Result<()> {
    let gpu = sysfs.gpu(choice)?;
    let chosen: Vec<&Vf> = gpu
        .vfs
        .iter()
        .filter(|v| vf.is_none_or(|n| n == v.index))
        .collect();
    if let (Some(n), true) = (vf, chosen.is_empty()) {
        bail!(
            "GPU {} has no VF {n}; it has {} VFs, counted from 0",
            gpu.pci,
            gpu.num_vfs
        );
    }
    if json {
        let vfs: Vec<Value> = chosen
            .iter()
            .map(|v| json!({ "vf": v.index, "stats": v.stats }))
            .collect();
        return print_json(
            &json!({ "gpu": gpu.pci, "stats": gpu.stats, "pf": gpu.pf_stats, "vfs": vfs }),
        );
    }
    if vf.is_none() {
        let mut t = table(&["GPU", &format!(">{}", gpu.pci)]);
        for (key, value) in &gpu.stats {
            t.add_row([key.clone(), text(value)]);
        }
        print(&format!("{}\n", render(&t)))?;
    }
    let mut columns: Vec<Column<'_>> = chosen
        .iter()
        .map(|v| Column {
            name: format!("VF{}", v.index),
            stats: &v.stats,
        })
        .collect();
    if vf.is_none() && !gpu.pf_stats.is_empty() {
        columns.insert(
            0,
            Column {
                name: "PF".to_owned(),
                stats: &gpu.pf_stats,
            },
        );
    }
    print(&counters(&columns))
}

/// One row per counter, one column per tenant.
fn counters(columns: &[Column<'_>]) -> String {
    let mut keys: Vec<&String> = Vec::new();
    for key in columns.iter().flat_map(|c| c.stats.keys()) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut head = vec!["COUNTER".to_owned()];
    head.extend(columns.iter().map(|c| format!(">{}", c.name)));
    let mut t = table(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for key in keys {
        let cells = columns
            .iter()
            .map(|c| c.stats.get(key).map_or_else(|| "-".to_owned(), text));
        t.add_row(std::iter::once(key.clone()).chain(cells));
    }
    render(&t)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
