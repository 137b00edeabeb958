// SPDX-License-Identifier: GPL-2.0

//! A million random events, over all numbers of VFs and both modes.

use gim_core_sim::campaign;

#[test]
fn a_million_events() {
    let (seed, events) = (campaign::seed_or(1), campaign::events(1_000_000));
    println!("GIM_SEED={seed} GIM_EVENTS={events}");
    match campaign::run(seed, events) {
        Ok(sum) => {
            println!("{sum:?}");
            assert!(sum.events >= events);
            assert!(sum.switches > 0 && sum.answered > 0);
            assert!(events < 1_000_000 || sum.adoptions.iter().all(|&n| n > 0));
            assert!(events < 1_000_000 || sum.detachments > 0);
            assert!(events < 1_000_000 || sum.lives > 0);
            assert!(events < 1_000_000 || sum.abandoned > 0);
        }
        Err(e) => panic!("{e}"),
    }
}
