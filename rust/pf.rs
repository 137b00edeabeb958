// SPDX-License-Identifier: GPL-2.0

//! The PCI driver of the physical function: from probe to remove, and `sriov_numvfs`.

use kernel::{
    device::Core,
    dma::{
        Device as _,
        DmaMask, //
    },
    new_mutex, pci,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    debugfs,
    ffi::{
        driver::{
            Channel,
            PfDriver,
            Verdict, //
        },
        irq::Msi,
        pci::BoundPf,
        seam::Bequest, //
    },
    gim_core::{
        config::{
            Completion,
            Config,
            Mode, //
        },
        types::{
            VfId,
            US, //
        },
    },
    gpu::{
        Gpu,
        IrqHandler, //
    },
    hw::{
        hal::{
            self,
            Chip, //
        },
        Hw, //
    },
    migrate::service,
    module_parameters,
    port::{
        Opened,
        Port, //
    },
    show::Show,
    sysfs::{
        GpuFiles,
        VfFiles, //
    },
};

/// Bits of a bus address that the GPU can use (gpu-iov-hardware.md, 1.2).
const DMA_BITS: u32 = 40;

/// The driver.
pub(crate) struct Gim;

/// What the driver keeps for each GPU; fields are dropped in this order.
#[pin_data]
pub(crate) struct GimData {
    #[pin]
    port: Mutex<Option<Opened>>,
    #[pin]
    vf_files: Mutex<Option<VfFiles>>,
    files: GpuFiles,
    #[pin]
    engine_file: debugfs::EngineFile,
    debugfs: kernel::debugfs::Dir,
    #[pin]
    irq: Msi<IrqHandler>,
    gpu: Arc<Gpu>,
}

impl pci::Driver for Gim {
    type IdInfo = Chip;
    type Data<'bound> = GimData;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = hal::CHIPS;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<GimData, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let chip = *info.ok_or(ENODEV)?;
            pdev.enable_device_mem()?;
            pdev.set_master();
            // SAFETY: Nothing has been allocated for DMA yet.
            unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<DMA_BITS>())? };

            // SAFETY: All that is made of it is part of `GimData`, which goes before the device
            // is released; `unbind` ends what runs on its own.
            let pf = unsafe { BoundPf::new(pdev) };
            let gpu = Gpu::new(Hw::new(pf, chip)?, &config(pdev, chip)?)?;
            inherit(&gpu)?;
            let irq = Msi::new(&gpu.hw().pf, c"gim", IrqHandler(gpu.clone()))?;
            let files = GpuFiles::new(&gpu)?;
            dev_info!(
                pdev,
                "{}, GPU-IOV revision {}, {} MiB of framebuffer\n",
                gpu.hw().hal.name(),
                gpu.hw().vsec.revision(),
                gpu.hw().hal.framebuffer_mib(gpu.hw())
            );
            Ok(try_pin_init!(GimData {
                irq <- irq,
                port <- new_mutex!(Some(Port::prepare(gpu.hw().pf.address())?)),
                debugfs: debugfs::dir(&gpu)?,
                engine_file <- debugfs::engine_file(debugfs, gpu.clone()),
                // Nothing fails after this: nobody would stop the hardware, or take the VFs away.
                _: {
                    gpu.hw().start();
                },
                vf_files <- new_mutex!(begin(&gpu, &files)),
                _: {
                    if let Some(port) = &*port.lock() {
                        port.admit(&gpu);
                    }
                    // Not before: whoever waits for us does so while there is a record, which also
                    // makes us the same to those who knew the one that has left it.
                    service::forget_inheritance(gpu.hw().pf.address());
                },
                files,
                _: {
                    // What a bus reset wipes, as it is now.
                    gpu.hw().pf.save();
                },
                gpu,
            }))
        })
    }

    fn unbind<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) {
        // Files that are open find nothing behind them from here on.
        let mut port = this.port.lock().take();
        let bequest = port.as_ref().and_then(|port| bequest(&this.gpu, port));
        if let Some(port) = &port {
            port.shut();
        }
        if this.gpu.is_lost() {
            this.gpu.lost();
        }
        if let Some(bequest) = bequest {
            drop(port.take());
            *this.vf_files.lock() = None;
            if leave(&this.gpu, bequest) {
                this.gpu.finish();
                return;
            }
        }
        // Whoever waits inside for something to come about is told that it will not.
        this.gpu.stop_engine();
        drop(port);
        *this.vf_files.lock() = None;
        this.gpu.disable_vfs_at_unbind();
        this.gpu.finish();
    }
}

