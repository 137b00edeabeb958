// SPDX-License-Identifier: GPL-2.0

//! `gim_vfio_pci`: the VFs of `gim` as VFIO devices that can be migrated.
//!
//! - [`states`] (in the core): the states of a migration, and what each arc asks for, pure;
//! - [`ffi`]: the unsafe layer: VFIO's and PCI's callbacks, calls through the seam;
//! - [`migration`]: carries out the arcs; [`data`]: the file that a stream passes through;
//! - [`log`]: which memory of its guest the VF writes.
//!
//! All that VFIO does for any PCI device is left to vfio-pci-core. What has to do with the GPU is
//! done by the PF's driver, which is asked through the seam and may be absent.

#[path = "seam/abi.rs"]
#[allow(dead_code, reason = "the other modules' side is there too")]
mod abi;
#[path = "core/vfio.rs"]
#[allow(unreachable_pub, reason = "the core is also a host crate")]
mod states;

#[path = "vfio/data.rs"]
mod data;
#[path = "vfio/ffi.rs"]
mod ffi;
#[path = "vfio/log.rs"]
mod log;
#[path = "vfio/migration.rs"]
mod migration;

use kernel::{
    prelude::*,
    InPlaceModule,
    ThisModule, //
};

module! {
    type: VfioModule,
    name: "gim_vfio_pci",
    authors: ["The gim developers"],
    description: "VFIO with migration for VFs of AMD GPUs",
    license: "GPL",
    params: {
        precopy: u32 {
            default: 1,
            description: "0: a VM stands still while the framebuffer of its VF is copied; for VFs that are bound from then on (default 1)",
        },
    },
}

#[pin_data]
struct VfioModule {
    #[pin]
    _driver: ffi::driver::Registration,
}

impl InPlaceModule for VfioModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- ffi::driver::Registration::new(module),
        })
    }
}
