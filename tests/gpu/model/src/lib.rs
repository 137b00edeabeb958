// SPDX-License-Identifier: GPL-2.0
//! The emulated GPU: a model of the GPU-IOV interface of a FirePro S7150 or a Radeon Instinct MI25,
//! strict enough that a wrong driver fails on it.
//!
//! The model knows nothing of QEMU.  It is driven through [`Gpu`]'s functions and acts through
//! the [`Host`] trait, so that `cargo test` runs it in virtual time.  Time is lazy: each entry
//! point first brings the model up to the present ([`Gpu::settle`]), and one timer is armed for
//! the next moment at which something can be seen from outside.
//!
//! What differs between chips is in their descriptions ([`gpu_regs::chip`]).
//!
//! Guest input never makes it panic or index out of bounds: it is compiled with panic=abort
//! into the emulator's process.

mod command;
mod context;
mod dirty;
mod dma_log;
mod engine;
mod fault;
pub mod ffi;
mod ih;
mod mailbox;
mod memory;
mod mmio;
mod referee;
mod regfile;
mod reset;
mod vsec;

use std::cell::RefCell;
use std::rc::Rc;

use command::Command;
use context::Context;
use dirty::Planes;
use dma_log::DmaLogs;
use fault::Faults;
use gpu_regs::chip::{Chip, CHIPS};
use ih::Ih;
use mailbox::Mailbox;
use referee::{FnStats, Stats};
use vsec::Vsec;

pub use dirty::Shared;
pub use fault::Fault;

/// What the model needs from its surroundings.  Functions are numbered by slot: 0 is the PF,
/// n + 1 is VFn.
pub trait Host {
    /// Reads system memory as function `slot`; `false` if the access failed.
    fn dma_read(&mut self, slot: usize, bus: u64, buf: &mut [u8]) -> bool;
    /// Writes system memory as function `slot`; `false` if the access failed.
    fn dma_write(&mut self, slot: usize, bus: u64, buf: &[u8]) -> bool;
    /// Raises the message-signalled interrupt of function `slot`.
    fn interrupt(&mut self, slot: usize);
    /// The virtual time in nanoseconds.
    fn now(&mut self) -> u64;
    /// Calls [`Gpu::tick`] at `at`, or never; replaces the earlier request.
    fn arm(&mut self, at: Option<u64>);
    /// The framebuffer.
    fn vram(&mut self) -> &mut [u8];
    /// The BAR0 window of VF `vf` (from 0) now shows `bytes` (0 for none) from `offset`.
    fn window(&mut self, vf: usize, offset: u64, bytes: u64);
    /// A clock in nanoseconds that all GPUs of a machine share, whatever their virtual time.
    fn shared_now(&mut self) -> u64 {
        self.now()
    }
}

/// Properties of the device that do not change while it lives.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Config {
    /// The chip that it is: a number of [`CHIPS`].
    pub chip: u32,
    /// Virtual functions it can have, 1 to 16.
    pub vfs: u32,
    /// Framebuffer in MB.
    pub vram_mb: u32,
    /// Time of IDLE in microseconds.
    pub idle_us: u32,
    /// Time of SAVE in microseconds.
    pub save_us: u32,
    /// Time of LOAD in microseconds.
    pub load_us: u32,
    /// Time of RUN in microseconds.
    pub run_us: u32,
    /// Time of INIT in microseconds.
    pub init_us: u32,
    /// Time of SAVE_RLCV and LOAD_RLCV in microseconds.
    pub rlcv_us: u32,
    /// How long a command may take before the GPU takes it for a hang and says so, in microseconds;
    /// 0 for ever. Only on chips that can say so.
    pub hang_us: u32,
    /// Bytes that the engine copies, fills or writes in a microsecond.
    pub rate: u32,
    /// Time of a packet, whatever it does, in nanoseconds.
    pub packet_ns: u32,
    /// Shortest time between two timers in nanoseconds: what the engine does may be seen this
    /// much late, it is never accounted late.
    pub tick_ns: u32,
    /// A command that asks for it raises an interrupt at its end.
    pub completion_irq: bool,
    /// The GPU has a dirty plane ([`gpu_regs::dirty`]).
    pub dirty_tracking: bool,
    /// The PF's BAR0 shows the whole framebuffer.
    pub large_bar: bool,
    /// Every poll that does not match holds up IDLE, not only those encoded so.
    pub poll_blocks_idle: bool,
    /// The referee hears of writes through VFs' BAR0 too, with or without a dirty plane.
    pub truth: bool,
    /// The GPU has a DMA log ([`gpu_regs::dma_log`]).
    pub dma_log: bool,
}

impl Config {
    /// Whether somebody has to know of writes through VFs' BAR0.
    pub fn traps_writes(&self) -> bool {
        self.dirty_tracking || self.truth
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chip: 0,
            vfs: 16,
            vram_mb: 1024,
            idle_us: 50,
            save_us: 100,
            load_us: 100,
            run_us: 20,
            init_us: 200,
            rlcv_us: 20,
            hang_us: 10_000,
            rate: 1000,
            packet_ns: 500,
            tick_ns: 10_000,
            completion_irq: true,
            dirty_tracking: false,
            large_bar: false,
            poll_blocks_idle: false,
            truth: false,
            dma_log: false,
        }
    }
}

