// SPDX-License-Identifier: GPL-2.0

//! The stream that is written: it fills a VF that is held off the engine and nobody's.
//!
//! Contents go to the framebuffer as they come, which nobody can see before the end; all else is
//! kept until the last byte was right. Whatever goes wrong, the VF is reset and cleaned.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSliceReader, //
};

use super::{
    header,
    phase::Move, //
};
use crate::{
    ffi::{
        anon::{
            ready,
            AnonFile, //
        },
        crc,
        log::may_log_stream,
        uapi, //
    },
    gim_core::{
        migrate::Happens,
        stream::{
            self,
            Decoder,
            Item,
            Mailbox,
            PAGE,
            REGISTERS_MAX, //
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
    show::Show, //
};

/// Bytes that are taken from the writer at a time.
const TAKE: usize = 64 << 10;

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of the VF has changed.
    Fresh,
    /// The header was right.
    Filling,
    /// The VF has got its state.
    Complete,
    /// It failed; the VF is being cleaned.
    Broken(Error),
}

/// A VF being restored.
#[pin_data]
pub(super) struct RestoreStream {
    port: Arc<Port>,
    #[pin]
    restore: Mutex<Restore>,
}

struct Restore {
    vf: VfId,
    epoch: Epoch,
    phase: Phase,
    dec: KBox<Decoder>,
    fb: FbAccess,
    /// What the writer has given and the decoder has not taken.
    input: VVec<u8>,
    kept: Kept,
    zero_pages: u64,
    /// Until the VF has got its state.
    claim: Option<Claimed>,
}

/// What is kept until the end of the stream.
struct Kept {
    image: VVec<u8>,
    registers: KVec<(u32, u32)>,
    state: Option<stream::State>,
    mailbox: Mailbox,
    again: bool,
}

impl RestoreStream {
    /// Takes the VF. Errors: `EBUSY` it is not available.
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        claim: Claimed,
        port: Arc<Port>,
        vf: VfId,
    ) -> Result<Arc<Self>> {
        let header = header(gpu, vf)?;
        let dec = KBox::new(Decoder::new(header).with_crc(crc::update), GFP_KERNEL)?;
        let bytes = usize::try_from(header.context_bytes)?;
        let input = VVec::zeroed(TAKE, GFP_KERNEL)?;
        let kept = Kept {
            image: VVec::zeroed(bytes, GFP_KERNEL)?,
            registers: KVec::with_capacity(REGISTERS_MAX, GFP_KERNEL)?,
            state: None,
            mailbox: Mailbox::default(),
            again: false,
        };
        port.moving(gpu, vf, |m, now| m.happens(now, Happens::Restore))?;
        let (there, opened) = (gpu.adopt(vf), port.clone());
        let close = |_: &Error| {
            let _ = opened.moving(gpu, vf, |m, now| m.happens(now, Happens::Close));
        };
        there.inspect_err(close)?;
        // From here on it has to be given back.
        let now = port.moving(gpu, vf, Move::adopted);
        let epoch = now.epoch.ok_or(ESRCH).inspect_err(close)?;
        let made = Arc::pin_init(
            try_pin_init!(Self {
                port,
                restore <- new_mutex!(Restore {
                    vf,
                    epoch,
                    phase: Phase::Fresh,
                    dec,
                    fb: FbAccess::new(),
                    input,
                    kept,
                    zero_pages: 0,
                    claim: Some(claim),
                }),
            }? Error),
            GFP_KERNEL,
        );
        made.inspect_err(|e| {
            gpu.give_up_vf(vf);
            close(e);
        })
    }

    /// Whether the VF has got its state.
    pub(super) fn is_complete(&self) -> bool {
        self.restore.lock().phase == Phase::Complete
    }

    fn query(&self, arg: usize) -> Result {
        let mut info: uapi::gim_stream_info = uapi::read(arg)?;
        let restore = self.restore.lock();
        let progress = restore.dec.progress();
        info.flags = match restore.phase {
            Phase::Complete => uapi::GIM_STREAM_COMPLETE,
            _ => 0,
        };
        info.round = progress.rounds;
        info.dirty_bytes = progress.left.saturating_mul(PAGE.into());
        info.passed_bytes = progress.bytes;
        info.zero_pages = restore.zero_pages;
        drop(restore);
        uapi::write(arg, info)
    }
}

impl Restore {
    /// Takes what is at the front of the input.
    fn take(&mut self, gpu: &Arc<Gpu>, len: usize) -> Result {
        let part = gpu.part(self.vf)?;
        let mut at = 0;
        while at < len {
            let input = self.input.get(at..len).ok_or(EINVAL)?;
            let (taken, item) = match self.dec.feed(input) {
                Ok(found) => found,
                Err(e) => return Err(refuse(gpu, self.vf, self.phase, e)),
            };
            at += taken;
            match item {
                None => {}
                Some(Item::Header(_)) => self.phase = Phase::Filling,
                Some(Item::Pages { offset, data }) => {
                    let to = part.offset().checked_add(offset).ok_or(EINVAL)?;
                    self.fb.write(gpu, to, data)?;
                }
                Some(Item::Zero(runs)) => {
                    for run in runs {
                        self.zero_pages += u64::from(run.count);
                        let page = u64::from(PAGE);
                        let to = part.offset() + u64::from(run.first) * page;
                        let bytes = usize::try_from(u64::from(run.count) * page)?;
                        self.fb.zero(gpu, to, bytes)?;
                    }
                }
                Some(Item::End(_)) => return self.install(gpu),
                Some(other) => self.kept.keep(other)?,
            }
        }
        Ok(())
    }

