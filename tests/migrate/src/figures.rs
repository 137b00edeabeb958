// SPDX-License-Identifier: GPL-2.0
//! What `make bench` measures by the ioctls: copies of framebuffer, and a VF whose changed pages
//! are followed.

use std::io::{ErrorKind, Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use gim_uapi::{Source, ENOMSG};

use crate::Bench;

/// Bytes that are copied at a time: no cache holds them.
const COPY: usize = 64 << 20;
/// Where the driver copies without a stop between, the destination begins at a page.
const PAGE: usize = 4096;
/// How often.
const RUNS: usize = 5;
/// Bytes that a link of 1 Gbit/s carries in a second.
const LINK: f64 = 125e6;
/// Bytes of the stream that are read at a time.
const CHUNK: usize = 1 << 20;
/// Between two reads if there is nothing to be read.
const REST: Duration = Duration::from_millis(5);

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64()
}

fn timed(what: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    what()?;
    Ok(start.elapsed())
}

/// Reads a paused VF's framebuffer by the ioctl, and the same bytes by `memcpy` from the VF's BAR,
/// in turns, into the same memory: prints the one's bandwidth by that of the other.
pub(crate) fn copy(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let mut data = vec![0; COPY];
    fastrand::Rng::with_seed(b.seed).fill(&mut data);
    vf.fb_write(0, &data)?;
    let bar = b.framebuffer(0, COPY)?;
    let mut room = vec![0xFF; COPY + PAGE];
    let start = room.as_ptr().align_offset(PAGE);
    let to = &mut room[start..start + COPY];
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        ours.push(timed(|| Ok(vf.fb_read(0, to)?))?);
        ensure!(to == data, "run {run}: the ioctl reads wrong bytes");
        to.fill(0xFF);
        plain.push(timed(|| Ok(bar.copy_out(0, to)?))?);
        ensure!(to == data, "run {run}: the BAR has other bytes");
        to.fill(0xFF);
    }
    let (ours, plain) = (median(ours), median(plain));
    println!("fb_copy_vs_memcpy {:.3} ratio", plain / ours);
    let gb = |seconds| COPY as f64 / seconds / 1e9;
    println!("fb_copy_gb_per_s {:.3} GB/s", gb(ours));
    println!("fb_memcpy_gb_per_s {:.3} GB/s", gb(plain));
    Ok(())
}

/// Reads the stream of VF0, which runs, no faster than the link, round after round, without an end.
/// Says `copying`, and `looking` when the first round is over.
pub(crate) fn follow(b: &Bench, source: Source) -> Result<()> {
    let mut stream = b.vf(0)?.save(Some(source)).context("the stream")?;
    let say = |what| -> Result<()> {
        println!("{what}");
        Ok(std::io::stdout().flush()?)
    };
    say("copying")?;
    let mut piece = vec![0; CHUNK];
    let mut free = Instant::now();
    let mut first = true;
    loop {
        match stream.read(&mut piece) {
            Ok(n) => {
                ensure!(n != 0, "the stream has ended, while the VF ran");
                let now = Instant::now();
                free = free.max(now) + Duration::from_secs_f64(n as f64 / LINK);
                sleep(free.saturating_duration_since(now));
            }
            Err(e) if e.raw_os_error() == Some(ENOMSG) => sleep(REST),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).context("reading the stream"),
        }
        if first && stream.query()?.round != 0 {
            first = false;
            say("looking")?;
        }
    }
}
