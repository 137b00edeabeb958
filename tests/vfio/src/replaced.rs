// SPDX-License-Identifier: GPL-2.0
//! The PF's driver is replaced while devices are open: who calls meanwhile waits, and a device that
//! was stopped is as it was.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use vf_client::migration::{data_size, State};

use crate::errno::EBUSY;
use crate::{begin, dead, go, is, logging, refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[("while the PF's driver is replaced", replaced)];

/// How long there is no driver.
const GAP: Duration = Duration::from_millis(700);
/// How much memory is logged meanwhile.
const LOGGED: u64 = 1 << 20;

fn replaced(b: &Bench) -> Result<()> {
    let module = b.module.as_ref().context("no module")?;
    let (stopped, runs) = (b.open(0)?, b.open(1)?);
    go(&stopped, State::Stop)?;
    if logging::kernel_logs() {
        logging::start(&runs, 0, LOGGED)?;
    }
    let before = (b.resets(0)?, b.resets(1)?);
    fs::write(b.handover(), "1").context("handover")?;
    run(Command::new("rmmod").arg("gim"))?;
    let start = Instant::now();
    let wait = format!("sleep {}; exec insmod \"$0\" guard=0", GAP.as_secs_f32());
    let mut load = Command::new("sh").args(["-c", &wait]).arg(module).spawn()?;
    go(&runs, State::Stop)?;
    ensure!(start.elapsed() >= GAP, "it was served by nobody");
    ensure!(load.wait()?.success(), "insmod");
    is(&stopped, State::Stop)?;
    ensure!(b.state(0)? == "suspended", "VF0 is {}", b.state(0)?);
    // It is saved as if nothing had been.
    let file = begin(&stopped, State::StopCopy)?;
    ensure!(data_size(&stopped)? > 0);
    go(&stopped, State::Running)?;
    dead(&file)?;
    go(&runs, State::Running)?;
    b.wait_state(0, "available")?;
    ensure!((b.resets(0)?, b.resets(1)?) == before, "a VF was reset");
    if logging::kernel_logs() {
        // The GPU has gone on with it; all would be dirty if it had not.
        let written = logging::report(&runs, 0, LOGGED)?;
        ensure!(written.is_empty(), "{} pages", written.len());
    }
    // A session cannot outlive its driver, and none may begin while there is one.
    let file = begin(&runs, State::PreCopy)?;
    refused(fs::write(b.handover(), "1"), EBUSY)?;
    go(&runs, State::Running)?;
    dead(&file)?;
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let ended = command.status()?;
    ensure!(ended.success(), "{command:?}: {ended}");
    Ok(())
}
