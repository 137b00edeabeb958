// SPDX-License-Identifier: GPL-2.0
//! Registers of the debug device: what happened on the GPU, told from outside the driver, and
//! switches that make it misbehave.
//!
//! A PCI device of its own ([`VENDOR`]:[`DEVICE`], BAR0 of [`BAR_BYTES`]).  Offsets are bytes.
//! 64-bit counters may be read by one 64-bit access, or low dword first and high dword next: the
//! low read holds the high half.  Times are virtual nanoseconds.  Functions are numbered by
//! slot: 0 is the PF, n + 1 is VFn.

/// Vendor id of the debug device.
pub const VENDOR: u16 = 0x1B36;
/// Device id of the debug device.
pub const DEVICE: u16 = 0x0F0F;
/// Bytes of its BAR0.
pub const BAR_BYTES: u64 = 64 << 10;

/// 32 bit: [`MAGIC_VALUE`].
pub const MAGIC: u32 = 0x000;
/// `GIMR`, little endian.
pub const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"GIMR");
/// 32 bit: version of this map, [`VERSION_VALUE`].
pub const VERSION: u32 = 0x004;
/// The version described here.
pub const VERSION_VALUE: u32 = 1;
/// 32 bit: functions of the GPU, 1 + VFs it can have.
pub const FUNCTIONS: u32 = 0x008;
/// 32 bit: b0 completion interrupts, b1 dirty tracking, b2 large BAR, b3 [`FEATURE_TRUTH`],
/// b4 [`FEATURE_DMA_LOG`].
pub const FEATURES: u32 = 0x00C;
/// FEATURES: the truth ([`TRUTH_DATA`]) has the CPU's writes too, not the engine's alone.
pub const FEATURE_TRUTH: u32 = 1 << 3;
/// FEATURES: there is a DMA log ([`crate::dma_log`]).
pub const FEATURE_DMA_LOG: u32 = 1 << 4;
/// 64 bit: the time.
pub const NOW_NS: u32 = 0x010;
/// 64 bit: when the statistics were last reset.
pub const STATS_SINCE_NS: u32 = 0x018;
/// 64 bit: protocol violations.
pub const VIOLATIONS: u32 = 0x020;
/// 32 bit: code of the last one, see [`violation`].
pub const LAST_VIOLATION: u32 = 0x028;
/// 32 bit: function it was about.
pub const LAST_VIOLATION_FN: u32 = 0x02C;
/// 64 bit: commands that have ended.
pub const COMMANDS: u32 = 0x030;
/// 64 bit: sum of their times from issue to end.
pub const COMMAND_NS: u32 = 0x038;
/// 32 bit: function on the engine, [`NONE`] if none.
pub const ON_ENGINE: u32 = 0x040;
/// 32 bit: its state, see [`phase`].
pub const PHASE: u32 = 0x044;
/// 64 bit: commands logged since the GPU started; entry `n` is at slot `n % 256` of the log.
pub const LOG_COUNT: u32 = 0x048;
/// 64 bit: sum of the time that no function was running.
pub const NOBODY_NS: u32 = 0x050;
/// 64 bit: commands that came to no end: aborted by a reset.
pub const ABORTED: u32 = 0x058;
/// 64 bit, two's complement: a clock that all emulated GPUs of a machine share, less [`NOW_NS`].
/// What is added to times of different GPUs before they are compared.  It is constant as long as
/// virtual time goes with the host's (no icount, no stop).
pub const SHARED_OFFSET_NS: u32 = 0x060;
/// 32 bit, write 1: all counters to 0.  Runs in progress count from now on.
pub const RESET_STATS: u32 = 0x080;

