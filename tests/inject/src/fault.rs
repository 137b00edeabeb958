// SPDX-License-Identifier: GPL-2.0
//! The kernel's fault injection: which allocations count, and which one fails.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};

/// The kinds of allocation that can fail.
const KINDS: [&str; 2] = ["failslab", "fail_page_alloc"];
/// More allocations than anything has.
const NEVER: u32 = 1 << 30;

fn set(file: &str, value: impl ToString) -> Result<()> {
    for kind in KINDS {
        let dir = Path::new("/sys/kernel/debug").join(kind);
        let path = dir.join(file);
        // Not every file is there for both.
        if path.exists() || file == "probability" {
            fs::write(&path, value.to_string()).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// A range of the kernel's code.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    start: u64,
    end: u64,
}

impl Code {
    /// A function of the kernel.
    pub(crate) fn function(name: &str) -> Result<Self> {
        let text = fs::read_to_string("/proc/kallsyms")?;
        let mut all: Vec<(u64, &str)> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let at = u64::from_str_radix(words.next()?, 16).ok()?;
                let kind = words.next()?;
                ["t", "T", "w", "W"]
                    .contains(&kind)
                    .then_some((at, words.next()?))
            })
            .collect();
        all.sort_unstable();
        let at = all.iter().position(|(_, symbol)| *symbol == name);
        let start = all[at.with_context(|| format!("no function {name}"))?].0;
        let next = all.iter().map(|(at, _)| *at).find(|at| *at > start);
        let end = next.context("a function that does not end")?;
        Ok(Self { start, end })
    }

    /// All code of a module.
    pub(crate) fn module(name: &str) -> Result<Self> {
        let text = fs::read_to_string(format!("/sys/module/{name}/sections/.text"))?;
        let start = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16)?;
        let modules = fs::read_to_string("/proc/modules")?;
        let line = modules
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .context("the module is not loaded")?;
        let size: u64 = line.split(' ').next().unwrap_or_default().parse()?;
        Ok(Self {
            start,
            end: start + size,
        })
    }
}

/// Prepares both kinds: every context and size, silently.
pub(crate) fn prepare() -> Result<()> {
    set("probability", 0)?;
    set("interval", 1)?;
    set("times", -1)?;
    set("space", 0)?;
    set("verbose", 0)?;
    set("ignore-gfp-wait", "N")?;
    set("ignore-gfp-highmem", "N")?;
    set("min-order", 0)?;
    set("task-filter", "N")?;
    set("stacktrace-depth", 32)?;
    spare(CHECKER)
}

/// What kmemleak allocates for itself; a failure there tells nothing.
pub(crate) const CHECKER: &str = "kmemleak_alloc";
/// Where the PCI core takes no failure: it warns, goes on, and falls over what is missing.
pub(crate) const PCI_ADD: &str = "pci_device_add";
/// Where the driver core takes none: a link in sysfs that it cannot name stays, and is in the way.
pub(crate) const LINKS: &str = "devlink_remove_symlinks";

/// Allocations below this function of the kernel succeed.
pub(crate) fn spare(function: &str) -> Result<()> {
    let code = Code::function(function)?;
    set("reject-start", code.start)?;
    set("reject-end", code.end)
}

/// From here on only allocations below this code count.
pub(crate) fn below(code: Code) -> Result<()> {
    set("require-start", code.start)?;
    set("require-end", code.end)
}

/// Makes a part of all allocations fail, whoever makes them; 0 ends it.
pub(crate) fn percent(part: u32) -> Result<()> {
    set("probability", part)
}

/// `fail-nth` of this thread.
fn nth(n: u32) -> Result<()> {
    Ok(fs::write("/proc/thread-self/fail-nth", n.to_string())?)
}

fn left() -> Result<u32> {
    let text = fs::read_to_string("/proc/thread-self/fail-nth")?;
    Ok(text.trim().parse()?)
}

/// Does `what` while allocation `n` of this thread (from 1) fails; returns its result, and whether
/// there was such an allocation.
pub(crate) fn at<R>(n: u32, what: impl FnOnce() -> R) -> Result<(R, bool)> {
    nth(n)?;
    let result = what();
    let rest = left();
    nth(0)?;
    Ok((result, rest? == 0))
}

/// How many allocations `what` makes.
pub(crate) fn count(what: impl FnOnce() -> Result<()>) -> Result<u32> {
    nth(NEVER)?;
    let result = what();
    let rest = left();
    nth(0)?;
    result?;
    let rest = rest?;
    ensure!(rest != 0, "it never ends");
    Ok(NEVER - rest)
}
