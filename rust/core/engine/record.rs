// SPDX-License-Identifier: GPL-2.0

//! An engine at rest ([`leave`](super::leave)) in a [record](super::super::record).

use super::super::{
    access::Access,
    account::{
        GpuStats,
        VfStats,
        STATS_WORDS, //
    },
    guard::Bucket,
    record::{
        function,
        maybe,
        Reader,
        Unfit,
        Writer, //
    },
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        VfId, //
    },
    vf::VfState, //
};
use super::{
    command::Doubt,
    leave::Leaving,
    schedule::Slot,
    Engine,
    Phase,
    Vf, //
};

const CONTEXTS: [Context; 3] = [Context::Clear, Context::Kept, Context::Restored];
const WANTS: [Option<Access>; 4] = [
    None,
    Some(Access::Init),
    Some(Access::Fini),
    Some(Access::Reset),
];

/// The number of a thing in a list that has it.
fn place<T: PartialEq>(of: &[T], it: &T) -> u64 {
    // CAST: Short lists.
    of.iter().position(|each| each == it).unwrap_or(0) as u64
}

impl Engine {
    /// Writes all that the next life must know; only of an engine that [has left](Self::has_left).
    pub fn write(&self, to: &mut Writer<'_>) {
        self.cfg.write(to);
        to.put(self.count);
        self.write_seat(to);
        to.put_all(&[self.cost_out, self.cost_in, self.cursor.into()]);
        let queue = self.queue.as_slice();
        // CAST: At most 16.
        to.put(queue.len() as u64);
        for &vf in queue {
            to.put(vf.raw());
        }
        for mask in [
            self.owed,
            self.paused,
            self.muted,
            self.delayed,
            self.own_resets,
        ] {
            to.put(mask);
        }
        to.put_all(&self.prepares.masks().map(u64::from));
        to.put_all(&self.adoptions.masks().map(u64::from));
        to.put(self.frozen);
        to.put_all(&self.parts.vtimes());
        to.put(self.gpu_resets.full_at());
        to.put_all(&self.stats.words());
        for vf in self.enabled() {
            self.vfs[vf.index()].write(to);
        }
    }

    fn write_seat(&self, to: &mut Writer<'_>) {
        let (kind, fcn) = match self.seat {
            Seat::Loaded(fcn) => (1u64, fcn),
            Seat::Fresh(fcn) => (2, fcn),
            Seat::Running(fcn) => (3, fcn),
            Seat::Empty | Seat::Idled(_) | Seat::Unknown => (0, Fcn::Pf),
        };
        let doubted = matches!(self.doubt, Doubt::Since(doubted) if doubted == fcn && kind != 0);
        to.put_all(&[kind, function(fcn), doubted.into(), self.run_since]);
    }

    /// Goes on from a record, at the time `now`: an engine that was just made, and has the settings of
    /// its chip. It does nothing before [`Event::Arrive`](super::super::event::Event). If this fails, the
    /// engine is not to be used.
    pub fn read(&mut self, from: &mut Reader<'_>, now: u64) -> Result<(), Unfit> {
        self.now = now;
        self.cfg.read(from)?;
        self.count = from.number("number of VFs")?;
        if !matches!(self.count, 1 | 2 | 4 | 8 | 16) {
            let (what, got) = ("number of VFs", self.count.into());
            return Err(Unfit::Value { what, got });
        }
        self.phase = Phase::On;
        self.pf.context = Context::Kept;
        self.read_seat(from)?;
        (self.cost_out, self.cost_in) = (from.take()?, from.take()?);
        self.cursor = from.number("position in the rotation")?;
        for _ in 0..from.number::<u8>("length of the queue")? {
            let vf = self.known(from)?;
            self.queue.push(vf);
        }
        from.masks([
            &mut self.owed,
            &mut self.paused,
            &mut self.muted,
            &mut self.delayed,
            &mut self.own_resets,
        ])?;
        self.prepares.read(from)?;
        self.adoptions.read(from)?;
        self.frozen = from.flag("pause of all")?;
        self.parts.read(from)?;
        self.gpu_resets = Bucket::full_again(from.take()?);
        self.read_stats(from)?;
        for vf in VfId::all().take(self.count.into()) {
            self.vf(vf).read(from)?;
            if self.vf(vf).state == VfState::Active {
                self.active |= vf.bit();
            }
        }
        self.seat_fits()?;
        self.leaving = Leaving::Left;
        Ok(())
    }

    fn read_stats(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        let mut words = [0; GpuStats::WORDS];
        from.take_all(&mut words)?;
        self.stats = GpuStats::from_words(&words);
        Ok(())
    }

    /// A VF that is enabled.
    fn known(&self, from: &mut Reader<'_>) -> Result<VfId, Unfit> {
        let got = from.take()?;
        let vf = u32::try_from(got).ok().and_then(VfId::new);
        let what = "VF";
        vf.filter(|vf| vf.raw() < self.count)
            .ok_or(Unfit::Value { what, got })
    }

    fn read_seat(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        let kind = from.take()?;
        let fcn = from.function()?;
        self.seat = match kind {
            0 => Seat::Empty,
            1 => Seat::Loaded(fcn),
            2 => Seat::Fresh(fcn),
            3 => Seat::Running(fcn),
            got => return Err(Unfit::Value { what: "seat", got }),
        };
        if from.flag("doubt")? {
            self.doubt = Doubt::Since(fcn);
        }
        self.run_since = from.take()?.min(self.now);
        self.last = self.seat.running();
        if let Seat::Running(Fcn::Vf(vf)) = self.seat {
            // Its time was over long ago, which is not its fault.
            self.slot = Slot::running(vf, self.now);
        }
        Ok(())
    }

    /// Whoever is on the engine is a VF that can be.
    fn seat_fits(&self) -> Result<(), Unfit> {
        let fits = match self.seat {
            Seat::Running(Fcn::Vf(vf)) => self.active & vf.bit() != 0,
            Seat::Running(Fcn::Pf) => false,
            seat => seat
                .fcn()
                .and_then(Fcn::vf)
                .is_none_or(|vf| vf.raw() < self.count),
        };
        let got = self.seat.fcn().map_or(0, function);
        let what = "function on the engine";
        match fits {
            true => Ok(()),
            false => Err(Unfit::Value { what, got }),
        }
    }
}

impl Vf {
    fn write(&self, to: &mut Writer<'_>) {
        to.put_all(&[
            place(&VfState::ALL, &self.state),
            place(&CONTEXTS, &self.context),
            place(&WANTS, &self.want),
        ]);
        to.put_all(&[
            self.loaded.into(),
            self.retried.into(),
            self.notified.into(),
        ]);
        to.put_all(&[self.debt, self.vtime, maybe(self.waits_since)]);
        to.put_all(&self.buckets.map(Bucket::full_at));
        to.put_all(&self.stats.to_words());
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        self.state = from.choice("state", &VfState::ALL)?;
        self.context = from.choice("context", &CONTEXTS)?;
        self.want = from.choice("request", &WANTS)?;
        self.loaded = from.flag("loaded")?;
        self.retried = from.flag("retried")?;
        self.notified = from.flag("notified")?;
        (self.debt, self.vtime) = (from.take()?, from.take()?);
        self.waits_since = from.maybe()?;
        for bucket in &mut self.buckets {
            *bucket = Bucket::full_again(from.take()?);
        }
        let mut words = [0; STATS_WORDS];
        from.take_all(&mut words)?;
        self.stats = VfStats::from_words(&words);
        Ok(())
    }
}
