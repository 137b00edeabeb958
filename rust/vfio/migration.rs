// SPDX-License-Identifier: GPL-2.0

//! Carries out the arcs of a migration, and what resets do to them.
//!
//! Locks: `own` is held while an arc is carried out, which may take long. VFIO holds locks across
//! a reset that it takes in page faults too, and a reader of the data file may wait for such a
//! fault: so a reset waits for none of our locks. It leaves a mark, and whoever holds `own`, or
//! takes it next, does the rest.

use kernel::{
    bindings,
    fs::File,
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
};

use crate::{
    abi::{
        Address,
        RESET_DONE,
        RESET_PREPARE,
        SAVE_PRECOPY, //
    },
    data::{
        DataFile,
        Way, //
    },
    ffi::{
        anon,
        seam::Visit, //
    },
    log::DmaLog,
    states::{
        failed,
        step,
        State,
        Step, //
    },
};

/// The way to the PF's driver as it was at some moment.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pf: Address,
    vf: u32,
    serial: u64,
}

impl Link {
    /// To where a visit is.
    pub(crate) fn to(pf: Address, vf: u32, visit: &Visit) -> Self {
        Self {
            pf,
            vf,
            serial: visit.serial(),
        }
    }

    /// Enters. `ENODEV`: that driver is gone; one that has come since knows nothing of us, unless it
    /// goes on where that has left.
    pub(crate) fn enter(&self) -> Result<Visit> {
        let visit = Visit::enter(self.pf, self.vf)?;
        match visit.serial() == self.serial {
            true => Ok(visit),
            false => Err(ENODEV),
        }
    }
}

/// The migration of one VF.
#[pin_data]
pub(crate) struct Migration {
    pf: Address,
    vf: u32,
    #[pin]
    own: Mutex<Own>,
    /// The VF was reset, which was not dealt with yet.
    #[pin]
    reset: SpinLock<bool>,
    #[pin]
    log: DmaLog,
}

struct Own {
    state: State,
    /// We have paused the VF, which a state may not tell: ERROR is reached from everywhere.
    paused: bool,
    /// The PF's driver, once it has done something for us.
    link: Option<Link>,
    /// The file of the session that goes on.
    file: Option<Arc<DataFile>>,
    /// The file of one that a reset has ended, and nobody else yet.
    stale: Option<Arc<DataFile>>,
}

