// SPDX-License-Identifier: GPL-2.0
//! What a client counts, and the lines in which it tells.

use serde::{Deserialize, Serialize};

/// Counters of one client since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Jobs done and verified.
    pub jobs: u64,
    /// Distinct bytes that the GPU was asked to write and that were found right.
    pub bytes_verified: u64,
    /// Bytes around them that were found untouched.
    pub bytes_guarded: u64,
    /// Bytes that the GPU wrote, repetitions counted.
    pub bytes_written: u64,
    /// TRAP entries that came through the interrupt ring.
    pub traps: u64,
    /// Interrupts that came as MSI.
    pub interrupts: u64,
    /// Times that completions were found by the periodic look, no interrupt having come.
    pub late_interrupts: u64,
    /// Messages from the host outside a handshake.
    pub messages: u64,
    /// Longest time between two completions while work was waiting, in nanoseconds.
    pub max_gap_ns: u64,
    /// Resets by the host from which the client recovered.
    pub recoveries: u64,
    /// Longest recovery, from notice to full access released, in nanoseconds.
    pub max_recovery_ns: u64,
    /// Longest wait for full access, in nanoseconds.
    pub max_access_wait_ns: u64,
    /// Jobs thrown away by a reset.
    pub jobs_lost: u64,
    /// Jobs that were meant to hang.
    pub hangs: u64,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for full access or sets up.
    Starting,
    /// Submits and verifies.
    Running,
    /// A job hangs, on purpose.
    Hung,
    /// Waits for the end of a reset and sets up again.
    Recovering,
    /// Has given the GPU back.
    Stopped,
}

/// One line of `vf-client --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line {
    /// Now and then, and at each change of state.
    Progress {
        /// PCI address of the VF.
        pci: String,
        /// Where the client is.
        state: State,
        /// Its counters.
        stats: Stats,
    },
    /// The last line.
    Result {
        /// PCI address of the VF.
        pci: String,
        /// Whether everything was right.
        ok: bool,
        /// What was not.
        error: Option<String>,
        /// Its counters.
        stats: Stats,
    },
}
