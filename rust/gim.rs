// SPDX-License-Identifier: GPL-2.0

//! `gim`: shares one GPU among virtual machines by SR-IOV.
//!
//! Layers, each using only those above it in this list:
//! - [`gim_core`] (folder `core`): every decision, pure, also tested on the host;
//! - [`ffi`]: the unsafe layer, safe wrappers over what the `kernel` crate lacks;
//! - [`hw`]: registers and the differences between chips;
//! - [`gpu`]: the shell around the engine: lock, timer, interrupt, slow work;
//! - [`port`], [`chardev`], [`migrate`]: `/dev/gim`, saving and restoring of VFs;
//! - [`pf`]: the PCI driver; [`sysfs`] and [`debugfs`], what the operator sees.

#[path = "core/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the core is also a host crate with more users"
)]
mod gim_core;

mod chardev;
mod debugfs;
mod ffi;
mod gpu;
mod hw;
mod migrate;
mod pf;
mod port;
mod show;
mod sysfs;

use migrate::service;

use kernel::{
    driver,
    prelude::*,
    InPlaceModule,
    ThisModule, //
};

module! {
    type: GimModule,
    name: "gim",
    authors: ["The gim developers"],
    description: "SR-IOV host driver for AMD GPUs",
    license: "GPL",
    params: {
        vf_num: u32 {
            default: 0,
            description: "VFs to enable on each GPU when it is found: 0 (none, default), 1, 2, 4, 8 or 16",
        },
        slice_us: u32 {
            default: 6000,
            description: "time slice in microseconds: 100 to 1000000 (default 6000)",
        },
        guard: u32 {
            default: 1,
            description: "0: guests may send, ask and reset as often as they like (default 1)",
        },
        handover: u32 {
            default: 1,
            description: "0: VFs that an earlier gim has left are not taken over (default 1)",
        },
        strict: u32 {
            default: 0,
            description: "1: the slot of an absent VF is not given to others (default 0)",
        },
    },
}

/// Lets the seam and what statics hold go when the module goes: nobody drops a static.
struct LeaveSeam;

impl Drop for LeaveSeam {
    fn drop(&mut self) {
        service::leave_seam();
        port::exit();
    }
}

#[pin_data]
struct GimModule {
    // The device goes before the driver, whose GPUs it is the way to; the seam goes last.
    #[pin]
    _control: chardev::Registration,
    #[pin]
    _driver: driver::Registration<ffi::driver::Adapter<pf::Gim>>,
    #[pin]
    _watch: ffi::seam::Watch,
    _seam: LeaveSeam,
}

impl InPlaceModule for GimModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        port::init();
        service::init();
        try_pin_init!(Self {
            _seam: LeaveSeam,
            _watch <- ffi::seam::Watch::new::<service::Waiter>(),
            _: {
                ffi::crc::check()?;
                service::look_for_seam();
            },
            _control <- chardev::register(),
            _driver <- driver::Registration::new(
                <LocalModule as kernel::ModuleMetadata>::NAME,
                module,
            ),
        })
    }
}
