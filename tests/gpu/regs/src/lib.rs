// SPDX-License-Identifier: GPL-2.0
//! Numbers that the emulated GPU and the software that drives it share.
//!
//! Facts only: registers and fields as PF and VF software sees them, one description per chip
//! ([`chip`]), the GPU-IOV capability, packets of the copy engine, interrupt-ring entries, mailbox
//! messages, and the register map of the debug device ([`referee`]).  MMIO registers are
//! numbered in dwords of BAR5, as AMD's public headers do (byte offset = 4 x index).
//!
//! Nothing here is specific to an environment: `no_std`, no dependencies, no allocation.
#![no_std]
#![forbid(unsafe_code)]

pub mod chip;
pub mod dirty;
pub mod dma_log;
pub mod exchange;
pub mod gart;
pub mod ih;
pub mod mailbox;
pub mod pci;
pub mod referee;
pub mod sdma;
pub mod vm;
pub mod vsec;
