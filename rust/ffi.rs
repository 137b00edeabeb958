// SPDX-License-Identifier: GPL-2.0

//! The unsafe layer: safe wrappers over kernel interfaces that the `kernel` crate lacks.
//!
//! All `unsafe` of the driver lives here (and in the few `unsafe impl`s that name these traits).

pub(crate) mod anon;
pub(crate) mod boxed;
pub(crate) mod crc;
pub(crate) mod driver;
pub(crate) mod fb;
pub(crate) mod irq;
pub(crate) mod log;
pub(crate) mod pci;
pub(crate) mod queue;
pub(crate) mod random;
pub(crate) mod seam;
pub(crate) mod sysfs;
pub(crate) mod timer;
pub(crate) mod trace;
pub(crate) mod uapi;
pub(crate) mod uevent;
