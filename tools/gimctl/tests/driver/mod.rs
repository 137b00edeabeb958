// SPDX-License-Identifier: GPL-2.0
//! A driver that is not there: the files of `rust/sysfs`, with the core's own settings behind them.
#![allow(unreachable_pub)]

use std::cell::{Cell, RefCell};
use std::io;

use gim_core::config::{Config, Mode, Policy, Preset};
use gim_core::guard::{Limit, Rate};
use gim_core::types::{VfId, MS, US};
use gimctl::settings::Files;

const EIO: i32 = 5;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;

/// The files of `rust/sysfs`.
pub struct Driver {
    pub cfg: RefCell<Config>,
    count: u8,
    /// The write that fails for a reason of its own, from 1.
    pub fails_at: Cell<usize>,
}

fn shown(names: &[&str], chosen: usize) -> String {
    let mark = |(i, name): (usize, &&str)| match i == chosen {
        true => format!("[{name}]"),
        false => (*name).to_owned(),
    };
    let all: Vec<String> = names.iter().enumerate().map(mark).collect();
    all.join(" ")
}

impl Driver {
    pub fn new(cfg: Config, count: u8) -> Self {
        Self {
            cfg: RefCell::new(cfg),
            count,
            fails_at: Cell::new(0),
        }
    }

    fn vf(&self, path: &str) -> Option<(VfId, String)> {
        let (n, name) = path.strip_prefix("sriov_admin/vf")?.split_once('/')?;
        let n = n.parse::<u32>().ok()?.checked_sub(1)?;
        let vf = VfId::new(n).filter(|_| n < u32::from(self.count))?;
        Some((vf, name.to_owned()))
    }

    fn try_write(&self, path: &str, text: &str) -> Result<(), i32> {
        let mut cfg = self.cfg.borrow_mut();
        let number = || text.parse::<u64>().map_err(|_| EINVAL);
        if let Some((vf, name)) = self.vf(path) {
            let mut share = cfg.share(vf);
            let small = || text.parse::<u16>().map_err(|_| EINVAL);
            match name.as_str() {
                "slice_us" => return cfg.set_slice(vf, number()? * US).map_err(|_| ERANGE),
                "weight" => share.weight = small()?,
                "min_permille" => share.min = small()?,
                "cap_permille" => share.cap = small()?,
                "latency_us" => share.latency = Some(number()? * US).filter(|ns| *ns != 0),
                _ => return Err(EINVAL),
            }
            return cfg.set_share(vf, share).map_err(|_| ERANGE);
        }
        match (path, text) {
            ("gim/policy", "rr") => cfg.set_policy(Policy::RoundRobin),
            ("gim/policy", "qos") => cfg.set_policy(Policy::Qos),
            ("gim/mode", "strict") => cfg.set_mode(Mode::Strict),
            ("gim/mode", "work-conserving") => cfg.set_mode(Mode::WorkConserving),
            ("gim/slice_us", _) => cfg.set_slices(number()? * US).map_err(|_| ERANGE)?,
            ("gim/watchdog_ms", _) => cfg.set_watchdog(number()? * MS).map_err(|_| ERANGE)?,
            ("gim/limits/enforced", _) => cfg.set_guard(text == "1"),
            ("gim/slice_preset", _) => {
                let preset = preset(text).ok_or(EINVAL)?;
                cfg.set_preset(preset, self.count).map_err(|_| ERANGE)?;
            }
            _ => {
                let name = path.strip_prefix("gim/limits/").ok_or(EINVAL)?;
                let (count, seconds) = text.split_once(' ').ok_or(EINVAL)?;
                let seconds: u64 = seconds.parse().map_err(|_| EINVAL)?;
                let rate = Rate::new(count.parse().map_err(|_| EINVAL)?, seconds * 1_000 * MS);
                let limit = Limit::ALL.into_iter().find(|l| l.name() == name);
                cfg.set_rate(limit.ok_or(EINVAL)?, rate.map_err(|_| ERANGE)?);
            }
        }
        Ok(())
    }
}

/// A preset by its name.
pub fn preset(name: &str) -> Option<Preset> {
    Some(match name {
        "long" => Preset::Long,
        "short" => Preset::Short,
        "own" => Preset::Own,
        _ => return None,
    })
}

impl Files for Driver {
    fn read(&self, path: &str) -> Option<String> {
        let cfg = self.cfg.borrow();
        if let Some((vf, name)) = self.vf(path) {
            let share = cfg.share(vf);
            return Some(match name.as_str() {
                "slice_us" => (cfg.slice(vf) / US).to_string(),
                "weight" => share.weight.to_string(),
                "min_permille" => share.min.to_string(),
                "cap_permille" => share.cap.to_string(),
                "latency_us" => (share.latency.unwrap_or(0) / US).to_string(),
                _ => return None,
            });
        }
        Some(match path {
            "sriov_numvfs" => self.count.to_string(),
            "gim/policy" => shown(&["rr", "qos"], usize::from(cfg.policy() == Policy::Qos)),
            "gim/mode" => {
                let conserving = usize::from(cfg.mode() == Mode::WorkConserving);
                shown(&["strict", "work-conserving"], conserving)
            }
            "gim/slice_us" => (cfg.slice(VfId::FIRST) / US).to_string(),
            "gim/slice_preset" => shown(&["long", "short", "own"], cfg.preset() as usize),
            "gim/watchdog_ms" => (cfg.watchdog() / MS).to_string(),
            "gim/limits/enforced" => u8::from(cfg.guard()).to_string(),
            _ => {
                let name = path.strip_prefix("gim/limits/")?;
                let rate = cfg.rate(Limit::ALL.into_iter().find(|l| l.name() == name)?);
                format!("{} {}", rate.count(), rate.window() / (1_000 * MS))
            }
        })
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let left = self.fails_at.get();
        self.fails_at.set(left.saturating_sub(1));
        let result = match left {
            1 => Err(EIO),
            _ => self.try_write(path, text),
        };
        result.map_err(io::Error::from_raw_os_error)
    }
}