/// 32 bit: kind of fault to arm, see [`fault`].
pub const FAULT_KIND: u32 = 0x100;
/// 32 bit: function it is for, [`ANY`] for all.
pub const FAULT_FN: u32 = 0x104;
/// 32 bit: command it is for, 0 for all.
pub const FAULT_CMD: u32 = 0x108;
/// 32 bit: its argument: microseconds for [`fault::LATE`].
pub const FAULT_ARG: u32 = 0x10C;
/// 32 bit: how often it strikes, [`ANY`] for always.
pub const FAULT_COUNT: u32 = 0x110;
/// 32 bit: write [`FAULT_ARM`] or [`FAULT_CLEAR`]; reads the number of armed faults.
pub const FAULT_GO: u32 = 0x114;
/// 64 bit: faults that have struck.
pub const FAULT_HITS: u32 = 0x118;
/// FAULT_GO: add the fault described by the registers before it (at most [`MAX_FAULTS`]).
pub const FAULT_ARM: u32 = 1;
/// FAULT_GO: forget all faults.
pub const FAULT_CLEAR: u32 = 2;
/// Most faults that can be armed at once.
pub const MAX_FAULTS: usize = 64;

/// 32 bit: function that the truth registers are about; writing it sets TRUTH_INDEX to 0.
///
/// The truth has one bit for each 4 KiB page of the function's window: the page was written by
/// the function, or through its BAR0, since the bit was cleared.  Nothing clears it but TRUTH_DATA,
/// TRUTH_CLEAR, and a change of the window or of the number of VFs.  The PF has none.
pub const TRUTH_FN: u32 = 0x120;
/// 32 bit, write 1: clear the function's truth.
pub const TRUTH_CLEAR: u32 = 0x124;
/// 32 bit: number of the 64-bit word that is read next.
pub const TRUTH_INDEX: u32 = 0x128;
/// 64 bit: the word at TRUTH_INDEX, bit b of word w for page 64 w + b; it is cleared, and
/// TRUTH_INDEX moves on by one.
pub const TRUTH_DATA: u32 = 0x130;
/// 64 bit: the same without clearing.
pub const TRUTH_PEEK: u32 = 0x138;
/// 64 bit: bits set.
pub const TRUTH_PAGES: u32 = 0x140;

/// No function.
pub const NONE: u32 = u32::MAX;
/// Any function, or no limit.
pub const ANY: u32 = u32::MAX;

/// First function block; block of slot `n` is at `FN + n * FN_STRIDE`.
pub const FN: u32 = 0x1000;
/// Bytes of a function block.
pub const FN_STRIDE: u32 = 0x100;

/// Offsets in a function block, 64 bit each.
pub mod func {
    /// Time it ran, an unfinished run included.
    pub const RUN_NS: u32 = 0x00;
    /// Runs begun.
    pub const RUNS: u32 = 0x08;
    /// Longest time from the end of a run to the start of the next without INIT or FLR between.
    pub const MAX_GAP_NS: u32 = 0x10;
    /// Sum of the time it had work and did not run.
    pub const WAIT_NS: u32 = 0x18;
    /// How often it waited so.
    pub const WAITS: u32 = 0x20;
    /// Packets executed.
    pub const PACKETS: u32 = 0x28;
    /// FENCE packets executed.
    pub const FENCES: u32 = 0x30;
    /// Bytes written by packets.
    pub const BYTES: u32 = 0x38;
    /// Register accesses while gated.
    pub const GATED: u32 = 0x40;
    /// Accesses outside its framebuffer.
    pub const WINDOW_FAULTS: u32 = 0x48;
    /// Failed accesses to system memory and missing page table entries.
    pub const DMA_FAULTS: u32 = 0x50;
    /// Function level resets.
    pub const FLRS: u32 = 0x58;
    /// Start of the last run.
    pub const LAST_RUN_START: u32 = 0x60;
    /// End of the last finished run.
    pub const LAST_RUN_END: u32 = 0x68;
    /// TRAP packets executed.
    pub const TRAPS: u32 = 0x70;
    /// Interrupts raised.
    pub const INTERRUPTS: u32 = 0x78;
    /// Commands about it that have ended.
    pub const COMMANDS: u32 = 0x80;
    /// Violations about it.
    pub const VIOLATIONS: u32 = 0x88;
    /// Interrupt entries that overwrote others.
    pub const IH_OVERFLOWS: u32 = 0x90;
    /// Packets that were not known, or could not be read.
    pub const BAD_PACKETS: u32 = 0x98;
    /// Time its engine had work while it ran.
    pub const BUSY_NS: u32 = 0xA0;
    /// Longest finished run.
    pub const MAX_RUN_NS: u32 = 0xA8;
    /// Messages it sent by mailbox.
    pub const MESSAGES: u32 = 0xB0;
    /// Start of the first run since INIT or a reset, 0 if there was none; kept when the counters
    /// are set to 0.
    pub const FIRST_RUN_START: u32 = 0xB8;
    /// Pages marked in its truth ([`super::TRUTH_DATA`]).
    pub const TRUTH_PAGES: u32 = 0xC0;
}

