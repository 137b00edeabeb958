// SPDX-License-Identifier: GPL-2.0
//! VFIO's migration, as `<linux/vfio.h>` has it: thin, so that tests see every error.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd};

use vfio_bindings::bindings::vfio as sys;
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ptr, ioctl_with_mut_ref};

/// `VFIO_DEVICE_RESET`: `_IO(';', 100 + 11)`.
const RESET: u64 = 0x3b6f;
/// `VFIO_DEVICE_FEATURE`: `_IO(';', 100 + 17)`.
const FEATURE: u64 = 0x3b75;
/// `VFIO_MIG_GET_PRECOPY_INFO`: `_IO(';', 100 + 21)`.
pub const PRECOPY_INFO: u64 = 0x3b79;

/// A read finds nothing for now.
pub const ENOMSG: i32 = 42;

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// It failed.
    Error = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_ERROR,
    /// It does nothing.
    Stop = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_STOP,
    /// It runs.
    Running = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING,
    /// It does nothing and is read.
    StopCopy = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_STOP_COPY,
    /// It is being filled.
    Resuming = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_RESUMING,
    /// It does no DMA.
    RunningP2p = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING_P2P,
    /// It runs and is read.
    PreCopy = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY,
    /// It does no DMA and is read.
    PreCopyP2p = sys::vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY_P2P,
}

impl State {
    /// All, by number.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Stop,
        Self::Running,
        Self::StopCopy,
        Self::Resuming,
        Self::RunningP2p,
        Self::PreCopy,
        Self::PreCopyP2p,
    ];
}

fn check(n: i32) -> io::Result<()> {
    match n {
        0 => Ok(()),
        n if n < 0 => Err(io::Error::last_os_error()),
        n => Err(io::Error::other(format!("an ioctl returned {n}"))),
    }
}

/// A `VFIO_DEVICE_FEATURE` with `payload` behind its head; `less` bytes of it are not told.
pub fn feature(
    device: &impl AsRawFd,
    flags: u32,
    payload: &mut [u64],
    less: u32,
) -> io::Result<()> {
    let mut all = vec![0; 1 + payload.len()];
    all[1..].copy_from_slice(payload);
    // CAST: A few words.
    let argsz = (all.len() * size_of::<u64>()) as u32 - less;
    all[0] = (u64::from(flags) << 32) | u64::from(argsz);
    // SAFETY: The kernel reads and writes at most argsz bytes, which are there.
    let done = check(unsafe { ioctl_with_mut_ptr(device, FEATURE, all.as_mut_ptr()) });
    payload.copy_from_slice(&all[1..]);
    done
}

/// Which of `GET` and `SET` a feature can; an error if there is no such feature.
pub fn probe(device: &impl AsRawFd, number: u32, flags: u32) -> io::Result<()> {
    let flags = sys::VFIO_DEVICE_FEATURE_PROBE | flags | number;
    feature(device, flags, &mut [], 0)
}

/// The `VFIO_MIGRATION_*` that the device can.
pub fn flags(device: &impl AsRawFd) -> io::Result<u64> {
    let mut payload = [0];
    let flags = sys::VFIO_DEVICE_FEATURE_GET | sys::VFIO_DEVICE_FEATURE_MIGRATION;
    feature(device, flags, &mut payload, 0)?;
    Ok(payload[0])
}

/// The state by its number, and the descriptor that comes with it.
pub fn state(device: &impl AsRawFd) -> io::Result<(u32, i32)> {
    let mut payload = [0];
    let flags = sys::VFIO_DEVICE_FEATURE_GET | sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    feature(device, flags, &mut payload, 0)?;
    // CAST: The halves of a word.
    Ok((payload[0] as u32, (payload[0] >> 32) as i32))
}

/// Goes to a state by its number.
pub fn set_state_number(device: &impl AsRawFd, number: u32) -> io::Result<Option<File>> {
    let mut payload = [u64::from(number)];
    let flags = sys::VFIO_DEVICE_FEATURE_SET | sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    feature(device, flags, &mut payload, 0)?;
    // CAST: The upper half.
    let fd = (payload[0] >> 32) as i32;
    // SAFETY: Just made for us: nobody else has it.
    Ok((fd >= 0).then(|| unsafe { File::from_raw_fd(fd) }))
}

/// Goes to a state; returns the file if a session begins.
pub fn set_state(device: &impl AsRawFd, state: State) -> io::Result<Option<File>> {
    set_state_number(device, state as u32)
}

/// What is left to be read after a stop: an estimate.
pub fn data_size(device: &impl AsRawFd) -> io::Result<u64> {
    let mut payload = [0];
    let flags = sys::VFIO_DEVICE_FEATURE_GET | sys::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE;
    feature(device, flags, &mut payload, 0)?;
    Ok(payload[0])
}

/// Resets the device.
pub fn reset(device: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: It has no argument.
    check(unsafe { ioctl(device, RESET) })
}

/// `VFIO_MIG_GET_PRECOPY_INFO` with the caller's argument.
pub fn precopy_info_raw(data: &File, info: &mut sys::vfio_precopy_info) -> io::Result<()> {
    // SAFETY: The structure is the one that belongs to the number.
    check(unsafe { ioctl_with_mut_ref(data, PRECOPY_INFO, info) })
}

/// Initial and dirty bytes.
pub fn precopy_info(data: &File) -> io::Result<(u64, u64)> {
    let mut info = sys::vfio_precopy_info {
        // CAST: Small.
        argsz: size_of::<sys::vfio_precopy_info>() as u32,
        ..Default::default()
    };
    precopy_info_raw(data, &mut info)?;
    Ok((info.initial_bytes, info.dirty_bytes))
}

/// Copies what there is to `to`; true at the end of the stream, false where it ends for now.
pub fn drain(data: &mut File, to: &mut impl io::Write) -> io::Result<bool> {
    let mut buf = vec![0; 1 << 20];
    loop {
        match io::Read::read(data, &mut buf) {
            Ok(0) => return Ok(true),
            Ok(n) => to.write_all(&buf[..n])?,
            Err(e) if e.raw_os_error() == Some(ENOMSG) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