impl PfDriver for Gim {
    fn sriov_configure<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&GimData>,
        num_vfs: u16,
    ) -> Result<u16> {
        if num_vfs != 0 {
            *this.vf_files.lock() =
                Some(enable(&this.gpu, &this.files, num_vfs, Gpu::disable_vfs)?);
            return Ok(num_vfs);
        }
        if this.gpu.in_use() {
            dev_err!(
                pdev,
                "a guest uses a VF: unload its driver or stop it first\n"
            );
            return Err(EBUSY);
        }
        *this.vf_files.lock() = None;
        this.gpu.disable_vfs();
        Ok(0)
    }

    fn reset_prepare<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) {
        this.gpu.reset_begins();
    }

    fn reset_done<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) {
        this.gpu.reset_ended();
    }

    fn error_detected<'bound>(
        _: &'bound pci::Device<Core<'_>>,
        this: Pin<&GimData>,
        channel: Channel,
    ) -> Verdict {
        match channel {
            Channel::Normal => Verdict::CanRecover,
            Channel::Frozen => {
                this.gpu.cut_off();
                Verdict::NeedReset
            }
            Channel::Lost => {
                this.gpu.lost();
                Verdict::Disconnect
            }
        }
    }

    fn mmio_enabled<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) -> Verdict {
        match this.gpu.hw().answers() {
            true => Verdict::Recovered,
            false => Verdict::NeedReset,
        }
    }

    fn slot_reset<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) -> Verdict {
        match this.gpu.bus_was_reset() {
            true => Verdict::Recovered,
            false => Verdict::Disconnect,
        }
    }

    fn error_over<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) {
        this.gpu.attach();
    }

    fn sleep<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) -> Result {
        this.gpu.sleep()
    }

    fn wake<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) {
        this.gpu.wake();
    }

    fn shutdown<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&GimData>) {
        this.gpu.shut_down();
    }
}

/// What an earlier life of the driver has left for this GPU, if it has.
fn inherit(gpu: &Arc<Gpu>) -> Result {
    let address = gpu.hw().pf.address();
    let Some(words) = service::inheritance(address)? else {
        return Ok(());
    };
    if module_parameters::handover.value() != 0 {
        return gpu.inherit(&words);
    }
    service::forget_inheritance(address);
    dev_warn!(
        gpu.hw().pf.get(),
        "what an earlier gim has left is dropped: its VFs are nobody's, write 0 to sriov_numvfs\n"
    );
    Ok(())
}

/// Goes on with VFs that were taken over, or enables those that are wanted.
fn begin(gpu: &Arc<Gpu>, files: &GpuFiles) -> Option<VfFiles> {
    if !gpu.arrive() {
        return enable_at_load(gpu, files);
    }
    VfFiles::new(gpu, files)
        .inspect_err(|e| {
            dev_err!(
                gpu.hw().pf.get(),
                "no files for the VFs: {}\n",
                e.to_errno()
            )
        })
        .ok()
}

/// The place for what the next life of the driver must know, if there is to be one.
fn bequest(gpu: &Arc<Gpu>, port: &Opened) -> Option<Bequest> {
    if !gpu.bequeaths() {
        return None;
    }
    port.bequeath()
        .inspect_err(|e| {
            dev_err!(
                gpu.hw().pf.get(),
                "VFs cannot be left to another gim: {}\n",
                e.to_errno()
            )
        })
        .ok()
}

/// Leaves the VFs to the next life; whether that could be done.
fn leave(gpu: &Arc<Gpu>, bequest: Bequest) -> bool {
    let dev = gpu.hw().pf.get();
    let left = gpu.leave().and_then(|words| bequest.leave(&words));
    match left {
        Ok(()) => dev_info!(dev, "VFs are left to the next gim\n"),
        Err(e) => {
            gpu.remain();
            dev_err!(dev, "VFs could not be left: {}\n", e.to_errno());
        }
    }
    left.is_ok()
}

/// Enables VFs and shows them in sysfs.
///
/// `undo` takes them away again: who holds which lock depends on who calls.
fn enable(
    gpu: &Arc<Gpu>,
    files: &GpuFiles,
    num_vfs: u16,
    undo: impl FnOnce(&Arc<Gpu>),
) -> Result<VfFiles> {
    gpu.enable_vfs(num_vfs)?;
    VfFiles::new(gpu, files).inspect_err(|_| undo(gpu))
}

/// The parameter `vf_num`: a count that cannot be had is a message, not a reason to refuse the GPU.
fn enable_at_load(gpu: &Arc<Gpu>, files: &GpuFiles) -> Option<VfFiles> {
    let wanted = module_parameters::vf_num.value();
    if wanted == 0 {
        return None;
    }
    u16::try_from(wanted)
        .map_err(Error::from)
        .and_then(|n| enable(gpu, files, n, Gpu::disable_vfs_at_unbind))
        .inspect_err(|_| {
            dev_err!(
                gpu.hw().pf.get(),
                "vf_num={wanted} was not enabled: 1, 2, 4, 8 or 16\n"
            )
        })
        .ok()
}

/// The settings that module parameters and the chip give.
fn config(pdev: &pci::Device<Core<'_>>, chip: Chip) -> Result<Config> {
    let mut cfg = Config::DEFAULT;
    let slice = u64::from(module_parameters::slice_us.value()).saturating_mul(US);
    let slices = match slice == cfg.slice(VfId::FIRST) {
        true => Ok(()),
        false => cfg.set_slices(slice),
    };
    let checked = slices.and_then(|()| {
        cfg.set_completion(match chip.completion() {
            hal::Completion::Irq => Completion::Irq,
            hal::Completion::Poll(interval) => Completion::Poll { interval },
        })
    });
    if let Err(e) = checked {
        dev_err!(pdev, "bad module parameter: {}\n", Show(e));
        return Err(EINVAL);
    }
    cfg.set_protocol(chip.facts().protocol);
    cfg.set_guard(module_parameters::guard.value() != 0);
    if module_parameters::strict.value() != 0 {
        cfg.set_mode(Mode::Strict);
    }
    Ok(cfg)
}
