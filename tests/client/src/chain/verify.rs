// SPDX-License-Identifier: GPL-2.0
//! The end of a chain: digest and framebuffer are compared with what they must be.

use gpu_regs::sdma::{Packet, MAX_BYTES};
use serde::Serialize;

use super::plan::RESULTS;
use super::truth::{untouched, Truth};
use super::Chain;
use crate::error::{compare, Error, Result};
use crate::transport::Transport;

/// How a chain ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Steps done.
    pub steps: u64,
    /// Digest of all results.
    pub digest: u64,
    /// Bytes of framebuffer that were compared and found right.
    pub verified: u64,
}

impl<T: Transport> Chain<T> {
    /// Compares everything with what it must be, and gives the GPU back.
    ///
    /// [`Error::WrongBytes`] names the first place that is wrong.
    pub fn finish(&mut self) -> Result<Outcome> {
        while !self.is_done() {
            self.step()?;
        }
        let outcome = self.verify()?;
        self.vf.stop()?;
        Ok(outcome)
    }

    fn verify(&mut self) -> Result<Outcome> {
        let (plan, places) = (self.plan, self.places);
        let mut truth = Truth::new(plan);
        let bytes = plan.bytes as usize;
        // The steps whose blocks were not overwritten since.
        let first = (plan.steps + 1).saturating_sub(places);
        let mut fetched = Vec::new();
        let mut verified = 0;
        loop {
            let i = truth.step;
            if i >= first {
                if fetched.is_empty() {
                    let left = (plan.steps - i + 1).min(places - i % places);
                    fetched = self.fetch(i, left)?;
                }
                let found = fetched.drain(..bytes).collect::<Vec<_>>();
                compare("VRAM", self.place(i), &found, &truth.block, |_| {
                    format!("step {i} of the chain")
                })?;
                verified += bytes as u64;
            }
            if i == plan.steps {
                break;
            }
            truth.advance();
        }
        if plan.prefill {
            verified += self.verify_untouched()?;
        }
        let (digest, expected) = (self.digests.newest(), truth.digest());
        if digest != expected {
            return Err(Error::WrongBytes(crate::error::WrongBytes {
                place: "digest",
                offset: 0,
                // CAST: one byte each, for the message alone.
                found: digest as u8,
                expected: expected as u8,
                count: 8,
                context: format!("{digest:#018x} instead of {expected:#018x}"),
            }));
        }
        self.vf.stats.bytes_verified += verified;
        Ok(Outcome {
            steps: plan.steps,
            digest,
            verified,
        })
    }

    /// Places that no step has come to hold what they were filled with.
    fn verify_untouched(&mut self) -> Result<u64> {
        let bytes = self.plan.bytes as usize;
        let (mut place, mut verified) = (self.plan.steps.saturating_add(1), 0);
        while place < self.places {
            let found = self.fetch(place, self.places - place)?;
            for block in found.chunks_exact(bytes) {
                let fill = untouched(&self.plan, place).to_le_bytes();
                let expected = fill.repeat(bytes / 4);
                compare("VRAM", self.place(place), block, &expected, |_| {
                    format!("place {place} of the chain, which no step has come to")
                })?;
                place += 1;
                verified += bytes as u64;
            }
        }
        Ok(verified)
    }

    /// Lets the GPU bring the places of step `i` and of the ones behind: at most `most`, as many
    /// as own memory holds.
    fn fetch(&mut self, i: u64, most: u64) -> Result<Vec<u8>> {
        let block = u64::from(self.plan.bytes);
        let bytes = most.min(self.plan.results() as u64 / block) * block;
        let mut stream = self.vf.stream();
        let mut at = 0;
        while at < bytes {
            // CAST: at most MAX_BYTES; results fit into memory.
            let n = (bytes - at).min(MAX_BYTES.into()) as u32;
            stream.push(&Packet::CopyLinear {
                src: self.place(i) + at,
                dst: self.vf.space.dma(RESULTS + at as usize),
                bytes: n,
            });
            at += u64::from(n);
        }
        self.alone(stream)?;
        let mut data = vec![0; bytes as usize];
        self.vf.t.dma_read(&self.vf.dma, RESULTS, &mut data)?;
        Ok(data)
    }
}
