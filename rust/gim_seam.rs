// SPDX-License-Identifier: GPL-2.0

//! `gim_seam`: where drivers of PFs and VFIO drivers of their VFs meet.
//!
//! It knows nothing of GPUs. A PF's driver registers its operations under the PF's address; a VFIO
//! driver looks there for each call and finds them, or finds them absent. So either may be loaded
//! first and unloaded first, and a VFIO device stays open while the PF's driver is replaced. What that
//! has to tell its next life is kept here meanwhile.

#[path = "seam/abi.rs"]
#[allow(dead_code, reason = "other modules use what the registry does not")]
mod abi;
#[path = "seam/exports.rs"]
mod exports;
#[path = "seam/kept.rs"]
mod kept;
#[path = "seam/registry.rs"]
mod registry;

use kernel::prelude::*;

module! {
    type: SeamModule,
    name: "gim_seam",
    authors: ["The gim developers"],
    description: "Registry between drivers of PFs and VFIO drivers of VFs",
    license: "GPL",
}

struct SeamModule;

impl kernel::Module for SeamModule {
    fn init(_: &'static ThisModule) -> Result<Self> {
        registry::init();
        kept::init();
        Ok(Self)
    }
}

impl Drop for SeamModule {
    fn drop(&mut self) {
        registry::exit();
        kept::exit();
    }
}
