// SPDX-License-Identifier: GPL-2.0
//! Streams: whole, cut, spoiled, abandoned, of VFs that are reset meanwhile.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use anyhow::{ensure, Context, Result};
use gim_uapi::{sys, Source, Stream, Vf, ENOMSG};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use crate::errno::*;
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("who may save and restore", who),
    ("an empty VF is a short stream", empty),
    ("VF0 becomes VF1, byte for byte", |b| whole(b, None)),
    ("the same in rounds, by hashes", |b| {
        whole(b, Some(Source::Software))
    }),
    ("the same in rounds, by comparison", |b| {
        whole(b, Some(Source::Exact))
    }),
    ("changes between rounds arrive", changes),
    ("a stream that is closed early changes nothing", closed),
    ("a cut stream leaves the target clean", cut),
    ("a spoiled stream is refused", spoiled),
    ("a stream for another VF changes nothing", mismatch),
    ("a reset ends a save", reset_save),
    ("a reset ends a restore", reset_restore),
    ("a restored VF moves on before it has run", chained),
    ("streams can be waited for", polled),
];

/// Fills some of the framebuffer; returns what was written where.
pub(crate) fn fill(b: &Bench, vf: &Vf, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>> {
    let size = vf.query()?.fb_size;
    let mut rng = fastrand::Rng::with_seed(b.seed);
    let mut all = Vec::new();
    for at in [0, (5 << 20) + 4096, size - bytes as u64] {
        let data: Vec<u8> = (0..bytes).map(|_| rng.u8(..)).collect();
        vf.fb_write(at, &data)?;
        all.push((at, data));
    }
    Ok(all)
}

pub(crate) fn compare(vf: &Vf, all: &[(u64, Vec<u8>)]) -> Result<()> {
    for (at, data) in all {
        let mut back = vec![0; data.len()];
        vf.fb_read(*at, &mut back)?;
        ensure!(&back == data, "other bytes at {at:#x}");
    }
    Ok(())
}

pub(crate) fn take(vf: &Vf, source: Option<Source>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    vf.save(source)?.read_to_end(&mut all)?;
    Ok(all)
}

/// A small stream of VF0, which is left as it was.
pub(crate) fn small(b: &Bench) -> Result<Vec<u8>> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    fill(b, &vf, 4096)?;
    let all = take(&vf, None)?;
    vf.reset()?;
    b.wait_state(0, "available")?;
    Ok(all)
}

fn who(b: &Bench) -> Result<()> {
    let (vf, other) = (b.vf(0)?, b.vf(0)?);
    refused(vf.save(None), EBUSY)?;
    vf.pause(0, false)?;
    refused(vf.restore(), EBUSY)?;
    let stream = vf.save(None)?;
    refused(other.save(None), EBUSY)?;
    drop(stream);
    other.save(None)?;
    vf.resume()?;
    let stream = vf.restore()?;
    refused(other.restore(), EBUSY)?;
    refused(other.resume(), EBUSY)?;
    drop(stream);
    b.wait_state(0, "available")
}

fn empty(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let all = take(&vf, None)?;
    ensure!(all.len() < 4096, "{} bytes for nothing", all.len());
    Ok(())
}

fn whole(b: &Bench, source: Option<Source>) -> Result<()> {
    let (from, to) = (b.vf(0)?, b.vf(1)?);
    from.pause(0, false)?;
    let data = fill(b, &from, 2 << 20)?;
    let all = take(&from, source)?;
    let mut stream = to.restore()?;
    // In odd pieces: the decoder must not care.
    for piece in all.chunks(77_777) {
        stream.write_all(piece)?;
    }
    ensure!(
        stream.is_complete()?,
        "not complete after {} bytes",
        all.len()
    );
    refused(stream.write(&[0]), EPIPE)?;
    drop(stream);
    ensure!(b.state(1)? == "suspended");
    compare(&to, &data)?;
    to.resume()?;
    ensure!(b.state(1)? == "available");
    from.reset()?;
    to.reset()?;
    Ok(())
}

