// SPDX-License-Identifier: GPL-2.0

//! The reading end: takes bytes in pieces of any size, and trusts none of them.
//!
//! A header that does not fit the target is refused before anything is delivered. Small sections
//! are delivered whole, once their CRC is known to be right. Contents of pages and of the context
//! image are delivered as they come, because they are large: they count only when
//! [`Item::SectionEnd`] has confirmed them, and the VF only once [`Item::End`] has come.

use super::{
    crc::{
        Crc32c,
        Update, //
    },
    order::Order,
    parts::{
        End,
        Irq,
        Mailbox,
        Registers,
        Round,
        Run,
        Runs,
        State, //
    },
    Error,
    Header,
    Kind,
    HEADER_LEN,
    HEAD_LEN,
    PAGE,
    RUN_LEN,
    SMALL_MAX,
    TRAILER_LEN, //
};

/// What a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The stream is made for such a target: the restore may begin.
    Header(Header),
    /// Contents of pages.
    Pages {
        /// Where they belong, in bytes from the start of the VF's framebuffer.
        offset: u64,
        /// The bytes; they stay inside of the framebuffer.
        data: &'a [u8],
    },
    /// A part of the context image.
    Context {
        /// Where it belongs, in bytes from the start of the image.
        offset: u32,
        /// The bytes; they stay inside of the image.
        data: &'a [u8],
    },
    /// What was delivered of this section of pages or context was right.
    SectionEnd(Kind),
    /// Pages that are zero.
    Zero(Runs<'a>),
    /// A round is complete.
    Round(Round),
    /// Life cycle, promises and counters.
    State(State),
    /// Registers.
    Registers(Registers<'a>),
    /// Messages under way.
    Mailbox(Mailbox),
    /// Interrupts.
    Irq(Irq),
    /// All has come, and all of it was right.
    End(End),
}

/// How far a stream has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes.
    pub bytes: u64,
    /// Sections that are complete.
    pub sections: u32,
    /// Rounds that are complete.
    pub rounds: u32,
    /// Pages that the last round has left dirty.
    pub left: u64,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Header,
    Head,
    /// A payload that is delivered whole.
    Small,
    /// The head of a run of pages.
    Run,
    /// Contents of pages: how much of the run is missing, and where it belongs.
    Pages {
        left: u32,
        offset: u64,
    },
    Context {
        offset: u32,
    },
    Trailer,
    End,
}

/// What one call has found.
enum Found {
    Nothing,
    Header,
    /// So many of the bytes that were taken last are contents.
    Pages {
        offset: u64,
        bytes: usize,
    },
    Context {
        offset: u32,
        bytes: usize,
    },
    SectionEnd(Kind),
    /// The small section in the buffer is right.
    Small(Kind),
}

/// The reading end of a stream. Its memory is fixed, and an error is its last word.
#[derive(Debug)]
pub struct Decoder {
    expect: Header,
    failed: Option<Error>,
    at: At,
    /// Bytes of what is being collected.
    have: usize,
    buffer: [u8; SMALL_MAX],
    kind: Kind,
    /// Length of the payload, and what of it has not come.
    len: u32,
    left: u32,
    crc: Crc32c,
    trailer: [u8; TRAILER_LEN],
    order: Order,
    bytes: u64,
    /// Bytes before this section.
    start: u64,
    sections: u32,
}

impl Decoder {
    /// A decoder for the VF that `expect` describes.
    pub const fn new(expect: Header) -> Self {
        Self {
            expect,
            failed: None,
            at: At::Header,
            have: 0,
            buffer: [0; SMALL_MAX],
            kind: Kind::End,
            len: 0,
            left: 0,
            crc: Crc32c::new(),
            trailer: [0; TRAILER_LEN],
            order: Order::new(expect.pages()),
            bytes: 0,
            start: 0,
            sections: 0,
        }
    }

    /// The same, with another way to compute CRCs.
    pub const fn with_crc(mut self, update: Update) -> Self {
        self.crc = Crc32c::by(update);
        self
    }

