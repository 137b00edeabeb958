// SPDX-License-Identifier: GPL-2.0

//! The GPU-IOV capability: a vendor-specific extended capability in the PF's config space.

use kernel::{
    bindings,
    io::Io,
    pci::{
        ConfigSpace,
        Extended, //
    },
    prelude::*, //
};

use crate::ffi::pci::BoundPf;

/// VSEC id of GPU-IOV (gpu-iov-hardware.md, 2.1).
const VSEC_ID: u16 = 2;

/// Where the capability is and what it says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Vsec {
    base: u16,
    revision: u8,
    len: u16,
    config: ConfigSpace<'static, Extended>,
}

impl Vsec {
    /// Searches the capability and checks its header against what the chip's layout needs.
    pub(crate) fn find(pf: &BoundPf, min_len: u16, revisions: &[u8]) -> Result<Self> {
        let dev = pf.get();
        let config = dev.config_space_extended().inspect_err(|_| {
            dev_err!(
                dev,
                "no extended config space: is this slot PCI Express with MMCONFIG?\n"
            )
        })?;
        let vndr = bindings::PCI_EXT_CAP_ID_VNDR as u16;
        let mut pos = 0;
        while let Some(base) = pf.next_ext_capability(pos, vndr) {
            pos = base;
            let header = config.try_read32(usize::from(base) + 4)?;
            if header & 0xffff != u32::from(VSEC_ID) {
                continue;
            }
            let revision = (header >> 16 & 0xf) as u8;
            let len = (header >> 20) as u16;
            if !revisions.contains(&revision) {
                dev_err!(
                    dev,
                    "GPU-IOV capability has revision {revision}, known: {revisions:?}\n"
                );
                return Err(ENODEV);
            }
            if len < min_len || usize::from(base) + usize::from(len) > 4096 {
                dev_err!(
                    dev,
                    "GPU-IOV capability has {len} bytes at {base:#x}, needed: {min_len}\n"
                );
                return Err(ENODEV);
            }
            return Ok(Self {
                base,
                revision,
                len,
                config,
            });
        }
        dev_err!(
            dev,
            "no GPU-IOV capability: is SR-IOV enabled in the board's VBIOS?\n"
        );
        Err(ENODEV)
    }

    /// Revision of the layout.
    pub(crate) fn revision(&self) -> u8 {
        self.revision
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u16 {
        self.len
    }

    /// Reads the dword at `off` (bytes from the start of the capability).
    ///
    /// Offsets come from the chip's layout, whose length [`Self::find`] has checked; one outside
    /// reads as all ones, like a device that is gone.
    pub(crate) fn read32(&self, off: u16) -> u32 {
        self.at(off, 4)
            .and_then(|at| self.config.try_read32(at))
            .unwrap_or(u32::MAX)
    }

    /// Reads the byte at `off`.
    pub(crate) fn read8(&self, off: u16) -> u8 {
        self.at(off, 1)
            .and_then(|at| self.config.try_read8(at))
            .unwrap_or(u8::MAX)
    }

    /// Reads the word at `off`.
    pub(crate) fn read16(&self, off: u16) -> u16 {
        self.at(off, 2)
            .and_then(|at| self.config.try_read16(at))
            .unwrap_or(u16::MAX)
    }

    /// Writes the dword at `off`; one outside is ignored.
    pub(crate) fn write32(&self, off: u16, value: u32) {
        if let Ok(at) = self.at(off, 4) {
            let _ = self.config.try_write32(value, at);
        }
    }

    /// Writes the word at `off`; one outside is ignored.
    pub(crate) fn write16(&self, off: u16, value: u16) {
        if let Ok(at) = self.at(off, 2) {
            let _ = self.config.try_write16(value, at);
        }
    }

    fn at(&self, off: u16, size: u16) -> Result<usize> {
        if off.checked_add(size).is_none_or(|end| end > self.len) {
            return Err(EINVAL);
        }
        Ok(usize::from(self.base) + usize::from(off))
    }
}
