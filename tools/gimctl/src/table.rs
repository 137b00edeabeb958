// SPDX-License-Identifier: GPL-2.0
//! Plain text tables and units for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

/// A table without borders: `head` names the columns, those that start with `>` are numbers and
/// stand to the right.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(head.iter().map(|h| h.trim_start_matches('>')));
    for (i, title) in head.iter().enumerate() {
        if let Some(column) = table.column_mut(i) {
            column.set_padding((0, 2));
            if title.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// The text of a table, without blanks at the ends of lines.
pub fn render(table: &Table) -> String {
    table
        .to_string()
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A value, or a dash where the driver does not tell.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

/// Nanoseconds in a unit that suits their size: `6.00 ms`.
pub fn duration(ns: u64) -> String {
    let t = ns as f64;
    match ns {
        0..=9_999 => format!("{ns} ns"),
        10_000..=999_999 => format!("{:.1} us", t / 1e3),
        1_000_000..=9_999_999_999 => format!("{:.2} ms", t / 1e6),
        _ => format!("{:.2} s", t / 1e9),
    }
}

/// A part of the whole in percent.
pub fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "-".to_owned(), |p| format!("{:.2} %", p * 100.0))
}

/// Bytes in binary units: `1.50 MiB`.
pub fn bytes(n: u64) -> String {
    let t = n as f64;
    match n {
        0..=1023 => format!("{n} B"),
        1024..=1_048_575 => format!("{:.1} KiB", t / 1024.0),
        1_048_576..=1_073_741_823 => format!("{:.1} MiB", t / 1_048_576.0),
        _ => format!("{:.2} GiB", t / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(duration(9_999), "9999 ns");
        assert_eq!(duration(6_000_000), "6.00 ms");
        assert_eq!(duration(12_500_000_000), "12.50 s");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(percent(Some(0.25)), "25.00 %");
        assert_eq!(or_dash::<u32>(None), "-");
    }

    #[test]
    fn tables_are_plain() {
        let mut t = table(&["VF", ">SHARE"]);
        t.add_row(["0", "25.00 %"]);
        assert_eq!(render(&t), "VF    SHARE\n0   25.00 %");
    }
}
