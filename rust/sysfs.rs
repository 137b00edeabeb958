// SPDX-License-Identifier: GPL-2.0

//! What the operator sees below the PF's directory in sysfs.
//!
//! ```text
//! <PF>/gim/{chip,framebuffer_mib,policy,mode,slice_us,slice_preset,watchdog_ms,control,handover,
//!          state,stats}
//! <PF>/gim/limits/{enforced,messages,requests,timeouts,resets,hangs,access-time}
//! <PF>/sriov_admin/vfN/{state,control,fb_mib,fb_offset_mib,slice_us,stats,guest,device -> VF} (N from 1)
//! <PF>/sriov_admin/vfN/{weight,min_permille,cap_permille,latency_us}                 (policy qos)
//! ```
//!
//! Documented in `Documentation/ABI/sysfs-driver-gim`. `stats` are lines of `key value`; times are
//! in nanoseconds, and all counters only grow. Each directory is a table of files, a file is a name
//! and one function or two.

mod gpu;
mod limits;
mod vf;

use core::fmt::Display;

use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

use self::{
    gpu::GpuDir,
    limits::LimitsDir,
    vf::VfDir, //
};
use crate::{
    ffi::sysfs::{
        Attr,
        Dir,
        DirType, //
    },
    gim_core::types::{
        Ns,
        MS,
        US, //
    },
    gpu::{
        first_vfs,
        Gpu, //
    },
    show::Show, //
};

/// Files of the GPU; subdirectories go before what they are in.
pub(crate) struct GpuFiles {
    _limits: Dir<LimitsDir>,
    _gim: Dir<GpuDir>,
    admin: Dir<AdminDir>,
}

impl GpuFiles {
    /// Makes `gim/` and the empty `sriov_admin/`.
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Result<Self> {
        let pf = &gpu.hw().pf;
        let gim = Dir::below_pf(pf, c"gim", GpuDir(gpu.clone()))?;
        Ok(Self {
            _limits: gim.subdir(c"limits", LimitsDir(gpu.clone()))?,
            _gim: gim,
            admin: Dir::below_pf(pf, c"sriov_admin", AdminDir)?,
        })
    }
}

/// Files of the VFs that are enabled.
pub(crate) struct VfFiles {
    _dirs: KVec<Dir<VfDir>>,
}

impl VfFiles {
    /// Makes `sriov_admin/vfN/` for each enabled VF.
    pub(crate) fn new(gpu: &Arc<Gpu>, files: &GpuFiles) -> Result<Self> {
        let count = gpu.with(|st| st.engine.count());
        let mut dirs = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        for vf in first_vfs(count) {
            let name = CString::try_from_fmt(fmt!("vf{}", vf.raw() + 1))?;
            let data = VfDir {
                gpu: gpu.clone(),
                vf,
            };
            let dir = files.admin.subdir(&name, data)?;
            if let Some(dev) = gpu.hw().pf.vf(vf.raw()) {
                dir.link_vf(c"device", &dev)?;
            }
            dirs.push(dir, GFP_KERNEL)?;
        }
        Ok(Self { _dirs: dirs })
    }
}

/// `sriov_admin/` itself has no files.
struct AdminDir;

impl DirType for AdminDir {
    const ATTRS: &'static [Attr<Self>] = &[];
}

/// Writes `key value` lines.
macro_rules! lines {
    ($out:expr, $($key:literal: $value:expr),* $(,)?) => {{
        $($out.line(format_args!(concat!($key, " {}"), $value))?;)*
        Ok(())
    }};
}
use lines;

/// A decimal number.
fn parse<T: core::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| EINVAL)
}

/// A number of microseconds, in nanoseconds.
fn parse_us(text: &str) -> Result<Ns> {
    parse::<u64>(text)?.checked_mul(US).ok_or(ERANGE)
}

/// A number of milliseconds, in nanoseconds.
fn parse_ms(text: &str) -> Result<Ns> {
    parse::<u64>(text)?.checked_mul(MS).ok_or(ERANGE)
}

/// Shows the names of a set, the one in force in brackets.
struct Choice<'a>(&'a [&'a str], &'a str);

impl Display for Choice<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            if *name == self.1 {
                write!(f, "{space}[{name}]")?;
            } else {
                write!(f, "{space}{name}")?;
            }
        }
        Ok(())
    }
}

/// Says in the log why a setting was refused.
fn refuse(gpu: &Gpu, result: Result<(), impl Display>) -> Result {
    result.map_err(|e| {
        dev_err!(gpu.hw().pf.get(), "setting refused: {}\n", Show(e));
        ERANGE
    })
}
