// SPDX-License-Identifier: GPL-2.0
//! What monitoring gets of GPUs and VFs: metric families by Prometheus' conventions.
//!
//! Names are made from the driver's keys: `run_ns` of a VF is `gim_vf_run_seconds_total`. So a counter
//! that a later driver has is exported without a change here. Text from guests is never a label: a guest
//! that changes it all the time would fill the database.

mod key;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use self::key::Key;
pub use self::text::{text, CONTENT_TYPE};
use crate::sysfs::{Gpu, Stats, Vf};

/// Whether a value only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It only grows; it begins anew when VFs are enabled or the driver is loaded.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A value with its labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// What it is the value of.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// Names and values of labels.
pub type Labels = BTreeMap<&'static str, String>;

/// Samples under one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Family {
    /// Name as scrapers see it, but for the `_total` of counters.
    pub name: String,
    /// What it says.
    pub help: String,
    /// Whether it only grows.
    pub kind: Kind,
    /// One for each GPU or VF.
    pub samples: Vec<Sample>,
}

/// States of a GPU as a whole, of which one is 1.
const GPU_STATES: [&str; 6] = ["off", "on", "stopping", "recovering", "dead", "gone"];

/// States of a VF.
const VF_STATES: [&str; 7] = [
    "unavailable",
    "available",
    "full-access",
    "active",
    "suspended",
    "resetting",
    "quarantined",
];

/// What guests can have reported.
const REPORTS: [&str; 5] = ["none", "valid", "bad-size", "bad-version", "bad-checksum"];

/// The metrics of a host: `None` where the driver is not loaded.
pub fn of_host(version: Option<&str>, gpus: Option<&[Gpu]>) -> Vec<Family> {
    let mut all = Families::default();
    let up = f64::from(u8::from(gpus.is_some()));
    all.gauge("gim_up", "Whether the driver is loaded", Labels::new(), up);
    if let Some(version) = version {
        let labels = Labels::from([("version", version.to_owned())]);
        all.gauge("gim_driver_info", "Version of the driver", labels, 1.0);
    }
    for gpu in gpus.into_iter().flatten() {
        all.gpu(gpu);
        gpu.vfs.iter().for_each(|vf| all.vf(gpu, vf));
    }
    all.0
}

/// Families in the order in which they were met.
#[derive(Default)]
struct Families(Vec<Family>);

