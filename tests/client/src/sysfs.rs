// SPDX-License-Identifier: GPL-2.0
//! A VF through sysfs, as in a guest VM that has no IOMMU: BARs by `resourceN`, config space by
//! `config`, memory for DMA from huge pages, whose physical addresses the device uses.
//!
//! No interrupt comes this way: the client looks every millisecond.  Needs root, and huge pages of
//! 2 MiB (`hugepages=8` on the kernel's command line).

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use gpu_regs::chip::Chip;
use gpu_regs::pci::{BAR_DOORBELL, BAR_FB, BAR_MMIO};

use crate::error::{Error, Result};
use crate::function::{through_function, Function};
use crate::mem::Mapping;
use crate::pci::PciDevice;
use crate::transport::{DmaBuffer, Transport};

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(1);

/// A piece of memory with the address at which the device sees it.
struct Page {
    memory: Mapping,
    at: u64,
}

/// Pages that lie one behind the other for the device, if not for the program.
type Buffer = Vec<Page>;

/// A VF that no driver is bound to, in a machine whose devices see physical addresses.
pub struct Sysfs {
    function: Function,
    pci: PciDevice,
    buffers: Vec<Buffer>,
    chip: &'static Chip,
    start: Instant,
}

impl Sysfs {
    /// Opens the VF, which is not reset by that.
    pub fn open(pci: &PciDevice) -> Result<Self> {
        let chip = pci.vf_chip()?;
        if let Some(driver) = pci.driver() {
            return Err(Error::Unsupported(format!(
                "{} is bound to {driver}, which has it",
                pci.address()
            )));
        }
        if pci.dir().join("iommu_group").exists() {
            return Err(Error::Unsupported(format!(
                "{} is behind an IOMMU: it does not see physical addresses",
                pci.address()
            )));
        }
        // Bridges above it let nothing pass before.
        pci.write("enable", "1")?;
        let vf = Self {
            function: Function {
                registers: map(pci, BAR_MMIO)?,
                doorbells: map(pci, BAR_DOORBELL)?,
                vram: map(pci, BAR_FB)?,
                config: open(pci, "config")?,
                config_offset: 0,
            },
            pci: pci.clone(),
            buffers: Vec::new(),
            chip,
            start: Instant::now(),
        };
        vf.function.enable(true)?;
        Ok(vf)
    }

    /// Calls `each` for every piece of `len` bytes from `offset` on: page, offset in it, and which
    /// of the bytes.
    fn pieces(
        &self,
        buffer: &DmaBuffer,
        offset: usize,
        len: usize,
        mut each: impl FnMut(&Mapping, usize, std::ops::Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let none = || Error::Unsupported(format!("there is no DMA buffer {}", buffer.index));
        let pages = self.buffers.get(buffer.index).ok_or_else(none)?;
        if offset.checked_add(len).is_none_or(|end| end > buffer.len) {
            return Err(Error::Unsupported(format!(
                "access of {len} bytes at {offset:#x} outside a buffer of {:#x} bytes",
                buffer.len
            )));
        }
        let mut done = 0;
        while done < len {
            let (page, at) = ((offset + done) / HUGE, (offset + done) % HUGE);
            let n = (len - done).min(HUGE - at);
            each(&pages[page].memory, at, done..done + n)?;
            done += n;
        }
        Ok(())
    }
}

fn open(pci: &PciDevice, name: &str) -> Result<File> {
    let path = pci.dir().join(name);
    File::options()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| Error::transport(format!("opening {}", path.display()), e))
}

fn map(pci: &PciDevice, bar: u32) -> Result<Mapping> {
    let name = format!("resource{bar}");
    let file = open(pci, &name)?;
    let fail =
        |e: &dyn std::fmt::Display| Error::transport(format!("{name} of {}", pci.address()), e);
    let len = file.metadata().map_err(|e| fail(&e))?.len();
    let len = usize::try_from(len).map_err(|e| fail(&e))?;
    Mapping::of_file(file.as_fd(), 0, len, &name)
}

/// Physical address of a page of this program that is there.
fn physical(memory: &Mapping) -> Result<u64> {
    let fail = |e: &dyn std::fmt::Display| Error::transport("/proc/self/pagemap", e);
    let map = File::open("/proc/self/pagemap").map_err(|e| fail(&e))?;
    let mut raw = [0; 8];
    let at = memory.as_ptr() as u64 / 4096 * 8;
    map.read_exact_at(&mut raw, at).map_err(|e| fail(&e))?;
    // Bit 63: it is there.  Bits 0 to 54: its number; 0 for those who may not know.
    match u64::from_le_bytes(raw) {
        entry if entry >> 63 == 0 => Err(fail(&"the page is not there")),
        entry => match (entry & ((1 << 55) - 1)) * 4096 {
            0 => Err(fail(&"it tells addresses to root alone")),
            at => Ok(at),
        },
    }
}