/// Reads until nothing is dirty.
pub(crate) fn drain(stream: &mut Stream, all: &mut Vec<u8>) -> Result<()> {
    let mut buf = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => anyhow::bail!("the end came while the VF runs"),
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(e) if e.raw_os_error() == Some(ENOMSG) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

fn changes(b: &Bench) -> Result<()> {
    let (from, to) = (b.vf(0)?, b.vf(1)?);
    let mut all = Vec::new();
    let mut stream = from.save(Some(Source::Software))?;
    drain(&mut stream, &mut all)?;
    let info = stream.query()?;
    ensure!(
        info.flags == sys::GIM_STREAM_PRECOPY && info.initial_bytes == 0,
        "{info:?}"
    );
    // A CPU's writes stand for the VF's.
    let mut rng = fastrand::Rng::with_seed(b.seed);
    let data: Vec<_> = [0, (5 << 20) + 4096]
        .map(|at| (at, (0..64 << 10).map(|_| rng.u8(..)).collect::<Vec<_>>()))
        .into();
    let fb = b.framebuffer(0, 8 << 20)?;
    for (at, bytes) in &data {
        fb.write(usize::try_from(*at)?, bytes)?;
    }
    let other = b.vf(0)?;
    other.pause(0, false)?;
    compare(&other, &data).context("what the CPU has written")?;
    // Nor does the host write to what is being copied.
    refused(other.fb_write(0, &[0; 4096]), EBUSY)?;
    stream.read_to_end(&mut all).context("the last round")?;
    let info = stream.query()?;
    ensure!(info.flags == sys::GIM_STREAM_COMPLETE, "{info:?}");
    ensure!(info.passed_bytes == all.len() as u64, "{info:?}");
    let mut target = to.restore()?;
    target.write_all(&all)?;
    compare(&to, &data)?;
    drop((stream, target));
    from.reset()?;
    to.reset()?;
    Ok(())
}

fn closed(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let data = fill(b, &vf, 4096)?;
    vf.save(None)?.read_exact(&mut [0; 1000])?;
    compare(&vf, &data)?;
    vf.resume()?;
    ensure!(b.state(0)? == "available");
    vf.reset()?;
    Ok(())
}

/// VF1 must be as good as new.
pub(crate) fn is_clean(b: &Bench) -> Result<()> {
    b.wait_state(1, "available")?;
    let vf = b.vf(1)?;
    vf.pause(0, false)?;
    let mut back = vec![1; 8 << 20];
    vf.fb_read(0, &mut back)?;
    ensure!(
        back.iter().all(|&byte| byte == 0),
        "bytes of a refused stream are left"
    );
    vf.resume()?;
    Ok(())
}

fn cut(b: &Bench) -> Result<()> {
    let all = small(b)?;
    let mut rng = fastrand::Rng::with_seed(b.seed);
    for i in 0..b.spoiled {
        let n = match i {
            0 => 0,
            1 => all.len() - 1,
            _ => rng.usize(..all.len()),
        };
        let mut stream = b.vf(1)?.restore()?;
        stream.write_all(&all[..n])?;
        ensure!(
            !stream.is_complete()?,
            "complete after {n} of {} bytes",
            all.len()
        );
        drop(stream);
        is_clean(b).with_context(|| format!("cut at {n}"))?;
    }
    Ok(())
}

fn spoiled(b: &Bench) -> Result<()> {
    let all = small(b)?;
    let mut rng = fastrand::Rng::with_seed(b.seed);
    for _ in 0..b.spoiled {
        let (at, bit) = (rng.usize(..all.len()), rng.u8(..8));
        let mut bad = all.clone();
        bad[at] ^= 1 << bit;
        let mut stream = b.vf(1)?.restore()?;
        let result = stream.write_all(&bad);
        let errno = result.err().and_then(|e| e.raw_os_error());
        ensure!(
            matches!(errno, Some(EINVAL | EBADMSG)),
            "bit {bit} of byte {at}: errno {errno:?}"
        );
        ensure!(stream.write(&all).is_err(), "taken after a refusal");
        drop(stream);
        is_clean(b).with_context(|| format!("bit {bit} of byte {at}"))?;
    }
    Ok(())
}

fn mismatch(b: &Bench) -> Result<()> {
    let mut all = small(b)?;
    // The chip of the header, and no CRC that would fit: refused before anything is believed.
    all[12] ^= 1;
    let mut stream = b.vf(1)?.restore()?;
    ensure!(stream.write_all(&all).is_err());
    drop(stream);
    is_clean(b)
}

fn reset_save(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    fill(b, &vf, 2 << 20)?;
    let mut stream = vf.save(None)?;
    stream.read_exact(&mut [0; 1000])?;
    b.flr(0)?;
    let mut rest = Vec::new();
    refused(stream.read_to_end(&mut rest), EIO)?;
    drop((stream, vf));
    b.wait_state(0, "available")
}

fn reset_restore(b: &Bench) -> Result<()> {
    let all = small(b)?;
    let mut stream = b.vf(1)?.restore()?;
    stream.write_all(&all[..all.len() / 2])?;
    b.flr(1)?;
    b.wait_state(1, "available")?;
    refused(stream.write_all(&all[all.len() / 2..]), EIO)?;
    drop(stream);
    is_clean(b)
}

fn chained(b: &Bench) -> Result<()> {
    let (from, over, to) = (b.vf(0)?, b.vf(1)?, b.vf(2)?);
    from.pause(0, false)?;
    let data = fill(b, &from, 2 << 20)?;
    let first = take(&from, None)?;
    let mut filled = over.restore()?;
    filled.write_all(&first)?;
    let mut stream = over.save(None)?;
    ensure!(over.query()?.phase == sys::GIM_PHASE_COPYING);
    // Its file is of no account any more.
    drop(filled);
    let mut second = Vec::new();
    stream.read_to_end(&mut second)?;
    ensure!(over.query()?.phase == sys::GIM_PHASE_SAVED);
    drop(stream);
    ensure!(over.query()?.phase == sys::GIM_PHASE_STOPPED);
    to.restore()?.write_all(&second)?;
    compare(&to, &data)?;
    // And it can go on where it is, too; a reset leaves nothing of it.
    over.resume()?;
    ensure!(b.state(1)? == "available");
    to.save(None)?;
    for (n, vf) in [from, over, to].iter().enumerate() {
        vf.reset()?;
        b.wait_state(u32::try_from(n)?, "available")?;
        ensure!(vf.query()?.phase == sys::GIM_PHASE_IDLE);
    }
    Ok(())
}

fn polled(b: &Bench) -> Result<()> {
    let zero = Timespec::default();
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let save = vf.save(None)?;
    let mut fds = [PollFd::from_borrowed_fd(save.as_fd(), PollFlags::IN)];
    ensure!(
        poll(&mut fds, Some(&zero))? == 1,
        "a saved stream is not readable"
    );
    let restore = b.vf(1)?.restore()?;
    let mut fds = [PollFd::from_borrowed_fd(restore.as_fd(), PollFlags::OUT)];
    ensure!(
        poll(&mut fds, Some(&zero))? == 1,
        "a restored stream is not writable"
    );
    Ok(())
}
