// SPDX-License-Identifier: GPL-2.0
//! The referee: what happened on the GPU, counted outside the driver.

use std::collections::{BTreeMap, VecDeque};

use gpu_regs::referee as map;
use gpu_regs::referee::func;
use serde_json::json;

use crate::fault::Fault;
use crate::{Gpu, Host, Phase};

/// Counters of a function; times in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct FnStats {
    pub(crate) run_ns: u64,
    pub(crate) runs: u64,
    pub(crate) max_gap_ns: u64,
    pub(crate) wait_ns: u64,
    pub(crate) waits: u64,
    pub(crate) packets: u64,
    pub(crate) fences: u64,
    pub(crate) bytes: u64,
    pub(crate) gated: u64,
    pub(crate) window_faults: u64,
    pub(crate) dma_faults: u64,
    pub(crate) flrs: u64,
    pub(crate) last_run_start: u64,
    pub(crate) last_run_end: u64,
    pub(crate) traps: u64,
    pub(crate) interrupts: u64,
    pub(crate) commands: u64,
    pub(crate) violations: u64,
    pub(crate) ih_overflows: u64,
    pub(crate) bad_packets: u64,
    pub(crate) busy_ns: u64,
    pub(crate) max_run_ns: u64,
    pub(crate) messages: u64,
    pub(crate) first_run_start: u64,
    /// Since when it has had work and not run.
    pub(crate) wants_since: Option<u64>,
    /// Start of the run in progress, or of the part of it that counts.
    pub(crate) running_since: Option<u64>,
    /// A gap began at this time.
    pub(crate) gap_since: Option<u64>,
}

impl FnStats {
    /// What comes next is no gap: the function was initialised or reset.
    pub(crate) fn forget_gap(&mut self) {
        self.gap_since = None;
        self.wants_since = None;
        self.first_run_start = 0;
    }

    /// All counters to 0 at `now`; what is in progress counts from here.
    fn reset(&mut self, now: u64) {
        let from_now = |t: Option<u64>| t.map(|_| now);
        *self = Self {
            wants_since: from_now(self.wants_since),
            running_since: from_now(self.running_since),
            gap_since: from_now(self.gap_since),
            first_run_start: self.first_run_start,
            ..Self::default()
        };
    }

    fn read(&self, off: u32, now: u64) -> u64 {
        match off {
            func::RUN_NS => self.run_ns + self.running_since.map_or(0, |t| now.saturating_sub(t)),
            func::RUNS => self.runs,
            func::MAX_GAP_NS => self.max_gap_ns,
            func::WAIT_NS => self.wait_ns,
            func::WAITS => self.waits,
            func::PACKETS => self.packets,
            func::FENCES => self.fences,
            func::BYTES => self.bytes,
            func::GATED => self.gated,
            func::WINDOW_FAULTS => self.window_faults,
            func::DMA_FAULTS => self.dma_faults,
            func::FLRS => self.flrs,
            func::LAST_RUN_START => self.last_run_start,
            func::LAST_RUN_END => self.last_run_end,
            func::TRAPS => self.traps,
            func::INTERRUPTS => self.interrupts,
            func::COMMANDS => self.commands,
            func::VIOLATIONS => self.violations,
            func::IH_OVERFLOWS => self.ih_overflows,
            func::BAD_PACKETS => self.bad_packets,
            func::BUSY_NS => self.busy_ns,
            func::MAX_RUN_NS => self.max_run_ns,
            func::MESSAGES => self.messages,
            func::FIRST_RUN_START => self.first_run_start,
            _ => 0,
        }
    }
}

/// An entry of the command log.
#[derive(Debug, Clone, Copy, Default)]
struct LogEntry {
    issued: u64,
    ended: u64,
    command: u32,
    result: u32,
}

/// Counters of the GPU and the command log.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) violations: u64,
    /// Code and slot.
    pub(crate) last_violation: (u32, u32),
    pub(crate) commands: u64,
    pub(crate) command_ns: u64,
    pub(crate) aborted: u64,
    since: u64,
    nobody_ns: u64,
    /// Since when nobody runs; `None` while somebody does.
    busy: bool,
    nobody_since: u64,
    log: VecDeque<LogEntry>,
    logged: u64,
    fault: [u32; 5],
    /// High halves held by reads of low dwords: offset and value.
    held: (u32, u32),
}

