// SPDX-License-Identifier: GPL-2.0

//! Full access: who asked for the GPU alone, in which order, and who has it.

use super::types::{
    Ns,
    VfId,
    MAX_VFS, //
};

/// Why a guest wants the GPU alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To initialise (REQ_GPU_INIT_ACCESS).
    Init,
    /// To unload (REQ_GPU_FINI_ACCESS).
    Fini,
    /// To initialise after the reset it asked for (REQ_GPU_RESET_ACCESS).
    Reset,
}

/// The VF that has full access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) vf: VfId,
    pub(super) kind: Access,
    /// When READY was sent; `None` while the world is being switched.
    pub(super) ready: Option<Ns>,
    /// Its guest has acknowledged READY, so it has read it.
    pub(super) read: bool,
    /// How long others that can run had waited when it was granted, if that has to be made up for.
    pub(super) waited: Ns,
}

/// VFs in the order in which they came; each at most once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fifo {
    list: [VfId; MAX_VFS],
    len: usize,
}

impl Fifo {
    pub(super) const fn new() -> Self {
        Self {
            list: [VfId::FIRST; MAX_VFS],
            len: 0,
        }
    }

    /// The VFs, first to last.
    pub(super) fn as_slice(&self) -> &[VfId] {
        self.list.get(..self.len).unwrap_or(&[])
    }

    /// Appends a VF, unless it is in the list.
    pub(super) fn push(&mut self, vf: VfId) {
        if self.as_slice().contains(&vf) {
            return;
        }
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = vf;
            self.len += 1;
        }
    }

    /// Takes a VF out of the list, if it is in it.
    pub(super) fn remove(&mut self, vf: VfId) {
        let mut kept = 0;
        for i in 0..self.len {
            let each = self.list[i];
            if each != vf {
                self.list[kept] = each;
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Whether nobody is in the list.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_access:
        keeps_order_without_doubles,
    }

    fn keeps_order_without_doubles() {
        let vf = |n| VfId::new(n).unwrap();
        let mut fifo = Fifo::new();
        for n in [3, 1, 3, 2, 1] {
            fifo.push(vf(n));
        }
        assert_eq!(fifo.as_slice(), &[vf(3), vf(1), vf(2)]);
        fifo.remove(vf(1));
        fifo.remove(vf(7));
        assert_eq!(fifo.as_slice(), &[vf(3), vf(2)]);
        for each in VfId::all() {
            fifo.push(each);
        }
        assert_eq!(fifo.as_slice().len(), MAX_VFS);
        fifo.clear();
        assert!(fifo.as_slice().is_empty());
    }
}
