// SPDX-License-Identifier: GPL-2.0

//! A simulated GPU, guests of every kind and a referee for the core of gim.
