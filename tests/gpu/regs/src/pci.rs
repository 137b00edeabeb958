// SPDX-License-Identifier: GPL-2.0
//! PCI identity, BARs and capability offsets (gpu-iov-hardware.md, sections 1.1 to 1.3).

/// Vendor id of the GPU.
pub const VENDOR: u16 = 0x1002;
/// Most virtual functions a GPU can have.
pub const MAX_VFS: usize = 16;

/// BAR that holds the framebuffer aperture (64 bit, prefetchable).
pub const BAR_FB: u32 = 0;
/// BAR that holds the doorbells (64 bit, prefetchable).
pub const BAR_DOORBELL: u32 = 2;
/// BAR that holds the registers (32 bit).
pub const BAR_MMIO: u32 = 5;

/// Bytes of the doorbell BAR.
pub const DOORBELL_BYTES: u64 = 2 << 20;
/// Bytes of the PF's framebuffer aperture without a large BAR, and the default of a VF's.
pub const FB_APERTURE_BYTES: u64 = 256 << 20;

/// Configuration offset of the MSI capability.
pub const CAP_MSI: u8 = 0xA0;
/// Configuration offset of another vendor-specific capability, of id 1, as AMD's cards have it.
pub const ECAP_VENDOR: u16 = 0x100;
/// Configuration offset of the AER capability.
pub const ECAP_AER: u16 = 0x150;
/// Configuration offset of the ARI capability.
pub const ECAP_ARI: u16 = 0x328;
/// Configuration offset of the SR-IOV capability.
pub const ECAP_SRIOV: u16 = 0x330;
/// Configuration offset of the GPU-IOV capability.  Drivers search for it; only the device
/// itself uses the number.
pub const ECAP_GPUIOV: u16 = 0x400;
