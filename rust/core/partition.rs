// SPDX-License-Identifier: GPL-2.0

//! Who owns which part of the framebuffer (gpu-iov-hardware.md, 5).
//!
//! The table is in units of 16 MiB: the PF's area from 0, the context save area after it, then the
//! VFs, one after the other. A [`Partition`] that exists has been proved: its parts are inside of
//! the framebuffer, not empty, and no two of them share a byte.

use core::{
    fmt,
    ops::Range, //
};

use super::types::{
    VfId,
    MAX_VFS, //
};

/// Bytes of one unit of the table: 16 MiB.
pub const UNIT: u64 = 16 << 20;

/// Bytes of the context save area of one function: 256 KiB.
pub const CONTEXT_SIZE: u64 = 256 << 10;

/// Functions that have a context save area: the PF and 16 VFs.
const CONTEXTS: u64 = MAX_VFS as u64 + 1;

/// Units of the context save area of all functions (4.25 MiB, so one).
const CONTEXT_UNITS: u32 = (CONTEXTS * CONTEXT_SIZE).div_ceil(UNIT) as u32;

/// Most units that the registers can express: 16 bits.
const UNITS_MAX: u64 = 1 << 16;

/// Why a table cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// The number of VFs is not 1, 2, 4, 8 or 16.
    Count {
        /// The number.
        got: usize,
    },
    /// A size is 0 or not a multiple of 16 MiB.
    Size {
        /// Whose.
        vf: VfId,
        /// The size, in bytes.
        got: u64,
    },
    /// The framebuffer is larger than the registers can express (1 TiB).
    TooLarge {
        /// Its size, in bytes.
        got: u64,
    },
    /// The parts do not fit into the framebuffer.
    DoesNotFit {
        /// Bytes that the PF, the save area and the VFs need.
        need: u64,
        /// Bytes that there are.
        have: u64,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count { got } => write!(f, "{got} VFs: only 1, 2, 4, 8 or 16 are allowed"),
            Self::Size { vf, got } => write!(
                f,
                "VF{}: size {got} is not a positive multiple of 16 MiB",
                vf.raw()
            ),
            Self::TooLarge { got } => write!(f, "framebuffer of {got} bytes: at most 1 TiB"),
            Self::DoesNotFit { need, have } => {
                write!(f, "{need} bytes are needed, the framebuffer has {have}")
            }
        }
    }
}

/// A part of the framebuffer, in units of 16 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    offset: u32,
    size: u32,
}

impl Part {
    /// First byte.
    pub const fn offset(self) -> u64 {
        self.offset as u64 * UNIT
    }

    /// Number of bytes.
    pub const fn size(self) -> u64 {
        self.size as u64 * UNIT
    }

    /// First unit of 16 MiB, as registers carry it.
    pub const fn offset_units(self) -> u32 {
        self.offset
    }

    /// Number of units of 16 MiB.
    pub const fn size_units(self) -> u32 {
        self.size
    }

    /// The bytes.
    pub const fn range(self) -> Range<u64> {
        self.offset()..self.offset() + self.size()
    }
}

/// The framebuffer table.
///
/// # Invariants
///
/// The PF's area, the save area and the areas of VFs `0..count` are not empty, lie inside of the
/// framebuffer and are disjoint; each offset and size fits into 16 bits of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    total: u32,
    pf: Part,
    context: Part,
    vfs: [Part; MAX_VFS],
    count: u8,
}

impl Partition {
    /// Splits what the PF and the save area leave into `count` equal parts, rounded down to 16 MiB.
    ///
    /// `total` and `pf_min` are in bytes; `total` is rounded down and `pf_min` up to 16 MiB, and the
    /// PF has at least 16 MiB.
    pub fn equal(total: u64, pf_min: u64, count: usize) -> Result<Self, PartitionError> {
        check_count(count)?;
        let (units, pf) = frame(total, pf_min)?;
        let start = u64::from(pf) + u64::from(CONTEXT_UNITS);
        let each = u64::from(units).saturating_sub(start) / count as u64;
        if each == 0 {
            return Err(PartitionError::DoesNotFit {
                need: (start + count as u64).saturating_mul(UNIT),
                have: total,
            });
        }
        Self::build(total, pf_min, count, |_| each * UNIT)
    }

