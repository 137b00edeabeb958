// SPDX-License-Identifier: GPL-2.0

//! Settings in a [record](super::super::record): those of the operator, not those of the chip.

use super::{
    super::{
        guard::{
            Limit,
            Rate, //
        },
        policy::Share,
        record::{
            maybe,
            Reader,
            Unfit,
            Writer, //
        },
        types::VfId, //
    },
    Config,
    Mode,
    Policy,
    Preset, //
};

const PRESETS: [Preset; 3] = [Preset::Long, Preset::Short, Preset::Own];
const MODES: [Mode; 2] = [Mode::WorkConserving, Mode::Strict];
const POLICIES: [Policy; 2] = [Policy::RoundRobin, Policy::Qos];

/// A setting that its setter has refused.
fn refused(what: &'static str, got: u64) -> Unfit {
    Unfit::Value { what, got }
}

impl Config {
    /// Writes all that an operator may have set.
    pub fn write(&self, to: &mut Writer<'_>) {
        for vf in VfId::all() {
            let share = self.share(vf);
            to.put(self.slice(vf));
            to.put_all(&[share.weight.into(), share.min.into(), share.cap.into()]);
            to.put(maybe(share.latency));
        }
        for limit in Limit::ALL {
            let rate = self.rate(limit);
            to.put(rate.count());
            to.put(rate.window());
        }
        // CAST: The discriminants are small.
        to.put_all(&[self.preset as u64, self.mode as u64, self.policy as u64]);
        to.put_all(&[self.guard.into(), self.gpu_reset.into()]);
        to.put_all(&[self.pf_slice, self.watchdog, self.irq_check]);
        to.put_all(&[self.full_alone, self.full_shared, self.gap_target]);
        to.put_all(&[self.housekeeping, self.reset_poll, self.work_bound]);
    }

    /// Reads that; what the chip tells stays as it is here. If it fails, some is read and some not.
    pub fn read(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        let cfg = self;
        let mut shares = cfg.shares;
        let mut slices = cfg.slices;
        for vf in VfId::all() {
            slices[vf.index()] = from.take()?;
            shares[vf.index()] = Share {
                weight: from.number("weight")?,
                min: from.number("guaranteed minimum")?,
                cap: from.number("cap")?,
                latency: from.maybe()?,
            };
        }
        // No promise stands in the way of the slices, nor a slice in that of the promises.
        cfg.set_shares(&[Share::DEFAULT; super::MAX_VFS])
            .map_err(|_| refused("default share", 0))?;
        for vf in VfId::all() {
            let ns = slices[vf.index()];
            cfg.set_slice(vf, ns).map_err(|_| refused("slice", ns))?;
        }
        cfg.set_shares(&shares)
            .map_err(|_| refused("share", shares[0].weight.into()))?;
        for limit in Limit::ALL {
            let (count, window) = (from.number("limit")?, from.take()?);
            let rate = Rate::new(count, window).map_err(|e| refused(e.what, e.got))?;
            cfg.set_rate(limit, rate);
        }
        cfg.preset = from.choice("preset", &PRESETS)?;
        cfg.set_mode(from.choice("mode", &MODES)?);
        cfg.set_policy(from.choice("policy", &POLICIES)?);
        cfg.set_guard(from.flag("guard")?);
        cfg.set_gpu_reset(from.flag("reset of the GPU")?);
        let mut times = [0; 9];
        from.take_all(&mut times)?;
        let [pf, watchdog, irq_check, alone, shared, gap, housekeeping, reset_poll, work] = times;
        cfg.set_pf_slice(pf)
            .and_then(|()| cfg.set_watchdog(watchdog))
            .and_then(|()| cfg.set_irq_check(irq_check))
            .and_then(|()| cfg.set_full_access(alone, shared))
            .and_then(|()| cfg.set_gap_target(gap))
            .and_then(|()| cfg.set_housekeeping(housekeeping))
            .and_then(|()| cfg.set_reset_poll(reset_poll))
            .and_then(|()| cfg.set_work_bound(work))
            .map_err(|e| refused(e.what, e.got))
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_config_record:
        every_setting_comes_back,
        a_setting_out_of_its_range_is_refused,
    }

    const MS: u64 = 1_000_000;

    fn unlike() -> Config {
        let mut cfg = Config::DEFAULT;
        cfg.set_slices(3 * MS).unwrap();
        cfg.set_slice(VfId::FIRST, 7 * MS).unwrap();
        let share = Share {
            weight: 300,
            min: 200,
            cap: 800,
            latency: Some(500 * MS),
        };
        cfg.set_share(VfId::FIRST, share).unwrap();
        cfg.set_rate(Limit::Hangs, Rate::new(9, 5_000 * MS).unwrap());
        cfg.set_mode(Mode::Strict);
        cfg.set_policy(Policy::Qos);
        cfg.set_guard(false);
        cfg.set_gpu_reset(false);
        cfg.set_pf_slice(MS).unwrap();
        cfg.set_watchdog(60 * MS).unwrap();
        cfg.set_irq_check(3 * MS).unwrap();
        cfg.set_full_access(900 * MS, 300 * MS).unwrap();
        cfg.set_gap_target(400 * MS).unwrap();
        cfg.set_housekeeping(50 * MS).unwrap();
        cfg.set_reset_poll(MS).unwrap();
        cfg.set_work_bound(30_000 * MS).unwrap();
        cfg
    }

    fn every_setting_comes_back() {
        let mut words = [0; 160];
        let mut to = Writer::new(&mut words);
        unlike().write(&mut to);
        let mut from = Reader::open(to.finish().unwrap()).unwrap();
        let mut cfg = Config::DEFAULT;
        assert_eq!(cfg.read(&mut from), Ok(()));
        assert_eq!(cfg, unlike());
        assert_eq!(from.end(), Ok(()));
    }

    fn a_setting_out_of_its_range_is_refused() {
        let mut words = [0; 160];
        let mut to = Writer::new(&mut words);
        unlike().write(&mut to);
        let len = to.finish().unwrap().len();
        for at in 4..len {
            let mut body = words;
            body[at] = u64::MAX;
            let mut again = [0; 160];
            let mut to = Writer::new(&mut again);
            to.put_all(&body[4..len]);
            let mut from = Reader::open(to.finish().unwrap()).unwrap();
            let mut cfg = Config::DEFAULT;
            let got = cfg.read(&mut from);
            assert!(
                matches!(got, Err(Unfit::Value { .. })),
                "word {at}: {got:?}"
            );
        }
    }
}
