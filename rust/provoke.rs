// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose: a debug kernel must complain of each, else its silence proves nothing.
//!
//! The parameter `provoke` of `gim_kunit` makes them; tests/vm/checkers.sh looks for what the
//! kernel says. Each leaves the kernel able to go on.

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*, //
};

/// Reads one byte behind an allocation: KASAN.
fn read_beyond() -> Result {
    let small = KBox::new([0u8; 24], GFP_KERNEL)?;
    // SAFETY: There is none: this is the mistake. The byte is in the same cache line as the array
    // and only read, so nothing comes of it.
    let byte = unsafe { small.as_ptr().add(24).read_volatile() };
    pr_info!("the byte behind the box is {byte}\n");
    Ok(())
}

/// Takes two locks in both orders: lockdep.
fn deadlock() {
    pin_init::stack_pin_init!(let a = new_mutex!((), "gim_provoke_a"));
    pin_init::stack_pin_init!(let b = new_mutex!((), "gim_provoke_b"));
    for (first, second) in [(&a, &b), (&b, &a)] {
        let outer = first.lock();
        drop(second.lock());
        drop(outer);
    }
}

/// Takes a lock that may sleep under one that must not.
fn sleep_in_atomic() {
    pin_init::stack_pin_init!(let spin = new_spinlock!((), "gim_provoke_spin"));
    pin_init::stack_pin_init!(let mutex = new_mutex!((), "gim_provoke_mutex"));
    let held = spin.lock();
    drop(mutex.lock());
    drop(held);
}

/// Forgets an allocation: kmemleak.
fn leak() -> Result {
    core::mem::forget(KBox::new([0x5Au8; 200], GFP_KERNEL)?);
    Ok(())
}

/// All of them.
pub(crate) fn everything() -> Result {
    leak()?;
    // First: any report, and one of KASAN too, ends lockdep.
    deadlock();
    read_beyond()?;
    sleep_in_atomic();
    Ok(())
}
