// SPDX-License-Identifier: GPL-2.0

//! Streams for tests: a plan of what a VF has, its stream, and what a target makes of it.

use gim_core::{
    policy::Share,
    stream::{
        Decoder, Encoder, Error, Header, Irq, Item, Kind, Mailbox, Run, State, Want, PAGE,
        PAGES_MAX, SCRATCH, ZERO_RUNS_MAX,
    },
    types::US,
};

use crate::rng::Rng;

/// What a VF has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The framebuffer.
    pub fb: Vec<u8>,
    /// The context image, if the driver is loaded.
    pub context: Option<Vec<u8>>,
    /// STATE.
    pub state: Option<State>,
    /// REGS.
    pub registers: Vec<(u32, u32)>,
    /// MAILBOX.
    pub mailbox: Mailbox,
    /// IRQ.
    pub irq: Irq,
}

/// An image, and the rounds in which its framebuffer is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the stream is made for.
    pub header: Header,
    /// What the target must have in the end.
    pub image: Image,
    /// Pages that come before the last contents: (round, page, byte that fills it).
    pub early: Vec<(u32, u32, u8)>,
    /// How many pages a section may have.
    pub section: u32,
}

/// A number up to `max`, small ones more often.
fn upto(rng: &mut Rng, max: u64) -> u64 {
    let most = rng.within(0..max + 1);
    rng.within(0..most + 1)
}

fn page_bytes(rng: &mut Rng) -> Vec<u8> {
    match rng.within(0..4) {
        0 => vec![0; PAGE as usize],
        // Of a kind that a packed repository hardly notices.
        1 => vec![rng.bits() as u8; PAGE as usize],
        2 => (0..PAGE).map(|n| (n / 64) as u8).collect(),
        _ => {
            let mut page = vec![0; PAGE as usize];
            page[rng.within(0..PAGE.into()) as usize] = 1;
            page
        }
    }
}

impl Plan {
    /// A plan with a framebuffer of at most `pages` pages.
    pub fn random(rng: &mut Rng, pages: u64) -> Self {
        let pages = 1 + upto(rng, pages - 1);
        let header = Header {
            chip: rng.bits() as u32,
            features: 0,
            fb_bytes: pages * u64::from(PAGE),
            context_bytes: upto(rng, 3_000) as u32,
        };
        let loaded = rng.chance(3, 4);
        let state = State {
            loaded,
            want: rng.pick(&[Want::Nothing, Want::Init, Want::Reset]),
            slice: rng.within(100 * US..1_000_000 * US),
            share: Share {
                weight: rng.within(1..10_001) as u16,
                ..Share::DEFAULT
            },
            counters: [0; 16].map(|_| rng.bits()),
        };
        let words = |rng: &mut Rng| [0; 4].map(|_| rng.bits() as u32);
        let number = |n: u32| (n * 3, n);
        let mailbox = Mailbox {
            to_guest: words(rng),
            from_guest: words(rng),
            to_valid: rng.chance(1, 2),
            from_valid: rng.chance(1, 2),
            from_taken: rng.chance(1, 2),
        };
        let context = (0..header.context_bytes).map(|n| (n * 7) as u8).collect();
        let image = Image {
            fb: (0..pages).flat_map(|_| page_bytes(rng)).collect(),
            context: loaded.then_some(context),
            state: Some(state),
            registers: (0..upto(rng, 64) as u32).map(number).collect(),
            mailbox,
            irq: Irq {
                again: rng.chance(1, 2),
                vectors: rng.bits() as u32,
            },
        };
        let rounds = upto(rng, 4) as u32;
        let early = |_| {
            let page = rng.within(0..pages) as u32;
            (rng.within(0..u64::from(rounds) + 1) as u32, page, 0)
        };
        let mut early: Vec<(u32, u32, u8)> = (0..pages * 2).map(early).collect();
        early.retain(|early| early.0 < rounds);
        for each in &mut early {
            each.2 = rng.pick(&[0, 0xA5, 0xFF]);
        }
        Self {
            header,
            image,
            early,
            section: 1 + upto(rng, u64::from(PAGES_MAX) - 1) as u32,
        }
    }

    /// What page `page` has in round `round`; `None` if it is not sent.
    fn contents(&self, round: u32, page: u32) -> Option<Vec<u8>> {
        let here = self.early.iter().find(|e| (e.0, e.1) == (round, page));
        let later = self.early.iter().any(|e| e.1 == page && e.0 >= round);
        let first = round == 0;
        let last = !later && (first || self.early.iter().any(|e| e.1 == page && e.0 < round));
        let at = page as usize * PAGE as usize;
        match here {
            Some(early) => Some(vec![early.2; PAGE as usize]),
            None if last => Some(self.image.fb[at..][..PAGE as usize].to_vec()),
            None if first => Some(vec![0x11; PAGE as usize]),
            None => None,
        }
    }

    /// The stream.
    pub fn stream(&self) -> Result<Vec<u8>, Error> {
        let mut out = Sink::new(self.header);
        out.put(Encoder::header)?;
        let rounds = self.early.iter().map(|e| e.0 + 1).max().unwrap_or(0);
        for round in 0..=rounds {
            let pages = 0..self.header.pages() as u32;
            let sent = pages.filter_map(|p| Some((p, self.contents(round, p)?)));
            let (zero, full): (Vec<_>, Vec<_>) = sent.partition(|p| p.1.iter().all(|&b| b == 0));
            out.pages(&full, self.section)?;
            out.zeros(&zero)?;
            out.put(|e, to| e.round(to, u64::from(round < rounds)))?;
        }
        let image = &self.image;
        if let Some(state) = &image.state {
            out.put(|e, to| e.state(to, state))?;
        }
        out.put(|e, to| e.registers(to, &image.registers))?;
        out.put(|e, to| e.mailbox(to, &image.mailbox))?;
        out.put(|e, to| e.irq(to, image.irq))?;
        if let Some(context) = &image.context {
            out.put(Encoder::context)?;
            out.data(context)?;
            out.put(Encoder::end_section)?;
        }
        out.put(Encoder::end)?;
        Ok(out.bytes)
    }
}

