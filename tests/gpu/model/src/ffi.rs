// SPDX-License-Identifier: GPL-2.0
//! The model as the C shim sees it (`gim_gpu_*`, declared in shim/model.h).
//!
//! Each entry point is called with QEMU's big lock held, so there is one caller at a time.  A
//! guest can still make the GPU access its own BARs by DMA: such a call comes while another is
//! under way; it reads all ones and its writes are dropped.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr::null_mut;

use gpu_regs::chip::CHIPS;

use crate::{Config, Fault, Gpu, Host, Shared};

/// What the shim offers.  Functions are numbered by slot.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostOps {
    dma: extern "C" fn(*mut c_void, u32, u64, *mut u8, usize, bool) -> bool,
    interrupt: extern "C" fn(*mut c_void, u32),
    now: extern "C" fn(*mut c_void) -> u64,
    /// The time of the next tick, or `u64::MAX` for none.
    arm: extern "C" fn(*mut c_void, u64),
    window: extern "C" fn(*mut c_void, u32, u64, u64),
    shared_now: extern "C" fn(*mut c_void) -> u64,
    vram: *mut u8,
    vram_bytes: usize,
}

struct Shim {
    opaque: *mut c_void,
    ops: HostOps,
}

impl Host for Shim {
    fn dma_read(&mut self, slot: usize, bus: u64, buf: &mut [u8]) -> bool {
        (self.ops.dma)(
            self.opaque,
            slot as u32,
            bus,
            buf.as_mut_ptr(),
            buf.len(),
            false,
        )
    }
    fn dma_write(&mut self, slot: usize, bus: u64, buf: &[u8]) -> bool {
        // The shim only reads from it when the last argument is true.
        (self.ops.dma)(
            self.opaque,
            slot as u32,
            bus,
            buf.as_ptr().cast_mut(),
            buf.len(),
            true,
        )
    }
    fn interrupt(&mut self, slot: usize) {
        (self.ops.interrupt)(self.opaque, slot as u32);
    }
    fn now(&mut self) -> u64 {
        (self.ops.now)(self.opaque)
    }
    fn arm(&mut self, at: Option<u64>) {
        (self.ops.arm)(self.opaque, at.unwrap_or(u64::MAX));
    }
    fn vram(&mut self) -> &mut [u8] {
        // SAFETY: the shim gives the framebuffer's memory and length, which live as long as the
        // model.  Guests may write it at the same time, as they may on hardware: bytes may
        // differ between two reads, and nothing relies on them.
        unsafe { std::slice::from_raw_parts_mut(self.ops.vram, self.ops.vram_bytes) }
    }
    fn window(&mut self, vf: usize, offset: u64, bytes: u64) {
        (self.ops.window)(self.opaque, vf as u32, offset, bytes);
    }
    fn shared_now(&mut self) -> u64 {
        (self.ops.shared_now)(self.opaque)
    }
}

/// A model and the shim behind it.
pub struct Instance {
    busy: Cell<bool>,
    planes: Shared,
    inner: UnsafeCell<(Gpu, Shim)>,
}

/// Runs `f` on the model, or gives `otherwise` if there is none or it is busy.
///
/// # Safety
/// `p` is null or came from [`gim_gpu_new`] and was not freed.
unsafe fn enter<T>(
    p: *const Instance,
    otherwise: T,
    f: impl FnOnce(&mut Gpu, &mut Shim) -> T,
) -> T {
    // SAFETY: by contract of this function.
    let Some(i) = (unsafe { p.as_ref() }) else {
        return otherwise;
    };
    if i.busy.replace(true) {
        return otherwise;
    }
    // SAFETY: `busy` was clear, so no other reference to the inside exists.
    let (gpu, shim) = unsafe { &mut *i.inner.get() };
    let result = f(gpu, shim);
    i.busy.set(false);
    result
}

/// Makes a model.
///
/// # Safety
/// `cfg` and `ops` are valid; what `ops` holds stays valid until [`gim_gpu_free`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_new(
    opaque: *mut c_void,
    cfg: *const Config,
    ops: *const HostOps,
) -> *mut Instance {
    // SAFETY: by contract of this function.
    let (cfg, ops) = unsafe { (&*cfg, *ops) };
    let gpu = Gpu::new(cfg.clone());
    Box::into_raw(Box::new(Instance {
        busy: Cell::new(false),
        planes: gpu.planes(),
        inner: UnsafeCell::new((gpu, Shim { opaque, ops })),
    }))
}

/// Ends a model.
///
/// # Safety
/// As for [`enter`], and `p` is not used again.
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_free(p: *mut Instance) {
    if !p.is_null() {
        // SAFETY: by contract of this function.
        drop(unsafe { Box::from_raw(p) });
    }
}

/// `len` bytes from `at` of the framebuffer were written through a VF's BAR0.  May come while the
/// model is at work: its own engine may be who writes there.
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_written(p: *const Instance, at: u64, len: u64) {
    // SAFETY: by contract of this function.
    if let Some(i) = unsafe { p.as_ref() } {
        i.planes.borrow_mut().written(at, len);
    }
}

