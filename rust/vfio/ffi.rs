// SPDX-License-Identifier: GPL-2.0

//! The unsafe layer of the VFIO driver.

#[path = "../ffi/anon.rs"]
#[allow(dead_code, reason = "gim has more users for it")]
pub(crate) mod anon;
#[path = "ffi/device.rs"]
pub(crate) mod device;
#[path = "ffi/driver.rs"]
pub(crate) mod driver;
#[path = "ffi/info.rs"]
pub(crate) mod info;
#[path = "ffi/log.rs"]
pub(crate) mod log;
#[path = "ffi/raw.rs"]
pub(crate) mod raw;
#[path = "ffi/seam.rs"]
pub(crate) mod seam;
