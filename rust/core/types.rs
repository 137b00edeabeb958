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
    ///
    /// It costs nothing for those that are not: the engine looks at a dozen masks in every step, and
    /// most are empty.
    pub fn in_mask(mask: u32) -> impl Iterator<Item = Self> {
        let mut left = mask & (u32::MAX >> (u32::BITS - MAX_VFS as u32));
        core::iter::from_fn(move || {
            let vf = Self::new(left.trailing_zeros())?;
            left &= !vf.bit();
            Some(vf)
        })
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

/// `a * b / c`, or the largest number if that is larger; a `c` of 0 counts as 1.
///
/// The kernel has no division of 128 bits.
pub const fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    // CAST: to a wider type, and its halves.
    let product = (a as u128).wrapping_mul(b as u128);
    let (mut rest, low) = ((product >> 64) as u64, product as u64);
    let c = if c == 0 { 1 } else { c };
    if rest >= c {
        return u64::MAX;
    }
    let (mut quotient, mut bit) = (0u64, 64);
    while bit > 0 {
        bit -= 1;
        let carry = rest >> 63;
        rest = (rest << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry != 0 || rest >= c {
            rest = rest.wrapping_sub(c);
            quotient |= 1;
        }
    }
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_divided_as_they_are() {
        let mut state = 1u64;
        let mut number = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 1) >> (state % 63)
        };
        for _ in 0..100_000 {
            let (a, b, c) = (number(), number(), number());
            let right = u128::from(a) * u128::from(b) / u128::from(c.max(1));
            let right = u64::try_from(right).unwrap_or(u64::MAX);
            assert_eq!(mul_div(a, b, c), right, "{a} * {b} / {c}");
        }
        let most = u64::MAX;
        assert_eq!(mul_div(most, most, most), most);
        assert_eq!(mul_div(most, 2, most), 2);
    }
}
