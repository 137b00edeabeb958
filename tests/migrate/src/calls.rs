// SPDX-License-Identifier: GPL-2.0
//! The calls without a stream: open, query, pause, resume, framebuffer.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{ensure, Result};
use gim_uapi::{open_vf, sys, Vf};
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ref, ioctl_with_ref};

use crate::errno::*;
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("only VFs that are there can be opened", open),
    ("query tells what the VF is", query),
    ("arguments of other versions", versions),
    ("unknown ioctls are refused", unknown),
    ("pause and resume", pause),
    ("a file that is closed lets its VF go", closed),
    ("framebuffer of a paused VF", framebuffer),
    ("whole pages of framebuffer", whole_pages),
    ("no interrupt without a driver", no_irq),
    ("a VF that is reset is clean", reset),
];

fn open(b: &Bench) -> Result<()> {
    let (domain, bus, devfn) = b.address;
    refused(open_vf((domain, bus, devfn ^ 0xf8), 0), ENODEV)?;
    refused(open_vf((domain ^ 1, bus, devfn), 0), ENODEV)?;
    refused(open_vf(b.address, 15), ENOENT)?;
    refused(open_vf(b.address, 16), ENOENT)?;
    refused(open_vf(b.address, u32::MAX), ENOENT)?;
    refused(open_vf((domain, 256, devfn), 0), EINVAL)
}

fn query(b: &Bench) -> Result<()> {
    let info = b.vf(0)?.query()?;
    ensure!(info.chip == 0x692f || info.chip == 0x686c, "{info:?}");
    ensure!(
        info.state == sys::GIM_VF_AVAILABLE && info.flags == 0,
        "{info:?}"
    );
    ensure!(
        info.fb_size != 0 && info.fb_size % (16 << 20) == 0,
        "{info:?}"
    );
    ensure!(info.context_size == 256 << 10, "{info:?}");
    ensure!(info.version == sys::GIM_API_VERSION, "{info:?}");
    let software = (1 << sys::GIM_DIRTY_SRC_SW) | (1 << sys::GIM_DIRTY_SRC_EXACT);
    ensure!(info.dirty_sources & software == software, "{info:?}");
    Ok(())
}

