// SPDX-License-Identifier: GPL-2.0

//! Uevents of the PF: what udev and `gimctl events` hear.

use core::fmt::{
    Display,
    Write, //
};

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::pci::BoundPf;

/// Bytes that the variables of one event may have together, and how many there may be.
const ROOM: usize = 256;
const VARS_MAX: usize = 8;

/// Variables `KEY=value` of one event.
pub(crate) struct Vars {
    /// The texts, each with a NUL behind it.
    text: [u8; ROOM],
    len: usize,
    /// Where each begins.
    starts: [usize; VARS_MAX],
    count: usize,
}

impl Vars {
    /// No variables.
    pub(crate) const fn new() -> Self {
        Self {
            text: [0; ROOM],
            len: 0,
            starts: [0; VARS_MAX],
            count: 0,
        }
    }

    /// Adds a variable; `ENOSPC` if there is no room, and then it is not there.
    pub(crate) fn add(&mut self, key: &str, value: impl Display) -> Result {
        let start = self.len;
        let slot = self.starts.get_mut(self.count).ok_or(ENOSPC)?;
        *slot = start;
        if write!(self, "{key}={value}\0").is_err() {
            self.len = start;
            return Err(ENOSPC);
        }
        self.count += 1;
        Ok(())
    }

    /// Sends them as a `change` event of the PF. Sleeps.
    pub(crate) fn send(&self, pf: &BoundPf) -> Result {
        let mut envp = [core::ptr::null_mut::<c_char>(); VARS_MAX + 1];
        for (slot, &start) in envp.iter_mut().zip(self.starts.iter().take(self.count)) {
            let text = self.text.get(start..self.len).ok_or(EINVAL)?;
            *slot = text.as_ptr().cast_mut().cast();
        }
        // SAFETY: The kobject is that of a bound device. Each of the texts ends with a NUL inside
        // of `self.text`, the list ends with a null pointer, and nothing is written through it.
        to_result(unsafe {
            bindings::kobject_uevent_env(
                super::pci::kobj(pf),
                bindings::kobject_action_KOBJ_CHANGE,
                envp.as_mut_ptr(),
            )
        })
    }
}

impl Write for Vars {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(core::fmt::Error)?;
        let room = self.text.get_mut(self.len..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}