impl Stats {
    /// Notes that `command` was written; the number of its entry.
    pub(crate) fn log_issue(&mut self, now: u64, command: u32) -> u64 {
        if self.log.len() >= map::LOG_ENTRIES as usize {
            self.log.pop_front();
        }
        self.log.push_back(LogEntry {
            issued: now,
            command,
            ..LogEntry::default()
        });
        self.logged += 1;
        self.logged - 1
    }

    fn entry(&self, number: u64) -> Option<usize> {
        let first = self.logged - self.log.len() as u64;
        Some(number.checked_sub(first)? as usize)
    }

    /// Notes how entry `number` ended.
    pub(crate) fn log_end(&mut self, number: u64, now: u64, status: u8, code: u32, aborted: bool) {
        if let Some(e) = self.entry(number).and_then(|i| self.log.get_mut(i)) {
            e.ended = now;
            e.result =
                u32::from(status) | ((code & 0xFF) << 8) | (1 << 16) | (u32::from(aborted) << 17);
        }
    }

    fn reset(&mut self, now: u64) {
        (self.violations, self.last_violation) = (0, (0, 0));
        (self.commands, self.command_ns, self.aborted) = (0, 0, 0);
        (self.since, self.nobody_ns, self.nobody_since) = (now, 0, now);
    }

    fn read_log(&self, off: u32) -> u64 {
        let (slot, field) = (
            u64::from(off / map::LOG_STRIDE),
            (off % map::LOG_STRIDE) & !7,
        );
        // Entry n is at slot n % 256: find the newest n that is.
        let n = u64::from(map::LOG_ENTRIES);
        let newest = self.logged.wrapping_sub(1);
        let number = newest.wrapping_sub(newest.wrapping_sub(slot) % n);
        if self.logged == 0 || number > newest {
            return 0;
        }
        let Some(e) = self.entry(number).and_then(|i| self.log.get(i)) else {
            return 0;
        };
        match field {
            map::log::ISSUED_NS => e.issued,
            map::log::ENDED_NS => e.ended,
            map::log::COMMAND => u64::from(e.command) | (u64::from(e.result) << 32),
            _ => 0,
        }
    }
}

/// Counters of a function block by name.
const NAMES: [(&str, u32); 25] = [
    ("run_ns", func::RUN_NS),
    ("runs", func::RUNS),
    ("max_gap_ns", func::MAX_GAP_NS),
    ("wait_ns", func::WAIT_NS),
    ("waits", func::WAITS),
    ("packets", func::PACKETS),
    ("fences", func::FENCES),
    ("bytes", func::BYTES),
    ("gated", func::GATED),
    ("window_faults", func::WINDOW_FAULTS),
    ("dma_faults", func::DMA_FAULTS),
    ("flrs", func::FLRS),
    ("last_run_start_ns", func::LAST_RUN_START),
    ("last_run_end_ns", func::LAST_RUN_END),
    ("traps", func::TRAPS),
    ("interrupts", func::INTERRUPTS),
    ("commands", func::COMMANDS),
    ("violations", func::VIOLATIONS),
    ("ih_overflows", func::IH_OVERFLOWS),
    ("bad_packets", func::BAD_PACKETS),
    ("busy_ns", func::BUSY_NS),
    ("max_run_ns", func::MAX_RUN_NS),
    ("messages", func::MESSAGES),
    ("first_run_start_ns", func::FIRST_RUN_START),
    ("truth_pages", func::TRUTH_PAGES),
];

impl Gpu {
    /// Function `slot` begins to run at `t`.
    pub(crate) fn start_run(&mut self, slot: usize, t: u64) {
        let s = &mut self.stats;
        if !s.busy {
            s.nobody_ns += t.saturating_sub(s.nobody_since);
            s.busy = true;
        }
        let Some(f) = self.funcs.get_mut(slot).map(|f| &mut f.stats) else {
            return;
        };
        f.runs += 1;
        f.last_run_start = t;
        if f.first_run_start == 0 {
            f.first_run_start = t;
        }
        f.running_since = Some(t);
        if let Some(g) = f.gap_since.take() {
            f.max_gap_ns = f.max_gap_ns.max(t.saturating_sub(g));
        }
        if let Some(w) = f.wants_since.take() {
            f.wait_ns += t.saturating_sub(w);
            f.waits += 1;
        }
    }

