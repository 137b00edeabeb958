// SPDX-License-Identifier: GPL-2.0

//! The hardware: registers, the GPU-IOV capability, interrupts, mailbox, framebuffer.
//!
//! What differs between chips sits behind [`hal::Hal`]; everything here runs under the engine's
//! lock or before it exists, so nothing needs a lock of its own, but for the dirty plane and the DMA
//! log, which the host's programs read.

pub(crate) mod dirty;
pub(crate) mod dma_log;
pub(crate) mod hal;
pub(crate) mod ih;
pub(crate) mod regs;
pub(crate) mod sdma;
pub(crate) mod vsec;

use kernel::{
    pci::Bar,
    prelude::*, //
};

use self::{
    dirty::DirtyPlane,
    dma_log::DmaLog,
    hal::{
        Block,
        Chip,
        Hal, //
    },
    ih::IhRing,
    sdma::CopyEngine,
    vsec::Vsec, //
};
use crate::ffi::pci::{
    BoundPf,
    Claim, //
};

/// Least size of the register BAR: what lies beyond on later chips is not used here.
pub(crate) const MMIO_SIZE: usize = 0x4_0000;

/// Number of the register BAR.
const MMIO_BAR: u32 = 5;

/// The register BAR.
pub(crate) type Mmio = Bar<'static, MMIO_SIZE>;

/// Everything the driver needs to touch one GPU.
///
/// Fields are dropped in this order: first what uses the device, at last the device.
pub(crate) struct Hw {
    /// Interrupt ring.
    pub(crate) ih: IhRing,
    /// Registers (BAR5).
    pub(crate) mmio: Mmio,
    /// The PF's copy engine.
    pub(crate) copy: CopyEngine,
    /// The framebuffer aperture (BAR0), mapped piece by piece where needed.
    pub(crate) aperture: Claim,
    /// The dirty plane, if there is one.
    pub(crate) plane: Option<DirtyPlane>,
    /// The DMA log, if there is one.
    pub(crate) dma_log: Option<DmaLog>,
    /// The GPU-IOV capability.
    pub(crate) vsec: Vsec,
    /// Where in it commands are issued.
    pub(crate) block: Block,
    /// What is particular to the chip.
    pub(crate) hal: &'static dyn Hal,
    /// The device.
    pub(crate) pf: BoundPf,
}

impl Hw {
    /// Maps and checks the hardware of a PF; nothing is started.
    pub(crate) fn new(pf: BoundPf, hal: Chip) -> Result<Self> {
        let dev = pf.get();
        let (len, revisions) = hal.vsec();
        let vsec = Vsec::find(&pf, len, revisions)?;
        let block = hal.command_block(&vsec).ok_or_else(|| {
            dev_err!(
                dev,
                "the GPU-IOV capability places its scheduler outside itself\n"
            );
            ENODEV
        })?;
        let mmio: Mmio = dev
            .iomap_region_sized(MMIO_BAR, c"gim/registers")
            .inspect_err(|_| {
                dev_err!(
                    dev,
                    "register BAR is missing or smaller than {MMIO_SIZE:#x} bytes\n"
                )
            })?;
        if hal.identifier(&mmio) & 1 != 0 {
            dev_err!(dev, "this is a VF, not the PF: load gim on the host\n");
            return Err(ENODEV);
        }
        if hal.memsize_mib(&mmio) == 0 {
            dev_err!(dev, "the board is not posted: its VBIOS has not run\n");
            return Err(ENODEV);
        }
        let aperture = Claim::new(&pf, 0, c"gim/framebuffer")?;
        // The start of the framebuffer is the PF's own in every partition table.
        let area = aperture.window(0, sdma::AREA)?;
        let plane = DirtyPlane::find(&pf, MMIO_BAR, hal.facts().dirty_plane)?;
        let dma_log = DmaLog::find(&pf, MMIO_BAR, hal.facts().dma_log)?;
        Ok(Self {
            plane,
            dma_log,
            ih: IhRing::new(dev, &hal.facts().ih)?,
            mmio,
            copy: CopyEngine::new(area, &hal.facts().sdma),
            aperture,
            vsec,
            block,
            hal,
            pf,
        })
    }

    /// Lets the hardware interrupt.
    pub(crate) fn start(&self) {
        self.ih.start(&self.mmio);
        self.hal.enable_signals(self, true);
    }

    /// Keeps the hardware from interrupting and from writing to memory.
    pub(crate) fn stop(&self) {
        self.hal.enable_signals(self, false);
        self.ih.stop(&self.mmio);
    }

    /// Whether the PF still answers; all ones mean it left the bus.
    pub(crate) fn answers(&self) -> bool {
        self.hal.identifier(&self.mmio) != u32::MAX
    }
}
