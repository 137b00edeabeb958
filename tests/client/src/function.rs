// SPDX-License-Identifier: GPL-2.0
//! Config space and BARs of a VF as files give them, whoever's files they are.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};
use crate::mem::Mapping;

/// PCI command register: memory space and bus master.
const COMMAND: u32 = 4;
const COMMAND_MEMORY_MASTER: u32 = 0x6;

/// A function whose BARs are mapped.
pub(crate) struct Function {
    pub(crate) registers: Mapping,
    pub(crate) doorbells: Mapping,
    pub(crate) vram: Mapping,
    pub(crate) config: File,
    /// Where config space begins in that file.
    pub(crate) config_offset: u64,
}

impl Function {
    /// Lets the function answer to its memory and master the bus, or not.
    pub(crate) fn enable(&self, on: bool) -> Result<()> {
        let command = self.config_read(COMMAND)? & 0xFFFF & !COMMAND_MEMORY_MASTER;
        let bits = if on { COMMAND_MEMORY_MASTER } else { 0 };
        self.config_write(COMMAND, command | bits)
    }

    pub(crate) fn config_read(&self, offset: u32) -> Result<u32> {
        let mut raw = [0; 4];
        self.config
            .read_exact_at(&mut raw, self.config_offset + u64::from(offset))
            .map_err(|e| Error::transport(format!("reading config space at {offset:#x}"), e))?;
        Ok(u32::from_le_bytes(raw))
    }

    pub(crate) fn config_write(&self, offset: u32, value: u32) -> Result<()> {
        self.config
            .write_all_at(&value.to_le_bytes(), self.config_offset + u64::from(offset))
            .map_err(|e| Error::transport(format!("writing config space at {offset:#x}"), e))
    }

    pub(crate) fn doorbell(&self, index: u32, value: u32) {
        // What was written to memory before must be there when the device looks.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let _ = self.doorbells.write32(index as usize * 4, value);
    }
}

/// The part of [`Transport`](crate::transport::Transport) that is the same for all that have a
/// [`Function`] in their field `function`.
macro_rules! through_function {
    () => {
        fn config_read(&mut self, offset: u32) -> Result<u32> {
            self.function.config_read(offset)
        }

        fn config_write(&mut self, offset: u32, value: u32) -> Result<()> {
            self.function.config_write(offset, value)
        }

        fn reg_read(&mut self, register: u32) -> u32 {
            // A register outside the BAR reads as one that nobody answers.
            let registers = &self.function.registers;
            registers.read32(register as usize * 4).unwrap_or(u32::MAX)
        }

        fn reg_write(&mut self, register: u32, value: u32) {
            // As on a bus, a write to where nothing is has no effect.
            let _ = self
                .function
                .registers
                .write32(register as usize * 4, value);
        }

        fn reg_write_byte(&mut self, register: u32, byte: u32, value: u8) {
            let at = register as usize * 4 + byte as usize;
            let _ = self.function.registers.write8(at, value);
        }

        fn vram_window(&self) -> u64 {
            self.function.vram.len() as u64
        }

        fn vram_read(&mut self, offset: u64, data: &mut [u8]) -> Result<()> {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            self.function.vram.read(at, data)
        }

        fn vram_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            self.function.vram.write(at, data)
        }

        fn doorbell(&mut self, index: u32, value: u32) {
            self.function.doorbell(index, value);
        }
    };
}
pub(crate) use through_function;
