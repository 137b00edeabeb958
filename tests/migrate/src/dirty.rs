// SPDX-License-Identifier: GPL-2.0
//! Dirty tracking by software, against the truth: writes of the host into a paused VF.

use std::collections::BTreeSet;

use anyhow::{ensure, Result};
use gim_uapi::{Source, Vf};

use crate::errno::*;
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("bitmaps are asked for rightly", arguments),
    ("hashes find every changed page", |b| {
        truth(b, Source::Software)
    }),
    ("comparison finds every changed page", |b| {
        truth(b, Source::Exact)
    }),
    ("one tracker at a time", once),
];

const PAGE: u64 = 4096;

fn arguments(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    let size = vf.query()?.fb_size;
    refused(vf.dirty_get((0, size), PAGE, false), EINVAL)?;
    refused(vf.dirty_stop(), EINVAL)?;
    vf.dirty_start(Source::Software)?;
    for (range, granule) in [
        ((0, 0), PAGE),
        ((0, size + PAGE), PAGE),
        ((1, PAGE), PAGE),
        ((0, PAGE + 1), PAGE),
        ((0, size), 2048),
        ((0, size), 3 * PAGE),
        ((0, 4 << 20), 4 << 20),
        ((PAGE, 8192), 8192),
        ((u64::MAX - PAGE + 1, PAGE), PAGE),
    ] {
        refused(vf.dirty_get(range, granule, false), EINVAL)?;
    }
    for granule in [PAGE, 64 << 10, 2 << 20] {
        ensure!(vf.dirty_get((0, size), granule, false)?.1 == 0, "{granule}");
    }
    vf.dirty_stop()?;
    refused(vf.dirty_stop(), EINVAL)
}

/// The pages whose bits are set.
fn pages(map: &[u64]) -> BTreeSet<u64> {
    let bits = (0u64..).zip(map).flat_map(|(i, word)| {
        (0..64)
            .filter(move |bit| (word >> bit) & 1 != 0)
            .map(move |bit| i * 64 + bit)
    });
    bits.collect()
}

fn scribble(vf: &Vf, rng: &mut fastrand::Rng, size: u64) -> Result<BTreeSet<u64>> {
    let mut wrote = BTreeSet::new();
    for _ in 0..rng.u32(1..20) {
        let at = rng.u64(0..size / 4) * 4;
        vf.fb_write(at, &rng.u32(1..).to_le_bytes())?;
        wrote.insert(at / PAGE);
    }
    Ok(wrote)
}

fn truth(b: &Bench, source: Source) -> Result<()> {
    let vf = b.vf(0)?;
    let size = vf.query()?.fb_size.min(32 << 20);
    vf.pause(0, false)?;
    let mut rng = fastrand::Rng::with_seed(b.seed);
    scribble(&vf, &mut rng, size)?;
    vf.dirty_start(source)?;
    for round in 0..10 {
        let wrote = scribble(&vf, &mut rng, size)?;
        let (peek, count) = vf.dirty_get((0, size), PAGE, true)?;
        ensure!(
            pages(&peek) == wrote && count == wrote.len() as u64,
            "round {round}"
        );
        let coarse: BTreeSet<u64> = wrote.iter().map(|page| page / 16).collect();
        let (map, _) = vf.dirty_get((0, size), 16 * PAGE, false)?;
        ensure!(pages(&map) == coarse, "round {round}: 64 KiB");
        ensure!(
            vf.dirty_get((0, size), PAGE, false)?.1 == 0,
            "not forgotten"
        );
    }
    vf.dirty_stop()?;
    vf.reset()?;
    Ok(())
}

fn once(b: &Bench) -> Result<()> {
    let (vf, other) = (b.vf(0)?, b.vf(0)?);
    vf.dirty_start(Source::Software)?;
    refused(other.dirty_start(Source::Software), EBUSY)?;
    refused(other.save(Some(Source::Software)), EBUSY)?;
    drop(vf);
    other.dirty_start(Source::Exact)?;
    if other.query()?.dirty_sources & 2 == 0 {
        let third = b.vf(1)?;
        refused(third.dirty_start(Source::Hardware), EOPNOTSUPP)?;
    }
    Ok(())
}
