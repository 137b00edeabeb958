// SPDX-License-Identifier: GPL-2.0
//! `gimctl policy`: how a GPU is shared, shown and set while VFs run.

use anyhow::{bail, Context, Result};
use clap::{ArgGroup, Args, Subcommand};
use gimctl::changes::set;
use gimctl::settings::{Limits, Rate, Settings, VfSettings, MODES, POLICIES, PRESETS};
use gimctl::sysfs::Sysfs;
use gimctl::table::{or_dash, render, table};
use serde_json::json;

use crate::show::{print, print_json};
use crate::Choice;

#[derive(Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show all settings of a GPU and its VFs
    Show {
        /// PCI address of the GPU, or its number in `gimctl list`, from 0
        gpu: Option<String>,
    },
    /// Set some: all of them, or nothing if the driver refuses one
    Set(Box<Set>),
}

/// What can be set at all, and what of a VF.
const OF_GPU: [&str; 6] = [
    "policy",
    "mode",
    "preset",
    "watchdog_ms",
    "limit",
    "enforce",
];
const OF_VF: [&str; 5] = ["weight", "min", "cap", "latency_us", "slice_us"];

#[derive(Args)]
#[command(group(ArgGroup::new("something").args(OF_GPU).args(OF_VF).required(true).multiple(true)))]
#[command(
    override_usage = "gimctl policy set [--gpu GPU] [SETTING]... [--vf N[,N...]|all SETTING...]"
)]
#[command(group(ArgGroup::new("of_vf").args(OF_VF).multiple(true)))]
struct Set {
    #[command(flatten)]
    choice: Choice,
    /// Round robin, or by what VFs are promised
    #[arg(long, value_parser = POLICIES)]
    policy: Option<String>,
    /// Whether time that a VF does not use stays unused or is shared by the others
    #[arg(long, value_parser = MODES)]
    mode: Option<String>,
    /// Slices of 6 ms, of 2 or 1 ms, or as they are set
    #[arg(long, value_parser = PRESETS)]
    preset: Option<String>,
    /// How long a command may take: 1 to 5000
    #[arg(long, value_name = "N")]
    watchdog_ms: Option<u64>,
    /// What each VF may have: messages, requests, timeouts, resets, hangs, access-time; may be given several times
    #[arg(long, value_name = "NAME=COUNT/SECONDS", value_parser = limit)]
    limit: Vec<(String, Rate)>,
    /// Enforce limits, or only count what exceeds them
    #[arg(long, value_parser = ["on", "off"])]
    enforce: Option<String>,
    /// The VFs, from 0, that the following are set for
    #[arg(long, value_name = "N[,N...]|all", value_parser = whose, requires = "of_vf")]
    vf: Option<Whose>,
    /// Part relative to the others': 1 to 10000
    #[arg(long, value_name = "W", requires = "vf")]
    weight: Option<u64>,
    /// Part of the GPU's time that it has at least, in 1/1000
    #[arg(long, value_name = "PERMILLE", requires = "vf")]
    min: Option<u64>,
    /// Part that it has at most, in 1/1000
    #[arg(long, value_name = "PERMILLE", requires = "vf")]
    cap: Option<u64>,
    /// Longest wait for a slice: 1000 to 10000000; 0: no bound
    #[arg(long, value_name = "N", requires = "vf")]
    latency_us: Option<u64>,
    /// Time slice: 100 to 1000000; without --vf, of all VFs
    #[arg(long, value_name = "N")]
    slice_us: Option<u64>,
}

#[derive(Clone)]
enum Whose {
    All,
    These(Vec<u32>),
}

fn whose(text: &str) -> Result<Whose, String> {
    if text == "all" {
        return Ok(Whose::All);
    }
    let these: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    these
        .map(Whose::These)
        .map_err(|_| "numbers of VFs, from 0, with commas between them, or all".to_owned())
}

fn limit(text: &str) -> Result<(String, Rate), String> {
    let parsed = || {
        let (name, rate) = text.split_once('=')?;
        let (count, seconds) = rate.split_once('/')?;
        let (count, seconds) = (count.parse().ok()?, seconds.parse().ok()?);
        let rate = Rate { count, seconds };
        Limits::names()
            .contains(&name)
            .then(|| (name.to_owned(), rate))
    };
    parsed().ok_or_else(|| {
        let names = Limits::names().join(", ");
        format!("a limit is NAME=COUNT/SECONDS, NAME one of {names}")
    })
}

