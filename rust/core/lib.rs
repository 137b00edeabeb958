// SPDX-License-Identifier: GPL-2.0

//! The pure core: every decision of the driver, and nothing else.
//!
//! Code in this folder calls no kernel function, reads no clock, allocates nothing and touches no
//! hardware. It takes an [`event::Event`] and the time, and returns [`event::Action`]s. The same
//! files are a module of `gim.ko` and a crate for `cargo test`, so paths inside are relative
//! (`super::`) and only `core` is used.

// First: its macros are for those that follow.
#[cfg(any(test, kunit))]
#[macro_use]
mod testing;

pub mod access;
pub mod account;
pub mod actions;
pub mod config;
pub mod course;
pub mod dirty;
pub mod engine;
pub mod event;
pub mod exchange;
pub mod guard;
pub mod hash;
pub mod mailbox;
pub mod migrate;
pub mod notice;
pub mod partition;
pub mod policy;
pub mod record;
pub mod rounds;
pub mod stream;
pub mod switch;
pub mod track;
pub mod types;
pub mod vf;
pub mod vfio;
