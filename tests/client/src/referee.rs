// SPDX-License-Identifier: GPL-2.0
//! The debug device that tells from outside the driver what happened on the GPU.

use std::fs::OpenOptions;
use std::os::fd::AsFd;

use gpu_regs::referee as map;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::mem::Mapping;
use crate::pci::PciDevice;

/// What one function did; times in virtual nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Time it ran.
    pub run_ns: u64,
    /// Runs begun.
    pub runs: u64,
    /// Longest time from the end of a run to the start of the next.
    pub max_gap_ns: u64,
    /// Time it had work and did not run.
    pub wait_ns: u64,
    /// Packets executed.
    pub packets: u64,
    /// Bytes written by packets.
    pub bytes: u64,
    /// Register accesses while gated.
    pub gated: u64,
    /// Accesses outside its framebuffer.
    pub window_faults: u64,
    /// Failed accesses to system memory.
    pub dma_faults: u64,
    /// Function level resets.
    pub flrs: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// Protocol violations about it.
    pub violations: u64,
    /// Packets that were not known or could not be read.
    pub bad_packets: u64,
    /// Time its engine had work while it ran.
    pub busy_ns: u64,
    /// Mailbox messages it sent.
    pub messages: u64,
    /// Start of the first run since INIT or a reset; 0: none.
    pub first_run_start_ns: u64,
    /// Start of the last run.
    pub last_run_start_ns: u64,
    /// End of the last finished run.
    pub last_run_end_ns: u64,
    /// Pages marked in its truth.
    pub truth_pages: u64,
}

/// What the whole GPU did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The time.
    pub now_ns: u64,
    /// When the counters were reset.
    pub since_ns: u64,
    /// Protocol violations of the driver.
    pub violations: u64,
    /// Code of the last one.
    pub last_violation: u32,
    /// Function slot it was about: 0 is the PF, n + 1 is VFn.
    pub last_violation_fn: u32,
    /// Commands that have ended.
    pub commands: u64,
    /// Sum of their times.
    pub command_ns: u64,
    /// Commands aborted by a reset.
    pub aborted: u64,
    /// Time that no function was running.
    pub nobody_ns: u64,
    /// To be added to times before those of several GPUs are compared.
    pub shared_offset_ns: i64,
    /// Functions by slot.
    pub functions: Vec<Function>,
}

impl Snapshot {
    /// The counters of VF `n`, zero if there is no such VF.
    pub fn vf(&self, n: u32) -> Function {
        self.functions
            .get(n as usize + 1)
            .copied()
            .unwrap_or_default()
    }
}

/// One command as the debug device logged it; times in virtual nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Command {
    /// When it was written.
    pub issued_ns: u64,
    /// When it ended; 0 while it executes.
    pub ended_ns: u64,
    /// The dword as written: code \[3:0\], function \[15:8\].
    pub command: u32,
}

/// A fault to arm; see `gpu_regs::referee::fault` for the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub kind: u32,
    /// Slot of the function, [`map::ANY`] for all.
    pub function: u32,
    /// Command code, 0 for all.
    pub command: u32,
    /// Argument of the kind.
    pub arg: u32,
    /// How often, [`map::ANY`] for always.
    pub count: u32,
}

/// The debug device, mapped.
#[derive(Debug)]
pub struct Referee {
    bar: Mapping,
    functions: u32,
}

impl Referee {
    /// Finds and maps the device.  `None` if the machine has none.
    pub fn find() -> Result<Option<Self>> {
        match PciDevice::find(map::VENDOR, map::DEVICE)?.first() {
            Some(device) => Self::open(device).map(Some),
            None => Ok(None),
        }
    }

