// SPDX-License-Identifier: GPL-2.0
//! A slot: a piece of framebuffer and a piece of own memory in which one job at a time works.
//!
//! The client keeps a shadow of both.  After each job it compares everything with the shadow:
//! the bytes that the job was to write and all bytes around them.  A slot that lies behind the
//! end of BAR0 is copied back by the GPU at the end of each job, and compared there.

use fastrand::Rng;
use gpu_regs::sdma::{Packet, MAX_BYTES};

use crate::error::{compare, Error, Result};
use crate::job::{Bounds, Job, Place, Shadow};
use crate::layout::{DMA_WORK, WORK};
use crate::ring::Stream;
use crate::stats::Stats;
use crate::transport::Transport;
use crate::vf::Vf;

/// Bytes of a slot's indirect buffer.
const INDIRECT_BYTES: usize = 4096;
/// Bytes at each end of a slot that no job writes.
const GUARD: usize = 64;

/// Sizes that all slots of a client share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Number of slots, and so of jobs in flight.
    pub slots: usize,
    /// Bytes of each of the two memories of a slot, a multiple of 4096.
    pub slot_bytes: usize,
}

impl Sizes {
    /// Slots for operations of at most `op_bytes`.  Fails for sizes that cannot be mapped.
    pub fn new(slots: usize, op_bytes: usize) -> Result<Self> {
        if !(1..=64).contains(&slots) || !(64..=1 << 20).contains(&op_bytes) {
            return Err(Error::Unsupported(format!(
                "{slots} jobs in flight with operations of {op_bytes} bytes; allowed are 1 to 64 jobs and 64 to 1048576 bytes"
            )));
        }
        // Room for a source, a target and the guards.
        let slot_bytes = (2 * op_bytes + 4 * GUARD).next_multiple_of(4096);
        Ok(Self { slots, slot_bytes })
    }

    /// Bytes of DMA work area for all slots: own memory, place for the copy back, packets.
    pub fn dma_bytes(&self) -> usize {
        self.slots * self.stride()
    }

    fn stride(&self) -> usize {
        2 * self.slot_bytes + INDIRECT_BYTES
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            vram: self.slot_bytes,
            own: self.slot_bytes,
            guard: GUARD,
            op_bytes: (self.slot_bytes - 4 * GUARD) / 2,
        }
    }
}

/// A job under way.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its number.
    pub seq: u32,
    /// Ring position behind it.
    pub position: u32,
    /// The job.
    pub job: Job,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Slot {
    index: usize,
    sizes: Sizes,
    vram: u64,
    own: usize,
    back: usize,
    packets: usize,
    near: bool,
    shadow: Shadow,
    scratch: Vec<u8>,
    /// What it is at.
    pub pending: Option<Pending>,
}

impl Slot {
    /// Slot `index`, spread over the whole work area of a framebuffer of `vram_bytes` of which
    /// BAR0 shows the first `window`.
    pub fn new(index: usize, sizes: Sizes, vram_bytes: u64, window: u64) -> Self {
        let room = vram_bytes - WORK - sizes.slot_bytes as u64;
        // The first slot lies at the start, the last one at the very end.
        let step = room / (sizes.slots as u64 - 1).max(1);
        let vram = WORK + (step * index as u64) / 4096 * 4096;
        let own = DMA_WORK + index * sizes.stride();
        Self {
            index,
            sizes,
            vram,
            own,
            back: own + sizes.slot_bytes,
            packets: own + 2 * sizes.slot_bytes,
            near: vram + sizes.slot_bytes as u64 <= window,
            shadow: Shadow {
                vram: vec![0; sizes.slot_bytes],
                own: vec![0; sizes.slot_bytes],
            },
            scratch: vec![0; sizes.slot_bytes],
            pending: None,
        }
    }

    /// Fills both memories with bytes from `rng`.  Behind BAR0's end the GPU brings them there.
    pub fn prepare<T: Transport>(&mut self, vf: &mut Vf<T>, rng: &mut Rng) -> Result<()> {
        self.pending = None;
        rng.fill(&mut self.shadow.vram);
        rng.fill(&mut self.shadow.own);
        vf.t.dma_write(&vf.dma, self.own, &self.shadow.own)?;
        if self.near {
            return vf.t.vram_write(self.vram, &self.shadow.vram);
        }
        vf.t.dma_write(&vf.dma, self.back, &self.shadow.vram)?;
        let mut stream = vf.stream();
        self.carry(&mut stream, vf.space.dma(self.back), self.vram);
        let (seq, position) = vf.submit(stream)?;
        vf.wait_fence(seq, crate::runner::FENCE_LIMIT)?;
        vf.ring.retire(position);
        Ok(())
    }

