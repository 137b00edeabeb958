// SPDX-License-Identifier: GPL-2.0
//! Dirty bitmaps against the truth that the referee keeps: a guest writes at random, by the engine
//! and by the CPU, and no page that was written may be missing.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use gim_uapi::{sys, Source, Vf};
use gpu_regs::sdma::Packet;
use vf_client::referee::Referee;
use vf_client::ring::Stream;
use vf_client::transport::Transport;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;

use crate::errno::*;
use crate::guest::{Guest, WORK};
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("no write is missed by the plane", |b| {
        no_write_missed(b, Source::Hardware)
    }),
    ("no write is missed by hashes", |b| {
        no_write_missed(b, Source::Software)
    }),
    ("no write is missed by comparison", |b| {
        no_write_missed(b, Source::Exact)
    }),
    ("the plane forgets nothing that is not fetched", not_fetched),
    (
        "bitmaps of every granularity, and every misalignment",
        granules,
    ),
];

const PAGE: u64 = 4096;
/// What is looked at where every look reads all pages.
const SMALL: u64 = 512 << 10;

/// A guest that writes, and what its bitmap has told.
struct World {
    guest: Guest,
    vf: Vf,
    referee: Referee,
    rng: fastrand::Rng,
    source: Source,
    /// The range that bitmaps are asked for.
    range: (u64, u64),
    /// Jobs that may still write.
    last: Option<u32>,
    /// What the last bitmap had.
    told: Vec<u64>,
    rounds: u32,
    pages: u64,
    extra: u64,
}

fn bits(map: &[u64]) -> u64 {
    map.iter().map(|word| u64::from(word.count_ones())).sum()
}

impl World {
    fn new(b: &Bench, source: Source) -> Result<Self> {
        let referee = Referee::find()?.context("there is no referee")?;
        ensure!(
            referee.truth_is_whole()?,
            "the referee does not see the CPU's writes"
        );
        let guest = b.guest(0)?;
        let vf = b.vf(0)?;
        let size = vf.query()?.fb_size;
        let range = match source {
            Source::Hardware => (0, size),
            // Half of it before a boundary of windows and pages of page tables, half behind.
            _ => ((8 << 20) - SMALL / 2, SMALL),
        };
        Ok(Self {
            guest,
            vf,
            referee,
            rng: fastrand::Rng::with_seed(b.seed),
            source,
            range,
            last: None,
            told: Vec::new(),
            rounds: 0,
            pages: 0,
            extra: 0,
        })
    }

    /// Somewhere for so many bytes: in the range, mostly in a small part of it.
    fn place(&mut self, bytes: u64) -> u64 {
        let start = self.range.0.max(WORK);
        let end = self.range.0 + self.range.1;
        let room = match self.rng.u8(..4) {
            0 => end - start,
            _ => SMALL,
        };
        let at = match self.rng.u8(..8) {
            // Both ends.
            0 => start,
            1 => end - bytes,
            _ => start + self.rng.u64(..=room - bytes),
        };
        at / 4 * 4
    }

    fn by_engine(&mut self) -> Result<()> {
        let mut stream: Stream = self.guest.vf.stream();
        for _ in 0..self.rng.u8(1..4) {
            let bytes = 4 * self.rng.u32(1..3000);
            let (src, dst) = (self.place(bytes.into()), self.place(bytes.into()));
            let value = self.rng.u32(..);
            match self.rng.u8(..3) {
                0 => stream.push(&Packet::ConstFill { dst, value, bytes }),
                // Between a fill and its copy there may be all the writes of the CPU.
                1 => {
                    stream.push(&Packet::ConstFill {
                        dst: src,
                        value,
                        bytes,
                    });
                    stream.push(&Packet::CopyLinear { src, dst, bytes });
                }
                _ => {
                    let data: Vec<u32> =
                        (0..self.rng.u32(1..8)).map(|_| self.rng.u32(..)).collect();
                    stream.push(&Packet::WriteLinear {
                        dst,
                        data: &data[..],
                    });
                }
            }
        }
        self.last = Some(self.guest.vf.submit(stream)?.0);
        Ok(())
    }

