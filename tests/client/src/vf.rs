// SPDX-License-Identifier: GPL-2.0
//! Bringing a VF up and down, and watching it.
//!
//! Registers other than the mailbox work only while the VF is on the engine, so all of them are
//! written during full access.  Afterwards work goes by memory and doorbell, and comes back by
//! fence and interrupt.

use std::time::Duration;

use gpu_regs::chip::{DOORBELL_ENABLE, DOORBELL_IH, DOORBELL_SDMA0, FUNC_IOV_ENABLED, FUNC_IS_VF};
use gpu_regs::mailbox::{event, request, ACK_INT_EN, VALID_INT_EN};
use gpu_regs::sdma::{Packet, Poll};
use gpu_regs::vm::{Space, Table};
use gpu_regs::{exchange, gart, ih, sdma};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exchange::{guest_page, read_host, write_guest, Host, Spoil};
use crate::layout::{self, AddressSpace};
use crate::mailbox;
use crate::ring::{IhRing, SdmaRing, Stream};
use crate::stats::Stats;
use crate::transport::{DmaBuffer, Transport};

/// What the ring test writes, as the guest driver's does.
const TEST_VALUE: u32 = 0xDEAD_BEEF;
/// How long the ring test may take; the VF has the engine to itself meanwhile.
const TEST_LIMIT: Duration = Duration::from_millis(500);

/// A VF with its rings.
#[derive(Debug)]
pub struct Vf<T: Transport> {
    /// The way to the device.
    pub t: T,
    /// Counters.
    pub stats: Stats,
    /// Where things are; known after the first full access.
    pub space: AddressSpace,
    /// Memory that the GPU reaches.
    pub dma: DmaBuffer,
    /// Ring of the copy engine.
    pub ring: SdmaRing,
    ih: IhRing,
    seq: u32,
    /// What the host has told, where it does.
    pub host: Option<Host>,
    /// When the own page was written last.
    told_at: Duration,
}

/// What a [`Vf`] knows that is neither in the GPU nor in memory that the GPU reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfState {
    /// Bytes of framebuffer.
    pub vram_bytes: u64,
    /// GPU address of the DMA buffer.
    pub dma_base: u64,
    /// Bus address of the DMA buffer.
    pub dma_iova: u64,
    /// Bytes of the DMA buffer.
    pub dma_len: usize,
    /// Position up to which the copy engine's ring is written.
    pub ring_written: u32,
    /// Position up to which it is known to be read.
    pub ring_retired: u32,
    /// Position up to which the interrupt ring is read.
    pub ih_read: u32,
    /// Number of the last job.
    pub seq: u32,
    /// Counters.
    pub stats: Stats,
}

/// What [`Vf::watch`] noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noticed {
    /// Number of the last job done.
    pub fence: u32,
    /// TRAP entries that came.
    pub traps: u32,
    /// An interrupt woke the client; else it looked because time was up.
    pub interrupted: bool,
}

impl<T: Transport> Vf<T> {
    /// Takes a VF over, with `dma_bytes` of memory for the work area.  Talks to no one yet.
    pub fn attach(mut t: T, dma_bytes: usize) -> Result<Self> {
        let len = layout::DMA_WORK + dma_bytes;
        if len > layout::MAX_DMA {
            return Err(Error::Unsupported(format!(
                "{len} bytes of DMA memory, at most {} can be mapped",
                layout::MAX_DMA
            )));
        }
        let dma = t.dma_alloc(len)?;
        let space = AddressSpace::new(16)?;
        Ok(Self {
            t,
            stats: Stats::default(),
            space,
            dma,
            ring: SdmaRing::default(),
            ih: IhRing::default(),
            seq: 0,
            host: None,
            told_at: Duration::ZERO,
        })
    }

    /// What of it is in this program alone.
    pub fn save(&self) -> VfState {
        VfState {
            vram_bytes: self.space.vram_bytes,
            dma_base: self.space.dma_base,
            dma_iova: self.dma.iova,
            dma_len: self.dma.len,
            ring_written: self.ring.position(),
            ring_retired: self.ring.retired(),
            ih_read: self.ih.position(),
            seq: self.seq,
            stats: self.stats.clone(),
        }
    }