impl Set {
    /// What shall be, of a GPU that has so many VFs.
    fn wanted(&self, vfs: u32) -> Settings {
        let mut limits = Limits {
            enforced: self.enforce.as_ref().map(|on| on == "on"),
            ..Limits::default()
        };
        for (name, rate) in &self.limit {
            if let Some(limit) = limits.rate_mut(name) {
                *limit = Some(*rate);
            }
        }
        let vf = VfSettings {
            slice_us: self.slice_us,
            weight: self.weight,
            min_permille: self.min,
            cap_permille: self.cap,
            latency_us: self.latency_us,
        };
        let whose = match &self.vf {
            None => Vec::new(),
            Some(Whose::All) => (0..vfs).collect(),
            Some(Whose::These(these)) => these.clone(),
        };
        Settings {
            policy: self.policy.clone(),
            mode: self.mode.clone(),
            preset: self.preset.clone(),
            slice_us: self.slice_us.filter(|_| self.vf.is_none()),
            watchdog_ms: self.watchdog_ms,
            limits,
            vf: whose.into_iter().map(|n| (n, vf.clone())).collect(),
            ..Settings::default()
        }
    }
}

pub(crate) fn run(sysfs: &Sysfs, args: &Policy, json: bool) -> Result<()> {
    match &args.command {
        None => show(sysfs, None, json),
        Some(Command::Show { gpu }) => show(sysfs, gpu.as_deref(), json),
        Some(Command::Set(args)) => change(sysfs, args, json),
    }
}

fn change(sysfs: &Sysfs, args: &Set, json: bool) -> Result<()> {
    let gpu = sysfs.gpu(args.choice.gpu.as_deref())?;
    if matches!(args.vf, Some(Whose::All)) && gpu.num_vfs == 0 {
        bail!(
            "GPU {} has no VFs; enable some with: gimctl vfs set 4",
            gpu.pci
        );
    }
    let want = args.wanted(gpu.num_vfs);
    let checked = want
        .check()
        .and_then(|()| want.check_beside(&Settings::read(&gpu)));
    let done = checked
        .and_then(|()| set(&gpu, &want))
        .with_context(|| format!("GPU {}", gpu.pci))?;
    if json {
        return print_json(&json!({ "gpu": gpu.pci, "changes": done }));
    }
    if done.is_empty() {
        return print(&format!("GPU {}: all of it is set already", gpu.pci));
    }
    done.iter()
        .try_for_each(|change| print(&format!("GPU {}: {change}", gpu.pci)))
}

fn show(sysfs: &Sysfs, choice: Option<&str>, json: bool) -> Result<()> {
    let gpu = sysfs.gpu(choice)?;
    let now = Settings::read(&gpu);
    if json {
        return print_json(&json!({ "gpu": gpu.pci, "settings": now }));
    }
    let unit = |value: Option<u64>, unit: &str| or_dash(value.map(|v| format!("{v} {unit}")));
    let enforced = match now.limits.enforced {
        Some(true) => "enforced",
        Some(false) => "only counted",
        None => "-",
    };
    let mut t = table(&["GPU", &gpu.pci]);
    t.add_row(["policy".to_owned(), or_dash(now.policy.as_ref())]);
    t.add_row(["mode".to_owned(), or_dash(now.mode.as_ref())]);
    t.add_row(["preset".to_owned(), or_dash(now.preset.as_ref())]);
    t.add_row(["time slice".to_owned(), unit(now.slice_us, "us")]);
    t.add_row(["watchdog".to_owned(), unit(now.watchdog_ms, "ms")]);
    t.add_row(["limits", enforced]);
    for (name, rate) in now.limits.rates() {
        let rate = rate.map(|r| format!("{} in {} s", r.count, r.seconds));
        t.add_row([format!("  {name}"), or_dash(rate)]);
    }
    print(&render(&t))?;
    if now.vf.is_empty() {
        return Ok(());
    }
    print(&format!("\n{}", vf_table(&now)))
}

fn vf_table(now: &Settings) -> String {
    let mut t = table(&[">VF", ">SLICE", ">WEIGHT", ">MIN", ">CAP", ">LATENCY"]);
    let us = |value: Option<u64>| or_dash(value.map(|v| format!("{v} us")));
    let part = |value: Option<u64>| or_dash(value.map(|v| format!("{v}/1000")));
    for (n, vf) in &now.vf {
        let latency = match vf.latency_us {
            Some(0) => "none".to_owned(),
            bound => us(bound),
        };
        t.add_row([
            n.to_string(),
            us(vf.slice_us),
            or_dash(vf.weight),
            part(vf.min_permille),
            part(vf.cap_permille),
            latency,
        ]);
    }
    render(&t)
}