/// What configuration space needs to know of a chip.
#[repr(C)]
pub struct ChipFacts {
    /// Number of the chip, for [`Config::chip`].
    chip: u32,
    mmio_bytes: u32,
    pf_device: u16,
    vf_device: u16,
    gpuiov_length: u16,
    gpuiov_revision: u8,
    cap_pcie: u8,
}

/// The facts of the chip called `name`; `false` if there is none.
///
/// # Safety
/// `name` is a C string, `facts` may be written.
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_chip(name: *const c_char, facts: *mut ChipFacts) -> bool {
    // SAFETY: by contract of this function.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default();
    let Some((n, c)) = (0..).zip(CHIPS).find(|(_, c)| c.name == name) else {
        return false;
    };
    // SAFETY: by contract of this function.
    unsafe {
        facts.write(ChipFacts {
            chip: n,
            mmio_bytes: c.mmio_bytes,
            pf_device: c.pf_device,
            vf_device: c.vf_device,
            gpuiov_length: c.vsec.length,
            gpuiov_revision: c.vsec.revision,
            cap_pcie: c.cap_pcie,
        });
    }
    true
}

/// [`Gpu::bar_read`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_bar_read(p: *mut Instance, slot: u32, addr: u32, len: u8) -> u32 {
    // SAFETY: by contract of this function.
    unsafe { enter(p, u32::MAX, |g, h| g.bar_read(h, slot as usize, addr, len)) }
}

/// [`Gpu::bar_write`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_bar_write(
    p: *mut Instance,
    slot: u32,
    addr: u32,
    len: u8,
    value: u32,
) {
    // SAFETY: by contract of this function.
    unsafe {
        enter(p, (), |g, h| {
            g.bar_write(h, slot as usize, addr, len, value)
        })
    }
}

/// [`Gpu::doorbell`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_doorbell(p: *mut Instance, slot: u32, index: u32, value: u32) {
    // SAFETY: by contract of this function.
    unsafe { enter(p, (), |g, h| g.doorbell(h, slot as usize, index, value)) }
}

/// [`Gpu::cfg_read`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_cfg_read(p: *mut Instance, off: u16, len: u8) -> u32 {
    // SAFETY: by contract of this function.
    unsafe { enter(p, u32::MAX, |g, h| g.cfg_read(h, off, len)) }
}

/// [`Gpu::cfg_write`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_cfg_write(p: *mut Instance, off: u16, len: u8, value: u32) {
    // SAFETY: by contract of this function.
    unsafe { enter(p, (), |g, h| g.cfg_write(h, off, len, value)) }
}

/// [`Gpu::flr`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_flr(p: *mut Instance, slot: u32) {
    // SAFETY: by contract of this function.
    unsafe { enter(p, (), |g, h| g.flr(h, slot as usize)) }
}

/// [`Gpu::set_enabled`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_set_enabled(p: *mut Instance, vfs: u32) {
    // SAFETY: by contract of this function.
    unsafe { enter(p, (), |g, h| g.set_enabled(h, vfs)) }
}

/// [`Gpu::tick`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_tick(p: *mut Instance) {
    // SAFETY: by contract of this function.
    unsafe { enter(p, (), |g, h| g.tick(h)) }
}

/// [`Gpu::referee_read`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_referee_read(p: *mut Instance, off: u32, len: u8) -> u64 {
    // SAFETY: by contract of this function.
    unsafe { enter(p, u64::MAX, |g, h| g.referee_read(h, off, len)) }
}

/// [`Gpu::referee_write`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_referee_write(p: *mut Instance, off: u32, value: u32) {
    // SAFETY: by contract of this function.
    unsafe { enter(p, (), |g, h| g.referee_write(h, off, value)) }
}

/// Arms the fault that `text` describes ([`Fault::parse`]), or forgets all at "clear"; `false` if
/// it cannot be read.
///
/// # Safety
/// As for [`enter`], and `text` is a C string.
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_fault(p: *mut Instance, text: *const c_char) -> bool {
    // SAFETY: by contract of this function.
    let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default();
    // SAFETY: by contract of this function.
    unsafe {
        enter(p, false, |g, h| match Fault::parse(text) {
            Some(f) => g.arm_fault(h, f),
            None if text == "clear" => {
                g.clear_faults();
                true
            }
            None => false,
        })
    }
}

/// [`Gpu::pf_is_lost`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_pf_is_lost(p: *mut Instance) -> bool {
    // SAFETY: by contract of this function.
    unsafe { enter(p, false, |g, _| g.pf_is_lost()) }
}

/// [`Gpu::referee_json`]; the string goes back to [`gim_gpu_free_string`].
///
/// # Safety
/// As for [`enter`].
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_referee_json(p: *mut Instance) -> *mut c_char {
    // SAFETY: by contract of this function.
    let json = unsafe { enter(p, String::new(), |g, h| g.referee_json(h)) };
    CString::new(json).map_or(null_mut(), CString::into_raw)
}

/// Frees a string of [`gim_gpu_referee_json`].
///
/// # Safety
/// `s` came from there and is not used again.
#[no_mangle]
pub unsafe extern "C" fn gim_gpu_free_string(s: *mut c_char) {
    if !s.is_null() {
        // SAFETY: by contract of this function.
        drop(unsafe { CString::from_raw(s) });
    }
}
