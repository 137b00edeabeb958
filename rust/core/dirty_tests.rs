// SPDX-License-Identifier: GPL-2.0

//! Tests of dirty maps, against a list of booleans.

use super::*;

cases! {
    gim_dirty:
    sets_clears_and_finds_as_a_list_does,
    words_go_in_and_out_and_nothing_beyond_the_end,
    spans_are_taken_at_every_granularity,
    other_spans_are_refused_by_name,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn numbers(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as u32) % below
    }
}

/// What the map must say.
fn same(map: &DirtyMap<'_>, truth: &[bool]) {
    for (page, &want) in (0..).zip(truth) {
        assert_eq!(map.is_set(page), want, "page {page}");
    }
    let count = truth.iter().filter(|&&set| set).count();
    assert_eq!(map.count() as usize, count);
}

fn sets_clears_and_finds_as_a_list_does() {
    let mut number = numbers(1);
    for pages in [1, 63, 64, 65, 300] {
        let mut words = vec![0; words_for(pages)];
        let mut map = DirtyMap::new(&mut words, pages).unwrap();
        let mut truth = vec![false; pages as usize];
        for _ in 0..2_000 {
            // Also beyond the end.
            let (first, count) = (number(pages + 3), number(70));
            let run = Run { first, count };
            let end = first.saturating_add(count).min(pages);
            let inside = first.min(pages) as usize..end.max(first.min(pages)) as usize;
            match number(4) {
                0 | 1 => {
                    map.set_run(run);
                    truth[inside].fill(true);
                }
                2 => {
                    map.clear_run(run);
                    truth[inside].fill(false);
                }
                _ => {
                    let any = truth[inside.clone()].iter().filter(|&&set| set).count();
                    assert_eq!(map.any(run), any != 0);
                    assert_eq!(map.count_in(run) as usize, any);
                }
            }
            let from = number(pages + 2);
            let rest = truth.iter().skip(from as usize);
            let first = rest.clone().position(|&set| set);
            let want = first.map(|skip| Run {
                first: from + skip as u32,
                count: rest.skip(skip).take_while(|&&set| set).take(9).count() as u32,
            });
            assert_eq!(map.next_run(from, 9), want);
            let rest = truth.iter().skip(from as usize);
            let first = rest.clone().position(|&set| !set);
            let want = first.map(|skip| Run {
                first: from + skip as u32,
                count: rest.skip(skip).take_while(|&&set| !set).take(7).count() as u32,
            });
            assert_eq!(map.next_clean_run(from, 7), want);
        }
        same(&map, &truth);
        map.set_all();
        assert_eq!(map.count(), pages);
        let all = Run {
            first: 0,
            count: pages,
        };
        assert_eq!(map.take_run(0, u32::MAX), Some(all));
        assert_eq!((map.count(), map.next_run(0, 1)), (0, None));
    }
}

fn words_go_in_and_out_and_nothing_beyond_the_end() {
    let mut words = [u64::MAX; 3];
    let mut map = DirtyMap::new(&mut words, 70).unwrap();
    assert_eq!(map.count(), 70);
    assert_eq!(map.words().len(), 2);
    assert_eq!(map.take_word(1), 0x3F);
    assert_eq!((map.take_word(1), map.take_word(2)), (0, 0));
    assert_eq!(map.count(), 64);
    map.clear_all();
    map.or_word(1, u64::MAX);
    map.or_word(9, u64::MAX);
    assert_eq!(map.count(), 6);
    map.or_word(0, 1 << 5);
    assert!(map.is_set(5) && map.is_set(69) && !map.is_set(70));
    assert!(DirtyMap::new(&mut [0; 1], 65).is_none());
    // A framebuffer without pages has nothing dirty.
    let mut map = DirtyMap::new(&mut [], 0).unwrap();
    map.set_all();
    map.set(0);
    assert_eq!((map.count(), map.next_run(0, 1)), (0, None));
}

fn spans_are_taken_at_every_granularity() {
    let size = 16 * MIB;
    let pages = 4096;
    let mut number = numbers(2);
    for shift in 12..=21 {
        let granule = 1u64 << shift;
        let mut words = vec![0; words_for(pages)];
        let mut map = DirtyMap::new(&mut words, pages).unwrap();
        for _ in 0..20 {
            let mut truth = vec![false; pages as usize];
            map.clear_all();
            for _ in 0..number(60) {
                let page = number(pages);
                map.set(page);
                truth[page as usize] = true;
            }
            let all = size / granule;
            let from = u64::from(number(all as u32));
            let count = 1 + u64::from(number((all - from) as u32));
            let span = Span::new(from * granule, count * granule, granule, size).unwrap();
            assert_eq!(u64::from(span.bits()), count);
            let mut out = vec![0x55; span.words() as usize];
            let peeked = map.peek_span(&span, 0, &mut out);
            let mut taken = vec![0x55; span.words() as usize];
            // In two pieces, as through a small buffer.
            let half = span.words() / 2;
            let (a, b) = taken.split_at_mut(half as usize);
            let set = map.take_span(&span, 0, a) + map.take_span(&span, half, b);
            assert_eq!((peeked, &out), (set, &taken));
            let mut kept = truth.clone();
            for n in 0..count {
                let page = ((from + n) * granule / KIB / 4) as usize;
                let pages = page..page + (granule / KIB / 4) as usize;
                let want = truth[pages.clone()].iter().any(|&set| set);
                let got = (taken[n as usize / 64] >> (n % 64)) & 1 != 0;
                assert_eq!(got, want, "granule {granule}, bit {n}");
                kept[pages].fill(false);
            }
            same(&map, &kept);
            // What could not be delivered is dirty again; what shares a granule with it as well.
            map.put_back(&span, 0, &taken);
            for (page, &was) in (0..).zip(&truth) {
                assert!(map.is_set(page) || !was);
            }
        }
    }
}

fn other_spans_are_refused_by_name() {
    let size = 16 * MIB;
    let refused = |offset, len, granule| {
        Span::new(offset, len, granule, size)
            .unwrap_err()
            .to_string()
    };
    for granule in [0, 1, 2048, 4095, 6144, 4 * MIB, 1 << 63, u64::MAX] {
        let text = refused(0, MIB, granule);
        assert!(
            text.ends_with("is no power of two in 4096..=2097152"),
            "{text}"
        );
    }
    let text = refused(4096, 8192, 8192);
    assert_eq!(text, "offset 0x1000 is no multiple of the granule 0x2000");
    let text = refused(8192, 4096, 8192);
    assert_eq!(text, "length 0x1000 is no multiple of the granule 0x2000");
    for (offset, len) in [
        (0, 0),
        (size, 4096),
        (0, size + 4096),
        (4096, u64::MAX - 4095),
    ] {
        let text = refused(offset, len, 4096);
        assert!(text.ends_with("are not in 1..=0x1000000"), "{text}");
    }
    assert!(Span::new(0, 4096, 4096, FB_MAX + 1).is_err());
    assert!(Span::new(0, size, 2 * MIB, size).is_ok());
    // The largest framebuffer there can be.
    let most = FB_MAX - u64::from(PAGE);
    let span = Span::new(most - 4096, 4096, 4096, most).unwrap();
    assert_eq!((span.bits(), span.words()), (1, 1));
    let all: Vec<Run> = (0..2).map(|bit| span.granule(0, bit)).collect();
    assert_eq!((all[0].count, all[1].count), (1, 0));
}
