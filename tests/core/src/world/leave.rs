// SPDX-License-Identifier: GPL-2.0

//! The driver leaves, and its next life goes on from the record, or it stays after all.

use gim_core::{
    config::Config,
    engine::Engine,
    event::Event,
    record::{Reader, Writer, WORDS_MAX},
    types::{MS, US},
};

use super::{Coming, Verdict, World};

impl World {
    /// The driver is told to leave; some time later another comes, or this one stays.
    pub fn leave(&mut self) -> Verdict {
        if self.leaving || self.detached || self.gpu.gone {
            return Ok(());
        }
        self.leaving = true;
        let lasts = self.rng.pick(&[100 * US, 10 * MS, 500 * MS, 2_000 * MS]);
        let lasts = self.rng.within(0..lasts);
        self.plan(lasts, Coming::Arrive);
        self.feed(Event::Leave)
    }

    /// It is time to come.
    pub fn arrive(&mut self) -> Verdict {
        if !std::mem::take(&mut self.leaving) {
            return Ok(());
        }
        if !self.engine.has_left() || self.rng.chance(1, 4) {
            return self.feed(Event::Stay);
        }
        let mut words = [0; WORDS_MAX];
        let mut to = Writer::new(&mut words);
        self.engine.write(&mut to);
        let record = to.finish().ok_or("the record is too long")?;
        // The chip's settings are not in the record, the operator's are not the chip's.
        let old = *self.engine.config();
        let mut cfg = Config::DEFAULT;
        cfg.set_protocol(old.protocol());
        cfg.set_completion(old.completion())
            .map_err(|e| e.to_string())?;
        let mut engine = Engine::new(cfg);
        let mut from = Reader::open(record).map_err(|e| e.to_string())?;
        engine
            .read(&mut from, self.now)
            .map_err(|e| e.to_string())?;
        from.end().map_err(|e| e.to_string())?;
        if *engine.config() != old {
            return Err("settings are lost".into());
        }
        self.engine = engine;
        self.lives += 1;
        self.feed(Event::Arrive)
    }

    /// Something that waits until somebody decides again; whether it has to.
    pub(super) fn postponed(&mut self, what: Coming) -> bool {
        let nobody = self.engine.has_left();
        if nobody {
            self.plan(10 * MS, what);
        }
        nobody
    }
}
