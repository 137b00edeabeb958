// SPDX-License-Identifier: GPL-2.0
//! Settings against a driver that decides with the core's own rules: all or nothing, and whatever the
//! driver can accept is reached.

mod driver;

use driver::{preset, Driver};
use gim_core::config::{Config, Preset};
use gim_core::policy::{admit, Share, Table};
use gim_core::types::{VfId, US};
use gimctl::changes::{changes, set};
use gimctl::settings::{Files, Limits, Settings, VfSettings};
use proptest::prelude::*;

/// The state that is wanted, promises and slices at once: none, if the driver would not accept it.
fn wanted(old: &Config, count: u8, want: &Settings) -> Option<Config> {
    let mut cfg = *old;
    cfg.set_shares(&[Share::DEFAULT; 16]).unwrap();
    let own = want.vf.values().any(|vf| vf.slice_us.is_some());
    let seen = || VfId::all().take(count.max(1).into());
    let differs = |us: u64| seen().any(|vf| old.slice(vf) != us * US);
    // VFs that are not enabled have slices too; what they are is not known, so it is no difference.
    if let (Some(us), false) = (want.slice_us.filter(|us| differs(*us)), own) {
        cfg.set_slices(us * US).unwrap();
    }
    let mut shares: Table<Share> = *old.shares();
    for vf in VfId::all().take(count.into()) {
        let wish = want
            .vf
            .get(&u32::from(vf.raw()))
            .cloned()
            .unwrap_or_default();
        if let Some(us) = wish.slice_us.or(want.slice_us) {
            cfg.set_slice(vf, us * US).unwrap();
        }
        let share = &mut shares[vf.index()];
        let small = |value: Option<u64>, old: u16| value.map_or(old, |v| v as u16);
        share.weight = small(wish.weight, share.weight);
        share.min = small(wish.min_permille, share.min);
        share.cap = small(wish.cap_permille, share.cap);
        if let Some(us) = wish.latency_us {
            share.latency = Some(us * US).filter(|ns| *ns != 0);
        }
    }
    if own || want.slice_us.is_some() {
        cfg.set_preset(Preset::Own, count).unwrap();
    }
    if let Some(preset) = want.preset.as_deref().and_then(preset) {
        cfg.set_preset(preset, count).unwrap();
    }
    admit(&shares, cfg.slices()).ok()?;
    cfg.set_shares(&shares).unwrap();
    let driver = Driver::new(cfg, count);
    for (path, value) in [("gim/policy", &want.policy), ("gim/mode", &want.mode)] {
        value.iter().for_each(|v| driver.write(path, v).unwrap());
    }
    for (name, rate) in want.limits.rates() {
        let text = rate.map(|r| format!("{} {}", r.count, r.seconds));
        text.iter()
            .for_each(|t| driver.write(&format!("gim/limits/{name}"), t).unwrap());
    }
    Some(driver.cfg.into_inner())
}

fn of(values: &'static [u64]) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), prop::sample::select(values).prop_map(Some)]
}

fn a_vf() -> impl Strategy<Value = VfSettings> {
    (
        of(&[500, 1_000, 2_000, 6_000, 9_000]),
        of(&[1, 100, 5_000]),
        of(&[0, 20, 60, 100, 250, 400, 600]),
        of(&[1_000, 1_000, 700, 500, 250, 100]),
        of(&[0, 0, 7_000, 15_000, 30_000, 60_000, 200_000]),
    )
        .prop_map(
            |(slice_us, weight, min_permille, cap_permille, latency_us)| VfSettings {
                slice_us,
                weight,
                min_permille,
                cap_permille,
                latency_us,
            },
        )
}

fn a_wish(count: u8) -> impl Strategy<Value = Settings> {
    let name = |names: &'static [&'static str]| {
        prop::option::weighted(0.3, prop::sample::select(names).prop_map(str::to_owned))
    };
    let some_vfs = prop::collection::btree_map(0..u32::from(count.max(1)), a_vf(), 0..6);
    let rate = |count| gimctl::settings::Rate { count, seconds: 60 };
    let limit = prop::option::weighted(0.3, (1..100u64).prop_map(rate));
    let slice = prop::option::weighted(0.2, prop::sample::select(&[600, 2_000, 6_000][..]));
    (
        name(&["rr", "qos"]),
        name(&["strict", "work-conserving"]),
        name(&["long", "short", "own"]),
        slice,
        limit,
        some_vfs,
    )
        .prop_map(move |(policy, mode, preset, slice_us, hangs, mut vf)| {
            let follow = matches!(preset.as_deref(), Some("long" | "short"));
            vf.retain(|_, _| count != 0);
            vf.values_mut()
                .for_each(|v| v.slice_us = v.slice_us.filter(|_| !follow));
            let limits = Limits {
                hangs,
                ..Limits::default()
            };
            Settings {
                policy,
                mode,
                preset,
                slice_us: slice_us.filter(|_| !follow),
                limits,
                vf,
                ..Settings::default()
            }
        })
}