    /// Takes bytes from the front of `input` until something is found; returns how many, and what.
    ///
    /// Nothing is found only if all of the input was taken. After an error, and after
    /// [`Item::End`], every call with input is an error.
    pub fn feed<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<Item<'a>>), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (taken, found) = match self.advance(input) {
            Ok(found) => found,
            Err(error) => {
                self.failed = Some(error);
                return Err(error);
            }
        };
        let bytes = |n: usize| {
            let from = taken.saturating_sub(n);
            input.get(from..taken).unwrap_or(&[])
        };
        let item = match found {
            Found::Nothing => None,
            Found::Header => Some(Item::Header(self.expect)),
            Found::Pages { offset, bytes: n } => {
                let data = bytes(n);
                Some(Item::Pages { offset, data })
            }
            Found::Context { offset, bytes: n } => {
                let data = bytes(n);
                Some(Item::Context { offset, data })
            }
            Found::SectionEnd(kind) => Some(Item::SectionEnd(kind)),
            Found::Small(kind) => Some(self.small(kind)?),
        };
        Ok((taken, item))
    }

    /// How far the stream has been read.
    pub const fn progress(&self) -> Progress {
        let (rounds, left) = self.order.round();
        Progress {
            bytes: self.bytes,
            sections: self.sections,
            rounds,
            left,
        }
    }

    /// Whether the stream was complete and right; to be asked when no more input comes.
    pub fn finish(&self) -> Result<(), Error> {
        match (self.failed, self.at) {
            (Some(error), _) => Err(error),
            (None, At::End) => Ok(()),
            (None, _) => Err(Error::Cut {
                sections: self.sections,
            }),
        }
    }

    /// Takes bytes until something is found.
    fn advance(&mut self, input: &[u8]) -> Result<(usize, Found), Error> {
        let mut rest = input;
        loop {
            let found = self.piece(&mut rest)?;
            let taken = input.len().saturating_sub(rest.len());
            if !matches!(found, Found::Nothing) || rest.is_empty() {
                return Ok((taken, found));
            }
        }
    }

    /// Takes one piece; takes all of `rest` if that is not enough for one.
    fn piece(&mut self, rest: &mut &[u8]) -> Result<Found, Error> {
        match self.at {
            At::End if rest.is_empty() => Ok(Found::Nothing),
            At::End => Err(Error::Trailing),
            At::Header => match self.collect(rest, HEADER_LEN) {
                true => self.header(),
                false => Ok(Found::Nothing),
            },
            At::Head => {
                if self.collect(rest, HEAD_LEN) {
                    self.head()?;
                }
                Ok(Found::Nothing)
            }
            At::Small => {
                // CAST: The kind's length was checked to fit the buffer.
                let len = self.len as usize;
                if self.collect(rest, len) {
                    self.have = 0;
                    self.crc.update(self.buffer.get(..len).unwrap_or(&[]));
                    self.at = At::Trailer;
                }
                Ok(Found::Nothing)
            }
            At::Run => {
                if self.collect(rest, RUN_LEN) {
                    self.run()?;
                }
                Ok(Found::Nothing)
            }
            At::Pages { left, offset } => {
                let data = self.take(rest, left);
                Ok(self.pages(data, left, offset))
            }
            At::Context { offset } => {
                let data = self.take(rest, self.left);
                Ok(self.context(data, offset))
            }
            At::Trailer => self.trailer(rest),
        }
    }

    /// Moves bytes from `rest` to the buffer until it has `need` of them.
    fn collect(&mut self, rest: &mut &[u8], need: usize) -> bool {
        let missing = need.saturating_sub(self.have).min(rest.len());
        let (bytes, after) = rest.split_at(missing);
        let end = self.have.saturating_add(missing);
        if let Some(to) = self.buffer.get_mut(self.have..end) {
            to.copy_from_slice(bytes);
        }
        *rest = after;
        self.bytes = self.bytes.saturating_add(missing as u64);
        self.have = end;
        end == need
    }

    /// Takes at most `most` bytes of payload off `rest`.
    fn take<'a>(&mut self, rest: &mut &'a [u8], most: u32) -> &'a [u8] {
        let n = rest.len().min(most as usize);
        let (data, after) = rest.split_at(n);
        *rest = after;
        self.bytes = self.bytes.saturating_add(n as u64);
        self.crc.update(data);
        data
    }

    fn header(&mut self) -> Result<Found, Error> {
        self.have = 0;
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(self.buffer.split_at(HEADER_LEN).0);
        let got = Header::get(&bytes)?;
        self.expect.admits(&got)?;
        self.expect = got;
        self.at = At::Head;
        Ok(Found::Header)
    }

    fn head(&mut self) -> Result<(), Error> {
        self.have = 0;
        self.start = self.bytes.saturating_sub(HEAD_LEN as u64);
        let section = self.sections;
        let mut from = super::Reader(self.buffer.split_at(HEAD_LEN).0);
        self.crc.restart();
        self.crc.update(self.buffer.split_at(HEAD_LEN - 4).0);
        let mut read = || {
            let head = (from.u16()?, from.u16()?, from.u32()?, from.u32()?);
            Some((head, from.u32()?))
        };
        let Some(((kind, flags, len, number), crc)) = read() else {
            return Err(Error::HeadCrc { section });
        };
        if crc != self.crc.value() {
            return Err(Error::HeadCrc { section });
        }
        if number != section {
            let (got, want) = (number, section);
            return Err(Error::Sequence { got, want });
        }
        let Some(kind) = Kind::new(kind).filter(|_| flags == 0) else {
            return Err(Error::Section { kind, flags });
        };
        if !kind.fits(len, &self.expect) {
            return Err(Error::Length { kind, got: len });
        }
        self.order.begin(kind)?;
        (self.kind, self.len, self.left) = (kind, len, len);
        self.at = match kind {
            _ if len == 0 => At::Trailer,
            Kind::Pages => At::Run,
            Kind::Context => At::Context { offset: 0 },
            _ => At::Small,
        };
        Ok(())
    }

    /// The head of a run is in the buffer.
    fn run(&mut self) -> Result<(), Error> {
        self.have = 0;
        let mut bytes = [0; RUN_LEN];
        bytes.copy_from_slice(self.buffer.split_at(RUN_LEN).0);
        self.crc.update(&bytes);
        let run = Run::get(&bytes, self.expect.pages())?;
        let Run { first, count } = run;
        // CAST: 8.
        self.left = self.left.saturating_sub(RUN_LEN as u32);
        let pages = count.checked_mul(PAGE).filter(|&n| n <= self.left);
        let Some(left) = pages else {
            return Err(Error::Run { first, count });
        };
        self.order.add(Kind::Pages, count)?;
        let offset = u64::from(first) * u64::from(PAGE);
        self.at = At::Pages { left, offset };
        Ok(())
    }

    /// Contents of pages were taken.
    fn pages(&mut self, data: &[u8], left: u32, offset: u64) -> Found {
        // CAST: At most `left`.
        let n = data.len() as u32;
        self.left = self.left.saturating_sub(n);
        let left = left.saturating_sub(n);
        self.at = match (left, self.left) {
            (0, 0) => At::Trailer,
            (0, _) => At::Run,
            _ => At::Pages {
                left,
                offset: offset.saturating_add(n.into()),
            },
        };
        match data.len() {
            0 => Found::Nothing,
            bytes => Found::Pages { offset, bytes },
        }
    }

    /// A part of the context image was taken.
    fn context(&mut self, data: &[u8], offset: u32) -> Found {
        // CAST: At most what is left.
        let n = data.len() as u32;
        self.left = self.left.saturating_sub(n);
        self.at = match self.left {
            0 => At::Trailer,
            _ => At::Context {
                offset: offset.saturating_add(n),
            },
        };
        match data.len() {
            0 => Found::Nothing,
            bytes => Found::Context { offset, bytes },
        }
    }

    /// Takes the trailer; the payload of a small section stays in the buffer.
    fn trailer(&mut self, rest: &mut &[u8]) -> Result<Found, Error> {
        let missing = TRAILER_LEN.saturating_sub(self.have).min(rest.len());
        let (bytes, after) = rest.split_at(missing);
        *rest = after;
        for (to, from) in self.trailer.iter_mut().skip(self.have).zip(bytes) {
            *to = *from;
        }
        self.bytes = self.bytes.saturating_add(missing as u64);
        self.have = self.have.saturating_add(missing);
        if self.have < TRAILER_LEN {
            return Ok(Found::Nothing);
        }
        self.have = 0;
        let (kind, section) = (self.kind, self.sections);
        if u32::from_le_bytes(self.trailer) != self.crc.value() {
            return Err(Error::Crc { kind, section });
        }
        self.accept(kind)?;
        self.sections = self.sections.saturating_add(1);
        self.at = match kind {
            Kind::End => At::End,
            _ => At::Head,
        };
        match kind {
            Kind::Pages | Kind::Context => Ok(Found::SectionEnd(kind)),
            _ => Ok(Found::Small(kind)),
        }
    }

    /// A whole section was right: does what it says fit what came before?
    fn accept(&mut self, kind: Kind) -> Result<(), Error> {
        let pages = self.expect.pages();
        match self.small(kind)? {
            Item::State(state) => self.order.state(state.loaded),
            Item::Round(round) => self.order.round_ends(&round)?,
            Item::Zero(_) => {
                let len = self.len as usize;
                for bytes in self.buffer.get(..len).unwrap_or(&[]).chunks_exact(RUN_LEN) {
                    let mut head = [0; RUN_LEN];
                    head.copy_from_slice(bytes);
                    let run = Run::get(&head, pages)?;
                    self.order.add(kind, run.count)?;
                }
            }
            Item::End(end) => {
                if end.bytes != self.start || end.sections != self.sections {
                    let (bytes, told) = (self.start, end.bytes);
                    return Err(Error::Total { bytes, told });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The small section in the buffer.
    fn small(&self, kind: Kind) -> Result<Item<'_>, Error> {
        let bytes = self.buffer.get(..self.len as usize).unwrap_or(&[]);
        Ok(match kind {
            Kind::State => Item::State(State::get(bytes)?),
            Kind::Registers => Item::Registers(Registers::get(bytes)?),
            Kind::Mailbox => Item::Mailbox(Mailbox::get(bytes)?),
            Kind::Irq => Item::Irq(Irq::get(bytes)?),
            Kind::Zero => Item::Zero(Runs(bytes)),
            Kind::Round => Item::Round(Round::get(bytes)?),
            Kind::End => Item::End(End::get(bytes)?),
            // Not reached: they are delivered in pieces.
            Kind::Pages | Kind::Context => Item::SectionEnd(kind),
        })
    }
}
