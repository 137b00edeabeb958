// SPDX-License-Identifier: GPL-2.0
//! The file that says what a host shall be like: its GPUs by PCI address, in TOML or JSON.

use std::fmt::Write;

use anyhow::{anyhow, bail, Context, Result};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The version of the format.
pub const VERSION: u64 = 1;

/// What is wanted of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// [`VERSION`].
    pub version: u64,
    /// GPUs by PCI address; those that are not named are left as they are.
    pub gpu: IndexMap<String, Settings>,
}

/// The only thing that every version has.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Wanted {
    /// Reads and checks a file; a TOML document cannot begin with a brace.
    pub fn parse(text: &str) -> Result<Self> {
        let json = text.trim_start().starts_with('{');
        let version: Version = read(text, json)?;
        if version.version != VERSION {
            bail!(
                "the file is of version {}; this gimctl knows version {VERSION}",
                version.version
            );
        }
        let wanted: Self = read(text, json)?;
        for (pci, settings) in &wanted.gpu {
            let checked = settings.check();
            checked.with_context(|| format!("GPU {pci}"))?;
        }
        Ok(wanted)
    }

    /// The file as TOML, with a line for each limit and each VF.
    pub fn to_toml(&self) -> Result<String> {
        let mut out = format!(
            "# gimctl config apply FILE brings the host to this.\nversion = {}\n",
            self.version
        );
        for (pci, settings) in &self.gpu {
            let all = toml::Table::try_from(settings)?;
            let (tables, values): (Vec<_>, Vec<_>) = all.iter().partition(|(_, v)| v.is_table());
            write!(out, "\n[gpu.\"{pci}\"]\n")?;
            for (key, value) in values {
                writeln!(out, "{key} = {value}")?;
            }
            for (name, table) in tables {
                let lines = table.as_table().into_iter().flatten();
                write!(out, "\n[gpu.\"{pci}\".{name}]\n")?;
                for (key, value) in lines {
                    writeln!(out, "{key} = {value}")?;
                }
            }
        }
        Ok(out)
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str, json: bool) -> Result<T> {
    match json {
        true => Ok(serde_json::from_str(text)?),
        // Its message is several lines, the last one empty.
        false => toml::from_str(text).map_err(|e| anyhow!("{}", e.to_string().trim_end())),
    }
}
