// SPDX-License-Identifier: GPL-2.0

//! The core of gim on a desk: a simulated GPU, guests of every kind, virtual time, and a referee
//! that checks after every step what must always hold.
//!
//! Everything follows from a seed. [`campaign::run`] plays episodes with every number of VFs, both
//! modes and both kinds of completion; a failure names the seed and shows the last steps.

pub mod campaign;
pub mod fuzz;
pub mod gpu;
pub mod guest;
pub mod mutate;
pub mod referee;
pub mod rng;
pub mod stream;
pub mod world;
