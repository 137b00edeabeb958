// SPDX-License-Identifier: GPL-2.0

//! The seam to VFIO drivers of our VFs, from the side of the PF's driver.
//!
//! `gim` needs no other module: it looks for the registry when it is loaded, and is told when that
//! comes later. While something is registered, the registry stays.

use core::{
    ffi::CStr,
    marker::PhantomData,
    mem::size_of, //
};

use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    sync::Arc,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

use super::pci::Address;

#[path = "../seam/abi.rs"]
#[allow(dead_code, reason = "the other modules' side is there too")]
mod abi;

pub(crate) use self::abi::{
    DirtyPages,
    Info,
    Progress,
    SAVE_PRECOPY, //
};
use self::abi::{
    Ops,
    VERSION, //
};

/// The registry's name.
const MODULE: &CStr = c"gim_seam";

/// What is used of it, in this order.
const SYMBOLS: [&CStr; 5] = [
    c"gim_seam_register",
    c"gim_seam_unregister",
    c"gim_seam_keep",
    c"gim_seam_kept",
    c"gim_seam_forget",
];

type Register = unsafe extern "C" fn(u32, u32, *const Ops, *mut c_void) -> i64;
type Unregister = unsafe extern "C" fn(u64);
type Keep = unsafe extern "C" fn(u32, u32, u64, *const u64, usize) -> c_int;
type Kept = unsafe extern "C" fn(u32, u32, *mut u64, usize) -> i64;
type Forget = unsafe extern "C" fn(u32, u32);

/// What VFIO drivers are served: see [`Ops`]. `vf` is whatever the caller says.
pub(crate) trait Provider: Send + Sync + 'static {
    /// What a VF is.
    fn info(&self, vf: u32) -> Result<Info>;
    /// Takes it off the engine.
    fn pause(&self, vf: u32) -> Result;
    /// Lets it run.
    fn resume(&self, vf: u32) -> Result;
    /// Begins to save it.
    fn save(&self, vf: u32, flags: u32) -> Result<u64>;
    /// Begins to restore it.
    fn restore(&self, vf: u32) -> Result<u64>;
    /// Reads from a save to user memory.
    fn read(&self, session: u64, to: usize, len: usize) -> Result<usize>;
    /// Writes user memory to a restore.
    fn write(&self, session: u64, from: usize, len: usize) -> Result<usize>;
    /// How far a save is.
    fn progress(&self, session: u64) -> Result<Progress>;
    /// The save may come to its end.
    fn last(&self, session: u64) -> Result;
    /// Ends a session.
    fn end(&self, session: u64) -> Result;
    /// The VF will be reset by its user, or was.
    fn reset(&self, vf: u32) -> Result;
    /// Begins to log which system memory it writes, or ends it.
    fn log_dma(&self, vf: u32, on: bool) -> Result;
    /// Moves what was logged of pages `first` to `last` to `out`; how many elements that took.
    fn dma_dirty(&self, vf: u32, first: u64, last: u64, out: &mut [DirtyPages]) -> Result<usize>;
}

/// The registry, which stays loaded as long as this lives.
///
/// # Invariants
///
/// All come from `__symbol_get`.
pub(crate) struct Seam {
    register: Register,
    unregister: Unregister,
    keep: Keep,
    kept: Kept,
    forget: Forget,
    _held: Held,
}

/// The symbols that were got: the first so many of [`SYMBOLS`].
struct Held(usize);

impl Drop for Held {
    fn drop(&mut self) {
        for name in SYMBOLS.iter().take(self.0) {
            // SAFETY: Got by `Seam::find`.
            unsafe { bindings::__symbol_put(name.as_char_ptr()) };
        }
    }
}

impl Seam {
    /// Finds it, if it is loaded.
    pub(crate) fn find() -> Option<Arc<Self>> {
        let mut held = Held(0);
        let mut found = [core::ptr::null_mut(); SYMBOLS.len()];
        for (to, name) in found.iter_mut().zip(SYMBOLS) {
            // SAFETY: The name is NUL-terminated, and the symbol the registry's alone.
            *to = unsafe { bindings::__symbol_get(name.as_char_ptr()) };
            if to.is_null() {
                return None;
            }
            held.0 += 1;
        }
        let [register, unregister, keep, kept, forget] = found;
        // INVARIANT: Just got.
        // SAFETY: The registry's functions have these types (`seam/exports.rs`).
        let seam = unsafe {
            Self {
                register: core::mem::transmute::<*mut c_void, Register>(register),
                unregister: core::mem::transmute::<*mut c_void, Unregister>(unregister),
                keep: core::mem::transmute::<*mut c_void, Keep>(keep),
                kept: core::mem::transmute::<*mut c_void, Kept>(kept),
                forget: core::mem::transmute::<*mut c_void, Forget>(forget),
                _held: held,
            }
        };
        Arc::new(seam, GFP_KERNEL).ok()
    }