    /// Function `slot` stops running at `t`; `wants`: it has work left.
    pub(crate) fn end_run(&mut self, slot: usize, t: u64, wants: bool) {
        if self.stats.busy {
            self.stats.busy = false;
            self.stats.nobody_since = t;
        }
        let Some(f) = self.funcs.get_mut(slot).map(|f| &mut f.stats) else {
            return;
        };
        if let Some(s) = f.running_since.take() {
            let run = t.saturating_sub(s);
            f.run_ns += run;
            f.max_run_ns = f.max_run_ns.max(run);
        }
        f.last_run_end = t;
        f.gap_since = Some(t);
        f.wants_since = wants.then_some(t);
    }

    /// Reads 4 or 8 bytes of the debug device at `off`.
    pub fn referee_read(&mut self, h: &mut dyn Host, off: u32, len: u8) -> u64 {
        self.settle(h);
        let now = h.now();
        if len >= 8 {
            return self.referee_value(h, off & !7, now);
        }
        if off & 7 == 4 && self.stats.held.0 == off {
            let v = self.stats.held.1;
            self.stats.held = (0, 0);
            return u64::from(v);
        }
        let v = self.referee_value(h, off & !7, now);
        if off & 4 != 0 {
            return v >> 32;
        }
        self.stats.held = (off & !7 | 4, (v >> 32) as u32);
        v & 0xFFFF_FFFF
    }

    /// The eight bytes at `off`, a multiple of 8.
    fn referee_value(&self, h: &mut dyn Host, off: u32, now: u64) -> u64 {
        let s = &self.stats;
        let pair = |lo: u32, hi: u32| u64::from(lo) | (u64::from(hi) << 32);
        let [kind, slot, cmd, arg, count] = s.fault;
        let functions = self.funcs.len() as u32;
        match off {
            map::MAGIC => pair(map::MAGIC_VALUE, map::VERSION_VALUE),
            map::FUNCTIONS => pair(functions, self.features()),
            map::NOW_NS => now,
            map::STATS_SINCE_NS => s.since,
            map::VIOLATIONS => s.violations,
            map::LAST_VIOLATION => pair(s.last_violation.0, s.last_violation.1),
            map::COMMANDS => s.commands,
            map::COMMAND_NS => s.command_ns,
            map::ON_ENGINE => {
                let on = self.phase.slot().map_or(map::NONE, |s| s as u32);
                pair(on, self.phase_code())
            }
            map::LOG_COUNT => s.logged,
            map::NOBODY_NS => {
                s.nobody_ns
                    + if s.busy {
                        0
                    } else {
                        now.saturating_sub(s.nobody_since)
                    }
            }
            map::ABORTED => s.aborted,
            map::SHARED_OFFSET_NS => h.shared_now().wrapping_sub(now),
            map::TRUTH_FN..=map::TRUTH_PAGES => self.truth_value(off),
            map::FAULT_KIND => pair(kind, slot),
            map::FAULT_CMD => pair(cmd, arg),
            map::FAULT_COUNT => pair(count, self.faults.armed() as u32),
            map::FAULT_HITS => self.faults.hits(),
            map::FN..map::LOG => {
                let i = (off - map::FN) / map::FN_STRIDE;
                self.function_value(i as usize, (off - map::FN) % map::FN_STRIDE, now)
            }
            _ => match off.checked_sub(map::LOG) {
                Some(o) if o < map::LOG_ENTRIES * map::LOG_STRIDE => s.read_log(o),
                _ => 0,
            },
        }
    }

    /// A counter of function `slot`.
    fn function_value(&self, slot: usize, off: u32, now: u64) -> u64 {
        match (off, slot.checked_sub(1)) {
            (func::TRUTH_PAGES, Some(vf)) => self.planes.borrow().truth_pages_of(vf),
            _ => self.funcs.get(slot).map_or(0, |f| f.stats.read(off, now)),
        }
    }

