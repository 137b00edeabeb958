// SPDX-License-Identifier: GPL-2.0
//! What came out, per tenant and as a whole, and whether it is good enough.

use gimctl::rates::{share_error, shares};
use gimctl::table::{bytes, duration, percent, render, table};
use serde::Serialize;

/// Most that a share may be off its due, relative to it.
pub(crate) const SHARE_LIMIT: f64 = 0.02;

/// What one tenant got and did.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) vf: u32,
    pub(crate) pci: String,
    pub(crate) workload: String,
    pub(crate) jobs: u64,
    pub(crate) bytes_verified: u64,
    /// Run time in the measured window, by the driver.
    pub(crate) driver_run_ns: u64,
    /// Run time in the measured window, by the referee.
    pub(crate) referee_run_ns: u64,
    /// Largest gap in the measured window, by the referee.
    pub(crate) gap_ns: u64,
    /// Largest gap while a neighbour (or this VF) hung, by the referee.
    pub(crate) hang_gap_ns: Option<u64>,
    /// Times the client came back from a reset.
    pub(crate) recoveries: u64,
    /// Longest way back.
    pub(crate) recovery_ns: u64,
    /// Accesses outside its memory, packets that could not be executed, and, unless it was hung,
    /// failed DMA.
    pub(crate) faults: u64,
    /// Whether this VF was hung on purpose.
    pub(crate) victim: bool,
    /// What the client complained of.
    pub(crate) error: Option<String>,
}

/// One question and its answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) ok: bool,
    pub(crate) found: String,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) gpu: String,
    pub(crate) window_s: f64,
    pub(crate) violations: u64,
    pub(crate) last_violation: u32,
    /// Switch commands and their mean time in the window, by the referee.
    pub(crate) commands: u64,
    pub(crate) command_ns: u64,
    pub(crate) gap_limit_ns: u64,
    pub(crate) tenants: Vec<Row>,
}

