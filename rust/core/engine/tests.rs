// SPDX-License-Identifier: GPL-2.0

//! Tests of the engine, step by step.

use super::super::{
    event::{
        CmdKind,
        CmdStatus,
        MailWords,
        ResetReason,
        StatusSource,
        Work, //
    },
    mailbox::{
        GuestMessage,
        HostMessage, //
    },
    types::{
        MS,
        US, //
    },
};
use super::*;

cases! {
    gim_engine:
    is_small_enough_for_its_place,
    makes_the_pfs_image_first_and_once,
    a_switch_is_four_commands_and_a_note,
    every_message_in_every_state,
    reset_by_the_guest_empties_the_seat_only_when_that_is_certain,
    a_hung_command_is_read_once_more_then_blamed,
    access_that_its_guest_has_not_read_of_survives_a_gpu_reset,
    sixteen_vfs_in_one_event_fit_into_the_list,
    late_and_senseless_events_change_nothing,
    a_hold_ends_by_itself,
    a_hold_becomes_a_pause,
    a_hold_can_be_ended_and_prolonged,
}

mod leave;
mod prepare;
mod reads;
mod ready;
mod users;

/// An engine on hardware that completes every command after 10 us, and is read at once.
struct Bench {
    // Boxed: a kernel's stack is small.
    engine: Box<Engine>,
    out: Actions,
    now: Ns,
    seen: Vec<Action>,
    /// What RESET_NOTIFICATION shows.
    resets: u32,
    /// Reads of it are answered; else the test does it.
    answers: bool,
    /// What those steps answered with.
    after: Box<Actions>,
}

impl Bench {
    /// Before VFs are enabled.
    fn off() -> Self {
        Self {
            engine: Box::new(Engine::new(Config::DEFAULT)),
            out: Actions::new(),
            now: 1_000,
            seen: Vec::new(),
            resets: 0,
            answers: true,
            after: Box::new(Actions::new()),
        }
    }

    fn new(count: u8) -> Self {
        let mut bench = Self::off();
        bench.feed(Event::Enable { count });
        bench.settle();
        bench
    }

    /// Feeds one event, then what is to be read of resets, and remembers the actions.
    fn feed(&mut self, ev: Event) {
        self.engine.step(self.now, ev, &mut self.out);
        assert_eq!(self.out.lost(), 0);
        self.seen.extend_from_slice(self.out.as_slice());
        let mut next = read_in(&self.out);
        while let Some(read) = next.filter(|_| self.answers) {
            let mask = core::mem::take(&mut self.resets);
            let seen = Event::ResetSeen { read, mask };
            self.engine.step(self.now, seen, &mut self.after);
            assert_eq!(self.after.lost(), 0);
            self.seen.extend_from_slice(self.after.as_slice());
            next = read_in(&self.after);
        }
    }

    /// VFs were reset, and RESET_NOTIFICATION is read.
    fn reset_seen(&mut self, mask: u32) {
        self.resets = mask;
        self.feed(Event::Look);
        assert_eq!(self.resets, 0);
    }

    /// Lets 20 ms pass: commands and work are completed, timers come in time.
    fn settle(&mut self) {
        let end = self.now + 20 * MS;
        loop {
            let work = self.seen.iter().position(|a| matches!(a, Action::Queue(_)));
            if self.engine.awaits_command() {
                self.now += 10 * US;
                self.done(CmdStatus::Done);
            } else if let Some(at) = work {
                let Action::Queue(work) = self.seen.remove(at) else {
                    unreachable!()
                };
                self.feed(Event::WorkDone { work, ok: true });
            } else if self.engine.deadline().is_some_and(|at| at <= end) {
                self.tick();
            } else {
                self.now = end;
                return;
            }
        }
    }

    /// Lets time pass until the engine wants its timer.
    fn tick(&mut self) {
        self.now = self.now.max(self.engine.deadline().unwrap());
        self.feed(Event::Timer);
    }

    /// Lets time pass until a command is issued.
    fn until_command(&mut self) {
        while !self.engine.awaits_command() {
            self.seen.clear();
            self.tick();
        }
    }

    fn done(&mut self, status: CmdStatus) {
        let source = StatusSource::Irq;
        self.feed(Event::CmdStatus { status, source });
    }

