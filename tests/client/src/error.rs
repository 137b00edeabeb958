// SPDX-License-Identifier: GPL-2.0
//! What can go wrong between a VF and its host, each with what was waited for and what was seen.

use std::time::Duration;

/// Result of everything a client does.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a client cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host did not answer in time.
    #[error("{what}: nothing after {} ms (seen: {seen})", waited.as_millis())]
    Timeout {
        /// Which step waited, and for what.
        what: String,
        /// How long it waited.
        waited: Duration,
        /// What the registers or memory held at the end.
        seen: String,
    },
    /// The device is not a VF under GPU-IOV.
    #[error("function identifier reads {0:#010x}, a VF reads 0x80000001")]
    Identifier(u32),
    /// A register could not be used although the VF has full access.
    #[error("{register} reads {found:#010x} during full access, {expected} was expected")]
    Register {
        /// Name of the register.
        register: &'static str,
        /// What was read.
        found: u32,
        /// What should have been read.
        expected: String,
    },
    /// The GPU wrote something wrong, or somewhere it was not asked to.
    #[error("{0}")]
    WrongBytes(#[from] WrongBytes),
    /// The copy engine stopped at a packet.
    #[error("the copy engine stopped at a packet that it does not know (data {0:#x})")]
    IllegalPacket(u32),
    /// The VF was reset by the host; the caller recovers.
    #[error("the host resets the VF (message {0})")]
    Reset(u32),
    /// A device or a setting that this client cannot work with.
    #[error("{0}")]
    Unsupported(String),
    /// The way to the device failed.
    #[error("{what}: {cause}")]
    Transport {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: String,
    },
}

impl Error {
    /// A failed access to the device or to sysfs.
    pub fn transport(what: impl Into<String>, cause: impl ToString) -> Self {
        Self::Transport {
            what: what.into(),
            cause: cause.to_string(),
        }
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} wrong bytes in {place} from offset {offset:#x} on: {found:02x} instead of {expected:02x} ({context})"
)]
pub struct WrongBytes {
    /// `VRAM` or `own memory`.
    pub place: &'static str,
    /// Offset of the first wrong byte in the framebuffer or DMA buffer.
    pub offset: u64,
    /// What was there.
    pub found: u8,
    /// What should have been there.
    pub expected: u8,
    /// Wrong bytes in all.
    pub count: usize,
    /// Job and slot, and whether the byte was to be written at all.
    pub context: String,
}

/// Compares `found` with `expected`; `offset` is where both start in `place`.
pub fn compare(
    place: &'static str,
    offset: u64,
    found: &[u8],
    expected: &[u8],
    context: impl FnOnce(usize) -> String,
) -> std::result::Result<(), WrongBytes> {
    // The equal case is the normal one and must be fast: slices compare as memory does.
    if found == expected {
        return Ok(());
    }
    let wrong = || {
        found
            .iter()
            .zip(expected)
            .enumerate()
            .filter(|(_, (f, e))| f != e)
    };
    let Some((first, (&f, &e))) = wrong().next() else {
        return Ok(());
    };
    Err(WrongBytes {
        place,
        offset: offset + first as u64,
        found: f,
        expected: e,
        count: wrong().count(),
        context: context(first),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_wrong_byte_is_named() {
        assert_eq!(
            compare("VRAM", 0, b"same", b"same", |_| String::new()),
            Ok(())
        );
        let e = compare("VRAM", 0x100, b"axcx", b"abcd", |i| format!("at {i}")).unwrap_err();
        assert_eq!(
            (e.offset, e.found, e.expected, e.count),
            (0x101, b'x', b'b', 2)
        );
        assert_eq!(e.context, "at 1");
    }
}
