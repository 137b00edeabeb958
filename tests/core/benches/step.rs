// SPDX-License-Identifier: GPL-2.0

//! What one step of the engine costs: a steady world of 1 to 16 busy VFs, switched at every slice.

#![allow(missing_docs, reason = "criterion_group! makes a function without any")]

use std::time::Duration;

use criterion::{criterion_group, criterion_main, Criterion};
use gim_core::{
    actions::Actions,
    config::{Config, Policy},
    engine::Engine,
    event::{Action, CmdStatus, Event, StatusSource, Work},
    mailbox::GuestMessage,
    types::{Ns, VfId, US},
};

/// An engine and hardware that completes every command after 20 us.
struct Bench {
    engine: Engine,
    out: Actions,
    more: Actions,
    now: Ns,
}

impl Bench {
    fn new(count: u8, policy: Policy) -> Self {
        let mut cfg = Config::DEFAULT;
        cfg.set_guard(false);
        cfg.set_policy(policy);
        let mut bench = Self {
            engine: Engine::new(cfg),
            out: Actions::new(),
            more: Actions::new(),
            now: 1_000,
        };
        bench.step(Event::Enable { count });
        for vf in VfId::all().take(count.into()) {
            let words = GuestMessage::ReqInit.words();
            bench.step(Event::Message { vf, words });
        }
        // Whoever is granted full access releases it at once.
        for _ in 0..20_000 {
            bench.next();
            let answers = bench.out.into_iter().chain(&bench.more);
            let ready = answers.copied().find_map(|action| match action {
                Action::Send { vf, .. } => Some(vf),
                _ => None,
            });
            if let Some(vf) = ready {
                let words = GuestMessage::RelInit.words();
                bench.step(Event::Message { vf, words });
            }
        }
        bench
    }

    fn step(&mut self, event: Event) {
        self.engine.step(self.now, event, &mut self.out);
        self.answer();
        let work = self.out.as_slice().iter().find_map(|action| match action {
            Action::Queue(work) => Some(*work),
            _ => None,
        });
        if let Some(work @ Work::Scrub(_)) = work {
            self.step_done(work);
        }
    }

    /// What the step has ordered to be read of resets: nobody was reset.
    fn answer(&mut self) {
        let read = self.out.as_slice().iter().find_map(|action| match action {
            Action::ReadResets(read) => Some(*read),
            _ => None,
        });
        self.more.clear();
        if let Some(read) = read {
            let seen = Event::ResetSeen { read, mask: 0 };
            self.engine.step(self.now, seen, &mut self.more);
        }
    }

    fn step_done(&mut self, mut work: Work) {
        // Each scrub queues the next one.
        loop {
            self.now += US;
            self.engine
                .step(self.now, Event::WorkDone { work, ok: true }, &mut self.out);
            let next = self.out.as_slice().iter().find_map(|action| match action {
                Action::Queue(work) => Some(*work),
                _ => None,
            });
            match next {
                Some(next) => work = next,
                None => return,
            }
        }
    }

    /// The next thing that happens in a steady world.
    fn next(&mut self) {
        if self.engine.awaits_command() {
            self.now += 20 * US;
            let (status, source) = (CmdStatus::Done, StatusSource::Irq);
            self.step(Event::CmdStatus { status, source });
        } else {
            self.now = self.engine.deadline().unwrap_or(self.now).max(self.now);
            self.step(Event::Timer);
        }
        std::hint::black_box(self.engine.deadline());
    }
}

fn steps(c: &mut Criterion) {
    for (name, policy) in [
        ("step_ns", Policy::RoundRobin),
        ("step_ns_qos", Policy::Qos),
    ] {
        for count in [1u8, 2, 4, 8, 16] {
            let mut bench = Bench::new(count, policy);
            let before = bench.engine.gpu_stats(bench.now).switches;
            c.bench_function(&format!("{name}_{count}"), |b| b.iter(|| bench.next()));
            let after = bench.engine.gpu_stats(bench.now).switches;
            assert!(count == 1 || after > before, "nothing was switched");
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = steps
}
criterion_main!(benches);