/// First entry of the command log: [`LOG_ENTRIES`] entries of [`LOG_STRIDE`] bytes.
pub const LOG: u32 = 0x4000;
/// Entries of the command log.
pub const LOG_ENTRIES: u32 = 256;
/// Bytes of an entry.
pub const LOG_STRIDE: u32 = 32;

/// Offsets in a log entry.
pub mod log {
    /// 64 bit: when the command was written.
    pub const ISSUED_NS: u32 = 0x00;
    /// 64 bit: when it ended; 0 while it executes.
    pub const ENDED_NS: u32 = 0x08;
    /// 32 bit: the command dword as written.
    pub const COMMAND: u32 = 0x10;
    /// 32 bit: status \[7:0\], violation code \[15:8\], b16 ended, b17 aborted by a reset.
    pub const RESULT: u32 = 0x14;
}

/// States of the engine, [`PHASE`].
pub mod phase {
    /// No context.
    pub const EMPTY: u32 = 0;
    /// A context was loaded.
    pub const LOADED: u32 = 1;
    /// A fresh context was made.
    pub const INITED: u32 = 2;
    /// The function runs.
    pub const RUNNING: u32 = 3;
    /// The function was stopped; its context is not saved.
    pub const IDLED: u32 = 4;
    /// It hangs; only a reset helps.
    pub const HUNG: u32 = 5;
}

/// Codes of protocol violations.
pub mod violation {
    /// A command while another executes.
    pub const BUSY: u32 = 1;
    /// IDLE of a function that does not run.
    pub const IDLE_NOT_RUNNING: u32 = 2;
    /// SAVE of a function that is not idled.
    pub const SAVE_NOT_IDLED: u32 = 3;
    /// LOAD while a function runs, or over the function's own context.
    pub const LOAD_NOT_EMPTY: u32 = 4;
    /// RUN without LOAD or INIT of the same function.
    pub const RUN_NOT_LOADED: u32 = 5;
    /// INIT while a function runs.
    pub const INIT_NOT_EMPTY: u32 = 6;
    /// LOAD found no valid image.
    pub const BAD_IMAGE: u32 = 7;
    /// CONTEXT_SWITCH from a function that does not run.
    pub const SWITCH_NOT_RUNNING: u32 = 8;
    /// A function that does not exist or is not enabled.
    pub const BAD_FUNCTION: u32 = 9;
    /// A command that is not known.
    pub const BAD_COMMAND: u32 = 10;
    /// No context save area, or outside the framebuffer, or inside a VF's window.
    pub const BAD_CONTEXT_AREA: u32 = 11;
    /// The VF's window is not set, leaves the framebuffer, or overlaps another enabled VF's.
    pub const BAD_WINDOW: u32 = 12;
    /// A window or CONTEXT was changed while its function was on the engine.
    pub const MOVED_IN_USE: u32 = 13;
    /// The context does not fit into its slot.
    pub const CONTEXT_TOO_BIG: u32 = 14;
}

/// Kinds of fault, [`FAULT_KIND`].
pub mod fault {
    /// The command never ends.
    pub const NEVER_COMPLETES: u32 = 1;
    /// The command ends FAULT_ARG microseconds late.
    pub const LATE: u32 = 2;
    /// The command ends with status 0x0E.
    pub const GFX_HANG: u32 = 3;
    /// The command ends with status 0x0F.
    pub const SDMA_HANG: u32 = 4;
    /// An interrupt of the function is not raised; its entry is in the ring.
    pub const LOST_INTERRUPT: u32 = 5;
    /// The next SAVE writes a damaged image.
    pub const CORRUPT_CONTEXT: u32 = 6;
    /// IDLE never ends, and the function goes on running.
    pub const NEVER_IDLES: u32 = 7;
    /// The PF reads as all ones and ignores writes; FAULT_COUNT accesses.
    pub const PF_DEAD: u32 = 8;
}
