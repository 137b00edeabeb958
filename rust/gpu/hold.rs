// SPDX-License-Identifier: GPL-2.0

//! VFs held off the engine by the host, and their framebuffer meanwhile.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::Gpu;
use crate::{
    ffi::fb::FbWindow,
    gim_core::{
        engine::{
            Adoption,
            Held, //
        },
        event::Event,
        partition::Part,
        types::{
            Ns,
            VfId,
            MS, //
        },
        vf::VfState, //
    },
    hw::sdma::Job, //
};

/// Bytes of framebuffer that are mapped at a time.
const WINDOW: u64 = 16 << 20;

/// A VF as it was at some moment: another reset, or other VFs, and it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

/// How a VF stands with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    /// Which life of it this is; `None`: it is not enabled.
    pub(crate) epoch: Option<Epoch>,
    /// As long as it is held and this does not change, it has not run.
    pub(crate) stay: u32,
    /// It is to be off the engine: perhaps a reset goes on.
    pub(crate) ordered: bool,
    /// It is off the engine and its state is saved.
    pub(crate) held: bool,
    /// That ends by itself.
    pub(crate) bounded: bool,
}

impl Gpu {
    /// How the VF stands.
    pub(crate) fn stand(&self, vf: VfId) -> Stand {
        self.with(|st| {
            let there = vf.raw() < st.engine.count();
            let filled = st.engine.adoption(vf) == Adoption::Restored;
            let held = filled || st.engine.held(vf) == Held::Yes;
            Stand {
                epoch: there.then(|| Epoch(st.epochs[vf.index()])),
                stay: st.engine.stay(vf),
                ordered: filled || st.engine.held(vf) != Held::No,
                held: held && st.engine.vf_state(vf) == VfState::Suspended,
                bounded: st.engine.bounded(vf),
            }
        })
    }

    /// Takes a VF off the engine for at most `limit_ms` from now on; waits until its state is
    /// saved.
    ///
    /// Errors: as [`Self::hold_vf`]; `ETIMEDOUT` too if its time was over before.
    pub(crate) fn hold_vf_for(self: &Arc<Self>, vf: VfId, limit_ms: u32) -> Result {
        self.may_hold(vf)?;
        let ns = Ns::from(limit_ms).saturating_mul(MS);
        self.tell(Event::Hold { vf, ns });
        let met = self.wait(limit_ms, |st| st.engine.held(vf) != Held::Pending);
        match met {
            Ok(()) if self.stand(vf).held => Ok(()),
            Ok(()) => Err(ETIMEDOUT),
            Err(e) => {
                if self.stand(vf).bounded {
                    self.resume_vf(vf);
                }
                Err(e.into())
            }
        }
    }

    /// Gives back a VF that is held for a bounded time; one that was paused meanwhile stays so.
    pub(crate) fn end_hold(self: &Arc<Self>, vf: VfId) {
        let mut st = self.state.lock();
        if st.engine.bounded(vf) {
            Self::feed(self.as_arc_borrow(), &mut st, Event::Resume(vf));
        }
    }

    /// Which life of the VF this is; `None` if it is not enabled.
    pub(crate) fn epoch(&self, vf: VfId) -> Option<Epoch> {
        self.with(|st| {
            let there = vf.raw() < st.engine.count();
            there.then(|| Epoch(st.epochs[vf.index()]))
        })
    }

    /// Takes a VF off the engine for somebody who will not wait for its guest; waits until its
    /// state is saved, at most `limit_ms`.
    ///
    /// Errors: `EBUSY` its guest has full access, or it is being reset; `EPERM` it is quarantined;
    /// `ESRCH` it is not enabled; `ETIMEDOUT`, `EINTR`: it runs on.
    pub(crate) fn hold_vf(self: &Arc<Self>, vf: VfId, limit_ms: u32) -> Result {
        self.may_hold(vf)?;
        self.pause_vf_within(vf, limit_ms)
    }

