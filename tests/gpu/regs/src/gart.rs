// SPDX-License-Identifier: GPL-2.0
//! Entries of the flat page table of VMID 0: 8 bytes for each 4 KiB page, in the framebuffer
//! (bits as Linux's gmc_v8_0 lists them).

/// The entry maps a page.
pub const VALID: u64 = 1 << 0;
/// The page is in system memory; else in the function's framebuffer.
pub const SYSTEM: u64 = 1 << 1;
/// Accesses are snooped.
pub const SNOOPED: u64 = 1 << 2;
/// The page may be read.
pub const READABLE: u64 = 1 << 5;
/// The page may be written.
pub const WRITEABLE: u64 = 1 << 6;
/// Address of the page, bits \[39:12\].
pub const ADDR: u64 = 0x00FF_FFFF_F000;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Entry for a readable and writeable page at bus address `bus` (below 2^40) of system memory.
pub const fn system_page(bus: u64) -> u64 {
    (bus & ADDR) | VALID | SYSTEM | SNOOPED | READABLE | WRITEABLE
}
