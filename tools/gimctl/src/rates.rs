// SPDX-License-Identifier: GPL-2.0
//! Rates and shares between two readings of the counters.

use serde::Serialize;

use crate::sysfs::{Gpu, Vf};

/// What one VF did between two readings, or since the driver was loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VfRate {
    /// Index of the VF, from 0.
    pub vf: u32,
    /// PCI address of the VF.
    pub pci: Option<String>,
    /// Life-cycle state at the second reading.
    pub state: Option<String>,
    /// Time on the engine in nanoseconds.
    pub run_ns: u64,
    /// Part of the run time of all VFs, 0 to 1; `None` when none ran.
    pub share: Option<f64>,
    /// Switches to this VF.
    pub switches: u64,
    /// Turns that were skipped.
    pub skips: u64,
    /// Mailbox messages.
    pub messages: u64,
    /// Resets since the driver was loaded.
    pub resets: u64,
    /// Longest wait between two slices since the driver was loaded, in nanoseconds.
    pub max_gap_ns: u64,
}

/// Parts of the whole, 0 to 1 each; `None` where the sum is 0.
pub fn shares(values: &[u64]) -> Option<Vec<f64>> {
    let sum: u128 = values.iter().copied().map(u128::from).sum();
    (sum != 0).then(|| values.iter().map(|&v| v as f64 / sum as f64).collect())
}

/// Largest relative distance from the equal share: 0.02 says that one is 2 % off its due.
///
/// `None` where nothing was shared.
pub fn share_error(values: &[u64]) -> Option<f64> {
    let n = values.len() as f64;
    let parts = shares(values)?;
    Some(
        parts
            .iter()
            .map(|s| (s * n - 1.0).abs())
            .fold(0.0, f64::max),
    )
}

/// What each VF of `now` did since `before`; since the beginning where there is no `before`.
///
/// Counters that went backwards (the VFs were recreated in between) count from 0.
pub fn between(before: Option<&Gpu>, now: &Gpu) -> Vec<VfRate> {
    let old = |vf: &Vf, key: &str| {
        before
            .and_then(|gpu| gpu.vfs.iter().find(|o| o.index == vf.index))
            .map_or(0, |o| o.counter(key))
    };
    let delta = |vf: &Vf, key: &str| {
        let (new, old) = (vf.counter(key), old(vf, key));
        new.checked_sub(old).unwrap_or(new)
    };
    let runs: Vec<u64> = now.vfs.iter().map(|vf| delta(vf, "run_ns")).collect();
    let parts = shares(&runs);
    now.vfs
        .iter()
        .enumerate()
        .map(|(i, vf)| VfRate {
            vf: vf.index,
            pci: vf.pci.clone(),
            state: vf.state.clone(),
            run_ns: runs[i],
            share: parts.as_ref().map(|p| p[i]),
            switches: delta(vf, "switches"),
            skips: delta(vf, "skips"),
            messages: delta(vf, "messages"),
            resets: vf.counter("resets"),
            max_gap_ns: vf.counter("max_gap_ns"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_errors() {
        assert_eq!(share_error(&[]), None);
        assert_eq!(share_error(&[0, 0]), None);
        assert_eq!(share_error(&[5, 5, 5, 5]), Some(0.0));
        let e = share_error(&[98, 102]).unwrap();
        assert!((e - 0.02).abs() < 1e-12, "{e}");
        assert_eq!(share_error(&[1, 0]), Some(1.0));
        assert_eq!(shares(&[u64::MAX, u64::MAX]), Some(vec![0.5, 0.5]));
    }
}
