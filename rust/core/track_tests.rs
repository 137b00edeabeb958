// SPDX-License-Identifier: GPL-2.0

//! Software tracking against the truth: random writes by engine and CPU at every moment, also those
//! that are taken back; in the end the target must have every byte.

use super::super::{
    dirty::words_for,
    hash::{
        PageHash,
        PAGE_BYTES, //
    },
    testing::FEWER,
};
use super::*;

cases! {
    gim_track:
    no_write_is_ever_missed,
    users_learn_what_differs_from_look_to_look,
    pages_age_until_they_are_looked_at,
    a_lone_vf_loses_no_more_than_it_may,
    gaps_are_free,
    absurd_figures_are_bounded,
}

const SMALL: usize = 24;

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % n.max(1)
    }
}

/// A framebuffer of pages of which only the first bytes are ever written, and its copy.
struct World {
    pages: u32,
    exact: bool,
    source: Vec<[u8; SMALL]>,
    /// What the target has; in exact mode it is the shadow, too.
    target: Vec<[u8; SMALL]>,
    hash: PageHash,
    hashes: Vec<u64>,
    words: Vec<u64>,
    track: Track,
    numbers: Numbers,
    now: Ns,
    rounds: u64,
}

impl World {
    fn new(seed: u64, exact: bool) -> Self {
        let mut numbers = Numbers(seed);
        let pages = 1 + numbers.below(90);
        let count = pages as usize;
        let mut words = vec![0; words_for(pages)];
        DirtyMap::new(&mut words, pages).unwrap().set_all();
        Self {
            pages,
            exact,
            source: (0..count)
                .map(|_| [numbers.below(3) as u8; SMALL])
                .collect(),
            target: vec![[0xEE; SMALL]; count],
            hash: PageHash::new(seed),
            hashes: vec![0; count],
            words,
            track: Track::new(pages, Keeps::Sent, 0),
            numbers,
            now: 0,
            rounds: 0,
        }
    }

    fn hash_of(&self, bytes: &[u8; SMALL]) -> u64 {
        let mut page = [0; PAGE_BYTES];
        page[..SMALL].copy_from_slice(bytes);
        self.hash.of(&page)
    }

    /// Writes a few bytes somewhere: few values, so that contents come back often.
    fn write(&mut self) -> u32 {
        let page = self.numbers.below(self.pages);
        let at = self.numbers.below(SMALL as u32) as usize;
        self.source[page as usize][at] = self.numbers.below(3) as u8;
        page
    }

    fn writes(&mut self) {
        for _ in 0..self.numbers.below(4) {
            self.write();
        }
    }

    /// Looks at some pages; between any two of them something may be written.
    fn look(&mut self, most: u32, writes: bool) -> bool {
        let mut words = core::mem::take(&mut self.words);
        let mut dirty = DirtyMap::new(&mut words, self.pages).unwrap();
        self.now += MS;
        let run = self.track.next(&dirty, most, self.now);
        if let Some(run) = run {
            assert!(run.count <= most && !dirty.any(run));
            for page in run.first..run.first + run.count {
                let bytes = self.source[page as usize];
                let found = if self.exact {
                    let same = bytes == self.target[page as usize];
                    self.track.compared(&mut dirty, page, same)
                } else {
                    let hash = self.hash_of(&bytes);
                    self.track.looked(&mut dirty, &mut self.hashes, page, hash)
                };
                assert_eq!(found, bytes != self.target[page as usize]);
                if writes {
                    self.writes();
                }
            }
        }
        self.words = words;
        run.is_some()
    }

