// SPDX-License-Identifier: GPL-2.0

//! Replacing this driver under running VMs: what one life of it leaves to the next.
//!
//! The VFs stay as they are, with whoever uses them; one of them may even run on meanwhile. The
//! hardware neither interrupts nor writes to memory of ours in between. What guests send waits in
//! their mailboxes, and which of them were reset in RESET_NOTIFICATION.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use super::{
    first_vfs,
    vfs::Unmet,
    Gpu,
    State, //
};
use crate::{
    ffi::timer,
    gim_core::{
        event::Event,
        partition::Partition,
        record::{
            Reader,
            Unfit,
            Writer,
            WORDS_MAX, //
        },
        types::{
            MAX_VFS,
            MS, //
        }, //
    },
    migrate::service,
    port,
    show::Show, //
};

/// How long all that goes on may take to end: a full access, a reset and a scrub.
const LEAVE_LIMIT_MS: u32 = 30_000;

impl Gpu {
    /// Whether there are VFs that are to be left.
    pub(crate) fn bequeaths(&self) -> bool {
        self.with(|st| st.bequeaths && st.table.is_some())
    }

    /// Whether VFs could be left at this moment. `ENODEV`: nobody would keep the record; `EBUSY`: a VF
    /// is being saved, restored or tracked, which would be cut off.
    pub(crate) fn may_leave(&self) -> Result {
        let dev = self.hw.pf.get();
        if !service::can_bequeath() {
            dev_err!(dev, "handover refused: gim_seam is not loaded\n");
            return Err(ENODEV);
        }
        if port::find(self.hw.pf.address())?.is_claimed() {
            dev_err!(
                dev,
                "handover refused: a VF is being saved, restored or tracked\n"
            );
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Leaves the VFs; returns what the next life must know. If that cannot be, all goes on.
    pub(crate) fn leave(self: &Arc<Self>) -> Result<KVec<u64>> {
        let mut words = KVec::from_elem(0, WORDS_MAX, GFP_KERNEL)?;
        self.with(|st| st.left = None);
        self.tell(Event::Leave);
        self.wait_left();
        let mut st = self.state.lock();
        if st.left != Some(true) {
            Self::feed(self.as_arc_borrow(), &mut st, Event::Stay);
            return Err(EBUSY);
        }
        let mut to = Writer::new(&mut words);
        let written = self.write(&mut st, &mut to);
        let count = to.finish().filter(|_| written).map(<[u64]>::len);
        let Some(count) = count else {
            Self::feed(self.as_arc_borrow(), &mut st, Event::Stay);
            return Err(EIO);
        };
        drop(st);
        words.truncate(count);
        Ok(words)
    }

    /// Waits until the engine has left, or will not. A signal makes no end of that: unbinding goes on
    /// whatever comes, and the other way to do it waits for VMs to end.
    fn wait_left(&self) {
        let until = timer::now_ns().saturating_add(u64::from(LEAVE_LIMIT_MS) * MS);
        while timer::now_ns() < until {
            match self.wait(LEAVE_LIMIT_MS, |st| st.left.is_some()) {
                Ok(()) | Err(Unmet::Timeout) => return,
                Err(Unmet::Signal) => fsleep(Delta::from_millis(1)),
            }
        }
    }

    /// The record was not wanted.
    pub(crate) fn remain(self: &Arc<Self>) {
        self.tell(Event::Stay);
    }

    fn write(&self, st: &mut State, to: &mut Writer<'_>) -> bool {
        let Some(table) = &st.table else {
            return false;
        };
        let dev = self.hw.pf.get();
        to.put(dev.device_id());
        to.put(self.hw.hal.framebuffer_mib(&self.hw));
        to.put(table.count());
        to.put(table.pf().size());
        for part in first_vfs(table.count()).filter_map(|vf| table.vf(vf)) {
            to.put_all(&[part.offset(), part.size()]);
        }
        to.put_all(&self.hw.hal.tables(&self.hw).map(u64::from));
        to.put(st.uuid);
        to.put(st.raise);
        to.put_all(&st.epochs.map(u64::from));
        st.engine.write(to);
        true
    }

    /// Takes what an earlier life has left, but does nothing yet: [`Self::arrive`] does.
    pub(crate) fn inherit(&self, words: &[u64]) -> Result {
        let read = self.read(&mut self.state.lock(), words);
        read.map_err(|unfit| {
            let dev = self.hw.pf.get();
            dev_err!(
                dev,
                "what an earlier gim has left cannot be taken: {}\n",
                Show(unfit)
            );
            dev_err!(
                dev,
                "its VFs stay: load that gim again, or this one with handover=0 to do without them\n"
            );
            EPROTO
        })
    }

    fn read(&self, st: &mut State, words: &[u64]) -> Result<(), Unfit> {
        let mut from = Reader::open(words)?;
        let mut same = |what, here: u64| match from.take()? {
            got if got == here => Ok(()),
            got => Err(Unfit::Value { what, got }),
        };
        same("device", self.hw.pf.get().device_id().into())?;
        let mib = self.hw.hal.framebuffer_mib(&self.hw);
        same("framebuffer (MiB)", mib.into())?;
        same("number of VFs", self.hw.pf.num_vfs().into())?;
        let table = self.read_table(&mut from, u64::from(mib) << 20)?;
        // If somebody has reset the GPU meanwhile, all that VFs had on it is lost.
        for here in self.hw.hal.tables(&self.hw) {
            let got = from.take()?;
            if got != u64::from(here) {
                let what = "framebuffer table of the GPU (was it reset?)";
                return Err(Unfit::Value { what, got });
            }
        }
        let uuid = from.take()?;
        from.masks([&mut st.raise])?;
        for epoch in &mut st.epochs {
            *epoch = from.number("life of a VF")?;
        }
        st.engine.read(&mut from, timer::now_ns())?;
        from.end()?;
        let (what, got) = ("number of VFs", st.engine.count().into());
        if st.engine.count() != table.count() {
            return Err(Unfit::Value { what, got });
        }
        st.table = Some(table);
        st.uuid = uuid;
        Ok(())
    }

    /// The framebuffer table, as the hardware has it: the same parts lead to the same table.
    fn read_table(&self, from: &mut Reader<'_>, total: u64) -> Result<Partition, Unfit> {
        let count = usize::from(self.hw.pf.num_vfs()).min(MAX_VFS);
        let (mut offsets, mut sizes) = ([0; MAX_VFS], [0; MAX_VFS]);
        let pf = from.take()?;
        for (offset, size) in offsets.iter_mut().zip(&mut sizes).take(count) {
            (*offset, *size) = (from.take()?, from.take()?);
        }
        let sizes = sizes.get(..count).unwrap_or_default();
        let unfit = |got| Unfit::Value {
            what: "framebuffer of a VF",
            got,
        };
        let table = Partition::explicit(total, pf, sizes).map_err(|_| unfit(pf))?;
        for (part, offset) in first_vfs(table.count())
            .filter_map(|vf| table.vf(vf))
            .zip(offsets)
        {
            if part.offset() != offset {
                return Err(unfit(offset));
            }
        }
        Ok(table)
    }

    /// Goes on with what was inherited; whether there was anything.
    pub(crate) fn arrive(self: &Arc<Self>) -> bool {
        let mut st = self.state.lock();
        if !st.engine.has_left() {
            return false;
        }
        st.stopped = false;
        Self::feed(self.as_arc_borrow(), &mut st, Event::Arrive);
        let count = st.engine.count();
        drop(st);
        self.find_functions();
        dev_info!(self.hw.pf.get(), "{count} VFs taken over\n");
        true
    }
}