/// Where in `at`, ascending addresses of huge pages, `pages` lie one behind the other.
fn run_of(at: &[u64], pages: usize) -> Option<usize> {
    let follow = |w: &[u64]| w.windows(2).all(|p| p[0] + HUGE as u64 == p[1]);
    at.windows(pages).position(follow)
}

/// Memory of huge pages that the device sees as one piece.
fn contiguous(pages: usize) -> Result<Buffer> {
    let mut got: Buffer = Vec::new();
    // Free pages come in any order: take them until enough of them lie together.
    loop {
        let memory = Mapping::huge(HUGE).map_err(|e| {
            Error::Unsupported(format!(
                "{} huge pages of 2 MiB hold no {pages} that lie together, and there is no other ({e}): hugepages=8 on the kernel's command line?",
                got.len()
            ))
        })?;
        let at = physical(&memory)?;
        got.push(Page { memory, at });
        got.sort_by_key(|p| p.at);
        let addresses: Vec<u64> = got.iter().map(|p| p.at).collect();
        if let Some(first) = run_of(&addresses, pages) {
            got.truncate(first + pages);
            return Ok(got.split_off(first));
        }
    }
}

impl Transport for Sysfs {
    fn name(&self) -> String {
        self.pci.address().to_owned()
    }

    fn chip(&self) -> &'static Chip {
        self.chip
    }

    through_function!();

    fn dma_alloc(&mut self, len: usize) -> Result<DmaBuffer> {
        let len = len.next_multiple_of(4096);
        let pages = contiguous(len.div_ceil(HUGE).max(1))?;
        let iova = pages.first().map_or(0, |p| p.at);
        self.buffers.push(pages);
        Ok(DmaBuffer {
            iova,
            len,
            index: self.buffers.len() - 1,
        })
    }

    fn dma_alloc_at(&mut self, iova: u64, _len: usize) -> Result<DmaBuffer> {
        Err(Error::Unsupported(format!(
            "memory at {iova:#x} cannot be had: without an IOMMU it is where it is"
        )))
    }

    fn dma_read(&mut self, buffer: &DmaBuffer, offset: usize, data: &mut [u8]) -> Result<()> {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.pieces(buffer, offset, data.len(), |page, at, part| {
            page.read(at, &mut data[part])
        })
    }

    fn dma_write(&mut self, buffer: &DmaBuffer, offset: usize, data: &[u8]) -> Result<()> {
        self.pieces(buffer, offset, data.len(), |page, at, part| {
            page.write(at, &data[part])
        })
    }

    fn enable_interrupts(&mut self) -> Result<()> {
        // Nobody takes them, but the device has to master the bus, which a reset ends.
        self.function.enable(true)
    }

    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool> {
        std::thread::sleep(limit.min(LOOK));
        Ok(false)
    }

    fn reset(&mut self) -> Result<()> {
        self.pci.write("reset", "1")?;
        self.function.enable(true)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Drop for Sysfs {
    fn drop(&mut self) {
        // The memory goes back to the kernel: the device must not write there any more.
        let _ = self.function.enable(false);
        let _ = fs::write(self.pci.dir().join("enable"), "0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_lie_together_are_found() {
        let h = HUGE as u64;
        assert_eq!(run_of(&[], 1), None);
        assert_eq!(run_of(&[7 * h], 1), Some(0));
        assert_eq!(run_of(&[h, 3 * h, 5 * h], 2), None);
        assert_eq!(run_of(&[h, 3 * h, 4 * h, 5 * h], 3), Some(1));
        assert_eq!(run_of(&[h, 2 * h, 4 * h, 5 * h], 3), None);
    }

    #[test]
    fn addresses_of_pages() {
        // Where the system tells, two pages have two addresses; elsewhere it says why not.
        let pages = [(); 2].map(|()| Mapping::anonymous(4096).unwrap());
        match pages.each_ref().map(physical) {
            [Ok(a), Ok(b)] => assert!(a != b && a % 4096 == 0 && a != 0),
            [Err(a), _] | [_, Err(a)] => assert!(a.to_string().contains("pagemap")),
        }
    }
}
