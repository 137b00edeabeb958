// SPDX-License-Identifier: GPL-2.0
//! `inject`: allocations of the driver that fail, each in turn, wherever it allocates: loading,
//! probe, `sriov_numvfs`, `/dev/gim`, and on the way back. After each failure either the operation
//! has succeeded all the same, or nothing of it is left. Prints TAP without a plan.

mod fault;
mod files;
mod host;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::fault::Code;
use crate::host::Host;
use crate::walk::Step;

#[derive(Parser)]
struct Cli {
    /// The module
    #[arg(long)]
    module: PathBuf,
    /// PCI address of the PF
    #[arg(long)]
    gpu: String,
    /// How many VFs are enabled: 2 or more
    #[arg(long, default_value_t = 4)]
    vfs: u32,
    /// How many allocations of one operation fail at most
    #[arg(long, default_value_t = 100)]
    most: u32,
    /// How often programs do what they do while allocations fail at random
    #[arg(long, default_value_t = 5)]
    storms: u32,
}

/// Prints one line of TAP for each operation.
struct Report {
    count: u32,
    failed: u32,
    most: u32,
}

impl Report {
    fn tell(&mut self, name: &str, result: Result<String>) {
        self.count += 1;
        match result {
            Ok(text) => println!("ok {} {name} ({text})", self.count),
            Err(e) => {
                self.failed += 1;
                println!("# {e:?}\nnot ok {} {name}", self.count);
            }
        }
    }

    fn walk(&mut self, name: &str, step: &Step<'_>) {
        let outcome = step.walk(self.most).map(|outcome| outcome.to_string());
        self.tell(name, outcome);
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut report = Report {
        count: 0,
        failed: 0,
        most: cli.most,
    };
    if let Err(e) = run(&cli, &mut report) {
        report.tell("the way from one operation to the next", Err(e));
    }
    ExitCode::from(u8::from(report.failed != 0))
}

fn run(cli: &Cli, report: &mut Report) -> Result<()> {
    let host = &Host::new(cli.module.clone(), cli.gpu.clone(), cli.vfs)?;
    // A page of this program that has to be found is an allocation, too.
    rustix::mm::mlockall(rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE)?;
    fault::prepare()?;
    host.autoprobe(false)?;

    fault::below(Code::function("do_init_module")?)?;
    report.walk(
        "loading",
        &Step {
            does: &|| host.load(),
            undo: &|| host.unload(),
            holds: &|| host.is_unloaded(),
            infallible: false,
        },
    );
    fault::spare(fault::PCI_ADD)?;
    host.load_with(c"guard=0 vf_num=1")?;
    fault::below(Code::module("gim")?)?;
    report.walk(
        "probe that enables a VF",
        &Step {
            does: &|| host.bind(),
            undo: &|| host.unbind(),
            holds: &|| host.is_unbound(),
            infallible: false,
        },
    );
    host.unload()?;
    host.load()?;
    fault::below(Code::module("gim")?)?;
    fault::spare(fault::CHECKER)?;
    bound(host, report)?;
    report.tell(
        "all of /dev/gim, while allocations fail at random",
        storm(cli, host),
    );
    host.unload()?;
    host.autoprobe(true)?;
    host.load().context("at the end")?;
    host.vfs(host.most)?;
    host.is_on(host.most)?;
    host.unload()
}

/// What needs the driver, from probe to unbinding.
fn bound(host: &Host, report: &mut Report) -> Result<()> {
    report.walk(
        "probe",
        &Step {
            does: &|| host.bind(),
            undo: &|| host.unbind(),
            holds: &|| host.is_unbound(),
            infallible: false,
        },
    );
    host.bind()?;
    fault::spare(fault::PCI_ADD)?;
    report.walk(
        "enabling of VFs",
        &Step {
            does: &|| host.vfs(host.most),
            undo: &|| host.vfs(0),
            holds: &|| host.is_off(),
            infallible: false,
        },
    );
    host.vfs(host.most)?;
    fault::spare(fault::LINKS)?;
    report.walk(
        "disabling of VFs",
        &Step {
            does: &|| host.vfs(0),
            undo: &|| host.vfs(host.most),
            holds: &|| host.is_off(),
            infallible: true,
        },
    );
    fault::spare(fault::CHECKER)?;
    files(host, report)?;
    fault::spare(fault::LINKS)?;
    report.walk(
        "unbinding with VFs enabled",
        &Step {
            does: &|| host.unbind(),
            undo: &|| host.bind().and_then(|()| host.vfs(host.most)),
            holds: &|| host.is_unbound(),
            infallible: true,
        },
    );
    report.walk(
        "unloading with VFs enabled",
        &Step {
            does: &|| host.unload(),
            undo: &|| {
                host.load()?;
                // The code may lie elsewhere now.
                fault::below(Code::module("gim")?)?;
                host.bind()?;
                host.vfs(host.most)
            },
            holds: &|| host.is_unloaded(),
            infallible: true,
        },
    );
    host.unbind()
}

/// What programs do, with VFs enabled.
fn files(host: &Host, report: &mut Report) -> Result<()> {
    let bytes = &files::stream(host)?;
    type Does<'a> = &'a dyn Fn() -> Result<()>;
    let all: [(&str, Does<'_>); 7] = [
        ("opening a VF", &|| files::open(host)),
        ("pausing, framebuffer", &|| files::pause(host)),
        ("resetting a VF", &|| files::reset(host)),
        ("dirty tracking", &|| files::track(host)),
        ("saving a VF", &|| files::save(host)),
        ("saving in rounds", &|| files::rounds(host)),
        ("restoring a VF", &|| files::restore(host, bytes)),
    ];
    for (name, does) in all {
        report.walk(
            name,
            &Step {
                does,
                undo: &|| Ok(()),
                holds: &|| host.is_on(host.most),
                infallible: false,
            },
        );
    }
    Ok(())
}

/// Also what the driver allocates elsewhere than in the caller's thread: work, interrupts.
fn storm(cli: &Cli, host: &Host) -> Result<String> {
    let mut done = [0u32; 2];
    for _ in 0..cli.storms {
        host.bind()?;
        host.vfs(host.most)?;
        fault::percent(5)?;
        let steps = || -> Result<()> {
            files::open(host)?;
            files::pause(host)?;
            files::reset(host)?;
            files::track(host)?;
            files::save(host)
        };
        let how = steps();
        fault::percent(0)?;
        done[usize::from(how.is_err())] += 1;
        host.is_on(host.most)?;
        host.unbind()?;
        host.is_unbound()?;
    }
    let [whole, cut] = done;
    Ok(format!("{whole} times to the end, {cut} times not"))
}
