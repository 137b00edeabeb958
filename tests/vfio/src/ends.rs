// SPDX-License-Identifier: GPL-2.0
//! Resets, files and devices that are closed, others that want the same VF.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{ensure, Context, Result};
use rustix::process::{kill_process, Pid, Signal};
use vf_client::migration::{reset, set_state, State};
use vf_client::transport::Transport;

use crate::errno::*;
use crate::{begin, dead, fill, go, is, refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a reset is known at once", known),
    ("a reset ends every session", resets),
    ("a reset while somebody reads", reset_reader),
    ("a file that is closed early changes nothing", closed_file),
    ("a device that is closed lets its VF go", closed_device),
    ("what /dev/gim has is not taken", claimed),
    (
        "one that /dev/gim has is not filled, and is not left paused",
        claimed_target,
    ),
    ("VFs that are closed at once are all reset", at_once),
    ("those of programs that are killed, too", killed),
    ("a VF in use can be restored anew", in_use),
];

const SESSIONS: [State; 4] = [
    State::PreCopy,
    State::PreCopyP2p,
    State::StopCopy,
    State::Resuming,
];

fn known(b: &Bench) -> Result<()> {
    let before = b.resets(0)?;
    let vf = b.open(0)?;
    let opened = b.resets(0)?;
    ensure!(opened == before + 1, "{} resets by open", opened - before);
    reset(&vf)?;
    // At once, and counted once.
    let after = b.resets(0)?;
    ensure!(after == opened + 1, "{} resets", after - opened);
    b.wait_state(0, "available")?;
    drop(vf);
    let closed = b.resets(0)?;
    ensure!(closed == after + 1, "{} resets by close", closed - after);
    Ok(())
}

fn resets(b: &Bench) -> Result<()> {
    let mut vf = b.open(0)?;
    for state in SESSIONS {
        fill(b, &mut vf, 0)?;
        let file = begin(&vf, state)?;
        reset(&vf)?;
        is(&vf, State::Running)?;
        dead(&file).with_context(|| format!("{state:?}"))?;
        b.wait_state(0, "available")?;
        let mut byte = [1];
        vf.vram_read(0, &mut byte)?;
        ensure!(byte == [0], "not clean after {state:?}");
        // The next one begins while the file of the last is open.
        let next = begin(&vf, state)?;
        dead(&file)?;
        drop(next);
        reset(&vf)?;
        b.wait_state(0, "available")?;
    }
    Ok(())
}

fn reset_reader(b: &Bench) -> Result<()> {
    let mut vf = b.open(0)?;
    for state in [State::PreCopy, State::StopCopy] {
        fill(b, &mut vf, 0)?;
        let mut file = begin(&vf, state)?;
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| -> Result<()> {
            let reader = scope.spawn(|| {
                let mut buf = vec![0; 4096];
                loop {
                    match file.read(&mut buf) {
                        Ok(0) => return Ok(()),
                        Ok(_) => begun.store(true, Ordering::Relaxed),
                        Err(e) => return Err(e),
                    }
                }
            });
            while !begun.load(Ordering::Relaxed) && !reader.is_finished() {
                std::thread::yield_now();
            }
            reset(&vf)?;
            is(&vf, State::Running)?;
            // To its end, if that came first, or to an error.
            let read = reader.join().ok().context("the reader")?;
            if let Err(e) = read {
                // EIO: the reset came while it was reading; ENOMSG: before the reset.
                let known = [Some(ENODEV), Some(5), Some(42)];
                ensure!(known.contains(&e.raw_os_error()), "{e}");
            }
            Ok(())
        })?;
        dead(&file)?;
        b.wait_state(0, "available")?;
    }
    Ok(())
}

fn closed_file(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    for state in [State::PreCopy, State::PreCopyP2p, State::StopCopy] {
        drop(begin(&vf, state)?);
        is(&vf, state)?;
        go(&vf, State::Running)?;
        ensure!(b.state(0)? == "available", "after {state:?}");
        begin(&vf, state)?;
        go(&vf, State::Running)?;
    }
    Ok(())
}

fn closed_device(b: &Bench) -> Result<()> {
    for state in [State::RunningP2p, State::Stop] {
        let vf = b.open(0)?;
        go(&vf, state)?;
        ensure!(b.state(0)? == "suspended");
        drop(vf);
        b.wait_state(0, "available")?;
    }
    for state in SESSIONS {
        let vf = b.open(0)?;
        let file = begin(&vf, state)?;
        drop(vf);
        dead(&file).with_context(|| format!("{state:?}"))?;
        b.wait_state(0, "available")?;
        let vf = b.open(0)?;
        is(&vf, State::Running)?;
        begin(&vf, state)?;
    }
    Ok(())
}

