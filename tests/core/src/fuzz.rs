// SPDX-License-Identifier: GPL-2.0

//! What a fuzzer calls with any bytes, and a fuzzer that is led by coverage.
//!
//! The coverage is that of LLVM's pass `sancov-module`, which stable Rust can be told to run
//! (`scripts/fuzz` does); built without it, inputs are changed blindly. libFuzzer would need a C++
//! compiler, AFL++ an installation: neither is asked of whoever runs the tests. Both can use
//! [`target`] as it is.

use std::{
    collections::HashSet,
    fs, io,
    panic::{catch_unwind, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gim_core::stream::{Header, PAGE};

use crate::{
    mutate::{mend, mutate, renumber},
    rng::Rng,
    stream::load,
};

/// Most bytes of an input.
const INPUT_MAX: usize = 48 << 10;
/// Most pages and bytes of context of a target that an input may ask for.
const PAGES_MAX: u64 = 16;
const CONTEXT_MAX: u32 = 4 << 10;

fn word(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|b| b.first_chunk());
    u32::from_le_bytes(*four.unwrap_or(&[0; 4]))
}

/// A target that the input fits, if that can be: what is refused by the header is soon done.
fn expect(bytes: &[u8]) -> Header {
    let low = u64::from(word(bytes, 24)) / u64::from(PAGE);
    Header {
        chip: word(bytes, 12),
        features: 0,
        fb_bytes: low.clamp(1, PAGES_MAX) * u64::from(PAGE),
        context_bytes: word(bytes, 32).min(CONTEXT_MAX),
    }
}

/// Decodes any bytes, at once and in pieces.
///
/// # Panics
///
/// If the decoder breaks a promise, or what it finds depends on how the bytes come.
pub fn target(bytes: &[u8]) {
    let header = expect(bytes);
    let whole = load(header, bytes, || usize::MAX);
    let mut rng = Rng::new(bytes.len() as u64 ^ u64::from(word(bytes, bytes.len() / 2)));
    let most = 1 + rng.within(0..600);
    let pieces = load(header, bytes, || 1 + rng.within(0..most) as usize);
    assert_eq!(pieces.verdict, whole.verdict);
    assert_eq!(
        (pieces.touched, pieces.complete),
        (whole.touched, whole.complete)
    );
    assert!(
        pieces.image == whole.image,
        "pieces make another VF than the whole"
    );
}

/// What a run of the fuzzer has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Inputs tried.
    pub runs: u64,
    /// Inputs of the corpus, and those that were added because they reached something new.
    pub given: usize,
    /// See above.
    pub added: usize,
    /// Branches that were reached, of how many; 0 of 0 without coverage.
    pub reached: usize,
    /// See above.
    pub branches: usize,
}

/// Where coverage comes from: a counter for each branch.
pub trait Coverage {
    /// Sets all to 0.
    fn reset(&mut self);
    /// The counters.
    fn counters(&mut self) -> &[u8];
}

/// A fuzzer and what it has seen.
pub struct Fuzzer<C> {
    coverage: C,
    rng: Rng,
    corpus: Vec<Vec<u8>>,
    /// Branch, and how often about.
    seen: HashSet<(u32, u8)>,
    reached: HashSet<u32>,
    outcome: Outcome,
}

impl<C: Coverage> Fuzzer<C> {
    /// A fuzzer that begins with the files of a folder.
    pub fn new(coverage: C, seed: u64, corpus: &Path) -> io::Result<Self> {
        let mut files: Vec<PathBuf> = fs::read_dir(corpus)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()?;
        files.sort();
        let corpus = files.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
        let given = corpus.len();
        if given == 0 {
            return Err(io::Error::other("the corpus is empty"));
        }
        Ok(Self {
            coverage,
            rng: Rng::new(seed),
            corpus,
            seen: HashSet::new(),
            reached: HashSet::new(),
            outcome: Outcome {
                given,
                ..Outcome::default()
            },
        })
    }

    /// Tries inputs for some time. An error is an input that was not survived.
    pub fn run(&mut self, time: Duration) -> Result<Outcome, Vec<u8>> {
        let start = Instant::now();
        for n in 0..self.corpus.len() {
            let input = self.corpus[n].clone();
            self.try_input(&input)?;
        }
        while start.elapsed() < time {
            for _ in 0..100 {
                let input = self.next_input();
                if self.try_input(&input)? {
                    self.corpus.push(input);
                }
            }
        }
        self.outcome.added = self.corpus.len() - self.outcome.given;
        self.outcome.reached = self.reached.len();
        self.outcome.branches = self.coverage.counters().len();
        Ok(self.outcome)
    }

    fn next_input(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let mut any = || rng.within(0..self.corpus.len() as u64) as usize;
        let (base, other) = (any(), any());
        let mut input = self.corpus[base].clone();
        for _ in 0..rng.within(1..6) {
            mutate(&mut input, &self.corpus[other], rng);
        }
        input.truncate(INPUT_MAX);
        // Otherwise hardly anything comes past the first CRC.
        if rng.chance(7, 8) {
            renumber(&mut input);
            mend(&mut input);
        }
        input
    }

    /// Whether it has reached something new.
    fn try_input(&mut self, input: &[u8]) -> Result<bool, Vec<u8>> {
        self.outcome.runs += 1;
        self.coverage.reset();
        let survived = catch_unwind(AssertUnwindSafe(|| target(input)));
        if survived.is_err() {
            return Err(input.to_vec());
        }
        let mut new = false;
        let counters = self.coverage.counters().to_vec();
        for (n, count) in (0u32..).zip(counters).filter(|(_, count)| *count != 0) {
            // CAST: At most 7.
            let about = count.ilog2() as u8;
            new |= self.seen.insert((n, about));
            self.reached.insert(n);
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct None;

    impl Coverage for None {
        fn reset(&mut self) {}
        fn counters(&mut self) -> &[u8] {
            &[]
        }
    }

    #[test]
    fn the_corpus_is_survived_and_changed() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/stream");
        let mut fuzzer = Fuzzer::new(None, 1, Path::new(dir)).unwrap();
        let outcome = fuzzer.run(Duration::from_millis(200)).unwrap();
        assert!(outcome.given >= 5 && outcome.runs > 5, "{outcome:?}");
    }

    #[test]
    fn a_target_is_found_for_each_input() {
        for bytes in [&[][..], &[0; 3], &[0xFF; 200]] {
            let header = expect(bytes);
            assert!(header.fb_bytes >= 4096 && header.fb_bytes <= PAGES_MAX * 4096);
            target(bytes);
        }
    }
}
