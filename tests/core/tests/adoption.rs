// SPDX-License-Identifier: GPL-2.0

//! VFs that are filled from a stream, and VFs whose state is taken, each with a known right outcome.

use gim_core::{
    access::Access,
    account::VfStats,
    config::Config,
    engine::Adoption,
    event::Event,
    mailbox::GuestMessage,
    types::{Fcn, VfId, MS},
    vf::VfState,
};
use gim_core_sim::{
    guest::{Guest, Kind, Stage},
    rng::Rng,
    world::{vf, World},
};

/// A world whose first VFs are loaded; the last one is free, and its guest never does anything.
fn world(loaded: usize) -> World {
    let mut cfg = Config::DEFAULT;
    cfg.set_guard(false);
    let mut world = World::new(cfg, Rng::new(3));
    world.fills = false;
    let mut guests = vec![Guest::new(Kind::Steady); loaded];
    let mut silent = Guest::new(Kind::Steady);
    silent.stage = Stage::Loaded;
    guests.push(silent);
    world.enable(guests).unwrap();
    world.run_until(2_000 * MS).unwrap();
    // It has fallen asleep, and hears nothing.
    world.guests[loaded].stage = Stage::Vanished;
    world
}

fn ran(world: &World, vf: VfId) -> u64 {
    world.gpu.run_time(Fcn::Vf(vf), world.now)
}

fn wait(world: &mut World, ms: u64) {
    world.run_until(world.now + ms * MS).unwrap();
}

fn adopt(world: &mut World, vf: VfId) {
    world.feed(Event::Adopt(vf)).unwrap();
    wait(world, 1);
    assert_eq!(world.engine.adoption(vf), Adoption::Taken);
    assert_eq!(world.engine.vf_state(vf), VfState::Suspended);
}

fn fill(world: &mut World, vf: VfId, loaded: bool, want: Option<Access>) {
    world.gpu.plant(vf, true);
    world.feed(Event::Adopted { vf, loaded, want }).unwrap();
}

#[test]
fn a_restored_vf_goes_on_where_its_image_was() {
    let mut world = world(1);
    let vf = vf(1);
    adopt(&mut world, vf);
    wait(&mut world, 300);
    fill(&mut world, vf, true, None);
    assert_eq!(world.engine.adoption(vf), Adoption::Restored);
    wait(&mut world, 300);
    assert_eq!(ran(&world, vf), 0, "it runs before it was resumed");
    world.feed(Event::Resume(vf)).unwrap();
    // The hardware's judge has seen LOAD of what was planted, and no INIT.
    wait(&mut world, 300);
    assert!(ran(&world, vf) > 100 * MS && !world.gpu.was_initialised(vf));
    assert!(world.engine.loaded(vf));
    assert_eq!(world.engine.adoption(vf), Adoption::None);
}

#[test]
fn a_restored_request_is_granted() {
    let mut world = world(1);
    let vf = vf(1);
    adopt(&mut world, vf);
    fill(&mut world, vf, false, Some(Access::Init));
    wait(&mut world, 300);
    assert_eq!(world.engine.vf_state(vf), VfState::Suspended);
    assert_eq!(world.engine.wants(vf), Some(Access::Init));
    world.guests[1].stage = Stage::Asked(GuestMessage::ReqInit);
    world.feed(Event::Resume(vf)).unwrap();
    wait(&mut world, 300);
    assert_eq!(world.engine.vf_state(vf), VfState::Active);
    assert_eq!(world.engine.vf_stats(vf, world.now).grants, 1);
}

#[test]
fn a_reset_makes_an_end_of_a_restore() {
    // By the host, by the guest or its VMM; before and after the VF was filled.
    for (host, filled) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut world = world(1);
        let vf = vf(1);
        adopt(&mut world, vf);
        if filled {
            fill(&mut world, vf, true, Some(Access::Fini));
        }
        match host {
            true => world.feed(Event::ResetVf(vf)).unwrap(),
            false => world.flr(vf),
        }
        wait(&mut world, 1_000);
        assert_eq!(world.engine.vf_state(vf), VfState::Available);
        assert_eq!(world.engine.adoption(vf), Adoption::None);
        assert_eq!(
            (world.engine.loaded(vf), world.engine.wants(vf)),
            (false, None)
        );
        // The host comes too late.
        let (loaded, want) = (true, None);
        world.feed(Event::Adopted { vf, loaded, want }).unwrap();
        world.feed(Event::Resume(vf)).unwrap();
        wait(&mut world, 300);
        assert_eq!(world.engine.vf_state(vf), VfState::Available);
        assert_eq!(ran(&world, vf), 0);
        // It can be adopted again.
        adopt(&mut world, vf);
    }
}

