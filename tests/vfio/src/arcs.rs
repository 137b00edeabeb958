// SPDX-License-Identifier: GPL-2.0
//! Every transition from every state to every other.

use std::fs::File;

use anyhow::{ensure, Context, Result};
use vf_client::migration::{reset, set_state, State};
use vf_client::vfio::Vfio;

use crate::errno::EINVAL;
use crate::{dead, is, refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[("every transition", transitions)];

use State::{Error, PreCopy, PreCopyP2p, Resuming, Running, Stop, StopCopy};

/// The states that share a session.
fn saving(state: State) -> bool {
    matches!(state, PreCopy | PreCopyP2p | StopCopy)
}

/// Goes there from RUNNING.
fn reach(vf: &Vfio, state: State) -> Result<Option<File>> {
    is(vf, Running)?;
    if state != Error {
        return set_state(vf, state).with_context(|| format!("to {state:?}"));
    }
    // What it has got is no state.
    let file = set_state(vf, Resuming)?;
    refused(set_state(vf, Stop), EINVAL)?;
    Ok(file)
}

fn transition(vf: &Vfio, from: State, to: State) -> Result<()> {
    let file = reach(vf, from)?;
    is(vf, from)?;
    ensure!(file.is_some() == (saving(from) || matches!(from, Resuming | Error)));
    let result = set_state(vf, to);
    let back = from == StopCopy && matches!(to, PreCopy | PreCopyP2p);
    if from == to && to != Error {
        ensure!(result?.is_none());
        is(vf, to)?;
        return Ok(());
    }
    if to == Error || from == Error || back {
        refused(result, EINVAL)?;
        return is(vf, from);
    }
    if from == Resuming {
        // Nothing was written.
        refused(result, EINVAL)?;
        is(vf, Error)?;
        return dead(&file.context("file")?);
    }
    let new = result.context("the transition")?;
    is(vf, to)?;
    let begins = to == Resuming || saving(to) && !saving(from);
    ensure!(new.is_some() == begins, "a file: {}", new.is_some());
    match file {
        Some(file) if saving(to) => ensure!(dead(&file).is_err(), "the session has ended"),
        Some(file) => dead(&file).context("the old session")?,
        None => {}
    }
    Ok(())
}

fn transitions(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    for from in State::ALL {
        for to in State::ALL {
            transition(&vf, from, to).with_context(|| format!("{from:?} to {to:?}"))?;
            reset(&vf)?;
            is(&vf, Running)?;
            b.wait_state(0, "available")?;
        }
    }
    Ok(())
}
