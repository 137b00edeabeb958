// SPDX-License-Identifier: GPL-2.0

//! Which section may come next, and what rounds must add up to: the same rules for both ends.

use super::{
    Error,
    Kind,
    Round,
    ROUNDS_MAX, //
};

/// How far a stream is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The section before; `None` for the header.
    last: Option<Kind>,
    /// The VF's driver is loaded, as STATE said.
    loaded: bool,
    /// Pages of the framebuffer.
    fb_pages: u64,
    /// Rounds that are complete.
    rounds: u32,
    /// Pages of the round that is not: with contents, and zero.
    pages: u64,
    zeros: u64,
    /// What the last round has left dirty; before the first one, everything.
    left: u64,
}

impl Order {
    pub(super) const fn new(fb_pages: u64) -> Self {
        Self {
            last: None,
            loaded: false,
            fb_pages,
            rounds: 0,
            pages: 0,
            zeros: 0,
            left: fb_pages,
        }
    }

    /// Rounds that are complete, and what they have left dirty.
    pub(super) const fn round(&self) -> (u32, u64) {
        (self.rounds, self.left)
    }

    /// Pages of the round that is not complete: with contents, and zero.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.pages, self.zeros)
    }

    /// END has come.
    pub(super) fn is_over(&self) -> bool {
        self.last == Some(Kind::End)
    }

    /// A section of this kind begins.
    pub(super) fn begin(&mut self, kind: Kind) -> Result<(), Error> {
        use Kind as K;

        let framebuffer = matches!(self.last, None | Some(K::Pages | K::Zero | K::Round));
        let good = match kind {
            K::Pages | K::Zero | K::Round => framebuffer,
            K::State => framebuffer,
            K::Registers => self.last == Some(K::State),
            K::Mailbox => self.last == Some(K::Registers),
            K::Irq => self.last == Some(K::Mailbox),
            K::Context => self.loaded && self.last == Some(K::Irq),
            K::End if self.loaded => self.last == Some(K::Context),
            K::End => self.last == Some(K::Irq),
        };
        if !good {
            let after = self.last;
            return Err(Error::Order { kind, after });
        }
        if kind == K::State {
            self.state_may_come()?;
        }
        self.last = Some(kind);
        Ok(())
    }

    /// The state belongs to a framebuffer that is complete.
    fn state_may_come(&self) -> Result<(), Error> {
        let open = self.pages.saturating_add(self.zeros);
        // Without the round's end nobody knows what it has left.
        let left = if open != 0 { open } else { self.left };
        match left == 0 && self.rounds != 0 {
            true => Ok(()),
            false => Err(Error::Unfinished { left }),
        }
    }

    /// STATE has said whether the driver is loaded.
    pub(super) fn state(&mut self, loaded: bool) {
        self.loaded = loaded;
    }

    /// Pages come: a round has each at most once.
    pub(super) fn add(&mut self, kind: Kind, count: u32) -> Result<(), Error> {
        let of = match kind {
            Kind::Zero => &mut self.zeros,
            _ => &mut self.pages,
        };
        *of = of.saturating_add(count.into());
        let (got, want) = (self.pages.saturating_add(self.zeros), self.fb_pages);
        match got <= want {
            true => Ok(()),
            false => Err(Error::RoundPages { got, want }),
        }
    }

    /// A round ends. The first one must have had every page.
    pub(super) fn round_ends(&mut self, round: &Round) -> Result<(), Error> {
        let kind = Kind::Round;
        let what = "number";
        if round.number != self.rounds.saturating_add(1) || round.number > ROUNDS_MAX {
            return Err(Error::Value { kind, what });
        }
        if round.left > self.fb_pages {
            let what = "dirty pages";
            return Err(Error::Value { kind, what });
        }
        let (got, told) = (
            self.pages.saturating_add(self.zeros),
            round.pages.saturating_add(round.zeros),
        );
        let want = if self.rounds == 0 {
            self.fb_pages
        } else {
            told
        };
        if got != want || round.pages != self.pages {
            return Err(Error::RoundPages { got, want });
        }
        self.rounds = round.number;
        self.left = round.left;
        (self.pages, self.zeros) = (0, 0);
        Ok(())
    }
}