    /// All has come: the VF gets its state.
    fn install(&mut self, gpu: &Arc<Gpu>) -> Result {
        let state = self.kept.state.as_ref().ok_or(EIO)?;
        if state.loaded {
            let (at, _) = gpu.context_part(self.vf)?;
            self.fb.write(gpu, at, &self.kept.image)?;
        }
        // Nobody has told of writes that went nowhere.
        gpu.still_there()?;
        gpu.import_vf(
            (self.vf, self.epoch),
            state,
            &self.kept.registers,
            &self.kept.mailbox,
            self.kept.again,
        )?;
        self.phase = Phase::Complete;
        self.claim = None;
        Ok(())
    }
}

impl Kept {
    fn keep(&mut self, item: Item<'_>) -> Result {
        match item {
            Item::Context { offset, data } => {
                let at = usize::try_from(offset)?;
                let to = self
                    .image
                    .get_mut(at..)
                    .and_then(|to| to.get_mut(..data.len()));
                to.ok_or(EINVAL)?.copy_from_slice(data);
            }
            Item::State(state) => self.state = Some(state),
            Item::Registers(list) => {
                for pair in list {
                    self.registers
                        .push_within_capacity(pair)
                        .map_err(|_| EINVAL)?;
                }
            }
            Item::Mailbox(mailbox) => self.mailbox = mailbox,
            Item::Irq(irq) => self.again = irq.again || irq.vectors != 0,
            _ => {}
        }
        Ok(())
    }
}

/// Says in the log why a stream is refused: whoever writes may do so again and again.
fn refuse(gpu: &Gpu, vf: VfId, phase: Phase, why: stream::Error) -> Error {
    if may_log_stream() {
        let dev = gpu.hw().pf.get();
        dev_err!(dev, "VF{}: stream refused: {}\n", vf.raw(), Show(why));
    }
    match phase {
        Phase::Fresh if why.is_mismatch() => EINVAL,
        _ => EBADMSG,
    }
}

impl AnonFile for RestoreStream {
    const NAME: &'static CStr = c"gim-restore";

    fn write(&self, mut data: UserSliceReader) -> Result<usize> {
        let mut restore = self.restore.lock();
        let restore = &mut *restore;
        match restore.phase {
            Phase::Fresh | Phase::Filling => {}
            Phase::Complete => return Err(EPIPE),
            Phase::Broken(e) => return Err(e),
        }
        let whole = data.len();
        while !data.is_empty() {
            if data.len() != whole && kernel::current!().signal_pending() {
                break;
            }
            let gpu = self.port.enter()?;
            let n = data.len().min(TAKE);
            data.read_slice(restore.input.get_mut(..n).ok_or(EINVAL)?)?;
            // It may have been reset by its user, or by the host.
            let (vf, epoch) = (restore.vf, restore.epoch);
            let done = gpu.fill(vf, epoch, || restore.take(&gpu, n));
            let what = match (&done, restore.phase) {
                (Err(_), _) => Happens::Error,
                (_, Phase::Complete) => Happens::End,
                _ => continue,
            };
            // A reset has ended it already, perhaps.
            let _ = self.port.moving(&gpu, vf, |m, now| m.happens(now, what));
            if let Err(e) = done {
                restore.give_back(&gpu);
                restore.phase = Phase::Broken(e);
                return Err(e);
            }
        }
        Ok(whole - data.len())
    }

    fn poll(&self) -> u32 {
        match (self.port.is_open(), self.restore.lock().phase) {
            (false, _) => ready::ERR | ready::HUP,
            (true, Phase::Broken(_)) => ready::ERR,
            (true, _) => ready::OUT,
        }
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            uapi::GIM_IOCTL_STREAM_QUERY => self.query(arg).map(|()| 0),
            _ => Err(ENOTTY),
        }
    }

    fn release(&self) {
        let mut restore = self.restore.lock();
        if let Ok(gpu) = self.port.enter() {
            restore.give_back(&gpu);
            // A VF that has got its state is nothing of this file's any more: perhaps it moves on.
            if restore.claim.is_some() {
                let _ = self
                    .port
                    .moving(&gpu, restore.vf, |m, now| m.happens(now, Happens::Close));
            }
        }
    }
}

impl Restore {
    /// The VF is given back without its state: it is cleaned. Whoever has reset it has done so.
    fn give_back(&mut self, gpu: &Arc<Gpu>) {
        let same = gpu.epoch(self.vf) == Some(self.epoch);
        if same && matches!(self.phase, Phase::Fresh | Phase::Filling) {
            gpu.give_up_vf(self.vf);
        }
    }
}
