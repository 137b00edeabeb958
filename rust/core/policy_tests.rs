// SPDX-License-Identifier: GPL-2.0

//! Tests of what is promised.

use super::*;

cases! {
    gim_policy:
    shares_follow_weights,
    minima_raise_and_caps_cut,
    parts_keep_every_promise_whatever_the_settings,
    what_cannot_be_promised_is_refused,
    a_bound_keeps_what_it_needs,
    bounds_that_slices_do_not_allow_are_refused,
}

const SLICES: Table<Ns> = [6 * MS; MAX_VFS];

fn vf(n: u32) -> VfId {
    VfId::new(n).unwrap()
}

fn weights(list: &[u16]) -> Table<Share> {
    let mut shares = [Share::DEFAULT; MAX_VFS];
    for (share, weight) in shares.iter_mut().zip(list) {
        share.weight = *weight;
    }
    shares
}

fn near(got: u32, permille: u32) {
    let want = permille * ONE / 1000;
    assert!(got.abs_diff(want) <= ONE / 500, "{got}, not {want}");
}

fn shares_follow_weights() {
    let parts = distribute(&weights(&[400, 200, 100, 100]), &SLICES, 0xF);
    for (part, want) in parts.iter().zip([500, 250, 125, 125]) {
        near(*part, want);
    }
    assert_eq!(parts[4..], [0; 12]);
    let parts = distribute(&weights(&[1, 10_000]), &SLICES, 0x3);
    assert!(parts[0] > 0 && parts[0] < 10);
    assert_eq!(distribute(&weights(&[1]), &SLICES, 0), [0; MAX_VFS]);
}

fn minima_raise_and_caps_cut() {
    let mut shares = weights(&[100; 4]);
    shares[0].min = 600;
    let parts = distribute(&shares, &SLICES, 0xF);
    near(parts[0], 600);
    near(parts[1], 133);
    shares[1].cap = 50;
    let parts = distribute(&shares, &SLICES, 0xF);
    near(parts[0], 600);
    near(parts[1], 50);
    near(parts[2], 175);
    // Caps can leave the GPU idle.
    let mut shares = weights(&[100; 2]);
    shares[0].cap = 300;
    shares[1].cap = 200;
    let parts = distribute(&shares, &SLICES, 0x3);
    near(parts[0], 300);
    near(parts[1], 200);
}

fn parts_keep_every_promise_whatever_the_settings() {
    let mut seed = 1u64;
    let mut dice = |of: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % of
    };
    for _ in 0..20_000 {
        let mut shares = [Share::DEFAULT; MAX_VFS];
        for share in &mut shares {
            share.weight = 1 + dice(10_000) as u16;
            share.min = dice(150) as u16;
            share.cap = (share.min + dice(900) as u16).clamp(1, WHOLE);
        }
        let mask = dice(1 << 16) as u32;
        if admit(&shares, &SLICES).is_err() {
            continue;
        }
        let parts = distribute(&shares, &SLICES, mask);
        assert!(parts.iter().sum::<u32>() <= ONE);
        for vf in VfId::all() {
            let (part, share) = (parts[vf.index()], shares[vf.index()]);
            if mask & vf.bit() == 0 {
                assert_eq!(part, 0);
                continue;
            }
            assert!(
                part >= u32::from(share.min) * ONE / 1000,
                "{vf:?} {share:?}"
            );
            assert!(part <= u32::from(share.cap) * ONE / 1000);
        }
    }
}

fn what_cannot_be_promised_is_refused() {
    let check = |change: &dyn Fn(&mut Table<Share>)| {
        let mut shares = [Share::DEFAULT; MAX_VFS];
        change(&mut shares);
        admit(&shares, &SLICES)
    };
    assert_eq!(check(&|_| {}), Ok(()));
    assert_eq!(
        check(&|s| {
            s[0].min = 700;
            s[9].min = 300;
        }),
        Ok(())
    );
    assert_eq!(
        check(&|s| {
            s[0].min = 700;
            s[9].min = 301;
        }),
        Err(Refused::Overcommitted { sum: 1001 })
    );
    assert!(matches!(check(&|s| s[3].weight = 0), Err(Refused::Range(e)) if e.max == 10_000));
    assert!(matches!(check(&|s| s[3].cap = 0), Err(Refused::Range(e)) if e.min == 1));
    assert!(matches!(
        check(&|s| s[3].cap = 1001),
        Err(Refused::Range(_))
    ));
    assert!(matches!(
        check(&|s| s[3].latency = Some(0)),
        Err(Refused::Range(_))
    ));
    assert_eq!(
        check(&|s| {
            s[1].min = 200;
            s[1].cap = 100;
        }),
        Err(Refused::CapBelowMin { cap: 100, min: 200 })
    );
}

fn a_bound_keeps_what_it_needs() {
    let mut shares = weights(&[1, 1_000]);
    shares[0].latency = Some(20 * MS);
    assert_eq!(reserve(&shares[0], 6 * MS), 246);
    near(distribute(&shares, &SLICES, 3)[0], 246);
    shares[0].cap = 245;
    assert_eq!(
        admit(&shares, &SLICES),
        Err(Refused::CapBelowMin { cap: 245, min: 246 })
    );
}

fn bounds_that_slices_do_not_allow_are_refused() {
    let mut shares = [Share::DEFAULT; MAX_VFS];
    shares[2].latency = Some(7 * MS);
    assert_eq!(admit(&shares, &SLICES), Ok(()));
    shares[2].latency = Some(6 * MS);
    let refused = Refused::Latency {
        vf: vf(2),
        bound: 6 * MS,
        wait: 6 * MS + 500 * US,
    };
    assert_eq!(admit(&shares, &SLICES), Err(refused));
    // Two of them wait for each other.
    shares[2].latency = Some(12 * MS);
    shares[3].latency = Some(13 * MS);
    assert!(matches!(
        admit(&shares, &SLICES),
        Err(Refused::Latency {
            vf: VfId { .. },
            ..
        })
    ));
    shares[2].latency = Some(13 * MS);
    assert_eq!(admit(&shares, &SLICES), Ok(()));
    let text = format!("{refused}");
    assert!(text.contains("VF2") && text.contains("6000000"), "{text}");
}
