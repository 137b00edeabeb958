// SPDX-License-Identifier: GPL-2.0

//! The GPU is taken away and given back by somebody else, at the worst moments.

use gim_core::{
    config::Config,
    engine::{Adoption, Held, Phase},
    event::Event,
    mailbox::GuestMessage,
    types::{Fcn, Ns, MS},
    vf::VfState,
};
use gim_core_sim::{
    guest::{Guest, Kind, Stage},
    rng::Rng,
    world::{vf, World},
};

const SEC: Ns = 1_000 * MS;

/// A world in which these guests are loaded.
fn loaded(kinds: &[Kind]) -> World {
    let mut cfg = Config::DEFAULT;
    cfg.set_guard(false);
    let mut world = World::new(cfg, Rng::new(11));
    world.fills = false;
    world
        .enable(kinds.iter().map(|&kind| Guest::new(kind)).collect())
        .unwrap();
    world
        .run_until(kinds.len() as u64 * 300 * MS + 3 * SEC)
        .unwrap();
    world
}

fn wait(world: &mut World, time: Ns) {
    world.run_until(world.now + time).unwrap();
}

fn states(world: &World) -> Vec<VfState> {
    let all = 0..world.guests.len();
    all.map(|n| world.engine.vf_state(vf(n))).collect()
}

/// Takes the GPU away; while it is, nothing runs but what the hardware had begun.
fn away(world: &mut World) {
    world.detach().unwrap();
    assert!(world.engine.detached());
    assert_eq!(world.engine.phase(), Phase::Recovering);
    assert!(!world.engine.awaits_command());
}

fn back(world: &mut World) {
    world.attach().unwrap();
    assert_eq!(world.engine.phase(), Phase::On);
}

#[test]
fn everybody_comes_back() {
    // At any moment of a switch and of a slice.
    for at in 0..60 {
        let mut world = loaded(&[Kind::Steady; 4]);
        wait(&mut world, at * 123_457);
        away(&mut world);
        assert_eq!(states(&world), [VfState::Resetting; 4]);
        back(&mut world);
        wait(&mut world, 5 * SEC);
        assert_eq!(states(&world), [VfState::Active; 4]);
    }
}

#[test]
fn the_pf_is_at_work_or_parked() {
    for works in [false, true] {
        let mut world = loaded(&[Kind::Steady; 2]);
        world.feed(Event::PfWork(works)).unwrap();
        wait(&mut world, 7 * MS);
        away(&mut world);
        world.feed(Event::PfWork(!works)).unwrap();
        back(&mut world);
        wait(&mut world, 5 * SEC);
        assert_eq!(states(&world), [VfState::Active; 2]);
        let runs = world.gpu.run_time(Fcn::Pf, world.now);
        wait(&mut world, SEC);
        let runs = world.gpu.run_time(Fcn::Pf, world.now) - runs;
        assert_eq!(runs > 0, !works);
    }
}

#[test]
fn a_pause_of_all_is_confirmed_when_it_is_back() {
    // Before, and while it is away.
    for before in [true, false] {
        let mut world = loaded(&[Kind::Steady; 2]);
        if before {
            world.feed(Event::PauseAll).unwrap();
        }
        away(&mut world);
        if !before {
            world.feed(Event::PauseAll).unwrap();
        }
        assert!(!world.all_paused);
        assert_eq!(world.engine.all_held(), Held::Pending);
        back(&mut world);
        wait(&mut world, 10 * MS);
        assert!(world.all_paused);
        assert_eq!(states(&world), [VfState::Resetting; 2]);
        world.feed(Event::ResumeAll).unwrap();
        wait(&mut world, 5 * SEC);
        assert_eq!(states(&world), [VfState::Active; 2]);
    }
}

#[test]
fn a_paused_vf_is_clean_and_still_paused() {
    let mut world = loaded(&[Kind::Steady; 2]);
    world.feed(Event::Pause(vf(0))).unwrap();
    wait(&mut world, 20 * MS);
    assert!(world.gpu.is_saved(vf(0)));
    away(&mut world);
    back(&mut world);
    wait(&mut world, 5 * SEC);
    assert_eq!(states(&world), [VfState::Suspended, VfState::Active]);
    assert!(!world.engine.loaded(vf(0)), "its state is lost");
    world.feed(Event::Resume(vf(0))).unwrap();
    // Its guest was told, and has asked meanwhile.
    wait(&mut world, 20 * SEC);
    assert_eq!(states(&world), [VfState::Active; 2]);
}

#[test]
fn an_adoption_ends_with_what_was_filled() {
    for taken in [true, false] {
        let mut world = loaded(&[Kind::Steady; 2]);
        world.guests[1].stage = Stage::Vanished;
        world.feed(Event::ResetVf(vf(1))).unwrap();
        if taken {
            wait(&mut world, SEC);
        }
        world.feed(Event::Adopt(vf(1))).unwrap();
        if taken {
            wait(&mut world, MS);
            assert_eq!(world.engine.adoption(vf(1)), Adoption::Taken);
        }
        away(&mut world);
        back(&mut world);
        wait(&mut world, SEC);
        let want = match taken {
            true => (VfState::Available, Adoption::None),
            // It has waited for a clean VF, and has got one.
            false => (VfState::Suspended, Adoption::Taken),
        };
        let has = (world.engine.vf_state(vf(1)), world.engine.adoption(vf(1)));
        assert_eq!(has, want);
    }
}

