// SPDX-License-Identifier: GPL-2.0
//! What the ABI allows of each setting, and of all together; the driver may refuse more.

use std::ops::RangeInclusive;

use anyhow::{anyhow, bail, Context, Result};

use crate::settings::{Settings, VfSettings, MODES, POLICIES, PRESETS};

impl Settings {
    /// Whether each value is one that the ABI allows.
    pub fn check(&self) -> Result<()> {
        one_of("policy", self.policy.as_deref(), &POLICIES)?;
        one_of("mode", self.mode.as_deref(), &MODES)?;
        one_of("preset", self.preset.as_deref(), &PRESETS)?;
        range("slice_us", self.slice_us, SLICE)?;
        range("watchdog_ms", self.watchdog_ms, 1..=5_000)?;
        for (name, rate) in self.limits.rates() {
            let what = format!("the count of limit {name}");
            range(&what, rate.map(|r| r.count), 1..=10_000)?;
            let what = format!("the seconds of limit {name}");
            range(&what, rate.map(|r| r.seconds), 1..=3_600)?;
        }
        for (n, vf) in &self.vf {
            vf.check().with_context(|| format!("VF {n}"))?;
        }
        if self.is_preset() && self.slices().next().is_some() {
            let preset = self.preset.as_deref().unwrap_or_default();
            bail!("preset {preset} sets the slices itself; slice_us goes with preset own");
        }
        Ok(())
    }

    /// Whether the VFs are there, and what they are promised can be, with the rest as it is now.
    ///
    /// That is what the ABI says of it; the driver may refuse more.
    pub fn check_beside(&self, now: &Self) -> Result<()> {
        let count = self.vfs.or(now.vfs).unwrap_or(0);
        if let Some(n) = self.vf.keys().find(|n| **n >= count) {
            bail!("there is no VF {n}: there are {count} VFs, counted from 0");
        }
        let mut sum = 0;
        for n in 0..count {
            let value = |get: fn(&VfSettings) -> Option<u64>| {
                let of = |settings: &Self| settings.vf.get(&n).and_then(get);
                of(self).or_else(|| of(now))
            };
            let min = value(|vf| vf.min_permille).unwrap_or(0);
            let cap = value(|vf| vf.cap_permille).unwrap_or(1000);
            if cap < min {
                bail!("VF {n}: cap_permille {cap} is below min_permille {min}");
            }
            sum += min;
        }
        if sum > 1000 {
            bail!("min_permille of all VFs add up to {sum}; at most 1000 can be promised");
        }
        Ok(())
    }
}

const SLICE: RangeInclusive<u64> = 100..=1_000_000;

impl VfSettings {
    fn check(&self) -> Result<()> {
        range("slice_us", self.slice_us, SLICE)?;
        range("weight", self.weight, 1..=10_000)?;
        range("min_permille", self.min_permille, 0..=1_000)?;
        range("cap_permille", self.cap_permille, 1..=1_000)?;
        let bound = self.latency_us.filter(|us| *us != 0);
        range("latency_us", bound, 1_000..=10_000_000)
            .map_err(|e| anyhow!("{e}, and 0 for no bound"))
    }
}

fn one_of(what: &str, value: Option<&str>, allowed: &[&str]) -> Result<()> {
    match value {
        Some(v) if !allowed.contains(&v) => {
            bail!("{what} cannot be {v}; allowed are {}", allowed.join(", "))
        }
        _ => Ok(()),
    }
}

fn range(what: &str, value: Option<u64>, allowed: RangeInclusive<u64>) -> Result<()> {
    match value {
        Some(v) if !allowed.contains(&v) => {
            let (least, most) = allowed.into_inner();
            bail!("{what} cannot be {v}; allowed are {least} to {most}")
        }
        _ => Ok(()),
    }
}
