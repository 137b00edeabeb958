// SPDX-License-Identifier: GPL-2.0
//! What the device says that it can, and arguments that are wrong.

use anyhow::{ensure, Result};
use vf_client::migration::{data_size, feature, flags, probe, set_state_number, State};
use vfio_bindings::bindings::vfio as sys;

use crate::errno::*;
use crate::{begin, go, is, refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("features", features),
    ("wrong arguments are refused", wrong),
    ("the size of what is left", size),
];

const GET: u32 = sys::VFIO_DEVICE_FEATURE_GET;
const SET: u32 = sys::VFIO_DEVICE_FEATURE_SET;

fn features(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    let all =
        sys::VFIO_MIGRATION_STOP_COPY | sys::VFIO_MIGRATION_P2P | sys::VFIO_MIGRATION_PRE_COPY;
    ensure!(flags(&vf)? == u64::from(all));
    probe(&vf, sys::VFIO_DEVICE_FEATURE_MIGRATION, GET)?;
    probe(&vf, sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, GET | SET)?;
    probe(&vf, sys::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, GET)?;
    probe(&vf, sys::VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, SET)?;
    is(&vf, State::Running)
}

fn wrong(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    refused(probe(&vf, sys::VFIO_DEVICE_FEATURE_MIGRATION, SET), EINVAL)?;
    refused(
        probe(&vf, sys::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, SET),
        EINVAL,
    )?;
    let state = sys::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    // Neither GET nor SET, both, too short.
    refused(feature(&vf, state, &mut [1], 0), EINVAL)?;
    refused(feature(&vf, GET | state, &mut [0], 4), EINVAL)?;
    refused(feature(&vf, SET | state, &mut [1], 8), EINVAL)?;
    for number in [0, 8, 9, 0x8000_0000, u32::MAX] {
        refused(set_state_number(&vf, number), EINVAL)?;
        is(&vf, State::Running)?;
    }
    Ok(())
}

fn size(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    let (fb, whole) = (b.fb_bytes()?, data_size(&vf)?);
    ensure!(whole > fb && whole < fb + (4 << 20), "{whole} bytes");
    let mut file = begin(&vf, State::PreCopy)?;
    ensure!(data_size(&vf)? >= whole / 2);
    while !vf_client::migration::drain(&mut file, &mut std::io::sink())? {
        let left = data_size(&vf)?;
        ensure!(left < 4 << 20, "{left} bytes are left of {whole}");
        go(&vf, State::StopCopy)?;
    }
    go(&vf, State::Stop)?;
    ensure!(data_size(&vf)? == whole);
    go(&vf, State::Running)
}
