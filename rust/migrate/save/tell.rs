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
        // CAST: Below the size of a step.
        let staged = (save.made - save.sent) as u64;
        let page = PAGE_BYTES as u64;
        let known = save.tracker.known().saturating_mul(page);
        let (initial_bytes, dirty_bytes) = match save.course.is_first() {
            true => {
                let pages = save.tracker.pages().saturating_sub(save.course.cursor());
                let initial = u64::from(pages) * page;
                (initial + staged, known.saturating_sub(initial))
            }
            false => (0, known + staged),
        };
        Progress {
            initial_bytes,
            dirty_bytes,
            state_bytes: match save.phase {
                Phase::Done | Phase::Broken(_) => 0,
                _ => save.state_bytes(),
            },
        }
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
        let page = u64::try_from(PAGE_BYTES)?;
        let known = save.tracker.known().saturating_mul(page);
        info.round = save.enc.rounds();
        match save.course.is_first() {
            true => {
                let pages = save.tracker.pages().saturating_sub(save.course.cursor());
                info.initial_bytes = u64::from(pages) * page;
                info.dirty_bytes = known.saturating_sub(info.initial_bytes);
            }
            false => info.dirty_bytes = known,
        }
        info.state_bytes = match save.phase {
            Phase::Done | Phase::Broken(_) => 0,
            _ => save.state_bytes(),
        };
        info.passed_bytes = save.passed;
        info.zero_pages = save.zero_pages;
        save.meter.tell(&mut info);
        drop(save);
        uapi::write(arg, info)
    }
}

impl Save {
    /// Bytes that follow the last page.
    fn state_bytes(&self) -> u64 {
        state_bytes(self.context_bytes)
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
