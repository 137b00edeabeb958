// SPDX-License-Identifier: GPL-2.0
//! From what is set to what is wanted: what differs, and writing it, all or nothing.
//!
//! The driver judges each write by what is promised at that moment. Of the writes that lead from one
//! state that it accepts to another, those that promise less are accepted at any time, and those that
//! promise more once these are done. So whatever is refused is tried again as long as another write
//! succeeds: if none does, the state that is wanted is one that the driver does not accept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use anyhow::{anyhow, bail, Result};
use rustix::io::Errno;
use serde::Serialize;

use crate::settings::{Files, Rate, Settings, VfSettings};

const SLICES: &str = "gim/slice_us";
const PRESET: &str = "gim/slice_preset";

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The setting.
    pub what: String,
    /// What it is; not known where the VF is not there yet.
    pub from: Option<String>,
    /// What it shall be.
    pub to: String,
    #[serde(skip)]
    path: String,
}

impl Change {
    /// From what is known of a setting to what is wanted of it, if that differs.
    fn new<T: ToString>(what: &str, path: &str, from: Option<T>, to: Option<T>) -> Option<Self> {
        let (from, to) = (from.map(|v| v.to_string()), to?.to_string());
        (from.as_ref() != Some(&to)).then(|| Self {
            what: what.to_owned(),
            from,
            to,
            path: path.to_owned(),
        })
    }

    /// Whether the driver may refuse a value that is in its range.
    fn is_judged(&self) -> bool {
        self.path == SLICES || self.path == PRESET || self.path.starts_with("sriov_admin/")
    }

    /// Whether it changes the slices of VFs that are not enabled too, which nobody can read.
    fn is_of_all(&self) -> bool {
        self.path == SLICES || self.path == PRESET && self.to != "own"
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The only values of two words are limits: COUNT/SECONDS, as they are given.
        let shown = |value: &str| value.replace(' ', "/");
        let from = self.from.as_deref().map_or_else(|| "?".to_owned(), shown);
        write!(f, "{}: {from} -> {}", self.what, shown(&self.to))
    }
}

/// What differs from what is wanted.
pub fn changes(now: &Settings, want: &Settings) -> Vec<Change> {
    let mut list = Vec::new();
    list.extend(Change::new("vfs", "sriov_numvfs", now.vfs, want.vfs));
    list.extend(slices(now, want));
    let none = VfSettings::default();
    for (n, vf) in &want.vf {
        let old = now.vf.get(n).unwrap_or(&none);
        for (name, from, to) in [
            ("weight", old.weight, vf.weight),
            ("min_permille", old.min_permille, vf.min_permille),
            ("cap_permille", old.cap_permille, vf.cap_permille),
            ("latency_us", old.latency_us, vf.latency_us),
        ] {
            list.extend(of_vf(*n, name, from, to));
        }
    }
    let text = |value: &Option<String>| value.clone();
    for (what, from, to) in [
        ("policy", text(&now.policy), text(&want.policy)),
        ("mode", text(&now.mode), text(&want.mode)),
    ] {
        list.extend(Change::new(what, &format!("gim/{what}"), from, to));
    }
    let (from, to) = (now.watchdog_ms, want.watchdog_ms);
    list.extend(Change::new("watchdog_ms", "gim/watchdog_ms", from, to));
    limits(now, want, &mut list);
    list
}

fn of_vf(n: u32, name: &str, from: Option<u64>, to: Option<u64>) -> Option<Change> {
    let path = format!("sriov_admin/vf{}/{name}", n + 1);
    Change::new(&format!("VF {n} {name}"), &path, from, to)
}

fn limits(now: &Settings, want: &Settings, list: &mut Vec<Change>) {
    for ((name, from), (_, to)) in now.limits.rates().into_iter().zip(want.limits.rates()) {
        let text = |r: Rate| format!("{} {}", r.count, r.seconds);
        let (what, path) = (format!("limit {name}"), format!("gim/limits/{name}"));
        list.extend(Change::new(&what, &path, from.map(text), to.map(text)));
    }
    let (from, to) = (now.limits.enforced, want.limits.enforced);
    let (from, to) = (from.map(u8::from), to.map(u8::from));
    list.extend(Change::new(
        "limits enforced",
        "gim/limits/enforced",
        from,
        to,
    ));
}

