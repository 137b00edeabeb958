// SPDX-License-Identifier: GPL-2.0
//! Files of sysfs, read: one that is missing or empty is `None`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Stats;

/// Whether `name` is a full PCI address such as `0000:03:00.0`.
pub fn is_pci_address(name: &str) -> bool {
    let hex = |s: &str, n: usize| s.len() >= n && s.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = name.split([':', '.']).collect();
    matches!(parts.as_slice(), [d, b, s, f]
        if name.matches(':').count() == 2 && hex(d, 4) && hex(b, 2) && hex(s, 2) && hex(f, 1))
}

/// Parses a `stats` file: one `key value` a line; numbers become numbers, the rest stays text.
pub fn parse_stats(text: &str) -> Stats {
    text.lines()
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .map(|(key, value)| {
            let value = value.trim();
            let parsed = value
                .parse::<u64>()
                .map_or_else(|_| Value::from(value), Value::from);
            (key.trim_end_matches(':').to_owned(), parsed)
        })
        .collect()
}

/// The entry in brackets of `rr [qos]`, or the whole text where there are no brackets.
pub fn chosen(text: &str) -> &str {
    match (text.find('['), text.find(']')) {
        (Some(a), Some(b)) if a < b => &text[a + 1..b],
        _ => text,
    }
}

pub(crate) fn read_text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

pub(crate) fn read_choice(path: &Path) -> Option<String> {
    read_text(path).map(|text| chosen(&text).to_owned())
}

pub(crate) fn read_number(path: &Path) -> Option<u64> {
    read_text(path)?.parse().ok()
}

pub(crate) fn read_stats(path: &Path) -> Stats {
    read_text(path)
        .map(|text| parse_stats(&text))
        .unwrap_or_default()
}

pub(crate) fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(is_pci_address("0000:03:00.0"));
        assert!(is_pci_address("10000:03:1f.7"));
        for bad in [
            "module",
            "bind",
            "03:00.0",
            "0000:03:00",
            "0000.03.00:0",
            "0000:0g:00.0",
            "",
        ] {
            assert!(!is_pci_address(bad), "{bad}");
        }
    }

    #[test]
    fn stats_keep_what_they_do_not_know() {
        let s = parse_stats("run_ns 12\nnew_thing: 7\nlast_error none yet\nrubbish\n\n");
        assert_eq!(s["run_ns"], 12);
        assert_eq!(s["new_thing"], 7);
        assert_eq!(s["last_error"], "none yet");
        assert_eq!(s.len(), 3);
        assert_eq!(
            s.keys().collect::<Vec<_>>(),
            ["run_ns", "new_thing", "last_error"]
        );
    }

    #[test]
    fn choices() {
        assert_eq!(chosen("[rr] qos"), "rr");
        assert_eq!(chosen("strict [work-conserving]"), "work-conserving");
        assert_eq!(chosen("rr"), "rr");
        assert_eq!(chosen("]odd["), "]odd[");
    }
}
