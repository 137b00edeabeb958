// SPDX-License-Identifier: GPL-2.0

//! What the operator sees below the PF's directory in sysfs.
//!
//! ```text
//! <PF>/gim/{chip,framebuffer_mib,policy,mode,slice_us,state,stats}
//! <PF>/sriov_admin/vfN/{state,fb_mib,fb_offset_mib,slice_us,stats,device -> VF}     (N from 1)
//! <PF>/sriov_admin/vfN/{weight,min_permille,cap_permille,latency_us}                (policy qos)
//! ```
//!
//! Documented in `Documentation/ABI/sysfs-driver-gim`. `stats` are lines of `key value`; times are
//! in nanoseconds, and all counters only grow.

use core::fmt::{
    Display,
    Write, //
};

use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

use crate::{
    ffi::{
        sysfs::{
            Attr,
            Dir,
            DirType,
            Page, //
        },
        timer::now_ns, //
    },
    gim_core::{
        config::{
            Mode,
            Policy, //
        },
        engine::Phase,
        policy::Share,
        types::{
            Ns,
            VfId,
            US, //
        },
    },
    gpu::{
        first_vfs,
        Gpu, //
    },
    show::Show, //
};

/// Files of the GPU.
pub(crate) struct GpuFiles {
    _gim: Dir<GpuDir>,
    admin: Dir<AdminDir>,
}