/// Slices and where they come from: a slice that is written ends a preset, a preset sets all slices.
fn slices(now: &Settings, want: &Settings) -> Vec<Change> {
    let preset = |to: &str| {
        let to = Some(to.to_owned());
        Change::new("preset", PRESET, now.preset.clone(), to)
    };
    if let (true, Some(to)) = (want.is_preset(), &want.preset) {
        return preset(to).into_iter().collect();
    }
    let own: BTreeMap<u32, u64> = want
        .vf
        .iter()
        .filter_map(|(n, vf)| Some((*n, vf.slice_us?)))
        .collect();
    let is = |n: u32| now.vf.get(&n).and_then(|vf| vf.slice_us);
    let mut list = Vec::new();
    match want.slice_us {
        Some(us) if own.is_empty() => {
            let same = now.vf.keys().all(|n| is(*n) == Some(us));
            if !same || now.slice_us != Some(us) {
                // VF 0 may have that slice already when others do not.
                let from = now.slice_us.filter(|from| *from != us);
                list.extend(Change::new("slice_us", SLICES, from, Some(us)));
            }
        }
        all => {
            let vfs: BTreeSet<u32> = now.vf.keys().chain(own.keys()).copied().collect();
            for n in vfs {
                let to = own.get(&n).copied().or(all);
                list.extend(of_vf(n, "slice_us", is(n), to));
            }
        }
    }
    let wanted = want.preset.is_some() || want.slice_us.is_some() || !own.is_empty();
    // One that does not know of presets has the slices that were written.
    let left = want.preset.is_some() || now.preset.is_some();
    if list.is_empty() && wanted && left {
        list.extend(preset("own"));
    }
    list
}

/// Brings a GPU to what is wanted of it, or leaves it as it was; returns what was changed.
pub fn set(files: &dyn Files, want: &Settings) -> Result<Vec<Change>> {
    let before = Settings::read(files);
    let want = Settings {
        vfs: None,
        ..want.clone()
    };
    let list = changes(&before, &want);
    let mut written = Vec::new();
    let Err(why) = reach(files, &want, Way::There, &mut written) else {
        return Ok(list);
    };
    // What VFs had that are not enabled is not known: the shortest slice keeps all promises.
    let floor = match before.is_preset() {
        false if written.iter().any(Change::is_of_all) => before.slices().min(),
        _ => None,
    };
    let old = Settings {
        vfs: None,
        ..before.as_wanted()
    };
    match reach(files, &old, Way::Back { floor }, &mut Vec::new()) {
        Ok(()) => bail!("{why}; no setting was changed"),
        Err(e) => bail!("{why}; what was changed could not be put back: {e}"),
    }
}

/// Rounds of looking what differs: what is set for all VFs changes what was set for one.
const ROUNDS: u32 = 3;

/// Going there ends with the first trouble; going back goes as far as it can.
#[derive(Clone, Copy)]
enum Way {
    There,
    /// With a slice for the VFs that are not enabled, at most the shortest of those that are.
    Back {
        floor: Option<u64>,
    },
}

fn reach(files: &dyn Files, want: &Settings, way: Way, written: &mut Vec<Change>) -> Result<()> {
    for round in 0..ROUNDS {
        let mut list = changes(&Settings::read(files), want);
        if list.is_empty() {
            return Ok(());
        }
        if let (0, Way::Back { floor }) = (round, way) {
            list.splice(0..0, Change::new("slice_us", SLICES, None, floor));
        }
        // What may be refused goes first: then the rest has not been touched.
        let (judged, rest) = list.into_iter().partition(Change::is_judged);
        let first = write_all(files, judged, way, written);
        if let (Err(_), Way::There) = (&first, way) {
            return first;
        }
        first.and(write_all(files, rest, way, written))?;
    }
    match changes(&Settings::read(files), want).first() {
        None => Ok(()),
        Some(left) => bail!("{left} does not last; does somebody else set it too?"),
    }
}

/// Writes what is refused again and again, as long as another write succeeds.
fn write_all(
    files: &dyn Files,
    mut left: Vec<Change>,
    way: Way,
    written: &mut Vec<Change>,
) -> Result<()> {
    while !left.is_empty() {
        let tried = left.len();
        let mut refused = Vec::new();
        for change in left {
            match files.write(&change.path, &change.to) {
                Ok(()) => written.push(change),
                Err(e) if matches!(way, Way::There) && !is_refusal(&e) => {
                    return Err(failed(&[(change, e)]));
                }
                Err(e) => refused.push((change, e)),
            }
        }
        if refused.len() == tried {
            return Err(failed(&refused));
        }
        left = refused.into_iter().map(|(change, _)| change).collect();
    }
    Ok(())
}

fn is_refusal(e: &io::Error) -> bool {
    matches!(Errno::from_io_error(e), Some(Errno::INVAL | Errno::RANGE))
}

/// What is to be said of writes that have failed: one, or those that were refused together.
fn failed(writes: &[(Change, io::Error)]) -> anyhow::Error {
    let what: Vec<String> = writes.iter().map(|(c, _)| c.to_string()).collect();
    let Some((change, e)) = writes.first() else {
        return anyhow!("nothing was refused");
    };
    let why = match Errno::from_io_error(e) {
        Some(Errno::ACCESS | Errno::PERM) => "this needs root; run it again with sudo".to_owned(),
        Some(Errno::NOENT) => format!("{} is missing: is the driver older?", change.path),
        Some(Errno::RANGE) => "refused by the driver, whose reason is in the kernel log".to_owned(),
        Some(Errno::INVAL) => {
            "refused by the driver, which does not know this: is it older?".to_owned()
        }
        _ => e.to_string(),
    };
    anyhow!("{}: {why}", what.join(", "))
}
