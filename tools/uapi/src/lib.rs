// SPDX-License-Identifier: GPL-2.0
//! The ioctls of `/dev/gim`, each as a safe function; `include/uapi/gim.h` says what they mean.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};

use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ref, ioctl_with_ref};

/// Structures and numbers, as bindgen sees them.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    reason = "generated"
)]
pub mod sys {
    include!(concat!(env!("OUT_DIR"), "/gim.rs"));
}

/// Where the pages that have changed are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Source {
    /// The device if it can, else software.
    Auto = sys::GIM_DIRTY_SRC_AUTO,
    /// The device's dirty plane.
    Hardware = sys::GIM_DIRTY_SRC_HW,
    /// Hashes.
    Software = sys::GIM_DIRTY_SRC_SW,
    /// Comparison with a copy.
    Exact = sys::GIM_DIRTY_SRC_EXACT,
}

/// What a migration may cost; 0: what is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the VF may be paused.
    pub downtime_ms: u32,
    /// How long it may be held before; `None`: it is not held.
    pub brownout_ms: Option<u32>,
    /// How many rounds there may be before.
    pub rounds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            downtime_ms: 0,
            brownout_ms: Some(0),
            rounds: 0,
        }
    }
}

/// Bytes of a structure, as `argsz` has them.
fn size<T>() -> u32 {
    // CAST: Structures are small.
    size_of::<T>() as u32
}

fn check(n: i32) -> io::Result<i32> {
    match n {
        n if n < 0 => Err(io::Error::last_os_error()),
        n => Ok(n),
    }
}

fn with_ref<T>(fd: &impl AsRawFd, number: u32, arg: &T) -> io::Result<i32> {
    // SAFETY: The structure is the one that belongs to the number; gim reads no more than argsz.
    check(unsafe { ioctl_with_ref(fd, number.into(), arg) })
}

fn with_mut<T>(fd: &impl AsRawFd, number: u32, arg: &mut T) -> io::Result<i32> {
    // SAFETY: As above; it writes no more either.
    check(unsafe { ioctl_with_mut_ref(fd, number.into(), arg) })
}

fn file(fd: RawFd) -> File {
    // SAFETY: Just returned by an ioctl that makes descriptors: nobody else has it.
    unsafe { File::from_raw_fd(fd) }
}

/// One VF.
#[derive(Debug)]
pub struct Vf(File);

/// Opens VF `vf` of the GPU at a PCI address (domain, bus, device << 3 | function).
pub fn open_vf((domain, bus, devfn): (u32, u32, u32), vf: u32) -> io::Result<Vf> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/gim")?;
    let arg = sys::gim_open_vf {
        argsz: size::<sys::gim_open_vf>(),
        flags: 0,
        domain,
        bus,
        devfn,
        vf,
    };
    with_ref(&control, sys::GIM_IOCTL_OPEN_VF, &arg).map(|fd| Vf(file(fd)))
}

impl Vf {
    fn plain(&self, number: u32) -> io::Result<()> {
        // SAFETY: These ioctls have no argument.
        check(unsafe { ioctl(&self.0, number.into()) }).map(drop)
    }

    /// What the VF is.
    pub fn query(&self) -> io::Result<sys::gim_vf_info> {
        let mut info = sys::gim_vf_info {
            argsz: size::<sys::gim_vf_info>(),
            ..Default::default()
        };
        with_mut(&self.0, sys::GIM_IOCTL_VF_QUERY, &mut info)?;
        Ok(info)
    }

    /// Takes it off the engine; `keep`: also when the file is closed.
    pub fn pause(&self, timeout_ms: u32, keep: bool) -> io::Result<()> {
        let arg = sys::gim_vf_pause {
            argsz: size::<sys::gim_vf_pause>(),
            flags: if keep { sys::GIM_PAUSE_KEEP } else { 0 },
            timeout_ms,
            reserved: 0,
        };
        with_ref(&self.0, sys::GIM_IOCTL_VF_PAUSE, &arg).map(drop)
    }

    /// Lets it run again.
    pub fn resume(&self) -> io::Result<()> {
        self.plain(sys::GIM_IOCTL_VF_RESUME)
    }

    /// Holds it off the engine for at most so long (0: as long as is usual), while it is saved.
    /// `quiet` is a promise, see the header.
    pub fn hold(&self, limit_ms: u32, quiet: bool) -> io::Result<()> {
        let arg = sys::gim_vf_hold {
            argsz: size::<sys::gim_vf_hold>(),
            flags: if quiet { sys::GIM_HOLD_QUIET } else { 0 },
            limit_ms,
            reserved: 0,
        };
        with_ref(&self.0, sys::GIM_IOCTL_VF_HOLD, &arg).map(drop)
    }

    /// Says what of its framebuffer may be written although that was promised not to be.
    pub fn touched(&self, (offset, length): (u64, u64)) -> io::Result<()> {
        let arg = sys::gim_vf_touched {
            argsz: size::<sys::gim_vf_touched>(),
            flags: 0,
            offset,
            length,
        };
        with_ref(&self.0, sys::GIM_IOCTL_VF_TOUCHED, &arg).map(drop)
    }

