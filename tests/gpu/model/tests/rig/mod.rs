// SPDX-License-Identifier: GPL-2.0
//! A GPU with a fake host in virtual time, and what a driver and a guest do with it.
#![allow(dead_code)]

pub(crate) mod dirty;
pub(crate) mod dma_log;
pub(crate) mod rng;

use gpu_model::{Config, Gpu, Host};
use gpu_regs::chip::{Registers, CHIPS, DOORBELL_ENABLE, DOORBELL_IH, DOORBELL_SDMA0};
use gpu_regs::sdma::{self, Packet};
use gpu_regs::vsec::{self, cmd, Layout};
use gpu_regs::{ih, referee};

pub(crate) const MB: u64 = 1 << 20;
/// Where the context save area of the rig lies.
pub(crate) const CONTEXT: u64 = 16 * MB;
/// System memory of the fake host.
pub(crate) const SYSTEM: usize = 1 << 20;
/// In a VF's framebuffer: ring, its write-back, and data.
pub(crate) const RING: u64 = 0x1_0000;
pub(crate) const RING_BYTES: u32 = 4096;
pub(crate) const WRITE_BACK: u64 = 0x2_0000;
pub(crate) const DATA: u64 = 0x10_0000;
/// In system memory: interrupt ring of slot n is at n * 64 KiB.
pub(crate) const IH_BYTES: u32 = 256;

/// A host that remembers what it was asked for.
pub(crate) struct Fake {
    pub(crate) now: u64,
    pub(crate) armed: Option<u64>,
    pub(crate) vram: Vec<u8>,
    pub(crate) system: Vec<u8>,
    pub(crate) irqs: [u32; 17],
    pub(crate) windows: [(u64, u64); 16],
    /// Functions that may not reach system memory.
    pub(crate) no_dma: [bool; 17],
    /// System memory is at every address: what there is of it, again and again.
    pub(crate) everywhere: bool,
    pub(crate) timers: u64,
}

impl Fake {
    fn place(&self, bus: u64) -> usize {
        let at = bus as usize;
        if self.everywhere {
            at % SYSTEM
        } else {
            at
        }
    }
}

impl Host for Fake {
    fn dma_read(&mut self, slot: usize, bus: u64, buf: &mut [u8]) -> bool {
        let at = self.place(bus);
        match at
            .checked_add(buf.len())
            .and_then(|e| self.system.get(at..e))
        {
            Some(s) if !self.no_dma[slot] => {
                buf.copy_from_slice(s);
                true
            }
            _ => false,
        }
    }
    fn dma_write(&mut self, slot: usize, bus: u64, buf: &[u8]) -> bool {
        let at = self.place(bus);
        match at
            .checked_add(buf.len())
            .and_then(|e| self.system.get_mut(at..e))
        {
            Some(s) if !self.no_dma[slot] => {
                s.copy_from_slice(buf);
                true
            }
            _ => false,
        }
    }
    fn interrupt(&mut self, slot: usize) {
        self.irqs[slot] += 1;
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
    fn window(&mut self, vf: usize, offset: u64, bytes: u64) {
        self.windows[vf] = (offset, bytes);
    }
}

/// GPU and host.
pub(crate) struct Rig {
    pub(crate) gpu: Gpu,
    pub(crate) host: Fake,
    wptr: [u32; 17],
}

/// Four VFs of 16 MB behind a PF of 16 MB and a context save area; nothing runs yet.
pub(crate) fn rig() -> Rig {
    rig_with(Config {
        tick_ns: 1,
        ..Config::default()
    })
}

/// The same of the chip called `name`.
pub(crate) fn rig_of(name: &str) -> Rig {
    let chip = CHIPS.iter().position(|c| c.name == name).expect(name);
    rig_with(Config {
        chip: chip as u32,
        tick_ns: 1,
        ..Config::default()
    })
}

/// The same of every chip.
pub(crate) fn rigs() -> impl Iterator<Item = Rig> {
    CHIPS.iter().map(|c| rig_of(c.name))
}

/// The same with other properties.
pub(crate) fn rig_with(cfg: Config) -> Rig {
    rig_sized(cfg, 4)
}

/// The same with `vfs` VFs.
pub(crate) fn rig_sized(cfg: Config, vfs: u32) -> Rig {
    let vram_mb = 64 + 16 * vfs;
    let cfg = Config {
        vfs,
        vram_mb,
        ..cfg
    };
    let host = Fake {
        now: 1000,
        armed: None,
        vram: vec![0; (vram_mb as usize) << 20],
        system: vec![0; SYSTEM],
        irqs: [0; 17],
        windows: [(0, 0); 16],
        no_dma: [false; 17],
        everywhere: false,
        timers: 0,
    };
    let mut r = Rig {
        gpu: Gpu::new(cfg),
        host,
        wptr: [0; 17],
    };
    r.setup();
    r
}

/// Framebuffer offset of a function of the rig.
pub(crate) fn base(slot: usize) -> u64 {
    match slot {
        0 => 0,
        n => (16 + 16 * n as u64) * MB,
    }
}

impl Rig {
    /// What a driver programs before the first command.
    pub(crate) fn setup(&mut self) {
        let vfs = self.gpu.config().vfs;
        self.gpu.set_enabled(&mut self.host, vfs);
        self.cfg(self.vsec().context, vsec::context(CONTEXT, 1));
        for n in 0..vfs as usize {
            let at = (base(n + 1) / MB) as u32;
            self.cfg(self.vsec().vf_fb + 4 * n as u16, self.vsec().window(at, 16));
        }
    }

