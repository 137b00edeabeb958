// SPDX-License-Identifier: GPL-2.0
//! The PF's driver goes while devices are open: migration is refused, and nothing hangs.
//!
//! Its VFs go with it, once their users have let them go; until then the driver waits.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use vf_client::migration::{data_size, flags, reset, set_state, State};

use crate::errno::ENODEV;
use crate::{begin, dead, go, is, logging, refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[("without the PF's driver", absent)];

fn absent(b: &Bench) -> Result<()> {
    let (runs, reads) = (b.open(0)?, b.open(1)?);
    let file = begin(&reads, State::StopCopy)?;
    if logging::kernel_logs() {
        logging::start(&runs, 0, 1 << 20)?;
    }
    let mut unload = Command::new("rmmod").arg("gim").spawn()?;
    let start = Instant::now();
    while data_size(&runs).is_ok() {
        ensure!(
            start.elapsed() < Duration::from_secs(30),
            "it is still there"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    refused(data_size(&runs), ENODEV)?;
    ensure!(flags(&runs)? == 7);
    for state in [State::PreCopy, State::Stop, State::Resuming] {
        refused(set_state(&runs, state), ENODEV)?;
        is(&runs, State::Running)?;
    }
    if logging::kernel_logs() {
        refused(logging::report(&runs, 0, 1 << 20), ENODEV)?;
        logging::stop(&runs)?;
    }
    dead(&file)?;
    // Whether it is still stopped nobody knows any more.
    refused(set_state(&reads, State::Running), ENODEV)?;
    is(&reads, State::Error)?;
    reset(&reads)?;
    go(&reads, State::Running)?;
    drop((runs, reads));
    let ended = unload.wait().context("rmmod")?;
    ensure!(ended.success(), "rmmod: {ended}");
    Ok(())
}
