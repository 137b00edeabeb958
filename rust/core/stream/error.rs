// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a stream. None of it has touched the target when a header is refused;
//! after that, the target is reset and scrubbed whatever the error is.

use core::fmt;

use super::Kind;

/// Why a stream is refused, or cannot be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not begin as such a stream does.
    Magic,
    /// It has another version.
    Version {
        /// Which.
        got: u16,
    },
    /// The header has another length than this version's.
    HeaderLen {
        /// In bytes.
        got: u16,
    },
    /// The header is damaged.
    HeaderCrc,
    /// It comes from another kind of GPU.
    Chip {
        /// The PCI device id of its VF.
        got: u32,
        /// The PCI device id of this VF.
        want: u32,
    },
    /// It needs features that are not known here.
    Features {
        /// One bit per feature.
        unknown: u64,
    },
    /// The framebuffers differ in size.
    Framebuffer {
        /// Its VF's, in bytes.
        got: u64,
        /// This VF's, in bytes.
        want: u64,
    },
    /// The context images differ in size.
    ContextSize {
        /// Its VF's, in bytes.
        got: u32,
        /// This VF's, in bytes.
        want: u32,
    },
    /// It has another page size.
    PageSize {
        /// In bytes.
        got: u32,
    },
    /// The head of a section is damaged.
    HeadCrc {
        /// The section's number, from 0.
        section: u32,
    },
    /// A section is missing, comes twice or at the wrong place.
    Sequence {
        /// Its number.
        got: u32,
        /// The number that comes next.
        want: u32,
    },
    /// There is no such section in this version, or it has flags that nobody knows.
    Section {
        /// Its type.
        kind: u16,
        /// Its flags.
        flags: u16,
    },
    /// A section of this kind cannot have this length.
    Length {
        /// The kind.
        kind: Kind,
        /// Its length in bytes.
        got: u32,
    },
    /// A section has no place here.
    Order {
        /// Its kind.
        kind: Kind,
        /// The kind before it; `None` for the header.
        after: Option<Kind>,
    },
    /// A section is damaged.
    Crc {
        /// Its kind.
        kind: Kind,
        /// Its number.
        section: u32,
    },
    /// A run of pages is empty, leaves the framebuffer or its section.
    Run {
        /// Its first page.
        first: u32,
        /// Its pages.
        count: u32,
    },
    /// A value cannot be.
    Value {
        /// The section's kind.
        kind: Kind,
        /// The field.
        what: &'static str,
    },
    /// A round has more pages than the framebuffer, or not those that its end says.
    RoundPages {
        /// What came.
        got: u64,
        /// What the round's end says, or the framebuffer has.
        want: u64,
    },
    /// The state comes before all of the framebuffer has.
    Unfinished {
        /// Pages that are still to come.
        left: u64,
    },
    /// The end does not tell what came.
    Total {
        /// Bytes that came before it.
        bytes: u64,
        /// Bytes that it tells of.
        told: u64,
    },
    /// Something follows the end.
    Trailing,
    /// The stream stops before its end.
    Cut {
        /// How many sections were complete.
        sections: u32,
    },
    /// The caller's buffer is too small (encoder).
    Space {
        /// Its bytes.
        have: usize,
        /// The bytes that are needed.
        need: usize,
    },
    /// The payload is not what the section's head has announced (encoder).
    Payload {
        /// Bytes that are missing; 0: there are too many, or there is no section.
        missing: u32,
    },
}

impl Error {
    /// Whether the stream is whole, but made for another target: nothing was changed.
    pub const fn is_mismatch(&self) -> bool {
        matches!(
            self,
            Self::Version { .. }
                | Self::Chip { .. }
                | Self::Features { .. }
                | Self::Framebuffer { .. }
                | Self::ContextSize { .. }
                | Self::PageSize { .. }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic => f.write_str("not a stream of a VF"),
            Self::Version { got } => {
                write!(f, "stream version {got}, only {} is known", super::VERSION)
            }
            Self::HeaderLen { got } => {
                write!(f, "header of {got} bytes, not {}", super::HEADER_LEN)
            }
            Self::HeaderCrc => f.write_str("the header is damaged"),
            Self::Chip { got, want } => {
                write!(
                    f,
                    "from a VF with device id {got:#06x}, this one has {want:#06x}"
                )
            }
            Self::Features { unknown } => write!(f, "needs unknown features {unknown:#x}"),
            Self::Framebuffer { got, want } => {
                write!(f, "framebuffer of {got} bytes, this VF has {want}")
            }
            Self::ContextSize { got, want } => {
                write!(f, "context image of {got} bytes, this GPU's has {want}")
            }
            Self::PageSize { got } => write!(f, "pages of {got} bytes, not {}", super::PAGE),
            Self::HeadCrc { section } => write!(f, "the head of section {section} is damaged"),
            Self::Sequence { got, want } => {
                write!(f, "section {got} where section {want} belongs")
            }
            Self::Section { kind, flags } => {
                write!(f, "unknown section type {kind} with flags {flags:#x}")
            }
            Self::Length { kind, got } => write!(f, "{kind} section of {got} bytes"),
            Self::Order { kind, after } => match after {
                Some(after) => write!(f, "{kind} section after {after}"),
                None => write!(f, "{kind} section at the beginning"),
            },
            Self::Crc { kind, section } => {
                write!(f, "section {section} ({kind}) is damaged")
            }
            Self::Run { first, count } => {
                write!(f, "{count} pages from page {first} have no place")
            }
            Self::Value { kind, what } => write!(f, "{kind} section: bad {what}"),
            Self::RoundPages { got, want } => write!(f, "a round of {got} pages, not {want}"),
            Self::Unfinished { left } => {
                write!(f, "{left} pages are missing before the state")
            }
            Self::Total { bytes, told } => write!(f, "{told} bytes told, {bytes} came"),
            Self::Trailing => f.write_str("something follows the end"),
            Self::Cut { sections } => write!(f, "cut after {sections} sections"),
            Self::Space { have, need } => write!(f, "{need} bytes do not fit into {have}"),
            Self::Payload { missing: 0 } => f.write_str("payload that was not announced"),
            Self::Payload { missing } => write!(f, "{missing} bytes of payload are missing"),
        }
    }
}
