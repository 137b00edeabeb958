// SPDX-License-Identifier: GPL-2.0
//! Whatever befalls a VF or its GPU at any moment of a save or a restore: whoever reads or writes
//! the stream is told, and the VF is clean and can be used again.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use gim_uapi::{Source, Stream, Vf, ENOMSG};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::os::fd::AsFd;

use crate::errno::*;
use crate::streams::{drain, fill, is_clean, small};
use crate::strike::Strike;
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("whatever befalls a save", |b| saves(b, &Save::ALL)),
    ("whatever befalls a restore", |b| restores(b, &Restore::ALL)),
    ("whatever befalls a tracked VF", tracked),
    ("a GPU that is lost has no framebuffer", no_framebuffer),
    ("the source of a failed migration goes on", source_goes_on),
    ("the module stays while files are open", in_use),
];

/// How far a save is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Save {
    Opened,
    Header,
    InPages,
    BeforeState,
    End,
    PrecopyOpened,
    PrecopyInPages,
    PrecopyQuiet,
    PrecopyPaused,
}

impl Save {
    const ALL: [Self; 9] = [
        Self::Opened,
        Self::Header,
        Self::InPages,
        Self::BeforeState,
        Self::End,
        Self::PrecopyOpened,
        Self::PrecopyInPages,
        Self::PrecopyQuiet,
        Self::PrecopyPaused,
    ];

    fn precopy(self) -> bool {
        use Save as S;
        matches!(
            self,
            S::PrecopyOpened | S::PrecopyInPages | S::PrecopyQuiet | S::PrecopyPaused
        )
    }

    /// A save that is so far.
    fn reach(self, b: &Bench) -> Result<(Vf, Stream)> {
        let vf = b.vf(0)?;
        vf.pause(0, false)?;
        fill(b, &vf, 1 << 20)?;
        let mut all = Vec::new();
        if self.precopy() {
            vf.resume()?;
            let source = [Source::Hardware, Source::Software][b.seed as usize % 2];
            let mut stream = vf.save(Some(source))?;
            match self {
                Self::PrecopyOpened => {}
                Self::PrecopyInPages => stream.read_exact(&mut vec![0; 1_500_000])?,
                Self::PrecopyQuiet => drain(&mut stream, &mut all)?,
                _ => {
                    drain(&mut stream, &mut all)?;
                    vf.pause(0, false)?;
                }
            }
            return Ok((vf, stream));
        }
        let whole = vf.save(None)?.read_to_end(&mut all)?;
        let n = match self {
            Self::Opened => 0,
            Self::Header => 48,
            Self::InPages => 1_500_000,
            Self::BeforeState => whole - 330,
            _ => whole,
        };
        let mut stream = vf.save(None)?;
        stream.read_exact(&mut vec![0; n])?;
        Ok((vf, stream))
    }
}

fn poll_now(stream: &Stream) -> Result<PollFlags> {
    let mut fds = [PollFd::from_borrowed_fd(
        stream.as_fd(),
        PollFlags::IN | PollFlags::OUT,
    )];
    poll(&mut fds, Some(&Timespec::default()))?;
    Ok(fds[0].revents())
}

/// How long it may take until a reader who has nothing to read is told that the GPU is lost.
const TOLD: Duration = Duration::from_secs(5);