    /// The bytes of the DMA buffer.  Whole only while the engine does not run.
    pub fn memory(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.dma.len];
        self.t.dma_read(&self.dma, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Takes over where another program left: its memory at the same bus address, interrupts and
    /// bus master on.  Asks the host for nothing and touches neither registers nor framebuffer.
    pub fn resume(mut t: T, state: &VfState, memory: &[u8]) -> Result<Self> {
        if memory.len() != state.dma_len || memory.len() > layout::MAX_DMA {
            return Err(Error::Unsupported(format!(
                "{} bytes of memory for a DMA buffer of {}",
                memory.len(),
                state.dma_len
            )));
        }
        let dma = t.dma_alloc_at(state.dma_iova, state.dma_len)?;
        t.dma_write(&dma, 0, memory)?;
        t.enable_interrupts()?;
        Ok(Self {
            t,
            stats: state.stats.clone(),
            space: AddressSpace {
                vram_bytes: state.vram_bytes,
                dma_base: state.dma_base,
            },
            dma,
            ring: SdmaRing::resume(state.ring_written, state.ring_retired),
            ih: IhRing::resume(state.ih_read),
            seq: state.seq,
            host: None,
            told_at: Duration::ZERO,
        })
    }

    /// Asks for full access, sets everything up, gives full access back.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(request::REQ_INIT_ACCESS, |_| Ok(()))
    }

    /// As [`Vf::start`], by `request` (init or reset); `inspect` runs before anything is written
    /// to the framebuffer.
    pub fn start_with(
        &mut self,
        request: u32,
        inspect: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if self.t.chip().guest.exchange && self.host.is_none() {
            // As the guest driver does when it is loaded, not when it comes back.
            let layout = mailbox::request_init_data(&mut self.t)?;
            if layout != exchange::LAYOUT {
                let what = format!("the host's data has layout {layout}");
                return Err(Error::Unsupported(what));
            }
            self.host = Some(read_host(&mut self.t)?);
        }
        self.grab(request)?;
        let done = self
            .identify()
            .and_then(|()| inspect(self))
            .and_then(|()| self.set_up())
            .and_then(|()| self.exchange());
        // Full access is given back in any case: a guest that keeps it stops everybody else.
        let released = mailbox::send(&mut self.t, request::REL_INIT_ACCESS);
        done?;
        released.map(|_| ())
    }

    /// Reads the host's page and writes the own one, where the guest driver does.
    fn exchange(&mut self) -> Result<()> {
        if !self.t.chip().guest.exchange {
            return Ok(());
        }
        let host = read_host(&mut self.t)?;
        if self.host.is_some_and(|before| before.uuid != host.uuid) {
            return Err(Error::Unsupported("the host calls the VF anew".to_owned()));
        }
        self.host = Some(host);
        self.tell()
    }

    /// Writes the own page.
    fn tell(&mut self) -> Result<()> {
        self.told_at = self.t.now();
        // CAST: a number of MiB.
        let mib = (self.space.vram_bytes >> 20) as u32;
        let page = guest_page(mib, mib / 2, Spoil::Nothing);
        write_guest(&mut self.t, &page)
    }

    /// Asks for full access to stop the engine, and gives it back.
    pub fn stop(&mut self) -> Result<()> {
        self.grab(request::REQ_FINI_ACCESS)?;
        let r = &self.t.chip().regs;
        self.t.reg_write(r.sdma.f32_cntl, sdma::F32_HALT);
        self.t.reg_write(r.sdma.rb_cntl, 0);
        self.t.reg_write(r.sdma.doorbell, 0);
        self.t.reg_write(r.ih.cntl, 0);
        self.t.reg_write(r.mailbox_int_cntl, 0);
        mailbox::send(&mut self.t, request::REL_FINI_ACCESS).map(|_| ())
    }

