// SPDX-License-Identifier: GPL-2.0
//! From a key of the driver to a metric's name, unit and kind.

use super::{Kind, Scale};

/// How a key of a `stats` file is exported.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    /// From the driver's unit to the metric's.
    pub(super) scale: Scale,
    /// The label of a quantile.
    pub(super) quantile: Option<String>,
}

/// What the keys mean; the ABI file says it at length.
const HELP: &[(&str, &str)] = &[
    ("run", "Time on the engine, full access included"),
    ("wait", "Time in which it could have run and another did"),
    ("save", "Time that saving its state took"),
    ("load", "Time that loading its state took"),
    ("overrun", "Time beyond its slices, repaid later"),
    (
        "full_access",
        "Time in which its guest had the GPU for itself",
    ),
    ("max_gap", "Longest wait between two turns"),
    ("switches", "World switches"),
    ("switch", "Time that world switches took"),
    ("skips", "Turns that were skipped"),
    ("full_accesses", "Full accesses granted"),
    ("full_access_timeouts", "Full accesses that took too long"),
    ("hangs", "Hangs"),
    ("resets", "Resets"),
    ("messages", "Messages of its guest"),
    (
        "messages_dropped",
        "Messages of its guest that were dropped",
    ),
    ("limits_exceeded", "Times that it has exceeded a limit"),
    ("commands", "Commands issued to the GPU"),
    ("failures", "Commands that have failed"),
    ("lost_irqs", "Completion interrupts that did not come"),
    ("polls", "Times that the driver has polled"),
    ("pf_run", "Time of the PF on the engine"),
    ("gpu_resets", "Resets of the whole GPU"),
    ("stray_events", "Events that nobody waited for"),
    ("uevents", "Events told to user space"),
    ("uevents_dropped", "Events that were not told"),
    ("fb_used", "Framebuffer in use, by the guest's word"),
    ("fb", "Framebuffer, by the guest's word"),
];

impl Key {
    pub(super) fn of(prefix: &str, key: &str) -> Self {
        let (rest, unit, scale) = unit(key);
        let (stem, quantile) = match quantile(rest) {
            Some((stem, quantile)) => (stem, Some(quantile)),
            None => (rest, None),
        };
        // Only times and numbers of events are counted; sizes and parts are as they are now.
        let gauge =
            quantile.is_some() || stem.starts_with("max_") || !matches!(unit, "" | "seconds");
        let help = HELP.iter().find(|(known, _)| *known == stem);
        let help = help.map_or_else(
            || format!("{key} as the driver has it"),
            |(_, help)| (*help).to_owned(),
        );
        let parts = [
            prefix,
            stem,
            if quantile.is_some() { "quantile" } else { "" },
            unit,
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self {
            name: parts.join("_").replace("gim_gpu_gpu_", "gim_gpu_"),
            help,
            kind: if gauge { Kind::Gauge } else { Kind::Counter },
            scale,
            quantile,
        }
    }
}

/// The driver's unit, at the end of a key, as the base unit that metrics are to have.
fn unit(key: &str) -> (&str, &'static str, Scale) {
    for (suffix, name, scale) in [
        ("_ns", "seconds", Scale::NS),
        ("_mib", "bytes", Scale::MIB),
        ("_pct", "ratio", Scale::PERCENT),
    ] {
        if let Some(rest) = key.strip_suffix(suffix) {
            return (rest, name, scale);
        }
    }
    (key, "", Scale::ONE)
}

/// `wait_p99` is the quantile 0.99 of `wait`.
fn quantile(key: &str) -> Option<(&str, String)> {
    let (stem, percent) = key.rsplit_once("_p")?;
    let two_digits = percent.len() == 2 && percent.bytes().all(|b| b.is_ascii_digit());
    two_digits.then(|| {
        let digits = percent.trim_end_matches('0');
        (
            stem,
            format!("0.{}", if digits.is_empty() { "0" } else { digits }),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (prefix, key, name, kind, scale, quantile) in [
            (
                "gim_vf",
                "run_ns",
                "gim_vf_run_seconds",
                Kind::Counter,
                Scale::NS,
                None,
            ),
            (
                "gim_vf",
                "max_gap_ns",
                "gim_vf_max_gap_seconds",
                Kind::Gauge,
                Scale::NS,
                None,
            ),
            (
                "gim_vf",
                "wait_p50_ns",
                "gim_vf_wait_quantile_seconds",
                Kind::Gauge,
                Scale::NS,
                Some("0.5"),
            ),
            (
                "gim_vf",
                "wait_p99_ns",
                "gim_vf_wait_quantile_seconds",
                Kind::Gauge,
                Scale::NS,
                Some("0.99"),
            ),
            (
                "gim_vf",
                "skips",
                "gim_vf_skips",
                Kind::Counter,
                Scale::ONE,
                None,
            ),
            (
                "gim_gpu",
                "gpu_resets",
                "gim_gpu_resets",
                Kind::Counter,
                Scale::ONE,
                None,
            ),
            (
                "gim_gpu",
                "pf_run_ns",
                "gim_gpu_pf_run_seconds",
                Kind::Counter,
                Scale::NS,
                None,
            ),
            (
                "gim_vf_guest",
                "fb_used_mib",
                "gim_vf_guest_fb_used_bytes",
                Kind::Gauge,
                Scale::MIB,
                None,
            ),
            (
                "gim_vf_guest",
                "gfx_usage_pct",
                "gim_vf_guest_gfx_usage_ratio",
                Kind::Gauge,
                Scale::PERCENT,
                None,
            ),
            (
                "gim_vf",
                "from_the_future",
                "gim_vf_from_the_future",
                Kind::Counter,
                Scale::ONE,
                None,
            ),
        ] {
            let made = Key::of(prefix, key);
            assert_eq!(made.name, name);
            assert_eq!(made.kind, kind, "{key}");
            assert_eq!(made.scale, scale, "{key}");
            assert_eq!(made.quantile.as_deref(), quantile, "{key}");
        }
        assert!(Key::of("gim_vf", "from_the_future")
            .help
            .contains("from_the_future"));
    }
}
