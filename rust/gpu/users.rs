// SPDX-License-Identifier: GPL-2.0

//! Who has VFs open, as far as the PCI core knows: their drivers enable them as long as they are used
//! (VFIO's: as long as they are open).

use crate::{
    ffi::pci::VfDevice,
    gim_core::types::{
        VfId,
        MAX_VFS, //
    }, //
};

use super::{
    first_vfs,
    Gpu, //
};

/// The VFs' PCI functions, to be looked at from interrupts too.
pub(super) struct Functions([Option<VfDevice>; MAX_VFS]);

impl Functions {
    /// No VF is enabled.
    pub(super) const NONE: Self = Self([const { None }; MAX_VFS]);

    /// VFs whose function is enabled: a bit per VF.
    pub(super) fn in_use(&self) -> u32 {
        let used = |(vf, function): (VfId, &Option<VfDevice>)| match function {
            Some(function) if function.is_enabled() => vf.bit(),
            _ => 0,
        };
        let each = VfId::all().zip(&self.0);
        each.map(used).fold(0, |all, bit| all | bit)
    }
}

impl Gpu {
    /// The VFs are there.
    pub(super) fn find_functions(&self) {
        let mut found = Functions::NONE;
        let count = self.with(|st| st.engine.count());
        for (vf, place) in first_vfs(count).zip(&mut found.0) {
            *place = self.hw.pf.vf(vf.raw());
        }
        // Those that there were go when the lock is free again.
        self.with(|st| core::mem::swap(&mut st.functions, &mut found));
    }

    /// They go.
    pub(super) fn forget_functions(&self) {
        let mut none = Functions::NONE;
        self.with(|st| core::mem::swap(&mut st.functions, &mut none));
    }
}
