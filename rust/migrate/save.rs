// SPDX-License-Identifier: GPL-2.0

//! The stream that is read: framebuffer in rounds while the VF runs, then what is left and its
//! state once it is paused.
//!
//! - [`file`]: whoever reads it;
//! - [`pages`]: rounds; what comes next decides the core's `course`;
//! - [`state`]: what follows the last page, and the end;
//! - [`look`]: where software looks for changes, beside the reader;
//! - [`meter`]: how long it will take, and what to do next, as the core's `rounds` has it;
//! - [`tell`]: what is left, and what went wrong.

mod file;
mod look;
mod meter;
mod pages;
mod state;
mod tell;

use core::ops::Range;

use kernel::{
    impl_has_work,
    new_mutex,
    new_poll_condvar,
    new_work,
    prelude::*,
    sync::{
        poll::PollCondVar,
        Arc,
        Mutex, //
    },
    workqueue::Work, //
};

pub(super) use self::tell::state_bytes;
use self::{
    look::Scratch,
    meter::Meter,
    pages::Batch,
    tell::Cause, //
};
use super::{
    header,
    track::{
        Source,
        Tracker, //
    },
    PIECE,
};
use crate::{
    ffi::{
        crc,
        log::may_log_stream,
        queue::OwnQueue,
        timer, //
    },
    gim_core::{
        course::Course,
        migrate::Happens,
        rounds::Limits,
        stream::{
            self,
            Encoder,
            HEAD_LEN,
            PAGES_MAX,
            RUN_LEN,
            SCRATCH, //
        },
        track::Keeps,
        types::VfId, //
    },
    gpu::{
        hold::{
            Epoch,
            FbAccess, //
        },
        Gpu, //
    },
    port::{
        Claimed,
        Port, //
    },
};

/// Bytes that one step stages at most: a full PAGES section and a few small ones.
const STAGED_MAX: usize = PIECE + PAGES_MAX as usize * RUN_LEN + HEAD_LEN + 5 * SCRATCH;

/// Where the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Pages,
    State,
    Context,
    Done,
    /// It failed; every read says so again.
    Broken(Error),
}

/// What a step has led to.
enum Step {
    /// Something may be staged.
    Staged,
    /// The same, and a round is over: the reader is to look around.
    Round,
    /// Nothing is dirty at the moment, and the VF runs.
    Quiet,
    /// The last look has to come further.
    Wait,
}

/// A VF being saved.
#[pin_data]
pub(super) struct SaveStream {
    port: Arc<Port>,
    #[pin]
    save: Mutex<Save>,
    /// A look has come further.
    #[pin]
    looked: PollCondVar,
    #[pin]
    work: Work<Self>,
    #[pin]
    scratch: Mutex<Scratch>,
    /// Where looks are done, until the stream is closed.
    #[pin]
    queue: Mutex<Option<OwnQueue>>,
}

impl_has_work! {
    impl HasWork<Self> for SaveStream { self.work }
}

struct Save {
    vf: VfId,
    epoch: Epoch,
    phase: Phase,
    /// What has led to its failure.
    cause: Option<Cause>,
    enc: Encoder,
    context_bytes: u32,
    /// Bytes that were made and not read yet: `staged[sent..made]`.
    staged: VVec<u8>,
    sent: usize,
    made: usize,
    fb: FbAccess,
    /// Where the VF's framebuffer begins.
    base: u64,
    /// Contents of pages, before it is known which are sent.
    pages: VVec<u8>,
    batch: Batch,
    tracker: Tracker,
    course: Course,
    meter: Meter,
    /// A sweep of looks is to be made.
    sweep: bool,
    /// The worker is to be woken.
    wake: bool,
    /// It has come further since a reader was told to come again.
    looked: bool,
    /// The stay during which the last look was begun: what it finds is final while that lasts.
    last_stay: Option<u32>,
    /// Once the VF is paused the stream comes to its end; else it may run on.
    last: bool,
    zero_pages: u64,
    passed: u64,
    _claim: Claimed,
}

/// What the caller wants of a stream.
pub(super) struct Wishes {
    pub(super) source: Source,
    pub(super) limits: Limits,
}