    /// Registers of the chip.
    pub(crate) fn regs(&self) -> &'static Registers {
        &self.gpu.chip().regs
    }
    /// Capability of the chip.
    pub(crate) fn vsec(&self) -> &'static Layout {
        &self.gpu.chip().vsec
    }

    pub(crate) fn cfg(&mut self, off: u16, v: u32) {
        self.gpu.cfg_write(&mut self.host, off, 4, v);
    }
    pub(crate) fn cfg_get(&mut self, off: u16) -> u32 {
        self.gpu.cfg_read(&mut self.host, off, 4)
    }
    pub(crate) fn get(&mut self, slot: usize, reg: u32) -> u32 {
        self.gpu.mmio_read(&mut self.host, slot, reg)
    }
    pub(crate) fn set(&mut self, slot: usize, reg: u32, v: u32) {
        self.gpu.mmio_write(&mut self.host, slot, reg, v);
    }
    pub(crate) fn stat(&mut self, off: u32) -> u64 {
        self.gpu.referee_read(&mut self.host, off, 8)
    }
    /// A counter of `slot`.
    pub(crate) fn fstat(&mut self, slot: usize, off: u32) -> u64 {
        self.stat(referee::FN + slot as u32 * referee::FN_STRIDE + off)
    }

    /// Lets time pass, with every timer on its way.
    pub(crate) fn pass(&mut self, ns: u64) {
        let end = self.host.now + ns;
        while let Some(t) = self.host.armed.filter(|&t| t <= end) {
            assert!(t >= self.host.now, "a timer in the past");
            self.host.now = t;
            self.host.armed = None;
            self.host.timers += 1;
            self.gpu.tick(&mut self.host);
        }
        self.host.now = end;
    }

    /// Writes a command and returns at once.
    pub(crate) fn issue(&mut self, cmd: u8, slot: usize, next: usize) {
        let fcn = |s: usize| if s == 0 { 0 } else { vsec::fcn_vf(s as u8 - 1) };
        self.cfg(
            self.vsec().command,
            vsec::command(cmd, fcn(slot), fcn(next), true),
        );
    }

    pub(crate) fn executing(&mut self) -> bool {
        self.cfg_get(self.vsec().command) & vsec::EXECUTE != 0
    }

    /// Writes a command, waits up to 10 ms for its end, returns its status.
    pub(crate) fn cmd(&mut self, cmd: u8, slot: usize) -> u8 {
        self.issue(cmd, slot, 0);
        for _ in 0..1000 {
            if !self.executing() {
                return self.cfg_get(self.vsec().status) as u8;
            }
            self.pass(10_000);
        }
        panic!("command {cmd} of {slot} did not end");
    }

    pub(crate) fn cmds(&mut self, cmds: &[u8], slot: usize) {
        for &c in cmds {
            assert_eq!(self.cmd(c, slot), 0, "command {c} of {slot}");
        }
    }

    /// First start of a function.
    pub(crate) fn start(&mut self, slot: usize) {
        self.cmds(&[cmd::INIT, cmd::RUN], slot);
    }
    pub(crate) fn stop(&mut self, slot: usize) {
        self.cmds(&[cmd::IDLE, cmd::SAVE], slot);
    }
    pub(crate) fn resume(&mut self, slot: usize) {
        self.cmds(&[cmd::LOAD, cmd::RUN], slot);
    }

    /// Sets up the running function's ring.
    pub(crate) fn ring(&mut self, slot: usize) {
        self.wptr[slot] = 0;
        let r = &self.regs().sdma;
        r.set_doorbell(DOORBELL_SDMA0, |reg, v| self.set(slot, reg, v));
        for (reg, v) in [
            (r.rb_base, (RING >> 8) as u32),
            (r.rb_rptr, 0),
            (r.rb_wptr, 0),
            (r.rptr_addr_lo, WRITE_BACK as u32),
            (r.rb_cntl, sdma::rb_cntl(RING_BYTES)),
            (r.ib_cntl, sdma::IB_ENABLE),
        ] {
            self.set(slot, reg, v);
        }
    }

    /// Sets up the interrupt ring of a function in system memory.
    pub(crate) fn ih(&mut self, slot: usize) {
        let at = slot as u32 * 0x1_0000;
        let r = &self.regs().ih;
        for (reg, v) in [
            (r.base, at >> 8),
            (r.wptr_addr_lo, at + 0x1000),
            (r.doorbell, DOORBELL_ENABLE | DOORBELL_IH),
            (r.cntl, ih::rb_cntl(IH_BYTES) | r.cntl_bus),
        ] {
            self.set(slot, reg, v);
        }
    }

    /// Entry `n` of a function's interrupt ring.
    pub(crate) fn entry(&self, slot: usize, n: usize) -> ih::Entry {
        let format = self.gpu.chip().ih;
        let at = slot * 0x1_0000 + n * format.bytes() as usize;
        let dw: [u32; 8] = std::array::from_fn(|i| self.sys32((at + i * 4) as u64));
        format.decode(&dw).unwrap()
    }

    pub(crate) fn sys32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.host.system[at as usize..][..4].try_into().unwrap())
    }

    /// `slot` goes on with the ring of `from`, which moved here.
    pub(crate) fn go_on(&mut self, slot: usize, other: &Rig, from: usize) {
        self.wptr[slot] = other.wptr[from];
    }

    /// Puts packets into the ring of `slot` and rings the doorbell.
    pub(crate) fn submit(&mut self, slot: usize, packets: &[Packet<&[u32]>]) {
        for p in packets {
            p.encode(self.gpu.chip().sdma, |d| {
                let at = RING + u64::from(self.wptr[slot] % RING_BYTES);
                let at = (base(slot) + at) as usize;
                self.host.vram[at..at + 4].copy_from_slice(&d.to_le_bytes());
                self.wptr[slot] += 4;
            });
        }
        let w = self.wptr[slot];
        self.gpu.doorbell(&mut self.host, slot, DOORBELL_SDMA0, w);
    }

    /// Bytes of a function's framebuffer.
    pub(crate) fn fb(&mut self, slot: usize, at: u64, n: usize) -> &mut [u8] {
        let at = (base(slot) + at) as usize;
        &mut self.host.vram[at..at + n]
    }
    pub(crate) fn fb32(&mut self, slot: usize, at: u64) -> u32 {
        u32::from_le_bytes(self.fb(slot, at, 4).try_into().unwrap())
    }
    /// Writes a function's framebuffer by CPU: through its BAR0.
    pub(crate) fn cpu_write(&mut self, slot: usize, at: u64, bytes: &[u8]) {
        self.fb(slot, at, bytes.len()).copy_from_slice(bytes);
        if slot > 0 {
            let planes = self.gpu.planes();
            planes
                .borrow_mut()
                .written(base(slot) + at, bytes.len() as u64);
        }
    }
    pub(crate) fn violations(&mut self) -> u64 {
        self.stat(referee::VIOLATIONS)
    }
    pub(crate) fn last_violation(&mut self) -> u32 {
        self.stat(referee::LAST_VIOLATION) as u32
    }
    pub(crate) fn fault(&mut self, text: &str) {
        let f = gpu_model::Fault::parse(text).expect(text);
        assert!(self.gpu.arm_fault(&mut self.host, f));
    }
}
