// SPDX-License-Identifier: GPL-2.0
//! A VF through VFIO: legacy group, type1v2 container of its own.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpu_regs::chip::Chip;
use gpu_regs::pci::{BAR_DOORBELL, BAR_FB, BAR_MMIO};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use vfio_ioctls::{VfioContainer, VfioDevice};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::error::{Error, Result};
use crate::function::{through_function, Function};
use crate::mem::Mapping;
use crate::pci::PciDevice;
use crate::transport::{DmaBuffer, Transport};

/// VFIO's index of config space.
const CONFIG_REGION: u32 = 7;
/// First bus address for DMA: far from 0, so that a zero is seen, and far below the MSI window.
const FIRST_IOVA: u64 = 0x1000_0000;

/// A VF that is bound to vfio-pci.
pub struct Vfio {
    // Fields drop in this order.  What is mapped keeps the device open: `VfioDevice` looks for the VF's
    // group when it has closed it, and panics if the VF has gone by then, which may have waited for
    // just that.  The container and memory for DMA, which it maps, come last.
    device: VfioDevice,
    function: Function,
    interrupt: EventFd,
    armed: bool,
    container: Arc<VfioContainer>,
    buffers: Vec<Mapping>,
    next_iova: u64,
    address: String,
    chip: &'static Chip,
    start: Instant,
}

impl Vfio {
    /// Opens the VF.  The kernel resets the function when it is opened.
    pub fn open(pci: &PciDevice) -> Result<Self> {
        let chip = pci.vf_chip()?;
        pci.wait_vfio_group()?;
        let fail = |what: &str, e: &dyn std::fmt::Display| {
            Error::transport(format!("{what} of {}", pci.address()), e)
        };
        let container = Arc::new(VfioContainer::new(None).map_err(|e| fail("VFIO container", &e))?);
        let ops: Arc<dyn vfio_ioctls::VfioOps> = container.clone();
        let device = VfioDevice::new(&pci.dir(), ops, false)
            .map_err(|e| fail("VFIO device (open elsewhere, or its group not viable?)", &e))?;
        let map = |bar: u32, what: &str| {
            let (offset, size) = (device.get_region_offset(bar), device.get_region_size(bar));
            let len = usize::try_from(size).map_err(|e| fail(what, &e))?;
            if len == 0 {
                return Err(fail(what, &"the device has no such BAR"));
            }
            Mapping::of_file(borrow(&device), offset, len, what)
        };
        let registers = map(BAR_MMIO, "BAR5 (registers)")?;
        let doorbells = map(BAR_DOORBELL, "BAR2 (doorbells)")?;
        let vram = map(BAR_FB, "BAR0 (framebuffer)")?;
        let config = borrow(&device)
            .try_clone_to_owned()
            .map_err(|e| fail("VFIO file", &e))?;
        let interrupt = EventFd::new(EFD_NONBLOCK).map_err(|e| fail("eventfd", &e))?;
        let vf = Self {
            function: Function {
                registers,
                doorbells,
                vram,
                config: config.into(),
                config_offset: device.get_region_offset(CONFIG_REGION),
            },
            interrupt,
            armed: false,
            device,
            container,
            buffers: Vec::new(),
            next_iova: FIRST_IOVA,
            address: pci.address().to_owned(),
            chip,
            start: Instant::now(),
        };
        vf.function.enable(true)?;
        Ok(vf)
    }

    fn buffer(&self, buffer: &DmaBuffer) -> Result<&Mapping> {
        let none = || Error::Unsupported(format!("there is no DMA buffer {}", buffer.index));
        self.buffers.get(buffer.index).ok_or_else(none)
    }
}

impl AsRawFd for Vfio {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.device.as_raw_fd()
    }
}

fn borrow<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: The descriptor is open as long as its owner lives, which the lifetime says.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

impl Transport for Vfio {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn chip(&self) -> &'static Chip {
        self.chip
    }

    through_function!();

    fn dma_alloc(&mut self, len: usize) -> Result<DmaBuffer> {
        let iova = self.next_iova;
        self.dma_alloc_at(iova, len)
    }

    fn dma_alloc_at(&mut self, iova: u64, len: usize) -> Result<DmaBuffer> {
        let len = len.next_multiple_of(4096);
        let memory = Mapping::anonymous(len)?;
        // SAFETY: The memory is accessed by volatile operations only, and is unmapped by the
        // container's end before it is freed.
        unsafe { self.container.vfio_dma_map(iova, len, memory.as_ptr()) }.map_err(|e| {
            Error::transport(format!("mapping {len} bytes for DMA at {iova:#x}"), e)
        })?;
        let end = iova.saturating_add((len as u64).next_multiple_of(1 << 20));
        self.next_iova = self.next_iova.max(end);
        self.buffers.push(memory);
        Ok(DmaBuffer {
            iova,
            len,
            index: self.buffers.len() - 1,
        })
    }

    fn dma_read(&mut self, buffer: &DmaBuffer, offset: usize, data: &mut [u8]) -> Result<()> {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.buffer(buffer)?.read(offset, data)
    }

    fn dma_write(&mut self, buffer: &DmaBuffer, offset: usize, data: &[u8]) -> Result<()> {
        self.buffer(buffer)?.write(offset, data)
    }

    fn enable_interrupts(&mut self) -> Result<()> {
        // A reset may have cleared what the kernel believes to be set: do it anew.
        self.function.enable(true)?;
        if self.armed {
            self.device
                .disable_msi()
                .map_err(|e| Error::transport("switching MSI off", e))?;
            self.armed = false;
        }
        self.device
            .enable_msi(vec![&self.interrupt])
            .map_err(|e| Error::transport("switching MSI on", e))?;
        self.armed = true;
        Ok(())
    }

    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool> {
        let interrupt = borrow(&self.interrupt);
        let mut fds = [PollFd::from_borrowed_fd(interrupt, PollFlags::IN)];
        let limit = Timespec::try_from(limit)
            .map_err(|e| Error::transport("waiting for an interrupt", e))?;
        match poll(&mut fds, Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
            Ok(_) => Ok(self.interrupt.read().is_ok()),
            Err(e) => Err(Error::transport("waiting for an interrupt", e)),
        }
    }

    fn reset(&mut self) -> Result<()> {
        self.device.reset();
        self.function.enable(true)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
