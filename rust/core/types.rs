// SPDX-License-Identifier: GPL-2.0

//! Validated identifiers and small containers that everything else in the core is made of.

/// Most VFs a GPU can have (S7150 and MI25: 16).
pub const MAX_VFS: usize = 16;

/// A time or a duration, in nanoseconds of the monotonic clock.
pub type Ns = u64;

/// Nanoseconds in a microsecond.
pub const US: Ns = 1_000;
/// Nanoseconds in a millisecond.
pub const MS: Ns = 1_000_000;

/// A virtual function, numbered from 0.
///
/// # Invariants
///
/// The number is below [`MAX_VFS`], so it can index any per-VF table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VfId(u8);

impl VfId {
    /// VF 0, which every GPU with VFs has.
    pub const FIRST: Self = Self(0);

    /// The VF with number `n`, or `None` if no GPU can have it.
    pub const fn new(n: u32) -> Option<Self> {
        if n < MAX_VFS as u32 {
            // CAST: below `MAX_VFS`, which fits.
            Some(Self(n as u8))
        } else {
            None
        }
    }

    /// All VFs that a GPU can have, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_VFS as u8).map(Self)
    }

    /// The VFs whose bits are set in `mask`, in order.
    pub fn in_mask(mask: u32) -> impl Iterator<Item = Self> {
        Self::all().filter(move |vf| mask & vf.bit() != 0)
    }

    /// The number, as an index into per-VF tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The number, as the hardware writes it.
    pub const fn raw(self) -> u8 {
        self.0
    }

    /// A mask with this VF's bit set.
    pub const fn bit(self) -> u32 {
        1 << self.0
    }
}

/// A function of the GPU: the physical one or a virtual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fcn {
    /// The physical function, which the host keeps.
    Pf,
    /// A virtual function.
    Vf(VfId),
}

impl Fcn {
    /// FCN_ID as GPU-IOV commands carry it: 0 for the PF, 0x80 | n for VFn.
    pub const fn fcn_id(self) -> u8 {
        match self {
            Self::Pf => 0,
            Self::Vf(vf) => 0x80 | vf.raw(),
        }
    }

    /// The VF, unless this is the PF.
    pub const fn vf(self) -> Option<VfId> {
        match self {
            Self::Pf => None,
            Self::Vf(vf) => Some(vf),
        }
    }
}
