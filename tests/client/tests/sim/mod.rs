// SPDX-License-Identifier: GPL-2.0
//! The emulated GPU in virtual time, a small host driver for it, and a transport to its VFs.
//!
//! The host is as simple as can be: it polls, waits for each command, and serves one request
//! after the other.  It is here so that clients have someone to talk to.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use gpu_model::{Config, Gpu, Host};
use gpu_regs::chip::{Chip, CHIPS};
use gpu_regs::exchange;
use gpu_regs::mailbox::{event, request, RCV_ACK, RCV_VALID, TRN_ACK, TRN_VALID};
use gpu_regs::referee;
use gpu_regs::vsec::{self, cmd};
use vf_client::transport::{DmaBuffer, Transport};
use vf_client::{Error, Result};

const MIB: u64 = 1 << 20;
/// Start of the save area, in MiB; VFs follow behind 16 MiB of it.
const SAVE_MIB: u32 = 16;
const SLICE_NS: u64 = 1_000_000;
const WATCHDOG_NS: u64 = 20_000_000;

/// Memory, clock and interrupts around the GPU.
pub(crate) struct World {
    pub(crate) now: u64,
    armed: Option<u64>,
    pub(crate) vram: Vec<u8>,
    /// Per slot: (bus address, bytes).
    memory: Vec<Vec<(u64, Vec<u8>)>>,
    interrupts: Vec<bool>,
}

impl World {
    fn find(&mut self, slot: usize, bus: u64, len: usize) -> Option<&mut [u8]> {
        self.memory
            .get_mut(slot)?
            .iter_mut()
            .find_map(|(base, bytes)| {
                let at = usize::try_from(bus.checked_sub(*base)?).ok()?;
                bytes.get_mut(at..at.checked_add(len)?)
            })
    }
}

impl Host for World {
    fn dma_read(&mut self, slot: usize, bus: u64, buf: &mut [u8]) -> bool {
        self.find(slot, bus, buf.len())
            .map(|m| buf.copy_from_slice(m))
            .is_some()
    }
    fn dma_write(&mut self, slot: usize, bus: u64, buf: &[u8]) -> bool {
        self.find(slot, bus, buf.len())
            .map(|m| m.copy_from_slice(buf))
            .is_some()
    }
    fn interrupt(&mut self, slot: usize) {
        self.interrupts[slot] = true;
    }
    fn now(&mut self) -> u64 {
        self.now
    }
    fn arm(&mut self, at: Option<u64>) {
        self.armed = at;
    }
    fn vram(&mut self) -> &mut [u8] {
        &mut self.vram
    }
    fn window(&mut self, _vf: usize, _offset: u64, _bytes: u64) {}
}

#[derive(Clone, Copy, Default)]
struct Tenant {
    active: bool,
    saved: bool,
}

pub(crate) struct Sim {
    pub(crate) gpu: Gpu,
    pub(crate) world: World,
    tenants: Vec<Tenant>,
    current: Option<usize>,
    holder: Option<usize>,
    /// Requests: slot, message, not before this time.
    queue: VecDeque<(usize, u32, u64)>,
    slice_end: u64,
    vf_mib: u32,
    /// The host answers.
    pub(crate) alive: bool,
    pub(crate) resets: u32,
}

pub(crate) type Machine = Rc<RefCell<Sim>>;

/// A GPU with `vfs` VFs of `vf_mib` MiB each, and its host; of the first chip.
pub(crate) fn machine(vfs: u32, vf_mib: u32) -> Machine {
    machine_of(0, vfs, vf_mib)
}

/// The same of every chip.
pub(crate) fn machines(vfs: u32, vf_mib: u32) -> impl Iterator<Item = Machine> {
    (0..CHIPS.len() as u32).map(move |chip| machine_of(chip, vfs, vf_mib))
}