#[test]
fn who_had_full_access_asks_again_and_who_waited_is_served() {
    let mut world = loaded(&[Kind::Steady, Kind::Hogging, Kind::Steady, Kind::Steady]);
    world.hear(vf(1), GuestMessage::ReqInit.words()).unwrap();
    for _ in 0..200 {
        if world.engine.vf_state(vf(1)) != VfState::FullAccess {
            wait(&mut world, MS);
        }
    }
    assert_eq!(world.engine.vf_state(vf(1)), VfState::FullAccess);
    away(&mut world);
    back(&mut world);
    wait(&mut world, 5 * SEC);
    for n in [0, 2, 3] {
        assert_eq!(world.engine.vf_state(vf(n)), VfState::Active);
    }
}

#[test]
fn a_reset_of_a_vf_that_is_going_on_does_no_harm() {
    for at in [0, 300_000, 5 * MS, 100 * MS, 108 * MS, 115 * MS] {
        let mut world = loaded(&[Kind::Steady; 2]);
        world.feed(Event::ResetVf(vf(0))).unwrap();
        wait(&mut world, at);
        away(&mut world);
        wait(&mut world, 50_000);
        if world.detached {
            back(&mut world);
        }
        wait(&mut world, 5 * SEC);
        assert_eq!(states(&world), [VfState::Active; 2]);
    }
}

#[test]
fn our_own_reset_of_the_gpu_and_theirs() {
    // Ours ends while it is away, or afterwards; well, or because they were in its way.
    for (first, fails) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut world = loaded(&[Kind::Steady; 4]);
        world.gpu.faults.pf_hang = 10_000;
        world.feed(Event::PfWork(true)).unwrap();
        wait(&mut world, 200 * MS);
        assert_eq!(world.engine.phase(), Phase::Recovering);
        world.gpu.faults.pf_hang = 0;
        world.feed(Event::PfWork(false)).unwrap();
        world.weather.work_fails = if fails { 10_000 } else { 0 };
        world.detach().unwrap();
        if !first {
            world.attach().unwrap();
            assert_eq!(world.engine.phase(), Phase::Recovering);
        }
        wait(&mut world, SEC);
        world.weather.work_fails = 0;
        if world.detached {
            assert_eq!(world.engine.phase(), Phase::Recovering);
            world.attach().unwrap();
        }
        assert_eq!(world.engine.phase(), Phase::On, "{first} {fails}");
        wait(&mut world, 5 * SEC);
        for n in 0..4 {
            // A scrub that has failed meanwhile is no fault of the reset.
            let state = world.engine.vf_state(vf(n));
            let may = fails && state == VfState::Quarantined;
            assert!(
                state == VfState::Active || may,
                "VF{n} {state} {first} {fails}"
            );
        }
    }
}

#[test]
fn what_was_gone_or_dead_comes_back_with_the_bus() {
    let mut world = loaded(&[Kind::Steady; 4]);
    world.gpu.gone = true;
    wait(&mut world, SEC);
    assert_eq!(world.engine.phase(), Phase::Gone);
    world.gpu.gone = false;
    away(&mut world);
    back(&mut world);
    wait(&mut world, 5 * SEC);
    assert_eq!(states(&world), [VfState::Active; 4]);

    let mut cfg = Config::DEFAULT;
    cfg.set_gpu_reset(false);
    let mut world = World::new(cfg, Rng::new(5));
    world.enable(vec![Guest::new(Kind::Steady); 2]).unwrap();
    wait(&mut world, 2 * SEC);
    world.gpu.faults.pf_hang = 10_000;
    world.feed(Event::PfWork(true)).unwrap();
    wait(&mut world, SEC);
    assert_eq!(world.engine.phase(), Phase::Dead);
    world.gpu.faults.pf_hang = 0;
    world.feed(Event::PfWork(false)).unwrap();
    away(&mut world);
    back(&mut world);
    // The VFs were given up with the GPU, and have another chance when the host says so.
    assert_eq!(states(&world), [VfState::Quarantined; 2]);
    world.feed(Event::ResetVf(vf(0))).unwrap();
    wait(&mut world, 15 * SEC);
    assert_eq!(states(&world), [VfState::Active, VfState::Quarantined]);
}

#[test]
fn who_was_given_up_with_a_dead_gpu_begins_anew() {
    let mut cfg = Config::DEFAULT;
    cfg.set_gpu_reset(false);
    let mut world = World::new(cfg, Rng::new(5));
    world.enable(vec![Guest::new(Kind::Steady); 2]).unwrap();
    wait(&mut world, 2 * SEC);
    assert!(world.engine.loaded(vf(0)));
    world.gpu.faults.pf_hang = 10_000;
    world.feed(Event::PfWork(true)).unwrap();
    wait(&mut world, SEC);
    assert_eq!(world.engine.phase(), Phase::Dead);
    world.gpu.faults.pf_hang = 0;
    world.feed(Event::PfWork(false)).unwrap();
    away(&mut world);
    back(&mut world);
    // Its guest has vanished, and the VF goes to another one by way of a pause.
    world.guests[0].stage = Stage::Vanished;
    world.feed(Event::Pause(vf(0))).unwrap();
    world.feed(Event::ResetVf(vf(0))).unwrap();
    wait(&mut world, SEC);
    assert_eq!(world.engine.vf_state(vf(0)), VfState::Suspended);
    assert!(!world.engine.loaded(vf(0)), "its state is lost");
    world.feed(Event::Resume(vf(0))).unwrap();
    wait(&mut world, SEC);
    assert_eq!(world.engine.vf_state(vf(0)), VfState::Available);
}

#[test]
fn vfs_are_disabled_while_it_is_away() {
    let mut world = loaded(&[Kind::Steady; 4]);
    away(&mut world);
    world.disable().unwrap();
    assert_eq!(world.engine.phase(), Phase::Off);
    // World::disable has waited for it to come back.
    assert!(world.engine.may_enable());
    world.enable(vec![Guest::new(Kind::Steady); 4]).unwrap();
    wait(&mut world, 3 * SEC);
    assert_eq!(states(&world), [VfState::Active; 4]);
}
