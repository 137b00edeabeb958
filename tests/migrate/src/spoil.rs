// SPDX-License-Identifier: GPL-2.0
//! Streams that are cut and damaged at every place that means something, against the driver: they
//! are refused, the VF is clean and free afterwards, and has never run.

use std::io::Write;

use anyhow::{ensure, Context, Result};
use gim_core_sim::mutate::{mend, mutate, renumber, sections};
use gim_core_sim::rng::Rng;
use vf_client::referee::Referee;

use crate::errno::*;
use crate::streams::{compare, fill, small, take};
use crate::{Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("cut at every boundary", boundaries),
    ("every byte of header, heads and trailers flipped", flips),
    ("the stream of a loaded VF, cut and damaged", loaded),
    ("damage with all CRCs put right", mended),
];

/// Bytes of the header, of a section's head and trailer.
const HEADER: usize = 48;
const HEAD: usize = 16;
const TRAILER: usize = 4;

/// Counts how often VF1 has run.
struct Runs(Option<Referee>);

impl Runs {
    fn new() -> Result<Self> {
        Ok(Self(Referee::find()?))
    }

    fn now(&self) -> Result<u64> {
        match &self.0 {
            Some(referee) => Ok(referee.function(2)?.runs),
            None => Ok(0),
        }
    }
}

/// Writes bytes to VF1's restore and closes it; whether it was complete. Afterwards the VF must be
/// clean, and it must not have run.
fn offer(b: &Bench, bytes: &[u8], runs: &Runs) -> Result<bool> {
    let before = runs.now()?;
    let vf = b.vf(1)?;
    let mut stream = vf.restore()?;
    let result = stream.write_all(bytes);
    let complete = stream.is_complete()?;
    if let Err(e) = &result {
        let errno = e.raw_os_error();
        let right = matches!(errno, Some(EINVAL | EBADMSG | EPIPE));
        ensure!(right, "refused by {e}");
        ensure!(
            !complete || errno == Some(EPIPE),
            "complete, and refused: {e}"
        );
        ensure!(stream.write(bytes).is_err(), "taken after a refusal");
    }
    drop(stream);
    if complete {
        // Good bytes, or bytes that mean as much: it is as it was filled, until it is reset.
        vf.reset()?;
    }
    b.wait_state(1, "available")?;
    vf.pause(0, false)?;
    let size = vf.query()?.fb_size;
    for at in [0, (5 << 20) + 4096, size - 4096] {
        let mut page = [1; 4096];
        vf.fb_read(at, &mut page)?;
        let clean = page.iter().all(|&byte| byte == 0);
        ensure!(clean, "bytes of a refused stream are left at {at:#x}");
    }
    vf.resume()?;
    ensure!(runs.now()? == before, "it has run");
    Ok(complete)
}

/// A stream as it is makes VF1 what VF0 was.
fn good(b: &Bench, all: &[u8]) -> Result<()> {
    let vf = b.vf(1)?;
    let mut stream = vf.restore()?;
    stream.write_all(all)?;
    ensure!(stream.is_complete()?, "the whole stream is not complete");
    drop(stream);
    vf.reset()?;
    b.wait_state(1, "available")
}

/// The first byte of each part: sections, their payloads and trailers, the end.
fn parts(all: &[u8]) -> Vec<usize> {
    let mut places = vec![0, HEADER];
    for (at, len) in sections(all) {
        places.extend([at, at + HEAD, at + HEAD + len, at + HEAD + len + TRAILER]);
    }
    places.sort_unstable();
    places.dedup();
    places
}

fn boundaries(b: &Bench) -> Result<()> {
    let (all, runs) = (small(b)?, Runs::new()?);
    let near = parts(&all)
        .into_iter()
        .flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    let mut cuts: Vec<usize> = near.filter(|&at| at < all.len()).collect();
    cuts.dedup();
    for &cut in &cuts {
        let complete = offer(b, &all[..cut], &runs).with_context(|| format!("cut at {cut}"))?;
        ensure!(!complete, "complete with {cut} of {} bytes", all.len());
    }
    let more = [&all[..], &[0]].concat();
    offer(b, &more, &runs).context("a byte more")?;
    println!("# {} cuts of {} bytes", cuts.len(), all.len());
    good(b, &all)
}

fn flips(b: &Bench) -> Result<()> {
    let (all, runs) = (small(b)?, Runs::new()?);
    let mut places: Vec<usize> = (0..HEADER).collect();
    for (at, len) in sections(&all) {
        places.extend(at..at + HEAD);
        let end = at + HEAD + len;
        // Of what is between, a few.
        places.extend([at + HEAD, at + HEAD + len / 2, end - 1]);
        places.extend(end..end + TRAILER);
    }
    places.retain(|&at| at < all.len());
    for &at in &places {
        let mut bad = all.clone();
        bad[at] ^= 1 << (at % 8);
        let complete = offer(b, &bad, &runs).with_context(|| format!("byte {at}"))?;
        ensure!(!complete, "complete with byte {at} flipped");
    }
    println!("# {} bytes flipped", places.len());
    good(b, &all)
}

fn loaded(b: &Bench) -> Result<()> {
    let runs = Runs::new()?;
    let guest = b.guest(0)?;
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    fill(b, &vf, 4096)?;
    let all = take(&vf, None)?;
    drop((guest, vf));
    b.wait_state(0, "available")?;
    let list = sections(&all);
    let (context, len) = list
        .iter()
        .copied()
        .max_by_key(|(_, len)| *len)
        .unwrap_or((0, 0));
    ensure!(len == 256 << 10, "there is no context image");
    for &(at, len) in &list {
        for cut in [at, at + HEAD + len + TRAILER / 2] {
            let complete = offer(b, &all[..cut], &runs).with_context(|| format!("cut at {cut}"))?;
            ensure!(!complete, "complete with {cut} of {} bytes", all.len());
        }
    }
    for at in [0, 1, 100, 4096, len - 1].map(|n| context + HEAD + n) {
        let mut bad = all.clone();
        bad[at] ^= 0x10;
        let complete = offer(b, &bad, &runs).with_context(|| format!("byte {at}"))?;
        ensure!(!complete, "complete with byte {at} flipped");
    }
    good(b, &all)
}

/// What passes every check of form is either refused for what it says, or is a stream.
fn mended(b: &Bench) -> Result<()> {
    let (all, runs) = (small(b)?, Runs::new()?);
    let mut rng = Rng::new(b.seed);
    let mut complete = 0;
    for n in 0..b.spoiled * 4 {
        let mut bad = all.clone();
        for _ in 0..rng.within(1..4) {
            mutate(&mut bad, &all, &mut rng);
        }
        renumber(&mut bad);
        mend(&mut bad);
        complete += u32::from(offer(b, &bad, &runs).with_context(|| format!("mutation {n}"))?);
    }
    println!("# {complete} of {} were streams", b.spoiled * 4);
    let vf = b.vf(1)?;
    let mut stream = vf.restore()?;
    stream.write_all(&all)?;
    drop(stream);
    compare(&vf, &[(0, vec![])])?;
    vf.reset()?;
    Ok(())
}
