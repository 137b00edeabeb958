// SPDX-License-Identifier: GPL-2.0
//! Registers that hold what was written: a sparse file, bounded so that it fits into a context
//! image whatever a guest does.

use std::collections::BTreeMap;

/// Most registers that a file remembers.
pub(crate) const MAX_REGS: usize = 8192;
/// Registers that the largest BAR has.
const MAX_INDEX: u32 = 0x2_0000;

/// A sparse register file; a register that was never written reads 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RegFile(BTreeMap<u32, u32>);

impl RegFile {
    /// Reads register `index`.
    pub(crate) fn get(&self, index: u32) -> u32 {
        self.0.get(&index).copied().unwrap_or(0)
    }

    /// Writes register `index`; `false` if the file is full.
    pub(crate) fn set(&mut self, index: u32, value: u32) -> bool {
        if let Some(v) = self.0.get_mut(&index) {
            *v = value;
        } else if self.0.len() < MAX_REGS && index < MAX_INDEX {
            self.0.insert(index, value);
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
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().map(|(&i, &v)| (i, v))
    }
}