fn machine_of(chip: u32, vfs: u32, vf_mib: u32) -> Machine {
    let vram_mb = SAVE_MIB + 16 + vfs * vf_mib;
    let slots = vfs as usize + 1;
    let config = Config {
        chip,
        vfs,
        vram_mb,
        ..Config::default()
    };
    let mut sim = Sim {
        gpu: Gpu::new(config),
        world: World {
            now: 0,
            armed: None,
            vram: vec![0; (u64::from(vram_mb) * MIB) as usize],
            memory: vec![Vec::new(); slots],
            interrupts: vec![false; slots],
        },
        tenants: vec![Tenant::default(); slots],
        current: None,
        holder: None,
        queue: VecDeque::new(),
        slice_end: 0,
        vf_mib,
        alive: true,
        resets: 0,
    };
    sim.gpu.set_enabled(&mut sim.world, vfs);
    let l = &sim.gpu.chip().vsec;
    sim.cfg(l.context, vsec::context(u64::from(SAVE_MIB) * MIB, 1));
    for n in 0..vfs {
        let window = l.window(SAVE_MIB + 16 + n * vf_mib, vf_mib);
        sim.cfg(l.vf_fb + 4 * n as u16, window);
    }
    Rc::new(RefCell::new(sim))
}

impl Sim {
    fn cfg(&mut self, offset: u16, value: u32) {
        self.gpu.cfg_write(&mut self.world, offset, 4, value);
    }

    /// Lets time pass for the GPU alone.
    fn spin(&mut self, ns: u64) {
        let end = self.world.now + ns;
        while let Some(at) = self.world.armed.filter(|&at| at <= end) {
            self.world.now = at.max(self.world.now);
            // A timer fires once.
            self.world.armed = None;
            self.gpu.tick(&mut self.world);
        }
        self.world.now = end;
    }

    /// Lets time pass for GPU and host.
    pub(crate) fn advance(&mut self, ns: u64) {
        let end = self.world.now + ns;
        while self.world.now < end {
            self.spin((end - self.world.now).min(50_000));
            if self.alive {
                self.host();
            }
        }
    }

    fn command(&mut self, code: u8, slot: usize) -> bool {
        let raw = vsec::command(code, vsec::fcn_vf(slot as u8 - 1), 0, false);
        let l = &self.gpu.chip().vsec;
        self.cfg(l.command, raw);
        let limit = self.world.now + WATCHDOG_NS;
        while self.world.now < limit {
            self.spin(10_000);
            if self.gpu.cfg_read(&mut self.world, l.command, 4) & vsec::EXECUTE == 0 {
                return self.gpu.cfg_read(&mut self.world, l.status, 1) == 0;
            }
        }
        false
    }

    /// Takes whoever runs off the engine.
    fn clear(&mut self) {
        let Some(slot) = self.current.take() else {
            return;
        };
        if !self.command(cmd::IDLE, slot) {
            return self.reset(slot);
        }
        assert!(self.command(cmd::SAVE, slot));
        self.tenants[slot].saved = true;
    }

    fn enter(&mut self, slot: usize, fresh: bool) {
        self.clear();
        assert!(self.command(if fresh { cmd::INIT } else { cmd::LOAD }, slot));
        assert!(self.command(cmd::RUN, slot));
        self.current = Some(slot);
        self.slice_end = self.world.now + SLICE_NS;
    }

    pub(crate) fn reset(&mut self, slot: usize) {
        self.send(slot, event::FLR_NOTIFICATION, true);
        self.spin(10_000_000);
        self.gpu.flr(&mut self.world, slot);
        self.current = self.current.filter(|&s| s != slot);
        self.tenants[slot] = Tenant::default();
        self.send(slot, event::FLR_NOTIFICATION_CMPL, false);
        self.resets += 1;
    }

    fn pf_read(&mut self, register: u32) -> u32 {
        self.gpu.mmio_read(&mut self.world, 0, register)
    }

    fn pf_write(&mut self, register: u32, value: u32) {
        self.gpu.mmio_write(&mut self.world, 0, register, value);
    }

    fn send(&mut self, slot: usize, message: u32, valid: bool) {
        let r = &self.gpu.chip().regs;
        self.pf_write(r.mailbox_index, slot as u32 - 1);
        self.pf_write(r.mailbox_control, 0);
        self.pf_write(r.mailbox_trn_dw0, message);
        // What INIT_DATA_READY says; nobody looks at it otherwise.
        self.pf_write(r.mailbox_trn_dw0 + 1, exchange::LAYOUT);
        self.pf_write(r.mailbox_control, if valid { TRN_VALID } else { 0 });
    }

