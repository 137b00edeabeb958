// SPDX-License-Identifier: GPL-2.0

//! Anything at any time: events that no hardware and no shell would send in this order.

use gim_core::{
    access::Access,
    actions::Actions,
    config::{Config, Mode, Policy},
    engine::Engine,
    event::{Action, CmdStatus, Event, StatusSource, Work},
    mailbox::Protocol,
    partition::{Partition, UNIT},
    types::VfId,
};
use proptest::prelude::*;

fn vf() -> impl Strategy<Value = VfId> {
    (0u32..16).prop_map(|n| VfId::new(n).expect("below 16"))
}

fn status() -> impl Strategy<Value = CmdStatus> {
    prop_oneof![
        4 => Just(CmdStatus::Busy),
        8 => Just(CmdStatus::Done),
        2 => any::<u8>().prop_map(CmdStatus::Failed),
        1 => Just(CmdStatus::Gone),
    ]
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        8 => vf().prop_map(Work::Reset),
        8 => vf().prop_map(Work::Scrub),
        4 => vf().prop_map(Work::Prepare),
        1 => Just(Work::GpuReset),
    ]
}

fn want() -> impl Strategy<Value = Option<Access>> {
    prop_oneof![
        Just(None),
        Just(Some(Access::Init)),
        Just(Some(Access::Fini)),
        Just(Some(Access::Reset)),
    ]
}

fn code() -> impl Strategy<Value = u32> {
    prop_oneof![7 => 0u32..8, 1 => Just(201)]
}

fn event() -> impl Strategy<Value = Event> {
    let source = prop_oneof![Just(StatusSource::Irq), Just(StatusSource::Poll)];
    prop_oneof![
        8 => Just(Event::Timer),
        8 => (status(), source).prop_map(|(status, source)| Event::CmdStatus { status, source }),
        8 => (vf(), code(), any::<[u32; 3]>()).prop_map(|(vf, code, rest)| Event::Message {
            vf,
            words: [code, rest[0], rest[1], rest[2]],
        }),
        1 => vf().prop_map(Event::MessageAck),
        1 => Just(Event::Look),
        4 => (0u64..3, any::<u32>()).prop_map(|(read, mask)| Event::ResetSeen { read, mask }),
        8 => (work(), any::<bool>()).prop_map(|(work, ok)| Event::WorkDone { work, ok }),
        4 => any::<u8>().prop_map(|n| Event::Enable { count: 1 << (n % 5) }),
        1 => any::<u8>().prop_map(|count| Event::Enable { count }),
        1 => Just(Event::Disable),
        2 => vf().prop_map(Event::Pause),
        2 => vf().prop_map(Event::Resume),
        2 => (vf(), any::<u64>()).prop_map(|(vf, ns)| Event::Hold { vf, ns: ns >> (ns % 64) }),
        2 => vf().prop_map(Event::Adopt),
        2 => (vf(), any::<bool>(), want()).prop_map(|(vf, loaded, want)| Event::Adopted {
            vf,
            loaded,
            want,
        }),
        1 => vf().prop_map(Event::Seal),
        2 => vf().prop_map(Event::ResetVf),
        2 => any::<bool>().prop_map(Event::PfWork),
        1 => Just(Event::PauseAll),
        1 => Just(Event::ResumeAll),
        1 => any::<u32>().prop_map(|mask| Event::Busy { mask }),
    ]
}

/// Turns how many reads ago into the number of the read.
fn numbered(event: Event, reads: u64) -> Event {
    match event {
        Event::ResetSeen { read: ago, mask } => Event::ResetSeen {
            read: reads.wrapping_sub(ago),
            mask,
        },
        event => event,
    }
}

/// Times that go on, stand still, jump, and are absurd.
fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..10_000_000,
        2 => Just(0u64),
        1 => 0u64..10_000_000_000_000,
        1 => Just(u64::MAX / 2),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_takes_anything(
        strict in any::<bool>(),
        qos in any::<bool>(),
        ready_to_reset in any::<bool>(),
        exchange in any::<bool>(),
        steps in prop::collection::vec((wait(), event()), 1..300),
    ) {
        let mut cfg = Config::DEFAULT;
        cfg.set_mode(if strict { Mode::Strict } else { Mode::WorkConserving });
        cfg.set_policy(if qos { Policy::Qos } else { Policy::RoundRobin });
        cfg.set_protocol(Protocol { ready_to_reset, exchange });
        let mut engine = Engine::new(cfg);
        let mut out = Actions::new();
        let (mut now, mut reads) = (0u64, 0);
        for (wait, event) in steps {
            now = now.saturating_add(wait);
            engine.step(now, numbered(event, reads), &mut out);
            prop_assert_eq!(out.lost(), 0);
            for action in &out {
                if let Action::ReadResets(read) = action {
                    reads = *read;
                }
            }
            for vf in VfId::all() {
                engine.vf_stats(vf, now);
            }
            // Timers alone lead to a deadline in the future, or to none.
            let mut tries = 0;
            while now < u64::MAX && engine.deadline().is_some_and(|at| at <= now) {
                engine.step(now, Event::Timer, &mut out);
                tries += 1;
                prop_assert!(tries < 24, "{:?}", engine);
            }
        }
    }

    #[test]
    fn a_table_that_exists_is_right(
        total in any::<u64>(),
        pf in 0u64..1 << 34,
        units in prop::collection::vec(0u64..1 << 10, 0..20),
    ) {
        let total = total >> 22;
        let sizes: Vec<u64> = units.iter().map(|n| n * UNIT).collect();
        for table in [
            Partition::explicit(total, pf, &sizes),
            Partition::equal(total, pf, sizes.len()),
        ]
        .into_iter()
        .flatten()
        {
            let mut parts = vec![table.pf(), table.context()];
            parts.extend(VfId::all().filter_map(|vf| table.vf(vf)));
            prop_assert_eq!(parts.len(), sizes.len() + 2);
            prop_assert!(parts[0].size() >= pf);
            for pair in parts.windows(2) {
                prop_assert!(pair[0].size() > 0);
                prop_assert_eq!(pair[0].range().end, pair[1].offset());
            }
            prop_assert!(parts.last().is_some_and(|part| part.range().end <= total));
        }
    }
}
