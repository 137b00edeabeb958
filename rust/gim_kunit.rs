// SPDX-License-Identifier: GPL-2.0

//! `gim_kunit`: the core's tests, which run when this module is loaded.
//!
//! The core calls nothing, so it makes a module by itself: `gim.ko` has no tests in it, and no
//! test needs a GPU. Built only for kernels with KUnit.

#[path = "core/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "only what is tested is used"
)]
mod gim_core;

mod provoke;

use kernel::prelude::*;

module! {
    type: GimKunit,
    name: "gim_kunit",
    authors: ["The gim developers"],
    description: "KUnit tests of gim",
    license: "GPL",
    params: {
        provoke: u32 {
            default: 0,
            description: "1: make mistakes that a debug kernel must complain of (default 0)",
        },
    },
}

struct GimKunit;

impl kernel::Module for GimKunit {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        if module_parameters::provoke.value() != 0 {
            provoke::everything()?;
        }
        Ok(Self)
    }
}