impl Families {
    fn add(&mut self, name: &str, help: &str, kind: Kind, labels: Labels, value: f64) {
        let sample = Sample { labels, value };
        match self.0.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => self.0.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind,
                samples: vec![sample],
            }),
        }
    }

    fn gauge(&mut self, name: &str, help: &str, labels: Labels, value: f64) {
        self.add(name, help, Kind::Gauge, labels, value);
    }

    fn optional(
        &mut self,
        name: &str,
        help: &str,
        labels: &Labels,
        value: Option<u64>,
        scale: Scale,
    ) {
        if let Some(value) = value {
            self.gauge(name, help, labels.clone(), scale.of(value));
        }
    }

    /// A family with a sample for each state, 1 for that in force.
    fn states(&mut self, name: &str, help: &str, labels: &Labels, all: &[&str], now: Option<&str>) {
        for state in all {
            let labels = with(labels, [("state", *state)]);
            let value = f64::from(u8::from(now == Some(state)));
            self.gauge(name, help, labels, value);
        }
    }

    /// Every number of a `stats` file.
    fn stats(&mut self, prefix: &str, labels: &Labels, stats: &Stats) {
        for (key, value) in stats {
            let Some(value) = value.as_u64() else {
                continue;
            };
            let key = Key::of(prefix, key);
            let labels = with(
                labels,
                key.quantile.iter().map(|q| ("quantile", q.as_str())),
            );
            self.add(&key.name, &key.help, key.kind, labels, key.scale.of(value));
        }
    }

    fn gpu(&mut self, gpu: &Gpu) {
        let labels = Labels::from([("gpu", gpu.pci.clone())]);
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut info = labels.clone();
        info.insert("chip", or_empty(&gpu.chip));
        info.insert("policy", or_empty(&gpu.policy));
        info.insert("mode", or_empty(&gpu.mode));
        self.gauge("gim_gpu_info", "Chip and scheduling policy", info, 1.0);
        let state = gpu.state.as_deref();
        self.states(
            "gim_gpu_state",
            "State of the GPU",
            &labels,
            &GPU_STATES,
            state,
        );
        for (name, help, value, scale) in [
            (
                "gim_gpu_framebuffer_bytes",
                "Framebuffer that can be given to functions",
                gpu.framebuffer_mib,
                Scale::MIB,
            ),
            (
                "gim_gpu_vfs",
                "VFs that are enabled",
                Some(gpu.num_vfs.into()),
                Scale::ONE,
            ),
            (
                "gim_gpu_vfs_max",
                "VFs that the device can have",
                Some(gpu.total_vfs.into()),
                Scale::ONE,
            ),
        ] {
            self.optional(name, help, &labels, value, scale);
        }
        self.stats("gim_gpu", &labels, &gpu.stats);
        self.stats("gim_pf", &labels, &gpu.pf_stats);
    }

    fn vf(&mut self, gpu: &Gpu, vf: &Vf) {
        let index = vf.index.to_string();
        let labels = Labels::from([("gpu", gpu.pci.clone()), ("vf", index)]);
        let mut info = labels.clone();
        let holder = vf.holder.as_ref().map(|holder| holder.name().to_owned());
        for (label, value) in [
            ("pci", &vf.pci),
            ("driver", &vf.driver),
            ("iommu_group", &vf.iommu_group),
            ("vm", &holder),
        ] {
            info.insert(label, value.clone().unwrap_or_default());
        }
        self.gauge(
            "gim_vf_info",
            "Address of the VF, its driver, who has it open",
            info,
            1.0,
        );
        let state = vf.state.as_deref();
        self.states(
            "gim_vf_state",
            "State of the VF",
            &labels,
            &VF_STATES,
            state,
        );
        if let Some(control) = vf.control.as_deref() {
            let paused = f64::from(u8::from(control != "running"));
            self.gauge(
                "gim_vf_paused",
                "Whether the host holds it off the engine",
                labels.clone(),
                paused,
            );
        }
        let memory = "Framebuffer of the VF";
        self.optional(
            "gim_vf_framebuffer_bytes",
            memory,
            &labels,
            vf.fb_mib,
            Scale::MIB,
        );
        let slice = "Time slice of the VF";
        self.optional(
            "gim_vf_slice_seconds",
            slice,
            &labels,
            vf.slice_us,
            Scale::US,
        );
        self.stats("gim_vf", &labels, &vf.stats);
        if let Some(report) = vf.guest.get("report").and_then(Value::as_str) {
            let help = "What came of reading what the guest says of itself";
            self.states("gim_vf_guest_report", help, &labels, &REPORTS, Some(report));
        }
        self.stats("gim_vf_guest", &labels, &vf.guest);
    }
}

/// From the driver's units to Prometheus' base units. A quotient is rounded once, where a factor such as
/// 1e-9 would be rounded before.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    times: f64,
    by: f64,
}

impl Scale {
    const ONE: Self = Self::new(1.0, 1.0);
    const NS: Self = Self::new(1.0, 1e9);
    const US: Self = Self::new(1.0, 1e6);
    const PERCENT: Self = Self::new(1.0, 100.0);
    const MIB: Self = Self::new(1_048_576.0, 1.0);

    const fn new(times: f64, by: f64) -> Self {
        Self { times, by }
    }

    /// Prometheus knows no other numbers; beyond 2^53 the last digits are lost.
    #[allow(clippy::cast_precision_loss, reason = "that is the format's")]
    fn of(self, value: u64) -> f64 {
        value as f64 * self.times / self.by
    }
}

fn with<'a>(labels: &Labels, more: impl IntoIterator<Item = (&'static str, &'a str)>) -> Labels {
    let mut labels = labels.clone();
    labels.extend(more.into_iter().map(|(k, v)| (k, v.to_owned())));
    labels
}

#[cfg(test)]
mod tests {
    use gim_core::vf::VfState;

    use super::*;

    #[test]
    fn the_driver_has_these_states() {
        assert_eq!(VF_STATES, VfState::ALL.map(VfState::name));
        let driver = include_str!("../../../rust/sysfs/gpu.rs");
        let (_, names) = driver.split_once("fn phase_name").unwrap();
        let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
        assert_eq!(names, GPU_STATES);
    }
}
