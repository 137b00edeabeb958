// SPDX-License-Identifier: GPL-2.0
//! What programs do with `/dev/gim`.

use std::io::{Read, Write};

use anyhow::{ensure, Result};
use gim_uapi::{Source, Vf};

use crate::host::Host;

const MIB: u64 = 1 << 20;

pub(crate) fn open(host: &Host) -> Result<()> {
    host.vf(0)?.query()?;
    Ok(())
}

pub(crate) fn pause(host: &Host) -> Result<()> {
    let vf = host.vf(0)?;
    vf.pause(0, false)?;
    let mut bytes = [0x5A; 4096];
    vf.fb_write(MIB, &bytes)?;
    vf.fb_read(MIB, &mut bytes)?;
    ensure!(bytes == [0x5A; 4096], "other bytes");
    Ok(vf.resume()?)
}

pub(crate) fn reset(host: &Host) -> Result<()> {
    Ok(host.vf(0)?.reset()?)
}

/// What is dirty, of a part of the framebuffer.
fn dirty(vf: &Vf, source: Source) -> Result<()> {
    vf.dirty_start(source)?;
    let got = vf.dirty_get((0, 4 * MIB), 4096, false);
    vf.dirty_stop()?;
    got?;
    Ok(())
}

pub(crate) fn track(host: &Host) -> Result<()> {
    let vf = host.vf(0)?;
    dirty(&vf, Source::Software)?;
    dirty(&vf, Source::Exact)
}

/// The whole stream of VF0, which is paused for it.
pub(crate) fn stream(host: &Host) -> Result<Vec<u8>> {
    let mut all = Vec::with_capacity(1 << 20);
    let vf = host.vf(0)?;
    vf.pause(0, false)?;
    let mut stream = vf.save(None)?;
    stream.read_to_end(&mut all)?;
    ensure!(stream.is_complete()?, "the stream is not whole");
    drop(stream);
    vf.resume()?;
    Ok(all)
}

pub(crate) fn save(host: &Host) -> Result<()> {
    stream(host).map(drop)
}

/// The beginning of a stream in rounds: tracking starts with it.
pub(crate) fn rounds(host: &Host) -> Result<()> {
    let vf = host.vf(0)?;
    for source in [Source::Software, Source::Exact] {
        let mut stream = vf.save(Some(source))?;
        let mut some = [0; 4096];
        ensure!(stream.read(&mut some)? != 0, "the stream is empty");
    }
    Ok(())
}

/// VF1 becomes what VF0 was.
pub(crate) fn restore(host: &Host, bytes: &[u8]) -> Result<()> {
    let vf = host.vf(1)?;
    let mut stream = vf.restore()?;
    for piece in bytes.chunks(64 << 10) {
        stream.write_all(piece)?;
    }
    ensure!(stream.is_complete()?, "the stream is not whole");
    drop(stream);
    vf.resume()?;
    Ok(vf.reset()?)
}
