// SPDX-License-Identifier: GPL-2.0

//! Migration by ioctls: the file of one VF, which pauses, saves, restores and tracks it.
//!
//! - [`save`]: the stream that is read; [`restore`]: the one that is written;
//! - [`track`]: which pages have changed; [`dirty`]: the same as a bitmap for user space.

mod dirty;
mod restore;
mod save;
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
    restore::RestoreStream,
    save::SaveStream,
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
        stream,
        types::VfId,
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

    /// Enters the GPU, if the VF is still enabled.
    fn enter(&self) -> Result<(Visit<'_>, Epoch)> {
        let gpu = self.port.enter()?;
        let epoch = gpu.epoch(self.vf).ok_or(ESRCH)?;
        Ok((gpu, epoch))
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
        gpu.hold_vf(self.vf, limit)?;
        own.paused = arg.flags & uapi::GIM_PAUSE_KEEP == 0;
        Ok(())
    }

    fn resume(&self) -> Result {
        let (gpu, _) = self.enter()?;
        if gpu.with(|st| st.engine.vf_state(self.vf)) != VfState::Suspended {
            return Err(EINVAL);
        }
        let mut own = self.own.lock();
        // Nobody may be reading its state, or writing it.
        let _claim = match own.log {
            Some(_) => None,
            None => Some(self.port.claim(self.vf)?),
        };
        own.paused = false;
        gpu.resume_vf(self.vf);
        Ok(())
    }

    fn save(&self, arg: usize) -> Result<isize> {
        let arg: uapi::gim_vf_save = uapi::read(arg)?;
        let known = uapi::GIM_SAVE_PRECOPY | uapi::GIM_SAVE_NONBLOCK;
        if arg.flags & !known != 0 || arg.reserved != 0 {
            return Err(EINVAL);
        }
        let (gpu, epoch) = self.enter()?;
        let precopy = arg.flags & uapi::GIM_SAVE_PRECOPY != 0;
        let source = match precopy {
            true => Some(Source::choose(&gpu, arg.source)?),
            false => None,
        };
        let claim = self.port.claim(self.vf)?;
        let stream = SaveStream::new(&gpu, claim, self.port.clone(), (self.vf, epoch), source)?;
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
            if !gpu.is_held(self.vf) || gpu.epoch(self.vf) != Some(epoch) {
                return Err(EBUSY);
            }
            let n = left.min(PIECE);
            let piece = buf.get_mut(..n).ok_or(EINVAL)?;
            let slice = UserSlice::new(UserPtr::from_addr(user), n);
            if write {
                slice.reader().read_slice(piece)?;
                gpu.fill(self.vf, epoch, || fb.write(&gpu, at, piece))?;
            } else {
                fb.read(&gpu, at, piece)?;
                slice.writer().write_slice(piece)?;
            }
            at += u64::try_from(n)?;
            user = user.checked_add(n).ok_or(EFAULT)?;
            left -= n;
        }
        Ok(())
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