    fn send(&mut self, vf: VfId, message: GuestMessage) {
        let words = message.words();
        self.feed(Event::Message { vf, words });
    }

    /// What the last actions said to a VF.
    fn said(&mut self, vf: VfId) -> Vec<HostMessage> {
        let to = |action: &Action| match action {
            Action::Send { vf: v, words, .. } if *v == vf => HostMessage::parse(words),
            _ => None,
        };
        self.seen.drain(..).filter_map(|a| to(&a)).collect()
    }

    fn commands(&mut self) -> Vec<(CmdKind, Fcn)> {
        let cmd = |action: Action| match action {
            Action::Command(cmd) => Some((cmd.kind, cmd.fcn)),
            _ => None,
        };
        self.seen.drain(..).filter_map(cmd).collect()
    }

    fn load(&mut self, vf: VfId) {
        self.send(vf, GuestMessage::ReqInit);
        // The others may have a turn each before.
        for _ in 0..8 {
            if self.engine.vf_state(vf) != VfState::FullAccess {
                self.settle();
            }
        }
        self.settle();
        self.send(vf, GuestMessage::RelInit);
        self.settle();
        assert_eq!(self.engine.vf_state(vf), VfState::Active);
    }
}

/// The read of RESET_NOTIFICATION that a step has ordered.
fn read_in(out: &Actions) -> Option<u64> {
    out.as_slice().iter().find_map(|action| match action {
        Action::ReadResets(read) => Some(*read),
        _ => None,
    })
}

fn vf(n: u32) -> VfId {
    VfId::new(n).unwrap()
}

fn is_small_enough_for_its_place() {
    let size = core::mem::size_of::<Engine>();
    // One allocation of 8 KiB.
    assert!(size < 7_800, "{size}");
}

fn makes_the_pfs_image_first_and_once() {
    let mut bench = Bench::new(2);
    let pf = |kinds: [CmdKind; 4]| kinds.map(|kind| (kind, Fcn::Pf)).to_vec();
    use CmdKind as K;
    assert_eq!(bench.commands(), pf([K::Init, K::Run, K::Idle, K::Save]));
    bench.feed(Event::Disable);
    assert!(bench.seen.contains(&Action::Stopped));
    bench.feed(Event::Enable { count: 16 });
    bench.settle();
    assert_eq!(bench.commands(), []);
}

fn a_switch_is_four_commands_and_a_note() {
    let mut bench = Bench::new(2);
    bench.load(vf(0));
    bench.load(vf(1));
    let from = bench.engine.running().unwrap();
    let other = vf(if from == Fcn::Vf(vf(0)) { 1 } else { 0 });
    let to = Fcn::Vf(other);
    bench.until_command();
    while bench.engine.awaits_command() {
        bench.now += 10 * US;
        bench.done(CmdStatus::Done);
    }
    let note = Action::Note(Note::Switch {
        from: Some(from),
        to,
        took: 40 * US,
    });
    assert!(bench.seen.contains(&note), "{:?}", bench.seen);
    use CmdKind as K;
    let want = [
        (K::Idle, from),
        (K::Save, from),
        (K::Load, to),
        (K::Run, to),
    ];
    assert_eq!(bench.commands(), want);
}

/// What each message does in each state: whether it is taken, and the state once all has settled.
fn every_message_in_every_state() {
    use GuestMessage as M;
    use VfState as S;
    for state in S::ALL {
        for message in M::ALL {
            let mut bench = Bench::new(2);
            let f = vf(0);
            into_state(&mut bench, f, state);
            bench.seen.clear();
            bench.send(f, message);
            let dropped = bench.engine.vf_stats(f, bench.now).dropped == 1;
            bench.settle();
            let after = bench.engine.vf_state(f);
            let (want_dropped, want) = match (state, message) {
                (S::Quarantined, _) | (S::Unavailable, M::RelInit | M::RelFini) => (true, state),
                // Nobody waits for the one, and guests of this chip do not know the other.
                (_, M::ReadyToReset | M::ReqInitData) => (true, state),
                (S::FullAccess, M::RelInit) => (false, S::Active),
                (S::FullAccess, M::RelFini) => (true, S::FullAccess),
                (_, M::RelInit | M::RelFini) => (true, state),
                (S::Unavailable | S::Resetting, _) => (false, state),
                (S::Suspended, M::ReqReset) => (false, S::Suspended),
                (S::Suspended, _) => (false, S::Suspended),
                _ => (false, S::FullAccess),
            };
            assert_eq!(
                (dropped, after),
                (want_dropped, want),
                "{state} {message:?}"
            );
            if after == S::FullAccess && !dropped {
                let said = bench.said(f);
                assert_eq!(said, [HostMessage::Ready], "{state} {message:?}");
            }
        }
    }
}

