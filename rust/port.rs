// SPDX-License-Identifier: GPL-2.0

//! The door to a GPU for files, which may stay open after the GPU has gone.
//!
//! A file holds the door, never the GPU: each call enters, and unbind waits until all have left.

use core::ops::Deref;

use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        global_lock,
        Arc,
        CondVar,
        Mutex, //
    },
};

use crate::{
    ffi::{
        pci::Address,
        seam::Bequest, //
    },
    gim_core::types::{
        VfId,
        MAX_VFS, //
    },
    gpu::{
        hold::Stand,
        Gpu, //
    },
    migrate::{
        phase::Move,
        service, //
    },
};

global_lock! {
    // SAFETY: Initialised by the module's `init`, before any driver is registered.
    unsafe(uninit) static PORTS: Mutex<KVec<Arc<Port>>> = KVec::new();
}

/// Prepares the list of doors; to be called once, first.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's `init`, before anything uses it.
    unsafe { PORTS.init() };
}

/// Frees the list, which is empty; the last act of the module.
pub(crate) fn exit() {
    *PORTS.lock() = KVec::new();
}

struct Inner {
    /// The GPU, until it goes.
    gpu: Option<Arc<Gpu>>,
    /// Calls that are inside.
    visits: u32,
    /// VFs that somebody saves, restores or tracks: a bit each.
    claimed: u32,
    /// Where the migration of each VF is.
    moves: [Move; MAX_VFS],
}

/// The door to one GPU.
#[pin_data]
pub(crate) struct Port {
    address: Address,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    left: CondVar,
}

impl Port {
    /// Makes a door that [`find`] finds; nobody is let in before [`Opened::admit`].
    pub(crate) fn prepare(address: Address) -> Result<Opened> {
        let port = Arc::pin_init(
            try_pin_init!(Self {
                address,
                inner <- new_mutex!(Inner {
                    gpu: None,
                    visits: 0,
                    claimed: 0,
                    moves: [Move::NONE; MAX_VFS],
                }),
                left <- new_condvar!("gim::port"),
            }? Error),
            GFP_KERNEL,
        )?;
        PORTS.lock().push(port.clone(), GFP_KERNEL)?;
        let opened = Opened(port);
        service::offer(&opened.0)?;
        Ok(opened)
    }

    /// Where the GPU is.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Enters, if the GPU is still there.
    pub(crate) fn enter(&self) -> Result<Visit<'_>> {
        let mut inner = self.inner.lock();
        let gpu = inner.gpu.clone().ok_or(ENODEV)?;
        inner.visits += 1;
        Ok(Visit {
            gpu,
            _leave: Leave(self),
        })
    }

    /// Whether the GPU is still there.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.lock().gpu.is_some()
    }

    /// Looks at where the migration of a VF is, or changes it, knowing how the VF stands now.
    pub(crate) fn moving<R>(
        &self,
        gpu: &Gpu,
        vf: VfId,
        f: impl FnOnce(&mut Move, Stand) -> R,
    ) -> R {
        let mut inner = self.inner.lock();
        // Under the lock: whoever knew less must not come later.
        let now = gpu.stand(vf);
        f(&mut inner.moves[vf.index()], now)
    }

    /// Whether somebody saves, restores or tracks a VF.
    pub(crate) fn is_claimed(&self) -> bool {
        self.inner.lock().claimed != 0
    }

    /// Takes a VF for one purpose: to be saved, restored or tracked. `EBUSY` if somebody has it.
    pub(crate) fn claim(self: &Arc<Self>, vf: VfId) -> Result<Claimed> {
        let mut inner = self.inner.lock();
        if inner.claimed & vf.bit() != 0 {
            return Err(EBUSY);
        }
        inner.claimed |= vf.bit();
        Ok(Claimed {
            port: self.clone(),
            vf,
        })
    }
}

/// The door at this PCI address.
pub(crate) fn find(address: Address) -> Result<Arc<Port>> {
    let ports = PORTS.lock();
    let found = ports.iter().find(|port| port.address == address);
    found.cloned().ok_or(ENODEV)
}

/// A door; it closes when this is dropped, once everybody has left.
pub(crate) struct Opened(Arc<Port>);

impl Opened {
    /// Lets everybody in, those who come through the seam too.
    pub(crate) fn admit(&self, gpu: &Arc<Gpu>) {
        self.0.inner.lock().gpu = Some(gpu.clone());
        service::look_for_seam();
    }

    /// Prepares to leave a record for the next life of the driver.
    pub(crate) fn bequeath(&self) -> Result<Bequest> {
        service::bequeath(&self.0)
    }

    /// Lets nobody enter any more; whoever is inside stays.
    pub(crate) fn shut(&self) {
        PORTS.lock().retain(|port| !Arc::ptr_eq(port, &self.0));
        let gpu = self.0.inner.lock().gpu.take();
        drop(gpu);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.shut();
        service::withdraw(&self.0);
        let mut inner = self.0.inner.lock();
        // Whoever waits for the GPU inside has a bound.
        while inner.visits != 0 {
            self.0.left.wait(&mut inner);
        }
    }
}

/// A call that is inside: the GPU stays until it leaves.
pub(crate) struct Visit<'a> {
    // In this order: it has left only when it holds the GPU no longer.
    gpu: Arc<Gpu>,
    _leave: Leave<'a>,
}

impl Deref for Visit<'_> {
    type Target = Arc<Gpu>;

    fn deref(&self) -> &Arc<Gpu> {
        &self.gpu
    }
}

struct Leave<'a>(&'a Port);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().visits -= 1;
        self.0.left.notify_all();
    }
}

/// A VF that is taken for one purpose.
pub(crate) struct Claimed {
    port: Arc<Port>,
    vf: VfId,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.port.inner.lock().claimed &= !self.vf.bit();
    }
}