    fn truth_value(&self, off: u32) -> u64 {
        let mut p = self.planes.borrow_mut();
        match off {
            map::TRUTH_FN => u64::from(p.truth_at().0),
            map::TRUTH_INDEX => u64::from(p.truth_at().1),
            map::TRUTH_DATA => p.truth_next(true),
            map::TRUTH_PEEK => p.truth_next(false),
            map::TRUTH_PAGES => p.truth_pages(),
            _ => 0,
        }
    }

    fn features(&self) -> u32 {
        u32::from(self.cfg.completion_irq)
            | (u32::from(self.cfg.dirty_tracking) << 1)
            | (u32::from(self.cfg.large_bar) << 2)
            | (u32::from(self.cfg.traps_writes()) * map::FEATURE_TRUTH)
            | (u32::from(self.cfg.dma_log) * map::FEATURE_DMA_LOG)
    }

    fn phase_code(&self) -> u32 {
        match self.phase {
            Phase::Empty => map::phase::EMPTY,
            Phase::Loaded(_) => map::phase::LOADED,
            Phase::Inited(_) => map::phase::INITED,
            Phase::Running(_) if self.stopped => map::phase::IDLED,
            Phase::Running(_) => map::phase::RUNNING,
            Phase::Idled(_) => map::phase::IDLED,
            Phase::Hung(_) => map::phase::HUNG,
        }
    }

    /// Writes 4 bytes of the debug device at `off`.
    pub fn referee_write(&mut self, h: &mut dyn Host, off: u32, value: u32) {
        self.settle(h);
        let now = h.now();
        match off {
            map::RESET_STATS if value & 1 != 0 => {
                self.stats.reset(now);
                self.funcs.iter_mut().for_each(|f| f.stats.reset(now));
            }
            map::TRUTH_FN => self.planes.borrow_mut().truth_select(value),
            map::TRUTH_CLEAR if value & 1 != 0 => self.planes.borrow_mut().truth_clear(),
            map::TRUTH_INDEX => self.planes.borrow_mut().truth_seek(value),
            map::FAULT_GO if value == map::FAULT_ARM => {
                let [kind, slot, cmd, arg, count] = self.stats.fault;
                self.arm_fault(
                    h,
                    Fault {
                        kind,
                        slot,
                        cmd,
                        arg,
                        count,
                    },
                );
            }
            map::FAULT_GO if value == map::FAULT_CLEAR => self.faults.clear(),
            map::FAULT_KIND..map::FAULT_GO if off & 3 == 0 => {
                let i = ((off - map::FAULT_KIND) / 4) as usize;
                if let Some(r) = self.stats.fault.get_mut(i) {
                    *r = value;
                }
            }
            _ => {}
        }
    }

    /// Arms a fault; `false` if it is not known or there are too many.
    pub fn arm_fault(&mut self, h: &mut dyn Host, fault: Fault) -> bool {
        self.settle(h);
        self.faults.arm(fault)
    }

    /// Forgets all faults.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Counters of the GPU and of all functions as JSON.
    pub fn referee_json(&mut self, h: &mut dyn Host) -> String {
        self.settle(h);
        let now = h.now();
        let functions: Vec<_> = (0..self.funcs.len())
            .map(|slot| {
                NAMES
                    .iter()
                    .map(|&(n, o)| (n, self.function_value(slot, o, now)))
                    .collect::<BTreeMap<_, _>>()
            })
            .collect();
        let offset = h.shared_now().wrapping_sub(now) as i64;
        let nobody = self.referee_value(h, map::NOBODY_NS, now);
        let s = &self.stats;
        json!({
            "now_ns": now,
            "stats_since_ns": s.since,
            "violations": s.violations,
            "last_violation": s.last_violation.0,
            "last_violation_function": s.last_violation.1,
            "commands": s.commands,
            "command_ns": s.command_ns,
            "aborted": s.aborted,
            "nobody_ns": nobody,
            "shared_offset_ns": offset,
            "faults_armed": self.faults.armed(),
            "fault_hits": self.faults.hits(),
            "on_engine": self.phase.slot(),
            "functions": functions,
        })
        .to_string()
    }
}
