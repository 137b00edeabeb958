// SPDX-License-Identifier: GPL-2.0

//! Migration for the VFIO driver of our VFs, which calls through the seam: the same streams as
//! those of `/dev/gim`.
//!
//! Sessions are ours and end with us; the other side knows their numbers. A GPU is offered from
//! the moment it is there, whether the seam is there yet or comes later.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        global_lock,
        Arc,
        Mutex, //
    },
};

use super::{
    header,
    phase::Move,
    restore::RestoreStream,
    save::{
        SaveStream,
        Wishes, //
    },
    track::Source,
    PAUSE_LIMIT_MS, //
};
use crate::{
    ffi::{
        anon::AnonFile,
        pci::Address,
        seam::{
            Bequest,
            DirtyPages,
            Info,
            Progress,
            Provider,
            Registered,
            Seam,
            Watcher,
            SAVE_PRECOPY, //
        },
        timer,
        uapi, //
    },
    gim_core::{
        migrate::Phase,
        record::WORDS_MAX,
        rounds::Limits,
        types::VfId,
        vf::VfState, //
    },
    gpu::hold::Epoch,
    port::{
        Port,
        Visit, //
    },
};

global_lock! {
    // SAFETY: Initialised by the module's `init`, before any driver is registered.
    unsafe(uninit) static OFFERS: Mutex<Offers> = Offers { seam: None, list: KVec::new() };
}

/// All that is offered.
struct Offers {
    seam: Option<Arc<Seam>>,
    list: KVec<Offer>,
}

/// One GPU's.
struct Offer {
    service: Arc<Service>,
    registered: Option<Registered<Service>>,
}

impl Offer {
    fn register(&mut self, seam: &Arc<Seam>) {
        if self.registered.is_some() {
            return;
        }
        match seam.register(self.service.port.address(), self.service.clone()) {
            Ok(registered) => self.registered = Some(registered),
            Err(e) => pr_err!("VFIO drivers are not served: {}\n", e.to_errno()),
        }
    }
}

/// Prepares the list of offers; to be called once, first.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's `init`, before anything uses it.
    unsafe { OFFERS.init() };
}

/// Waits for the seam.
pub(crate) struct Waiter;

impl Watcher for Waiter {
    fn come() {
        look_for_seam();
    }
}

/// Finds the seam, if it is there, and offers it all there is.
pub(crate) fn look_for_seam() {
    let mut offers = OFFERS.lock();
    let offers = &mut *offers;
    if offers.seam.is_none() {
        offers.seam = Seam::find();
    }
    if let Some(seam) = &offers.seam {
        for offer in &mut offers.list {
            offer.register(seam);
        }
    }
}

/// Lets the seam go; nothing is offered any more.
pub(crate) fn leave_seam() {
    let none = Offers {
        seam: None,
        list: KVec::new(),
    };
    let offers = core::mem::replace(&mut *OFFERS.lock(), none);
    drop(offers);
}

/// Offers a GPU; those who come to it before it is admitted are told that it is not there.
pub(crate) fn offer(port: &Arc<Port>) -> Result {
    let service = Service::new(port.clone())?;
    let offer = Offer {
        service,
        registered: None,
    };
    OFFERS.lock().list.push(offer, GFP_KERNEL)?;
    Ok(())
}

