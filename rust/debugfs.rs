// SPDX-License-Identifier: GPL-2.0

//! Read-only debugfs: `gim-<PF>/engine`, what the engine is doing at this moment.
//!
//! For people, not for programs: the format may change. Programs read sysfs.

use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*,
    str::CString,
    sync::Arc, //
};

use crate::{
    ffi::timer::now_ns,
    gim_core::{
        types::MAX_VFS,
        vf::VfState, //
    },
    gpu::{
        first_vfs,
        Gpu, //
    },
};

/// The directory and its file.
pub(crate) type EngineFile = File<Arc<Gpu>>;

/// Makes the directory for a GPU.
pub(crate) fn dir(gpu: &Gpu) -> Result<Dir> {
    let pf = gpu.hw().pf.get();
    let name = CString::try_from_fmt(fmt!("gim-{}", pf.as_ref().name()))?;
    Ok(Dir::new(&name))
}

/// Makes the file in it.
pub(crate) fn engine_file<'a>(dir: &'a Dir, gpu: Arc<Gpu>) -> impl PinInit<EngineFile, Error> + 'a {
    dir.read_callback_file(c"engine", Ok(gpu), &show)
}

/// Takes everything under the lock first: printing is slow.
fn show(gpu: &Arc<Gpu>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let now = now_ns();
    let mut vfs = [VfState::Unavailable; MAX_VFS];
    let (phase, count, running, deadline, stats, config) = gpu.with(|st| {
        for (slot, vf) in vfs.iter_mut().zip(first_vfs(st.engine.count())) {
            *slot = st.engine.vf_state(vf);
        }
        let e = &st.engine;
        (
            e.phase(),
            e.count(),
            e.running(),
            e.deadline(),
            e.gpu_stats(now),
            *e.config(),
        )
    });
    writeln!(f, "phase: {phase:?}\nrunning: {running:?}")?;
    match deadline {
        Some(at) => writeln!(f, "next look: in {} us", at.saturating_sub(now) / 1000)?,
        None => writeln!(f, "next look: at the next event")?,
    }
    for (vf, state) in first_vfs(count).zip(vfs) {
        writeln!(f, "VF{}: {}", vf.raw(), state.name())?;
    }
    writeln!(f, "{stats:#?}\n{config:#?}")
}
