// SPDX-License-Identifier: GPL-2.0

//! CRC32C (Castagnoli polynomial, reflected), eight bytes at a time by tables.

/// The polynomial, lowest power in the highest bit.
const POLY: u32 = 0x82F6_3B78;

/// `TABLES[k][b]`: what byte `b` does to the remainder when `k` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut all = [[0u32; 256]; 8];
    let mut b = 0;
    while b < 256 {
        // CAST: below 256.
        let mut rest = b as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = if rest & 1 != 0 { POLY } else { 0 };
            rest = (rest >> 1) ^ carry;
            bit += 1;
        }
        all[0][b] = rest;
        b += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut b = 0;
        while b < 256 {
            let before = all[k - 1][b];
            all[k][b] = (before >> 8) ^ all[0][(before & 0xFF) as usize];
            b += 1;
        }
        k += 1;
    }
    all
}

/// What appends bytes to a remainder: [`by_tables`], or something faster that whoever uses a stream
/// has at hand.
pub type Update = fn(u32, &[u8]) -> u32;

/// A CRC32C that is being computed over pieces.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c {
    rest: u32,
    update: Update,
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32c {
    /// Of nothing.
    pub const fn new() -> Self {
        Self::by(by_tables)
    }

    /// Of nothing; what follows is computed by `update`.
    pub const fn by(update: Update) -> Self {
        let rest = u32::MAX;
        Self { rest, update }
    }

    /// Forgets what was appended.
    pub const fn restart(&mut self) {
        self.rest = u32::MAX;
    }

    /// Of one piece.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut crc = Self::new();
        crc.update(bytes);
        crc.value()
    }

    /// Appends a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.rest = (self.update)(self.rest, bytes);
    }

    /// The CRC of the pieces so far; more may follow.
    pub const fn value(self) -> u32 {
        !self.rest
    }
}

/// Appends bytes to a remainder, eight at a time.
pub fn by_tables(mut rest: u32, bytes: &[u8]) -> u32 {
    let at = |k: usize, x: u64, shift: u32| {
        // CAST: One byte, which indexes a table of 256.
        TABLES[k][((x >> shift) & 0xFF) as usize]
    };
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        let x = u64::from_le_bytes(eight) ^ u64::from(rest);
        rest = at(7, x, 0)
            ^ at(6, x, 8)
            ^ at(5, x, 16)
            ^ at(4, x, 24)
            ^ at(3, x, 32)
            ^ at(2, x, 40)
            ^ at(1, x, 48)
            ^ at(0, x, 56);
    }
    for &byte in words.remainder() {
        rest = (rest >> 8) ^ at(0, u64::from(rest ^ u32::from(byte)), 0);
    }
    rest
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_stream_crc:
        known_values,
        tables_and_pieces_agree_with_the_definition,
    }

    /// Bit by bit, as the definition has it.
    fn plainly(bytes: &[u8]) -> u32 {
        let mut rest = u32::MAX;
        for byte in bytes {
            rest ^= u32::from(*byte);
            for _ in 0..8 {
                rest = (rest >> 1) ^ if rest & 1 != 0 { POLY } else { 0 };
            }
        }
        !rest
    }

    fn known_values() {
        assert_eq!(Crc32c::of(b""), 0);
        assert_eq!(Crc32c::of(b"123456789"), 0xE306_9283);
        // RFC 3720, B.4.
        assert_eq!(Crc32c::of(&[0; 32]), 0x8A91_36AA);
        assert_eq!(Crc32c::of(&[0xFF; 32]), 0x62A8_AB43);
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(Crc32c::of(&up), 0x46DD_794E);
    }

    fn tables_and_pieces_agree_with_the_definition() {
        let bytes: Vec<u8> = (0..300u32).map(|n| (n * n / 7) as u8).collect();
        for len in 0..bytes.len() {
            let want = plainly(&bytes[..len]);
            assert_eq!(Crc32c::of(&bytes[..len]), want, "{len}");
            let mut crc = Crc32c::new();
            for piece in bytes[..len].chunks(1 + len % 13) {
                crc.update(piece);
            }
            assert_eq!(crc.value(), want, "{len} in pieces");
        }
    }
}
