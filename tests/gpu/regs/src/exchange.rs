// SPDX-License-Identifier: GPL-2.0
//! Data exchange pages in a VF's framebuffer (gpu-iov-hardware.md, section 4.5), as the guest
//! driver sees them.

/// Bytes of each page.
pub const PAGE: usize = 1024;
/// Where the host's page (pf2vf) is in the VF's framebuffer.
pub const PF2VF: u64 = 64 << 10;
/// Where the guest's page (vf2pf) is.
pub const VF2PF: u64 = 65 << 10;
/// Layout of the region, as GPU_INIT_DATA_READY names it in its second dword.
pub const LAYOUT: u32 = 1;

/// Byte offsets of the fields that both pages have.
pub mod head {
    /// Bytes of the page.
    pub const SIZE: usize = 0x000;
    /// Version of its layout.
    pub const VERSION: usize = 0x004;
    /// Sum of its bytes without this field.
    pub const CHECKSUM: usize = 0x010;
}

/// Byte offsets in the host's page, version 2.
pub mod pf2vf {
    /// Version of the page.
    pub const VERSION: u32 = 2;
    /// What the host does.
    pub const FEATURE_FLAGS: usize = 0x014;
    /// How often the guest is to write its page.
    pub const UPDATE_INTERVAL_MS: usize = 0x058;
    /// Names the VF (64 bits).
    pub const UUID: usize = 0x05C;
    /// Share of the GPU, of 65535.
    pub const GPU_CAPACITY: usize = 0x0C0;
    /// FEATURE_FLAGS: a reset loses the framebuffer.
    pub const HOST_FLR_VRAMLOST: u32 = 1 << 2;
}

/// Byte offsets in the guest's page, version 3.
pub mod vf2pf {
    /// Version of the page.
    pub const VERSION: u32 = 3;
    /// Version of the driver: 64 characters.
    pub const DRIVER_VERSION: usize = 0x014;
    /// b0: Windows.
    pub const OS_INFO: usize = 0x058;
    /// Framebuffer in use, in MB.
    pub const FB_USAGE: usize = 0x05C;
    /// First of eight pairs and singles of usage and health.
    pub const GFX_USAGE: usize = 0x060;
    /// Not known.
    pub const UNKNOWN: u32 = 0xFFFF;
    /// Framebuffer, in MB.
    pub const FB_SIZE: usize = 0x094;
}

/// Reads a dword of a page.
pub fn get(page: &[u8; PAGE], at: usize) -> u32 {
    page.get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// Writes a dword of a page.
pub fn put(page: &mut [u8; PAGE], at: usize, value: u32) {
    if let Some(to) = page.get_mut(at..at + 4) {
        to.copy_from_slice(&value.to_le_bytes());
    }
}

/// The sum of the first `size` bytes but the field that holds it.
pub fn checksum(page: &[u8; PAGE], size: usize) -> u32 {
    let field = head::CHECKSUM..head::CHECKSUM + 4;
    page.iter()
        .take(size)
        .enumerate()
        .filter(|(at, _)| !field.contains(at))
        .fold(0, |sum: u32, (_, &byte)| sum.wrapping_add(byte.into()))
}