    /// Copies the record that an earlier life has left for this PF; returns its words. `ENOENT`:
    /// there is none.
    pub(crate) fn kept(&self, pf: Address, to: &mut [u64]) -> Result<usize> {
        // SAFETY: `to` is valid for writes of its length.
        let count = unsafe { (self.kept)(pf.domain, pf.id.into(), to.as_mut_ptr(), to.len()) };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => to_result(c_int::try_from(count)?).and(Err(EINVAL)),
        }
    }

    /// Drops it.
    pub(crate) fn forget(&self, pf: Address) {
        // SAFETY: By the invariant.
        unsafe { (self.forget)(pf.domain, pf.id.into()) }
    }

    /// Registers; VFIO drivers find `provider` under the PF's address until the answer is dropped.
    pub(crate) fn register<T: Provider>(
        self: &Arc<Self>,
        pf: Address,
        provider: Arc<T>,
    ) -> Result<Registered<T>> {
        let ctx = provider.into_foreign();
        // SAFETY: The table is static; `ctx` is what its functions expect, and ours until the
        // registration has been taken back.
        let serial = unsafe { (self.register)(pf.domain, pf.id.into(), Table::<T>::ops(), ctx) };
        match u64::try_from(serial) {
            Ok(serial) => Ok(Registered {
                seam: self.clone(),
                serial,
                ctx: Context(ctx),
                _type: PhantomData,
            }),
            Err(_) => {
                // SAFETY: Nobody has got it.
                drop(unsafe { Arc::<T>::from_foreign(ctx) });
                to_result(c_int::try_from(serial)?).and(Err(EINVAL))
            }
        }
    }
}

/// What was registered.
struct Context(*mut c_void);

// SAFETY: An `Arc` of what is `Send` and `Sync`, on its way back.
unsafe impl Send for Context {}
// SAFETY: As above.
unsafe impl Sync for Context {}

/// A registration; dropping it waits for the calls that are inside.
pub(crate) struct Registered<T: Provider> {
    seam: Arc<Seam>,
    serial: u64,
    ctx: Context,
    _type: PhantomData<Arc<T>>,
}

impl<T: Provider> Registered<T> {
    /// What the next life of this driver inherits. From here on those who want to enter wait for
    /// it, once this registration is gone.
    pub(crate) fn bequeath(&self, pf: Address) -> Result<Bequest> {
        let bequest = Bequest {
            seam: self.seam.clone(),
            pf,
            serial: self.serial,
            left: false,
        };
        bequest.keep(&[])?;
        Ok(bequest)
    }
}

/// The place where the record for the next life is kept; an empty one is there already. Without
/// one that is [left](Self::leave), it is dropped again.
pub(crate) struct Bequest {
    seam: Arc<Seam>,
    pf: Address,
    serial: u64,
    left: bool,
}

impl Bequest {
    /// Leaves the record.
    pub(crate) fn leave(mut self, words: &[u64]) -> Result {
        self.keep(words)?;
        self.left = true;
        Ok(())
    }

    fn keep(&self, words: &[u64]) -> Result {
        let (domain, id) = (self.pf.domain, self.pf.id.into());
        let (at, count) = (words.as_ptr(), words.len());
        // SAFETY: `words` is valid for reads of its length.
        to_result(unsafe { (self.seam.keep)(domain, id, self.serial, at, count) })
    }
}

impl Drop for Bequest {
    fn drop(&mut self) {
        if !self.left {
            self.seam.forget(self.pf);
        }
    }
}

impl<T: Provider> Drop for Registered<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by us, and taken back once; then nobody uses `ctx` any more.
        unsafe {
            (self.seam.unregister)(self.serial);
            drop(Arc::<T>::from_foreign(self.ctx.0));
        }
    }
}

/// The functions for a `T`: all are called with a `ctx` that [`Seam::register`] has given.
struct Table<T: Provider>(PhantomData<T>);

impl<T: Provider> Table<T> {
    const OPS: Ops = Ops {
        version: VERSION,
        // CAST: A small constant.
        size: size_of::<Ops>() as u32,
        info: Self::info,
        pause: Self::pause,
        resume: Self::resume,
        save: Self::save,
        restore: Self::restore,
        read: Self::read,
        write: Self::write,
        progress: Self::progress,
        last: Self::last,
        end: Self::end,
        reset: Self::reset,
        log_dma: Self::log_dma,
        dma_dirty: Self::dma_dirty,
    };