    /// Comes back after a reset: waits for its end if the host announced one, else asks for one.
    /// Everything in the rings is gone; the framebuffer must be taken for lost.
    pub fn recover(&mut self, announced: bool) -> Result<()> {
        let start = self.t.now();
        let message = mailbox::received(&mut self.t);
        // The reset may have emptied the mailbox since the announcement was seen.
        let too_late = matches!(
            message,
            event::FLR_NOTIFICATION | event::FLR_NOTIFICATION_CMPL
        );
        if announced || too_late {
            if mailbox::pending(&mut self.t) == Some(event::FLR_NOTIFICATION) {
                // The reset itself may take the message away; what counts is its end.
                let _ = mailbox::acknowledge(&mut self.t);
                mailbox::ready_to_reset(&mut self.t);
            }
            mailbox::wait_reset_done(&mut self.t)?;
            self.start()?;
        } else {
            self.start_with(request::REQ_RESET_ACCESS, |_| Ok(()))?;
        }
        let took = self.t.now().saturating_sub(start);
        self.stats.recoveries += 1;
        self.stats.max_recovery_ns = self.stats.max_recovery_ns.max(nanos(took));
        Ok(())
    }

    fn grab(&mut self, request: u32) -> Result<()> {
        let waited = mailbox::request_access(&mut self.t, request)?;
        self.stats.max_access_wait_ns = self.stats.max_access_wait_ns.max(nanos(waited));
        Ok(())
    }

    /// Checks what the device is and how much framebuffer it has.
    fn identify(&mut self) -> Result<()> {
        let r = &self.t.chip().regs;
        let id = self.t.reg_read(r.func_identifier);
        if id != FUNC_IS_VF | FUNC_IOV_ENABLED {
            return Err(Error::Identifier(id));
        }
        self.space = AddressSpace::new(self.t.reg_read(r.config_memsize))?;
        Ok(())
    }

    fn set_up(&mut self) -> Result<()> {
        self.t.enable_interrupts()?;
        self.ring = SdmaRing::default();
        self.ih = IhRing::default();
        self.seq = 0;
        let cells = [0; layout::DMA_WORK - layout::CELL_FENCE];
        self.t.dma_write(&self.dma, layout::CELL_FENCE, &cells)?;
        self.set_up_page_table()?;
        self.set_up_interrupts();
        self.set_up_engine();
        let r = &self.t.chip().regs;
        for (register, name, expected) in [
            (r.ih.base, "IH_RB_BASE", (self.dma.iova >> 8) as u32),
            (
                r.sdma.rb_base,
                "SDMA0_GFX_RB_BASE",
                (layout::RING >> 8) as u32,
            ),
        ] {
            let found = self.t.reg_read(register);
            if found != expected {
                let expected = format!("{expected:#010x}, as written before,");
                return Err(Error::Register {
                    register: name,
                    found,
                    expected,
                });
            }
        }
        self.test_ring()
    }

    /// A flat table that maps the DMA buffer behind the framebuffer.
    fn set_up_page_table(&mut self) -> Result<()> {
        let pages = self.dma.len as u64 / gart::PAGE;
        let table: Vec<u8> = (0..pages)
            .flat_map(|p| gart::system_page(self.dma.iova + p * gart::PAGE).to_le_bytes())
            .collect();
        self.t.vram_write(layout::TABLE, &table)?;
        let first_page = self.space.dma_base >> 12;
        let space = Space {
            fb_base: 0,
            fb_last: self.space.vram_bytes - 1,
            table: Some(Table {
                base: layout::TABLE,
                first_page,
                last_page: first_page + pages - 1,
            }),
        };
        let vm = &self.t.chip().regs.vm;
        vm.write(&space, |register, value| self.t.reg_write(register, value));
        Ok(())
    }

    /// The interrupt ring lies at a bus address, not in the GPU's address space.
    fn set_up_interrupts(&mut self) {
        let wptr = self.dma.iova + layout::CELL_IH_WPTR as u64;
        let r = &self.t.chip().regs;
        let cntl = ih::rb_cntl(layout::IH_BYTES) | r.ih.cntl_bus;
        if let Some(base_hi) = r.ih.base_hi {
            self.t.reg_write(base_hi, (self.dma.iova >> 40) as u32);
        }
        for (register, value) in [
            (r.mailbox_int_cntl, VALID_INT_EN | ACK_INT_EN),
            (r.ih.cntl, 0),
            (r.ih.base, (self.dma.iova >> 8) as u32),
            (r.ih.wptr_addr_lo, wptr as u32),
            (r.ih.wptr_addr_hi, (wptr >> 32) as u32),
            (r.ih.rptr, 0),
            (r.ih.wptr, 0),
            (r.ih.doorbell, DOORBELL_IH | DOORBELL_ENABLE),
            (r.doorbell_aper_en, 1),
            (r.ih.cntl, cntl | ih::WPTR_OVERFLOW_CLEAR),
        ] {
            self.t.reg_write(register, value);
        }
    }

