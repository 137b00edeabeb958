// SPDX-License-Identifier: GPL-2.0
//! What a frozen client has outside the GPU, as a file.
//!
//! Little endian: `VFCHAIN1`, length of the state (8), state as JSON, length of the memory (8),
//! memory (the DMA buffer), FNV-1a of everything before (8).

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::chain::ChainState;
use crate::error::{Error, Result};
use crate::layout::MAX_DMA;
use crate::vf::VfState;

const MAGIC: &[u8; 8] = b"VFCHAIN1";
/// Most bytes of the JSON.
const MAX_STATE: usize = 1 << 20;
/// Most bytes of a whole file.
const MAX_FILE: usize = 8 + 8 + MAX_STATE + 8 + MAX_DMA + 8;

/// A client between two VFs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Name of the chip.
    pub chip: String,
    /// Rings and addresses.
    pub vf: VfState,
    /// The job.
    pub chain: ChainState,
    /// The DMA buffer.
    #[serde(skip)]
    pub memory: Vec<u8>,
}

fn bad(what: &str) -> Error {
    Error::Unsupported(format!("this is no checkpoint of a client: {what}"))
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// The next part of `at`: its length, then its bytes.
fn part<'a>(at: &mut &'a [u8], most: usize, what: &str) -> Result<&'a [u8]> {
    let (len, rest) = at.split_first_chunk().ok_or_else(|| bad(what))?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| bad(what))?;
    if len > most || len > rest.len() {
        return Err(bad(what));
    }
    let (bytes, rest) = rest.split_at(len);
    *at = rest;
    Ok(bytes)
}

impl Checkpoint {
    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let state = serde_json::to_vec(self).map_err(|e| Error::transport("JSON", e))?;
        let mut out = MAGIC.to_vec();
        for bytes in [&state, &self.memory] {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        let sum = fnv(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        Ok(out)
    }

    /// Reads the bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (body, sum) = bytes.split_last_chunk().ok_or_else(|| bad("too short"))?;
        let mut at = body.strip_prefix(MAGIC).ok_or_else(|| bad("wrong start"))?;
        if fnv(body) != u64::from_le_bytes(*sum) {
            return Err(bad("wrong checksum, it is cut or damaged"));
        }
        let state = part(&mut at, MAX_STATE, "length of the state")?;
        let memory = part(&mut at, MAX_DMA, "length of the memory")?;
        let mut me: Self = serde_json::from_slice(state).map_err(|e| bad(&e.to_string()))?;
        me.memory = memory.to_vec();
        Ok(me)
    }

    /// Writes the file: whole, or not at all under that name.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let fail = |e| Error::transport(format!("writing {}", path.display()), e);
        let bytes = self.encode()?;
        let part = path.with_extension("part");
        let mut file = File::create(&part).map_err(fail)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&part, path))
            .map_err(fail)?;
        Ok(bytes.len() as u64)
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |e| Error::transport(format!("reading {}", path.display()), e);
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(fail)?
            .take(MAX_FILE as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(fail)?;
        Self::decode(&bytes)
    }
}
