// SPDX-License-Identifier: GPL-2.0
//! DMA logging: the kernel can or cannot, and where it can every page that the VF has written is told,
//! once, and no other.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use gpu_regs::sdma::Packet;
use vf_client::layout::DMA_WORK;
use vf_client::migration::{feature, probe};
use vf_client::vf::Vf;
use vf_client::vfio::Vfio;
use vfio_bindings::bindings::vfio as sys;

use crate::errno::*;
use crate::{refused, Bench, Test};

/// Those that this kernel has something for.
pub(crate) fn tests() -> Vec<Test> {
    let offered: Test = ("DMA is logged where the kernel can", offered);
    let more = kernel_logs().then_some(LOGS).unwrap_or_default();
    [&[offered], more].concat()
}

const LOGS: &[Test] = &[
    ("logging: wrong calls are refused", wrong),
    ("logging: each page that is written is told once", told),
    ("logging: a report is of its range alone", ranges),
    ("logging: it ends with the device", closed),
    ("logging: once it is lost all is dirty", lost),
];

const GET: u32 = sys::VFIO_DEVICE_FEATURE_GET;
const SET: u32 = sys::VFIO_DEVICE_FEATURE_SET;
const START: u32 = sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
const STOP: u32 = sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP;
const REPORT: u32 = sys::VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;

const PAGE: u64 = 4096;
/// Memory that the VF may write, behind that of its rings.
const WORK_BYTES: usize = 8 << 20;

/// VFIO has the means for a report only in a kernel with iommufd.
pub(crate) fn kernel_logs() -> bool {
    Path::new("/dev/iommu").exists()
}

/// Begins to log `len` bytes from `iova` on; returns the size of a page.
pub(crate) fn start(vf: &Vfio, iova: u64, len: u64) -> io::Result<u64> {
    let range = [iova, len];
    let mut payload = [PAGE, 1, range.as_ptr() as u64];
    feature(vf, SET | START, &mut payload, 0)?;
    Ok(payload[0])
}

pub(crate) fn stop(vf: &Vfio) -> io::Result<()> {
    feature(vf, SET | STOP, &mut [], 0)
}

/// The pages of `len` bytes from `iova` on that were written, by their numbers in it.
pub(crate) fn report(vf: &Vfio, iova: u64, len: u64) -> io::Result<BTreeSet<u64>> {
    let pages = len / PAGE;
    let words = usize::try_from(pages.div_ceil(64)).map_err(io::Error::other)?;
    let bitmap = vec![0u64; words];
    let mut payload = [iova, len, PAGE, bitmap.as_ptr() as u64];
    feature(vf, GET | REPORT, &mut payload, 0)?;
    // The kernel has written it.
    let bitmap = std::hint::black_box(bitmap);
    let marked = |page: &u64| bitmap[(page / 64) as usize] & (1 << (page % 64)) != 0;
    Ok((0..pages).filter(marked).collect())
}

/// A client that runs, and where its memory is.
fn client(b: &Bench) -> Result<(Vf<Vfio>, u64, u64)> {
    let mut client = Vf::attach(b.open(0)?, WORK_BYTES)?;
    client.start()?;
    let (iova, len) = (client.dma.iova, client.dma.len as u64);
    Ok((client, iova, len))
}

/// Has the VF write `len` bytes at `offset` of the client's memory.
fn writes(client: &mut Vf<Vfio>, pieces: &[(usize, usize)]) -> Result<()> {
    let mut stream = client.stream();
    for &(offset, len) in pieces {
        let dst = client.space.dma(DMA_WORK + offset);
        let (value, bytes) = (0x5a5a_5a5a, u32::try_from(len)?);
        stream.push(&Packet::ConstFill { dst, value, bytes });
    }
    let (seq, _) = client.submit(stream)?;
    client.wait_fence(seq, Duration::from_secs(20))?;
    Ok(())
}

/// Pages of the client's memory that pieces of its work area touch.
fn pages(pieces: &[(usize, usize)]) -> BTreeSet<u64> {
    let touched = pieces.iter().flat_map(|&(offset, len)| {
        let first = (DMA_WORK + offset) as u64;
        first / PAGE..=(first + len as u64 - 1) / PAGE
    });
    touched.collect()
}

/// Without the rings and cells before the work area, which every job writes.
fn work(found: BTreeSet<u64>) -> BTreeSet<u64> {
    let first = DMA_WORK as u64 / PAGE;
    found.into_iter().filter(|&page| page >= first).collect()
}