    const fn ops() -> &'static Ops {
        const { &Self::OPS }
    }

    /// # Safety
    ///
    /// `ctx` must be what was registered, during a call that is inside of the seam.
    unsafe fn of<'a>(ctx: *mut c_void) -> &'a T {
        // SAFETY: By the contract the registration, which owns it, is still there.
        let provider = unsafe { Arc::<T>::borrow(ctx) };
        // SAFETY: As above, for as long as the call.
        unsafe { &*core::ptr::from_ref(&*provider) }
    }

    /// # Safety
    ///
    /// Only through the seam; `out` must be valid for a write.
    unsafe extern "C" fn info(ctx: *mut c_void, vf: u32, out: *mut Info) -> c_int {
        // SAFETY: By the contract.
        let info = unsafe { Self::of(ctx) }.info(vf);
        // SAFETY: By the contract.
        done(info.map(|info| unsafe { out.write(info) }))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn pause(ctx: *mut c_void, vf: u32) -> c_int {
        // SAFETY: By the contract.
        done(unsafe { Self::of(ctx) }.pause(vf))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn resume(ctx: *mut c_void, vf: u32) -> c_int {
        // SAFETY: By the contract.
        done(unsafe { Self::of(ctx) }.resume(vf))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn save(ctx: *mut c_void, vf: u32, flags: u32) -> i64 {
        // SAFETY: By the contract.
        number(unsafe { Self::of(ctx) }.save(vf, flags))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn restore(ctx: *mut c_void, vf: u32) -> i64 {
        // SAFETY: By the contract.
        number(unsafe { Self::of(ctx) }.restore(vf))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn read(
        ctx: *mut c_void,
        session: u64,
        to: *mut c_void,
        len: usize,
    ) -> isize {
        // SAFETY: By the contract.
        count(unsafe { Self::of(ctx) }.read(session, to.addr(), len))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn write(
        ctx: *mut c_void,
        session: u64,
        from: *mut c_void,
        len: usize,
    ) -> isize {
        // SAFETY: By the contract.
        count(unsafe { Self::of(ctx) }.write(session, from.addr(), len))
    }

    /// # Safety
    ///
    /// Only through the seam; `out` must be valid for a write.
    unsafe extern "C" fn progress(ctx: *mut c_void, session: u64, out: *mut Progress) -> c_int {
        // SAFETY: By the contract.
        let progress = unsafe { Self::of(ctx) }.progress(session);
        // SAFETY: By the contract.
        done(progress.map(|progress| unsafe { out.write(progress) }))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn last(ctx: *mut c_void, session: u64) -> c_int {
        // SAFETY: By the contract.
        done(unsafe { Self::of(ctx) }.last(session))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn end(ctx: *mut c_void, session: u64) -> c_int {
        // SAFETY: By the contract.
        done(unsafe { Self::of(ctx) }.end(session))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn reset(ctx: *mut c_void, vf: u32, _when: u32) -> c_int {
        // SAFETY: By the contract.
        done(unsafe { Self::of(ctx) }.reset(vf))
    }

    /// # Safety
    ///
    /// Only through the seam.
    unsafe extern "C" fn log_dma(ctx: *mut c_void, vf: u32, on: bool) -> c_int {
        // SAFETY: By the contract.
        done(unsafe { Self::of(ctx) }.log_dma(vf, on))
    }

    /// # Safety
    ///
    /// Only through the seam; `out` must be valid for reads and writes of `room` elements.
    unsafe extern "C" fn dma_dirty(
        ctx: *mut c_void,
        vf: u32,
        first: u64,
        last: u64,
        out: *mut DirtyPages,
        room: usize,
    ) -> isize {
        // SAFETY: By the contract.
        let out = unsafe { core::slice::from_raw_parts_mut(out, room) };
        // SAFETY: By the contract.
        count(unsafe { Self::of(ctx) }.dma_dirty(vf, first, last, out))
    }
}

fn done(result: Result) -> c_int {
    from_result(|| result.map(|()| 0))
}

/// A number or a negative errno.
fn number(result: Result<u64>) -> i64 {
    match result {
        Ok(n) => i64::try_from(n).unwrap_or(i64::MAX),
        Err(e) => e.to_errno().into(),
    }
}

/// A count or a negative errno.
fn count(result: Result<usize>) -> isize {
    match result {
        Ok(n) => isize::try_from(n).unwrap_or(isize::MAX),
        // CAST: Errno fits.
        Err(e) => e.to_errno() as isize,
    }
}

/// Calls `come` when the registry has been loaded, as long as it lives.
#[pin_data(PinnedDrop)]
pub(crate) struct Watch {
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: It has no operation but its drop, which may be done by any thread.
unsafe impl Send for Watch {}
// SAFETY: As above.
unsafe impl Sync for Watch {}

/// Who wants to know.
pub(crate) trait Watcher {
    /// The registry is there.
    fn come();
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new<T: Watcher>() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                // SAFETY: `block` is valid for writes, and stays where it is until it is
                // unregistered.
                unsafe {
                    block.write(pin_init::zeroed());
                    (*block).notifier_call = Some(notified::<T>);
                    to_result(bindings::register_module_notifier(block))
                }
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Watch {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `new`.
        unsafe { bindings::unregister_module_notifier(self.block.get()) };
    }
}

/// # Safety
///
/// Only for the kernel's module code, as a notifier.
unsafe extern "C" fn notified<T: Watcher>(
    _: *mut bindings::notifier_block,
    action: c_ulong,
    module: *mut c_void,
) -> c_int {
    if u32::try_from(action) == Ok(bindings::module_state_MODULE_STATE_LIVE) {
        // SAFETY: By the contract it is a module, whose name is NUL-terminated.
        let name = unsafe {
            CStr::from_char_ptr((&raw const (*module.cast::<bindings::module>()).name).cast())
        };
        if name == MODULE {
            T::come();
        }
    }
    0
}