    fn receive(&mut self, slot: usize) -> Option<u32> {
        let r = &self.gpu.chip().regs;
        self.pf_write(r.mailbox_index, slot as u32 - 1);
        let mut control = self.pf_read(r.mailbox_control);
        if control & TRN_ACK != 0 {
            control &= !TRN_VALID;
            self.pf_write(r.mailbox_control, control);
        }
        (control & RCV_VALID != 0).then(|| {
            let message = self.pf_read(r.mailbox_rcv_dw0);
            self.pf_write(r.mailbox_control, (control & TRN_VALID) | RCV_ACK);
            message
        })
    }

    fn host(&mut self) {
        for slot in 1..self.tenants.len() {
            match self.receive(slot) {
                Some(request::REL_INIT_ACCESS) if self.holder == Some(slot) => {
                    self.holder = None;
                    self.tenants[slot].active = true;
                }
                Some(request::REL_FINI_ACCESS) if self.holder == Some(slot) => {
                    self.holder = None;
                    self.clear();
                    self.tenants[slot] = Tenant::default();
                }
                Some(request::REQ_INIT_DATA) if self.gpu.chip().guest.exchange => {
                    self.write_page(slot);
                    self.send(slot, event::INIT_DATA_READY, true);
                }
                Some(m @ (1 | 3 | 5)) => {
                    // A reset wipes the acknowledgement, for which a guest looks every 5 ms.
                    let wait = if m == request::REQ_RESET_ACCESS {
                        20_000_000
                    } else {
                        0
                    };
                    self.queue.push_back((slot, m, self.world.now + wait));
                }
                _ => {}
            }
        }
        if self.holder.is_some() {
            return;
        }
        let now = self.world.now;
        if self.queue.front().is_some_and(|&(.., at)| at <= now) {
            if let Some((slot, message, _)) = self.queue.pop_front() {
                return self.grant(slot, message);
            }
        }
        if self.world.now >= self.slice_end {
            let n = self.tenants.len();
            let from = self.current.unwrap_or(0);
            let next = (1..=n)
                .map(|i| (from + i) % n)
                .find(|&s| self.tenants[s].active);
            match next {
                Some(slot) if self.current != Some(slot) => self.enter(slot, false),
                _ => self.slice_end = self.world.now + SLICE_NS,
            }
        }
    }

    /// What the host tells a guest.
    fn write_page(&mut self, slot: usize) {
        let mut page = [0; exchange::PAGE];
        for (at, value) in [
            (exchange::head::SIZE, exchange::PAGE as u32),
            (exchange::head::VERSION, exchange::pf2vf::VERSION),
            (exchange::pf2vf::UPDATE_INTERVAL_MS, 2_000),
            (exchange::pf2vf::UUID, slot as u32),
        ] {
            exchange::put(&mut page, at, value);
        }
        let sum = exchange::checksum(&page, exchange::PAGE);
        exchange::put(&mut page, exchange::head::CHECKSUM, sum);
        let at = self.window(slot).start + exchange::PF2VF as usize;
        self.world.vram[at..at + exchange::PAGE].copy_from_slice(&page);
    }

    fn grant(&mut self, slot: usize, message: u32) {
        if message != request::REQ_RESET_ACCESS || self.current != Some(slot) {
            self.clear();
        }
        if message == request::REQ_RESET_ACCESS {
            self.current = self.current.filter(|&s| s != slot);
            self.gpu.flr(&mut self.world, slot);
            self.tenants[slot] = Tenant::default();
        }
        let fresh = message != request::REQ_FINI_ACCESS || !self.tenants[slot].saved;
        self.enter(slot, fresh);
        self.holder = Some(slot);
        self.send(slot, event::READY_TO_ACCESS_GPU, true);
    }

    fn window(&self, slot: usize) -> std::ops::Range<usize> {
        let size = u64::from(self.vf_mib) * MIB;
        let base = u64::from(SAVE_MIB + 16) * MIB + (slot as u64 - 1) * size;
        base as usize..(base + size) as usize
    }

    fn image(slot: usize) -> std::ops::Range<usize> {
        let base = u64::from(SAVE_MIB) * MIB + slot as u64 * vsec::CONTEXT_UNIT;
        base as usize..(base + vsec::CONTEXT_UNIT) as usize
    }

