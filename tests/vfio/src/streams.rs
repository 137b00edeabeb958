// SPDX-License-Identifier: GPL-2.0
//! Streams: whole, in rounds, in pieces, partly read, spoiled.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};
use rustix::event::PollFlags;
use vf_client::migration::{
    drain, feature, precopy_info, precopy_info_raw, reset, set_state, State,
};
use vf_client::vfio::Vfio;
use vfio_bindings::bindings::vfio as sys;

use crate::errno::*;
use crate::{begin, compare, dead, fill, go, is, polled, refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("VF0 becomes VF1, byte for byte", whole),
    ("the same in rounds while it runs", rounds),
    ("PRECOPY_INFO, and where it is refused", info),
    ("a stream cannot be sought in", not_seekable),
    ("a stream that is not complete leads to ERROR", incomplete),
    ("a spoiled stream leads to ERROR", spoiled),
    ("a restored VF can be saved again", chained),
];

/// All that a stopped VF is.
fn take(vf: &Vfio) -> Result<Vec<u8>> {
    let mut file = begin(vf, State::StopCopy)?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    go(vf, State::Stop)?;
    dead(&file)?;
    Ok(all)
}

/// Writes a stream to a VF, which runs then.
fn give(vf: &Vfio, all: &[u8], piece: usize) -> Result<()> {
    let mut file = begin(vf, State::Resuming)?;
    for piece in all.chunks(piece) {
        file.write_all(piece)?;
    }
    go(vf, State::Stop)?;
    dead(&file)?;
    go(vf, State::Running)
}

fn whole(b: &Bench) -> Result<()> {
    let (mut from, mut to) = (b.open(0)?, b.open(1)?);
    let data = fill(b, &mut from, 0)?;
    let mut file = begin(&from, State::StopCopy)?;
    ensure!(b.state(0)? == "suspended");
    // Partial reads, of any size.
    let (mut all, mut buf, mut len) = (Vec::new(), vec![0; 1 << 20], 1);
    loop {
        ensure!(polled(&file)?.contains(PollFlags::IN));
        let n = file.read(&mut buf[..len])?;
        if n == 0 {
            break;
        }
        all.extend_from_slice(&buf[..n]);
        len = (len * 3 + 1).min(buf.len());
    }
    // The end stays the end.
    for _ in 0..3 {
        ensure!(file.read(&mut buf)? == 0);
        ensure!(polled(&file)?.contains(PollFlags::IN));
    }
    refused(file.write(&[0]), EBADF)?;
    give(&to, &all, 77_777)?;
    is(&to, State::Running)?;
    ensure!(b.state(1)? == "available");
    compare(&mut to, &data)?;
    go(&from, State::Running)?;
    ensure!(b.state(0)? == "available");
    compare(&mut from, &data)
}

/// Reads to the end for now; what is told of the rest must tell so.
fn until_quiet(file: &mut File, all: &mut Vec<u8>) -> Result<()> {
    ensure!(!drain(file, all)?, "the end came while the VF may run");
    let left = precopy_info(file)?;
    ensure!(
        left == (0, 0),
        "{left:?} bytes are left where a read finds none"
    );
    Ok(())
}

fn rounds(b: &Bench) -> Result<()> {
    let (mut from, mut to) = (b.open(0)?, b.open(1)?);
    fill(b, &mut from, 0)?;
    let mut file = begin(&from, State::PreCopy)?;
    ensure!(b.state(0)? == "available", "it does not run on");
    let mut all = Vec::new();
    let (mut initial, dirty) = precopy_info(&file)?;
    ensure!(initial > 0 && dirty == 0, "{initial} and {dirty} at first");
    let mut buf = vec![0; 100_000];
    while initial > 0 {
        let n = file.read(&mut buf)?;
        all.extend_from_slice(&buf[..n]);
        let (now, _) = precopy_info(&file)?;
        ensure!(now <= initial, "{now} after {initial}");
        initial = now;
    }
    until_quiet(&mut file, &mut all)?;
    // What changes is told, and comes.
    let before = all.len();
    fill(b, &mut from, 1)?;
    if std::env::var_os("GIM_PLANE").is_some() {
        let (initial, dirty) = precopy_info(&file)?;
        ensure!(initial == 0 && dirty >= 3 << 16, "{initial}, {dirty} dirty");
    }
    until_quiet(&mut file, &mut all)?;
    ensure!(all.len() >= before + (3 << 16));
    // It does not end because it does not run; it may run on.
    go(&from, State::PreCopyP2p)?;
    ensure!(b.state(0)? == "suspended");
    until_quiet(&mut file, &mut all)?;
    go(&from, State::PreCopy)?;
    ensure!(b.state(0)? == "available");
    let data = fill(b, &mut from, 2)?;
    go(&from, State::StopCopy)?;
    refused(precopy_info(&file), EINVAL)?;
    ensure!(drain(&mut file, &mut all)?, "ENOMSG in STOP_COPY");
    go(&from, State::Stop)?;
    give(&to, &all, 1 << 20)?;
    compare(&mut to, &data)
}

