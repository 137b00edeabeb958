// SPDX-License-Identifier: GPL-2.0
//! Looks for another tenant's bytes in a framebuffer that was just handed out.

use std::time::Duration;

use gpu_regs::exchange::{PAGE, PF2VF, VF2PF};
use gpu_regs::sdma::Packet;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::{DMA_WORK, HOST_AREA, TABLE, TABLE_BYTES, WORK};
use crate::runner::FENCE_LIMIT;
use crate::transport::Transport;
use crate::vf::Vf;

/// Bytes looked at at a time.
const CHUNK: usize = 1 << 20;
/// VBIOS image, if the host provides one (section 4.5 of gpu-iov-hardware.md).
const VBIOS: u64 = 64 << 10;
/// The pages behind it that host and guest write to each other, where they do.
const PAGES_END: u64 = VF2PF + PAGE as u64;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes of a VBIOS image and data exchange that the host put there.
    pub documented: u64,
    /// Bytes that are not zero and have no business there.
    pub dirty: u64,
    /// Offset of the first of them.
    pub first: Option<u64>,
}

impl Report {
    fn look(&mut self, offset: u64, data: &[u8]) {
        self.bytes += data.len() as u64;
        if data.iter().all(|&b| b == 0) {
            return;
        }
        for (i, _) in data.iter().enumerate().filter(|(_, &b)| b != 0) {
            self.dirty += 1;
            self.first.get_or_insert(offset + i as u64);
        }
    }
}

/// Bytes of DMA work area that [`check`] needs.
pub const DMA_BYTES: usize = CHUNK;

/// Starts the VF and looks at all of its framebuffer.
pub fn check<T: Transport>(vf: &mut Vf<T>) -> Result<Report> {
    let mut report = Report::default();
    // Where the client puts its own ring and table it must look before it writes.
    vf.start_with(gpu_regs::mailbox::request::REQ_INIT_ACCESS, |vf| {
        let mut data = vec![0; (TABLE - HOST_AREA) as usize + TABLE_BYTES];
        vf.t.vram_read(HOST_AREA, &mut data)?;
        report.look(HOST_AREA, &data);
        Ok(())
    })?;
    let rest = TABLE + TABLE_BYTES as u64;
    debug_assert!(rest <= WORK);
    host_area(vf, &mut report)?;
    let end = vf.space.vram_bytes;
    let window = vf.t.vram_window().min(end);
    let mut data = vec![0; CHUNK];
    let mut at = rest;
    while at < end {
        let limit = if at < window { window } else { end };
        let n = usize::try_from(limit - at).unwrap_or(CHUNK).min(CHUNK);
        if at < window {
            vf.t.vram_read(at, &mut data[..n])?;
        } else {
            fetch(vf, at, &mut data[..n])?;
        }
        report.look(at, &data[..n]);
        at += n as u64;
    }
    Ok(report)
}

/// The first 2 MiB: a VBIOS is the host's, if it is there, and so are the exchange pages.
fn host_area<T: Transport>(vf: &mut Vf<T>, report: &mut Report) -> Result<()> {
    let mut data = vec![0; HOST_AREA as usize];
    vf.t.vram_read(0, &mut data)?;
    let mut known = Vec::new();
    if data.starts_with(&[0x55, 0xAA]) {
        known.push(0..VBIOS);
    }
    // It was read and found right when the VF was started.
    if vf.host.is_some() {
        known.push(PF2VF..PAGES_END);
    }
    for range in known {
        report.documented += range.end - range.start;
        data[range.start as usize..range.end as usize].fill(0);
    }
    report.look(0, &data);
    Ok(())
}

/// Lets the GPU bring bytes that BAR0 does not show.
fn fetch<T: Transport>(vf: &mut Vf<T>, offset: u64, data: &mut [u8]) -> Result<()> {
    let bytes = u32::try_from(data.len())
        .map_err(|_| Error::Unsupported(format!("{} bytes at once", data.len())))?;
    let mut stream = vf.stream();
    stream.push(&Packet::CopyLinear {
        src: offset,
        dst: vf.space.dma(DMA_WORK),
        bytes,
    });
    let (seq, position) = vf.submit(stream)?;
    vf.wait_fence(seq, FENCE_LIMIT.max(Duration::from_secs(1)))?;
    vf.ring.retire(position);
    vf.t.dma_read(&vf.dma, DMA_WORK, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_bytes_are_counted_and_the_first_is_named() {
        let mut r = Report::default();
        r.look(0x1000, &[0; 16]);
        r.look(0x2000, &[0, 0, 7, 0, 9]);
        assert_eq!(
            r,
            Report {
                bytes: 21,
                documented: 0,
                dirty: 2,
                first: Some(0x2002)
            }
        );
    }
}
