// SPDX-License-Identifier: GPL-2.0

//! The file that a migration's data passes through.
//!
//! It lives as long as somebody has it open; what it has to do with the VF ends before. A reset,
//! which must not wait for a reader, marks it dead; everything else that ends it waits.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
};

use crate::{
    abi::Progress,
    ffi::{
        anon::{
            ready,
            AnonFile, //
        },
        info, //
    },
    migration::Link, //
};

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the VF.
    Out,
    /// To the VF.
    In,
}

/// The file.
#[pin_data]
pub(crate) struct DataFile {
    link: Link,
    way: Way,
    /// The VF was reset.
    dead: Atomic<bool>,
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    /// The session, until it is ended.
    session: Option<u64>,
    /// The VF may still run on.
    precopy: bool,
    /// The user wants flags in the answer to `VFIO_MIG_GET_PRECOPY_INFO`.
    v2: bool,
}

impl DataFile {
    /// A file for a session.
    pub(crate) fn new(link: Link, way: Way, session: u64, precopy: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                link,
                way,
                dead: Atomic::new(false),
                inner <- new_mutex!(Inner {
                    session: Some(session),
                    precopy,
                    v2: false,
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// The state of the VF has changed: what the file tells depends on it.
    pub(crate) fn tell(&self, precopy: bool, v2: bool) {
        let mut inner = self.inner.lock();
        inner.precopy = precopy;
        inner.v2 = v2;
    }

    /// The VF was reset: nothing passes any more. Does not wait.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Relaxed);
    }

    /// The stream may come to its end.
    pub(crate) fn last(&self) -> Result {
        let inner = self.inner.lock();
        let session = self.session(&inner)?;
        self.link.enter()?.last(session)
    }

    /// How far the stream is.
    pub(crate) fn progress(&self) -> Result<Progress> {
        let inner = self.inner.lock();
        let session = self.session(&inner)?;
        self.link.enter()?.progress(session)
    }

    /// Ends the session; waits for whoever reads or writes. Fails where a restore is not complete.
    pub(crate) fn end(&self) -> Result {
        let mut inner = self.inner.lock();
        inner.precopy = false;
        let session = inner.session.take();
        // A file that its user has closed has ended it already.
        let session = session.ok_or(EINVAL)?;
        self.link.enter()?.end(session)
    }

    fn session(&self, inner: &Inner) -> Result<u64> {
        match self.dead.load(Relaxed) {
            true => Err(ENODEV),
            false => inner.session.ok_or(ENODEV),
        }
    }
}

impl AnonFile for DataFile {
    const NAME: &'static CStr = c"gim-vfio-migration";

    fn read_to(this: ArcBorrow<'_, Self>, to: usize, len: usize) -> Result<usize> {
        let inner = this.inner.lock();
        let session = this.session(&inner)?;
        this.link.enter()?.read(session, to, len)
    }

    fn write_from(&self, from: usize, len: usize) -> Result<usize> {
        let inner = self.inner.lock();
        let session = self.session(&inner)?;
        self.link.enter()?.write(session, from, len)
    }

    /// A read never waits for anything but device memory: in PRE_COPY it may find nothing.
    fn poll(&self) -> u32 {
        let ended = || match self.inner.try_lock() {
            Some(inner) => inner.session.is_none(),
            // Somebody reads or writes.
            None => false,
        };
        if self.dead.load(Relaxed) || self.link.enter().is_err() || ended() {
            return ready::IN | ready::ERR | ready::HUP;
        }
        match self.way {
            Way::Out => ready::IN,
            Way::In => ready::OUT,
        }
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        if self.way != Way::Out || !info::is_info(cmd) {
            return Err(ENOTTY);
        }
        let inner = self.inner.lock();
        let session = self.session(&inner)?;
        let (precopy, v2) = (inner.precopy, inner.v2);
        // The answer is written to user memory without the lock.
        drop(inner);
        if !precopy {
            return Err(EINVAL);
        }
        info::answer(arg, v2, || {
            let progress = self.link.enter()?.progress(session)?;
            Ok((progress.initial_bytes, progress.dirty_bytes))
        })?;
        Ok(0)
    }

    fn release(&self) {
        // What a restore lacks is told to whoever leaves RESUMING.
        let _ = self.end();
    }
}