/// What is on the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Loaded(usize),
    Inited(usize),
    Running(usize),
    Idled(usize),
    Hung(usize),
}

impl Phase {
    fn slot(self) -> Option<usize> {
        match self {
            Phase::Empty => None,
            Phase::Loaded(s)
            | Phase::Inited(s)
            | Phase::Running(s)
            | Phase::Idled(s)
            | Phase::Hung(s) => Some(s),
        }
    }
}

/// The part of a function that does not depend on who is on the engine.
#[derive(Debug, Default)]
struct Func {
    ih: Ih,
    /// Mailbox between the PF and this VF; unused for the PF itself.
    mailbox: Mailbox,
    /// Doorbells rung while gated: (index, value), the newest value of each.
    doorbells: Vec<(u32, u32)>,
    mm_index: u32,
    mm_index_hi: u32,
    /// It was initialised or loaded since its last reset.
    known: bool,
    /// Its context came from elsewhere and did not run yet.
    moved: bool,
    stats: FnStats,
}

/// A GPU.
pub struct Gpu {
    chip: &'static Chip,
    cfg: Config,
    /// VFs that are enabled.
    enabled: usize,
    funcs: Vec<Func>,
    vsec: Vsec,
    /// PF registers outside the engine that only hold what was written.
    pf_regs: regfile::RegFile,
    mailbox_index: usize,
    phase: Phase,
    /// The running function was stopped by a command that has not ended yet.
    stopped: bool,
    /// The context on the engine.
    ctx: Context,
    /// The engine's work is done up to this time.
    engine_at: u64,
    command: Option<Command>,
    planes: Shared,
    dma_logs: DmaLogs,
    stats: Stats,
    faults: Faults,
    armed: Option<u64>,
}

impl Gpu {
    /// A GPU after power-up.  Out-of-range properties are brought into range.
    pub fn new(mut cfg: Config) -> Self {
        cfg.vfs = cfg.vfs.clamp(1, gpu_regs::pci::MAX_VFS as u32);
        cfg.rate = cfg.rate.max(1);
        cfg.packet_ns = cfg.packet_ns.max(10);
        cfg.vram_mb = cfg.vram_mb.clamp(16, 0xFFF0);
        let chip = CHIPS.get(cfg.chip as usize).copied();
        let planes = Planes::new(cfg.vfs);
        let dma_logs = DmaLogs::new(cfg.vfs);
        let funcs = (0..=cfg.vfs).map(|_| Func::default()).collect();
        Self {
            chip: chip.unwrap_or(&gpu_regs::chip::TONGA),
            cfg,
            enabled: 0,
            funcs,
            vsec: Vsec::default(),
            pf_regs: Default::default(),
            mailbox_index: 0,
            phase: Phase::Empty,
            stopped: false,
            ctx: Context::default(),
            engine_at: 0,
            command: None,
            planes: Rc::new(RefCell::new(planes)),
            dma_logs,
            stats: Stats::default(),
            faults: Faults::default(),
            armed: None,
        }
    }

    /// The properties in force.
    pub fn config(&self) -> &Config {
        &self.cfg
    }

    /// The chip that it is.
    pub fn chip(&self) -> &'static Chip {
        self.chip
    }

    /// The function that runs now, commands in flight considered.
    fn running(&self) -> Option<usize> {
        match self.phase {
            Phase::Running(s) if !self.stopped => Some(s),
            _ => None,
        }
    }

    /// The timer has fired.
    pub fn tick(&mut self, h: &mut dyn Host) {
        self.armed = None;
        self.settle(h);
    }

    /// Brings the model up to the present and arms the timer for the next moment that matters.
    fn settle(&mut self, h: &mut dyn Host) {
        let now = h.now();
        loop {
            let end = self.command_end().filter(|&t| t <= now);
            self.run_engine(h, end.unwrap_or(now));
            // Running the engine may have let a waiting IDLE begin.
            match self.command_end().filter(|&t| t <= now) {
                Some(t) if end.is_some() => self.end_command(h, t),
                Some(_) => {}
                None => break,
            }
        }
        self.write_back(h);
        self.notice(h, now);
        self.rearm(h, now);
    }

    fn command_end(&self) -> Option<u64> {
        self.command.as_ref().and_then(|c| c.ends_at)
    }

    fn rearm(&mut self, h: &mut dyn Host, now: u64) {
        let engine = self
            .engine_due()
            .map(|t| t.max(now + u64::from(self.cfg.tick_ns)));
        let times = [self.command_end(), self.hang_noticed_at(), engine];
        let next = times.into_iter().flatten().min();
        if next != self.armed {
            self.armed = next;
            h.arm(next);
        }
    }
}