/// The record that an earlier life of the driver has left for this PF.
pub(crate) fn inheritance(pf: Address) -> Result<Option<KVec<u64>>> {
    let Some(seam) = OFFERS.lock().seam.clone() else {
        return Ok(None);
    };
    let mut words = KVec::from_elem(0, WORDS_MAX, GFP_KERNEL)?;
    match seam.kept(pf, &mut words) {
        Ok(count) => {
            words.truncate(count);
            Ok(Some(words))
        }
        Err(e) if e == ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

/// It was taken, or nobody wants it.
pub(crate) fn forget_inheritance(pf: Address) {
    if let Some(seam) = &OFFERS.lock().seam {
        seam.forget(pf);
    }
}

/// Whether somebody could keep a record for the next life of the driver.
pub(crate) fn can_bequeath() -> bool {
    OFFERS.lock().seam.is_some()
}

/// Prepares to leave a record. `ENODEV`: the GPU is not offered to anybody.
pub(crate) fn bequeath(port: &Arc<Port>) -> Result<Bequest> {
    let offers = OFFERS.lock();
    let mine = |offer: &&Offer| Arc::ptr_eq(&offer.service.port, port);
    let offer = offers.list.iter().find(mine).ok_or(ENODEV)?;
    let registered = offer.registered.as_ref().ok_or(ENODEV)?;
    registered.bequeath(port.address())
}

/// Takes the offer back: nobody is inside any more, and all sessions have ended.
pub(crate) fn withdraw(port: &Arc<Port>) {
    let mut offers = OFFERS.lock();
    let mine = |offer: &Offer| Arc::ptr_eq(&offer.service.port, port);
    let at = offers.list.iter().position(mine);
    let offer = at.and_then(|i| offers.list.remove(i).ok());
    drop(offers);
    if let Some(offer) = offer {
        drop(offer.registered);
        offer.service.end_all();
    }
}

/// What one GPU does for the VFIO driver of its VFs.
#[pin_data]
struct Service {
    port: Arc<Port>,
    #[pin]
    sessions: Mutex<Sessions>,
}

struct Sessions {
    last: u64,
    list: KVec<(u64, Stream)>,
}

#[derive(Clone)]
enum Stream {
    Save(Arc<SaveStream>),
    Restore(Arc<RestoreStream>),
}

impl Stream {
    fn end(&self) -> Result {
        match self {
            Self::Save(stream) => {
                stream.release();
                Ok(())
            }
            Self::Restore(stream) => {
                let complete = stream.is_complete();
                stream.release();
                match complete {
                    true => Ok(()),
                    false => Err(EINVAL),
                }
            }
        }
    }
}

impl Service {
    fn new(port: Arc<Port>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                port,
                sessions <- new_mutex!(Sessions {
                    // Numbers that an earlier life has given must not mean anything to this one.
                    last: timer::now_ns(),
                    list: KVec::new(),
                }),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Enters the GPU, if the VF is enabled.
    fn enter(&self, vf: u32) -> Result<(Visit<'_>, VfId, Epoch)> {
        let vf = VfId::new(vf).ok_or(ENOENT)?;
        let gpu = self.port.enter()?;
        let epoch = gpu.epoch(vf).ok_or(ESRCH)?;
        Ok((gpu, vf, epoch))
    }

    fn add(&self, stream: Stream) -> Result<u64> {
        let mut sessions = self.sessions.lock();
        let number = sessions.last.checked_add(1).ok_or(EOVERFLOW)?;
        sessions.list.push((number, stream), GFP_KERNEL)?;
        sessions.last = number;
        Ok(number)
    }

    fn stream(&self, number: u64) -> Result<Stream> {
        let sessions = self.sessions.lock();
        let found = sessions.list.iter().find(|(n, _)| *n == number);
        found.map(|(_, stream)| stream.clone()).ok_or(ENOENT)
    }

    fn end_all(&self) {
        let list = core::mem::take(&mut self.sessions.lock().list);
        for (_, stream) in list {
            let _ = stream.end();
        }
    }
}

impl Provider for Service {
    fn info(&self, vf: u32) -> Result<Info> {
        let (gpu, vf, _) = self.enter(vf)?;
        let header = header(&gpu, vf)?;
        Ok(Info {
            memory_bytes: header.fb_bytes,
            state_bytes: super::save::state_bytes(header.context_bytes),
            logs_dma: gpu.hw().dma_log.is_some().into(),
        })
    }

    fn pause(&self, vf: u32) -> Result {
        let (gpu, vf, _) = self.enter(vf)?;
        // Another one's to be filled: it is off the engine as it is, and let go by whoever fills it.
        let filled = |mv: &mut Move, now| mv.refresh(now) == Phase::Restoring;
        if self.port.moving(&gpu, vf, filled) {
            return Err(EBUSY);
        }
        gpu.hold_vf_after_access(vf, PAUSE_LIMIT_MS)
    }

    fn resume(&self, vf: u32) -> Result {
        let (gpu, vf, _) = self.enter(vf)?;
        gpu.resume_vf(vf);
        Ok(())
    }

    fn save(&self, vf: u32, flags: u32) -> Result<u64> {
        let (gpu, vf, epoch) = self.enter(vf)?;
        let source = match flags {
            0 => Source::Still,
            SAVE_PRECOPY => Source::choose(&gpu, uapi::GIM_DIRTY_SRC_AUTO)?,
            _ => return Err(EINVAL),
        };
        let wishes = Wishes {
            source,
            limits: Limits::DEFAULT,
        };
        let claim = self.port.claim(vf)?;
        let stream = SaveStream::new(&gpu, claim, self.port.clone(), (vf, epoch), &wishes)?;
        if source != Source::Still {
            // It may be paused and run on, more than once.
            stream.set_last(false);
        }
        self.add(Stream::Save(stream))
    }

    /// Whatever the VF was before, it is given up.
    fn restore(&self, vf: u32) -> Result<u64> {
        let (gpu, vf, _) = self.enter(vf)?;
        let claim = self.port.claim(vf)?;
        let (state, loaded) = gpu.with(|st| (st.engine.vf_state(vf), st.engine.loaded(vf)));
        match (state, loaded) {
            (VfState::Quarantined, _) => return Err(EPERM),
            (VfState::Suspended, false) => gpu.resume_vf(vf),
            (VfState::Available | VfState::Resetting, _) => {}
            _ => gpu.give_up_vf(vf),
        }
        let stream = RestoreStream::new(&gpu, claim, self.port.clone(), vf)?;
        self.add(Stream::Restore(stream))
    }

    fn read(&self, session: u64, to: usize, len: usize) -> Result<usize> {
        match self.stream(session)? {
            Stream::Save(stream) => SaveStream::read_to(stream.as_arc_borrow(), to, len),
            Stream::Restore(_) => Err(EINVAL),
        }
    }

    fn write(&self, session: u64, from: usize, len: usize) -> Result<usize> {
        match self.stream(session)? {
            Stream::Restore(stream) => stream.write_from(from, len),
            Stream::Save(_) => Err(EINVAL),
        }
    }

    fn progress(&self, session: u64) -> Result<Progress> {
        match self.stream(session)? {
            Stream::Save(stream) => Ok(stream.progress()),
            Stream::Restore(_) => Err(EINVAL),
        }
    }

    fn last(&self, session: u64) -> Result {
        match self.stream(session)? {
            Stream::Save(stream) => stream.set_last(true),
            Stream::Restore(_) => return Err(EINVAL),
        }
        Ok(())
    }

    fn end(&self, session: u64) -> Result {
        let mut sessions = self.sessions.lock();
        let at = sessions.list.iter().position(|(n, _)| *n == session);
        let found = at.and_then(|i| sessions.list.remove(i).ok());
        drop(sessions);
        let (_, stream) = found.ok_or(ENOENT)?;
        stream.end()
    }

    fn reset(&self, vf: u32) -> Result {
        let (gpu, _, _) = self.enter(vf)?;
        gpu.look_for_resets();
        Ok(())
    }

    fn log_dma(&self, vf: u32, on: bool) -> Result {
        let (gpu, vf, _) = self.enter(vf)?;
        let log = gpu.hw().dma_log.as_ref().ok_or(EOPNOTSUPP)?;
        gpu.still_there()?;
        log.set(vf, on);
        Ok(())
    }

    fn dma_dirty(&self, vf: u32, first: u64, last: u64, out: &mut [DirtyPages]) -> Result<usize> {
        let (gpu, vf, _) = self.enter(vf)?;
        let log = gpu.hw().dma_log.as_ref().ok_or(EOPNOTSUPP)?;
        gpu.still_there()?;
        log.take(vf, first, last, out)
    }
}