fn info(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    let file = begin(&vf, State::PreCopy)?;
    let argsz = u32::try_from(size_of::<sys::vfio_precopy_info>())?;
    let mut arg = sys::vfio_precopy_info {
        argsz: argsz - 1,
        ..Default::default()
    };
    refused(precopy_info_raw(&file, &mut arg), EINVAL)?;
    // Without the feature the flags are not looked at.
    arg = sys::vfio_precopy_info {
        argsz: argsz + 8,
        flags: 0xF00D,
        ..Default::default()
    };
    precopy_info_raw(&file, &mut arg)?;
    ensure!(arg.flags == 0xF00D && arg.initial_bytes != 0);
    refused(bad_pointer(&file), EFAULT)?;
    go(&vf, State::RunningP2p)?;
    refused(precopy_info(&file), ENODEV)?;
    drop(file);
    go(&vf, State::Running)?;
    let v2 = sys::VFIO_DEVICE_FEATURE_SET | sys::VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2;
    feature(&vf, v2, &mut [], 0)?;
    let file = begin(&vf, State::PreCopy)?;
    precopy_info_raw(&file, &mut arg)?;
    ensure!(arg.flags == 0, "flags {:#x}", arg.flags);
    go(&vf, State::Stop)?;
    let file = begin(&vf, State::StopCopy)?;
    refused(precopy_info(&file), EINVAL)?;
    go(&vf, State::Stop)?;
    let file = begin(&vf, State::Resuming)?;
    refused(precopy_info(&file), ENOTTY)?;
    Ok(())
}

fn bad_pointer(file: &File) -> std::io::Result<()> {
    use vmm_sys_util::ioctl::ioctl_with_val;
    // SAFETY: The kernel looks at no memory there: it is not mapped.
    match unsafe { ioctl_with_val(file, vf_client::migration::PRECOPY_INFO, 8) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn not_seekable(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    let file = begin(&vf, State::StopCopy)?;
    let mut byte = [0];
    refused(file.read_at(&mut byte, 0), ESPIPE)?;
    refused(std::io::Seek::rewind(&mut { &file }), ESPIPE)?;
    go(&vf, State::Stop)?;
    let file = begin(&vf, State::Resuming)?;
    refused({ &file }.read(&mut byte), EBADF)?;
    refused(file.write_at(&byte, 0), ESPIPE)
}

/// The VF has failed and is nobody's; a reset, and it is as new.
fn recovers(b: &Bench, vf: &Vfio, n: u32) -> Result<()> {
    is(vf, State::Error)?;
    for to in State::ALL {
        refused(set_state(vf, to), EINVAL)?;
    }
    reset(vf)?;
    is(vf, State::Running)?;
    b.wait_state(n, "available")?;
    begin(vf, State::StopCopy)?;
    go(vf, State::Running)
}

fn incomplete(b: &Bench) -> Result<()> {
    let (mut from, to) = (b.open(0)?, b.open(1)?);
    fill(b, &mut from, 0)?;
    let all = take(&from)?;
    for len in [1, 47, 48, all.len() / 2, all.len() - 1] {
        let mut file = begin(&to, State::Resuming)?;
        file.write_all(&all[..len])?;
        refused(set_state(&to, State::Running), EINVAL)?;
        dead(&file)?;
        recovers(b, &to, 1).with_context(|| format!("after {len} bytes"))?;
    }
    // A closed file is not complete either.
    drop(begin(&to, State::Resuming)?);
    refused(set_state(&to, State::Stop), EINVAL)?;
    recovers(b, &to, 1)?;
    give(&to, &all, 4096)
}

fn spoiled(b: &Bench) -> Result<()> {
    let (mut from, to) = (b.open(0)?, b.open(1)?);
    fill(b, &mut from, 0)?;
    let mut all = take(&from)?;
    let mut rng = fastrand::Rng::with_seed(b.seed);
    for at in [8, 60, rng.usize(64..all.len()), all.len() - 1] {
        all[at] ^= 1;
        let mut file = begin(&to, State::Resuming)?;
        let done = file.write_all(&all);
        // One in the header has changed nothing.
        refused(done, if at < 48 { EINVAL } else { EBADMSG })
            .with_context(|| format!("byte {at}"))?;
        refused(set_state(&to, State::Stop), EINVAL)?;
        recovers(b, &to, 1)?;
        all[at] ^= 1;
    }
    let mut file = begin(&to, State::Resuming)?;
    file.write_all(&all)?;
    refused(file.write(&[0]), EPIPE)?;
    go(&to, State::Running)
}

fn chained(b: &Bench) -> Result<()> {
    let (mut from, mut to) = (b.open(0)?, b.open(1)?);
    let data = fill(b, &mut from, 0)?;
    let all = take(&from)?;
    let mut file = begin(&to, State::Resuming)?;
    file.write_all(&all)?;
    // By way of STOP, as it is.
    let mut next = begin(&to, State::StopCopy)?;
    dead(&file)?;
    let mut again = Vec::new();
    next.read_to_end(&mut again)?;
    go(&to, State::Stop)?;
    // Back to where it came from.
    give(&from, &again, 1 << 20)?;
    compare(&mut from, &data)?;
    go(&to, State::Running)?;
    compare(&mut to, &data)
}
