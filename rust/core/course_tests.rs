// SPDX-License-Identifier: GPL-2.0

//! Whole streams against the truth: a VF that writes at every moment at which it may, holds that
//! end by themselves, are let go or become the pause; at the end the target has every page.

use super::super::{
    dirty::words_for,
    track::{
        Keeps,
        Track, //
    },
};
use super::*;
use std::vec::Vec;

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % n
    }
}

/// A VF being saved. A page's contents are one number of few, so that they come back often.
struct World {
    pages: u32,
    /// Changes are found by looking; else a plane marks them.
    by_looking: bool,
    source: Vec<u64>,
    target: Vec<u64>,
    kept: Vec<u64>,
    plane: Vec<u64>,
    words: Vec<u64>,
    touched: Vec<u32>,
    track: Track,
    course: Course,
    stand: Stand,
    last: bool,
    /// A look that was read and is not compared yet: page and contents.
    look: Option<(u32, u64)>,
    numbers: Numbers,
    now: u64,
    brownouts: u32,
    /// Last looks that were begun, and pauses and holds that were ended: each may cut a round.
    turns: u32,
    /// How often there is half a look, of 400 steps.
    pace: u32,
}

impl World {
    fn new(seed: u64, by_looking: bool) -> Self {
        let mut numbers = Numbers(seed);
        let pages = 1 + numbers.below(150);
        let count = pages as usize;
        let mut words = std::vec![0; words_for(pages)];
        DirtyMap::new(&mut words, pages).unwrap().set_all();
        Self {
            pages,
            by_looking,
            source: (0..count).map(|_| numbers.below(4).into()).collect(),
            target: std::vec![99; count],
            kept: std::vec![0; count],
            plane: std::vec![0; words.len()],
            words,
            touched: Vec::new(),
            track: Track::new(pages, Keeps::Sent, 0),
            course: Course::new(),
            stand: Stand::Runs,
            last: false,
            look: None,
            numbers,
            now: 0,
            brownouts: 0,
            turns: 0,
            pace: 180,
        }
    }

    fn write(&mut self) {
        let page = self.numbers.below(self.pages);
        match self.stand {
            Stand::Runs => {}
            // What the CPU maps again is reported before it is written.
            Stand::Quiet if self.numbers.below(4) == 0 => self.touched.push(page),
            _ => return,
        }
        self.source[page as usize] = self.numbers.below(4).into();
        let mut plane = DirtyMap::new(&mut self.plane, self.pages).unwrap();
        plane.set(page);
    }

    fn stand(&mut self, stand: Stand) {
        let was = std::mem::replace(&mut self.stand, stand);
        self.turns += 1;
        match stand {
            Stand::Runs => {
                if self.last {
                    self.track.resume(self.now);
                }
                self.last = false;
                self.touched.clear();
            }
            Stand::Quiet => {
                self.brownouts += 1;
                self.begin_last();
            }
            Stand::Paused => {
                if was == Stand::Runs {
                    self.begin_last();
                }
                let mut dirty = DirtyMap::new(&mut self.words, self.pages).unwrap();
                for page in self.touched.drain(..) {
                    dirty.set(page);
                }
            }
        }
    }

    fn begin_last(&mut self) {
        if self.by_looking {
            self.track.begin_last(self.now);
            self.course.begin_last();
            self.last = true;
        }
    }

    fn looks(&self) -> Looks {
        match (self.by_looking, self.last) {
            (false, _) => Looks::Known,
            (true, false) => Looks::Sweeps(self.track.sweeps()),
            (true, true) if self.track.is_complete() => Looks::Complete,
            (true, true) => Looks::Last(self.track.seen()),
        }
    }

    /// Half a look: it is read, or it is compared.
    fn look(&mut self) {
        if !self.by_looking {
            return;
        }
        let mut dirty = DirtyMap::new(&mut self.words, self.pages).unwrap();
        if let Some((page, seen)) = self.look.take() {
            self.track.looked(&mut dirty, &mut self.kept, page, seen);
            self.track.ended_look();
        } else if let Some(run) = self.track.next(&dirty, 1, self.now) {
            self.look = Some((run.first, self.source[run.first as usize]));
        }
    }

    /// Asks what is next and does it; whether all is sent.
    fn send(&mut self) -> bool {
        let mut words = std::mem::take(&mut self.words);
        let mut dirty = DirtyMap::new(&mut words, self.pages).unwrap();
        if !self.by_looking {
            for (n, word) in self.plane.iter_mut().enumerate() {
                dirty.or_word(n, std::mem::take(word));
            }
        }
        let step = self.course.next(&dirty, self.stand, self.looks());
        match step {
            Step::Send(end) => {
                let most = 1 + self.numbers.below(9);
                let run = dirty.next_run(self.course.cursor(), most).unwrap();
                let run_end = end.min(run.first + run.count);
                assert!(run.first < end);
                for page in run.first..run_end {
                    dirty.clear_run(super::super::stream::Run {
                        first: page,
                        count: 1,
                    });
                    let n = page as usize;
                    self.kept[n] = self.source[n];
                    self.target[n] = self.source[n];
                }
                self.course.passed(run_end);
            }
            Step::State => {
                assert!(self.stand == Stand::Paused && dirty.count() == 0);
                assert!(self.course.rounds() > 0);
            }
            Step::Wait => assert!(self.last && !self.track.is_complete()),
            Step::Idle => assert!(self.stand != Stand::Paused),
            Step::EndRound => {}
        }
        self.words = words;
        step == Step::State
    }