/// Brings a VF into a state by the ways that lead there.
fn into_state(bench: &mut Bench, f: VfId, state: VfState) {
    match state {
        VfState::Unavailable => {
            // Enabled, but the scrub does not end.
            *bench = Bench::off();
            bench.feed(Event::Enable { count: 2 });
            bench.seen.clear();
        }
        VfState::Available => {}
        VfState::FullAccess => {
            bench.send(f, GuestMessage::ReqInit);
            bench.settle();
        }
        VfState::Active => bench.load(f),
        VfState::Suspended => {
            bench.load(f);
            bench.feed(Event::Pause(f));
            bench.settle();
            assert!(bench.seen.contains(&Action::Paused(f)));
        }
        VfState::Resetting => {
            bench.feed(Event::ResetVf(f));
            bench.seen.clear();
        }
        VfState::Quarantined => {
            bench.feed(Event::ResetVf(f));
            bench.seen.clear();
            let work = Work::Reset(f);
            bench.feed(Event::WorkDone { work, ok: false });
        }
    }
    assert_eq!(bench.engine.vf_state(f), state);
}

fn reset_by_the_guest_empties_the_seat_only_when_that_is_certain() {
    for early in [false, true] {
        let mut bench = Bench::new(2);
        bench.load(vf(0));
        bench.load(vf(1));
        // On to the next switch, up to the RUN.
        bench.until_command();
        let from = bench.engine.seat().fcn();
        let f = vf(if from == Some(Fcn::Vf(vf(0))) { 1 } else { 0 });
        while bench.engine.seat() != Seat::Loaded(Fcn::Vf(f)) {
            bench.now += 10 * US;
            if early {
                // The read that goes with RUN shows it.
                bench.resets = f.bit();
            }
            bench.done(CmdStatus::Done);
            if early && bench.resets == 0 {
                break;
            }
        }
        if !early {
            bench.seen.clear();
            bench.reset_seen(f.bit());
        }
        let note = Action::Note(Note::Reset {
            vf: f,
            reason: ResetReason::GuestFlr,
        });
        assert!(bench.seen.contains(&note));
        let own = bench.seen.contains(&Action::Queue(Work::Reset(f)));
        assert_eq!(own, early);
        assert_eq!(bench.engine.seat() == Seat::Unknown, early);
    }
}

fn a_hung_command_is_read_once_more_then_blamed() {
    let mut bench = Bench::new(2);
    bench.load(vf(0));
    bench.send(vf(1), GuestMessage::ReqInit);
    bench.until_command();
    bench.seen.clear();
    let busy = Event::CmdStatus {
        status: CmdStatus::Busy,
        source: StatusSource::Poll,
    };
    let from = bench.now;
    let failed = |seen: &[Action]| {
        seen.iter()
            .any(|a| matches!(a, Action::Note(Note::CmdFailed { status: None, .. })))
    };
    while !failed(&bench.seen) {
        bench.tick();
        if bench.out.as_slice().contains(&Action::ReadStatus) {
            bench.feed(busy);
        }
    }
    let took = bench.now - from;
    assert!((50 * MS..51 * MS).contains(&took), "{took}");
    let reads = bench.seen.iter().filter(|a| **a == Action::ReadStatus);
    assert_eq!(reads.count(), 6, "2, 4, 8, 16, 32 and 50 ms");
    assert!(bench.seen.contains(&Action::Queue(Work::Reset(vf(0)))));
    assert_eq!(bench.said(vf(0)), [HostMessage::FlrNotification]);
}

fn access_that_its_guest_has_not_read_of_survives_a_gpu_reset() {
    for read in [false, true] {
        let (mut bench, f) = (Bench::new(2), vf(0));
        bench.send(f, GuestMessage::ReqInit);
        bench.settle();
        assert!(bench.said(f).contains(&HostMessage::Ready));
        if read {
            bench.feed(Event::MessageAck(f));
        }
        bench.feed(Event::Detached);
        bench.feed(Event::Attached);
        bench.settle();
        assert_eq!(bench.said(f).contains(&HostMessage::Ready), !read);
    }
}

