// SPDX-License-Identifier: GPL-2.0
//! The two rings: packets to the copy engine, interrupt entries from the GPU.

use gpu_regs::chip::{DOORBELL_IH, DOORBELL_SDMA0};
use gpu_regs::ih::{Entry, PTR_MASK};
use gpu_regs::sdma::{Counts, Packet};

use crate::error::{Error, Result};
use crate::layout::{CELL_IH_WPTR, IH_BYTES, RING, RING_BYTES};
use crate::transport::{DmaBuffer, Transport};

/// A packet with its payload.
pub type Out<'a> = Packet<&'a [u32]>;

/// Dwords of packets, to be put into the ring or an indirect buffer.
#[derive(Debug, Clone)]
pub struct Stream {
    counts: Counts,
    dwords: Vec<u32>,
}

impl Stream {
    /// An empty one for a copy engine that counts so.
    pub fn new(counts: Counts) -> Self {
        Self {
            counts,
            dwords: Vec::new(),
        }
    }

    /// Appends a packet.
    pub fn push(&mut self, packet: &Out<'_>) {
        packet.encode(self.counts, |dw| self.dwords.push(dw));
    }

    /// Appends NOPs until the length is a multiple of 8 dwords, as indirect buffers must be.
    pub fn pad(&mut self) {
        while self.dwords.len() % 8 != 0 {
            self.dwords.push(0);
        }
    }

    /// The dwords so far.
    pub fn dwords(&self) -> &[u32] {
        &self.dwords
    }

    /// The bytes as they lie in memory.
    pub fn bytes(&self) -> Vec<u8> {
        self.dwords.iter().flat_map(|dw| dw.to_le_bytes()).collect()
    }
}

/// Write side of the copy engine's ring.  Positions are bytes and do not wrap at its size.
#[derive(Debug, Clone, Default)]
pub struct SdmaRing {
    wptr: u32,
    done: u32,
}

impl SdmaRing {
    /// A ring that was written up to `wptr` and read up to `done`.
    pub fn resume(wptr: u32, done: u32) -> Self {
        Self { wptr, done }
    }

    /// Everything before this position has been read.
    pub fn retired(&self) -> u32 {
        self.done
    }

    /// Bytes that can still be written.  A few stay free, so that full differs from empty.
    pub fn space(&self) -> usize {
        (RING_BYTES - 64).saturating_sub(self.wptr.wrapping_sub(self.done)) as usize
    }

    /// Where the next packet will lie.
    pub fn position(&self) -> u32 {
        self.wptr
    }

    /// Says that the engine has read everything before `position`.
    pub fn retire(&mut self, position: u32) {
        self.done = position;
    }

    /// NOPs to put before an INDIRECT packet so that it ends at a multiple of 8 dwords.
    pub fn indirect_padding(&self, before: &Stream) -> usize {
        let dwords = self.wptr as usize / 4 + before.dwords().len();
        (2 + 8 - dwords % 8) % 8
    }

    /// Puts a stream into the ring; [`SdmaRing::kick`] shows it to the engine.
    pub fn write<T: Transport>(&mut self, t: &mut T, stream: &Stream) -> Result<()> {
        let bytes = stream.bytes();
        if bytes.len() > self.space() {
            return Err(Error::Unsupported(format!(
                "{} bytes of packets do not fit into {} free bytes of the ring",
                bytes.len(),
                self.space()
            )));
        }
        let at = self.wptr % RING_BYTES;
        let (first, second) = bytes.split_at(bytes.len().min((RING_BYTES - at) as usize));
        t.vram_write(RING + u64::from(at), first)?;
        if !second.is_empty() {
            t.vram_write(RING, second)?;
        }
        // CAST: at most the size of the ring.
        self.wptr = self.wptr.wrapping_add(bytes.len() as u32);
        Ok(())
    }

    /// Rings the doorbell: the only way to the engine while another VF is on it.
    pub fn kick<T: Transport>(&self, t: &mut T) {
        t.doorbell(DOORBELL_SDMA0, self.wptr);
    }
}

/// Read side of the interrupt ring.
#[derive(Debug, Clone, Default)]
pub struct IhRing {
    rptr: u32,
}

impl IhRing {
    /// A ring that was read up to `rptr`.
    pub fn resume(rptr: u32) -> Self {
        // As an index it must lie inside, whatever a file says.
        Self {
            rptr: rptr % IH_BYTES / 4 * 4,
        }
    }

    /// How far it was read.
    pub fn position(&self) -> u32 {
        self.rptr
    }

    /// Hands over all entries that have come and gives their place back.  Says how many.
    pub fn drain<T: Transport>(
        &mut self,
        t: &mut T,
        dma: &DmaBuffer,
        mut each: impl FnMut(Entry),
    ) -> Result<u32> {
        let mut cell = [0; 4];
        t.dma_read(dma, CELL_IH_WPTR, &mut cell)?;
        // Bit 0 says that entries were overwritten; what is left is as good as any.
        let format = t.chip().ih;
        let size = format.bytes();
        let wptr = u32::from_le_bytes(cell) & PTR_MASK & !(size - 1) & (IH_BYTES - 1);
        let mut count = 0;
        while self.rptr != wptr {
            let mut raw = [0; 32];
            let raw = &mut raw[..size as usize];
            t.dma_read(dma, self.rptr as usize, raw)?;
            let mut dw = [0; 8];
            for (d, b) in dw.iter_mut().zip(raw.chunks_exact(4)) {
                *d = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
            if let Some(entry) = format.decode(&dw) {
                each(entry);
            }
            self.rptr = (self.rptr + size) % IH_BYTES;
            count += 1;
        }
        if count != 0 {
            t.doorbell(DOORBELL_IH, self.rptr);
        }
        Ok(count)
    }

    /// Gives the read position once more: the next interrupt waits for it, and the one that was
    /// meant to bring it may have been lost.
    pub fn rearm<T: Transport>(&self, t: &mut T) {
        t.doorbell(DOORBELL_IH, self.rptr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indirect_packets_end_at_eight_dwords() {
        for before in 0..40 {
            let mut stream = Stream::new(Counts::Exact);
            for _ in 0..before {
                stream.push(&Packet::Nop { extra: 0 });
            }
            let ring = SdmaRing { wptr: 12, done: 0 };
            for _ in 0..ring.indirect_padding(&stream) {
                stream.push(&Packet::Nop { extra: 0 });
            }
            stream.push(&Packet::Indirect {
                base: 0,
                dwords: 8,
                vmid: 0,
            });
            assert_eq!((3 + stream.dwords().len()) % 8, 0);
        }
    }

    #[test]
    fn space_survives_wrapping_positions() {
        let mut ring = SdmaRing {
            wptr: u32::MAX - 99,
            done: u32::MAX - 99,
        };
        let all = ring.space();
        ring.wptr = ring.wptr.wrapping_add(200);
        assert_eq!(ring.space(), all - 200);
        ring.retire(ring.position());
        assert_eq!(ring.space(), all);
    }
}