impl Migration {
    /// The migration of a VF that runs.
    pub(crate) fn new(pf: Address, vf: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                pf,
                vf,
                own <- new_mutex!(Own {
                    state: State::Running,
                    paused: false,
                    link: None,
                    file: None,
                    stale: None,
                }),
                reset <- new_spinlock!(false),
                log <- DmaLog::new(*pf, *vf),
            }),
            GFP_KERNEL,
        )
    }

    /// Which memory of its guest it writes.
    pub(crate) fn log(&self) -> &DmaLog {
        &self.log
    }

    /// The state.
    pub(crate) fn state(&self) -> State {
        let own = self.lock();
        let state = own.state;
        self.unlock(own);
        state
    }

    /// Goes to a state; `next` tells the first arc on the way. Returns the file if one begins.
    pub(crate) fn set_state(
        &self,
        new: State,
        v2: bool,
        next: impl Fn(State, State) -> Result<State>,
    ) -> Result<Option<ARef<File>>> {
        if new == State::Error {
            return Err(EINVAL);
        }
        let mut own = self.lock();
        let done = self.walk(&mut own, new, v2, next);
        self.unlock(own);
        done
    }

    /// Bytes that are to be read after the VF has stopped: an estimate.
    pub(crate) fn data_size(&self) -> Result<u64> {
        let own = self.lock();
        let size = self.estimate(&own);
        self.unlock(own);
        size
    }

    /// The user has closed the device.
    pub(crate) fn close(&self) {
        self.log.stop();
        let mut own = self.lock();
        own.was_reset();
        own.end_stale();
        self.unlock(own);
    }

    /// The VF is about to be reset.
    pub(crate) fn will_be_reset(&self) {
        self.tell_reset(RESET_PREPARE);
    }

    /// The VF was reset: it runs, and there is no migration.
    pub(crate) fn was_reset(&self) {
        self.tell_reset(RESET_DONE);
        let mut mark = self.reset.lock();
        *mark = true;
        if let Some(own) = self.own.try_lock() {
            drop(mark);
            self.unlock(own);
        }
    }

    /// Has the engine look at once; one that is absent looks when it comes.
    fn tell_reset(&self, when: u32) {
        if let Ok(visit) = Visit::enter_now(self.pf, self.vf) {
            let _ = visit.reset(when);
        }
    }

    fn lock(&self) -> Guard<'_, Own, MutexBackend> {
        let mut own = self.own.lock();
        if core::mem::take(&mut *self.reset.lock()) {
            own.was_reset();
        }
        own
    }

    /// Unlocks once no reset is left to be dealt with.
    fn unlock(&self, mut own: Guard<'_, Own, MutexBackend>) {
        loop {
            let mut mark = self.reset.lock();
            if !core::mem::take(&mut *mark) {
                // Under the mark's lock: a reset that comes now finds `own` free.
                drop(own);
                return;
            }
            drop(mark);
            own.was_reset();
        }
    }

    fn walk(
        &self,
        own: &mut Own,
        new: State,
        v2: bool,
        next: impl Fn(State, State) -> Result<State>,
    ) -> Result<Option<ARef<File>>> {
        own.end_stale();
        if own.state == State::Error {
            // The kernel's table has a warning for those who ask for the way out.
            return Err(EINVAL);
        }
        let mut file = None;
        while own.state != new {
            let to = next(own.state, new)?;
            let step = step(own.state, to).ok_or(EINVAL)?;
            let done = self.carry_out(own, step).inspect_err(|&e| {
                own.state = failed(own.state, step, e == ENODEV);
            })?;
            own.state = to;
            own.paused = to.paused();
            if let Some(file) = &own.file {
                file.tell(to.precopy(), v2);
            }
            // No way leads through a session to another state.
            file = done;
        }
        Ok(file)
    }

    /// Does what an arc asks for.
    fn carry_out(&self, own: &mut Own, step: Step) -> Result<Option<ARef<File>>> {
        match step {
            Step::Nothing => {}
            Step::Pause => self.enter(own)?.pause()?,
            Step::Resume => self.enter(own)?.resume()?,
            Step::SaveAhead => return self.begin(own, step).map(Some),
            Step::Save | Step::Restore => return self.begin(own, step).map(Some),
            Step::Last => match &own.file {
                Some(file) => file.last()?,
                None => return Err(EINVAL),
            },
            Step::EndSave => {
                if let Some(file) = own.file.take() {
                    // If the other side is gone, so is its session.
                    let _ = file.end();
                }
            }
            Step::Load => own.file.take().ok_or(EINVAL)?.end()?,
        }
        Ok(None)
    }

    /// Begins a session.
    fn begin(&self, own: &mut Own, step: Step) -> Result<ARef<File>> {
        let visit = self.enter(own)?;
        let (way, mode, session) = match step {
            Step::Restore => (Way::In, bindings::O_WRONLY, visit.restore()?),
            Step::SaveAhead => (Way::Out, bindings::O_RDONLY, visit.save(SAVE_PRECOPY)?),
            _ => (Way::Out, bindings::O_RDONLY, visit.save(0)?),
        };
        if way == Way::In {
            // The VF is as it is after all resets there were, our own among them.
            *self.reset.lock() = false;
        }
        let made = own
            .link
            .ok_or(ENODEV)
            .and_then(|link| DataFile::new(link, way, session, step == Step::SaveAhead))
            .and_then(|file| Ok((anon::make(file.clone(), mode)?, file)));
        match made {
            Ok((opened, file)) => {
                own.file = Some(file);
                Ok(opened)
            }
            Err(e) => {
                // Its file, if there is one, has ended it: then this does nothing.
                let _ = visit.end(session);
                Err(e)
            }
        }
    }

    /// Enters the PF's driver: from a VF that runs whichever there is, else the same as before.
    fn enter(&self, own: &mut Own) -> Result<Visit> {
        if own.state != State::Running {
            return own.link.ok_or(ENODEV)?.enter();
        }
        let visit = Visit::enter(self.pf, self.vf)?;
        own.link = Some(Link::to(self.pf, self.vf, &visit));
        Ok(visit)
    }

    fn estimate(&self, own: &Own) -> Result<u64> {
        if let (State::PreCopy | State::PreCopyP2p | State::StopCopy, Some(file)) =
            (own.state, &own.file)
        {
            if let Ok(left) = file.progress() {
                let pages = left.initial_bytes.saturating_add(left.dirty_bytes);
                return Ok(pages.saturating_add(left.state_bytes));
            }
        }
        let info = Visit::enter(self.pf, self.vf)?.info()?;
        Ok(info.memory_bytes.saturating_add(info.state_bytes))
    }
}

impl Own {
    /// The VF was reset, or will be: whatever it was before, it runs.
    fn was_reset(&mut self) {
        if let Some(file) = self.file.take() {
            file.kill();
            // It can only be one: no session begins before the last one has ended.
            self.stale = Some(file);
        }
        if core::mem::take(&mut self.paused) {
            if let Some(Ok(visit)) = self.link.map(|link| link.enter()) {
                let _ = visit.resume();
            }
        }
        self.state = State::Running;
    }

    /// Ends what a reset has left; waits for its reader.
    fn end_stale(&mut self) {
        if let Some(file) = self.stale.take() {
            let _ = file.end();
        }
    }
}
