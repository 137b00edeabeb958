// SPDX-License-Identifier: GPL-2.0
//! What a chain must come to, computed by the CPU alone.

use std::collections::VecDeque;

use super::Plan;

/// Bytes at the start of a block that a step brings to its end, at most.
pub(super) const MAX_TURN: usize = 4096;
/// Bytes that a step overwrites with what depends on earlier results.
pub(super) const NOTE: usize = 32;

/// The next number of a sequence that starts with `state` (splitmix64).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What step `i` does to a block: it is turned by some bytes, and then a note is written over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the old block's start that become the new block's end.
    pub(super) turn: usize,
    /// Where the note lies, a multiple of 4.
    pub(super) at: usize,
    /// The note.
    pub(super) note: [u32; NOTE / 4],
}

impl Step {
    /// Step `i` (from 1) of a chain whose results so far made `key`.
    pub(super) fn new(plan: &Plan, i: u64, key: u64) -> Self {
        let bytes = plan.bytes as usize;
        let r = mix(plan.seed ^ mix(i));
        let mut note = [0; NOTE / 4];
        let mut state = r ^ key;
        for d in &mut note {
            state = mix(state);
            // CAST: the low half.
            *d = state as u32;
        }
        // CAST: both are below 2^16 and 2^32.
        Self {
            turn: 1 + (r & 0xFFFF) as usize % MAX_TURN.min(bytes / 2),
            at: (r >> 32) as usize % ((bytes - NOTE) / 4 + 1) * 4,
            note,
        }
    }
}

/// Adds a block to a digest.
pub(super) fn fold(digest: u64, block: &[u8]) -> u64 {
    block.chunks(8).fold(digest, |d, c| {
        let word = c.iter().rev().fold(0, |v, &b| (v << 8) | u64::from(b));
        (d ^ word)
            .wrapping_mul(0x0000_0100_0000_01B3)
            .rotate_left(17)
    })
}

/// The block that a chain starts with.
pub(super) fn first_block(plan: &Plan) -> Vec<u8> {
    let words = u64::from(plan.bytes / 8);
    (0..words)
        .flat_map(|i| mix(plan.seed.wrapping_add(i)).to_le_bytes())
        .collect()
}

/// What a place holds that no step has written.
pub(super) fn untouched(plan: &Plan, place: u64) -> u32 {
    // CAST: the low half.
    mix(!plan.seed ^ place) as u32
}

/// Digests after the last jobs; what job n writes depends on the result of job n - depth.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Digests {
    /// Jobs that the newest one includes.
    done: u64,
    /// The newest last.
    last: VecDeque<u64>,
}

impl Digests {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            done: 0,
            last: VecDeque::from([mix(plan.seed)]),
        }
    }

    /// Jobs whose results are in.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// The digest of all results so far.
    pub(super) fn newest(&self) -> u64 {
        self.last.back().copied().unwrap_or(0)
    }

    /// Adds the result of the next job.
    pub(super) fn add(&mut self, plan: &Plan, block: &[u8]) {
        self.last.push_back(fold(self.newest(), block));
        self.done += 1;
        while self.last.len() > plan.depth as usize + 1 {
            self.last.pop_front();
        }
    }

    /// What the notes of job `n` depend on; `None` if that is not known yet, or no longer.
    pub(super) fn key(&self, plan: &Plan, n: u64) -> Option<u64> {
        let wanted = (n + 1).saturating_sub(u64::from(plan.depth));
        let back = usize::try_from(self.done.checked_sub(wanted)?).ok()?;
        let at = self.last.len().checked_sub(back + 1)?;
        self.last.get(at).copied()
    }
}

/// A chain on paper.
#[derive(Debug)]
pub(super) struct Truth {
    plan: Plan,
    /// Steps done.
    pub(super) step: u64,
    /// What the last one left.
    pub(super) block: Vec<u8>,
    digests: Digests,
}

impl Truth {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            step: 0,
            block: first_block(&plan),
            digests: Digests::new(&plan),
        }
    }

    /// Does the next step.
    pub(super) fn advance(&mut self) {
        let job = self.step / u64::from(self.plan.per_job);
        self.step += 1;
        let key = self.digests.key(&self.plan, job).unwrap_or(0);
        let step = Step::new(&self.plan, self.step, key);
        self.block.rotate_left(step.turn);
        let note = step.note.iter().flat_map(|d| d.to_le_bytes());
        for (b, n) in self.block.iter_mut().skip(step.at).zip(note) {
            *b = n;
        }
        if self.step == self.plan.last_step(job) {
            self.digests.add(&self.plan, &self.block);
        }
    }

    /// The digest of all jobs done.
    pub(super) fn digest(&self) -> u64 {
        self.digests.newest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_depends_on_everything() {
        let plan = Plan {
            steps: 41,
            bytes: 4096,
            ..Plan::default()
        };
        let end = |plan| {
            let mut t = Truth::new(plan);
            while t.step < plan.steps {
                t.advance();
            }
            (t.digest(), t.block)
        };
        let (digest, block) = end(plan);
        assert_eq!(end(plan), (digest, block.clone()));
        for other in [
            Plan { seed: 2, ..plan },
            Plan { steps: 42, ..plan },
            Plan { depth: 3, ..plan },
            Plan { per_job: 5, ..plan },
        ] {
            let (d, b) = end(other);
            assert!(d != digest && b != block, "{other:?}");
        }
        // A wrong byte in the middle of the way.
        let mut t = Truth::new(plan);
        while t.step < plan.steps {
            t.advance();
            if t.step == 20 {
                t.block[77] ^= 1;
            }
        }
        assert!(t.digest() != digest);
    }
}