    fn may_hold(&self, vf: VfId) -> Result {
        match self.with(|st| st.engine.vf_state(vf)) {
            VfState::Available | VfState::Active | VfState::Suspended => Ok(()),
            VfState::FullAccess | VfState::Resetting => Err(EBUSY),
            VfState::Quarantined => Err(EPERM),
            VfState::Unavailable => Err(ESRCH),
        }
    }

    /// The same for somebody who waits for a full access or a reset to be finished.
    pub(crate) fn hold_vf_after_access(self: &Arc<Self>, vf: VfId, limit_ms: u32) -> Result {
        match self.with(|st| st.engine.vf_state(vf)) {
            VfState::FullAccess | VfState::Resetting => self.pause_vf_within(vf, limit_ms),
            _ => self.hold_vf(vf, limit_ms),
        }
    }

    /// Has the engine look at once which VFs were reset.
    pub(crate) fn look_for_resets(self: &Arc<Self>) {
        self.tell(Event::Look);
    }

    /// Whether the VF is off the engine and stays so.
    pub(crate) fn is_held(&self, vf: VfId) -> bool {
        self.with(|st| {
            let filled = st.engine.adoption(vf) == Adoption::Restored;
            let held = filled || st.engine.held(vf) == Held::Yes;
            held && st.engine.vf_state(vf) == VfState::Suspended
        })
    }

    /// Has `write` write to framebuffer of a VF that is held, in the life `epoch`. A reset that
    /// comes meanwhile cleans up behind it. `EIO` if there was one before, `ENODEV` if the GPU is
    /// gone.
    pub(crate) fn fill<R>(
        &self,
        vf: VfId,
        epoch: Epoch,
        write: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let _order = self.fills[vf.index()].lock();
        let ours = self.with(|st| {
            let held = st.engine.held(vf) == Held::Yes;
            let taken = matches!(st.engine.adoption(vf), Adoption::Taken | Adoption::Restored);
            let there = st.engine.vf_state(vf) == VfState::Suspended;
            there && (held || taken) && st.epochs[vf.index()] == epoch.0
        });
        match ours {
            true => write(),
            false => Err(self.gone_or(EIO)),
        }
    }

    /// Resets a VF, paused or not; it is cleaned, which nobody waits for here.
    pub(crate) fn give_up_vf(self: &Arc<Self>, vf: VfId) {
        self.tell(Event::ResetVf(vf));
        self.tell(Event::Resume(vf));
    }

    /// The framebuffer of a VF.
    pub(crate) fn part(&self, vf: VfId) -> Result<Part> {
        let part = self.with(|st| st.table.as_ref().and_then(|table| table.vf(vf)));
        part.ok_or(ESRCH)
    }

    /// The context save area of a VF.
    pub(crate) fn context_part(&self, vf: VfId) -> Result<(u64, usize)> {
        let area = self.with(|st| st.table.as_ref().map(|table| table.context()));
        let area = area.ok_or(ESRCH)?;
        let (slot, bytes) = self.hw.hal.context_slot(vf);
        Ok((area.offset() + slot * bytes, usize::try_from(bytes)?))
    }
}

/// Where the copy engine leaves what the CPU cannot reach, in the PF's own framebuffer behind the
/// copy engine's ring; and how many bytes.
const BOUNCE: u64 = 2 << 20;
const BOUNCE_BYTES: u64 = 4 << 20;

/// Reaches framebuffer: by the CPU where the aperture reaches, a window at a time, else by the
/// copy engine, over a piece of the PF's framebuffer that the aperture does reach.
pub(crate) struct FbAccess {
    window: Option<(u64, FbWindow)>,
}

/// What is done with a range of framebuffer.
enum Access<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
    Zero(usize),
}

impl Access<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Read(to) => to.len(),
            Self::Write(from) => from.len(),
            Self::Zero(len) => *len,
        }
    }

    /// Does `n` bytes from byte `done` on, at byte `at` of a window.
    fn apply(&mut self, window: &FbWindow, at: usize, done: usize, n: usize) -> Result {
        match self {
            Self::Read(to) => window.copy_out(at, to.get_mut(done..done + n).ok_or(EINVAL)?),
            Self::Write(from) => window.copy_in(at, from.get(done..done + n).ok_or(EINVAL)?),
            Self::Zero(_) => window.zero_range(at, n),
        }
    }
}