/// The host gives up while it waits for a VF that is being cleaned: nobody would ever resume it.
#[test]
fn giving_up_ends_the_waiting() {
    let mut world = world(1);
    let vf = vf(1);
    world.flr(vf);
    world.run_until(world.now + 1).unwrap();
    world.feed(Event::Adopt(vf)).unwrap();
    assert_eq!(world.engine.vf_state(vf), VfState::Resetting);
    assert_eq!(world.engine.adoption(vf), Adoption::Waiting);
    world.feed(Event::ResetVf(vf)).unwrap();
    assert_eq!(world.engine.adoption(vf), Adoption::None);
    world.feed(Event::Resume(vf)).unwrap();
    wait(&mut world, 1_000);
    assert_eq!(world.engine.vf_state(vf), VfState::Available);
    adopt(&mut world, vf);
}

#[test]
fn only_clean_and_free_vfs_are_adopted() {
    let mut world = world(1);
    // Active, not enabled, suspended.
    world.feed(Event::Pause(vf(1))).unwrap();
    for n in [0, 1, 2] {
        world.feed(Event::Adopt(vf(n))).unwrap();
        assert_eq!(world.engine.adoption(vf(n)), Adoption::None, "VF{n}");
    }
    world.feed(Event::Resume(vf(1))).unwrap();
    // A reset that nobody has noticed yet is noticed, and the scrub after it is waited for.
    world.flr(vf(1));
    world.run_until(world.now + 1).unwrap();
    world.feed(Event::Adopt(vf(1))).unwrap();
    assert_eq!(world.engine.vf_state(vf(1)), VfState::Resetting);
    assert_eq!(world.engine.adoption(vf(1)), Adoption::Waiting);
    wait(&mut world, 100);
    assert_eq!(world.engine.adoption(vf(1)), Adoption::Taken);
}

#[test]
fn a_vf_that_cannot_be_reset_is_refused_in_the_end() {
    let mut world = world(1);
    world.weather.work_fails = 10_000;
    world.feed(Event::ResetVf(vf(1))).unwrap();
    world.feed(Event::Adopt(vf(1))).unwrap();
    assert_eq!(world.engine.adoption(vf(1)), Adoption::Waiting);
    wait(&mut world, 1_000);
    assert_eq!(world.engine.vf_state(vf(1)), VfState::Quarantined);
    assert_eq!(world.engine.adoption(vf(1)), Adoption::None);
}

#[test]
fn disabling_ends_adoptions() {
    for waits in [false, true] {
        let mut world = world(1);
        match waits {
            true => {
                world.feed(Event::ResetVf(vf(1))).unwrap();
                world.feed(Event::Adopt(vf(1))).unwrap();
            }
            false => adopt(&mut world, vf(1)),
        }
        world.disable().unwrap();
        assert_eq!(world.engine.adoption(vf(1)), Adoption::None);
    }
}

#[test]
fn messages_of_a_sealed_vf_are_read_when_it_runs_again() {
    let mut world = world(3);
    let vf = vf(0);
    world.feed(Event::Pause(vf)).unwrap();
    wait(&mut world, 10);
    assert!(world.engine.takes_messages(vf));
    assert_eq!(world.engine.vf_state(vf), VfState::Suspended);
    world.feed(Event::Seal(vf)).unwrap();
    assert!(!world.engine.takes_messages(vf));
    let words = GuestMessage::ReqInit.words();
    world.hear(vf, words).unwrap();
    wait(&mut world, 500);
    assert!(world.engine.loaded(vf), "its state was taken as it was");
    world.guests[0].stage = Stage::Asked(GuestMessage::ReqInit);
    world.feed(Event::Resume(vf)).unwrap();
    wait(&mut world, 500);
    // The message was that of a guest that has crashed and begins anew.
    assert_eq!(world.engine.vf_stats(vf, world.now).grants, 2);
}

#[test]
fn a_paused_vf_is_paused_also_between_load_and_run() {
    // A pause at any moment of the switch is confirmed soon, whoever else there is.
    for at in 0..400 {
        let mut world = world(1);
        let vf = vf(0);
        world.feed(Event::Pause(vf)).unwrap();
        wait(&mut world, 10);
        world.feed(Event::Resume(vf)).unwrap();
        world.run_until(world.now + at * 1_000).unwrap();
        world.referee.answer_bound = 5 * MS;
        world.feed(Event::Pause(vf)).unwrap();
        wait(&mut world, 6);
        assert!(world.gpu.is_saved(vf));
    }
}

#[test]
fn counters_go_along() {
    let mut world = world(1);
    let vf = vf(1);
    let mut had = VfStats::NEW;
    (had.run, had.slices, had.gap_max) = (1_000, 7, 5 * MS);
    let had = had.counters();
    assert!(!world.engine.add_counters(vf, &had), "it is not adopted");
    adopt(&mut world, vf);
    let before = world.engine.vf_stats(vf, world.now);
    assert!(world.engine.add_counters(vf, &had));
    let after = world.engine.vf_stats(vf, world.now);
    assert_eq!(after.run, before.run + 1_000);
    assert_eq!(after.slices, before.slices + 7);
    assert_eq!(after.gap_max, before.gap_max.max(5 * MS));
    fill(&mut world, vf, true, None);
    assert!(!world.engine.add_counters(vf, &had), "it was filled");
}