    /// Takes VF `n` off the engine for good, as before a move.
    pub(crate) fn pause(&mut self, n: usize) {
        let slot = n + 1;
        if self.current == Some(slot) {
            self.clear();
        }
        assert!(self.tenants[slot].saved && self.holder != Some(slot));
        self.tenants[slot].active = false;
    }

    /// The client of VF `n` is gone, and its memory with it.
    pub(crate) fn forget_memory(&mut self, n: usize) {
        self.world.memory[n + 1].clear();
    }

    /// Lets a paused VF, or one that was put here, run again.
    pub(crate) fn unpause(&mut self, n: usize) {
        self.tenants[n + 1].active = true;
    }

    /// Context image and framebuffer of a paused VF.
    pub(crate) fn take(&self, n: usize) -> (Vec<u8>, Vec<u8>) {
        let part = |r: std::ops::Range<usize>| self.world.vram[r].to_vec();
        (part(Self::image(n + 1)), part(self.window(n + 1)))
    }

    /// Puts a VF of another GPU here, in place of VF `n`.
    pub(crate) fn put(&mut self, n: usize, image: &[u8], framebuffer: &[u8]) {
        let slot = n + 1;
        assert!(self.current != Some(slot));
        self.gpu.flr(&mut self.world, slot);
        let r = &self.gpu.chip().regs;
        self.pf_write(r.reset_notification, u32::MAX);
        self.world.vram[Self::image(slot)].copy_from_slice(image);
        let window = self.window(slot);
        self.world.vram[window].copy_from_slice(framebuffer);
        self.tenants[slot] = Tenant {
            active: true,
            saved: true,
        };
    }

    /// A counter of the debug device.
    pub(crate) fn referee(&mut self, offset: u32) -> u64 {
        self.gpu.referee_read(&mut self.world, offset, 8)
    }

    /// Protocol violations, accesses out of bounds and failed DMA so far.
    pub(crate) fn faults(&mut self) -> u64 {
        let mut sum = self.referee(referee::VIOLATIONS);
        for slot in 0..self.tenants.len() as u32 {
            let at = referee::FN + slot * referee::FN_STRIDE;
            for counter in [
                referee::func::WINDOW_FAULTS,
                referee::func::DMA_FAULTS,
                referee::func::BAD_PACKETS,
            ] {
                sum += self.referee(at + counter);
            }
        }
        sum
    }

    /// Arms a fault, see `gpu_regs::referee::fault`.
    pub(crate) fn arm(&mut self, kind: u32, slot: u32, count: u32) {
        for (offset, value) in [
            (referee::FAULT_KIND, kind),
            (referee::FAULT_FN, slot),
            (referee::FAULT_CMD, 0),
            (referee::FAULT_ARG, 0),
            (referee::FAULT_COUNT, count),
            (referee::FAULT_GO, referee::FAULT_ARM),
        ] {
            self.gpu.referee_write(&mut self.world, offset, value);
        }
    }
}

/// VF `n` of a machine.
pub(crate) struct SimVf {
    pub(crate) machine: Machine,
    slot: usize,
    window: u64,
    next_iova: u64,
}

impl SimVf {
    /// VF `n` (from 0) whose BAR0 shows `window` bytes.
    pub(crate) fn new(machine: &Machine, n: usize, window: u64) -> Self {
        Self {
            machine: machine.clone(),
            slot: n + 1,
            window,
            next_iova: 0x1000_0000,
        }
    }

    fn at(&self, offset: u64, len: usize) -> Result<std::ops::Range<usize>> {
        let sim = self.machine.borrow();
        let size = u64::from(sim.vf_mib) * MIB;
        if offset + len as u64 > self.window.min(size) {
            return Err(Error::Unsupported(format!(
                "BAR0 does not show {offset:#x}"
            )));
        }
        let base = u64::from(SAVE_MIB + 16) * MIB + (self.slot as u64 - 1) * size;
        let start = (base + offset) as usize;
        Ok(start..start + len)
    }

    /// Reads one byte of framebuffer.
    pub(crate) fn vram_read_at(&mut self, offset: u64, byte: &mut [u8; 1]) {
        self.vram_read(offset, byte).unwrap();
    }

    /// Writes anywhere in the VF's framebuffer, past BAR0's end too.
    pub(crate) fn poke(&self, offset: u64, value: u8) {
        let mut sim = self.machine.borrow_mut();
        let size = u64::from(sim.vf_mib) * MIB;
        let base = u64::from(SAVE_MIB + 16) * MIB + (self.slot as u64 - 1) * size;
        sim.world.vram[(base + offset) as usize] = value;
    }