impl GpuFiles {
    /// Makes `gim/` and the empty `sriov_admin/`.
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Result<Self> {
        let pf = &gpu.hw().pf;
        Ok(Self {
            _gim: Dir::below_pf(pf, c"gim", GpuDir(gpu.clone()))?,
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

/// Turns a formatting error (the page is full) into an errno.
fn put(result: core::fmt::Result) -> Result {
    result.map_err(|_| ENOSPC)
}

/// Writes `key value` lines.
macro_rules! lines {
    ($out:expr, $($key:literal: $value:expr),* $(,)?) => {{
        $(put(writeln!($out, concat!($key, " {}"), $value))?;)*
        Ok(())
    }};
}

/// `sriov_admin/` itself has no files.
struct AdminDir;

impl DirType for AdminDir {
    const ATTRS: &'static [Attr] = &[];

    fn show(&self, _: u32, _: &mut Page<'_>) -> Result {
        Err(EIO)
    }
}

/// `gim/`.
struct GpuDir(Arc<Gpu>);

impl GpuDir {
    const CHIP: u32 = 0;
    const FRAMEBUFFER: u32 = 1;
    const POLICY: u32 = 2;
    const MODE: u32 = 3;
    const SLICE: u32 = 4;
    const STATE: u32 = 5;
    const STATS: u32 = 6;

    fn stats(&self, out: &mut Page<'_>) -> Result {
        let s = self.0.with(|st| st.engine.gpu_stats(now_ns()));
        lines!(out,
            "switches": s.switches,
            "switch_ns": s.switch_time,
            "commands": s.commands,
            "failures": s.failures,
            "lost_irqs": s.lost_irqs,
            "polls": s.polls,
            "pf_run_ns": s.pf_run,
            "gpu_resets": s.gpu_resets,
            "stray_events": s.stray,
        )
    }
}

impl DirType for GpuDir {
    const ATTRS: &'static [Attr] = {
        static ATTRS: [Attr; 7] = [
            Attr::ro(c"chip", GpuDir::CHIP),
            Attr::ro(c"framebuffer_mib", GpuDir::FRAMEBUFFER),
            Attr::rw(c"policy", GpuDir::POLICY),
            Attr::rw(c"mode", GpuDir::MODE),
            Attr::rw(c"slice_us", GpuDir::SLICE),
            Attr::ro(c"state", GpuDir::STATE),
            Attr::ro(c"stats", GpuDir::STATS),
        ];
        &ATTRS
    };

    fn show(&self, id: u32, out: &mut Page<'_>) -> Result {
        let (hw, gpu) = (self.0.hw(), &self.0);
        put(match id {
            Self::CHIP => writeln!(out, "{}", hw.hal.name()),
            Self::FRAMEBUFFER => writeln!(out, "{}", hw.hal.framebuffer_mib(hw)),
            Self::POLICY => match gpu.with(|st| st.engine.config().policy()) {
                Policy::RoundRobin => writeln!(out, "[rr] qos"),
                Policy::Qos => writeln!(out, "rr [qos]"),
            },
            Self::MODE => match gpu.with(|st| st.engine.config().mode()) {
                Mode::Strict => writeln!(out, "[strict] work-conserving"),
                Mode::WorkConserving => writeln!(out, "strict [work-conserving]"),
            },
            Self::SLICE => {
                let ns = gpu.with(|st| VfId::new(0).map_or(0, |vf| st.engine.config().slice(vf)));
                writeln!(out, "{}", ns / US)
            }
            Self::STATE => writeln!(out, "{}", phase_name(gpu.with(|st| st.engine.phase()))),
            Self::STATS => return self.stats(out),
            _ => return Err(EIO),
        })
    }

    fn store(&self, id: u32, text: &str) -> Result {
        match id {
            Self::MODE => {
                let mode = match text {
                    "strict" => Mode::Strict,
                    "work-conserving" => Mode::WorkConserving,
                    _ => return Err(EINVAL),
                };
                self.0.with(|st| st.engine.set_mode(mode));
                Ok(())
            }
            Self::POLICY => {
                let policy = match text {
                    "rr" => Policy::RoundRobin,
                    "qos" => Policy::Qos,
                    _ => return Err(EINVAL),
                };
                self.0.with(|st| st.engine.set_policy(policy));
                Ok(())
            }
            Self::SLICE => {
                let ns = parse_us(text)?;
                refuse(&self.0, self.0.with(|st| st.engine.set_slices(ns)))
            }
            _ => Err(EACCES),
        }
    }
}

/// `sriov_admin/vfN/`.
struct VfDir {
    gpu: Arc<Gpu>,
    vf: VfId,
}

impl VfDir {
    const STATE: u32 = 0;
    const FB: u32 = 1;
    const FB_OFFSET: u32 = 2;
    const SLICE: u32 = 3;
    const STATS: u32 = 4;
    const WEIGHT: u32 = 5;
    const MIN: u32 = 6;
    const CAP: u32 = 7;
    const LATENCY: u32 = 8;

    fn share(&self) -> Share {
        self.gpu.with(|st| st.engine.config().share(self.vf))
    }

    /// Changes one part of what the VF is promised; a refusal changes nothing.
    fn change_share(&self, change: impl FnOnce(&mut Share)) -> Result {
        let result = self.gpu.with(|st| {
            let mut share = st.engine.config().share(self.vf);
            change(&mut share);
            st.engine.set_share(self.vf, share)
        });
        refuse(&self.gpu, result)
    }

    fn stats(&self, out: &mut Page<'_>) -> Result {
        let s = self.gpu.with(|st| st.engine.vf_stats(self.vf, now_ns()));
        lines!(out,
            "run_ns": s.run,
            "wait_ns": s.wait,
            "save_ns": s.save,
            "load_ns": s.load,
            "overrun_ns": s.overrun,
            "full_access_ns": s.full_access,
            "max_gap_ns": s.gap_max,
            "switches": s.slices,
            "skips": s.skips,
            "full_accesses": s.grants,
            "full_access_timeouts": s.timeouts,
            "hangs": s.hangs,
            "resets": s.resets,
            "messages": s.messages,
            "messages_dropped": s.dropped,
            "limits_exceeded": s.guarded,
            "wait_p50_ns": s.waits.quantile(500),
            "wait_p99_ns": s.waits.quantile(990),
            "switch_p50_ns": s.switch_times.quantile(500),
            "switch_p99_ns": s.switch_times.quantile(990),
        )
    }
}

impl DirType for VfDir {
    const ATTRS: &'static [Attr] = {
        static ATTRS: [Attr; 9] = [
            Attr::ro(c"state", VfDir::STATE),
            Attr::ro(c"fb_mib", VfDir::FB),
            Attr::ro(c"fb_offset_mib", VfDir::FB_OFFSET),
            Attr::rw(c"slice_us", VfDir::SLICE),
            Attr::ro(c"stats", VfDir::STATS),
            Attr::rw(c"weight", VfDir::WEIGHT),
            Attr::rw(c"min_permille", VfDir::MIN),
            Attr::rw(c"cap_permille", VfDir::CAP),
            Attr::rw(c"latency_us", VfDir::LATENCY),
        ];
        &ATTRS
    };

    fn show(&self, id: u32, out: &mut Page<'_>) -> Result {
        let (gpu, vf) = (&self.gpu, self.vf);
        let part = || gpu.with(|st| st.table.as_ref().and_then(|t| t.vf(vf)).unwrap_or_default());
        put(match id {
            Self::STATE => writeln!(out, "{}", gpu.with(|st| st.engine.vf_state(vf)).name()),
            Self::FB => writeln!(out, "{}", part().size() >> 20),
            Self::FB_OFFSET => writeln!(out, "{}", part().offset() >> 20),
            Self::SLICE => writeln!(out, "{}", gpu.with(|st| st.engine.config().slice(vf)) / US),
            Self::STATS => return self.stats(out),
            Self::WEIGHT => writeln!(out, "{}", self.share().weight),
            Self::MIN => writeln!(out, "{}", self.share().min),
            Self::CAP => writeln!(out, "{}", self.share().cap),
            Self::LATENCY => writeln!(out, "{}", self.share().latency.unwrap_or(0) / US),
            _ => return Err(EIO),
        })
    }

    fn store(&self, id: u32, text: &str) -> Result {
        let (gpu, vf) = (&self.gpu, self.vf);
        match id {
            Self::SLICE => {
                let ns = parse_us(text)?;
                refuse(gpu, gpu.with(|st| st.engine.set_slice(vf, ns)))
            }
            Self::WEIGHT => {
                let weight = parse(text)?;
                self.change_share(|share| share.weight = weight)
            }
            Self::MIN => {
                let min = parse(text)?;
                self.change_share(|share| share.min = min)
            }
            Self::CAP => {
                let cap = parse(text)?;
                self.change_share(|share| share.cap = cap)
            }
            Self::LATENCY => {
                let ns = parse_us(text)?;
                self.change_share(|share| share.latency = (ns != 0).then_some(ns))
            }
            _ => Err(EACCES),
        }
    }
}

/// A decimal number.
fn parse<T: core::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| EINVAL)
}

/// A number of microseconds, in nanoseconds.
fn parse_us(text: &str) -> Result<Ns> {
    let us: u64 = parse(text)?;
    us.checked_mul(US).ok_or(ERANGE)
}

/// Says in the log why a setting was refused.
fn refuse(gpu: &Gpu, result: Result<(), impl Display>) -> Result {
    result.map_err(|e| {
        dev_err!(gpu.hw().pf.get(), "setting refused: {}\n", Show(e));
        ERANGE
    })
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Off => "off",
        Phase::On => "on",
        Phase::Stopping => "stopping",
        Phase::Recovering => "recovering",
        Phase::Dead => "dead",
        Phase::Gone => "gone",
    }
}