    fn set_up_engine(&mut self) {
        let rptr = self.space.dma(layout::CELL_RPTR);
        let r = &self.t.chip().regs.sdma;
        self.t.reg_write(r.f32_cntl, sdma::F32_HALT);
        self.t.reg_write(r.rb_cntl, 0);
        let positions = [Some(r.rb_rptr), r.rb_rptr_hi, Some(r.rb_wptr), r.rb_wptr_hi];
        for register in positions.into_iter().flatten() {
            self.t.reg_write(register, 0);
        }
        r.set_doorbell(DOORBELL_SDMA0, |register, value| {
            self.t.reg_write(register, value);
        });
        for (register, value) in [
            (r.wptr_poll_cntl, 0),
            (r.rptr_addr_lo, rptr as u32),
            (r.rptr_addr_hi, (rptr >> 32) as u32),
            (r.rb_base, (layout::RING >> 8) as u32),
            (r.rb_base_hi, (layout::RING >> 40) as u32),
            (r.ib_cntl, sdma::IB_ENABLE),
            (r.rb_cntl, sdma::rb_cntl(layout::RING_BYTES)),
            (r.f32_cntl, 0),
        ] {
            self.t.reg_write(register, value);
        }
    }

    /// An empty stream of packets for this VF's copy engine.
    pub fn stream(&self) -> Stream {
        Stream::new(self.t.chip().sdma)
    }

    /// Lets the engine write one dword, as the guest driver does before it trusts the ring.
    fn test_ring(&mut self) -> Result<()> {
        let mut stream = self.stream();
        let dst = self.space.dma(layout::CELL_TEST);
        stream.push(&Packet::WriteLinear {
            dst,
            data: &[TEST_VALUE],
        });
        self.ring.write(&mut self.t, &stream)?;
        self.ring.kick(&mut self.t);
        let start = self.t.now();
        loop {
            let found = self.cell(layout::CELL_TEST)?;
            if found == TEST_VALUE {
                self.ring.retire(self.ring.position());
                return Ok(());
            }
            let waited = self.t.now().saturating_sub(start);
            if waited >= TEST_LIMIT {
                let seen = self.engine_state(found);
                let what = "ring test during full access".to_owned();
                return Err(Error::Timeout { what, waited, seen });
            }
            self.t.sleep(Duration::from_micros(100));
        }
    }

    fn engine_state(&mut self, found: u32) -> String {
        let r = &self.t.chip().regs;
        let [rptr, wptr, status] = [r.sdma.rb_rptr, r.sdma.rb_wptr, r.sdma.status]
            .map(|register| self.t.reg_read(register));
        let (fault, page) = r.vm.last_fault(|register| self.t.reg_read(register));
        format!(
            "cell {found:#x}, ring read {rptr:#x} write {wptr:#x}, engine status {status:#x}, page fault {fault:#x} at page {page:#x}"
        )
    }

    /// Reads a dword of the DMA buffer.
    pub fn cell(&mut self, offset: usize) -> Result<u32> {
        let mut raw = [0; 4];
        self.t.dma_read(&self.dma, offset, &mut raw)?;
        Ok(u32::from_le_bytes(raw))
    }

    /// Puts packets, a fence and an interrupt into the ring and rings the doorbell.
    ///
    /// Gives the job's number and the ring position behind it.
    pub fn submit(&mut self, mut stream: Stream) -> Result<(u32, u32)> {
        let seq = self.seq.wrapping_add(1);
        stream.push(&Packet::Fence {
            addr: self.space.dma(layout::CELL_FENCE),
            value: seq,
        });
        stream.push(&Packet::Trap { context: seq });
        self.ring.write(&mut self.t, &stream)?;
        self.seq = seq;
        self.ring.kick(&mut self.t);
        Ok((seq, self.ring.position()))
    }