fn versions(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    let fd = vf.as_fd().as_raw_fd();
    let get = |arg: &mut [u32]| {
        // SAFETY: The driver reads and writes no more than argsz, which is what the array has at
        // most, or is refused.
        let n = unsafe { ioctl_with_mut_ref(&fd, sys::GIM_IOCTL_VF_QUERY.into(), &mut arg[0]) };
        match n {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    let known = u32::try_from(size_of::<sys::gim_vf_info>())?;
    let mut short = [12, 0, 0, 0x5555_5555, 0, 0];
    get(&mut short)?;
    ensure!(short[0] == known && short[2] != 0, "{short:?}");
    ensure!(short[3] == 0x5555_5555, "written beyond argsz");
    let mut long = [0u32; 32];
    long[0] = 128;
    get(&mut long)?;
    ensure!(long[0] == known, "{long:?}");
    (long[0], long[31]) = (128, 1);
    refused(get(&mut long), E2BIG)?;
    for bad in [0, 4, 5000, u32::MAX] {
        let mut arg = [0u32; 32];
        arg[0] = bad;
        refused(get(&mut arg), EINVAL)?;
    }
    let pause = sys::gim_vf_pause {
        argsz: 16,
        flags: 0x8000_0000,
        ..Default::default()
    };
    // SAFETY: The structure of that ioctl.
    let n = unsafe { ioctl_with_ref(&fd, sys::GIM_IOCTL_VF_PAUSE.into(), &pause) };
    ensure!(n < 0, "an unknown flag was taken");
    // SAFETY: The address is refused by the kernel.
    let n = unsafe { vmm_sys_util::ioctl::ioctl_with_val(&fd, sys::GIM_IOCTL_VF_QUERY.into(), 8) };
    let result = if n < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    };
    refused(result, EFAULT)
}

fn unknown(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    let fd = vf.as_fd().as_raw_fd();
    for number in [0, 0xB77F, u32::MAX, sys::GIM_IOCTL_OPEN_VF] {
        // SAFETY: There is no such ioctl on this file.
        let n = unsafe { ioctl(&fd, number.into()) };
        let result = if n < 0 {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(())
        };
        refused(result, ENOTTY)?;
    }
    Ok(())
}

fn pause(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    refused(vf.resume(), EINVAL)?;
    vf.pause(0, false)?;
    ensure!(vf.query()?.flags & sys::GIM_VF_INFO_PAUSED != 0);
    ensure!(b.state(0)? == "suspended");
    vf.pause(1000, false)?;
    vf.resume()?;
    refused(vf.resume(), EINVAL)?;
    refused(vf.pause(60_001, false), EINVAL)?;
    ensure!(b.state(0)? == "available");
    Ok(())
}

fn closed(b: &Bench) -> Result<()> {
    b.vf(0)?.pause(0, false)?;
    b.wait_state(0, "available")?;
    b.vf(0)?.pause(0, true)?;
    ensure!(b.state(0)? == "suspended");
    b.vf(0)?.resume()?;
    Ok(())
}

fn framebuffer(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    let mut four = [0; 4];
    refused(vf.fb_read(0, &mut four), EBUSY)?;
    vf.pause(0, false)?;
    let size = vf.query()?.fb_size;
    let mut rng = fastrand::Rng::with_seed(b.seed);
    let data: Vec<u8> = (0..(3 << 20) + 8).map(|_| rng.u8(..)).collect();
    for at in [0, 4, (16 << 20) - 4, size - data.len() as u64] {
        vf.fb_write(at, &data)?;
        let mut back = vec![0; data.len()];
        vf.fb_read(at, &mut back)?;
        ensure!(back == data, "at {at:#x} other bytes came back");
    }
    refused(vf.fb_read(1, &mut four), EINVAL)?;
    refused(vf.fb_read(0, &mut [0; 3]), EINVAL)?;
    refused(vf.fb_read(size - 3, &mut four), EINVAL)?;
    refused(vf.fb_read(size, &mut four), EINVAL)?;
    refused(vf.fb_write(u64::MAX - 3, &four), EINVAL)?;
    refused(vf.fb_write(0, &vec![0; (64 << 20) + 4]), EINVAL)?;
    vf.reset()?;
    b.wait_state(0, "available")?;
    vf.pause(0, false)?;
    let mut back = vec![1; data.len()];
    vf.fb_read(0, &mut back)?;
    ensure!(
        back.iter().all(|&byte| byte == 0),
        "the reset did not clean it"
    );
    Ok(())
}

/// Memory that no page of exists yet, from the start of one: the driver copies there directly.
fn whole_pages(b: &Bench) -> Result<()> {
    const PAGE: usize = 4096;
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let mut data = vec![0; (2 << 20) + 3 * PAGE];
    fastrand::Rng::with_seed(b.seed).fill(&mut data);
    let start = (16u64 << 20) - (1 << 20) - 4096;
    vf.fb_write(start, &data)?;
    for skip in [0, 4, 64, PAGE] {
        let len = data.len() - skip;
        let mut room = vec![0; len + PAGE];
        let first = room.as_ptr().align_offset(PAGE);
        vf.fb_read(start + skip as u64, &mut room[first..first + len])?;
        ensure!(
            room[first..first + len] == data[skip..],
            "{skip} bytes further other bytes came back"
        );
        let untouched = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        ensure!(untouched(&room[..first]) && untouched(&room[first + len..]));
    }
    ensure!(
        !writes_to_constants(&vf)?,
        "memory was written that must not be"
    );
    vf.reset()?;
    Ok(())
}

/// Whether a page that the process may only read is overwritten nevertheless.
fn writes_to_constants(vf: &Vf) -> Result<bool> {
    static CONSTANT: [u64; 2048] = [0x5555_5555_5555_5555; 2048];
    let page = CONSTANT.as_ptr().addr().next_multiple_of(4096);
    let arg = sys::gim_fb_io {
        argsz: u32::try_from(size_of::<sys::gim_fb_io>())?,
        flags: 0,
        offset: 0,
        length: 4096,
        data: page as u64,
    };
    let fd = vf.as_fd().as_raw_fd();
    // SAFETY: The structure of that ioctl; the memory cannot be written, which is what is tested.
    let n = unsafe { ioctl_with_ref(&fd, sys::GIM_IOCTL_VF_FB_READ.into(), &arg) };
    ensure!(n != 0, "framebuffer is read to constants");
    refused(Err::<(), _>(std::io::Error::last_os_error()), EFAULT)?;
    Ok(std::hint::black_box(&CONSTANT)
        .iter()
        .any(|&word| word != 0x5555_5555_5555_5555))
}

fn no_irq(b: &Bench) -> Result<()> {
    refused(b.vf(0)?.raise_irq(), EBUSY)
}

fn reset(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, true)?;
    vf.reset()?;
    b.wait_state(0, "available")?;
    vf.pause(0, false)
        .map_err(|e| anyhow::anyhow!("a VF that was reset is paused: {e}"))?;
    Ok(())
}
