// SPDX-License-Identifier: GPL-2.0

//! Streams that are damaged on purpose: at random, or with all CRCs and numbers put right
//! afterwards, so that what lies behind them is reached.

use gim_core::stream::{crc::Crc32c, HEADER_LEN, HEAD_LEN, TRAILER_LEN};

use crate::rng::Rng;

/// The sections of a stream: where each begins, and how long its payload is.
pub fn sections(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut all) = (HEADER_LEN, Vec::new());
    while let Some(len) = bytes.get(at + 4..at + 8) {
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if at + HEAD_LEN + len + TRAILER_LEN > bytes.len() {
            break;
        }
        all.push((at, len));
        at += HEAD_LEN + len + TRAILER_LEN;
    }
    all
}

/// Makes all CRCs right.
pub fn mend(bytes: &mut [u8]) {
    if bytes.len() >= HEADER_LEN {
        let crc = Crc32c::of(&bytes[..HEADER_LEN - 4]);
        bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    }
    for (at, len) in sections(bytes) {
        let mut crc = Crc32c::new();
        crc.update(&bytes[at..at + 12]);
        bytes[at + 12..at + 16].copy_from_slice(&crc.value().to_le_bytes());
        let end = at + HEAD_LEN + len;
        crc.update(&bytes[at + HEAD_LEN..end]);
        bytes[end..end + 4].copy_from_slice(&crc.value().to_le_bytes());
    }
}

/// Makes the numbers of all sections right.
pub fn renumber(bytes: &mut [u8]) {
    for (n, (at, _)) in sections(bytes).into_iter().enumerate() {
        bytes[at + 8..at + 12].copy_from_slice(&(n as u32).to_le_bytes());
    }
}

/// A place that matters more than others: in a head, or at the beginning of a payload.
fn place(bytes: &[u8], rng: &mut Rng) -> usize {
    let all = sections(bytes);
    match rng.within(0..4) {
        0 => rng.within(0..bytes.len() as u64) as usize,
        1 => rng.within(0..HEADER_LEN as u64) as usize,
        _ if all.is_empty() => 0,
        _ => rng.pick(&all).0 + rng.within(0..40) as usize,
    }
}

/// Changes a stream somewhere; parts of `other` may come in. It never becomes empty.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = place(bytes, rng).min(bytes.len().saturating_sub(1));
    let all = sections(bytes);
    match rng.within(0..8) {
        0 => bytes[at] ^= 1 << rng.within(0..8),
        1 => bytes[at] = rng.bits() as u8,
        2 => {
            let word = rng.pick(&[0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x1000, 0x8000_0000u32]);
            for (to, from) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                *to = from;
            }
        }
        3 => bytes.truncate(at.max(1)),
        4 => {
            let end = (at + rng.within(0..64) as usize).min(bytes.len());
            bytes.drain(at..end);
        }
        // Sections swapped, doubled or taken from another stream.
        5 if !all.is_empty() => {
            let (from, len) = rng.pick(&all);
            let whole = bytes[from..from + HEAD_LEN + len + TRAILER_LEN].to_vec();
            let (to, _) = rng.pick(&all);
            bytes.splice(to..to, whole);
        }
        6 => {
            let all = sections(other);
            if let (false, Some(&(to, _))) = (all.is_empty(), sections(bytes).first()) {
                let (from, len) = rng.pick(&all);
                let whole = other[from..from + HEAD_LEN + len + TRAILER_LEN].to_vec();
                bytes.splice(to..to, whole);
            }
        }
        _ => bytes.extend_from_slice(&other[..(rng.within(0..64) as usize).min(other.len())]),
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}
