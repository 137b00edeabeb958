// SPDX-License-Identifier: GPL-2.0
//! One operation, again and again, each time with another allocation that fails.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

use crate::fault;
use crate::host::errno;

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    allocations: u32,
    tried: u32,
    survived: u32,
    errors: BTreeMap<i32, u32>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            allocations,
            tried,
            survived,
            ..
        } = self;
        write!(
            f,
            "{allocations} allocations, {tried} failures: {survived} survived"
        )?;
        for (errno, times) in &self.errors {
            write!(f, ", errno {errno} {times} times")?;
        }
        Ok(())
    }
}

/// An operation, what makes it undone, and what holds when it has failed.
pub(crate) struct Step<'a> {
    pub(crate) does: &'a dyn Fn() -> Result<()>,
    pub(crate) undo: &'a dyn Fn() -> Result<()>,
    pub(crate) holds: &'a dyn Fn() -> Result<()>,
    /// It has no way to fail.
    pub(crate) infallible: bool,
}

impl Step<'_> {
    /// Lets each allocation fail in turn, or `most` of them, evenly spread.
    pub(crate) fn walk(&self, most: u32) -> Result<Outcome> {
        // What is allocated once and kept is not to be counted.
        (self.does)().context("the first time, without a failure")?;
        (self.undo)()?;
        let allocations = fault::count(self.does)?;
        (self.undo)()?;
        let mut outcome = Outcome {
            allocations,
            ..Outcome::default()
        };
        let tries = allocations.min(most);
        for i in 0..tries {
            // CAST: Less than `allocations`.
            let n = (u64::from(i) * u64::from(allocations) / u64::from(tries)) as u32 + 1;
            self.fails(n, &mut outcome)
                .with_context(|| format!("allocation {n} of {allocations} failed"))?;
        }
        (self.does)().context("afterwards, without a failure")?;
        (self.undo)()?;
        Ok(outcome)
    }

    fn fails(&self, n: u32, outcome: &mut Outcome) -> Result<()> {
        let (result, failed) = fault::at(n, self.does)?;
        // How many there are differs a little from time to time.
        outcome.tried += u32::from(failed);
        match result {
            Ok(()) => {
                outcome.survived += u32::from(failed);
                (self.undo)().context("undoing it")
            }
            Err(e) if self.infallible => Err(e),
            Err(e) => {
                *outcome.errors.entry(errno(&e)).or_default() += 1;
                (self.holds)().with_context(|| format!("after: {e:#}"))
            }
        }
    }
}