    fn memory<R>(
        &self,
        b: &DmaBuffer,
        offset: usize,
        len: usize,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R> {
        let mut sim = self.machine.borrow_mut();
        let found = sim.world.find(self.slot, b.iova + offset as u64, len);
        found
            .map(f)
            .ok_or_else(|| Error::Unsupported("outside the DMA buffer".into()))
    }
}

impl Transport for SimVf {
    fn name(&self) -> String {
        format!("VF {}", self.slot - 1)
    }
    fn chip(&self) -> &'static Chip {
        self.machine.borrow().gpu.chip()
    }
    fn config_read(&mut self, _offset: u32) -> Result<u32> {
        Ok(0)
    }
    fn config_write(&mut self, _offset: u32, _value: u32) -> Result<()> {
        Ok(())
    }
    fn reg_read(&mut self, register: u32) -> u32 {
        let sim = &mut *self.machine.borrow_mut();
        sim.gpu.mmio_read(&mut sim.world, self.slot, register)
    }
    fn reg_write(&mut self, register: u32, value: u32) {
        let sim = &mut *self.machine.borrow_mut();
        sim.gpu
            .mmio_write(&mut sim.world, self.slot, register, value);
    }
    fn reg_write_byte(&mut self, register: u32, byte: u32, value: u8) {
        let sim = &mut *self.machine.borrow_mut();
        sim.gpu.bar_write(
            &mut sim.world,
            self.slot,
            register * 4 + byte,
            1,
            value.into(),
        );
    }
    fn vram_window(&self) -> u64 {
        self.window
    }
    fn vram_read(&mut self, offset: u64, data: &mut [u8]) -> Result<()> {
        let at = self.at(offset, data.len())?;
        data.copy_from_slice(&self.machine.borrow().world.vram[at]);
        Ok(())
    }
    fn vram_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let at = self.at(offset, data.len())?;
        self.machine.borrow_mut().world.vram[at].copy_from_slice(data);
        Ok(())
    }
    fn doorbell(&mut self, index: u32, value: u32) {
        let sim = &mut *self.machine.borrow_mut();
        sim.gpu.doorbell(&mut sim.world, self.slot, index, value);
    }
    fn dma_alloc(&mut self, len: usize) -> Result<DmaBuffer> {
        let iova = self.next_iova;
        self.next_iova += (len as u64).next_multiple_of(MIB);
        self.dma_alloc_at(iova, len)
    }
    fn dma_alloc_at(&mut self, iova: u64, len: usize) -> Result<DmaBuffer> {
        let len = len.next_multiple_of(4096);
        self.machine.borrow_mut().world.memory[self.slot].push((iova, vec![0; len]));
        Ok(DmaBuffer {
            iova,
            len,
            index: 0,
        })
    }
    fn dma_read(&mut self, b: &DmaBuffer, offset: usize, data: &mut [u8]) -> Result<()> {
        let len = data.len();
        self.memory(b, offset, len, |m| data.copy_from_slice(m))
    }
    fn dma_write(&mut self, b: &DmaBuffer, offset: usize, data: &[u8]) -> Result<()> {
        self.memory(b, offset, data.len(), |m| m.copy_from_slice(data))
    }
    fn enable_interrupts(&mut self) -> Result<()> {
        Ok(())
    }
    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool> {
        let mut sim = self.machine.borrow_mut();
        let end = sim.world.now + limit.as_nanos() as u64;
        while !sim.world.interrupts[self.slot] && sim.world.now < end {
            let step = (end - sim.world.now).min(100_000);
            sim.advance(step);
        }
        Ok(std::mem::take(&mut sim.world.interrupts[self.slot]))
    }
    fn reset(&mut self) -> Result<()> {
        let sim = &mut *self.machine.borrow_mut();
        sim.gpu.flr(&mut sim.world, self.slot);
        Ok(())
    }
    fn now(&self) -> Duration {
        Duration::from_nanos(self.machine.borrow().world.now)
    }
    fn sleep(&mut self, time: Duration) {
        self.machine.borrow_mut().advance(time.as_nanos() as u64);
    }
}