    /// Maps the device at a known address.
    pub fn open(device: &PciDevice) -> Result<Self> {
        enable(device)?;
        let path = device.dir().join("resource0");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Error::transport(format!("opening {}", path.display()), e))?;
        let len = usize::try_from(map::BAR_BYTES).unwrap_or(usize::MAX);
        let bar = Mapping::of_file(file.as_fd(), 0, len, "the debug device's BAR0")?;
        let (magic, version) = (bar.read32(at(map::MAGIC))?, bar.read32(at(map::VERSION))?);
        if (magic, version) != (map::MAGIC_VALUE, map::VERSION_VALUE) {
            return Err(Error::Unsupported(format!(
                "debug device {} has magic {magic:#x} and version {version}, known are {:#x} and {}",
                device.address(),
                map::MAGIC_VALUE,
                map::VERSION_VALUE
            )));
        }
        let functions = bar.read32(at(map::FUNCTIONS))?.min(64);
        Ok(Self { bar, functions })
    }

    /// Reads a 64-bit counter: the low half holds the high half.
    fn read64(&self, offset: u32) -> Result<u64> {
        let low = self.bar.read32(at(offset))?;
        let high = self.bar.read32(at(offset + 4))?;
        Ok(u64::from(low) | (u64::from(high) << 32))
    }

    fn read32(&self, offset: u32) -> Result<u32> {
        self.bar.read32(at(offset))
    }

    fn write32(&self, offset: u32, value: u32) -> Result<()> {
        self.bar.write32(at(offset), value)
    }

    /// Virtual time in nanoseconds.
    pub fn now_ns(&self) -> Result<u64> {
        self.read64(map::NOW_NS)
    }

    /// What is added to times before those of several GPUs of a machine are compared.
    pub fn shared_offset_ns(&self) -> Result<i64> {
        Ok(self.read64(map::SHARED_OFFSET_NS)? as i64) // two's complement
    }

    /// Whether the truth has the CPU's writes too, not the engine's alone.
    pub fn truth_is_whole(&self) -> Result<bool> {
        Ok(self.read32(map::FEATURES)? & map::FEATURE_TRUTH != 0)
    }

    /// The truth of function slot `slot`: bit b of word w says that page 64 w + b of its window
    /// (4 KiB each) was written since it was cleared.  `pages` are read, and cleared if `take`.
    pub fn truth(&self, slot: u32, pages: u64, take: bool) -> Result<Vec<u64>> {
        self.write32(map::TRUTH_FN, slot)?;
        let next = if take {
            map::TRUTH_DATA
        } else {
            map::TRUTH_PEEK
        };
        (0..pages.div_ceil(64)).map(|_| self.read64(next)).collect()
    }

    /// Clears the truth of function slot `slot`.
    pub fn clear_truth(&self, slot: u32) -> Result<()> {
        self.write32(map::TRUTH_FN, slot)?;
        self.write32(map::TRUTH_CLEAR, 1)
    }

    /// Reads the counters of function slot `slot`: 0 is the PF, n + 1 is VFn.
    pub fn function(&self, slot: u32) -> Result<Function> {
        let get = |offset: u32| self.read64(map::FN + slot * map::FN_STRIDE + offset);
        use map::func as f;
        Ok(Function {
            run_ns: get(f::RUN_NS)?,
            runs: get(f::RUNS)?,
            max_gap_ns: get(f::MAX_GAP_NS)?,
            wait_ns: get(f::WAIT_NS)?,
            packets: get(f::PACKETS)?,
            bytes: get(f::BYTES)?,
            gated: get(f::GATED)?,
            window_faults: get(f::WINDOW_FAULTS)?,
            dma_faults: get(f::DMA_FAULTS)?,
            flrs: get(f::FLRS)?,
            interrupts: get(f::INTERRUPTS)?,
            violations: get(f::VIOLATIONS)?,
            bad_packets: get(f::BAD_PACKETS)?,
            busy_ns: get(f::BUSY_NS)?,
            messages: get(f::MESSAGES)?,
            first_run_start_ns: get(f::FIRST_RUN_START)?,
            last_run_start_ns: get(f::LAST_RUN_START)?,
            last_run_end_ns: get(f::LAST_RUN_END)?,
            truth_pages: get(f::TRUTH_PAGES)?,
        })
    }

    /// Reads everything.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            now_ns: self.now_ns()?,
            since_ns: self.read64(map::STATS_SINCE_NS)?,
            violations: self.read64(map::VIOLATIONS)?,
            last_violation: self.read32(map::LAST_VIOLATION)?,
            last_violation_fn: self.read32(map::LAST_VIOLATION_FN)?,
            commands: self.read64(map::COMMANDS)?,
            command_ns: self.read64(map::COMMAND_NS)?,
            aborted: self.read64(map::ABORTED)?,
            nobody_ns: self.read64(map::NOBODY_NS)?,
            shared_offset_ns: self.shared_offset_ns()?,
            functions: (0..self.functions)
                .map(|s| self.function(s))
                .collect::<Result<_>>()?,
        })
    }

    /// The last commands (at most [`map::LOG_ENTRIES`]), oldest first; the newest few may be
    /// overwritten while they are read and are left out.
    pub fn log(&self) -> Result<Vec<Command>> {
        let count = self.read64(map::LOG_COUNT)?;
        let first = count.saturating_sub(u64::from(map::LOG_ENTRIES) - 16);
        (first..count)
            .map(|n| {
                // CAST: Below LOG_ENTRIES.
                let slot = (n % u64::from(map::LOG_ENTRIES)) as u32;
                let entry = map::LOG + slot * map::LOG_STRIDE;
                Ok(Command {
                    issued_ns: self.read64(entry + map::log::ISSUED_NS)?,
                    ended_ns: self.read64(entry + map::log::ENDED_NS)?,
                    command: self.read32(entry + map::log::COMMAND)?,
                })
            })
            .collect()
    }

    /// Sets all counters to 0.
    pub fn reset_stats(&self) -> Result<()> {
        self.write32(map::RESET_STATS, 1)
    }

    /// Arms a fault.  At most [`map::MAX_FAULTS`] can be armed.
    pub fn arm(&self, fault: Fault) -> Result<()> {
        for (offset, value) in [
            (map::FAULT_KIND, fault.kind),
            (map::FAULT_FN, fault.function),
            (map::FAULT_CMD, fault.command),
            (map::FAULT_ARG, fault.arg),
            (map::FAULT_COUNT, fault.count),
            (map::FAULT_GO, map::FAULT_ARM),
        ] {
            self.write32(offset, value)?;
        }
        Ok(())
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) -> Result<()> {
        self.write32(map::FAULT_GO, map::FAULT_CLEAR)
    }

    /// Number of faults armed, and how often faults have struck.
    pub fn faults(&self) -> Result<(u32, u64)> {
        Ok((self.read32(map::FAULT_GO)?, self.read64(map::FAULT_HITS)?))
    }
}

/// The BAR answers only when the device is enabled; no driver does that for it.
fn enable(device: &PciDevice) -> Result<()> {
    let path = device.dir().join("enable");
    let on = std::fs::read_to_string(&path).is_ok_and(|text| text.trim() != "0");
    if on {
        return Ok(());
    }
    std::fs::write(&path, "1")
        .map_err(|e| Error::transport(format!("writing 1 to {}", path.display()), e))
}

fn at(offset: u32) -> usize {
    offset as usize
}
