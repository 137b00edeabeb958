// SPDX-License-Identifier: GPL-2.0
//! What `gimctl` is made of: reading and writing the sysfs interface of `gim`, and showing it.
//!
//! Nothing but `table` knows of terminals, so that other programs (the demo) use the rest too.

pub mod changes;
pub mod holder;
pub mod metrics;
pub mod precheck;
mod ranges;
pub mod rates;
pub mod settings;
pub mod sysfs;
pub mod table;
pub mod uevent;
pub mod wanted;