fn offered(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    for (number, way) in [(START, SET), (STOP, SET), (REPORT, GET)] {
        match kernel_logs() {
            true => probe(&vf, number, way)?,
            false => refused(probe(&vf, number, way), ENOTTY)?,
        }
    }
    Ok(())
}

fn wrong(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    refused(report(&vf, 0, 1 << 20), EINVAL)?;
    stop(&vf)?;
    ensure!(start(&vf, 0, 1 << 20)? == PAGE);
    refused(start(&vf, 0, 1 << 20), EBUSY)?;
    let odd = [0, 1 << 20, 3 * PAGE, 0];
    refused(feature(&vf, GET | REPORT, &mut { odd }, 0), EINVAL)?;
    stop(&vf)?;
    refused(report(&vf, 0, 1 << 20), EINVAL)?;
    ensure!(start(&vf, 0, 1 << 20)? == PAGE, "again");
    Ok(())
}

fn told(b: &Bench) -> Result<()> {
    let (mut client, iova, len) = client(b)?;
    writes(&mut client, &[(0, 4096)])?;
    start(&client.t, iova, len)?;
    ensure!(report(&client.t, iova, len)?.is_empty(), "from before");
    let mut rng = fastrand::Rng::with_seed(b.seed);
    for round in 0..40 {
        let pieces: Vec<(usize, usize)> = (0..rng.usize(1..12))
            .map(|_| {
                let at = rng.usize(0..(WORK_BYTES - (64 << 10)) / 4) * 4;
                (at, rng.usize(1..(64 << 10) / 4) * 4)
            })
            .collect();
        writes(&mut client, &pieces)?;
        let found = report(&client.t, iova, len)?;
        ensure!(found.len() > work(found.clone()).len(), "no fence");
        let (found, want) = (work(found), pages(&pieces));
        let missed = want.difference(&found).count();
        let more = found.difference(&want).count();
        ensure!(
            missed + more == 0,
            "round {round}: {missed} pages missed, {more} too many"
        );
    }
    stop(&client.t)?;
    writes(&mut client, &[(0, 4096)])?;
    start(&client.t, iova, len)?;
    ensure!(
        work(report(&client.t, iova, len)?).is_empty(),
        "of a time when it was off"
    );
    Ok(())
}

fn ranges(b: &Bench) -> Result<()> {
    let (mut client, iova, len) = client(b)?;
    start(&client.t, iova, len)?;
    // As much as a packet can fill.
    let pieces: Vec<_> = (0..WORK_BYTES)
        .step_by(1 << 20)
        .map(|at| (at, 1 << 20))
        .collect();
    writes(&mut client, &pieces)?;
    // Odd ranges, larger than what is fetched at a time and smaller than what the device tells at once.
    let mut found = BTreeSet::new();
    let first = DMA_WORK as u64 / PAGE;
    let mut at = first;
    for size in [1, 3, 31, 32, 33, 64, 1, 1200] {
        let part = report(&client.t, iova + at * PAGE, size * PAGE)?;
        ensure!(
            part.len() as u64 == size,
            "{} of {size} pages at {at}",
            part.len()
        );
        found.extend(part.iter().map(|page| page + at));
        at += size;
    }
    let rest = work(report(&client.t, iova, len)?);
    ensure!(rest.is_disjoint(&found), "told twice");
    found.extend(rest);
    ensure!(found == pages(&pieces), "{} pages", found.len());
    Ok(())
}

fn closed(b: &Bench) -> Result<()> {
    let (mut client, iova, len) = client(b)?;
    start(&client.t, iova, len)?;
    writes(&mut client, &[(0, 4096)])?;
    drop(client);
    let vf = b.open(0).context("again")?;
    refused(report(&vf, iova, len), EINVAL)?;
    start(&vf, iova, len)?;
    ensure!(
        report(&vf, iova, len)?.is_empty(),
        "what another user wrote"
    );
    Ok(())
}

fn lost(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    let all = |first: u64, count: u64| report(&vf, first * PAGE, count * PAGE).map(|it| it.len());
    start(&vf, 0, 1 << 30)?;
    ensure!(all(0, 100)? == 0);
    // The GPU forgets what it has logged, and that it was to log.
    std::fs::write(b.sysfs.join("reset"), "1").context("reset of the GPU")?;
    b.wait_state(0, "available")?;
    for _ in 0..2 {
        ensure!(all(0, 100)? == 100);
        ensure!(all(77, 1)? == 1);
    }
    stop(&vf)?;
    start(&vf, 0, 1 << 30)?;
    ensure!(all(0, 100)? == 0, "still");
    Ok(())
}
