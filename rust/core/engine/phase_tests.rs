// SPDX-License-Identifier: GPL-2.0

//! The GPU as a whole: every event in every situation, asserted entry by entry.

use super::super::{
    event::Work,
    types::MS, //
};
use super::*;

cases! {
    gim_phase:
    every_event_in_every_situation,
    a_reset_that_was_given_up_and_ends_after_all_is_one_by_somebody_else,
    vfs_are_enabled_only_where_the_engine_takes_it,
    who_uses_the_gpu_keeps_the_host_awake,
}

/// What can happen to the GPU as a whole.
#[derive(Clone, Copy, Debug)]
enum Big {
    Enable,
    Disable,
    /// The PF's command fails.
    Fails,
    Detached,
    Attached,
    Gone,
    /// Our own reset of the GPU ends, well or not.
    ResetOk,
    ResetFails,
}

const EVENTS: [Big; 8] = [
    Big::Enable,
    Big::Disable,
    Big::Fails,
    Big::Detached,
    Big::Attached,
    Big::Gone,
    Big::ResetOk,
    Big::ResetFails,
];

/// A situation by the events that lead to it from a new engine, and what each event makes of it.
///
/// Three letters: the phase; `h` the engine has the GPU, `a` it is away, `n` it was given back while
/// our own reset goes on; `+` our own reset goes on. A VF that is being reset keeps the engine
/// stopping where that is the situation.
const TABLE: [(&str, &[Big], [&str; 8]); 14] = {
    use Big as B;
    [
        //                     Enable Disable Fails  Detach Attach Gone   Ok     Fails
        (
            "oh.",
            &[],
            ["Oh.", "oh.", "rh+", "oa.", "oh.", "gh.", "oh.", "oh."],
        ),
        (
            "oa.",
            &[B::Detached],
            ["oa.", "oa.", "ra+", "oa.", "oh.", "gh.", "oa.", "oa."],
        ),
        (
            "Oh.",
            &[B::Enable],
            ["Oh.", "sh.", "rh+", "ra.", "Oh.", "gh.", "Oh.", "Oh."],
        ),
        (
            "sh.",
            &[B::Enable, B::Disable],
            ["sh.", "sh.", "sh.", "sa.", "sh.", "gh.", "sh.", "sh."],
        ),
        (
            "sa.",
            &[B::Enable, B::Disable, B::Detached],
            ["sa.", "sa.", "sa.", "sa.", "sh.", "gh.", "sa.", "sa."],
        ),
        (
            "rh+",
            &[B::Enable, B::Fails],
            ["rh+", "sh+", "rh+", "ra+", "rh+", "gh+", "Oh.", "dh."],
        ),
        (
            "ra.",
            &[B::Enable, B::Detached],
            ["ra.", "sa.", "ra.", "ra.", "Oh.", "gh.", "ra.", "ra."],
        ),
        (
            "ra+",
            &[B::Enable, B::Fails, B::Detached],
            ["ra+", "sa+", "ra+", "ra+", "rn+", "gh+", "ra.", "ra."],
        ),
        (
            "rn+",
            &[B::Enable, B::Fails, B::Detached, B::Attached],
            ["rn+", "sn+", "rn+", "ra+", "rn+", "gh+", "Oh.", "Oh."],
        ),
        (
            "sh+",
            &[B::Enable, B::Fails, B::Disable],
            ["sh+", "sh+", "sh+", "sa+", "sh+", "gh+", "sh.", "sh."],
        ),
        (
            "sn+",
            &[B::Enable, B::Fails, B::Disable, B::Detached, B::Attached],
            ["sn+", "sn+", "sn+", "sa+", "sn+", "gh+", "sh.", "sh."],
        ),
        (
            "dh.",
            &[B::Enable, B::Fails, B::ResetFails],
            ["dh.", "sh.", "dh.", "ra.", "dh.", "gh.", "dh.", "dh."],
        ),
        (
            "gh.",
            &[B::Enable, B::Gone],
            ["gh.", "gh.", "gh.", "ra.", "gh.", "gh.", "gh.", "gh."],
        ),
        (
            "gh+",
            &[B::Enable, B::Fails, B::Gone],
            ["gh+", "gh+", "gh+", "ra+", "gh+", "gh+", "gh.", "gh."],
        ),
    ]
};

/// An engine, with a VF that is being reset and never comes to an end of it.
struct Bench {
    // Boxed: a kernel's stack is small.
    engine: Box<Engine>,
    out: Actions,
    now: Ns,
}

impl Bench {
    fn after(events: &[Big]) -> Self {
        let mut bench = Self {
            engine: Box::new(Engine::new(Config::DEFAULT)),
            out: Actions::new(),
            now: 1_000,
        };
        for &event in events {
            bench.meets(event);
        }
        bench
    }