/// The reader must be told; what was staged before may still come.
fn told(stream: &mut Stream, strike: Strike, at_end: bool) -> Result<()> {
    let (mut rest, start) = (Vec::new(), Instant::now());
    let errno = loop {
        match stream.read_to_end(&mut rest) {
            // All of it had been made before.
            Ok(0) if at_end => return Ok(()),
            Ok(n) => anyhow::bail!("{n} more bytes and a good end were read"),
            // Nothing is dirty; it was not seen yet.
            Err(e) if e.raw_os_error() == Some(ENOMSG) && strike == Strike::Lost => {
                ensure!(start.elapsed() < TOLD, "nobody was told");
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(e) => break e.raw_os_error(),
        }
    };
    let right = match strike.is_final() {
        true => errno == Some(ENODEV),
        false => matches!(errno, Some(EIO | ENODEV)),
    };
    ensure!(right, "reading fails with errno {errno:?}");
    Ok(())
}

/// What was opened before something final is shut.
fn is_shut(stream: &Stream, strike: Strike) -> Result<()> {
    let seen = poll_now(stream)?;
    let shut = seen.contains(PollFlags::ERR | PollFlags::HUP);
    ensure!(shut || !strike.is_final(), "{seen:?}");
    Ok(())
}

fn saves(b: &Bench, phases: &[Save]) -> Result<()> {
    let good = small(b)?;
    for &phase in phases {
        for strike in Strike::ALL {
            save(b, phase, strike, &good).with_context(|| format!("{strike:?} at {phase:?}"))?;
        }
    }
    Ok(())
}

fn save(b: &Bench, phase: Save, strike: Strike, good: &[u8]) -> Result<()> {
    let (vf, mut stream) = phase.reach(b)?;
    let quiet = matches!(strike, Strike::Flr | Strike::Reset);
    if quiet {
        // The VF stays paused, for whoever has paused it.
        match strike {
            Strike::Flr => b.flr(0)?,
            _ => vf.reset()?,
        }
    } else {
        strike.befall(b, 0)?;
    }
    let told = told(&mut stream, strike, phase == Save::End);
    strike.mend(b, 0)?;
    told?;
    is_shut(&stream, strike)?;
    drop((stream, vf));
    b.is_sound(0, good)
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restore {
    Opened,
    Header,
    InPages,
    BeforeEnd,
    Complete,
}

impl Restore {
    const ALL: [Self; 5] = [
        Self::Opened,
        Self::Header,
        Self::InPages,
        Self::BeforeEnd,
        Self::Complete,
    ];

    fn bytes(self, whole: usize) -> usize {
        match self {
            Self::Opened => 0,
            Self::Header => 48,
            Self::InPages => whole / 2,
            Self::BeforeEnd => whole - 1,
            Self::Complete => whole,
        }
    }
}

fn restores(b: &Bench, phases: &[Restore]) -> Result<()> {
    let good = small(b)?;
    for &phase in phases {
        for strike in Strike::ALL {
            restore(b, phase, strike, &good).with_context(|| format!("{strike:?} at {phase:?}"))?;
        }
    }
    Ok(())
}

fn restore(b: &Bench, phase: Restore, strike: Strike, good: &[u8]) -> Result<()> {
    let n = phase.bytes(good.len());
    let mut stream = b.vf(1)?.restore()?;
    stream.write_all(&good[..n])?;
    strike.befall(b, 1)?;
    let more = if n == good.len() {
        &[0][..]
    } else {
        &good[n..]
    };
    let errno = stream.write(more).err().and_then(|e| e.raw_os_error());
    strike.mend(b, 1)?;
    let right = match (phase, strike.is_final()) {
        (Restore::Complete, _) => matches!(errno, Some(EPIPE | ENODEV)),
        (_, true) => errno == Some(ENODEV),
        (_, false) => matches!(errno, Some(EIO | ENODEV)),
    };
    ensure!(right, "writing fails with errno {errno:?}");
    is_shut(&stream, strike)?;
    drop(stream);
    is_clean(b)?;
    b.is_sound(1, good)
}

/// Trackers that users have opened.
fn tracked(b: &Bench) -> Result<()> {
    let good = small(b)?;
    let sources = [Source::Hardware, Source::Software, Source::Exact];
    let each = Strike::ALL.into_iter().zip(sources.into_iter().cycle());
    // What reads all ones must be told from what has no page marked, or has changed altogether.
    for (strike, source) in each.chain(sources.map(|source| (Strike::Lost, source))) {
        let vf = b.vf(0)?;
        vf.dirty_start(source)?;
        strike.befall(b, 0)?;
        let asked = vf.dirty_get((0, 1 << 20), 4096, false);
        strike.mend(b, 0)?;
        ensure!(
            asked.is_err() == strike.is_final(),
            "{strike:?}: {:?}",
            asked.map(|a| a.1)
        );
        let stopped = vf.dirty_stop();
        ensure!(
            stopped.is_ok() || strike.is_final(),
            "{strike:?}: {stopped:?}"
        );
        drop(vf);
        b.is_sound(0, &good)
            .with_context(|| format!("{strike:?}"))?;
    }
    Ok(())
}

/// Neither all ones are taken for what was read, nor are writes taken for done; at the end of the
/// last VF as well, which the CPU may not reach.
fn no_framebuffer(b: &Bench) -> Result<()> {
    let good = small(b)?;
    let last = b.vf(0)?.query()?.fb_size - 8192;
    for (n, at, write) in [
        (0, 0, false),
        (0, 0, true),
        (3, last, false),
        (3, last, true),
    ] {
        let vf = b.vf(n)?;
        vf.pause(0, false)?;
        vf.fb_write(at, b"used")?;
        Strike::Lost.befall(b, n)?;
        let start = Instant::now();
        let done = match write {
            true => vf.fb_write(at, b"lost"),
            false => vf.fb_read(at, &mut [0; 8192]),
        };
        let took = start.elapsed();
        Strike::Lost.mend(b, n)?;
        refused(done, ENODEV).with_context(|| format!("VF{n} at {at:#x}, writing: {write}"))?;
        ensure!(took < TOLD, "that took {took:?}");
        drop(vf);
        b.is_sound(n, &good)?;
    }
    Ok(())
}

/// The target is lost at every phase of its restore: the source is as it was.
fn source_goes_on(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    guest.works()?;
    for (i, phase) in Restore::ALL.into_iter().enumerate() {
        let vf = b.vf(0)?;
        let precopy = i % 2 == 1;
        let mut all = Vec::new();
        let mut stream = if precopy {
            let mut stream = vf.save(Some(Source::Auto))?;
            drain(&mut stream, &mut all)?;
            vf.pause(0, false)?;
            stream
        } else {
            vf.pause(0, false)?;
            vf.save(None)?
        };
        stream.read_to_end(&mut all)?;
        let n = phase.bytes(all.len());
        let mut target = b.vf(1)?.restore()?;
        target.write_all(&all[..n])?;
        b.flr(1)?;
        drop(target);
        is_clean(b)?;
        drop(stream);
        vf.resume().with_context(|| format!("{phase:?}"))?;
        guest.works().with_context(|| format!("after {phase:?}"))?;
    }
    // Also one whose stream was never read to its end.
    let vf = b.vf(0)?;
    let mut stream = vf.save(Some(Source::Auto))?;
    stream.read_exact(&mut [0; 5000])?;
    drop(stream);
    guest.works()?;
    drop(vf);
    guest.stop()
}

/// A module whose files are open does not leave.
fn in_use(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let stream = vf.save(None)?;
    drop(vf);
    let out = std::process::Command::new("rmmod").arg("gim").output()?;
    ensure!(
        !out.status.success(),
        "the module left below an open stream"
    );
    ensure!(b.state(0).is_ok(), "it left half");
    drop(stream);
    let vf = b.vf(0)?;
    refused_quiet(&vf)
}

/// A VF that runs and has nothing dirty: the reader is told so.
fn refused_quiet(vf: &Vf) -> Result<()> {
    let mut stream = vf.save(Some(Source::Auto))?;
    let mut all = Vec::new();
    drain(&mut stream, &mut all)?;
    let again = stream
        .read(&mut [0; 10])
        .err()
        .and_then(|e| e.raw_os_error());
    ensure!(again == Some(ENOMSG), "errno {again:?}");
    Ok(())
}
