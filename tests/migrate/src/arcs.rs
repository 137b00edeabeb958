// SPDX-License-Identifier: GPL-2.0
//! Every arc of the state machine of a migration, through the ioctls: in every phase everything
//! happens that can, and leads where the core's table says, or is refused where it has no entry.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use gim_core::migrate::{Happens, Phase};
use gim_uapi::{sys, Source, Stream, Vf};
use vmm_sys_util::ioctl::{ioctl_expr, ioctl_with_ref, _IOC_WRITE};

use crate::errno::*;
use crate::streams::small;
use crate::{Bench, Test};

pub(crate) const TESTS: &[Test] = &[("every arc of the state machine", all)];

/// How long a hold lasts here.
const HOLD: Duration = Duration::from_millis(300);

/// What a driver that does not tell phases lets happen, against the table.
const LENIENT: [(Phase, Happens); 2] = [
    (Phase::Restoring, Happens::Pause),
    (Phase::Broken, Happens::Pause),
];

/// A VF in some phase.
struct Rig {
    vf: Vf,
    stream: Option<Stream>,
}

/// Holds a VF off the engine for a while; `ENOTTY` where the driver cannot.
fn hold(vf: &Vf) -> io::Result<()> {
    let arg = [16, 0, HOLD.as_millis() as u32, 0];
    let number = ioctl_expr(_IOC_WRITE, sys::GIM_IOC_MAGIC, 0x1C, 16);
    // SAFETY: argsz says how long it is; nothing is written to it.
    match unsafe { ioctl_with_ref(&vf.as_fd().as_raw_fd(), number, &arg) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The phase that the driver tells.
fn told(vf: &Vf) -> io::Result<u32> {
    vf.query().map(|info| info.phase)
}

impl Rig {
    /// A VF that was brought to a phase; `None` where the driver cannot.
    fn new(b: &Bench, phase: Phase, good: &[u8]) -> Result<Option<Self>> {
        let vf = b.vf(0)?;
        let mut stream = None;
        match phase {
            Phase::Idle => {}
            Phase::PreCopy | Phase::Held => {
                stream = Some(vf.save(Some(Source::Auto))?);
                if phase == Phase::Held {
                    match hold(&vf) {
                        Err(e) if e.raw_os_error() == Some(ENOTTY) => return Ok(None),
                        held => held?,
                    }
                }
            }
            Phase::Stopped | Phase::Copying | Phase::Saved | Phase::Failed => {
                vf.pause(0, true)?;
                if phase != Phase::Stopped {
                    stream = Some(vf.save(None)?);
                }
                match (phase, &mut stream) {
                    (Phase::Saved, Some(stream)) => drop(stream.read_to_end(&mut Vec::new())?),
                    (Phase::Failed, _) => reset(b, "suspended")?,
                    _ => {}
                }
            }
            Phase::Restoring | Phase::Restored => {
                let mut to = vf.restore()?;
                let n = if phase == Phase::Restored {
                    good.len()
                } else {
                    good.len() / 2
                };
                to.write_all(&good[..n])?;
                stream = Some(to);
            }
            Phase::Broken => {
                stream = Some(vf.save(Some(Source::Auto))?);
                reset(b, "available")?;
            }
        }
        Ok(Some(Self { vf, stream }))
    }

    /// Lets something happen; `None` where nothing of the kind can be done from outside.
    fn act(
        &mut self,
        b: &Bench,
        phase: Phase,
        what: Happens,
        good: &[u8],
    ) -> Result<Option<io::Result<()>>> {
        let vf = &self.vf;
        Ok(Some(match what {
            Happens::Save => {
                let source = Some(Source::Auto).filter(|_| !phase.is_off());
                vf.save(source).map(|stream| self.stream = Some(stream))
            }
            Happens::Restore => vf.restore().map(|stream| self.stream = Some(stream)),
            Happens::Hold => match hold(vf) {
                Err(e) if e.raw_os_error() == Some(ENOTTY) => return Ok(None),
                held => held,
            },
            Happens::HoldOver if phase == Phase::Held => {
                std::thread::sleep(HOLD + Duration::from_millis(100));
                Ok(())
            }
            Happens::Pause => vf.pause(0, true),
            Happens::Resume => vf.resume(),
            Happens::End => match (phase, &mut self.stream) {
                (Phase::Copying, Some(stream)) => stream.read_to_end(&mut Vec::new()).map(drop),
                (Phase::Restoring, Some(stream)) => stream.write_all(&good[good.len() / 2..]),
                (Phase::Restored, Some(stream)) => stream.write_all(&[0]),
                _ => return Ok(None),
            },
            Happens::Error if phase == Phase::Restoring => {
                let Some(stream) = &mut self.stream else {
                    return Ok(None);
                };
                let result = stream.write_all(&good[..good.len() / 2]);
                ensure!(result.is_err(), "a wrong stream was taken");
                b.wait_state(0, "available")?;
                Ok(())
            }
            Happens::Reset => {
                let paused = phase.is_off() && !matches!(phase, Phase::Restoring | Phase::Restored);
                let held = phase == Phase::Held;
                reset(
                    b,
                    if paused && !held {
                        "suspended"
                    } else {
                        "available"
                    },
                )?;
                Ok(())
            }
            Happens::Gone => {
                b.enable(0)?;
                b.enable(4)?;
                b.wait_state(0, "available")?;
                Ok(())
            }
            Happens::Close => {
                self.stream = None;
                let open = matches!(phase, Phase::Restoring);
                if open {
                    b.wait_state(0, "available")?;
                }
                Ok(())
            }
            _ => return Ok(None),
        }))
    }

    /// Back to the beginning.
    fn end(self, b: &Bench) -> Result<()> {
        drop(self.stream);
        self.vf.reset()?;
        drop(self.vf);
        b.wait_state(0, "available")
    }
}

/// Somebody resets the function; it is in that state when it is clean.
fn reset(b: &Bench, then: &str) -> Result<()> {
    b.flr(0)?;
    b.wait_state(0, then)
}

/// Whether the driver tells phases: an older one refuses more than the table does.
fn knows_phases(b: &Bench) -> Result<bool> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    Ok(told(&vf)? == Phase::Stopped as u32)
}

fn all(b: &Bench) -> Result<()> {
    let good = small(b)?;
    let strict = knows_phases(b)?;
    b.wait_state(0, "available")?;
    let (mut arcs, mut refusals, mut wrong) = (0, 0, Vec::new());
    for phase in Phase::ALL {
        for what in Happens::ALL {
            let Some(mut rig) =
                Rig::new(b, phase, &good).with_context(|| format!("reaching {phase}"))?
            else {
                continue;
            };
            if let Err(e) = here(&rig, phase, strict) {
                wrong.push(format!("{phase} is not reached: {e:#}"));
            }
            match arc(b, &mut rig, (phase, what), &good, strict) {
                Ok(Some(true)) => arcs += 1,
                Ok(Some(false)) => refusals += 1,
                Ok(None) => {}
                Err(e) => wrong.push(format!("{phase}, {what:?}: {e:#}")),
            }
            rig.end(b)
                .with_context(|| format!("after {phase}, {what:?}"))?;
        }
    }
    println!("# {arcs} arcs, {refusals} refusals; phases told: {strict}");
    for each in &wrong {
        println!("# {each}");
    }
    ensure!(wrong.is_empty(), "{} are wrong", wrong.len());
    Ok(())
}

/// The VF is in a phase, as far as can be seen.
fn here(rig: &Rig, phase: Phase, strict: bool) -> Result<()> {
    let info = rig.vf.query()?;
    let off = info.flags & sys::GIM_VF_INFO_PAUSED != 0;
    ensure!(off == phase.is_off(), "off the engine: {off}");
    let told = told(&rig.vf)?;
    ensure!(!strict || told == phase as u32, "phase {told} is told");
    Ok(())
}

/// One entry of the table: whether it is an arc; `None` if nobody can try it from here.
fn arc(
    b: &Bench,
    rig: &mut Rig,
    (phase, what): (Phase, Happens),
    good: &[u8],
    strict: bool,
) -> Result<Option<bool>> {
    let expected = phase.after(what).map(|to| to.0);
    let Some(result) = rig.act(b, phase, what, good)? else {
        return Ok(None);
    };
    match (expected, result) {
        (Some(to), Ok(())) => here(rig, to, strict).map(|()| Some(true)),
        (None, Err(e)) => {
            let errno = e.raw_os_error();
            ensure!(
                matches!(errno, Some(EBUSY | EINVAL | EPIPE)),
                "refused by {e}"
            );
            here(rig, phase, strict).map(|()| Some(false))
        }
        // Of a VF that runs the user is told that there is nothing to resume.
        (Some(_), Err(e)) if what == Happens::Resume && !phase.is_off() => {
            ensure!(e.raw_os_error() == Some(EINVAL), "{e}");
            here(rig, phase, strict).map(|()| Some(false))
        }
        (Some(_), Err(e)) if !strict && e.raw_os_error() == Some(EBUSY) => {
            here(rig, phase, strict).map(|()| Some(false))
        }
        (Some(to), Err(e)) => anyhow::bail!("{e}, but leads to {to}"),
        (None, Ok(())) if !strict && LENIENT.contains(&(phase, what)) => Ok(None),
        (None, Ok(())) => anyhow::bail!("was not refused"),
    }
}