    /// Submits a job that never ends and cannot be interrupted.
    pub fn submit_hang(&mut self) -> Result<u32> {
        let mut stream = self.stream();
        let never = self.space.dma(layout::CELL_NEVER);
        stream.push(&Packet::PollRegmem(Poll::hang(never, TEST_VALUE, u32::MAX)));
        self.stats.hangs += 1;
        Ok(self.submit(stream)?.0)
    }

    /// Waits for an interrupt, at most `limit`; then reads interrupt ring, fence and mailbox.
    ///
    /// [`Error::Reset`] says that the host has announced a reset.
    pub fn watch(&mut self, limit: Duration) -> Result<Noticed> {
        let interrupted = self.t.wait_interrupt(limit)?;
        if let Some(host) = self.host {
            let interval = Duration::from_millis(host.update_interval_ms.into());
            if self.t.now().saturating_sub(self.told_at) >= interval {
                self.tell()?;
            }
        }
        self.stats.interrupts += u64::from(interrupted);
        let mut traps = 0;
        let mut illegal = None;
        let entries = self
            .ih
            .drain(&mut self.t, &self.dma, |entry| match entry.src {
                ih::SRC_SDMA_TRAP => traps += 1,
                ih::SRC_SDMA_ILLEGAL => illegal = Some(entry.data),
                _ => {}
            })?;
        if entries == 0 {
            self.ih.rearm(&mut self.t);
        }
        self.stats.traps += u64::from(traps);
        if let Some(data) = illegal {
            return Err(Error::IllegalPacket(data));
        }
        let fence = self.cell(layout::CELL_FENCE)?;
        self.read_mailbox()?;
        Ok(Noticed {
            fence,
            traps,
            interrupted,
        })
    }

    fn read_mailbox(&mut self) -> Result<()> {
        // Without the valid bit only the end of a reset counts, whose start may have been missed.
        let message = match mailbox::pending(&mut self.t) {
            Some(message) => message,
            None if mailbox::received(&mut self.t) == event::FLR_NOTIFICATION_CMPL => {
                return Err(Error::Reset(event::FLR_NOTIFICATION_CMPL));
            }
            None => return Ok(()),
        };
        self.stats.messages += 1;
        match message {
            event::FLR_NOTIFICATION | event::FLR_NOTIFICATION_CMPL => Err(Error::Reset(message)),
            _ => mailbox::acknowledge(&mut self.t),
        }
    }

    /// Whether the function was reset since it was set up, or is about to be.
    ///
    /// The mailbox's interrupt enables can always be read, and a reset clears them.
    pub fn was_reset(&mut self) -> bool {
        let message = mailbox::received(&mut self.t);
        let enables = self.t.chip().regs.mailbox_int_cntl;
        matches!(
            message,
            event::FLR_NOTIFICATION | event::FLR_NOTIFICATION_CMPL
        ) || self.t.reg_read(enables) != VALID_INT_EN | ACK_INT_EN
    }

    /// Waits until job `seq` is done, at most `limit`.
    pub fn wait_fence(&mut self, seq: u32, limit: Duration) -> Result<()> {
        let start = self.t.now();
        loop {
            let fence = self.watch(Duration::from_millis(5))?.fence;
            if reached(fence, seq) {
                return Ok(());
            }
            let waited = self.t.now().saturating_sub(start);
            if waited >= limit {
                let what = format!("waiting for job {seq}");
                let rptr = self.cell(layout::CELL_RPTR)?;
                let seen = format!(
                    "fence {fence}, ring read {rptr:#x} of {:#x}",
                    self.ring.position()
                );
                return Err(Error::Timeout { what, waited, seen });
            }
        }
    }
}

/// Whether a fence that reads `fence` says that job `seq` is done.
pub fn reached(fence: u32, seq: u32) -> bool {
    // Numbers wrap, and the ring holds far fewer than half of them.
    fence.wrapping_sub(seq) < 1 << 31
}

/// A duration in nanoseconds, as counters hold it.
pub fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_wrap() {
        assert!(reached(5, 5) && reached(6, 5) && !reached(4, 5));
        assert!(reached(1, u32::MAX) && !reached(u32::MAX, 1));
    }
}
