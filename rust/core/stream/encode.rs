// SPDX-License-Identifier: GPL-2.0

//! The writing end: puts everything but contents of pages and of the context image into the
//! caller's buffer, and keeps count. What it refuses would be refused by the reader too.

use super::{
    bytes::Writer,
    crc::{
        Crc32c,
        Update, //
    },
    order::Order,
    parts::{
        self,
        End,
        Irq,
        Mailbox,
        Registers,
        Round,
        Run,
        State, //
    },
    Error,
    Header,
    Kind,
    HEAD_LEN,
    PAGE,
    REGISTERS_MAX,
    RUN_LEN,
    TRAILER_LEN,
    ZERO_RUNS_MAX, //
};

/// A section whose payload is being written.
#[derive(Clone, Copy, Debug)]
struct Open {
    kind: Kind,
    /// What is missing of the payload.
    left: u32,
    /// What is missing of the run.
    run: u32,
}

/// The writing end of a stream.
///
/// Every function that takes `out` writes into its beginning and returns how many bytes; with
/// [`super::SCRATCH`] bytes there is always room. A call that fails has changed nothing.
#[derive(Clone, Debug)]
pub struct Encoder {
    header: Header,
    crc: Crc32c,
    open: Option<Open>,
    order: Order,
    bytes: u64,
    sections: u32,
}

impl Encoder {
    /// Begins a stream of the VF that `header` describes; the header is the first thing to write.
    pub const fn new(header: Header) -> Self {
        Self {
            header,
            crc: Crc32c::new(),
            open: None,
            order: Order::new(header.pages()),
            bytes: 0,
            sections: 0,
        }
    }

    /// The same, with another way to compute CRCs.
    pub const fn with_crc(mut self, update: Update) -> Self {
        self.crc = Crc32c::by(update);
        self
    }

    /// Bytes so far, contents among them.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sections that are complete.
    pub const fn sections(&self) -> u32 {
        self.sections
    }

    /// Pages of the round that is not complete: with contents, and zero.
    pub const fn round_pages(&self) -> (u64, u64) {
        self.order.counts()
    }

    /// Rounds that are complete.
    pub const fn rounds(&self) -> u32 {
        self.order.round().0
    }

    /// END has been written.
    pub fn is_complete(&self) -> bool {
        self.order.is_over()
    }

    /// Writes the header, once, before anything else.
    pub fn header(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.bytes != 0 {
            return Err(Error::Payload { missing: 0 });
        }
        let n = self.header.put(out)?;
        self.bytes = n as u64;
        Ok(n)
    }

    /// Begins a PAGES section of `pages` pages (1 to [`super::PAGES_MAX`]) in `runs` runs.
    ///
    /// Then come, for each run, [`Self::run`] and its contents by [`Self::data`]; then
    /// [`Self::end_section`].
    pub fn pages(&mut self, out: &mut [u8], pages: u32, runs: u32) -> Result<usize, Error> {
        let kind = Kind::Pages;
        // CAST: 8.
        let heads = runs.checked_mul(RUN_LEN as u32);
        let contents = pages.checked_mul(PAGE);
        let len = heads.zip(contents).and_then(|(a, b)| a.checked_add(b));
        let Some(len) = len.filter(|_| runs >= 1 && runs <= pages) else {
            return Err(Error::Length {
                kind,
                got: u32::MAX,
            });
        };
        self.begin(out, kind, len)
    }

    /// Begins a run of a PAGES section.
    pub fn run(&mut self, out: &mut [u8], run: Run) -> Result<usize, Error> {
        let Run { first, count } = run;
        let mut bytes = [0; RUN_LEN];
        run.put(&mut Writer::new(&mut bytes, RUN_LEN)?);
        Run::get(&bytes, self.header.pages())?;
        let open = self.open.filter(|o| o.kind == Kind::Pages && o.run == 0);
        let mut open = open.ok_or(Error::Payload { missing: 0 })?;
        // CAST: 8.
        let left = open.left.checked_sub(RUN_LEN as u32);
        let contents = count.checked_mul(PAGE);
        let Some((left, contents)) = left.zip(contents).filter(|(a, b)| b <= a) else {
            return Err(Error::Run { first, count });
        };
        (open.left, open.run) = (left, contents);
        let mut order = self.order;
        order.add(Kind::Pages, count)?;
        Writer::new(out, RUN_LEN)?.bytes(&bytes);
        (self.order, self.open) = (order, Some(open));
        self.crc.update(&bytes);
        self.bytes = self.bytes.saturating_add(RUN_LEN as u64);
        Ok(RUN_LEN)
    }

    /// Begins the CONTEXT section; the image follows by [`Self::data`], then
    /// [`Self::end_section`].
    pub fn context(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        self.begin(out, Kind::Context, self.header.context_bytes)
    }

