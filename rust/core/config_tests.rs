// SPDX-License-Identifier: GPL-2.0

//! Tests of the settings.

use super::*;

cases! {
    gim_config:
    slices_are_checked_and_kept_on_error,
    slices_leave_room_for_bounds,
    presets_are_left_by_setting_a_slice,
    a_refused_setting_changes_nothing,
    what_is_not_there_is_promised_nothing,
}

fn slices_are_checked_and_kept_on_error() {
    let mut cfg = Config::DEFAULT;
    let vf = VfId::new(3).unwrap();
    assert!(cfg.set_slice(vf, 100 * US).is_ok());
    assert!(cfg.set_slice(vf, 1_000 * MS).is_ok());
    let err = cfg.set_slice(vf, 99_999).unwrap_err();
    assert_eq!(
        (err.min, err.max, err.got),
        (100_000, 1_000_000_000, 99_999)
    );
    assert!(cfg.set_slices(1_000 * MS + 1).is_err());
    assert_eq!(cfg.slice(vf), 1_000 * MS);
    assert_eq!(
        format!("{err}"),
        "slice (ns) 99999 is not in 100000..=1000000000"
    );
}

fn slices_leave_room_for_bounds() {
    let mut cfg = Config::DEFAULT;
    let (f, g) = (VfId::new(0).unwrap(), VfId::new(1).unwrap());
    let share = Share {
        latency: Some(20 * MS),
        ..Share::DEFAULT
    };
    cfg.set_share(f, share).unwrap();
    let err = cfg.set_slice(g, 25 * MS).unwrap_err();
    assert_eq!(err.max, 19_500 * US);
    assert_eq!(cfg.slice(g), 6 * MS);
    cfg.set_slice(g, err.max).unwrap();
    assert!(cfg.set_slice(g, err.max + 1).is_err());
    assert!(cfg
        .set_share(
            f,
            Share {
                latency: Some(19 * MS),
                ..share
            }
        )
        .is_err());
    assert_eq!(cfg.share(f), share);
    cfg.set_preset(Preset::Short, 16).unwrap();
    assert_eq!(cfg.slice(g), MS);
}

fn presets_are_left_by_setting_a_slice() {
    let mut cfg = Config::DEFAULT;
    let vf = VfId::new(2).unwrap();
    assert_eq!(cfg.preset(), Preset::Long);
    for (count, ns) in [(0, 2 * MS), (8, 2 * MS), (16, MS)] {
        cfg.set_preset(Preset::Short, count).unwrap();
        assert_eq!((cfg.preset(), cfg.slice(vf)), (Preset::Short, ns));
    }
    assert!(cfg.set_slice(vf, 0).is_err());
    assert_eq!(cfg.preset(), Preset::Short);
    cfg.set_slice(vf, 3 * MS).unwrap();
    assert_eq!(cfg.preset(), Preset::Own);
    cfg.set_preset(Preset::Own, 16).unwrap();
    assert_eq!(cfg.slice(vf), 3 * MS);
    cfg.set_preset(Preset::Long, 16).unwrap();
    assert_eq!(cfg, Config::DEFAULT);
    // A promise that leaves no room for the preset keeps what is in force.
    let share = Share {
        latency: Some(5 * MS),
        ..Share::DEFAULT
    };
    cfg.set_preset(Preset::Short, 2).unwrap();
    cfg.set_share(vf, share).unwrap();
    assert!(cfg.set_preset(Preset::Long, 2).is_err());
    assert_eq!((cfg.preset(), cfg.slice(vf)), (Preset::Short, 2 * MS));
}

fn a_refused_setting_changes_nothing() {
    let mut cfg = Config::DEFAULT;
    assert!(cfg.set_watchdog(0).is_err());
    assert!(cfg.set_full_access(20 * MS, 0).is_err());
    assert!(cfg
        .set_completion(Completion::Poll { interval: 0 })
        .is_err());
    assert!(cfg.set_irq_check(Ns::MAX).is_err());
    assert!(cfg.set_gap_target(1).is_err());
    assert!(cfg.set_housekeeping(1).is_err());
    assert!(cfg.set_reset_poll(1).is_err());
    assert!(cfg.set_work_bound(1).is_err());
    assert!(cfg.set_pf_slice(1).is_err());
    assert_eq!(cfg, Config::DEFAULT);
}

fn what_is_not_there_is_promised_nothing() {
    let vf = |n| VfId::new(n).unwrap();
    let half = Share {
        weight: 7,
        min: 500,
        ..Share::DEFAULT
    };
    let mut cfg = Config::DEFAULT;
    cfg.set_share(vf(1), half).unwrap();
    cfg.set_share(vf(2), half).unwrap();
    cfg.set_slice(vf(0), 4 * MS).unwrap();
    cfg.set_slice(vf(2), 500 * MS).unwrap();
    cfg.set_slice(vf(3), MS).unwrap();
    let bound = Share {
        latency: Some(20 * MS),
        ..Share::DEFAULT
    };
    assert!(cfg.set_share(vf(0), bound).is_err());
    cfg.forget_beyond(2);
    assert_eq!((cfg.share(vf(1)), cfg.share(vf(2))), (half, Share::DEFAULT));
    let slices = [0, 1, 2, 3, 15].map(|n| cfg.slice(vf(n)));
    assert_eq!(slices, [4 * MS, 6 * MS, 6 * MS, MS, 6 * MS]);
    // What was promised to VF2, and its slice, are in nobody's way.
    cfg.set_share(vf(0), half).unwrap();
    cfg.set_share(vf(0), bound).unwrap();
    let before = cfg;
    for count in [16, 8, 4, 2] {
        cfg.forget_beyond(count);
        assert_eq!(cfg, before);
    }
    cfg.set_shares(cfg.clone().shares()).unwrap();
}