    fn feed(&mut self, event: Event) {
        self.now += MS;
        self.engine.step(self.now, event, &mut self.out);
        assert_eq!(self.out.lost(), 0);
    }

    fn meets(&mut self, event: Big) {
        let work = Work::GpuReset;
        match event {
            Big::Enable => {
                self.feed(Event::Enable { count: 2 });
                let vf = VfId::FIRST;
                if self.engine.vf_state(vf) == VfState::Unavailable && self.engine.count() == 2 {
                    // It is scrubbed, and then reset, without an end.
                    let work = Work::Scrub(vf);
                    self.feed(Event::WorkDone { work, ok: true });
                    self.feed(Event::ResetVf(vf));
                }
            }
            Big::Disable => self.feed(Event::Disable),
            Big::Fails => {
                self.engine.dead(&mut self.out);
                self.feed(Event::Timer);
            }
            Big::Detached => self.feed(Event::Detached),
            Big::Attached => self.feed(Event::Attached),
            Big::Gone => self.feed(Event::Gone),
            Big::ResetOk => self.feed(Event::WorkDone { work, ok: true }),
            Big::ResetFails => self.feed(Event::WorkDone { work, ok: false }),
        }
    }

    fn situation(&self) -> [char; 3] {
        let phase = match self.engine.phase() {
            Phase::Off => 'o',
            Phase::On => 'O',
            Phase::Stopping => 's',
            Phase::Recovering => 'r',
            Phase::Dead => 'd',
            Phase::Gone => 'g',
        };
        let bus = match self.engine.bus {
            Bus::Here => 'h',
            Bus::Away => 'a',
            Bus::Renewed => 'n',
        };
        let own = match self.engine.resets_gpu() {
            true => '+',
            false => '.',
        };
        [phase, bus, own]
    }
}

fn letters(word: &str) -> [char; 3] {
    let mut all = word.chars();
    [(); 3].map(|()| all.next().unwrap_or(' '))
}

fn every_event_in_every_situation() {
    for (from, way, row) in TABLE {
        assert_eq!(Bench::after(way).situation(), letters(from), "{way:?}");
        for (event, want) in EVENTS.into_iter().zip(row) {
            let mut bench = Bench::after(way);
            bench.meets(event);
            assert_eq!(bench.situation(), letters(want), "{from} {event:?}");
            // Whatever happens, nothing is commanded while the GPU is not there.
            let silent = bench.engine.detached()
                || matches!(
                    bench.engine.phase(),
                    Phase::Recovering | Phase::Dead | Phase::Gone
                );
            let commands = bench
                .out
                .as_slice()
                .iter()
                .any(|a| matches!(a, Action::Command(_)));
            assert!(!(silent && commands), "{from} {event:?}: {:?}", bench.out);
        }
    }
}

fn a_reset_that_was_given_up_and_ends_after_all_is_one_by_somebody_else() {
    let mut bench = Bench::after(&[Big::Enable, Big::Fails]);
    bench.now += 120_000 * MS;
    // The VF's reset, which is older, and then that of the GPU.
    bench.feed(Event::Timer);
    bench.feed(Event::Timer);
    assert_eq!(bench.engine.phase(), Phase::Dead);
    // Somebody resets it, and it serves again.
    bench.meets(Big::Detached);
    bench.meets(Big::Attached);
    assert_eq!(bench.engine.phase(), Phase::On);
    assert!(bench.engine.awaits_command());
    bench.meets(Big::ResetOk);
    assert_eq!(bench.engine.phase(), Phase::On);
    assert!(bench.out.as_slice().contains(&Action::Note(Note::Detached)));
    assert!(bench.out.as_slice().contains(&Action::Note(Note::GpuReady)));
}

fn vfs_are_enabled_only_where_the_engine_takes_it() {
    for (from, way, row) in TABLE {
        let bench = Bench::after(way);
        let enables = row[0] != from;
        assert_eq!(bench.engine.may_enable(), enables, "{from}");
    }
}

fn who_uses_the_gpu_keeps_the_host_awake() {
    for (from, way, _) in TABLE {
        let bench = Bench::after(way);
        let may = matches!(from, "oh." | "Oh." | "dh." | "gh." | "gh+");
        let want = match may {
            true => Ok(()),
            false => Err(Awake::Busy),
        };
        assert_eq!(bench.engine.may_sleep(), want, "{from}");
    }
    let vf = VfId::new(1).unwrap();
    let words = super::super::mailbox::GuestMessage::ReqInit.words();
    let mut bench = Bench::after(&[Big::Enable]);
    bench.feed(Event::Message { vf, words });
    assert_eq!(bench.engine.may_sleep(), Err(Awake::Guest(vf)));
    let mut bench = Bench::after(&[Big::Enable]);
    bench.feed(Event::Adopt(vf));
    assert_eq!(bench.engine.may_sleep(), Err(Awake::Guest(vf)));
}
