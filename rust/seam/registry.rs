// SPDX-License-Identifier: GPL-2.0

//! The list of what is registered, who is inside of it, and who waits for somebody to register.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        global_lock,
        Arc,
        CondVar,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    abi::Address,
    exports::Pointer,
    kept, //
};

/// How long somebody waits at most for a driver that is being replaced, and how often he looks.
const PATIENCE_MS: i64 = 10_000;
const LOOK_MS: i64 = 2;

global_lock! {
    // SAFETY: Initialised by the module's `init`, before anybody can call what it exports.
    unsafe(uninit) static LIST: Mutex<List> = List { last: 0, entries: KVec::new() };
}

struct List {
    /// Serial number of the last registration.
    last: u64,
    entries: KVec<Arc<Entry>>,
}

/// Prepares the list; to be called once, first.
pub(crate) fn init() {
    // SAFETY: Called once, from the module's `init`, before anything uses it.
    unsafe { LIST.init() };
}

/// Frees the list, which is empty: whoever registers holds the module. The last act of the module.
pub(crate) fn exit() {
    LIST.lock().entries = KVec::new();
}

struct Inner {
    open: bool,
    /// Calls that are inside.
    visits: u32,
}

/// What is registered for one PF.
#[pin_data]
pub(crate) struct Entry {
    pub(crate) serial: u64,
    pub(crate) ops: Pointer,
    pub(crate) ctx: Pointer,
    address: Address,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    left: CondVar,
}

/// Registers; returns the serial number. `EEXIST` if somebody has that PF.
pub(crate) fn register(address: Address, ops: Pointer, ctx: Pointer) -> Result<u64> {
    let mut list = LIST.lock();
    if list.entries.iter().any(|entry| entry.address == address) {
        return Err(EEXIST);
    }
    // Whoever goes on where another has left is the same to those who visit.
    let new = list.last.checked_add(1).ok_or(EOVERFLOW)?;
    let serial = kept::serial(address).unwrap_or(new);
    let entry = Arc::pin_init(
        pin_init!(Entry {
            serial,
            ops,
            ctx,
            address,
            inner <- new_mutex!(Inner {
                open: true,
                visits: 0,
            }),
            left <- new_condvar!("gim_seam::left"),
        }),
        GFP_KERNEL,
    )?;
    list.entries.push(entry, GFP_KERNEL)?;
    list.last = new;
    Ok(serial)
}

/// Takes a registration back; returns when nobody is inside any more.
pub(crate) fn unregister(serial: u64) {
    let mut list = LIST.lock();
    let at = list.entries.iter().position(|e| e.serial == serial);
    let Some(entry) = at.and_then(|i| list.entries.remove(i).ok()) else {
        return;
    };
    drop(list);
    let mut inner = entry.inner.lock();
    inner.open = false;
    while inner.visits != 0 {
        entry.left.wait(&mut inner);
    }
}

/// Enters what is registered for a PF. `ENODEV` if nothing is; the `patient` wait as long as the
/// driver is being replaced, which takes a moment.
pub(crate) fn enter(address: Address, patient: bool) -> Result<Arc<Entry>> {
    let begun = Instant::<Monotonic>::now();
    loop {
        let entered = enter_now(address);
        let waits = patient && begun.elapsed().as_millis() < PATIENCE_MS;
        if entered.is_ok() || !waits || kept::serial(address).is_none() {
            return entered;
        }
        fsleep(Delta::from_millis(LOOK_MS));
    }
}

fn enter_now(address: Address) -> Result<Arc<Entry>> {
    let list = LIST.lock();
    let found = list.entries.iter().find(|entry| entry.address == address);
    let entry = found.cloned().ok_or(ENODEV)?;
    drop(list);
    let mut inner = entry.inner.lock();
    if !inner.open {
        return Err(ENODEV);
    }
    inner.visits = inner.visits.checked_add(1).ok_or(EBUSY)?;
    drop(inner);
    Ok(entry)
}

/// Leaves.
pub(crate) fn leave(entry: &Entry) {
    let mut inner = entry.inner.lock();
    inner.visits = inner.visits.saturating_sub(1);
    entry.left.notify_all();
}
