// SPDX-License-Identifier: GPL-2.0

//! Tests of the counters.

use super::*;

cases! {
    gim_account:
    each_bucket_is_twice_as_wide,
    the_last_bucket_takes_what_is_longer,
    quantiles_are_where_they_should_be,
    words_go_there_and_back,
}

fn each_bucket_is_twice_as_wide() {
    for (time, bucket) in [
        (0, 0),
        (16_000, 0),
        (31_999, 0),
        (32_000, 1),
        (63_999, 1),
        (64_000, 2),
        (1_024_000, 6),
        (524_287_999, 14),
        (524_288_000, 15),
        (Ns::MAX, 15),
    ] {
        assert_eq!(Histogram::<16>::bucket(time), bucket, "{time}");
    }
}

fn the_last_bucket_takes_what_is_longer() {
    let mut histogram = Histogram::<8>::NEW;
    for time in [2_047_999, 2_048_000, Ns::MAX] {
        histogram.add(time);
    }
    assert_eq!(histogram.0, [0, 0, 0, 0, 0, 0, 1, 2]);
}

fn quantiles_are_where_they_should_be() {
    let mut histogram = Histogram::<16>::NEW;
    assert_eq!(histogram.quantile(500), 0);
    for _ in 0..900 {
        histogram.add(70_000);
    }
    for _ in 0..100 {
        histogram.add(3_000_000);
    }
    assert_eq!(histogram.total(), 1_000);
    assert_eq!(histogram.quantile(0), 64_000);
    assert_eq!(histogram.quantile(500), 64_000);
    assert_eq!(histogram.quantile(900), 64_000);
    assert_eq!(histogram.quantile(901), 2_048_000);
    assert_eq!(histogram.quantile(1_000), 2_048_000);
}

/// Counters that all have the same value, so that a torn copy shows.
fn all(value: u32) -> VfStats {
    VfStats::from_words(&[u64::from(value); STATS_WORDS])
}

fn words_go_there_and_back() {
    let mut words = [0; STATS_WORDS];
    for (n, word) in words.iter_mut().enumerate() {
        *word = 7 * n as u64 + 1;
    }
    let stats = VfStats::from_words(&words);
    assert_eq!(stats.to_words(), words);
    assert_eq!(stats.counters()[..], words[..16]);
}

// On the host only, which has threads.
#[test]
fn a_reader_never_sees_half_of_it() {
    let snapshot = Snapshot::new();
    assert_eq!(snapshot.read(), Some(VfStats::NEW));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut last) = (0, 0);
            while last < 200_000 {
                if let Some(stats) = snapshot.read() {
                    let value = stats.slices as u32;
                    assert_eq!(stats, all(value));
                    assert!(value >= last, "{value} after {last}");
                    seen += u32::from(value != last);
                    last = value;
                }
            }
            seen
        });
        for value in 1..=200_000 {
            snapshot.publish(&all(value));
        }
        assert!(reader.join().unwrap() > 0);
    });
}