    /// Gives VF n `sizes[n]` bytes; 1, 2, 4, 8 or 16 sizes, each a positive multiple of 16 MiB.
    pub fn explicit(total: u64, pf_min: u64, sizes: &[u64]) -> Result<Self, PartitionError> {
        check_count(sizes.len())?;
        Self::build(total, pf_min, sizes.len(), |vf| {
            sizes.get(vf.index()).copied().unwrap_or(0)
        })
    }

    fn build(
        total: u64,
        pf_min: u64,
        count: usize,
        size_of: impl Fn(VfId) -> u64,
    ) -> Result<Self, PartitionError> {
        let (units, pf) = frame(total, pf_min)?;
        let mut vfs = [Part::default(); MAX_VFS];
        let mut next = u64::from(pf) + u64::from(CONTEXT_UNITS);
        for vf in VfId::all().take(count) {
            let got = size_of(vf);
            if got == 0 || got % UNIT != 0 {
                return Err(PartitionError::Size { vf, got });
            }
            let end = next.saturating_add(got / UNIT);
            if end <= u64::from(units) {
                // CAST: not above `units`, which is a `u32`.
                vfs[vf.index()] = Part {
                    offset: next as u32,
                    size: (end - next) as u32,
                };
            }
            next = end;
        }
        if next > u64::from(units) {
            return Err(PartitionError::DoesNotFit {
                need: next.saturating_mul(UNIT),
                have: total,
            });
        }
        // INVARIANT: the parts follow each other from 0 on, none is empty, and the last one ends
        // at `next`, which is inside of the framebuffer, whose units fit into 16 bits.
        Ok(Self {
            total: units,
            pf: Part {
                offset: 0,
                size: pf,
            },
            context: Part {
                offset: pf,
                size: CONTEXT_UNITS,
            },
            vfs,
            // CAST: at most `MAX_VFS`.
            count: count as u8,
        })
    }

    /// The framebuffer's size in bytes, rounded down to 16 MiB.
    pub const fn total(&self) -> u64 {
        self.total as u64 * UNIT
    }

    /// How many VFs the table is for.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// The PF's area.
    pub const fn pf(&self) -> Part {
        self.pf
    }

    /// The context save area of all functions.
    pub const fn context(&self) -> Part {
        self.context
    }

    /// The area of a VF, if the table is for it.
    pub fn vf(&self, vf: VfId) -> Option<Part> {
        (vf.raw() < self.count).then(|| self.vfs[vf.index()])
    }
}

/// Refuses numbers of VFs that GPUs cannot have.
fn check_count(got: usize) -> Result<(), PartitionError> {
    match got {
        1 | 2 | 4 | 8 | 16 => Ok(()),
        _ => Err(PartitionError::Count { got }),
    }
}

/// The units of the framebuffer and of the PF's area.
fn frame(total: u64, pf_min: u64) -> Result<(u32, u32), PartitionError> {
    let units = total / UNIT;
    if units > UNITS_MAX {
        return Err(PartitionError::TooLarge { got: total });
    }
    let pf = pf_min.div_ceil(UNIT).max(1);
    if pf.saturating_add(u64::from(CONTEXT_UNITS)) > units {
        return Err(PartitionError::DoesNotFit {
            need: pf
                .saturating_add(u64::from(CONTEXT_UNITS))
                .saturating_mul(UNIT),
            have: total,
        });
    }
    // CAST: neither is above `UNITS_MAX`.
    Ok((units as u32, pf as u32))
}

#[cfg(any(test, kunit))]
#[path = "partition_tests.rs"]
mod tests;