/// A state that came about by wishes, of all 16 VFs: some of them are not enabled any more.
fn a_case() -> impl Strategy<Value = (Config, u8, Settings)> {
    let history = prop::collection::vec(a_wish(16), 0..4);
    let count = prop::sample::select(&[0, 1, 2, 4, 8, 16][..]);
    (history, count, any::<bool>()).prop_flat_map(|(history, count, short)| {
        let mut cfg = Config::DEFAULT;
        for wish in &history {
            cfg = wanted(&cfg, 16, wish).unwrap_or(cfg);
        }
        if cfg.preset() == Preset::Short || short {
            // As the driver does when VFs are enabled; the slices stay where there is no room.
            if cfg.set_preset(Preset::Short, count).is_err() {
                cfg.set_preset(Preset::Own, count).unwrap();
            }
        }
        (Just(cfg), Just(count), a_wish(count))
    })
}

/// Nothing that can be seen is other than it was, and all promises are the same.
fn is_as_before(driver: &Driver, before: &Settings, old: &Config) {
    assert_eq!(&Settings::read(driver), before);
    assert_eq!(driver.cfg.borrow().shares(), old.shares());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn all_or_nothing((old, count, want) in a_case()) {
        let driver = Driver::new(old, count);
        let before = Settings::read(&driver);
        let foreseen = changes(&before, &want);
        match (set(&driver, &want), wanted(&old, count, &want)) {
            (Ok(done), Some(cfg)) => {
                prop_assert_eq!(done, foreseen);
                prop_assert_eq!(*driver.cfg.borrow(), cfg);
                prop_assert_eq!(set(&driver, &want).unwrap(), []);
            }
            (Err(e), None) => {
                prop_assert!(e.to_string().contains("no setting was changed"), "{}", e);
                is_as_before(&driver, &before, &old);
            }
            (Ok(_), None) => prop_assert!(false, "accepted what cannot be"),
            (Err(e), Some(_)) => prop_assert!(false, "did not get there: {}", e),
        }
    }

    #[test]
    fn trouble_in_the_middle((old, count, want) in a_case(), nth in 1..12usize) {
        let driver = Driver::new(old, count);
        let before = Settings::read(&driver);
        driver.fails_at.set(nth);
        if let Err(e) = set(&driver, &want) {
            // The same error may also have hit while the old state was being put back.
            let again = e.to_string().contains("could not be put back");
            prop_assert!(!again || wanted(&old, count, &want).is_none(), "{}", e);
            if !again {
                is_as_before(&driver, &before, &old);
            }
        }
    }
}

fn promise(min: u64, cap: u64) -> VfSettings {
    VfSettings {
        min_permille: Some(min),
        cap_permille: Some(cap),
        ..VfSettings::default()
    }
}

fn wish<const N: usize>(vfs: [VfSettings; N]) -> Settings {
    Settings {
        vf: (0..).zip(vfs).collect(),
        ..Settings::default()
    }
}

#[test]
fn what_is_promised_changes_hands() {
    let driver = Driver::new(Config::DEFAULT, 2);
    set(&driver, &wish([promise(600, 700), promise(300, 300)])).unwrap();
    // The first must give before the second can take, and that one's cap goes before its minimum.
    let done = set(&driver, &wish([promise(100, 100), promise(900, 1000)])).unwrap();
    assert_eq!(done.len(), 4);
    assert_eq!(done[0].to_string(), "VF 0 min_permille: 600 -> 100");
    set(&driver, &wish([promise(600, 700), promise(300, 300)])).unwrap();
}

#[test]
fn a_refusal_names_what_was_refused() {
    let driver = Driver::new(Config::DEFAULT, 4);
    let mut want = wish([VfSettings {
        weight: Some(300),
        latency_us: Some(1_000),
        ..VfSettings::default()
    }]);
    want.policy = Some("qos".to_owned());
    let before = Settings::read(&driver);
    let error = set(&driver, &want).unwrap_err().to_string();
    assert!(
        error.starts_with("VF 0 latency_us: 0 -> 1000: refused"),
        "{error}"
    );
    assert!(!error.contains("weight"), "{error}");
    is_as_before(&driver, &before, &Config::DEFAULT);
}