impl FbAccess {
    pub(crate) const fn new() -> Self {
        Self { window: None }
    }

    /// Reads from framebuffer address `at` on.
    pub(crate) fn read(&mut self, gpu: &Arc<Gpu>, at: u64, to: &mut [u8]) -> Result {
        self.access(gpu, at, Access::Read(to))
    }

    /// Writes from framebuffer address `at` on.
    pub(crate) fn write(&mut self, gpu: &Arc<Gpu>, at: u64, from: &[u8]) -> Result {
        self.access(gpu, at, Access::Write(from))
    }

    /// Zeroes `len` bytes from framebuffer address `at` on.
    pub(crate) fn zero(&mut self, gpu: &Arc<Gpu>, at: u64, len: usize) -> Result {
        self.access(gpu, at, Access::Zero(len))
    }

    /// Reads `len` bytes from framebuffer address `at` on to address `user` of the calling process,
    /// with no memory of ours between, if that can be done; returns whether it was.
    pub(crate) fn read_to_user(
        &mut self,
        gpu: &Arc<Gpu>,
        at: u64,
        user: usize,
        len: usize,
    ) -> Result<bool> {
        let inside = at % WINDOW;
        let end = inside.saturating_add(u64::try_from(len)?);
        let reach = gpu.hw.aperture.len();
        if end > WINDOW || (at - inside).saturating_add(end) > reach {
            return Ok(false);
        }
        let window = self.window(gpu, at - inside)?;
        window.copy_to_user(usize::try_from(inside)?, user, len)
    }

    fn access(&mut self, gpu: &Arc<Gpu>, at: u64, mut what: Access<'_>) -> Result {
        let (mut done, len) = (0, what.len());
        while done < len {
            let here = at.checked_add(u64::try_from(done)?).ok_or(EINVAL)?;
            let left = u64::try_from(len - done)?;
            let reach = gpu.hw.aperture.len();
            let n = if here < reach {
                let inside = here % WINDOW;
                let n = left.min(WINDOW - inside).min(reach - here);
                let window = self.window(gpu, here - inside)?;
                let (inside, n) = (usize::try_from(inside)?, usize::try_from(n)?);
                what.apply(window, inside, done, n)?;
                n
            } else {
                let n = usize::try_from(left.min(BOUNCE_BYTES))?;
                self.by_engine(gpu, here, &mut what, done, n)?;
                n
            };
            done += n;
        }
        Ok(())
    }

    /// The window that begins at `base`.
    fn window(&mut self, gpu: &Gpu, base: u64) -> Result<&FbWindow> {
        if self.window.as_ref().map(|(b, _)| *b) != Some(base) {
            self.window = None;
            let size = WINDOW.min(gpu.hw.aperture.len().saturating_sub(base));
            let window = gpu.hw.aperture.window(base, usize::try_from(size)?)?;
            self.window = Some((base, window));
        }
        self.window.as_ref().map(|(_, w)| w).ok_or(EIO)
    }

    /// Does a piece that the aperture does not show.
    fn by_engine(
        &mut self,
        gpu: &Arc<Gpu>,
        at: u64,
        what: &mut Access<'_>,
        done: usize,
        n: usize,
    ) -> Result {
        let len = u64::try_from(n)?;
        let window = gpu.hw.aperture.window(BOUNCE, n)?;
        let nothing = || Ok(());
        match what {
            Access::Zero(_) => gpu.copy_by_engine(Job::Zero { at, len }, nothing, nothing),
            Access::Read(_) => {
                let job = Job::Copy {
                    from: at,
                    to: BOUNCE,
                    len,
                };
                gpu.copy_by_engine(job, nothing, || what.apply(&window, 0, done, n))
            }
            Access::Write(_) => {
                let job = Job::Copy {
                    from: BOUNCE,
                    to: at,
                    len,
                };
                gpu.copy_by_engine(job, || what.apply(&window, 0, done, n), nothing)
            }
        }
    }
}