    /// Counts contents of pages or of the context image, which the caller sends itself.
    pub fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        let mut open = self.open.ok_or(Error::Payload { missing: 0 })?;
        let most = match open.kind {
            Kind::Pages => open.run,
            _ => open.left,
        };
        let n = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if n > most {
            return Err(Error::Payload { missing: 0 });
        }
        open.left = open.left.saturating_sub(n);
        open.run = open.run.saturating_sub(n);
        self.open = Some(open);
        self.crc.update(data);
        self.bytes = self.bytes.saturating_add(n.into());
        Ok(())
    }

    /// Ends a PAGES or CONTEXT section.
    pub fn end_section(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let open = self.open.ok_or(Error::Payload { missing: 0 })?;
        if open.left != 0 {
            let missing = open.left;
            return Err(Error::Payload { missing });
        }
        let mut to = Writer::new(out, TRAILER_LEN)?;
        to.u32(self.crc.value());
        self.open = None;
        self.sections = self.sections.saturating_add(1);
        self.bytes = self.bytes.saturating_add(TRAILER_LEN as u64);
        Ok(TRAILER_LEN)
    }

    /// Writes a ZERO section: 1 to [`ZERO_RUNS_MAX`] runs.
    pub fn zero(&mut self, out: &mut [u8], runs: &[Run]) -> Result<usize, Error> {
        let kind = Kind::Zero;
        let mut order = self.order;
        order.begin(kind)?;
        for run in runs {
            let mut bytes = [0; RUN_LEN];
            run.put(&mut Writer::new(&mut bytes, RUN_LEN)?);
            Run::get(&bytes, self.header.pages())?;
            order.add(kind, run.count)?;
        }
        let len = Self::list(kind, runs.len(), ZERO_RUNS_MAX)?;
        let n = self.small(out, kind, len, |to| {
            for run in runs {
                run.put(to);
            }
        })?;
        self.order = order;
        Ok(n)
    }

    /// Writes the end of a round that has left `left` pages dirty, as far as is known.
    pub fn round(&mut self, out: &mut [u8], left: u64) -> Result<usize, Error> {
        let (pages, zeros) = self.order.counts();
        let round = Round {
            number: self.rounds().saturating_add(1),
            pages,
            zeros,
            left,
        };
        let mut order = self.order;
        order.begin(Kind::Round)?;
        order.round_ends(&round)?;
        let n = self.small(out, Kind::Round, parts::ROUND_LEN, |to| round.put(to))?;
        self.order = order;
        Ok(n)
    }

    /// Writes the STATE section, after the last round.
    pub fn state(&mut self, out: &mut [u8], state: &State) -> Result<usize, Error> {
        state.check()?;
        let n = self.small(out, Kind::State, parts::STATE_LEN, |to| state.put(to))?;
        self.order.state(state.loaded);
        Ok(n)
    }

    /// Writes the REGS section: pairs of number and value, by rising numbers, at most
    /// [`REGISTERS_MAX`].
    pub fn registers(&mut self, out: &mut [u8], list: &[(u32, u32)]) -> Result<usize, Error> {
        let len = Self::list(Kind::Registers, list.len(), REGISTERS_MAX)?;
        let mut bytes = [0; 8 * REGISTERS_MAX];
        let mut to = Writer::new(&mut bytes, 8 * REGISTERS_MAX)?;
        for (number, value) in list {
            to.u32(*number);
            to.u32(*value);
        }
        let bytes = to.written();
        Registers::get(bytes)?;
        self.small(out, Kind::Registers, len, |to| to.bytes(bytes))
    }

    /// Writes the MAILBOX section.
    pub fn mailbox(&mut self, out: &mut [u8], mailbox: &Mailbox) -> Result<usize, Error> {
        self.small(out, Kind::Mailbox, parts::MAILBOX_LEN, |to| mailbox.put(to))
    }

    /// Writes the IRQ section.
    pub fn irq(&mut self, out: &mut [u8], irq: Irq) -> Result<usize, Error> {
        self.small(out, Kind::Irq, parts::IRQ_LEN, |to| irq.put(to))
    }

    /// Writes the END section.
    pub fn end(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let end = End {
            bytes: self.bytes,
            sections: self.sections,
        };
        self.small(out, Kind::End, parts::END_LEN, |to| end.put(to))
    }

    /// The payload length of a list of `count` pairs of words.
    fn list(kind: Kind, count: usize, max: usize) -> Result<u32, Error> {
        // CAST: `max` is small.
        match count <= max {
            true => Ok(8 * count as u32),
            false => Err(Error::Length {
                kind,
                got: u32::MAX,
            }),
        }
    }

    /// Writes the head of a section.
    fn begin(&mut self, out: &mut [u8], kind: Kind, len: u32) -> Result<usize, Error> {
        if let Some(open) = self.open {
            let missing = open.left;
            return Err(Error::Payload { missing });
        }
        if self.bytes == 0 || !kind.fits(len, &self.header) {
            return Err(Error::Length { kind, got: len });
        }
        let mut order = self.order;
        order.begin(kind)?;
        let mut to = Writer::new(out, HEAD_LEN)?;
        // CAST: the discriminants are the codes.
        to.u16(kind as u16);
        to.u16(0);
        to.u32(len);
        to.u32(self.sections);
        self.crc.restart();
        self.crc.update(to.written());
        to.u32(self.crc.value());
        self.order = order;
        self.open = Some(Open {
            kind,
            left: len,
            run: 0,
        });
        self.bytes = self.bytes.saturating_add(HEAD_LEN as u64);
        Ok(HEAD_LEN)
    }

    /// Writes a whole section.
    fn small(
        &mut self,
        out: &mut [u8],
        kind: Kind,
        len: u32,
        put: impl FnOnce(&mut Writer<'_>),
    ) -> Result<usize, Error> {
        // CAST: A small section's.
        let len_bytes = len as usize;
        let total = HEAD_LEN
            .saturating_add(len_bytes)
            .saturating_add(TRAILER_LEN);
        let have = out.len();
        let Some((head, rest)) = out.split_at_mut_checked(HEAD_LEN) else {
            return Err(Error::Space { have, need: total });
        };
        let Some((payload, trailer)) = rest.split_at_mut_checked(len_bytes) else {
            return Err(Error::Space { have, need: total });
        };
        if trailer.len() < TRAILER_LEN {
            return Err(Error::Space { have, need: total });
        }
        self.begin(head, kind, len)?;
        put(&mut Writer::new(payload, len_bytes)?);
        self.data(payload)?;
        self.end_section(trailer)?;
        Ok(total)
    }
}
