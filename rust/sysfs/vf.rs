// SPDX-License-Identifier: GPL-2.0

//! `sriov_admin/vfN/`: one VF.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    lines,
    parse,
    parse_us,
    refuse, //
};
use crate::{
    ffi::{
        sysfs::{
            Attr,
            DirType,
            Page, //
        },
        timer::now_ns, //
    },
    gim_core::{
        partition::Part,
        policy::Share,
        types::{
            VfId,
            US, //
        },
    },
    gpu::Gpu, //
};

pub(super) struct VfDir {
    pub(super) gpu: Arc<Gpu>,
    pub(super) vf: VfId,
}

impl DirType for VfDir {
    const ATTRS: &'static [Attr<Self>] = {
        static ATTRS: [Attr<VfDir>; 11] = [
            Attr::ro(c"state", |dir, out| {
                out.line(dir.gpu.with(|st| st.engine.vf_state(dir.vf)))
            }),
            Attr::rw(c"control", VfDir::control, VfDir::set_control),
            Attr::ro(c"fb_mib", |dir, out| out.line(dir.part().size() >> 20)),
            Attr::ro(c"fb_offset_mib", |dir, out| {
                out.line(dir.part().offset() >> 20)
            }),
            Attr::rw(c"slice_us", VfDir::slice, VfDir::set_slice),
            Attr::ro(c"stats", VfDir::stats),
            Attr::ro(c"guest", VfDir::guest),
            Attr::rw(
                c"weight",
                |dir, out| out.line(dir.share().weight),
                |dir, text| {
                    let weight = parse(text)?;
                    dir.change_share(|share| share.weight = weight)
                },
            ),
            Attr::rw(
                c"min_permille",
                |dir, out| out.line(dir.share().min),
                |dir, text| {
                    let min = parse(text)?;
                    dir.change_share(|share| share.min = min)
                },
            ),
            Attr::rw(
                c"cap_permille",
                |dir, out| out.line(dir.share().cap),
                |dir, text| {
                    let cap = parse(text)?;
                    dir.change_share(|share| share.cap = cap)
                },
            ),
            Attr::rw(
                c"latency_us",
                |dir, out| out.line(dir.share().latency.unwrap_or(0) / US),
                |dir, text| {
                    let ns = parse_us(text)?;
                    dir.change_share(|share| share.latency = (ns != 0).then_some(ns))
                },
            ),
        ];
        &ATTRS
    };
}

impl VfDir {
    fn part(&self) -> Part {
        let part = |st: &mut crate::gpu::State| st.table.as_ref().and_then(|t| t.vf(self.vf));
        self.gpu.with(part).unwrap_or_default()
    }

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

    fn slice(&self, out: &mut Page<'_>) -> Result {
        let ns = self.gpu.with(|st| st.engine.config().slice(self.vf));
        out.line(ns / US)
    }

    fn set_slice(&self, text: &str) -> Result {
        let ns = parse_us(text)?;
        let result = self.gpu.with(|st| st.engine.set_slice(self.vf, ns));
        refuse(&self.gpu, result)
    }

    fn control(&self, out: &mut Page<'_>) -> Result {
        out.line(self.gpu.with(|st| st.engine.held(self.vf)).name())
    }

    fn set_control(&self, text: &str) -> Result {
        match text {
            "pause" => self.gpu.pause_vf(self.vf),
            "resume" => {
                self.gpu.resume_vf(self.vf);
                Ok(())
            }
            "reset" => self.gpu.reset_by_host(self.vf),
            _ => Err(EINVAL),
        }
    }

    /// What the guest says of itself: not to be relied on.
    fn guest(&self, out: &mut Page<'_>) -> Result {
        let told = self.gpu.told(self.vf)?;
        match told.map(|told| told.page) {
            None | Some(Ok(None)) => out.line("report none"),
            Some(Err(bad)) => out.line(format_args!("report {}", bad.name())),
            Some(Ok(Some(page))) => {
                out.line("report valid")?;
                out.line(format_args!("driver {}", page.driver()))?;
                out.line(format_args!("os {}", page.os()))?;
                page.values()
                    .try_for_each(|(name, value)| out.line(format_args!("{name} {value}")))
            }
        }
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
