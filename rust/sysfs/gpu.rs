// SPDX-License-Identifier: GPL-2.0

//! `gim/`: the GPU as a whole.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    lines,
    parse_ms,
    parse_us,
    refuse,
    Choice, //
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
        config::{
            Config,
            Mode,
            Policy,
            Preset, //
        },
        engine::Phase,
        types::{
            VfId,
            MS,
            US, //
        },
    },
    gpu::Gpu, //
};

pub(super) struct GpuDir(pub(super) Arc<Gpu>);

impl DirType for GpuDir {
    const ATTRS: &'static [Attr<Self>] = {
        static ATTRS: [Attr<GpuDir>; 11] = [
            Attr::ro(c"chip", |dir, out| out.line(dir.0.hw().hal.name())),
            Attr::ro(c"framebuffer_mib", |dir, out| {
                let hw = dir.0.hw();
                out.line(hw.hal.framebuffer_mib(hw))
            }),
            Attr::rw(c"policy", GpuDir::policy, GpuDir::set_policy),
            Attr::rw(c"mode", GpuDir::mode, GpuDir::set_mode),
            Attr::rw(c"slice_us", GpuDir::slice, GpuDir::set_slice),
            Attr::rw(c"slice_preset", GpuDir::preset, GpuDir::set_preset),
            Attr::rw(c"watchdog_ms", GpuDir::watchdog, GpuDir::set_watchdog),
            Attr::rw(c"control", GpuDir::control, GpuDir::set_control),
            Attr::rw(c"handover", GpuDir::handover, GpuDir::set_handover),
            Attr::ro(c"state", |dir, out| {
                out.line(phase_name(dir.0.with(|st| st.engine.phase())))
            }),
            Attr::ro(c"stats", GpuDir::stats),
        ];
        &ATTRS
    };
}

impl GpuDir {
    fn config<R>(&self, read: impl FnOnce(&Config) -> R) -> R {
        self.0.with(|st| read(st.engine.config()))
    }

    fn policy(&self, out: &mut Page<'_>) -> Result {
        let name = match self.config(Config::policy) {
            Policy::RoundRobin => "rr",
            Policy::Qos => "qos",
        };
        out.line(Choice(&["rr", "qos"], name))
    }

    fn set_policy(&self, text: &str) -> Result {
        let policy = match text {
            "rr" => Policy::RoundRobin,
            "qos" => Policy::Qos,
            _ => return Err(EINVAL),
        };
        self.0.with(|st| st.engine.set_policy(policy));
        Ok(())
    }

    fn mode(&self, out: &mut Page<'_>) -> Result {
        let name = match self.config(Config::mode) {
            Mode::Strict => "strict",
            Mode::WorkConserving => "work-conserving",
        };
        out.line(Choice(&["strict", "work-conserving"], name))
    }

    fn set_mode(&self, text: &str) -> Result {
        let mode = match text {
            "strict" => Mode::Strict,
            "work-conserving" => Mode::WorkConserving,
            _ => return Err(EINVAL),
        };
        self.0.with(|st| st.engine.set_mode(mode));
        Ok(())
    }

    fn slice(&self, out: &mut Page<'_>) -> Result {
        out.line(self.config(|cfg| cfg.slice(VfId::FIRST)) / US)
    }

    fn set_slice(&self, text: &str) -> Result {
        let ns = parse_us(text)?;
        refuse(&self.0, self.0.with(|st| st.engine.set_slices(ns)))
    }

    fn preset(&self, out: &mut Page<'_>) -> Result {
        let name = match self.config(Config::preset) {
            Preset::Long => "long",
            Preset::Short => "short",
            Preset::Own => "own",
        };
        out.line(Choice(&["long", "short", "own"], name))
    }

    fn set_preset(&self, text: &str) -> Result {
        let preset = match text {
            "long" => Preset::Long,
            "short" => Preset::Short,
            "own" => Preset::Own,
            _ => return Err(EINVAL),
        };
        refuse(&self.0, self.0.with(|st| st.engine.set_preset(preset)))
    }

    fn watchdog(&self, out: &mut Page<'_>) -> Result {
        out.line(self.config(Config::watchdog) / MS)
    }

    fn set_watchdog(&self, text: &str) -> Result {
        let ns = parse_ms(text)?;
        refuse(&self.0, self.0.with(|st| st.engine.set_watchdog(ns)))
    }

    fn control(&self, out: &mut Page<'_>) -> Result {
        out.line(self.0.with(|st| st.engine.all_held()).name())
    }

    fn set_control(&self, text: &str) -> Result {
        match text {
            "pause" => self.0.pause_all(),
            "resume" => {
                self.0.resume_all();
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    fn handover(&self, out: &mut Page<'_>) -> Result {
        out.line(u8::from(self.0.with(|st| st.bequeaths)))
    }

    fn set_handover(&self, text: &str) -> Result {
        let on = match text {
            "0" => false,
            "1" => true,
            _ => return Err(EINVAL),
        };
        if on {
            self.0.may_leave()?;
        }
        self.0.with(|st| st.bequeaths = on);
        Ok(())
    }

    fn stats(&self, out: &mut Page<'_>) -> Result {
        let (s, events, dropped) = self.0.with(|st| {
            let notices = &st.notices;
            let stats = st.engine.gpu_stats(now_ns());
            (stats, notices.count(), notices.dropped())
        });
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
            "uevents": events,
            "uevents_dropped": dropped,
        )
    }
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
