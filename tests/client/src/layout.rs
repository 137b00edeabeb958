// SPDX-License-Identifier: GPL-2.0
//! Where things lie: in the VF's framebuffer, in its DMA buffer, in the GPU's address space.
//!
//! ```text
//! framebuffer   0      VBIOS, data exchange: the host's (section 4.5 of gpu-iov-hardware.md)
//!               2 MiB  ring of the copy engine, 256 KiB
//!               +256 K page table of VMID 0, 64 KiB
//!               4 MiB  work area, to the end
//!
//! DMA buffer    0      interrupt ring, 16 KiB
//!               16 K   cells the GPU writes: fence, write-backs
//!               20 K   work area
//!
//! GPU address   0      framebuffer, then (from a multiple of 256 MiB) the DMA buffer
//! ```

use gpu_regs::gart::PAGE;

use crate::error::{Error, Result};

/// End of what belongs to the host in a VF's framebuffer.
pub const HOST_AREA: u64 = 2 << 20;
/// Ring of the copy engine, in the framebuffer.
pub const RING: u64 = HOST_AREA;
/// Bytes of that ring.
pub const RING_BYTES: u32 = 256 << 10;
/// Page table of VMID 0, in the framebuffer.
pub const TABLE: u64 = RING + RING_BYTES as u64;
/// Bytes of the table.
pub const TABLE_BYTES: usize = 64 << 10;
/// Start of the work area in the framebuffer.
pub const WORK: u64 = 4 << 20;
/// Smallest framebuffer that a client works with.
pub const MIN_VRAM: u64 = 16 << 20;

/// Bytes of the interrupt ring, at offset 0 of the DMA buffer.
pub const IH_BYTES: u32 = 16 << 10;
/// Cell with the number of the last job done.
pub const CELL_FENCE: usize = IH_BYTES as usize;
/// Cell with the write position of the interrupt ring.
pub const CELL_IH_WPTR: usize = CELL_FENCE + 64;
/// Cell with the read position of the copy engine's ring.
pub const CELL_RPTR: usize = CELL_FENCE + 128;
/// Cell of the ring test.
pub const CELL_TEST: usize = CELL_FENCE + 192;
/// Cell that stays 0: what a hanging job waits for.
pub const CELL_NEVER: usize = CELL_FENCE + 256;
/// Start of the work area in the DMA buffer.
pub const DMA_WORK: usize = CELL_FENCE + 4096;

/// Most bytes of a DMA buffer that the page table can map.
pub const MAX_DMA: usize = TABLE_BYTES / 8 * PAGE as usize;

/// The GPU's address space for one VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressSpace {
    /// Bytes of framebuffer.
    pub vram_bytes: u64,
    /// GPU address of the DMA buffer's first byte.
    pub dma_base: u64,
}

impl AddressSpace {
    /// The address space for a framebuffer of `mib` MiB, as CONFIG_MEMSIZE gives it.
    pub fn new(mib: u32) -> Result<Self> {
        let vram_bytes = u64::from(mib) << 20;
        // The identifiers of a gated or dead device must not be taken for a size.
        if vram_bytes < MIN_VRAM || mib > 1 << 20 {
            return Err(Error::Register {
                register: "CONFIG_MEMSIZE",
                found: mib,
                expected: "16 to 1048576 MiB".to_owned(),
            });
        }
        let dma_base = vram_bytes.next_multiple_of(256 << 20);
        Ok(Self {
            vram_bytes,
            dma_base,
        })
    }

    /// GPU address of `offset` in the DMA buffer.
    pub fn dma(&self, offset: usize) -> u64 {
        self.dma_base + offset as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert!(AddressSpace::new(0).is_err());
        assert!(AddressSpace::new(8).is_err());
        assert!(AddressSpace::new(u32::MAX).is_err());
        let a = AddressSpace::new(480).unwrap();
        assert_eq!(a.vram_bytes, 480 << 20);
        assert_eq!(a.dma_base, 512 << 20);
        assert!(TABLE + TABLE_BYTES as u64 <= WORK);
    }
}
