// SPDX-License-Identifier: GPL-2.0

//! The guests: well-behaved ones that do what the Linux driver does, and all the others.

use gim_core::{
    event::MailWords,
    mailbox::{GuestMessage, HostMessage},
    types::{Ns, MS, US},
};

use crate::rng::Rng;

/// What a guest is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Loads, works, unloads, and answers.
    Good,
    /// As good, but its work hangs the engine from time to time.
    Hanging,
    /// Stops anywhere without a word, and comes back after a reset of its function.
    Vanishing,
    /// Loads at once, in about 50 ms, and works for ever.
    Steady,
    /// Asks for full access at once, and never gives it back.
    Hogging,
    /// Sends whatever it likes, whenever it likes, and resets its function at will.
    Hostile,
    /// As hostile, and much faster.
    Flooding,
}

impl Kind {
    /// The kinds of random episodes.
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::Hanging,
        Self::Vanishing,
        Self::Hostile,
        Self::Flooding,
    ];
}

/// Where a well-behaved guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its driver is not loaded.
    Off,
    /// It has asked what the host has to tell it.
    Curious,
    /// It was told.
    Informed,
    /// It has asked to initialise, to unload, or to be reset.
    Asked(GuestMessage),
    /// It initialises.
    Loading,
    /// It works.
    Loaded,
    /// It unloads.
    Unloading,
    /// It was told that it is being reset, and has not answered.
    Told,
    /// It was told that it is being reset, and waits for the end.
    InReset,
    /// It has stopped without a word.
    Vanished,
}

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    Nothing,
    /// Sends a message.
    Send(MailWords),
    /// Resets its function.
    Flr,
    /// Gives the engine work that does not end.
    Hang,
}

/// One guest.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// What it is like.
    pub kind: Kind,
    /// Where it is.
    pub stage: Stage,
    /// It answers when it is told of a reset: most of the time, and mostly in time.
    pub answers: bool,
    /// It asks what the host has to tell it before it initialises.
    pub curious: bool,
}

impl Guest {
    /// A guest whose driver is not loaded yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            stage: Stage::Off,
            answers: true,
            curious: false,
        }
    }

    /// What it does when it wakes, and how long it sleeps then.
    pub fn wake(&mut self, rng: &mut Rng) -> (Deed, Ns) {
        match self.kind {
            Kind::Hostile => (Self::malice(rng), rng.within(20 * US..30 * MS)),
            Kind::Flooding => (Self::malice(rng), rng.within(US..500 * US)),
            _ => self.behave(rng),
        }
    }

    fn malice(rng: &mut Rng) -> Deed {
        match rng.within(0..32) {
            0 => Deed::Flr,
            1 => Deed::Hang,
            2..=4 => Deed::Send([
                rng.bits() as u32,
                rng.bits() as u32,
                rng.bits() as u32,
                rng.bits() as u32,
            ]),
            5..=6 => Deed::Send([rng.pick(&[0, 6, 7, 200, 201, 255, 300]), 0, 0, 0]),
            _ => Deed::Send(rng.pick(&GuestMessage::ALL).words()),
        }
    }

    fn behave(&mut self, rng: &mut Rng) -> (Deed, Ns) {
        if self.kind == Kind::Vanishing && rng.chance(1, 4) {
            self.stage = Stage::Vanished;
            return (Deed::Nothing, rng.within(MS..2_000 * MS));
        }
        let ask = |message: GuestMessage| Deed::Send(message.words());
        match self.stage {
            Stage::Off if self.curious && rng.chance(3, 4) => {
                self.stage = Stage::Curious;
                (ask(GuestMessage::ReqInitData), 6_000 * MS)
            }
            Stage::Off | Stage::Curious | Stage::Informed => self.asks(GuestMessage::ReqInit),
            Stage::Loading => {
                self.stage = Stage::Loaded;
                (ask(GuestMessage::RelInit), rng.within(MS..2_000 * MS))
            }
            Stage::Loaded if self.kind == Kind::Steady => (Deed::Nothing, Ns::MAX / 2),
            Stage::Loaded if self.kind == Kind::Hanging && rng.chance(1, 3) => {
                (Deed::Hang, rng.within(MS..500 * MS))
            }
            Stage::Loaded => match rng.within(0..8) {
                0..=3 => self.asks(GuestMessage::ReqFini),
                4 => self.asks(GuestMessage::ReqReset),
                // Its VM is restarted.
                5 => {
                    self.stage = Stage::Off;
                    (Deed::Flr, rng.within(MS..100 * MS))
                }
                // Its kernel crashes and boots again without a reset.
                6 => self.asks(GuestMessage::ReqInit),
                _ => (Deed::Nothing, rng.within(MS..2_000 * MS)),
            },
            Stage::Unloading => {
                self.stage = Stage::Off;
                (ask(GuestMessage::RelFini), rng.within(MS..1_000 * MS))
            }
            Stage::Vanished => {
                self.stage = Stage::Off;
                (Deed::Flr, rng.within(MS..300 * MS))
            }
            Stage::Told => {
                self.stage = Stage::InReset;
                (ask(GuestMessage::ReadyToReset), 12_000 * MS)
            }
            // It has waited in vain: it starts again.
            Stage::Asked(_) | Stage::InReset => {
                self.stage = Stage::Off;
                (Deed::Nothing, rng.within(MS..100 * MS))
            }
        }
    }

    /// Asks, and waits as long as the Linux driver does.
    fn asks(&mut self, message: GuestMessage) -> (Deed, Ns) {
        self.stage = Stage::Asked(message);
        (Deed::Send(message.words()), 12_000 * MS)
    }

    /// Reads a message of the host; returns how long it sleeps then, if that changes.
    pub fn hear(&mut self, words: &MailWords, rng: &mut Rng) -> Option<Ns> {
        if self.stage == Stage::Vanished {
            return None;
        }
        match (HostMessage::parse(words)?, self.stage) {
            (HostMessage::Ready, Stage::Asked(GuestMessage::ReqFini)) => {
                self.stage = Stage::Unloading;
                Some(rng.within(MS..100 * MS))
            }
            (HostMessage::Ready, Stage::Asked(_)) => {
                self.stage = Stage::Loading;
                match self.kind {
                    Kind::Steady => return Some(rng.within(45 * MS..55 * MS)),
                    Kind::Hogging => return Some(Ns::MAX / 2),
                    _ => {}
                }
                // Some take longer than they may.
                let most = if rng.chance(1, 20) { 1_500 } else { 200 };
                Some(rng.within(MS..most * MS))
            }
            (HostMessage::InitDataReady, Stage::Curious) => {
                self.stage = Stage::Informed;
                Some(rng.within(100 * US..3 * MS))
            }
            (HostMessage::FlrNotification, _) if self.answers && rng.chance(7, 8) => {
                self.stage = Stage::Told;
                let most = if rng.chance(1, 8) { 50 * MS } else { 3 * MS };
                Some(rng.within(100 * US..most))
            }
            (HostMessage::FlrNotification, _) => {
                self.stage = Stage::InReset;
                Some(12_000 * MS)
            }
            (HostMessage::FlrComplete, Stage::Told | Stage::InReset) => {
                self.stage = Stage::Off;
                Some(rng.within(MS..20 * MS))
            }
            _ => None,
        }
    }
}
