// SPDX-License-Identifier: GPL-2.0

//! `gim/limits/`: what a VF may cost the others.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    parse,
    refuse, //
};
use crate::{
    ffi::sysfs::{
        Attr,
        DirType,
        Page, //
    },
    gim_core::{
        guard::{
            Limit,
            Rate, //
        },
        types::MS, //
    },
    gpu::Gpu, //
};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000 * MS;

pub(super) struct LimitsDir(pub(super) Arc<Gpu>);

/// The files of one limit: `COUNT SECONDS`.
macro_rules! limit {
    ($name:literal, $limit:ident) => {
        Attr::rw(
            $name,
            |dir, out| LimitsDir::limit(dir, Limit::$limit, out),
            |dir, text| LimitsDir::set_limit(dir, Limit::$limit, text),
        )
    };
}

impl DirType for LimitsDir {
    const ATTRS: &'static [Attr<Self>] = {
        static ATTRS: [Attr<LimitsDir>; 7] = [
            Attr::rw(c"enforced", LimitsDir::enforced, LimitsDir::set_enforced),
            limit!(c"messages", Messages),
            limit!(c"requests", Requests),
            limit!(c"timeouts", Timeouts),
            limit!(c"resets", Resets),
            limit!(c"hangs", Hangs),
            limit!(c"access-time", AccessTime),
        ];
        &ATTRS
    };
}

impl LimitsDir {
    fn enforced(&self, out: &mut Page<'_>) -> Result {
        out.line(u8::from(self.0.with(|st| st.engine.config().guard())))
    }

    fn set_enforced(&self, text: &str) -> Result {
        let on = match text {
            "0" => false,
            "1" => true,
            _ => return Err(EINVAL),
        };
        self.0.with(|st| st.engine.set_guard(on));
        Ok(())
    }

    fn limit(&self, limit: Limit, out: &mut Page<'_>) -> Result {
        let rate = self.0.with(|st| st.engine.config().rate(limit));
        out.line(format_args!("{} {}", rate.count(), rate.window() / SECOND))
    }

    fn set_limit(&self, limit: Limit, text: &str) -> Result {
        let (count, seconds) = text.split_once(' ').ok_or(EINVAL)?;
        let window = parse::<u64>(seconds.trim())?.saturating_mul(SECOND);
        let rate = Rate::new(parse(count)?, window);
        refuse(
            &self.0,
            rate.map(|rate| self.0.with(|st| st.engine.set_rate(limit, rate))),
        )
    }
}
