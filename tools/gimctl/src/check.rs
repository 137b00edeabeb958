// SPDX-License-Identifier: GPL-2.0
//! `gimctl precheck`: shows what `gimctl::precheck` has found.

use std::io::{stdout, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::Args;
use comfy_table::ContentArrangement;
use crossterm::terminal;
use gimctl::precheck::{run as check, Check, Outcome, Tree};
use gimctl::table::{render, table};
use serde_json::json;

use crate::show::{print, print_json};

#[derive(Args)]
pub(crate) struct Precheck {
    /// PCI addresses of GPUs, whether gim drives them already or not; without any, all
    gpu: Vec<String>,
    /// Where device nodes are (for tests)
    #[arg(long, hide = true, default_value = "/dev", value_name = "ROOT")]
    dev: PathBuf,
    /// Where kernels' modules are (for tests)
    #[arg(long, hide = true, default_value = "/lib/modules", value_name = "ROOT")]
    modules: PathBuf,
}

pub(crate) fn run(sys: &Path, proc: &Path, args: &Precheck, json: bool) -> Result<()> {
    let tree = Tree {
        sys: sys.to_owned(),
        proc: proc.to_owned(),
        dev: args.dev.clone(),
        modules: args.modules.clone(),
    };
    let checks = check(&tree, &args.gpu)?;
    let count = |outcome| {
        let those = checks.iter().filter(|c| c.finding.result == outcome);
        those.count()
    };
    let (all, failed) = (checks.len(), count(Outcome::Fail));
    if json {
        let ready = failed == 0;
        print_json(&json!({ "ready": ready, "failed": failed, "checks": checks }))?;
    } else {
        print(&draw(&checks))?;
    }
    if failed != 0 {
        bail!("{failed} of {all} checks failed");
    }
    if !json {
        let (warned, unknown) = (count(Outcome::Warn), count(Outcome::Unknown));
        let line = format!("none of {all} checks failed; {warned} warnings, {unknown} unknown");
        print(&line)?;
    }
    Ok(())
}

fn draw(checks: &[Check]) -> String {
    let mut t = table(&["SUBJECT", "CHECK", "RESULT", "FOUND", "WHAT TO DO"]);
    // Into a file or a pipe goes one line for each check.
    if let (true, Ok((width, _))) = (stdout().is_terminal(), terminal::size()) {
        t.set_content_arrangement(ContentArrangement::Dynamic);
        t.set_width(width);
    }
    for Check { subject, finding } in checks {
        t.add_row([
            subject.as_str(),
            finding.check,
            finding.result.name(),
            &finding.found,
            finding.todo.as_deref().unwrap_or_default(),
        ]);
    }
    render(&t)
}
