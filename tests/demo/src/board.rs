// SPDX-License-Identifier: GPL-2.0
//! The live table: redrawn in place on a terminal, printed line by line elsewhere.

use std::io::{self, IsTerminal, Write};

use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, queue};
use gimctl::rates::shares;
use gimctl::table::{bytes, duration, percent, render, table};

/// What the table shows of one tenant.
pub(crate) struct Cell {
    pub(crate) pci: String,
    pub(crate) workload: &'static str,
    pub(crate) client: String,
    pub(crate) driver_state: String,
    pub(crate) jobs: u64,
    pub(crate) bytes_verified: u64,
    pub(crate) driver_run_ns: u64,
    pub(crate) referee_run_ns: u64,
    pub(crate) gap_ns: u64,
}

/// See the module.
pub(crate) struct Board {
    quiet: bool,
    in_place: bool,
    height: u16,
}

impl Board {
    pub(crate) fn new(quiet: bool, plain: bool) -> Self {
        Self {
            quiet,
            in_place: !plain && io::stdout().is_terminal(),
            height: 0,
        }
    }

    /// A line of its own, above whatever follows.
    pub(crate) fn say(&mut self, text: &str) {
        if !self.quiet {
            self.height = 0;
            // A closed pipe must not keep the demo from cleaning up.
            let _ = writeln!(io::stdout(), "{text}");
        }
    }

    pub(crate) fn show(&mut self, title: &str, cells: &[Cell]) {
        if self.quiet {
            return;
        }
        let text = format!("{title}\n{}\n", draw(cells));
        let _ = self.put(&text);
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.in_place && self.height > 0 {
            queue!(out, cursor::MoveUp(self.height), cursor::MoveToColumn(0))?;
            queue!(out, Clear(ClearType::FromCursorDown))?;
        }
        out.write_all(text.as_bytes())?;
        self.height = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
        out.flush()
    }
}

fn draw(cells: &[Cell]) -> String {
    let mut t = table(&[
        ">VF",
        "PCI",
        "WORK",
        "CLIENT",
        "VF STATE",
        ">JOBS",
        ">VERIFIED",
        ">DRIVER",
        ">REFEREE",
        ">GAP",
    ]);
    let driver = shares(&cells.iter().map(|c| c.driver_run_ns).collect::<Vec<_>>());
    let referee = shares(&cells.iter().map(|c| c.referee_run_ns).collect::<Vec<_>>());
    for (i, c) in cells.iter().enumerate() {
        t.add_row([
            i.to_string(),
            c.pci.clone(),
            c.workload.to_owned(),
            c.client.clone(),
            c.driver_state.clone(),
            c.jobs.to_string(),
            bytes(c.bytes_verified),
            percent(driver.as_ref().map(|s| s[i])),
            percent(referee.as_ref().map(|s| s[i])),
            duration(c.gap_ns),
        ]);
    }
    render(&t)
}
