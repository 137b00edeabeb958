// SPDX-License-Identifier: GPL-2.0

//! `/dev/gim`: where files for single VFs come from.

use kernel::{
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*, //
};

use crate::{
    ffi::{
        anon,
        pci::{
            may_administrate,
            Address, //
        },
        uapi, //
    },
    gim_core::types::VfId,
    migrate::VfFile,
    port, //
};

/// The device.
pub(crate) struct Control;

/// Its registration: the device is there as long as this.
pub(crate) type Registration = MiscDeviceRegistration<Control>;

/// Makes `/dev/gim`, which udev and devtmpfs give to root alone.
pub(crate) fn register() -> impl PinInit<Registration, Error> {
    Registration::register(MiscDeviceOptions { name: c"gim" })
}

#[vtable]
impl MiscDevice for Control {
    type Ptr = KBox<Self>;

    fn open(_: &File, _: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self, GFP_KERNEL)?)
    }

    fn ioctl(_: &Self, _: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            uapi::GIM_IOCTL_OPEN_VF => open_vf(&uapi::read(arg)?),
            _ => Err(ENOTTY),
        }
    }
}

fn open_vf(arg: &uapi::gim_open_vf) -> Result<isize> {
    if !may_administrate() {
        return Err(EPERM);
    }
    if arg.flags != 0 {
        return Err(EINVAL);
    }
    let (bus, devfn) = (u8::try_from(arg.bus)?, u8::try_from(arg.devfn)?);
    let port = port::find(Address {
        domain: arg.domain,
        id: u16::from(bus) << 8 | u16::from(devfn),
    })?;
    let vf = VfId::new(arg.vf).ok_or(ENOENT)?;
    anon::open(VfFile::new(port, vf)?, kernel::fs::file::flags::O_CLOEXEC)
}
