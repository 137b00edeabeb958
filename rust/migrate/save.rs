// SPDX-License-Identifier: GPL-2.0

//! The stream that is read: framebuffer in rounds while the VF runs, then what is left and its
//! state once it is paused.

mod pages;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSliceWriter, //
};

use self::pages::Round;
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
        uapi, //
    },
    gim_core::{
        hash::PAGE_BYTES,
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
    /// Nothing is dirty at the moment, and the VF runs.
    Quiet,
}

/// A VF being saved.
#[pin_data]
pub(super) struct SaveStream {
    port: Arc<Port>,
    #[pin]
    save: Mutex<Save>,
}

struct Save {
    vf: VfId,
    epoch: Epoch,
    phase: Phase,
    enc: Encoder,
    context_bytes: u32,
    /// Bytes that were made and not read yet: `staged[sent..made]`.
    staged: VVec<u8>,
    sent: usize,
    made: usize,
    fb: FbAccess,
    /// Contents of pages, before it is known which are sent.
    pages: VVec<u8>,
    tracker: Option<Tracker>,
    round: Round,
    zero_pages: u64,
    passed: u64,
    _claim: Claimed,
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
        source: Option<Source>,
    ) -> Result<Arc<Self>> {
        if source.is_none() && !gpu.is_held(vf) {
            return Err(EBUSY);
        }
        let header = header(gpu, vf)?;
        let count = usize::try_from(header.fb_bytes)? / PAGE_BYTES;
        let staged = VVec::zeroed(STAGED_MAX, GFP_KERNEL)?;
        let pages = VVec::zeroed(PIECE, GFP_KERNEL)?;
        let tracker = match source {
            Some(source) => Some(Tracker::start(gpu, vf, source, count)?),
            None => None,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                port,
                save <- new_mutex!(Save {
                    vf,
                    epoch,
                    phase: Phase::Header,
                    enc: Encoder::new(header),
                    context_bytes: header.context_bytes,
                    staged,
                    sent: 0,
                    made: 0,
                    fb: FbAccess::new(),
                    pages,
                    tracker,
                    round: Round::first(count),
                    zero_pages: 0,
                    passed: 0,
                    _claim: claim,
                }),
            }? Error),
            GFP_KERNEL,
        )
    }

    fn query(&self, arg: usize) -> Result {
        let mut info: uapi::gim_stream_info = uapi::read(arg)?;
        let save = self.save.lock();
        let held = match self.port.enter() {
            Ok(gpu) => gpu.is_held(save.vf),
            Err(_) => false,
        };
        info.flags = match save.phase {
            Phase::Done => uapi::GIM_STREAM_COMPLETE,
            Phase::Header | Phase::Pages if !held => uapi::GIM_STREAM_PRECOPY,
            _ => 0,
        };
        let page = u64::try_from(PAGE_BYTES)?;
        info.round = save.enc.rounds();
        info.initial_bytes = save.round.initial_pages() * page;
        info.dirty_bytes = match &save.tracker {
            Some(tracker) if tracker.by_reading() => save.round.last_found() * page,
            Some(tracker) => tracker.known() * page,
            None => 0,
        };
        info.state_bytes = match save.phase {
            Phase::Done | Phase::Broken(_) => 0,
            _ => save.state_bytes(),
        };
        info.passed_bytes = save.passed;
        info.zero_pages = save.zero_pages;
        drop(save);
        uapi::write(arg, info)
    }
}

impl Save {
    /// Bytes that follow the last page.
    fn state_bytes(&self) -> u64 {
        let small = 6 * SCRATCH + HEADER_LEN;
        // CAST: Small constants.
        u64::from(self.context_bytes) + (small + TRAILER_LEN) as u64
    }

    /// Makes what comes next.
    fn step(&mut self, gpu: &Arc<Gpu>) -> Result<Step> {
        (self.sent, self.made) = (0, 0);
        match self.phase {
            Phase::Header => {
                let out = &mut self.staged[..];
                self.made += broken(self.enc.header(out))?;
                self.phase = Phase::Pages;
            }
            Phase::Pages => return self.page_step(gpu),
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
        self.made += broken(make(&mut self.enc, room))?;
        Ok(())
    }

    /// `EIO` unless the VF is still the one that was paused.
    fn still_held(&self, gpu: &Arc<Gpu>) -> Result {
        let same = gpu.epoch(self.vf) == Some(self.epoch);
        match same && gpu.is_held(self.vf) {
            true => Ok(()),
            false => Err(EIO),
        }
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
        broken(self.enc.data(image))?;
        let to = self.staged.get_mut(self.made..self.made + bytes);
        to.ok_or(ENOSPC)?.copy_from_slice(image);
        self.made += bytes;
        self.stage(Encoder::end_section)?;
        self.end(gpu)
    }

    fn end(&mut self, gpu: &Arc<Gpu>) -> Result {
        // What was read is worth nothing if it was reset meanwhile.
        self.still_held(gpu)?;
        self.stage(Encoder::end)?;
        self.phase = Phase::Done;
        if let Some(tracker) = self.tracker.take() {
            tracker.stop(gpu);
        }
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

/// What the encoder refuses is a mistake of ours.
fn broken<T>(result: Result<T, stream::Error>) -> Result<T> {
    result.map_err(|_| EIO)
}

impl AnonFile for SaveStream {
    const NAME: &'static CStr = c"gim-save";

    fn read(&self, mut out: UserSliceWriter) -> Result<usize> {
        let mut save = self.save.lock();
        let mut n = 0;
        while !out.is_empty() {
            if save.sent < save.made {
                n += save.hand_over(&mut out)?;
                continue;
            }
            if save.phase == Phase::Done || (n != 0 && kernel::current!().signal_pending()) {
                break;
            }
            let gpu = self.port.enter()?;
            match save.step(&gpu) {
                Ok(Step::Staged) => {}
                Ok(Step::Quiet) if n == 0 => return Err(ENOMSG),
                Ok(Step::Quiet) => break,
                Err(e) => {
                    save.phase = Phase::Broken(e);
                    return Err(e);
                }
            }
        }
        Ok(n)
    }

    /// A read never waits for anything but the framebuffer.
    fn poll(&self) -> u32 {
        match self.port.is_open() {
            true => ready::IN,
            false => ready::ERR | ready::HUP,
        }
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            uapi::GIM_IOCTL_STREAM_QUERY => self.query(arg).map(|()| 0),
            _ => Err(ENOTTY),
        }
    }

    fn release(&self) {
        let tracker = self.save.lock().tracker.take();
        if let (Some(tracker), Ok(gpu)) = (tracker, self.port.enter()) {
            tracker.stop(&gpu);
        }
    }
}
