// SPDX-License-Identifier: GPL-2.0
//! The driver's uevents, parsed.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

/// One uevent of `gim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// PCI address of the GPU's physical function.
    pub gpu: String,
    /// Number of the event, from 1 since the GPU was bound; numbers that are missing were dropped.
    pub seq: u64,
    /// What happened: guard, vf-reset, vf-quarantined, gpu-reset, gpu-ready, gpu-dead, gpu-gone,
    /// polling, or what a later driver knows.
    pub event: String,
    /// The VF it is about, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vf: Option<u32>,
    /// The limit that was exceeded (guard).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What is done about it (guard).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    /// Why (vf-reset).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Events that were dropped before this one, in all.
    pub dropped: u64,
}

impl Event {
    /// Parses a message of the kernel; `None` if it is not one of `gim`'s events.
    ///
    /// It is a header, `change@/devices/...`, and variables, each with a NUL behind it.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut parts = message.split(|&b| b == 0).map(std::str::from_utf8);
        let (action, path) = parts.next()?.ok()?.split_once('@')?;
        if action != "change" {
            return None;
        }
        let vars: HashMap<&str, &str> = parts
            .filter_map(Result::ok)
            .filter_map(|text| text.split_once('='))
            .collect();
        let text = |key: &str| vars.get(key).map(|&value| value.to_owned());
        let number = |key: &str| vars.get(key)?.parse::<u64>().ok();
        Some(Self {
            event: text("GIM_EVENT")?,
            gpu: text("PCI_SLOT_NAME").or_else(|| Some(path.rsplit('/').next()?.to_owned()))?,
            seq: number("GIM_SEQ")?,
            vf: number("GIM_VF").and_then(|n| u32::try_from(n).ok()),
            limit: text("GIM_LIMIT"),
            act: text("GIM_ACT"),
            reason: text("GIM_REASON"),
            dropped: number("GIM_DROPPED").unwrap_or(0),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gpu, self.event)?;
        if let Some(vf) = self.vf {
            write!(f, " VF {vf}")?;
        }
        for (key, value) in [
            ("limit", &self.limit),
            ("act", &self.act),
            ("reason", &self.reason),
        ] {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        Ok(())
    }
}

/// Finds the numbers that are missing.
#[derive(Debug, Default)]
pub struct Gaps(HashMap<String, u64>);

impl Gaps {
    /// How many events of its GPU are missing before this one; 0 for the first, and after the
    /// numbers have begun anew.
    pub fn missed(&mut self, event: &Event) -> u64 {
        let last = self.0.insert(event.gpu.clone(), event.seq);
        last.map_or(0, |last| event.seq.saturating_sub(last).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: &[u8] = b"change@/devices/pci0000:00/0000:00:03.0/0000:01:00.0\0ACTION=change\0\
        DEVPATH=/devices/pci0000:00/0000:00:03.0/0000:01:00.0\0SUBSYSTEM=pci\0GIM_EVENT=guard\0\
        GIM_SEQ=7\0GIM_DROPPED=2\0GIM_VF=3\0GIM_LIMIT=messages\0GIM_ACT=drop\0DRIVER=gim\0\
        PCI_SLOT_NAME=0000:01:00.0\0SEQNUM=1234\0";

    #[test]
    fn an_event_of_ours() {
        let event = Event::parse(GUARD).unwrap();
        assert_eq!((event.seq, event.dropped, event.vf), (7, 2, Some(3)));
        assert_eq!(event.gpu, "0000:01:00.0");
        assert_eq!(
            event.to_string(),
            "0000:01:00.0 guard VF 3 limit=messages act=drop"
        );
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["act"], "drop");
        assert!(json.get("reason").is_none());
    }

    #[test]
    fn the_path_names_the_gpu_too() {
        let event = Event::parse(b"change@/devices/0000:02:00.0\0GIM_EVENT=new\0GIM_SEQ=1\0");
        let event = event.unwrap();
        assert_eq!((event.gpu.as_str(), event.vf), ("0000:02:00.0", None));
    }

    #[test]
    fn anything_else_is_none() {
        for other in [
            &b""[..],
            b"\0\0",
            b"libudev\0\xfe\xed\xca\xfe",
            b"add@/devices/x\0GIM_EVENT=guard\0GIM_SEQ=1\0",
            b"change@/devices/x\0SUBSYSTEM=pci\0",
            b"change@/devices/x\0GIM_EVENT=guard\0GIM_SEQ=many\0",
            b"\xff@\0GIM_EVENT=guard\0",
        ] {
            assert_eq!(Event::parse(other), None);
        }
        for cut in 0..GUARD.len() {
            // Must not panic, whatever is missing.
            let _ = Event::parse(&GUARD[..cut]);
        }
    }

    #[test]
    fn gaps_are_found_per_gpu() {
        let mut gaps = Gaps::default();
        let event = |gpu: &str, seq| Event {
            gpu: gpu.to_owned(),
            seq,
            ..Event::parse(GUARD).unwrap()
        };
        let got: Vec<u64> = [("a", 5), ("b", 1), ("a", 6), ("a", 10), ("b", 2), ("a", 1)]
            .map(|(gpu, seq)| gaps.missed(&event(gpu, seq)))
            .into();
        assert_eq!(got, [0, 0, 0, 3, 0, 0]);
    }
}