impl SaveStream {
    /// A stream of the VF: with a source of dirty pages it may run meanwhile.
    ///
    /// Errors: `EBUSY` without a source it has to be paused.
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        claim: Claimed,
        port: Arc<Port>,
        (vf, epoch): (VfId, Epoch),
        wishes: &Wishes,
    ) -> Result<Arc<Self>> {
        if wishes.source == Source::Still && !gpu.is_held(vf) {
            return Err(EBUSY);
        }
        let header = header(gpu, vf)?;
        let staged = VVec::zeroed(STAGED_MAX, GFP_KERNEL)?;
        let pages = VVec::zeroed(PIECE, GFP_KERNEL)?;
        let scratch = Scratch::new(wishes.source)?;
        let queue = OwnQueue::patient(c"gim-look")?;
        let now = timer::now_ns();
        let tracker = Tracker::start(gpu, vf, wishes.source, Keeps::Sent, now)?;
        let meter = Meter::new(wishes.limits, tracker.pages(), now);
        let base = gpu.part(vf)?.offset();
        let opened = port.clone();
        let made = Arc::pin_init(
            try_pin_init!(Self {
                port,
                save <- new_mutex!(Save {
                    vf,
                    epoch,
                    phase: Phase::Header,
                    cause: None,
                    enc: Encoder::new(header).with_crc(crc::update),
                    context_bytes: header.context_bytes,
                    staged,
                    sent: 0,
                    made: 0,
                    fb: FbAccess::new(),
                    base,
                    pages,
                    batch: Batch::NONE,
                    tracker,
                    course: Course::new(),
                    meter,
                    sweep: false,
                    wake: false,
                    looked: true,
                    last_stay: None,
                    last: true,
                    zero_pages: 0,
                    passed: 0,
                    _claim: claim,
                }, "gim::save"),
                looked <- new_poll_condvar!("gim::looked"),
                work <- new_work!("gim::look"),
                scratch <- new_mutex!(scratch, "gim::scratch"),
                queue <- new_mutex!(Some(queue), "gim::look_queue"),
            }? Error),
            GFP_KERNEL,
        )?;
        opened.moving(gpu, vf, |m, now| m.happens(now, Happens::Save))?;
        Ok(made)
    }

    /// Whether the stream comes to its end once the VF is paused: at first it does.
    pub(super) fn set_last(&self, last: bool) {
        self.save.lock().last = last;
    }

    /// It cannot be saved (any more).
    fn fail(&self, save: &mut Save, error: Error) {
        let first = !matches!(save.phase, Phase::Broken(_));
        let at = core::mem::replace(&mut save.phase, Phase::Broken(error));
        let Ok(gpu) = self.port.enter() else {
            return;
        };
        if first && may_log_stream() {
            let (dev, vf, why) = (gpu.hw().pf.get(), save.vf.raw(), save.why(error));
            let rounds = save.course.rounds();
            dev_err!(dev, "VF{vf}: not saved: {why} ({at:?}, {rounds} rounds)\n");
        }
        // A reset, say, has ended it already.
        let _ = self
            .port
            .moving(&gpu, save.vf, |m, now| m.happens(now, Happens::Error));
        gpu.end_hold(save.vf);
    }
}

impl Save {
    /// Makes what comes next.
    fn step(&mut self, gpu: &Arc<Gpu>, port: &Port) -> Result<Step> {
        (self.sent, self.made) = (0, 0);
        match self.phase {
            Phase::Header => {
                let made = self.enc.header(&mut self.staged);
                self.made += self.checked(made)?;
                self.phase = Phase::Pages;
            }
            Phase::Pages => return self.page_step(gpu, port),
            Phase::State => self.state_step(gpu)?,
            Phase::Context => self.context_step(gpu)?,
            Phase::Done => {}
            Phase::Broken(e) => return Err(e),
        }
        Ok(Step::Staged)
    }

    /// Stages what `make` writes.
    fn stage(
        &mut self,
        make: impl FnOnce(&mut Encoder, &mut [u8]) -> Result<usize, stream::Error>,
    ) -> Result {
        let room = self.staged.get_mut(self.made..).ok_or(ENOSPC)?;
        let made = make(&mut self.enc, room);
        self.made += self.checked(made)?;
        Ok(())
    }

    /// Stages what was read to this part of `pages`, as it is.
    fn stage_data(&mut self, part: Range<usize>) -> Result {
        let bytes = self.pages.get(part).ok_or(EINVAL)?;
        let (from, len) = (self.made, bytes.len());
        let room = self.staged.get_mut(from..from + len).ok_or(ENOSPC)?;
        room.copy_from_slice(bytes);
        let made = self.enc.data(bytes);
        self.checked(made)?;
        self.made += len;
        Ok(())
    }

    /// It cannot come to its end, because of that.
    fn spoilt(&mut self, cause: Cause) -> Error {
        self.cause = Some(cause);
        EIO
    }

    /// What the encoder refuses is a mistake of ours.
    fn checked<T>(&mut self, result: Result<T, stream::Error>) -> Result<T> {
        result.map_err(|e| self.spoilt(Cause::Refused(e)))
    }
}
