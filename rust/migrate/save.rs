// SPDX-License-Identifier: GPL-2.0

//! The stream that is read: framebuffer in rounds while the VF runs, then what is left and its
//! state once it is paused.
//!
//! - [`pages`]: rounds; what comes next decides the core's `course`;
//! - [`look`]: where software looks for changes, beside the reader;
//! - [`meter`]: how long it will take, and what to do next, as the core's `rounds` has it.

mod look;
mod meter;
mod pages;

use core::fmt;

use kernel::{
    impl_has_work,
    new_mutex,
    new_poll_condvar,
    new_work,
    prelude::*,
    sync::{
        poll::PollCondVar,
        Arc,
        ArcBorrow,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::msecs_to_jiffies,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceWriter, //
    },
    workqueue::Work, //
};

use self::{
    look::Scratch,
    meter::Meter,
    pages::Batch, //
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
        anon::{
            ready,
            AnonFile, //
        },
        crc,
        log::may_log_stream,
        queue::OwnQueue,
        seam::Progress,
        timer,
        uapi, //
    },
    gim_core::{
        course::Course,
        hash::PAGE_BYTES,
        migrate::Happens,
        rounds::Limits,
        stream::{
            self,
            Encoder,
            HEADER_LEN,
            HEAD_LEN,
            PAGES_MAX,
            RUN_LEN,
            SCRATCH,
            TRAILER_LEN, //
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
    show::Show,
};

/// Bytes that one step stages at most: a full PAGES section and a few small ones.
const STAGED_MAX: usize = PIECE + PAGES_MAX as usize * RUN_LEN + HEAD_LEN + 5 * SCRATCH;

/// The longest that one read waits for the last look; then it is asked again.
const WAIT_MS: u32 = 1000;

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

/// Why a stream cannot come to its end.
#[derive(Clone, Copy, Debug)]
enum Cause {
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

    /// What is left, as VFIO counts it: where both are zero a read finds nothing.
    pub(super) fn progress(&self) -> Progress {
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

    fn query(&self, arg: usize) -> Result {
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

    /// Has the worker look, if the reader wants it to.
    fn wake(this: ArcBorrow<'_, Self>, save: &mut Save) {
        if core::mem::take(&mut save.wake) {
            if let Some(queue) = &*this.queue.lock() {
                // Already queued is fine: it looks until nobody wants it to.
                let _ = queue.queue().enqueue::<_, 0>(Arc::from(this));
            }
        }
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

    /// Delivers what there is; whether to wait for more where a look has to come further.
    fn deliver(
        this: ArcBorrow<'_, Self>,
        out: &mut UserSliceWriter,
        may_wait: bool,
    ) -> Result<usize> {
        let mut save = this.save.lock();
        save.meter.reader_came(timer::now_ns());
        let mut n = 0;
        let result = loop {
            if out.is_empty() {
                break Ok(n);
            }
            if save.sent < save.made {
                match save.hand_over(out) {
                    Ok(more) => n += more,
                    Err(e) => break Err(e),
                }
                continue;
            }
            if save.phase == Phase::Done || (n != 0 && kernel::current!().signal_pending()) {
                break Ok(n);
            }
            let gpu = this.port.enter()?;
            let done = save.step(&gpu, &this.port);
            if done.is_ok() && save.phase == Phase::Done {
                let _ = this
                    .port
                    .moving(&gpu, save.vf, |m, now| m.happens(now, Happens::End));
            }
            // Whoever waits for a look lets the GPU go meanwhile.
            drop(gpu);
            Self::wake(this, &mut save);
            match done {
                Ok(Step::Staged) => {}
                Ok(Step::Round) => {
                    break save.hand_over(out).map(|more| n + more);
                }
                Ok(_) if n != 0 => break Ok(n),
                Ok(Step::Quiet) => break Err(ENOMSG),
                Ok(Step::Wait) if !may_wait => {
                    save.looked = false;
                    break Err(EAGAIN);
                }
                Ok(Step::Wait) => {
                    let limit = msecs_to_jiffies(WAIT_MS);
                    let met = this.looked.wait_interruptible_timeout(&mut save, limit);
                    if let CondVarTimeoutResult::Signal { .. } = met {
                        break Err(EINTR);
                    }
                }
                Err(e) => {
                    this.fail(&mut save, e);
                    break Err(e);
                }
            }
        };
        save.meter.reader_goes(timer::now_ns(), n as u64);
        result
    }
}

impl Save {
    /// Bytes that follow the last page.
    fn state_bytes(&self) -> u64 {
        state_bytes(self.context_bytes)
    }

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

    /// `EIO` unless the VF is the one that was paused, and has not run since its last page was read.
    fn still_held(&mut self, gpu: &Arc<Gpu>) -> Result {
        let now = gpu.stand(self.vf);
        if now.epoch != Some(self.epoch) {
            return Err(self.lost(gpu));
        }
        match Some(now.stay) == self.last_stay && now.held && !now.bounded {
            true => Ok(()),
            false => Err(self.spoilt(Cause::Ran)),
        }
    }

    /// The VF is not the one that was to be saved.
    fn lost(&mut self, gpu: &Gpu) -> Error {
        match gpu.gone_or(EIO) {
            EIO => self.spoilt(Cause::Reset),
            gone => gone,
        }
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

    /// Why it failed, for people.
    fn why(&self, error: Error) -> Show<Cause> {
        Show(match (error, self.cause) {
            (EIO, Some(cause)) => cause,
            (ENODEV, _) => Cause::Gone,
            _ => Cause::Error(error.to_errno()),
        })
    }

    /// Everything but framebuffer and context.
    fn state_step(&mut self, gpu: &Arc<Gpu>) -> Result {
        self.still_held(gpu)?;
        let (state, mailbox) = gpu.export_vf(self.vf);
        let registers = gpu.read_vf_registers(self.vf)?;
        let irq = stream::Irq {
            again: true,
            vectors: 0,
        };
        self.stage(|enc, out| enc.state(out, &state))?;
        self.stage(|enc, out| enc.registers(out, registers.as_slice()))?;
        self.stage(|enc, out| enc.mailbox(out, &mailbox))?;
        self.stage(|enc, out| enc.irq(out, irq))?;
        if state.loaded {
            self.phase = Phase::Context;
            return Ok(());
        }
        self.end(gpu)
    }

    fn context_step(&mut self, gpu: &Arc<Gpu>) -> Result {
        let (at, bytes) = gpu.context_part(self.vf)?;
        let image = self.pages.get_mut(..bytes).ok_or(EINVAL)?;
        self.fb.read(gpu, at, image)?;
        self.stage(Encoder::context)?;
        let image = self.pages.get(..bytes).ok_or(EINVAL)?;
        let made = self.enc.data(image);
        self.checked(made)?;
        let image = self.pages.get(..bytes).ok_or(EINVAL)?;
        let to = self.staged.get_mut(self.made..self.made + bytes);
        to.ok_or(ENOSPC)?.copy_from_slice(image);
        self.made += bytes;
        self.stage(Encoder::end_section)?;
        self.end(gpu)
    }

    fn end(&mut self, gpu: &Arc<Gpu>) -> Result {
        // What was read is worth nothing if it was reset meanwhile, or read from nothing.
        self.still_held(gpu)?;
        gpu.still_there()?;
        self.stage(Encoder::end)?;
        self.phase = Phase::Done;
        self.tracker.stop(gpu);
        Ok(())
    }

    /// Hands over what is staged.
    fn hand_over(&mut self, out: &mut UserSliceWriter) -> Result<usize> {
        let n = out.len().min(self.made - self.sent);
        let bytes = self.staged.get(self.sent..self.sent + n).ok_or(EINVAL)?;
        out.write_slice(bytes)?;
        self.sent += n;
        // CAST: Below the size of a step.
        self.passed = self.passed.saturating_add(n as u64);
        Ok(n)
    }
}

/// Bytes of a stream that are no pages, at most.
pub(super) fn state_bytes(context_bytes: u32) -> u64 {
    let small = 6 * SCRATCH + HEADER_LEN;
    // CAST: Small constants.
    u64::from(context_bytes) + (small + TRAILER_LEN) as u64
}

impl AnonFile for SaveStream {
    const NAME: &'static CStr = c"gim-save";

    fn read(this: ArcBorrow<'_, Self>, mut out: UserSliceWriter) -> Result<usize> {
        Self::deliver(this, &mut out, true)
    }

    fn read_now(this: ArcBorrow<'_, Self>, to: usize, len: usize) -> Result<usize> {
        let mut out = UserSlice::new(UserPtr::from_addr(to), len).writer();
        Self::deliver(this, &mut out, false)
    }

    /// A read waits for the framebuffer and, while the VF is held, for the last look at it: who was
    /// told so (`EAGAIN`) finds it ready when the look has come further.
    fn poll(&self) -> u32 {
        match (self.port.is_open(), self.save.lock().looked) {
            (false, _) => ready::ERR | ready::HUP,
            (true, true) => ready::IN,
            (true, false) => 0,
        }
    }

    fn changes(&self) -> Option<&PollCondVar> {
        Some(&self.looked)
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            uapi::GIM_IOCTL_STREAM_QUERY => self.query(arg).map(|()| 0),
            _ => Err(ENOTTY),
        }
    }

    fn release(&self) {
        let vf = {
            let mut save = self.save.lock();
            // The worker has nothing to do then.
            if save.phase != Phase::Done {
                save.phase = Phase::Broken(ECANCELED);
            }
            save.vf
        };
        // This waits for the worker.
        let queue = self.queue.lock().take();
        drop(queue);
        if let Ok(gpu) = self.port.enter() {
            let save = self.save.lock();
            if save.phase != Phase::Done {
                save.tracker.stop(&gpu);
            }
            let _ = self
                .port
                .moving(&gpu, vf, |m, now| m.happens(now, Happens::Close));
            gpu.end_hold(vf);
        }
    }
}
