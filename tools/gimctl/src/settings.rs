// SPDX-License-Identifier: GPL-2.0
//! What an operator may set on a GPU, and the ranges that the ABI gives it.
//!
//! One type says what is set and what is wanted: what is not there is not known, or left as it is.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use indexmap::IndexMap;
use serde::{de::Error, Deserialize, Deserializer, Serialize, Serializer};

use crate::sysfs::{chosen, Gpu};

/// How the next VF is chosen.
pub const POLICIES: [&str; 2] = ["rr", "qos"];
/// What becomes of time that a VF does not use.
pub const MODES: [&str; 2] = ["strict", "work-conserving"];
/// Where slices come from.
pub const PRESETS: [&str; 3] = ["long", "short", "own"];

/// The files of one GPU: paths are relative to its directory in sysfs.
pub trait Files {
    /// The text of a file without its line end; `None` where the driver does not have it.
    fn read(&self, path: &str) -> Option<String>;
    /// Writes a file that is there.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
}

impl Files for Gpu {
    fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.dir().join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let mut how = std::fs::OpenOptions::new();
        let mut file = how.write(true).truncate(true).open(self.dir().join(path))?;
        file.write_all(format!("{text}\n").as_bytes())
    }
}

/// So many at once, and so many per time in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many: 1 to 10000.
    pub count: u64,
    /// In which time: 1 to 3600 seconds.
    pub seconds: u64,
}

/// What each VF may cost the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(missing_docs)] // Named by the ABI.
pub struct Limits {
    /// Whether they are enforced, or only counted.
    pub enforced: Option<bool>,
    pub messages: Option<Rate>,
    pub requests: Option<Rate>,
    pub timeouts: Option<Rate>,
    pub resets: Option<Rate>,
    pub hangs: Option<Rate>,
    pub access_time: Option<Rate>,
}

impl Limits {
    /// The names of the limits.
    pub fn names() -> [&'static str; 6] {
        Self::default().rates().map(|(name, _)| name)
    }

    /// The limits by the names that the ABI gives them.
    pub fn rates(&self) -> [(&'static str, Option<Rate>); 6] {
        [
            ("messages", self.messages),
            ("requests", self.requests),
            ("timeouts", self.timeouts),
            ("resets", self.resets),
            ("hangs", self.hangs),
            ("access-time", self.access_time),
        ]
    }

    /// The limit of that name.
    pub fn rate_mut(&mut self, name: &str) -> Option<&mut Option<Rate>> {
        Some(match name {
            "messages" => &mut self.messages,
            "requests" => &mut self.requests,
            "timeouts" => &mut self.timeouts,
            "resets" => &mut self.resets,
            "hangs" => &mut self.hangs,
            "access-time" => &mut self.access_time,
            _ => return None,
        })
    }
}

/// What is set for one VF.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VfSettings {
    /// Its time slice.
    pub slice_us: Option<u64>,
    /// Its part relative to the others'.
    pub weight: Option<u64>,
    /// The part that it has at least, in 1/1000.
    pub min_permille: Option<u64>,
    /// The part that it has at most, in 1/1000.
    pub cap_permille: Option<u64>,
    /// The longest wait for a slice; 0: no bound.
    pub latency_us: Option<u64>,
}

/// What is set for one GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many VFs are enabled.
    pub vfs: Option<u32>,
    /// One of [`POLICIES`].
    pub policy: Option<String>,
    /// One of [`MODES`].
    pub mode: Option<String>,
    /// One of [`PRESETS`].
    pub preset: Option<String>,
    /// The slice of all VFs that have none of their own; as read, that of VF 0.
    pub slice_us: Option<u64>,
    /// How long a command may take.
    pub watchdog_ms: Option<u64>,
    /// What a VF may cost the others.
    #[serde(default)]
    pub limits: Limits,
    /// The VFs, from 0.
    #[serde(default, serialize_with = "named", deserialize_with = "numbered")]
    pub vf: BTreeMap<u32, VfSettings>,
}

/// Keys are text in every file format; VFs are numbered.
fn named<S: Serializer>(vfs: &BTreeMap<u32, VfSettings>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(vfs.iter().map(|(n, vf)| (n.to_string(), vf)))
}

fn numbered<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u32, VfSettings>, D::Error> {
    let named = IndexMap::<String, VfSettings>::deserialize(from)?;
    let number = |(key, vf): (String, VfSettings)| match key.parse::<u32>() {
        Ok(n) if n.to_string() == key => Ok((n, vf)),
        _ => Err(D::Error::custom(format!(
            "unknown VF `{key}`, expected a number from 0"
        ))),
    };
    named.into_iter().map(number).collect()
}

fn read_rate(text: &str) -> Option<Rate> {
    let (count, seconds) = text.split_once(' ')?;
    let (count, seconds) = (count.parse().ok()?, seconds.trim().parse().ok()?);
    Some(Rate { count, seconds })
}

impl Settings {
    /// What the driver has.
    pub fn read(files: &dyn Files) -> Self {
        let number = |path: &str| files.read(path)?.parse::<u64>().ok();
        let choice = |path: &str| files.read(path).map(|text| chosen(&text).to_owned());
        let rate = |name: &str| read_rate(&files.read(&format!("gim/limits/{name}"))?);
        let vf = |n: u32| {
            let of = |name: &str| number(&format!("sriov_admin/vf{}/{name}", n + 1));
            VfSettings {
                slice_us: of("slice_us"),
                weight: of("weight"),
                min_permille: of("min_permille"),
                cap_permille: of("cap_permille"),
                latency_us: of("latency_us"),
            }
        };
        let vfs = number("sriov_numvfs").and_then(|n| u32::try_from(n).ok());
        let mut limits = Limits {
            enforced: number("gim/limits/enforced").map(|n| n != 0),
            ..Limits::default()
        };
        for name in Limits::names() {
            if let Some(limit) = limits.rate_mut(name) {
                *limit = rate(name);
            }
        }
        Self {
            vfs,
            policy: choice("gim/policy"),
            mode: choice("gim/mode"),
            preset: choice("gim/slice_preset"),
            slice_us: number("gim/slice_us"),
            watchdog_ms: number("gim/watchdog_ms"),
            limits,
            vf: (0..vfs.unwrap_or(0)).map(|n| (n, vf(n))).collect(),
        }
    }

    /// The same as a wish: without what follows from the rest.
    pub fn as_wanted(mut self) -> Self {
        if self.is_preset() {
            self.vf.values_mut().for_each(|vf| vf.slice_us = None);
        }
        if self.is_preset() || !self.vf.is_empty() {
            self.slice_us = None;
        }
        self
    }

    /// Whether slices follow from a preset.
    pub fn is_preset(&self) -> bool {
        matches!(self.preset.as_deref(), Some("long" | "short"))
    }

    /// All slices.
    pub fn slices(&self) -> impl Iterator<Item = u64> + '_ {
        let vfs = self.vf.values().map(|vf| vf.slice_us);
        std::iter::once(self.slice_us).chain(vfs).flatten()
    }
}