/// Collects what an encoder writes.
struct Sink {
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl Sink {
    fn new(header: Header) -> Self {
        let encoder = Encoder::new(header);
        let bytes = Vec::new();
        Self { encoder, bytes }
    }

    fn put(
        &mut self,
        with: impl FnOnce(&mut Encoder, &mut [u8]) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let mut scratch = [0; SCRATCH];
        let n = with(&mut self.encoder, &mut scratch)?;
        self.bytes.extend_from_slice(&scratch[..n]);
        Ok(())
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(data);
        self.encoder.data(data)
    }

    fn pages(&mut self, pages: &[(u32, Vec<u8>)], section: u32) -> Result<(), Error> {
        for part in pages.chunks(section as usize) {
            let runs = runs(part);
            self.put(|e, to| e.pages(to, part.len() as u32, runs.len() as u32))?;
            let mut next = part.iter();
            for run in runs {
                self.put(|e, to| e.run(to, run))?;
                for (_, page) in next.by_ref().take(run.count as usize) {
                    let (a, b) = page.split_at(1_000);
                    self.data(a)?;
                    self.data(b)?;
                }
            }
            self.put(Encoder::end_section)?;
        }
        Ok(())
    }

    fn zeros(&mut self, pages: &[(u32, Vec<u8>)]) -> Result<(), Error> {
        for part in runs(pages).chunks(ZERO_RUNS_MAX) {
            self.put(|e, to| e.zero(to, part))?;
        }
        Ok(())
    }
}

fn runs(pages: &[(u32, Vec<u8>)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &(page, _) in pages {
        match runs.last_mut() {
            Some(run) if run.first + run.count == page => run.count += 1,
            _ => runs.push(Run {
                first: page,
                count: 1,
            }),
        }
    }
    runs
}

/// What a target has made of a stream.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it has now.
    pub image: Image,
    /// Anything was delivered.
    pub touched: bool,
    /// END was delivered, and nothing was wrong.
    pub complete: bool,
    /// What was wrong.
    pub verdict: Result<(), Error>,
}

/// Loads a stream that comes in pieces; `piece` tells the length of the next one.
///
/// # Panics
///
/// If the decoder breaks what it promises.
pub fn load(expect: Header, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Target {
    let image = Image {
        fb: vec![0xDD; expect.fb_bytes as usize],
        context: None,
        state: None,
        registers: Vec::new(),
        mailbox: Mailbox::default(),
        irq: Irq::default(),
    };
    let mut target = Target {
        image,
        touched: false,
        complete: false,
        verdict: Ok(()),
    };
    let mut decoder = Decoder::new(expect);
    let mut rest = bytes;
    let mut unproved: Option<Kind> = None;
    while !rest.is_empty() {
        let mut part = &rest[..piece().clamp(1, rest.len())];
        rest = &rest[part.len()..];
        while !part.is_empty() {
            let (taken, item) = match decoder.feed(part) {
                Ok(found) => found,
                Err(e) => {
                    assert_eq!(decoder.feed(part).map(|f| f.0), Err(e), "an error is final");
                    assert_eq!(decoder.finish(), Err(e));
                    target.verdict = Err(e);
                    return target;
                }
            };
            assert!(taken <= part.len() && (taken == part.len() || item.is_some()));
            assert!(taken > 0, "nothing was taken");
            part = &part[taken..];
            if let Some(item) = item {
                unproved = take(&mut target, item, unproved);
            }
        }
    }
    target.verdict = decoder.finish();
    assert_eq!(target.verdict.is_ok(), target.complete);
    target
}

/// Applies an item; returns the kind of section whose contents are not proved yet.
fn take(target: &mut Target, item: Item<'_>, unproved: Option<Kind>) -> Option<Kind> {
    let Target { image, .. } = target;
    assert!(!target.complete, "{item:?} after the end");
    target.touched |= !matches!(item, Item::Header(_));
    let mut next = None;
    match item {
        Item::Header(_) => {}
        Item::Pages { offset, data } => {
            image.fb[offset as usize..][..data.len()].copy_from_slice(data);
            next = Some(Kind::Pages);
        }
        Item::Context { offset, data } => {
            let context = image.context.get_or_insert_default();
            assert_eq!(context.len(), offset as usize);
            context.extend_from_slice(data);
            next = Some(Kind::Context);
        }
        Item::SectionEnd(kind) => {
            if kind == Kind::Context {
                // It may be empty.
                image.context.get_or_insert_default();
            } else {
                assert_eq!(unproved, Some(kind));
            }
        }
        Item::Zero(runs) => {
            for run in runs {
                let (at, len) = (run.first as usize, run.count as usize);
                let page = PAGE as usize;
                image.fb[at * page..(at + len) * page].fill(0);
            }
        }
        Item::Round(_) => {}
        Item::State(state) => image.state = Some(state),
        Item::Registers(list) => image.registers = list.collect(),
        Item::Mailbox(mailbox) => image.mailbox = mailbox,
        Item::Irq(irq) => image.irq = irq,
        Item::End(_) => target.complete = true,
    }
    let same = unproved.is_none() || next == unproved || matches!(item, Item::SectionEnd(_));
    assert!(same, "{item:?} while {unproved:?} is open");
    next
}