    /// Sends some dirty pages; something may be written after a page was taken and before it is
    /// read, and after that.
    fn send(&mut self, most: u32, writes: bool) -> bool {
        let mut words = core::mem::take(&mut self.words);
        let mut dirty = DirtyMap::new(&mut words, self.pages).unwrap();
        let from = if writes {
            self.numbers.below(self.pages)
        } else {
            0
        };
        let run = dirty.take_run(from, most);
        for page in run.iter().flat_map(|run| run.first..run.first + run.count) {
            if writes {
                self.writes();
            }
            let bytes = self.source[page as usize];
            if writes {
                self.writes();
            }
            // Now and then the reader of the stream has an error, and the page stays dirty.
            if writes && self.numbers.below(50) == 0 {
                dirty.set(page);
                continue;
            }
            self.target[page as usize] = bytes;
            let hash = self.hash_of(&bytes);
            self.track.sent(&mut self.hashes, page, hash);
        }
        self.words = words;
        run.is_some()
    }

    /// What is not in the map was sent as it is remembered.
    fn check(&mut self) {
        if self.exact {
            return;
        }
        let mut words = self.words.clone();
        let dirty = DirtyMap::new(&mut words, self.pages).unwrap();
        for page in 0..self.pages {
            let kept = self.hashes[page as usize];
            let sent = self.hash_of(&self.target[page as usize]);
            assert!(dirty.is_set(page) || kept == sent, "page {page}");
        }
    }

    /// Rounds of writes, looks and sends in any order.
    fn run(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.writes();
            match self.numbers.below(3) {
                0 => self.look(1 + self.numbers.0 as u32 % 20, true),
                1 => self.send(1 + self.numbers.0 as u32 % 20, true),
                _ => false,
            };
            self.rounds += 1;
        }
        self.check();
    }

    /// A brownout: the engine is off, the CPU is caught when it maps pages anew.
    fn stop(&mut self) {
        self.track.begin_last(self.now);
        let mut mapped = Vec::new();
        let cpu = self.numbers.below(2) == 0;
        while !self.track.is_complete() {
            let most = 1 + self.numbers.below(30);
            self.look(most, false);
            if cpu && self.numbers.below(3) == 0 {
                // It may go on writing to what it has mapped.
                let page = self.write();
                mapped.push(page);
                let mut dirty = DirtyMap::new(&mut self.words, self.pages).unwrap();
                let run = Run {
                    first: page,
                    count: 1,
                };
                self.track.touched(&mut dirty, run);
            }
        }
        assert_eq!(self.track.age(self.now), 0);
        while self.send(20, false) {}
        // The blackout: unless it was unmapped again before it was sent, what was mapped was perhaps
        // written after that.
        if self.numbers.below(2) == 0 {
            for page in mapped {
                self.source[page as usize][0] ^= 1;
                let mut dirty = DirtyMap::new(&mut self.words, self.pages).unwrap();
                dirty.set(page);
            }
        }
        while self.send(20, false) {}
        assert!(self.source == self.target, "a write was missed");
    }
}

fn no_write_is_ever_missed() {
    for exact in [false, true] {
        let (mut rounds, mut seed) = (0, u64::from(exact));
        while rounds < 100_000 / u64::from(FEWER) {
            seed += 2;
            let mut world = World::new(seed, exact);
            let many = 20 + world.numbers.below(400);
            world.run(many);
            world.stop();
            if world.numbers.below(2) == 0 {
                // The migration was given up; the VF goes on, and is stopped again.
                world.track.resume(world.now);
                world.run(many);
                world.stop();
            }
            rounds += world.rounds;
        }
    }
}

fn users_learn_what_differs_from_look_to_look() {
    let (pages, mut hashes, mut words) = (10u32, vec![7u64; 10], [0u64; 1]);
    let mut dirty = DirtyMap::new(&mut words, pages).unwrap();
    let mut track = Track::new(pages, Keeps::Seen, 0);
    let mut sweep = |dirty: &mut DirtyMap<'_>, hash: &dyn Fn(u32) -> u64| {
        let mut found = 0;
        while let Some(run) = track.next(dirty, 4, 0) {
            for page in run.first..run.first + run.count {
                found += u32::from(track.looked(dirty, &mut hashes, page, hash(page)));
            }
        }
        found
    };
    assert_eq!(sweep(&mut dirty, &|page| if page == 3 { 8 } else { 7 }), 1);
    assert_eq!(dirty.take_word(0), 1 << 3);
    assert_eq!(sweep(&mut dirty, &|page| if page == 3 { 8 } else { 7 }), 0);
    assert_eq!(sweep(&mut dirty, &|_| 7), 1);
    // One beyond the end changes nothing.
    assert!(!track.looked(&mut dirty, &mut [], 11, 1));
    assert_eq!(dirty.count(), 1);
}

