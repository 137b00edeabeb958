// SPDX-License-Identifier: GPL-2.0
//! `gimctl config`: all settings as a file, and the host brought to what a file says.

use std::fs;
use std::io::{read_to_string, stdin};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Subcommand;
use gimctl::changes::{changes as differs, set, Change};
use gimctl::settings::Settings;
use gimctl::sysfs::{Gpu, Sysfs};
use gimctl::wanted::{Wanted, VERSION};
use serde::Serialize;
use serde_json::json;

use crate::show::{print, print_json};

#[derive(Subcommand)]
pub(crate) enum Config {
    /// Write the settings of all GPUs, or of one, as a file for `config apply`
    Show {
        /// PCI address of the GPU, or its number in `gimctl list`, from 0
        gpu: Option<String>,
    },
    /// Change what differs from a file
    Apply {
        /// The file (`-`: standard input)
        file: PathBuf,
        /// Only say what would be changed
        #[arg(long)]
        dry_run: bool,
        /// Take VFs away although guests use them
        #[arg(long)]
        force: bool,
    },
}

pub(crate) fn run(sysfs: &Sysfs, command: &Config, json: bool) -> Result<()> {
    match command {
        Config::Show { gpu } => show(sysfs, gpu.as_deref(), json),
        Config::Apply {
            file,
            dry_run,
            force,
        } => apply(sysfs, file, *dry_run, *force, json),
    }
}

fn show(sysfs: &Sysfs, choice: Option<&str>, json: bool) -> Result<()> {
    let gpus = match choice {
        Some(_) => vec![sysfs.gpu(choice)?],
        None => sysfs.gpus()?,
    };
    let of = |gpu: Gpu| (gpu.pci.clone(), Settings::read(&gpu).as_wanted());
    let wanted = Wanted {
        version: VERSION,
        gpu: gpus.into_iter().map(of).collect(),
    };
    match json {
        true => print_json(&wanted),
        false => print(wanted.to_toml()?.trim_end()),
    }
}

/// What is to be done with one GPU.
struct Plan {
    gpu: Gpu,
    now: Settings,
    want: Settings,
    force: bool,
}

impl Plan {
    fn new(sysfs: &Sysfs, pci: &str, want: &Settings, force: bool) -> Result<Self> {
        let gpu = sysfs.read_gpu(pci)?;
        let now = Settings::read(&gpu);
        let count = want.vfs.unwrap_or(gpu.num_vfs);
        gpu.check_vfs(count, force)?;
        want.check_beside(&now)?;
        Ok(Self {
            gpu,
            now,
            want: want.clone(),
            force,
        })
    }

    /// Does it; what was changed is in `done` also if something fails later.
    fn carry_out(&self, done: &mut Vec<Change>) -> Result<()> {
        let resize = Settings {
            vfs: self.want.vfs,
            ..Settings::default()
        };
        let resize = differs(&self.now, &resize);
        if let (false, Some(count)) = (resize.is_empty(), self.want.vfs) {
            // What VFs were promised that are not there any more the driver forgets.
            self.gpu.set_vfs(count, self.force)?;
            done.extend(resize);
        }
        done.extend(set(&self.gpu, &self.want)?);
        Ok(())
    }
}

/// What is to be done with all GPUs that a file names.
fn read_plans(sysfs: &Sysfs, file: &Path, force: bool) -> Result<Vec<Plan>> {
    let (name, text) = match file.as_os_str() == "-" {
        true => ("standard input".to_owned(), read_to_string(stdin())),
        false => (file.display().to_string(), fs::read_to_string(file)),
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    let wanted = Wanted::parse(&text).with_context(|| name.clone())?;
    let there = sysfs.gpu_addresses()?;
    if let Some(pci) = wanted.gpu.keys().find(|pci| !there.contains(pci)) {
        let there = match there.is_empty() {
            true => "none".to_owned(),
            false => there.join(", "),
        };
        bail!("{name} is for GPU {pci}, which gim does not drive; those that it does: {there}");
    }
    let plan = |(pci, want): (&String, &Settings)| {
        Plan::new(sysfs, pci, want, force).with_context(|| format!("GPU {pci}"))
    };
    wanted.gpu.iter().map(plan).collect()
}

/// What has come of a GPU.
#[derive(Serialize)]
struct Outcome {
    gpu: String,
    changes: Vec<Change>,
    error: Option<String>,
}

fn apply(sysfs: &Sysfs, file: &Path, dry_run: bool, force: bool, json: bool) -> Result<()> {
    // All is looked at before anything is changed, and done before anything is said of it.
    let mut outcomes = Vec::new();
    for plan in read_plans(sysfs, file, force)? {
        let mut changes = Vec::new();
        let result = match dry_run {
            true => {
                changes = differs(&plan.now, &plan.want);
                Ok(())
            }
            // One GPU's trouble is not another's.
            false => plan.carry_out(&mut changes),
        };
        let gpu = plan.gpu.pci;
        outcomes.push(Outcome {
            error: result.err().map(|e| format!("GPU {gpu}: {e:#}")),
            gpu,
            changes,
        });
    }
    match json {
        true => print_json(&json!({ "dry_run": dry_run, "gpus": outcomes }))?,
        false => say(&outcomes, dry_run)?,
    }
    let errors: Vec<String> = outcomes.into_iter().filter_map(|o| o.error).collect();
    match errors.is_empty() {
        true => Ok(()),
        false => bail!("{}", errors.join("\ngimctl: ")),
    }
}

fn say(outcomes: &[Outcome], dry_run: bool) -> Result<()> {
    let would = if dry_run { "would change " } else { "" };
    for Outcome {
        gpu,
        changes,
        error,
    } in outcomes
    {
        for change in changes {
            print(&format!("GPU {gpu}: {would}{change}"))?;
        }
        if changes.is_empty() && error.is_none() {
            print(&format!("GPU {gpu}: nothing differs"))?;
        }
    }
    Ok(())
}
