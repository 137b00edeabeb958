// SPDX-License-Identifier: GPL-2.0
//! The way to a VF: config space, BARs, memory that the device reaches, interrupts, time.
//!
//! A transport may be a real device (VFIO) or a model in virtual time, so waiting is part of it.

use std::time::Duration;

use gpu_regs::chip::Chip;

use crate::error::Result;

/// Memory that both the CPU and the device reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaBuffer {
    /// Bus address for the device, a multiple of 4 KiB below 2^40.
    pub iova: u64,
    /// Length in bytes, a multiple of 4 KiB.
    pub len: usize,
    /// Which of the transport's buffers it is.
    pub index: usize,
}

/// Access to one VF.
///
/// Register numbers are dwords of BAR5, doorbell numbers dwords of BAR2.
pub trait Transport {
    /// How the device is called in messages.
    fn name(&self) -> String;

    /// The chip that the VF is of.
    fn chip(&self) -> &'static Chip;

    /// Reads a dword of config space; `offset` is a multiple of 4.
    fn config_read(&mut self, offset: u32) -> Result<u32>;

    /// Writes a dword of config space; `offset` is a multiple of 4.
    fn config_write(&mut self, offset: u32, value: u32) -> Result<()>;

    /// Reads a register.
    fn reg_read(&mut self, register: u32) -> u32;

    /// Writes a register.
    fn reg_write(&mut self, register: u32, value: u32);

    /// Writes byte `byte` (0 to 3) of a register.
    fn reg_write_byte(&mut self, register: u32, byte: u32, value: u8);

    /// Bytes of framebuffer that BAR0 shows, from the VF's byte 0 on.
    fn vram_window(&self) -> u64;

    /// Reads framebuffer through BAR0; fails outside the window.
    fn vram_read(&mut self, offset: u64, data: &mut [u8]) -> Result<()>;

    /// Writes framebuffer through BAR0; fails outside the window.
    fn vram_write(&mut self, offset: u64, data: &[u8]) -> Result<()>;

    /// Rings a doorbell.
    fn doorbell(&mut self, index: u32, value: u32);

    /// Makes a buffer of at least `len` bytes, zeroed.
    fn dma_alloc(&mut self, len: usize) -> Result<DmaBuffer>;

    /// The same at a bus address that another transport gave to such a buffer.
    fn dma_alloc_at(&mut self, iova: u64, len: usize) -> Result<DmaBuffer>;

    /// Reads from a buffer; fails outside it.
    fn dma_read(&mut self, buffer: &DmaBuffer, offset: usize, data: &mut [u8]) -> Result<()>;

    /// Writes to a buffer; fails outside it.
    fn dma_write(&mut self, buffer: &DmaBuffer, offset: usize, data: &[u8]) -> Result<()>;

    /// Lets the device master the bus and arms its interrupt, again if it was armed before.
    fn enable_interrupts(&mut self) -> Result<()>;

    /// Waits until an interrupt came, at most `limit`.  Says whether one came.
    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool>;

    /// Resets the function.
    fn reset(&mut self) -> Result<()>;

    /// Time since some fixed point.
    fn now(&self) -> Duration;

    /// Lets time pass.
    fn sleep(&mut self, time: Duration);
}