    fn by_cpu(&mut self) -> Result<()> {
        for _ in 0..self.rng.u8(1..4) {
            let len = self.rng.usize(1..64);
            let at = self.place(len as u64 + 4);
            let data: Vec<u8> = (0..len).map(|_| self.rng.u8(..)).collect();
            self.guest.vf.t.vram_write(at, &data)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        match self.last.take() {
            Some(job) => self.guest.wait(job),
            None => Ok(()),
        }
    }

    /// What was written in the range since it was asked last.
    fn truth(&self) -> Result<Vec<u64>> {
        let size = self.vf.query()?.fb_size;
        let all = self.referee.truth(1, size / PAGE, true)?;
        let words = |bytes: u64| usize::try_from(bytes / PAGE / 64);
        let first = words(self.range.0)?;
        Ok(all[first..first + words(self.range.1)?].to_vec())
    }

    /// A round; what is written between truth and bitmap is owed to the next one.
    fn round(&mut self) -> Result<()> {
        for _ in 0..self.rng.u8(..3) {
            match self.rng.bool() {
                true => self.by_engine()?,
                false => self.by_cpu()?,
            }
        }
        // Sometimes all is quiet, and the bitmap must be exact; sometimes the engine is at work.
        let quiet = self.rng.bool();
        match quiet {
            true => self.settle()?,
            false => std::thread::sleep(Duration::from_micros(self.rng.u64(..200))),
        }
        let written = self.truth()?;
        let peek = self.rng.u8(..8) == 0;
        if peek {
            let (map, _) = self.vf.dirty_get(self.range, PAGE, true)?;
            self.judge(&written, &map)?;
        }
        let (map, count) = self.vf.dirty_get(self.range, PAGE, false)?;
        ensure!(bits(&map) == count, "{count} are told");
        self.judge(&written, &map)?;
        self.told = map;
        self.rounds += 1;
        self.guest.vf.ring.retire(self.guest.vf.ring.position());
        if quiet && self.last.is_none() {
            // Nothing can have come since.
            let rest = self.vf.dirty_get(self.range, PAGE, true)?;
            ensure!(
                rest.1 == 0 || self.source == Source::Hardware,
                "{} came from nowhere",
                rest.1
            );
        }
        Ok(())
    }

    /// What was written must be told now, unless it was told before.
    fn judge(&mut self, written: &[u64], map: &[u64]) -> Result<()> {
        let nothing = vec![0; map.len()];
        let told = if self.told.is_empty() {
            &nothing
        } else {
            &self.told
        };
        for (i, ((w, m), t)) in written.iter().zip(map).zip(told).enumerate() {
            let missed = w & !m & !t;
            ensure!(
                missed == 0,
                "round {}: page {} was missed",
                self.rounds,
                self.range.0 / PAGE + i as u64 * 64 + u64::from(missed.trailing_zeros())
            );
        }
        self.pages += bits(written);
        self.extra += map
            .iter()
            .zip(written)
            .map(|(m, w)| u64::from((m & !w).count_ones()))
            .sum::<u64>();
        Ok(())
    }
}

fn no_write_missed(b: &Bench, source: Source) -> Result<()> {
    let mut world = World::new(b, source)?;
    world.vf.dirty_start(source)?;
    world.truth()?;
    // One that sees nothing missing would be worth nothing.
    ensure!(world.judge(&[0, 4], &[1, 0]).is_err(), "this cannot fail");
    while world.rounds < b.rounds {
        world.round()?;
    }
    // Paused, the answer is complete: everything is told, and nothing else.
    world.by_engine()?;
    world.by_cpu()?;
    std::thread::sleep(Duration::from_micros(30));
    world.vf.pause(0, false)?;
    world.told.clear();
    let before = world.vf.dirty_get(world.range, PAGE, false)?.0;
    let written = world.truth()?;
    world.told = before;
    let last = world.vf.dirty_get(world.range, PAGE, false)?.0;
    ensure!(
        bits(&last) == 0,
        "a paused VF has written {} pages",
        bits(&last)
    );
    world.judge(&written, &last)?;
    world.vf.resume()?;
    world.vf.dirty_stop()?;
    println!(
        "# {:?}: {} rounds, {} pages written, {} more were told",
        source, world.rounds, world.pages, world.extra
    );
    ensure!(
        world.pages > u64::from(b.rounds),
        "hardly anything was written"
    );
    world.settle()?;
    world.guest.stop()
}

/// Asks for a bitmap at an address that cannot be written to.
fn ask(vf: &Vf, (offset, length): (u64, u64), granularity: u64, bitmap: u64) -> io::Result<()> {
    let mut arg = sys::gim_dirty_bitmap {
        argsz: u32::try_from(size_of::<sys::gim_dirty_bitmap>()).unwrap_or(0),
        flags: 0,
        offset,
        length,
        granularity,
        bitmap,
        dirty: 0,
    };
    let fd = vf.as_fd().as_raw_fd();
    // SAFETY: The structure of that ioctl; nothing is mapped where the bitmap is to go.
    let n = unsafe { ioctl_with_mut_ref(&fd, sys::GIM_IOCTL_VF_DIRTY_GET.into(), &mut arg) };
    match n {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Only what was asked for is taken; what could not be handed over comes again.
fn not_fetched(b: &Bench) -> Result<()> {
    let mut world = World::new(b, Source::Hardware)?;
    world.vf.dirty_start(Source::Hardware)?;
    let places = [
        WORK,
        WORK + 64 * PAGE,
        WORK + (2 << 20),
        world.range.1 - PAGE,
    ];
    for at in places {
        world.guest.vf.t.vram_write(at, &[1, 2, 3])?;
    }
    let (_, count) = world.vf.dirty_get((WORK, 64 * PAGE), PAGE, false)?;
    ensure!(count == 1, "{count} in the first range");
    refused(ask(&world.vf, (0, world.range.1), PAGE, 8), EFAULT)?;
    let (map, count) = world.vf.dirty_get((0, world.range.1), PAGE, false)?;
    ensure!(count == 3, "{count} are left of 3");
    for at in &places[1..] {
        let page = usize::try_from(at / PAGE)?;
        ensure!((map[page / 64] >> (page % 64)) & 1 == 1, "page {page}");
    }
    world.vf.dirty_stop()?;
    // What is written while nobody tracks is not told later.
    world.guest.vf.t.vram_write(WORK, &[9])?;
    world.vf.dirty_start(Source::Hardware)?;
    ensure!(world.vf.dirty_get((0, world.range.1), PAGE, false)?.1 == 0);
    world.vf.dirty_stop()?;
    world.guest.stop()
}

fn granules(b: &Bench) -> Result<()> {
    let mut world = World::new(b, Source::Hardware)?;
    let size = world.range.1;
    world.vf.dirty_start(Source::Hardware)?;
    let mut granule = PAGE;
    while granule <= 2 << 20 {
        let at = size - granule - PAGE * world.rng.u64(..(size / 2 - WORK) / PAGE);
        world.guest.vf.t.vram_write(at / 4 * 4, &[7; 4])?;
        let (map, count) = world.vf.dirty_get((0, size), granule, true)?;
        let bit = usize::try_from(at / granule)?;
        ensure!(
            count == 1 && (map[bit / 64] >> (bit % 64)) & 1 == 1,
            "{granule}: {count} bits"
        );
        ensure!(map.len() as u64 == (size / granule).div_ceil(64));
        // Just this granule, and all but it.
        let from = at / granule * granule;
        ensure!(world.vf.dirty_get((from, granule), granule, true)?.1 == 1);
        ensure!(from == 0 || world.vf.dirty_get((0, from), granule, true)?.1 == 0);
        for (range, what) in [
            ((granule / 2, granule), "offset"),
            ((granule - 4, granule), "offset"),
            ((1, granule), "offset"),
            ((0, granule + 1), "length"),
            ((0, granule / 2), "length"),
            ((0, granule + granule / 2), "length"),
            ((0, 0), "length"),
            ((0, size + granule), "length"),
            ((size, granule), "offset"),
            ((u64::MAX - granule + 1, granule), "offset"),
            ((0, u64::MAX - granule + 1), "length"),
        ] {
            refused(ask(&world.vf, range, granule, 0), EINVAL)
                .with_context(|| format!("{what} of {range:x?} by {granule}"))?;
        }
        refused(ask(&world.vf, (0, size), granule + PAGE / 2, 0), EINVAL)?;
        refused(ask(&world.vf, (0, size), granule | 1, 0), EINVAL)?;
        ensure!(
            world.vf.dirty_get((0, size), granule, false)?.1 == 1,
            "a refused call forgot"
        );
        granule *= 2;
    }
    for granule in [0, 1, 512, 2048, 4 << 20, 1 << 40, 1 << 63, u64::MAX] {
        refused(ask(&world.vf, (0, size), granule, 0), EINVAL)?;
    }
    world.vf.dirty_stop()?;
    world.guest.stop()
}
