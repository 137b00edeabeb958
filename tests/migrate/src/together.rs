// SPDX-License-Identifier: GPL-2.0
//! Several VFs move at once.

use std::io::{Read, Write};
use std::sync::mpsc::sync_channel;
use std::sync::Barrier;
use std::thread::{scope, ScopedJoinHandle};

use anyhow::{anyhow, ensure, Result};
use gim_uapi::{Source, Vf};

use crate::streams::{compare, fill, take};
use crate::{Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("two saves and two restores at once", two_pairs),
    ("two saves beside a restore of another stream", beside),
    ("the source of one is nobody else's", own_source),
];

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread has panicked"))?
}

/// A paused VF, and what was written where.
type Filled = (Vf, Vec<(u64, Vec<u8>)>);

/// Fills a paused VF with its own bytes.
fn own_bytes(b: &Bench, n: u32) -> Result<Filled> {
    let own = Bench {
        seed: b.seed * 100 + u64::from(n),
        ..b.clone()
    };
    let vf = b.vf(n)?;
    vf.pause(0, true)?;
    let data = fill(&own, &vf, 1 << 20)?;
    Ok((vf, data))
}

fn free(b: &Bench, vfs: std::ops::Range<u32>) -> Result<()> {
    for n in vfs.clone() {
        b.vf(n)?.reset()?;
    }
    vfs.into_iter()
        .try_for_each(|n| b.wait_state(n, "available"))
}

/// VF0 to VF2 and VF1 to VF3, piece by piece, all four at work.
fn two_pairs(b: &Bench) -> Result<()> {
    let pairs = [(0, 2, None), (1, 3, Some(Source::Exact))];
    let made: Vec<_> = pairs
        .iter()
        .map(|pair| own_bytes(b, pair.0))
        .collect::<Result<_>>()?;
    let begin = Barrier::new(4);
    scope(|scope| {
        let begin = &begin;
        let mut threads = Vec::new();
        for ((_, to, source), (vf, _)) in pairs.iter().zip(&made) {
            let (sender, receiver) = sync_channel::<Vec<u8>>(1);
            threads.push(scope.spawn(move || {
                begin.wait();
                let mut stream = vf.save(*source)?;
                loop {
                    let mut piece = vec![0; 50_001];
                    let n = stream.read(&mut piece)?;
                    piece.truncate(n);
                    if n == 0 || sender.send(piece).is_err() {
                        return Ok(());
                    }
                }
            }));
            threads.push(scope.spawn(move || {
                let target = b.vf(*to)?;
                begin.wait();
                let mut stream = target.restore()?;
                for piece in receiver {
                    stream.write_all(&piece)?;
                }
                ensure!(stream.is_complete()?, "VF{to} is not complete");
                Ok(())
            }));
        }
        threads.into_iter().try_for_each(join)
    })?;
    for ((_, to, _), (_, data)) in pairs.iter().zip(&made) {
        compare(&b.vf(*to)?, data)?;
    }
    drop(made);
    free(b, 0..4)
}

fn beside(b: &Bench) -> Result<()> {
    let (zero, data_zero) = own_bytes(b, 0)?;
    let (one, data_one) = own_bytes(b, 1)?;
    let stream = take(&zero, None)?;
    let begin = Barrier::new(3);
    let (again, other) = scope(|scope| {
        let begin = &begin;
        let save = |vf, source| {
            scope.spawn(move || {
                begin.wait();
                take(vf, source)
            })
        };
        let (first, second) = (save(&zero, None), save(&one, Some(Source::Hardware)));
        let restore = scope.spawn(|| {
            let target = b.vf(2)?;
            begin.wait();
            let mut to = target.restore()?;
            stream
                .chunks(10_007)
                .try_for_each(|piece| to.write_all(piece))?;
            ensure!(to.is_complete()?, "not complete");
            Ok(())
        });
        join(restore)?;
        Ok::<_, anyhow::Error>((join(first)?, join(second)?))
    })?;
    compare(&b.vf(2)?, &data_zero)?;
    ensure!(again.len() == stream.len(), "the same VF, another stream");
    // What came of the others is as good as what is taken alone.
    for (all, data) in [(again, data_zero), (other, data_one)] {
        let target = b.vf(3)?;
        target.restore()?.write_all(&all)?;
        compare(&target, &data)?;
        free(b, 3..4)?;
    }
    free(b, 0..4)
}

/// Trackers of several VFs tell each of its own.
fn own_source(b: &Bench) -> Result<()> {
    let vfs: Vec<_> = (0..4).map(|n| b.vf(n)).collect::<Result<_>>()?;
    let sources = [
        Source::Hardware,
        Source::Software,
        Source::Exact,
        Source::Software,
    ];
    let page = 4096;
    for (vf, source) in vfs.iter().zip(sources) {
        vf.pause(0, false)?;
        vf.dirty_start(source)?;
    }
    for (n, vf) in (1..).zip(&vfs) {
        vf.fb_write(n * 16 * page, &[9; 8])?;
    }
    for ((n, vf), source) in (1..).zip(&vfs).zip(sources) {
        let (map, count) = vf.dirty_get((0, 128 * page), page, false)?;
        // What the host writes is no write of the VF's for the plane.
        let want = u64::from(source != Source::Hardware);
        ensure!(count == want, "{source:?}: {count} pages");
        let place = usize::try_from(n * 16)?;
        let bit = (map[place / 64] >> (place % 64)) & 1;
        ensure!(bit == want, "{source:?}: another page");
        vf.dirty_stop()?;
    }
    drop(vfs);
    free(b, 0..4)
}
