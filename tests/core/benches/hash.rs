// SPDX-License-Identifier: GPL-2.0

//! What software dirty tracking and streaming cost per byte, as parts of what reading costs:
//! `hash_vs_memread` is the bandwidth of page hashes over that of a plain sum of the same 64 MiB.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use gim_core::{
    hash::{is_zero, PageHash, PAGE_BYTES},
    stream::crc::Crc32c,
};

const BYTES: usize = 64 << 20;
const ROUNDS: usize = 15;

fn time(work: impl FnOnce() -> u64) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn pages(memory: &[u8]) -> impl Iterator<Item = &[u8; PAGE_BYTES]> {
    memory
        .chunks_exact(PAGE_BYTES)
        .filter_map(|page| page.try_into().ok())
}

/// What plain reading costs.
fn sum(memory: &[u8]) -> u64 {
    let words = memory.chunks_exact(8).filter_map(|w| w.try_into().ok());
    words.fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(word)))
}

fn main() {
    // cargo test runs benchmarks too, to see that they work.
    let rounds = if std::env::args().any(|a| a == "--bench") {
        ROUNDS
    } else {
        1
    };
    let memory: Vec<u8> = (0..BYTES).map(|n| ((n * 7) >> 3) as u8).collect();
    let hash = PageHash::new(1);
    let mut hashes = vec![0; BYTES / PAGE_BYTES];
    // Written, so that it is memory of its own and not one page that is mapped everywhere.
    let zeros = vec![black_box(1u8); BYTES]
        .iter()
        .map(|one| one - 1)
        .collect::<Vec<u8>>();
    // Taken in turns, so that what else the machine does hits all alike.
    let mut best = [Duration::MAX; 4];
    for _ in 0..rounds {
        let took = [
            time(|| sum(&memory)),
            time(|| {
                hash.of_each(&memory, &mut hashes);
                hashes.iter().fold(0, |sum, hash| sum ^ hash)
            }),
            time(|| pages(&zeros).map(|page| u64::from(is_zero(page))).sum()),
            time(|| Crc32c::of(&memory).into()),
        ];
        for (best, took) in best.iter_mut().zip(took) {
            *best = took.min(*best);
        }
    }
    let [read, hashed, zero, crc] = best.map(|took| BYTES as f64 / took.as_secs_f64());
    eprintln!("read {:.2} GB/s", read / 1e9);
    println!("BENCH hash_vs_memread {:.3} ratio", hashed / read);
    println!("BENCH zero_vs_memread {:.3} ratio", zero / read);
    println!("BENCH crc_vs_memread {:.3} ratio", crc / read);
}
