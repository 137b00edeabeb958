// SPDX-License-Identifier: GPL-2.0

//! What a stream tells of itself: what is left, and why it has failed.

use core::fmt;

use kernel::prelude::*;

use super::{
    Phase,
    Save,
    SaveStream, //
};
use crate::{
    ffi::{
        seam::Progress,
        uapi, //
    },
    gim_core::{
        hash::PAGE_BYTES,
        stream::{
            self,
            HEADER_LEN,
            SCRATCH,
            TRAILER_LEN, //
        },
    },
    show::Show,
};

/// Why a stream cannot come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// The VF was reset.
    Reset,
    /// It ran where it had to stand still.
    Ran,
    /// Its GPU is not there any more.
    Gone,
    /// The encoder has refused something.
    Refused(stream::Error),
    /// Something failed, with this number.
    Error(i32),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("it was reset"),
            Self::Ran => f.write_str("it ran where it had to stand still"),
            Self::Gone => f.write_str("the GPU has left the bus"),
            Self::Refused(why) => write!(f, "the stream would be wrong: {why}"),
            Self::Error(errno) => write!(f, "error {errno}"),
        }
    }
}

/// Bytes of a stream that are no pages, at most.
pub(in crate::migrate) fn state_bytes(context_bytes: u32) -> u64 {
    let small = 6 * SCRATCH + HEADER_LEN;
    // CAST: Small constants.
    u64::from(context_bytes) + (small + TRAILER_LEN) as u64
}

impl SaveStream {
    /// What is left, as VFIO counts it: where both are zero a read finds nothing.
    pub(in crate::migrate) fn progress(&self) -> Progress {
        let mut save = self.save.lock();
        let save = &mut *save;
        if let Ok(gpu) = self.port.enter() {
            save.tracker.collect(&gpu);
        }
        let mut left = save.left();
        // CAST: Below the size of a step.
        let staged = (save.made - save.sent) as u64;
        match save.course.is_first() {
            true => left.initial_bytes += staged,
            false => left.dirty_bytes += staged,
        }
        left
    }

    /// Answers `GIM_IOCTL_STREAM_QUERY`.
    pub(super) fn query(&self, arg: usize) -> Result {
        let mut info: uapi::gim_stream_info = uapi::read(arg)?;
        let save = self.save.lock();
        let paused = match self.port.enter() {
            Ok(gpu) => {
                let now = gpu.stand(save.vf);
                now.held && !now.bounded
            }
            Err(_) => false,
        };
        info.flags = match save.phase {
            Phase::Done => uapi::GIM_STREAM_COMPLETE,
            Phase::Header | Phase::Pages if !paused => uapi::GIM_STREAM_PRECOPY,
            _ => 0,
        };
        let left = save.left();
        info.initial_bytes = left.initial_bytes;
        info.dirty_bytes = left.dirty_bytes;
        info.state_bytes = left.state_bytes;
        info.round = save.enc.rounds();
        info.passed_bytes = save.passed;
        info.zero_pages = save.zero_pages;
        save.meter.tell(&mut info);
        drop(save);
        uapi::write(arg, info)
    }
}

impl Save {
    /// What is left to be made: pages that were never sent, pages that have changed since, and what
    /// follows the last page.
    fn left(&self) -> Progress {
        let page = PAGE_BYTES as u64;
        let known = self.tracker.known().saturating_mul(page);
        let pages = match self.course.is_first() {
            true => self.tracker.pages().saturating_sub(self.course.cursor()),
            false => 0,
        };
        let initial_bytes = u64::from(pages) * page;
        Progress {
            initial_bytes,
            dirty_bytes: known.saturating_sub(initial_bytes),
            state_bytes: match self.phase {
                Phase::Done | Phase::Broken(_) => 0,
                _ => state_bytes(self.context_bytes),
            },
        }
    }

    /// Why it failed, for people.
    pub(super) fn why(&self, error: Error) -> Show<Cause> {
        Show(match (error, self.cause) {
            (EIO, Some(cause)) => cause,
            (ENODEV, _) => Cause::Gone,
            _ => Cause::Error(error.to_errno()),
        })
    }
}