    /// Raises an interrupt in its guest.
    pub fn raise_irq(&self) -> io::Result<()> {
        self.plain(sys::GIM_IOCTL_VF_RAISE_IRQ)
    }

    /// Resets it and cleans its framebuffer.
    pub fn reset(&self) -> io::Result<()> {
        self.plain(sys::GIM_IOCTL_VF_RESET)
    }

    /// The stream of a paused VF, or with a source of one that runs.
    pub fn save(&self, source: Option<Source>) -> io::Result<Stream> {
        self.save_within(source, &Limits::default())
    }

    /// The same; what the driver advises keeps these limits.
    pub fn save_within(&self, source: Option<Source>, limits: &Limits) -> io::Result<Stream> {
        let precopy = source.map_or(0, |_| sys::GIM_SAVE_PRECOPY);
        let held = match limits.brownout_ms {
            Some(_) => 0,
            None => sys::GIM_SAVE_NO_HOLD,
        };
        let arg = sys::gim_vf_save {
            argsz: size::<sys::gim_vf_save>(),
            flags: precopy | held,
            source: source.unwrap_or(Source::Auto) as u32,
            downtime_ms: limits.downtime_ms,
            brownout_ms: limits.brownout_ms.unwrap_or(0),
            rounds: limits.rounds,
            ..Default::default()
        };
        with_ref(&self.0, sys::GIM_IOCTL_VF_SAVE, &arg).map(|fd| Stream(file(fd)))
    }

    /// The stream that fills a VF that is available.
    pub fn restore(&self) -> io::Result<Stream> {
        let arg = sys::gim_vf_restore {
            argsz: size::<sys::gim_vf_restore>(),
            flags: 0,
            reserved: 0,
        };
        with_ref(&self.0, sys::GIM_IOCTL_VF_RESTORE, &arg).map(|fd| Stream(file(fd)))
    }

    /// Begins to track changes.
    pub fn dirty_start(&self, source: Source) -> io::Result<()> {
        let arg = sys::gim_dirty_start {
            argsz: size::<sys::gim_dirty_start>(),
            flags: 0,
            source: source as u32,
            reserved: 0,
        };
        with_ref(&self.0, sys::GIM_IOCTL_VF_DIRTY_START, &arg).map(drop)
    }

    /// Ends tracking.
    pub fn dirty_stop(&self) -> io::Result<()> {
        self.plain(sys::GIM_IOCTL_VF_DIRTY_STOP)
    }

    /// The bitmap of a range, and how many bits are set; `peek` does not clear it.
    pub fn dirty_get(
        &self,
        (offset, length): (u64, u64),
        granularity: u64,
        peek: bool,
    ) -> io::Result<(Vec<u64>, u64)> {
        let bits = length / granularity.max(1);
        let words = usize::try_from(bits.div_ceil(64)).map_err(io::Error::other)?;
        let mut map = vec![0; words];
        let mut arg = sys::gim_dirty_bitmap {
            argsz: size::<sys::gim_dirty_bitmap>(),
            flags: if peek { sys::GIM_DIRTY_PEEK } else { 0 },
            offset,
            length,
            granularity,
            bitmap: map.as_mut_ptr() as u64,
            dirty: 0,
        };
        with_mut(&self.0, sys::GIM_IOCTL_VF_DIRTY_GET, &mut arg)?;
        Ok((map, arg.dirty))
    }

    /// Reads framebuffer of the paused VF.
    pub fn fb_read(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        let arg = fb_io(offset, to.len(), to.as_mut_ptr() as u64);
        with_ref(&self.0, sys::GIM_IOCTL_VF_FB_READ, &arg).map(drop)
    }

    /// Writes framebuffer of the paused VF.
    pub fn fb_write(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let arg = fb_io(offset, from.len(), from.as_ptr() as u64);
        with_ref(&self.0, sys::GIM_IOCTL_VF_FB_WRITE, &arg).map(drop)
    }
}

fn fb_io(offset: u64, length: usize, data: u64) -> sys::gim_fb_io {
    sys::gim_fb_io {
        argsz: size::<sys::gim_fb_io>(),
        flags: 0,
        offset,
        length: length as u64,
        data,
    }
}

/// A stream of a VF being saved (read) or restored (write).
#[derive(Debug)]
pub struct Stream(File);

/// `errno` of a read that finds nothing dirty while the VF runs.
pub const ENOMSG: i32 = 42;

impl Stream {
    /// How far it is.
    pub fn query(&self) -> io::Result<sys::gim_stream_info> {
        let mut info = sys::gim_stream_info {
            argsz: size::<sys::gim_stream_info>(),
            ..Default::default()
        };
        with_mut(&self.0, sys::GIM_IOCTL_STREAM_QUERY, &mut info)?;
        Ok(info)
    }

    /// Whether the end was read or written.
    pub fn is_complete(&self) -> io::Result<bool> {
        Ok(self.query()?.flags & sys::GIM_STREAM_COMPLETE != 0)
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Vf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