fn sixteen_vfs_in_one_event_fit_into_the_list() {
    let mut bench = Bench::new(16);
    for f in VfId::all() {
        bench.load(f);
    }
    for f in VfId::all() {
        bench.feed(Event::Pause(f));
    }
    bench.seen.clear();
    bench.reset_seen(u32::MAX);
    assert!(bench.seen.len() > 32);
    bench.feed(Event::Disable);
    assert!(bench.out.as_slice().len() > 16);
}

fn late_and_senseless_events_change_nothing() {
    let mut bench = Bench::new(2);
    bench.load(vf(0));
    bench.seen.clear();
    let stray = bench.engine.gpu_stats(bench.now).stray;
    bench.done(CmdStatus::Done);
    bench.done(CmdStatus::Failed(0x0E));
    for work in [Work::Reset(vf(0)), Work::Scrub(vf(1))] {
        bench.feed(Event::WorkDone { work, ok: false });
    }
    bench.feed(Event::Enable { count: 4 });
    bench.reset_seen(0xFFFF_FFFC);
    bench.feed(Event::ResetVf(vf(9)));
    bench.feed(Event::Resume(vf(9)));
    let words: MailWords = [1, 0, 0, 0];
    bench.feed(Event::Message { vf: vf(9), words });
    assert_eq!(bench.commands(), []);
    assert_eq!(bench.engine.gpu_stats(bench.now).stray, stray + 5);
    assert_eq!(bench.engine.vf_state(vf(0)), VfState::Active);
    // Time does not go back.
    bench.now = 0;
    bench.feed(Event::Timer);
    assert_eq!(bench.commands(), []);
}

fn a_hold_ends_by_itself() {
    let (mut bench, f) = (Bench::new(2), VfId::FIRST);
    bench.load(f);
    let stay = bench.engine.stay(f);
    let until = bench.now + 500 * MS;
    bench.feed(Event::Hold {
        vf: f,
        ns: 500 * MS,
    });
    bench.settle();
    assert!(bench.engine.bounded(f) && bench.engine.held(f) == Held::Yes);
    assert_eq!(bench.engine.vf_state(f), VfState::Suspended);
    while bench.engine.bounded(f) {
        assert!(bench.now < until);
        assert_eq!(bench.engine.stay(f), stay);
        bench.settle();
    }
    assert!(bench.now >= until);
    assert_eq!(bench.engine.held(f), Held::No);
    assert_eq!(bench.engine.vf_state(f), VfState::Active);
    assert_ne!(bench.engine.stay(f), stay);
}

fn a_hold_becomes_a_pause() {
    let (mut bench, f) = (Bench::new(2), VfId::FIRST);
    bench.load(f);
    let stay = bench.engine.stay(f);
    bench.feed(Event::Hold { vf: f, ns: 30 * MS });
    bench.settle();
    bench.feed(Event::Pause(f));
    // A hold of what is paused changes nothing.
    bench.feed(Event::Hold { vf: f, ns: MS });
    for _ in 0..10 {
        bench.settle();
    }
    assert_eq!(bench.engine.held(f), Held::Yes);
    assert!(!bench.engine.bounded(f));
    // It has not run between: what was seen of it is still true.
    assert_eq!(bench.engine.stay(f), stay);
    bench.feed(Event::Resume(f));
    assert_ne!(bench.engine.stay(f), stay);
}

fn a_hold_can_be_ended_and_prolonged() {
    let (mut bench, f) = (Bench::new(2), VfId::FIRST);
    bench.load(f);
    bench.feed(Event::Hold { vf: f, ns: 30 * MS });
    bench.settle();
    bench.feed(Event::Resume(f));
    assert!(!bench.engine.bounded(f) && bench.engine.held(f) == Held::No);
    bench.feed(Event::Hold { vf: f, ns: 30 * MS });
    bench.settle();
    bench.feed(Event::Hold { vf: f, ns: 90 * MS });
    bench.settle();
    bench.settle();
    assert_eq!(bench.engine.held(f), Held::Yes);
}
