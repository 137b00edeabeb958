// SPDX-License-Identifier: GPL-2.0

//! The driver leaves and another goes on from the record.

use super::{
    super::super::record::{
        Reader,
        Unfit,
        Writer,
        WORDS_MAX, //
    },
    *, //
};

cases! {
    gim_engine_leave:
    whoever_runs_keeps_the_engine,
    the_next_goes_on_where_the_last_has_left,
    the_first_thing_it_does_is_to_look_around,
    a_full_access_is_finished_first_and_none_begins,
    it_stays_if_it_is_told_to,
    a_gpu_that_serves_nobody_is_not_left,
    the_length_of_a_record_is_known,
    a_record_that_cannot_be_is_refused,
}

/// Four VFs, of which 0 to 2 are loaded.
fn bench() -> Bench {
    let mut bench = Bench::new(4);
    for n in 0..3 {
        bench.load(vf(n));
    }
    bench.seen.clear();
    bench
}

fn leave(bench: &mut Bench) {
    bench.feed(Event::Leave);
    for _ in 0..20 {
        if bench.engine.has_left() {
            break;
        }
        bench.now += 10 * US;
        bench.done(CmdStatus::Done);
    }
    assert!(bench.engine.has_left());
    assert!(bench.seen.contains(&Action::Left { ok: true }));
    bench.seen.clear();
}

fn record(bench: &Bench) -> Vec<u64> {
    let mut words: Vec<u64> = (0..WORDS_MAX).map(|_| 0).collect();
    let mut to = Writer::new(&mut words);
    bench.engine.write(&mut to);
    let len = to.finish().unwrap().len();
    words.iter().take(len).copied().collect()
}

fn read(words: &[u64], now: Ns) -> Result<Box<Engine>, Unfit> {
    let mut engine = Box::new(Engine::new(Config::DEFAULT));
    let mut from = Reader::open(words)?;
    engine.read(&mut from, now)?;
    from.end()?;
    Ok(engine)
}

fn ran(bench: &Bench, vf: VfId) -> Ns {
    bench.engine.vf_stats(vf, bench.now).run
}

/// The driver is replaced, which takes a while; returns the old one's engine.
fn replace(bench: &mut Bench) -> Box<Engine> {
    let words = record(bench);
    bench.now += 80 * MS;
    let new = read(&words, bench.now).unwrap();
    let old = core::mem::replace(&mut bench.engine, new);
    bench.feed(Event::Arrive);
    old
}

fn whoever_runs_keeps_the_engine() {
    let mut bench = bench();
    while bench.engine.seat.running() != Some(Fcn::Vf(vf(1))) {
        bench.tick();
        bench.now += 10 * US;
        bench.done(CmdStatus::Done);
    }
    bench.now += 10 * US;
    leave(&mut bench);
    // Its slice is over, and nobody takes it off.
    assert_eq!(bench.engine.deadline(), None);
    bench.now += 20 * MS;
    bench.feed(Event::Timer);
    assert_eq!(bench.commands(), []);
    let before = ran(&bench, vf(1));
    let _ = replace(&mut bench);
    // Then it makes room at once, owes nothing for that, and has it in its account.
    assert_eq!(bench.commands(), [(CmdKind::Idle, Fcn::Vf(vf(1)))]);
    bench.now += 10 * US;
    bench.done(CmdStatus::Done);
    assert!(ran(&bench, vf(1)) >= before + 80 * MS);
    assert!(bench.engine.vfs[1].debt <= 10 * US);
    bench.settle();
    let first = |fcn| {
        Action::Note(Note::Switch {
            from: Some(Fcn::Vf(vf(1))),
            to: fcn,
            took: 40_000,
        })
    };
    assert!(
        bench.seen.contains(&first(Fcn::Vf(vf(2)))),
        "{:?}",
        bench.seen
    );
}

fn the_next_goes_on_where_the_last_has_left() {
    let mut bench = bench();
    bench.feed(Event::Pause(vf(2)));
    bench.settle();
    // One that waits for its turn with full access, as the limits say.
    for _ in 0..40 {
        bench
            .engine
            .spend(vf(3), super::super::super::guard::Limit::Requests, 1);
    }
    bench.send(vf(3), GuestMessage::ReqInit);
    leave(&mut bench);
    let old = replace(&mut bench);
    let new = &bench.engine;
    assert_eq!(new.config(), old.config());
    assert_eq!((new.count(), new.phase()), (4, Phase::On));
    for each in VfId::all() {
        assert_eq!(new.vf_state(each), old.vf_state(each), "{each:?}");
        assert_eq!(new.wants(each), old.wants(each), "{each:?}");
        assert_eq!(new.loaded(each), old.loaded(each), "{each:?}");
        assert_eq!(new.held(each), old.held(each), "{each:?}");
        let (had, has) = (&old.vfs[each.index()], &new.vfs[each.index()]);
        assert_eq!(has.context, had.context);
        assert_eq!(has.stats.grants, had.stats.grants);
        assert_eq!(has.stats.waits, had.stats.waits);
    }
    assert_eq!(new.queue.as_slice(), [vf(3)]);
    assert_eq!(new.stats.switches, old.stats.switches);
    assert!(new.held_until(vf(3)) > bench.now);
    bench.feed(Event::Resume(vf(2)));
    bench.settle();
    let before = ran(&bench, vf(2));
    bench.settle();
    assert!(ran(&bench, vf(2)) > before);
}