    fn carry(&self, stream: &mut Stream, src: u64, dst: u64) {
        let mut done = 0;
        while done < self.sizes.slot_bytes {
            let bytes = (self.sizes.slot_bytes - done).min(MAX_BYTES as usize);
            let at = done as u64;
            // CAST: at most MAX_BYTES.
            stream.push(&Packet::CopyLinear {
                src: src + at,
                dst: dst + at,
                bytes: bytes as u32,
            });
            done += bytes;
        }
    }

    /// Makes a job and its packets, and submits it.
    pub fn submit<T: Transport>(
        &mut self,
        vf: &mut Vf<T>,
        rng: &mut Rng,
        workload: crate::job::Workload,
        repeat: u32,
    ) -> Result<()> {
        let job = Job::random(rng, workload, &self.sizes.bounds(), repeat);
        let mut once = vf.stream();
        job.emit(&mut once, self.vram, vf.space.dma(self.own));
        let mut stream = vf.stream();
        if job.indirect {
            once.pad();
            vf.t.dma_write(&vf.dma, self.packets, &once.bytes())?;
            let base = vf.space.dma(self.packets);
            // CAST: an indirect buffer has at most 1024 dwords.
            let dwords = once.dwords().len() as u32;
            for _ in 0..repeat {
                for _ in 0..vf.ring.indirect_padding(&stream) {
                    stream.push(&Packet::Nop { extra: 0 });
                }
                stream.push(&Packet::Indirect {
                    base,
                    dwords,
                    vmid: 0,
                });
            }
        } else {
            for _ in 0..repeat {
                job.emit(&mut stream, self.vram, vf.space.dma(self.own));
            }
        }
        if !self.near {
            self.carry(&mut stream, self.vram, vf.space.dma(self.back));
        }
        job.apply(&mut self.shadow);
        let (seq, position) = vf.submit(stream)?;
        self.pending = Some(Pending { seq, position, job });
        Ok(())
    }

    /// Compares everything with the shadow and counts.  The job must be done.
    pub fn verify<T: Transport>(&mut self, vf: &mut Vf<T>) -> Result<()> {
        let Some(Pending { seq, job, position }) = self.pending.take() else {
            return Ok(());
        };
        vf.ring.retire(position);
        let index = self.index;
        let context = |place: Place, offset: usize| {
            let role = match job.covers(place, offset) {
                true => "which the job was to write",
                false => "which the job was not to touch",
            };
            let via = if job.indirect { ", indirect" } else { "" };
            format!(
                "{role}; job {seq} of {} operations{via}, slot {index}",
                job.ops.len()
            )
        };
        if self.near {
            vf.t.vram_read(self.vram, &mut self.scratch)?;
        } else {
            vf.t.dma_read(&vf.dma, self.back, &mut self.scratch)?;
        }
        compare("VRAM", self.vram, &self.scratch, &self.shadow.vram, |i| {
            context(Place::Vram, i)
        })?;
        vf.t.dma_read(&vf.dma, self.own, &mut self.scratch)?;
        let own = self.own as u64;
        compare("own memory", own, &self.scratch, &self.shadow.own, |i| {
            context(Place::Own, i)
        })?;
        count(&mut vf.stats, &job, 2 * self.sizes.slot_bytes);
        Ok(())
    }
}

fn count(stats: &mut Stats, job: &Job, compared: usize) {
    let covered = job.bytes_covered(Place::Vram) + job.bytes_covered(Place::Own);
    stats.jobs += 1;
    stats.bytes_verified += covered as u64;
    stats.bytes_guarded += (compared - covered) as u64;
    stats.bytes_written += job.bytes_written();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_spread_and_do_not_overlap() {
        for (slots, op_bytes, mib) in [
            (1, 64, 16),
            (8, 65536, 16),
            (64, 65536, 480),
            (3, 1 << 20, 8192),
        ] {
            let sizes = Sizes::new(slots, op_bytes).unwrap();
            let vram_bytes = mib << 20;
            let all: Vec<Slot> = (0..slots)
                .map(|i| Slot::new(i, sizes, vram_bytes, 256 << 20))
                .collect();
            for pair in all.windows(2) {
                assert!(pair[0].vram + sizes.slot_bytes as u64 <= pair[1].vram);
                assert!(pair[0].packets + INDIRECT_BYTES <= pair[1].own);
            }
            let last = all.last().unwrap();
            assert!(last.vram + sizes.slot_bytes as u64 <= vram_bytes);
            assert!(all[0].vram >= WORK);
            assert_eq!(last.near, last.vram + sizes.slot_bytes as u64 <= 256 << 20);
            assert!(last.packets + INDIRECT_BYTES <= DMA_WORK + sizes.dma_bytes());
            let b = sizes.bounds();
            assert!(b.op_bytes >= op_bytes && 2 * b.op_bytes + 2 * b.guard <= b.vram);
        }
        assert!(Sizes::new(0, 64).is_err() && Sizes::new(1, 2 << 20).is_err());
    }
}
