// SPDX-License-Identifier: GPL-2.0
//! A virtual function's guest driver in user space.
//!
//! It does what a Linux guest driver does with a FirePro S7150 VF, and then more than that: it
//! asks for the GPU by mailbox ([`mailbox`]), sets up page table, interrupt ring and copy engine
//! while it has full access ([`vf`]), submits jobs by memory and doorbell alone ([`job`],
//! [`runner`]) and verifies every byte that the GPU was asked to write, and the bytes around
//! them.  How the device is reached is a [`transport::Transport`]; [`vfio`] is one, [`sysfs`]
//! another.

pub mod chain;
pub mod checkpoint;
pub mod error;
pub mod exchange;
pub(crate) mod function;
pub mod job;
pub mod layout;
pub mod mailbox;
pub mod mem;
pub mod migration;
pub mod pci;
pub mod pulse;
pub mod referee;
pub mod ring;
pub mod runner;
pub mod scrub;
pub mod slot;
pub mod stats;
pub mod sysfs;
pub mod transport;
pub mod vf;
pub mod vfio;

pub use error::{Error, Result};
