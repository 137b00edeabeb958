// SPDX-License-Identifier: GPL-2.0

//! Migration by ioctls: the file of one VF, which pauses, saves, restores and tracks it.
//!
//! - [`save`]: the stream that is read; [`restore`]: the one that is written;
//! - [`phase`]: where the migration of each VF is;
//! - [`service`]: the same for VFIO;
//! - [`track`]: which pages have changed; [`dirty`]: the same as a bitmap for user space.

mod dirty;
pub(crate) mod phase;
mod restore;
mod save;
pub(crate) mod service;
mod track;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use self::{
    dirty::Log,
    phase::Move,
    restore::RestoreStream,
    save::{
        SaveStream,
        Wishes, //
    },
    track::Source, //
};
use crate::{
    ffi::{
        anon::{
            self,
            AnonFile, //
        },
        uapi, //
    },
    gim_core::{
        dirty::Span,
        migrate::{
            Happens,
            Operation,
            Phase, //
        },
        rounds::Limits,
        stream::{
            self,
            PAGE, //
        },
        types::{
            Ns,
            VfId,
            MS, //
        },
        vf::VfState, //
    },
    gpu::{
        hold::{
            Epoch,
            FbAccess, //
        },
        Gpu, //
    },
    port::{
        Port,
        Visit, //
    },
};

/// How long a VF may take to leave the engine, if the caller does not say.
const PAUSE_LIMIT_MS: u32 = 5000;

/// The longest that a caller may wait.
const PAUSE_MAX_MS: u32 = 60_000;

/// How long a VF is held, if the caller does not say, and at most: guests take a wait of 2 s for a
/// hang.
const HOLD_LIMIT_MS: u32 = 800;
const HOLD_MAX_MS: u32 = 1500;

/// The most that one call reads or writes of the framebuffer.
const FB_IO_MAX: u64 = 64 << 20;

/// Bytes of framebuffer that pass through memory at a time.
const PIECE: usize = 1 << 20;

/// What is behind the file of one VF.
#[pin_data]
pub(crate) struct VfFile {
    port: Arc<Port>,
    vf: VfId,
    #[pin]
    own: Mutex<Own>,
}

/// What the file has done to its VF.
struct Own {
    /// It has paused it, and is to let it go when it is closed.
    paused: bool,
    /// It tracks changes.
    log: Option<Log>,
}