fn pages_age_until_they_are_looked_at() {
    let mut words = [0u64; 2];
    let dirty = DirtyMap::new(&mut words, 100).unwrap();
    let mut track = Track::new(100, Keeps::Sent, 0);
    assert_eq!(track.age(0), 0);
    // Ten pages per ms: a sweep takes 10 ms.
    let mut now = 0;
    for _ in 0..3 {
        while track.next(&dirty, 10, now).is_some() {
            now += MS;
        }
    }
    assert_eq!(track.sweeps(), 3);
    let age = track.age(now);
    assert!((4 * MS..6 * MS).contains(&age), "{age}");
    // Half of a sweep later those that were not looked at are older.
    for _ in 0..5 {
        track.next(&dirty, 10, now);
        now += MS;
    }
    let age = track.age(now);
    assert!((6 * MS..7 * MS).contains(&age), "{age}");
    // Dirty pages are not looked at; if all are, sweeps end at once.
    let mut words = [u64::MAX; 2];
    let dirty = DirtyMap::new(&mut words, 100).unwrap();
    let mut track = Track::new(100, Keeps::Sent, 0);
    assert_eq!(track.next(&dirty, 10, 0), None);
    assert_eq!(track.next(&dirty, 0, 0), None);
    assert_eq!(track.sweeps(), 1);
}

/// A VF that is alone is taken off for looks; it loses what it may lose, and the sweep takes as long
/// as follows from that.
fn a_lone_vf_loses_no_more_than_it_may() {
    for (loss, cost) in [(40, 500), (40, 4_000), (10, 1_000)] {
        let mut budget = Budget::new(loss);
        let (mut ran, mut lost, mut looked) = (0u64, 0u64, 0u64);
        for _ in 0..10_000 {
            ran += 6 * MS;
            budget.ran(6 * MS);
            let pages = budget.pages(0);
            // Costs vary, and are not known before.
            let took = u64::from(pages) * cost * (80 + looked % 40) / 100;
            budget.spent(pages, took, 0);
            lost += took;
            looked += u64::from(pages);
        }
        let part = lost * 1000 / (ran + lost);
        assert!(part <= u64::from(loss) + 1, "{loss}: {part}/1000 are lost");
        let want = ran * u64::from(loss) / 1000 / cost;
        assert!(looked >= want * 8 / 10, "{looked} of {want} pages");
    }
}

/// Where others run in between, looks take their time, and cost the VF nothing.
fn gaps_are_free() {
    let mut budget = Budget::new(40);
    let mut looked = 0;
    for _ in 0..1_000 {
        budget.ran(6 * MS);
        let gap = 18 * MS;
        let pages = budget.pages(gap - MS);
        let took = u64::from(pages) * 1_000;
        assert!(took <= gap, "{took}");
        budget.spent(pages, took, gap);
        looked += pages;
    }
    // 16 MiB at a time.
    assert_eq!(looked, 1_000 * LOOK_MAX);
    assert!((budget.scan(262_144)).abs_diff(262 * MS) < 30 * MS);
}

fn absurd_figures_are_bounded() {
    let mut budget = Budget::new(u32::MAX);
    budget.ran(u64::MAX);
    budget.spent(1, u64::MAX, 0);
    budget.spent(u32::MAX, 0, u64::MAX);
    for _ in 0..100 {
        budget.spent(u32::MAX, 0, 0);
    }
    assert!(budget.pages(u64::MAX) <= LOOK_MAX);
    assert!(budget.scan(u32::MAX) > 0);
    let track = Track::new(u32::MAX, Keeps::Sent, 0);
    assert!(track.age(u64::MAX) > 0);
}
