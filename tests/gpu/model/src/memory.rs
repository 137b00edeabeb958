// SPDX-License-Identifier: GPL-2.0
//! What an engine address means: the function's window of the framebuffer, or system memory
//! through the flat page table of VMID 0 (gpu-iov-hardware.md, sections 5 and 8.3).

use gpu_regs::gart;
use gpu_regs::vm::Fault;

use crate::{Gpu, Host};

/// Where a piece of an access goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Byte of the whole framebuffer.
    Vram(u64),
    /// Bus address.
    System(u64),
}

/// Why an access failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Outside the function's framebuffer and the page table.
    Window,
    /// No usable page table entry, or the bus refused.
    Dma,
}

impl Gpu {
    /// `(offset, size)` in bytes of the framebuffer that `slot` owns: all of it for the PF, the
    /// window for a VF, cut to what exists.
    pub(crate) fn window_of(&self, slot: usize, vram: u64) -> Option<(u64, u64)> {
        if slot == 0 {
            return Some((0, vram));
        }
        let raw = *self.vsec.windows.get(slot - 1)?;
        let (offset, size) = self.chip.vsec.window_bytes(raw)?;
        let size = size.min(vram.saturating_sub(offset));
        (size > 0).then_some((offset, size))
    }

    /// Translates `addr` of the function on the engine and tells how many of `len` bytes are
    /// contiguous from there.
    fn translate(
        &self,
        h: &mut dyn Host,
        slot: usize,
        addr: u64,
        len: u64,
        write: bool,
    ) -> Result<(Place, u64), Failure> {
        let vram = h.vram().len() as u64;
        let (offset, size) = self.window_of(slot, vram).ok_or(Failure::Window)?;
        let space = self.chip.regs.vm.read(|r| self.ctx.regs.get(r));
        let fb_base = space.fb_base;
        if let Some(rel) = addr.checked_sub(fb_base).filter(|&r| r < size) {
            return Ok((Place::Vram(offset + rel), len.min(size - rel)));
        }
        let page = addr >> 12;
        let table = space
            .table
            .filter(|t| (t.first_page..=t.last_page).contains(&page))
            .ok_or(Failure::Window)?;
        let at = table
            .base
            .checked_sub(fb_base)
            .map(|t| t + (page - table.first_page) * 8);
        let at = at
            .filter(|&a| a <= size.saturating_sub(8))
            .ok_or(Failure::Window)?;
        let bytes = slice(h.vram(), offset + at, 8).and_then(|s| s.try_into().ok());
        let pte = u64::from_le_bytes(bytes.ok_or(Failure::Window)?);
        let need = gart::VALID
            | if write {
                gart::WRITEABLE
            } else {
                gart::READABLE
            };
        if pte & need != need {
            return Err(Failure::Dma);
        }
        let in_page = addr & (gart::PAGE - 1);
        let target = (pte & gart::ADDR) + in_page;
        let len = len.min(gart::PAGE - in_page);
        if pte & gart::SYSTEM != 0 {
            return Ok((Place::System(target), len));
        }
        let rel = target
            .checked_sub(fb_base)
            .filter(|&r| r < size)
            .ok_or(Failure::Window)?;
        Ok((Place::Vram(offset + rel), len.min(size - rel)))
    }

    fn note_failure(&mut self, slot: usize, addr: u64, write: bool, why: Failure) {
        if let Some(f) = self.funcs.get_mut(slot) {
            match why {
                Failure::Window => f.stats.window_faults += 1,
                Failure::Dma => f.stats.dma_faults += 1,
            }
        }
        let fault = Fault {
            addr,
            write,
            denied: why == Failure::Dma,
        };
        let regs = &mut self.ctx.regs;
        self.chip.regs.vm.fault(fault, |r, v| {
            regs.set(r, v);
        });
    }

    /// Reads engine memory of `slot`, the function on the engine.  What cannot be read is all
    /// ones and makes the result `false`.
    pub(crate) fn mem_read(
        &mut self,
        h: &mut dyn Host,
        slot: usize,
        addr: u64,
        buf: &mut [u8],
    ) -> bool {
        let (mut addr, mut buf, mut good) = (addr, buf, true);
        while !buf.is_empty() {
            let place = self.translate(h, slot, addr, buf.len() as u64, false);
            let n = place.map_or(gart::PAGE - (addr & (gart::PAGE - 1)), |(_, n)| n);
            let n = (n as usize).clamp(1, buf.len());
            let (head, rest) = buf.split_at_mut(n);
            let result = match place {
                Ok((Place::Vram(at), _)) => match slice(h.vram(), at, n) {
                    Some(s) => {
                        head.copy_from_slice(s);
                        Ok(())
                    }
                    None => Err(Failure::Window),
                },
                Ok((Place::System(bus), _)) => h
                    .dma_read(slot, bus, head)
                    .then_some(())
                    .ok_or(Failure::Dma),
                Err(e) => Err(e),
            };
            if let Err(e) = result {
                head.fill(0xFF);
                self.note_failure(slot, addr, false, e);
                good = false;
            }
            addr = addr.wrapping_add(n as u64);
            buf = rest;
        }
        good
    }

    /// Writes engine memory of `slot`, the function on the engine.  What cannot be written is
    /// dropped and makes the result `false`.
    pub(crate) fn mem_write(
        &mut self,
        h: &mut dyn Host,
        slot: usize,
        addr: u64,
        buf: &[u8],
    ) -> bool {
        let (mut addr, mut buf, mut good) = (addr, buf, true);
        while !buf.is_empty() {
            let place = self.translate(h, slot, addr, buf.len() as u64, true);
            let n = place.map_or(gart::PAGE - (addr & (gart::PAGE - 1)), |(_, n)| n);
            let n = (n as usize).clamp(1, buf.len());
            let (head, rest) = buf.split_at(n);
            let result = match place {
                Ok((Place::Vram(at), _)) => match slice(h.vram(), at, n) {
                    Some(s) => {
                        s.copy_from_slice(head);
                        self.wrote(slot, at, n as u64);
                        Ok(())
                    }
                    None => Err(Failure::Window),
                },
                Ok((Place::System(bus), _)) => self
                    .dma_logs
                    .write(h, slot, bus, head)
                    .then_some(())
                    .ok_or(Failure::Dma),
                Err(e) => Err(e),
            };
            if let Err(e) = result {
                self.note_failure(slot, addr, true, e);
                good = false;
            }
            addr = addr.wrapping_add(n as u64);
            buf = rest;
        }
        good
    }

    /// Reads a dword of engine memory.
    pub(crate) fn mem_read32(&mut self, h: &mut dyn Host, slot: usize, addr: u64) -> Option<u32> {
        let mut b = [0; 4];
        self.mem_read(h, slot, addr, &mut b)
            .then_some(u32::from_le_bytes(b))
    }

    /// Where in the framebuffer an access by MM_INDEX goes: `addr` relative to the function's
    /// window.
    pub(crate) fn mm_place(&self, h: &mut dyn Host, slot: usize, addr: u64) -> Option<u64> {
        let vram = h.vram().len() as u64;
        let (offset, size) = self.window_of(slot, vram)?;
        let addr = addr & !3;
        (addr < size).then_some(offset + addr)
    }
}

/// `n` bytes at `at`, if they are there.
pub(crate) fn slice(vram: &mut [u8], at: u64, n: usize) -> Option<&mut [u8]> {
    let at = usize::try_from(at).ok()?;
    vram.get_mut(at..at.checked_add(n)?)
}
