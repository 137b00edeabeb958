// SPDX-License-Identifier: GPL-2.0

//! What host and guest tell each other in the VF's framebuffer: reached by the VF's own BAR, which
//! needs no turn on the engine. All of this may sleep.

use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};

use super::{
    hold::Epoch,
    slow::{
        report,
        take_first, //
    },
    Gpu,
    PREPARES, //
};
use crate::{
    ffi::{
        fb::FbWindow,
        timer::now_ns, //
    },
    gim_core::{
        event::Work,
        exchange::{
            Bad,
            GuestPage,
            HostPage,
            Page,
            PAGE_BYTES,
            PF2VF_AT, //
        },
        types::{
            Ns,
            VfId,
            MAX_VFS,
            MS, //
        },
    },
};

/// Number of the framebuffer BAR of a VF.
const FRAMEBUFFER_BAR: u8 = 0;

/// A guest's page is read at most so often, whoever asks.
const READ_DISTANCE: Ns = 500 * MS;

/// How often a page is read again whose sum is wrong: the guest may have been writing it.
const READ_TRIES: usize = 3;

/// What a guest's page said, and when.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    epoch: Epoch,
    at: Ns,
    /// `None` if the guest has not written to it.
    pub(crate) page: Result<Option<GuestPage>, Bad>,
}

/// What all guests have said.
pub(super) fn nothing_told() -> Result<KVec<Option<Told>>> {
    let mut all = KVec::with_capacity(MAX_VFS, GFP_KERNEL)?;
    for _ in 0..MAX_VFS {
        all.push(None, GFP_KERNEL)?;
    }
    Ok(all)
}

/// A buffer of one page.
fn buffer() -> Result<KVec<u8>> {
    Ok(KVec::from_elem(0, PAGE_BYTES, GFP_KERNEL)?)
}

impl Gpu {
    /// Both pages: the host's, then the guest's.
    fn pages(&self, vf: VfId) -> Result<FbWindow> {
        let dev = self.hw.pf.vf(vf.raw()).ok_or(ENODEV)?;
        dev.registers(FRAMEBUFFER_BAR, PF2VF_AT, 2 * PAGE_BYTES)
    }

    /// Writes the host's page; what an earlier driver of the guest said is wiped.
    fn prepare_vf(&self, vf: VfId) -> Result {
        let _order = self.fills[vf.index()].lock();
        let (uuid, count) = self.with(|st| (st.uuid, st.engine.count()));
        let page = HostPage {
            uuid: uuid.wrapping_add(vf.raw().into()),
            count,
        };
        let mut bytes = buffer()?;
        let to: &mut Page = (&mut bytes[..]).try_into().map_err(|_| EINVAL)?;
        page.encode(to);
        let pages = self.pages(vf)?;
        pages.zero_range(PAGE_BYTES, PAGE_BYTES)?;
        pages.copy_in(0, &bytes)
    }

    /// What the VF's guest says of itself; `None` if it has none, or one that does not say.
    pub(crate) fn told(&self, vf: VfId) -> Result<Option<Told>> {
        if !self.with(|st| st.engine.config().protocol().exchange && st.engine.has_guest(vf)) {
            return Ok(None);
        }
        let Some(epoch) = self.epoch(vf) else {
            return Ok(None);
        };
        let mut all = self.told.lock();
        let last = all.get_mut(vf.index()).ok_or(EINVAL)?;
        let now = now_ns();
        let fresh =
            |told: &&mut Told| told.epoch == epoch && now.saturating_sub(told.at) < READ_DISTANCE;
        if let Some(told) = last.as_mut().filter(fresh) {
            return Ok(Some(*told));
        }
        let told = Told {
            epoch,
            at: now,
            page: self.read_guest(vf)?,
        };
        *last = Some(told);
        Ok(Some(told))
    }

    fn read_guest(&self, vf: VfId) -> Result<Result<Option<GuestPage>, Bad>> {
        let pages = self.pages(vf)?;
        let mut bytes = buffer()?;
        let mut page = Err(Bad::Checksum);
        for _ in 0..READ_TRIES {
            pages.copy_out(PAGE_BYTES, &mut bytes)?;
            // From here on the guest can change nothing.
            let copy: &Page = (&bytes[..]).try_into().map_err(|_| EINVAL)?;
            page = GuestPage::parse(copy);
            if page != Err(Bad::Checksum) {
                break;
            }
        }
        Ok(page)
    }
}

impl WorkItem<PREPARES> for Gpu {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while let Some(vf) = this.with(|st| take_first(&mut st.prepares)) {
            report(&this, Work::Prepare(vf), this.prepare_vf(vf));
        }
    }
}
