// SPDX-License-Identifier: GPL-2.0
//! Registers that hold what was written: a sparse file, bounded so that it fits into a context
//! image whatever a guest does.

use std::collections::BTreeMap;

/// Most registers that a file remembers.
pub(crate) const MAX_REGS: usize = 8192;

/// A sparse register file; a register that was never written reads 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RegFile(BTreeMap<u16, u32>);

impl RegFile {
    /// Reads register `index`.
    pub(crate) fn get(&self, index: u32) -> u32 {
        u16::try_from(index)
            .ok()
            .and_then(|i| self.0.get(&i))
            .copied()
            .unwrap_or(0)
    }

    /// Writes register `index`; `false` if the file is full.
    pub(crate) fn set(&mut self, index: u32, value: u32) -> bool {
        let Ok(i) = u16::try_from(index) else {
            return false;
        };
        if let Some(v) = self.0.get_mut(&i) {
            *v = value;
        } else if self.0.len() < MAX_REGS {
            self.0.insert(i, value);
        } else {
            return false;
        }
        true
    }

    /// Two registers as one 64-bit value.
    pub(crate) fn get64(&self, lo: u32, hi: u32) -> u64 {
        u64::from(self.get(lo)) | (u64::from(self.get(hi)) << 32)
    }

    /// Registers that were written.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All registers that were written, by index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        self.0.iter().map(|(&i, &v)| (i, v))
    }
}