fn the_first_thing_it_does_is_to_look_around() {
    let mut bench = bench();
    leave(&mut bench);
    // What guests send meanwhile is left to the next one.
    assert!(!bench.engine.takes_messages(vf(3)));
    let words = record(&bench);
    bench.engine = read(&words, bench.now).unwrap();
    bench.answers = false;
    bench.feed(Event::Arrive);
    let read = read_in(&bench.out).unwrap();
    for each in VfId::all().take(4) {
        assert!(bench.seen.contains(&Action::Listen(each)));
    }
    // The guest of the VF that is on the engine has reset it.
    let Some(Fcn::Vf(on)) = bench.engine.seat.fcn() else {
        panic!("nobody is on the engine");
    };
    assert!(!bench.engine.awaits_command());
    bench.answers = true;
    let mask = on.bit();
    bench.feed(Event::ResetSeen { read, mask });
    assert_eq!(bench.engine.vf_state(on), VfState::Resetting);
    bench.settle();
    assert_eq!(bench.engine.vf_state(on), VfState::Available);
}

fn a_full_access_is_finished_first_and_none_begins() {
    let mut bench = bench();
    bench.send(vf(3), GuestMessage::ReqInit);
    for _ in 0..8 {
        bench.settle();
    }
    assert_eq!(bench.engine.vf_state(vf(3)), VfState::FullAccess);
    bench.feed(Event::Leave);
    bench.settle();
    assert!(!bench.engine.has_left());
    bench.send(vf(3), GuestMessage::RelInit);
    bench.send(vf(0), GuestMessage::ReqFini);
    bench.settle();
    assert!(bench.engine.has_left());
    assert_eq!(bench.engine.vf_state(vf(3)), VfState::Active);
    assert_eq!(bench.engine.vf_state(vf(0)), VfState::Active);
    let _ = replace(&mut bench);
    for _ in 0..8 {
        bench.settle();
    }
    assert_eq!(bench.engine.vf_state(vf(0)), VfState::FullAccess);
}

fn it_stays_if_it_is_told_to() {
    let mut bench = bench();
    leave(&mut bench);
    bench.now += 50 * MS;
    bench.feed(Event::Stay);
    assert!(!bench.engine.has_left());
    let before: Vec<Ns> = (0..3).map(|n| ran(&bench, vf(n))).collect();
    for _ in 0..3 {
        bench.settle();
    }
    for n in 0..3 {
        assert!(ran(&bench, vf(n)) > before[n as usize]);
    }
}

fn a_gpu_that_serves_nobody_is_not_left() {
    let mut bench = Bench::off();
    bench.feed(Event::Leave);
    assert_eq!(bench.seen, [Action::Left { ok: false }]);
    bench.feed(Event::Enable { count: 2 });
    bench.settle();
    bench.seen.clear();
    bench.feed(Event::Gone);
    bench.feed(Event::Leave);
    assert!(bench.seen.contains(&Action::Left { ok: false }));
    assert!(!bench.engine.has_left());
}

/// Whoever changes this raises [`super::super::super::record::VERSION`].
fn the_length_of_a_record_is_known() {
    for (count, words) in [(1, 197), (16, 197 + 15 * 55)] {
        let mut bench = Bench::new(count);
        leave(&mut bench);
        assert_eq!(record(&bench).len(), words, "{count} VFs");
    }
}

fn a_record_that_cannot_be_is_refused() {
    let mut bench = bench();
    leave(&mut bench);
    let words = record(&bench);
    let again = |at: usize, word: u64| {
        let mut all: Vec<u64> = (0..WORDS_MAX).map(|_| 0).collect();
        let mut to = Writer::new(&mut all);
        for (n, &had) in words.iter().enumerate().skip(4) {
            to.put(if n == at { word } else { had });
        }
        let len = to.finish().unwrap().len();
        read(&all[..len], bench.now).err()
    };
    assert_eq!(again(0, 0), None);
    // Behind the header and the settings: how many VFs, what is on the engine and who.
    let at = 4 + SETTINGS;
    let value = |what, got| Some(Unfit::Value { what, got });
    for count in [0, 3, 5, 17, u64::MAX] {
        assert_eq!(again(at, count), value("number of VFs", count));
    }
    assert_eq!(again(at + 1, 4), value("seat", 4));
    assert_eq!(again(at + 2, 17), value("function", 17));
    assert_eq!(again(at + 2, 0), value("function on the engine", 0));
    // VF3 has no driver.
    assert_eq!(again(at + 2, 4), value("function on the engine", 4));
}

/// Words of the settings.
const SETTINGS: usize = 106;
