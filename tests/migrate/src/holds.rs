// SPDX-License-Identifier: GPL-2.0
//! Brownouts: a VF that is held off the engine for a while before it is paused, and what a CPU
//! writes to its framebuffer at every moment of that.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use gim_uapi::{sys, Source, Vf};

use crate::errno::*;
use crate::streams::drain;
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("who may be held", who),
    ("a hold ends by itself", ends),
    ("a resume in the middle spoils a stream", spoils),
    ("writes while it is held, promised and reported", |b| {
        each_source(b, Case::Reported)
    }),
    ("writes while it is held, nothing promised", |b| {
        each_source(b, Case::Unpromised)
    }),
    ("writes after a hold that ended by itself", |b| {
        each_source(b, Case::Over)
    }),
    ("writes between two holds", |b| {
        each_source(b, Case::Between)
    }),
    ("more writes are reported than are kept apart", |b| {
        each_source(b, Case::Many)
    }),
];

/// Bytes of framebuffer that the tests write to.
const SPAN: usize = 16 << 20;

/// Rounds that a stream here has at most: one for each time that it was drained or cut, and a few.
const ROUNDS_MOST: u32 = 12;

fn phase(vf: &Vf) -> Result<u32> {
    Ok(vf.query()?.phase)
}

fn who(b: &Bench) -> Result<()> {
    let (vf, other) = (b.vf(0)?, b.vf(0)?);
    refused(vf.hold(0, false), EBUSY)?;
    refused(vf.hold(1501, false), EINVAL)?;
    refused(vf.touched((0, 4096)), EBUSY)?;
    let stream = vf.save(Some(Source::Software))?;
    ensure!(phase(&vf)? == sys::GIM_PHASE_PRECOPY);
    refused(vf.touched((0, 4096)), EBUSY)?;
    vf.hold(1500, true)?;
    ensure!(phase(&other)? == sys::GIM_PHASE_HELD);
    refused(other.hold(0, true), EBUSY)?;
    let size = vf.query()?.fb_size;
    for (wrong, why) in [
        ((1, 4096), "unaligned"),
        ((0, 1), "odd length"),
        ((0, 0), "nothing"),
        ((size, 4096), "outside"),
    ] {
        refused(vf.touched(wrong), EINVAL).context(why)?;
    }
    vf.touched((size - 4096, 4096))?;
    vf.pause(0, false)?;
    ensure!(phase(&vf)? == sys::GIM_PHASE_COPYING);
    refused(vf.touched((0, 4096)), EBUSY)?;
    refused(vf.hold(0, false), EBUSY)?;
    drop(stream);
    ensure!(phase(&vf)? == sys::GIM_PHASE_STOPPED);
    refused(vf.hold(0, false), EBUSY)?;
    vf.resume()?;
    ensure!(phase(&vf)? == sys::GIM_PHASE_IDLE);
    Ok(())
}

fn ends(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    let stream = vf.save(Some(Source::Software))?;
    vf.hold(200, true)?;
    ensure!(b.state(0)? == "suspended");
    sleep(Duration::from_millis(400));
    ensure!(phase(&vf)? == sys::GIM_PHASE_PRECOPY);
    ensure!(b.state(0)? == "available");
    vf.hold(1500, false)?;
    vf.resume()?;
    ensure!(phase(&vf)? == sys::GIM_PHASE_PRECOPY);
    // Whoever closes the stream does not leave it held.
    vf.hold(1500, false)?;
    drop(stream);
    ensure!(b.state(0)? == "available");
    ensure!(phase(&vf)? == sys::GIM_PHASE_IDLE);
    Ok(())
}

fn spoils(b: &Bench) -> Result<()> {
    let (vf, other) = (b.vf(0)?, b.vf(0)?);
    vf.pause(0, false)?;
    let mut stream = vf.save(None)?;
    let mut all = vec![0; 100];
    stream.read_exact(&mut all)?;
    other.resume()?;
    ensure!(phase(&vf)? == sys::GIM_PHASE_BROKEN);
    // It is paused again: that does not mend it.
    refused(other.pause(0, false), EBUSY)?;
    refused(stream.read_to_end(&mut all), EIO)?;
    drop(stream);
    ensure!(phase(&vf)? == sys::GIM_PHASE_IDLE);
    Ok(())
}

/// When a CPU writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Reported,
    Unpromised,
    Over,
    Between,
    Many,
}

fn each_source(b: &Bench, case: Case) -> Result<()> {
    let sources = b.vf(0)?.query()?.dirty_sources;
    for source in [Source::Software, Source::Exact, Source::Hardware] {
        if (sources >> source as u32) & 1 != 0 {
            whole(b, case, source).with_context(|| format!("{source:?}"))?;
        }
    }
    Ok(())
}

fn whole(b: &Bench, case: Case, source: Source) -> Result<()> {
    let (vf, target) = (b.vf(0)?, b.vf(1)?);
    let fb = b.framebuffer(0, SPAN)?;
    let mut rng = fastrand::Rng::with_seed(b.seed + case as u64);
    let mut write = |pages: usize| -> Result<Vec<u64>> {
        (0..pages)
            .map(|_| {
                let page = rng.usize(..SPAN / 4096);
                fb.write32(page * 4096 + 4 * rng.usize(..1024), rng.u32(..))?;
                Ok(page as u64 * 4096)
            })
            .collect()
    };
    write(2000)?;
    let mut all = Vec::new();
    let mut stream = vf.save(Some(source))?;
    drain(&mut stream, &mut all)?;
    write(500)?;
    drain(&mut stream, &mut all)?;
    let promised = case != Case::Unpromised;
    vf.hold(1500, promised)?;
    drain(&mut stream, &mut all)?;
    match case {
        Case::Reported => {
            // Before it is written; and once more after it was sent.
            for _ in 0..20 {
                let at = write(1)?[0];
                vf.touched((at, 4096))?;
            }
            drain(&mut stream, &mut all)?;
        }
        Case::Many => {
            for page in 0..80 {
                vf.touched((page * 4096, 4096))?;
            }
            write(300)?;
        }
        Case::Unpromised => drop(write(50)?),
        Case::Over => {
            sleep(Duration::from_millis(1600));
            ensure!(phase(&vf)? == sys::GIM_PHASE_PRECOPY);
            write(50)?;
        }
        Case::Between => {
            vf.resume()?;
            write(50)?;
            vf.hold(1500, false)?;
            write(50)?;
        }
    }
    vf.pause(0, false)?;
    stream.read_to_end(&mut all).context("the last round")?;
    ensure!(phase(&vf)? == sys::GIM_PHASE_SAVED);
    // A look that takes long is no reason for more of them.
    let rounds = stream.query()?.round;
    ensure!(rounds <= ROUNDS_MOST, "{rounds} rounds");
    let mut filled = target.restore()?;
    filled.write_all(&all)?;
    ensure!(filled.is_complete()?);
    ensure!(phase(&target)? == sys::GIM_PHASE_RESTORED);
    let (mut here, mut there) = (vec![0; SPAN], vec![0; SPAN]);
    vf.fb_read(0, &mut here)?;
    target.fb_read(0, &mut there)?;
    let wrong = (0..SPAN)
        .step_by(4096)
        .filter(|&at| here[at..at + 4096] != there[at..at + 4096])
        .count();
    ensure!(wrong == 0, "{wrong} pages differ");
    drop((stream, filled));
    vf.reset()?;
    target.reset()?;
    b.wait_state(0, "available")?;
    b.wait_state(1, "available")
}