/// VF0 through `/dev/gim`.
fn by_gim(b: &Bench) -> Result<gim_uapi::Vf> {
    let parts: Vec<u32> = b
        .gpu
        .split([':', '.'])
        .map(|part| u32::from_str_radix(part, 16))
        .collect::<Result<_, _>>()?;
    let at = (parts[0], parts[1], (parts[2] << 3) | parts[3]);
    Ok(gim_uapi::open_vf(at, 0)?)
}

fn claimed(b: &Bench) -> Result<()> {
    let vf = b.open(0)?;
    let other = by_gim(b)?;
    let stream = other.save(Some(gim_uapi::Source::Auto))?;
    refused(set_state(&vf, State::PreCopy), EBUSY)?;
    is(&vf, State::Running)?;
    // The way there is as far as it came.
    refused(set_state(&vf, State::StopCopy), EBUSY)?;
    is(&vf, State::Stop)?;
    go(&vf, State::Running)?;
    drop(stream);
    let _file = begin(&vf, State::PreCopy)?;
    refused(other.save(Some(gim_uapi::Source::Auto)), EBUSY)
}

fn claimed_target(b: &Bench) -> Result<()> {
    let other = by_gim(b)?;
    let vf = b.open(0)?;
    let stream = other.restore()?;
    for state in [State::Resuming, State::RunningP2p] {
        refused(set_state(&vf, state), EBUSY)?;
        is(&vf, State::Running)?;
    }
    drop(stream);
    b.wait_state(0, "available")?;
    let stream = other.save(Some(gim_uapi::Source::Auto))?;
    refused(set_state(&vf, State::Resuming), EBUSY)?;
    is(&vf, State::Error)?;
    ensure!(b.state(0)? == "suspended");
    // It was paused on the way there, which does not outlast the reset.
    reset(&vf)?;
    is(&vf, State::Running)?;
    drop(stream);
    b.wait_state(0, "available")?;
    let _stream = other.save(Some(gim_uapi::Source::Auto))?;
    refused(set_state(&vf, State::Resuming), EBUSY)?;
    drop(vf);
    b.wait_state(0, "available")
}

/// A lock that VFIO does not wait for is taken by the other's reset.
fn at_once(b: &Bench) -> Result<()> {
    for _ in 0..3 {
        let mut clients = Vec::new();
        for n in 0..2 {
            let mut client = vf_client::vf::Vf::attach(b.open(n)?, 1 << 20)?;
            client.start()?;
            clients.push(client);
        }
        let closes = clients
            .into_iter()
            .map(|client| std::thread::spawn(|| drop(client)));
        for close in closes.collect::<Vec<_>>() {
            ensure!(close.join().is_ok(), "a client panicked");
        }
        for n in 0..2 {
            b.wait_state(n, "available")?;
        }
    }
    Ok(())
}

/// The kernel closes their VFs at once, and for a program with a signal that it has not taken.
fn killed(b: &Bench) -> Result<()> {
    for _ in 0..3 {
        let mut clients = (0..2)
            .map(|n| {
                let mut client = Command::new("vf-client");
                client.arg("--pci").arg(b.address(n)?);
                client.args(["run", "--seconds", "0"]).stdout(Stdio::null());
                Ok(client.spawn()?)
            })
            .collect::<Result<Vec<_>>>()?;
        let met = (0..2).try_for_each(|n| b.wait_state(n, "active"));
        for signal in [Signal::STOP, Signal::TERM, Signal::KILL] {
            for client in &clients {
                kill_process(Pid::from_child(client), signal)?;
            }
        }
        for client in &mut clients {
            client.wait()?;
        }
        met?;
        for n in 0..2 {
            b.wait_state(n, "available")?;
        }
    }
    Ok(())
}

fn in_use(b: &Bench) -> Result<()> {
    let (mut from, to) = (b.open(0)?, b.open(1)?);
    let data = fill(b, &mut from, 3)?;
    let mut all = Vec::new();
    begin(&from, State::StopCopy)?.read_to_end(&mut all)?;
    // A guest that has loaded its driver is thrown away.
    let mut client = vf_client::vf::Vf::attach(to, 1 << 20)?;
    client.start()?;
    ensure!(b.state(1)? == "active");
    let mut file = begin(&client.t, State::Resuming)?;
    std::io::Write::write_all(&mut file, &all)?;
    go(&client.t, State::Running)?;
    ensure!(b.state(1)? == "available");
    crate::compare(&mut client.t, &data)
}