    fn run(&mut self) {
        for _ in 0..1_000_000 {
            self.now += 1;
            match self.numbers.below(400) {
                0 if self.stand == Stand::Runs => self.stand(Stand::Quiet),
                1 if self.stand == Stand::Quiet => self.stand(Stand::Runs),
                2 | 3 if self.stand == Stand::Quiet => self.stand(Stand::Paused),
                4 if self.stand == Stand::Runs && self.numbers.below(4) == 0 => {
                    self.stand(Stand::Paused);
                }
                5..=99 => self.write(),
                n if (100..100 + self.pace).contains(&n) => self.look(),
                _ => {
                    if self.send() {
                        return;
                    }
                }
            }
        }
        panic!("it never ends: {:?} {:?}", self.course, self.track);
    }
}

#[test]
fn no_page_is_missed() {
    let mut brownouts = 0;
    for by_looking in [false, true] {
        for seed in 0..8_000 {
            let mut world = World::new(seed, by_looking);
            world.run();
            assert_eq!(world.source, world.target, "seed {seed}, {by_looking}");
            assert!(world.course.rounds() <= ROUNDS_MAX, "seed {seed}");
            brownouts += world.brownouts;
        }
    }
    assert!(brownouts > 5_000, "{brownouts}");
}

/// Looks that come slowly, or not at all for a while, make a stream longer, and not of more rounds.
#[test]
fn slow_looks_make_no_rounds() {
    let mut longest = 0;
    for seed in 0..1_000 {
        let mut world = World::new(seed, true);
        world.pace = 2;
        world.run();
        assert_eq!(world.source, world.target, "seed {seed}");
        // One for each sweep that was made use of, two for each last look, and the last one.
        let most = world.track.sweeps() + 2 * world.turns + 2;
        let rounds = world.course.rounds();
        assert!(rounds <= most, "seed {seed}: {rounds} rounds, {most}");
        longest = longest.max(rounds);
    }
    assert!(longest < 60, "{longest} rounds");
}

/// All pages were looked at, but nobody has said yet that the look is complete.
#[test]
fn the_end_of_the_last_look_is_waited_for() {
    let mut words = [1];
    let mut dirty = DirtyMap::new(&mut words, 1).unwrap();
    let mut course = Course::new();
    let all = Looks::Last(1);
    assert_eq!(course.next(&dirty, Stand::Quiet, all), Step::Send(1));
    dirty.clear_all();
    course.passed(1);
    assert_eq!(course.next(&dirty, Stand::Quiet, all), Step::EndRound);
    for _ in 0..10 {
        assert_eq!(course.next(&dirty, Stand::Quiet, all), Step::Wait);
    }
    let done = Looks::Complete;
    assert_eq!(course.next(&dirty, Stand::Quiet, done), Step::EndRound);
    assert_eq!(course.next(&dirty, Stand::Quiet, done), Step::Idle);
    assert_eq!(course.next(&dirty, Stand::Paused, done), Step::State);
    assert_eq!(course.rounds(), 2);
}

/// What was being read when a look began does not count as seen in it.
#[test]
fn an_old_look_is_no_part_of_a_new_one() {
    let mut words = [0];
    let dirty = DirtyMap::new(&mut words, 8).unwrap();
    let mut track = Track::new(8, Keeps::Sent, 0);
    assert!(track.next(&dirty, 4, 0).is_some());
    track.ended_look();
    assert!(track.next(&dirty, 4, 0).is_some());
    assert_eq!(track.seen(), 4);
    track.begin_last(0);
    assert_eq!(track.seen(), 0);
    track.ended_look();
    assert_eq!(track.seen(), 0);
    assert!(track.next(&dirty, 4, 0).is_some());
    assert_eq!(track.seen(), 0);
    track.ended_look();
    assert_eq!(track.seen(), 4);
}

/// [`no_page_is_missed`] finds a last look that begins too early.
#[test]
fn a_broken_promise_is_seen() {
    let wrong = (0..200).any(|seed| {
        let mut world = World::new(seed, true);
        // The hold is over, and nobody has noticed.
        world.stand(Stand::Quiet);
        for _ in 0..400 {
            world.look();
            world.send();
        }
        world.source[0] = 77;
        world.stand(Stand::Paused);
        world.run();
        world.source != world.target
    });
    assert!(wrong);
}

#[test]
fn a_round_waits_for_a_sweep() {
    let mut words = [0b1111];
    let dirty = DirtyMap::new(&mut words, 4).unwrap();
    let mut course = Course::new();
    let (runs, none) = (Stand::Runs, Looks::Sweeps(0));
    assert_eq!(course.next(&dirty, runs, none), Step::Send(4));
    course.passed(4);
    assert_eq!(course.next(&dirty, runs, none), Step::EndRound);
    assert_eq!(course.next(&dirty, runs, none), Step::Idle);
    assert_eq!(course.next(&dirty, runs, Looks::Sweeps(1)), Step::Send(4));
    assert_eq!(course.rounds(), 1);
}

#[test]
fn rounds_are_kept_for_the_end() {
    let mut words = [1];
    let dirty = DirtyMap::new(&mut words, 1).unwrap();
    let mut course = Course::new();
    while course.next(&dirty, Stand::Runs, Looks::Known) != Step::Idle {
        course.passed(1);
        assert!(course.rounds() < ROUNDS_MAX);
    }
    assert!(course.rounds() >= ROUNDS_MAX - RESERVE);
    assert_eq!(
        course.next(&dirty, Stand::Paused, Looks::Known),
        Step::Send(1)
    );
}
