// SPDX-License-Identifier: GPL-2.0

//! The stream of a VF: what is written is read, in pieces of any size; whatever else comes is
//! refused, and nothing makes the decoder panic or leave its bounds.
//!
//! `GIM_SEED` repeats a run, `GIM_RUNS` changes how many mutations are tried, `GIM_BLESS=1` writes
//! the corpus anew.

use std::{fs, path::PathBuf};

use gim_core::stream::{Error, Header, HEADER_LEN, PAGE};
use gim_core_sim::{
    campaign, fuzz,
    mutate::{mend, mutate, renumber},
    rng::Rng,
    stream::{load, Plan},
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), most in 1usize..20_000) {
        let mut rng = Rng::new(seed);
        let plan = Plan::random(&mut rng, 600);
        let bytes = plan.stream().expect("a plan can be written");
        let target = load(plan.header, &bytes, || rng.within(0..most as u64) as usize);
        prop_assert_eq!(target.verdict, Ok(()));
        prop_assert!(target.image == plan.image);
    }

    #[test]
    fn a_mismatch_is_refused_before_anything(seed in any::<u64>(), what in 0..4) {
        let mut rng = Rng::new(seed);
        let plan = Plan::random(&mut rng, 8);
        let bytes = plan.stream().expect("a plan can be written");
        let mut expect = plan.header;
        match what {
            0 => expect.chip ^= 1 << rng.within(0..32),
            1 => expect.fb_bytes += u64::from(PAGE) * rng.within(1..1 << 20),
            2 => expect.context_bytes += rng.within(1..1 << 20) as u32,
            _ => expect.fb_bytes -= u64::from(PAGE),
        }
        // Anything that follows the header changes nothing.
        let target = load(Header { fb_bytes: expect.fb_bytes.min(1 << 20), ..expect }, &bytes, || 7);
        prop_assert!(target.verdict.is_err_and(|e| e.is_mismatch()));
        prop_assert!(!target.touched && !target.complete);
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..4_000), real in any::<bool>()) {
        let plan = Plan::random(&mut Rng::new(1), 4);
        let mut noise = if real {
            plan.stream().expect("a plan can be written")[..HEADER_LEN].to_vec()
        } else {
            Vec::new()
        };
        noise.extend(bytes);
        prop_assert!(!load(plan.header, &noise, || 100).complete);
    }
}

/// A stream with everything in it, as small as pages allow.
fn small() -> (Plan, Vec<u8>) {
    let mut rng = Rng::new(20);
    loop {
        let plan = Plan::random(&mut rng, 4);
        let image = &plan.image;
        let rounds = plan.early.iter().any(|e| e.0 == 1 && e.2 == 0);
        let all = image.context.as_ref().is_some_and(|c| !c.is_empty()) && rounds;
        let zero = image
            .fb
            .chunks(PAGE as usize)
            .any(|p| p.iter().all(|&b| b == 0));
        if all && zero && !image.registers.is_empty() {
            let bytes = plan.stream().expect("a plan can be written");
            if bytes.len() < 20_000 {
                return (plan, bytes);
            }
        }
    }
}

#[test]
fn every_byte_flipped_is_found() {
    let (plan, bytes) = small();
    assert!(load(plan.header, &bytes, || 4_096).complete);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            let target = load(plan.header, &bad, || 4_096);
            assert!(target.verdict.is_err(), "byte {at} ^ {flip:#x}");
            assert!(at >= HEADER_LEN || !target.touched, "byte {at} ^ {flip:#x}");
        }
    }
}

#[test]
fn every_prefix_is_incomplete() {
    let (plan, bytes) = small();
    for cut in 0..bytes.len() {
        let target = load(plan.header, &bytes[..cut], || 4_096);
        assert!(
            matches!(target.verdict, Err(Error::Cut { .. })),
            "cut at {cut}"
        );
        assert!(!target.complete);
    }
    let mut more = bytes;
    more.push(0);
    assert_eq!(load(plan.header, &more, || 1).verdict, Err(Error::Trailing));
}

fn corpus_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/stream"))
}

/// The plans of the corpus: a format that changes makes other bytes of them.
fn corpus() -> Vec<(String, Plan)> {
    let mut plans = vec![("all".to_string(), small().0)];
    for (name, seed) in [("one", 1), ("rounds", 2), ("scattered", 3), ("unloaded", 4)] {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::random(&mut rng, 5);
        while (name == "unloaded") != plan.image.context.is_none() {
            plan = Plan::random(&mut rng, 5);
        }
        if name == "one" {
            plan.early.clear();
        }
        if name == "scattered" {
            plan.section = 1;
        }
        plans.push((name.to_string(), plan));
    }
    plans
}

#[test]
fn the_corpus_is_what_is_written_today() {
    let bless = std::env::var("GIM_BLESS").is_ok();
    for (name, plan) in corpus() {
        let path = corpus_dir().join(format!("{name}.bin"));
        let bytes = plan.stream().expect("a plan can be written");
        if bless {
            fs::create_dir_all(corpus_dir()).expect("the corpus can be written");
            fs::write(&path, &bytes).expect("the corpus can be written");
        }
        let stored = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(stored == bytes, "{name}: version 1 must stay as it is");
        let target = load(plan.header, &stored, || 1_000);
        assert!(target.complete && target.image == plan.image, "{name}");
    }
}

/// Also what a fuzzer has found once.
#[test]
fn every_file_of_the_corpus_is_survived() {
    let mut tried = 0;
    for entry in fs::read_dir(corpus_dir()).expect("there is a corpus") {
        let path = entry.expect("there is a corpus").path();
        fuzz::target(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        tried += 1;
    }
    assert!(tried >= 5);
}

#[test]
fn mutations_are_refused_or_harmless() {
    let (seed, runs) = (campaign::seed(), campaign::number("GIM_RUNS", 30_000));
    println!("GIM_SEED={seed} GIM_RUNS={runs}");
    let mut rng = Rng::new(seed);
    let corpus: Vec<(Header, Vec<u8>)> = corpus()
        .into_iter()
        .map(|(_, plan)| (plan.header, plan.stream().expect("a plan can be written")))
        .collect();
    let mut complete = 0;
    for _ in 0..runs {
        let n = rng.within(0..corpus.len() as u64) as usize;
        let other = &corpus[rng.within(0..corpus.len() as u64) as usize].1;
        let (header, mut bytes) = corpus[n].clone();
        for _ in 0..rng.within(1..4) {
            mutate(&mut bytes, other, &mut rng);
        }
        let honest = rng.chance(1, 4);
        if !honest {
            renumber(&mut bytes);
            mend(&mut bytes);
        }
        // Bounds and promises are checked by `load`.
        let target = load(header, &bytes, || rng.within(1..9_000) as usize);
        // What follows the end is refused, and has spoilt nothing.
        let good = target.verdict.is_ok();
        complete += u64::from(good);
        let same = bytes == corpus[n].1;
        assert!(!honest || !good || same, "damage was not found");
    }
    assert!(complete < runs, "nothing was refused");
    println!("{complete} of {runs} were complete");
}
