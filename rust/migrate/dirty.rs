// SPDX-License-Identifier: GPL-2.0

//! Dirty tracking for user space: a bitmap, read and cleared.

use core::mem::size_of;

use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use super::{
    track::{
        Source,
        Tracker, //
    },
    PIECE,
};
use crate::{
    ffi::{
        timer,
        uapi, //
    },
    gim_core::{
        dirty::Span,
        stream::Run,
        track::Keeps,
        types::VfId, //
    },
    gpu::{
        hold::FbAccess,
        Gpu, //
    },
    port::Claimed,
    show::Show, //
};

/// Changes of one VF that are being tracked.
pub(super) struct Log {
    tracker: Tracker,
    vf: VfId,
    fb: FbAccess,
    buf: VVec<u8>,
    _claim: Claimed,
}

impl Log {
    /// Begins; nothing has changed yet.
    pub(super) fn start(gpu: &Arc<Gpu>, claim: Claimed, vf: VfId, source: Source) -> Result<Self> {
        let mut log = Self {
            tracker: Tracker::start(gpu, vf, source, Keeps::Seen, timer::now_ns())?,
            vf,
            fb: FbAccess::new(),
            buf: VVec::zeroed(PIECE, GFP_KERNEL)?,
            _claim: claim,
        };
        if log.tracker.by_reading() {
            let all = Run {
                first: 0,
                count: log.tracker.pages(),
            };
            log.look(gpu, all)?;
        }
        log.tracker.map()?.clear_all();
        Ok(log)
    }

    /// Ends.
    pub(super) fn stop(self, gpu: &Gpu) {
        self.tracker.stop(gpu);
    }

    fn look(&mut self, gpu: &Arc<Gpu>, run: Run) -> Result {
        let base = gpu.part(self.vf)?.offset();
        self.tracker
            .scan(gpu, &mut self.fb, base, run, &mut self.buf)
    }

    /// Answers `GIM_VF_DIRTY_GET`.
    pub(super) fn get(&mut self, gpu: &Arc<Gpu>, request: &mut uapi::gim_dirty_bitmap) -> Result {
        if request.flags & !uapi::GIM_DIRTY_PEEK != 0 {
            return Err(EINVAL);
        }
        let size = gpu.part(self.vf)?.size();
        let span = Span::new(request.offset, request.length, request.granularity, size)
            .inspect_err(|e| dev_dbg!(gpu.hw().pf.get(), "{}\n", Show(*e)))
            .map_err(|_| EINVAL)?;
        if self.tracker.by_reading() {
            self.look(gpu, span.run())?;
        } else {
            self.tracker.collect(gpu);
        }
        // A plane that is not there any more has no page marked.
        gpu.still_there()?;
        let words = usize::try_from(span.words())?;
        let mut out = VVec::<u64>::zeroed(words, GFP_KERNEL)?;
        let peek = request.flags & uapi::GIM_DIRTY_PEEK != 0;
        let mut map = self.tracker.map()?;
        request.dirty = match peek {
            true => map.peek_span(&span, 0, &mut out),
            false => map.take_span(&span, 0, &mut out),
        }
        .into();
        let user = UserPtr::from_addr(usize::try_from(request.bitmap)?);
        let mut writer = UserSlice::new(user, words * size_of::<u64>()).writer();
        let sent = out.iter().try_for_each(|word| writer.write(word));
        // What has not arrived is not forgotten.
        sent.inspect_err(|_| {
            if !peek {
                map.put_back(&span, 0, &out);
            }
        })
    }
}