impl Outcome {
    pub(crate) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![
            self.bytes_right(),
            self.worked(),
            self.clean(),
            self.inside(),
        ];
        checks.push(
            self.fair("shares by the driver are within 2 % of fair", |r| {
                r.driver_run_ns
            }),
        );
        checks.push(
            self.fair("shares by the referee are within 2 % of fair", |r| {
                r.referee_run_ns
            }),
        );
        if self.tenants.iter().any(|r| r.victim) {
            checks.push(self.recovered());
            checks.push(self.bystanders());
            checks.push(self.gaps());
        }
        checks
    }

    fn bytes_right(&self) -> Check {
        let wrong: Vec<String> = self
            .tenants
            .iter()
            .filter_map(|r| r.error.as_ref().map(|e| format!("VF {}: {e}", r.vf)))
            .collect();
        let sum: u64 = self.tenants.iter().map(|r| r.bytes_verified).sum();
        let found = if wrong.is_empty() {
            format!("{} verified", bytes(sum))
        } else {
            wrong.join("; ")
        };
        Check {
            what: "every client ended well and every byte was right",
            ok: wrong.is_empty(),
            found,
        }
    }

    fn worked(&self) -> Check {
        let least = self.tenants.iter().map(|r| r.jobs).min().unwrap_or(0);
        Check {
            what: "every tenant did work",
            ok: least > 0,
            found: format!("at least {least} jobs each"),
        }
    }

    fn clean(&self) -> Check {
        let found = match self.violations {
            0 => "none".to_owned(),
            n => format!("{n}, the last with code {}", self.last_violation),
        };
        Check {
            what: "the driver broke no rule of the GPU",
            ok: self.violations == 0,
            found,
        }
    }

    fn inside(&self) -> Check {
        let hit: Vec<String> = self
            .tenants
            .iter()
            .filter(|r| r.faults > 0)
            .map(|r| format!("VF {}: {}", r.vf, r.faults))
            .collect();
        let found = if hit.is_empty() {
            "none did".to_owned()
        } else {
            hit.join(", ")
        };
        Check {
            what: "no access left a tenant's memory",
            ok: hit.is_empty(),
            found,
        }
    }

    fn fair(&self, what: &'static str, run: impl Fn(&Row) -> u64) -> Check {
        let runs: Vec<u64> = self.tenants.iter().map(run).collect();
        match share_error(&runs) {
            Some(e) => Check {
                what,
                ok: e <= SHARE_LIMIT,
                found: format!("off by {:.2} % at most", e * 100.0),
            },
            None => Check {
                what,
                ok: false,
                found: "no run time was counted".to_owned(),
            },
        }
    }

    fn recovered(&self) -> Check {
        let victim = self.tenants.iter().find(|r| r.victim);
        let (count, took) = victim.map_or((0, 0), |r| (r.recoveries, r.recovery_ns));
        let found = format!("{count} times, back within {}", duration(took));
        Check {
            what: "the VF that hung came back",
            ok: count > 0,
            found,
        }
    }

    fn bystanders(&self) -> Check {
        let hit: u64 = self
            .tenants
            .iter()
            .filter(|r| !r.victim)
            .map(|r| r.recoveries)
            .sum();
        let found = format!("{hit} resets");
        Check {
            what: "nobody else was reset",
            ok: hit == 0,
            found,
        }
    }

    fn gaps(&self) -> Check {
        let others = self.tenants.iter().filter(|r| !r.victim);
        let most = others.filter_map(|r| r.hang_gap_ns).max().unwrap_or(0);
        let found = format!(
            "{}, allowed are {}",
            duration(most),
            duration(self.gap_limit_ns)
        );
        Check {
            what: "the others' gap stayed bounded",
            ok: most <= self.gap_limit_ns,
            found,
        }
    }

    pub(crate) fn ok(&self) -> bool {
        self.checks().iter().all(|c| c.ok)
    }

    /// The final table and the verdict.
    pub(crate) fn text(&self) -> String {
        let mut t = table(&[
            ">VF",
            "PCI",
            "WORK",
            ">JOBS",
            ">VERIFIED",
            ">DRIVER",
            ">REFEREE",
            ">GAP",
            ">GAP (HANG)",
            ">RESETS",
        ]);
        let column =
            |run: fn(&Row) -> u64| shares(&self.tenants.iter().map(run).collect::<Vec<_>>());
        let (driver, referee) = (column(|r| r.driver_run_ns), column(|r| r.referee_run_ns));
        for (i, r) in self.tenants.iter().enumerate() {
            let hung = if r.victim { " (hung)" } else { "" };
            t.add_row([
                r.vf.to_string(),
                r.pci.clone(),
                format!("{}{hung}", r.workload),
                r.jobs.to_string(),
                bytes(r.bytes_verified),
                percent(driver.as_ref().map(|s| s[i])),
                percent(referee.as_ref().map(|s| s[i])),
                duration(r.gap_ns),
                r.hang_gap_ns.map_or_else(|| "-".to_owned(), duration),
                r.recoveries.to_string(),
            ]);
        }
        let mut text = format!(
            "GPU {}: shares over {:.1} s, {} commands of {} on average\n\n{}\n\n",
            self.gpu,
            self.window_s,
            self.commands,
            duration(self.command_ns.checked_div(self.commands).unwrap_or(0)),
            render(&t)
        );
        for c in self.checks() {
            let mark = if c.ok { "ok    " } else { "FAILED" };
            text.push_str(&format!("{mark}  {}: {}\n", c.what, c.found));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Outcome {
        let row = |vf| Row {
            vf,
            jobs: 10,
            bytes_verified: 1000,
            driver_run_ns: 1000 + u64::from(vf),
            referee_run_ns: 1000,
            hang_gap_ns: Some(50_000_000),
            ..Row::default()
        };
        let mut tenants: Vec<Row> = (0..4).map(row).collect();
        tenants[3] = Row {
            victim: true,
            recoveries: 1,
            hang_gap_ns: Some(900_000_000),
            ..row(3)
        };
        Outcome {
            gpu: "0000:03:00.0".into(),
            window_s: 10.0,
            violations: 0,
            last_violation: 0,
            commands: 0,
            command_ns: 0,
            gap_limit_ns: 500_000_000,
            tenants,
        }
    }

    fn failed(o: &Outcome) -> Vec<&'static str> {
        o.checks()
            .into_iter()
            .filter(|c| !c.ok)
            .map(|c| c.what)
            .collect()
    }

    #[test]
    fn all_right() {
        let o = good();
        assert!(o.ok(), "{}", o.text());
        assert!(o.text().contains("25.00 %") && o.text().contains("(hung)"));
    }

    #[test]
    fn each_fault_fails_its_check() {
        type Spoil = fn(&mut Outcome);
        let cases: [(Spoil, &str); 8] = [
            (
                |o| o.tenants[0].error = Some("3 wrong bytes".into()),
                "every byte",
            ),
            (|o| o.tenants[1].jobs = 0, "did work"),
            (|o| o.violations = 1, "no rule"),
            (|o| o.tenants[2].faults = 1, "left a tenant"),
            (|o| o.tenants[2].driver_run_ns = 1100, "by the driver"),
            (|o| o.tenants[2].referee_run_ns = 900, "by the referee"),
            (|o| o.tenants[3].recoveries = 0, "came back"),
            (|o| o.tenants[0].hang_gap_ns = Some(600_000_000), "bounded"),
        ];
        for (spoil, part) in cases {
            let mut o = good();
            spoil(&mut o);
            let failed = failed(&o);
            assert!(
                failed.len() == 1 && failed[0].contains(part),
                "{part}: {failed:?}"
            );
        }
        let mut o = good();
        o.tenants[0].recoveries = 1;
        assert_eq!(failed(&o), ["nobody else was reset"]);
        o = good();
        o.tenants.iter_mut().for_each(|r| r.referee_run_ns = 0);
        assert_eq!(failed(&o).len(), 1);
    }

    #[test]
    fn without_a_hang_nothing_is_asked_of_it() {
        let mut o = good();
        o.tenants[3].victim = false;
        o.tenants[3].recoveries = 0;
        assert_eq!(o.checks().len(), 6);
        assert!(o.ok());
    }
}