impl VfFile {
    /// A file for this VF. Errors: `ENOENT` it is not enabled.
    pub(crate) fn new(port: Arc<Port>, vf: VfId) -> Result<Arc<Self>> {
        port.enter()?.epoch(vf).ok_or(ENOENT)?;
        Arc::pin_init(
            try_pin_init!(Self {
                port,
                vf,
                own <- new_mutex!(Own {
                    paused: false,
                    log: None,
                }),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Enters the GPU, if it is there and the VF is still enabled.
    fn enter(&self) -> Result<(Visit<'_>, Epoch)> {
        let gpu = self.port.enter()?;
        let epoch = gpu.epoch(self.vf).ok_or(ESRCH)?;
        match gpu.is_gone() {
            true => Err(ENODEV),
            false => Ok((gpu, epoch)),
        }
    }

    fn query(&self, arg: usize) -> Result {
        let mut info: uapi::gim_vf_info = uapi::read(arg)?;
        let (gpu, _) = self.enter()?;
        let header = header(&gpu, self.vf)?;
        let (state, loaded) =
            gpu.with(|st| (st.engine.vf_state(self.vf), st.engine.loaded(self.vf)));
        let mut flags = 0;
        if loaded {
            flags |= uapi::GIM_VF_INFO_LOADED;
        }
        if state == VfState::Suspended {
            flags |= uapi::GIM_VF_INFO_PAUSED;
        }
        info.flags = flags;
        info.chip = header.chip;
        // CAST: Small discriminants.
        info.state = state as u32;
        info.fb_size = header.fb_bytes;
        info.context_size = header.context_bytes;
        info.dirty_sources = track::sources(&gpu);
        info.version = uapi::GIM_API_VERSION;
        info.phase = number(self.port.moving(&gpu, self.vf, Move::refresh));
        uapi::write(arg, info)
    }

    fn pause(&self, arg: usize) -> Result {
        let arg: uapi::gim_vf_pause = uapi::read(arg)?;
        let known = arg.flags & !uapi::GIM_PAUSE_KEEP == 0 && arg.reserved == 0;
        if !known || arg.timeout_ms > PAUSE_MAX_MS {
            return Err(EINVAL);
        }
        let (gpu, _) = self.enter()?;
        let limit = match arg.timeout_ms {
            0 => PAUSE_LIMIT_MS,
            ms => ms,
        };
        let mut own = self.own.lock();
        self.may(&gpu, Happens::Pause)?;
        gpu.hold_vf(self.vf, limit)?;
        own.paused = arg.flags & uapi::GIM_PAUSE_KEEP == 0;
        self.refresh(&gpu);
        Ok(())
    }

    /// Whether that may be ordered of the engine now: `EBUSY` if not.
    fn may(&self, gpu: &Gpu, what: Happens) -> Result {
        self.port
            .moving(gpu, self.vf, |m, now| m.may_happen(now, what))
    }

    /// Whether users may do that now: `EBUSY` if not.
    fn allow(&self, gpu: &Gpu, what: Operation) -> Result {
        let allowed = self.port.moving(gpu, self.vf, |m, now| m.allow(now, what));
        allowed.map_err(|why| gpu.gone_or(why))
    }

    /// Notes what has become of the VF.
    fn refresh(&self, gpu: &Gpu) {
        self.port.moving(gpu, self.vf, Move::refresh);
    }

    fn hold(&self, arg: usize) -> Result {
        let arg: uapi::gim_vf_hold = uapi::read(arg)?;
        let known = arg.flags & !uapi::GIM_HOLD_QUIET == 0 && arg.reserved == 0;
        if !known || arg.limit_ms > HOLD_MAX_MS {
            return Err(EINVAL);
        }
        let (gpu, _) = self.enter()?;
        let limit = match arg.limit_ms {
            0 => HOLD_LIMIT_MS,
            ms => ms,
        };
        let _own = self.own.lock();
        self.may(&gpu, Happens::Hold)?;
        gpu.hold_vf_for(self.vf, limit)?;
        self.port.moving(&gpu, self.vf, |m, now| {
            match arg.flags & uapi::GIM_HOLD_QUIET {
                0 => drop(m.refresh(now)),
                _ => m.promise(now),
            };
        });
        Ok(())
    }

    fn touched(&self, arg: usize) -> Result {
        let arg: uapi::gim_vf_touched = uapi::read(arg)?;
        let (gpu, _) = self.enter()?;
        let size = gpu.part(self.vf)?.size();
        let span = Span::new(arg.offset, arg.length, PAGE.into(), size).map_err(|_| EINVAL)?;
        if arg.flags != 0 {
            return Err(EINVAL);
        }
        self.port
            .moving(&gpu, self.vf, |m, now| m.touch(now, span.run()))
    }

    fn resume(&self) -> Result {
        let (gpu, _) = self.enter()?;
        if gpu.with(|st| st.engine.vf_state(self.vf)) != VfState::Suspended {
            return Err(EINVAL);
        }
        let mut own = self.own.lock();
        self.may(&gpu, Happens::Resume)?;
        own.paused = false;
        gpu.resume_vf(self.vf);
        self.refresh(&gpu);
        Ok(())
    }

    fn save(&self, arg: usize) -> Result<isize> {
        let arg: uapi::gim_vf_save = uapi::read(arg)?;
        let known = uapi::GIM_SAVE_PRECOPY | uapi::GIM_SAVE_NONBLOCK | uapi::GIM_SAVE_NO_HOLD;
        if arg.flags & !known != 0 || arg.reserved != 0 || arg.reserved2 != 0 {
            return Err(EINVAL);
        }
        let (gpu, epoch) = self.enter()?;
        let precopy = arg.flags & uapi::GIM_SAVE_PRECOPY != 0;
        let wishes = Wishes {
            source: match precopy {
                true => Source::choose(&gpu, arg.source)?,
                false => Source::Still,
            },
            limits: limits(&arg),
        };
        let claim = self.port.claim(self.vf)?;
        let stream = SaveStream::new(&gpu, claim, self.port.clone(), (self.vf, epoch), &wishes)?;
        drop(gpu);
        let nonblock = match arg.flags & uapi::GIM_SAVE_NONBLOCK {
            0 => 0,
            _ => kernel::fs::file::flags::O_NONBLOCK,
        };
        anon::open(stream, kernel::fs::file::flags::O_CLOEXEC | nonblock)
    }

    fn restore(&self, arg: usize) -> Result<isize> {
        let arg: uapi::gim_vf_restore = uapi::read(arg)?;
        if arg.flags != 0 || arg.reserved != 0 {
            return Err(EINVAL);
        }
        let (gpu, _) = self.enter()?;
        let claim = self.port.claim(self.vf)?;
        let stream = RestoreStream::new(&gpu, claim, self.port.clone(), self.vf)?;
        drop(gpu);
        anon::open(stream, kernel::fs::file::flags::O_CLOEXEC)
    }

    fn dirty_start(&self, arg: usize) -> Result {
        let arg: uapi::gim_dirty_start = uapi::read(arg)?;
        if arg.flags != 0 || arg.reserved != 0 {
            return Err(EINVAL);
        }
        let (gpu, _) = self.enter()?;
        let source = Source::choose(&gpu, arg.source)?;
        let claim = self.port.claim(self.vf)?;
        self.allow(&gpu, Operation::Track)?;
        let log = Log::start(&gpu, claim, self.vf, source)?;
        self.own.lock().log = Some(log);
        Ok(())
    }

    fn dirty_get(&self, arg: usize) -> Result {
        let mut request: uapi::gim_dirty_bitmap = uapi::read(arg)?;
        let (gpu, _) = self.enter()?;
        let mut own = self.own.lock();
        own.log.as_mut().ok_or(EINVAL)?.get(&gpu, &mut request)?;
        uapi::write(arg, request)
    }

    fn dirty_stop(&self) -> Result {
        let gpu = self.port.enter();
        let log = self.own.lock().log.take().ok_or(EINVAL)?;
        if let Ok(gpu) = gpu {
            log.stop(&gpu);
        }
        Ok(())
    }

    /// Reads or writes framebuffer of the paused VF.
    fn fb_io(&self, arg: usize, write: bool) -> Result {
        let arg: uapi::gim_fb_io = uapi::read(arg)?;
        let (gpu, epoch) = self.enter()?;
        let operation = match write {
            true => Operation::WriteFramebuffer,
            false => Operation::ReadFramebuffer,
        };
        let part = gpu.part(self.vf)?;
        let end = arg.offset.checked_add(arg.length).ok_or(EINVAL)?;
        let aligned = arg.offset % 4 == 0 && arg.length % 4 == 0;
        if arg.flags != 0 || !aligned || arg.length > FB_IO_MAX || end > part.size() {
            return Err(EINVAL);
        }
        let mut buf = VVec::<u8>::zeroed(PIECE, GFP_KERNEL)?;
        let mut fb = FbAccess::new();
        let mut user = usize::try_from(arg.data)?;
        let (mut at, mut left) = (part.offset() + arg.offset, usize::try_from(arg.length)?);
        while left > 0 {
            self.allow(&gpu, operation)?;
            if !gpu.is_held(self.vf) || gpu.epoch(self.vf) != Some(epoch) {
                return Err(gpu.gone_or(EBUSY));
            }
            let n = left.min(PIECE);
            let piece = buf.get_mut(..n).ok_or(EINVAL)?;
            let slice = UserSlice::new(UserPtr::from_addr(user), n);
            if write {
                slice.reader().read_slice(piece)?;
                gpu.fill(self.vf, epoch, || fb.write(&gpu, at, piece))?;
            } else if !fb.read_to_user(&gpu, at, user, n)? {
                fb.read(&gpu, at, piece)?;
                slice.writer().write_slice(piece)?;
            }
            at += u64::try_from(n)?;
            user = user.checked_add(n).ok_or(EFAULT)?;
            left -= n;
        }
        gpu.still_there()
    }

    fn reset(&self) -> Result {
        let (gpu, _) = self.enter()?;
        self.own.lock().paused = false;
        gpu.give_up_vf(self.vf);
        Ok(())
    }

    fn raise_irq(&self) -> Result {
        let (gpu, _) = self.enter()?;
        match gpu.with(|st| st.engine.loaded(self.vf)) {
            true => gpu.raise_irq(self.vf),
            false => return Err(EBUSY),
        }
        Ok(())
    }
}

impl AnonFile for VfFile {
    const NAME: &'static CStr = c"gim-vf";

    fn poll(&self) -> u32 {
        match self.enter() {
            Ok(_) => 0,
            Err(_) => anon::ready::ERR | anon::ready::HUP,
        }
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        let done = match cmd {
            uapi::GIM_IOCTL_VF_QUERY => self.query(arg),
            uapi::GIM_IOCTL_VF_PAUSE => self.pause(arg),
            uapi::GIM_IOCTL_VF_RESUME => self.resume(),
            uapi::GIM_IOCTL_VF_HOLD => self.hold(arg),
            uapi::GIM_IOCTL_VF_TOUCHED => self.touched(arg),
            uapi::GIM_IOCTL_VF_SAVE => return self.save(arg),
            uapi::GIM_IOCTL_VF_RESTORE => return self.restore(arg),
            uapi::GIM_IOCTL_VF_DIRTY_START => self.dirty_start(arg),
            uapi::GIM_IOCTL_VF_DIRTY_GET => self.dirty_get(arg),
            uapi::GIM_IOCTL_VF_DIRTY_STOP => self.dirty_stop(),
            uapi::GIM_IOCTL_VF_FB_READ => self.fb_io(arg, false),
            uapi::GIM_IOCTL_VF_FB_WRITE => self.fb_io(arg, true),
            uapi::GIM_IOCTL_VF_RESET => self.reset(),
            uapi::GIM_IOCTL_VF_RAISE_IRQ => self.raise_irq(),
            _ => Err(ENOTTY),
        };
        done.map(|()| 0)
    }

    fn release(&self) {
        let mut own = self.own.lock();
        let log = own.log.take();
        let Ok(gpu) = self.port.enter() else {
            return;
        };
        if let Some(log) = log {
            log.stop(&gpu);
        }
        if own.paused {
            gpu.resume_vf(self.vf);
        }
    }
}

/// What the caller of `GIM_VF_SAVE` allows.
fn limits(arg: &uapi::gim_vf_save) -> Limits {
    let or = |ms: u32, default: Ns| match ms {
        0 => default,
        ms => Ns::from(ms).saturating_mul(MS),
    };
    Limits {
        downtime: or(arg.downtime_ms, Limits::DEFAULT.downtime),
        brownout: match arg.flags & uapi::GIM_SAVE_NO_HOLD {
            0 => or(arg.brownout_ms, Limits::DEFAULT.brownout),
            _ => 0,
        },
        rounds: match arg.rounds {
            0 => Limits::DEFAULT.rounds,
            n => n,
        },
    }
}

/// The number of a phase in the uAPI.
fn number(phase: Phase) -> u32 {
    match phase {
        Phase::Idle => uapi::GIM_PHASE_IDLE,
        Phase::PreCopy => uapi::GIM_PHASE_PRECOPY,
        Phase::Held => uapi::GIM_PHASE_HELD,
        Phase::Stopped => uapi::GIM_PHASE_STOPPED,
        Phase::Copying => uapi::GIM_PHASE_COPYING,
        Phase::Saved => uapi::GIM_PHASE_SAVED,
        Phase::Restoring => uapi::GIM_PHASE_RESTORING,
        Phase::Restored => uapi::GIM_PHASE_RESTORED,
        Phase::Failed => uapi::GIM_PHASE_FAILED,
        Phase::Broken => uapi::GIM_PHASE_BROKEN,
    }
}

/// What a stream of this VF begins with.
fn header(gpu: &Gpu, vf: VfId) -> Result<stream::Header> {
    let (_, context) = gpu.context_part(vf)?;
    Ok(stream::Header {
        chip: gpu.hw().hal.facts().vf_device.into(),
        features: 0,
        fb_bytes: gpu.part(vf)?.size(),
        context_bytes: u32::try_from(context)?,
    })
}
