// SPDX-License-Identifier: GPL-2.0

//! One high-resolution timer that is armed again and again, from any context.
//!
//! The `kernel` crate's handles cancel when dropped, so each new arming would need a new handle
//! whose predecessor must not be dropped. Here arming has no handle; the owner cancels on drop.

use kernel::{
    bindings,
    interrupt::LocalInterruptDisabled,
    time::{
        hrtimer::{
            HasHrTimer,
            HrTimerCallbackContext,
            RelativePinnedMode, //
        },
        Delta,
        Monotonic, //
    },
};

/// The mode of all timers of this driver: the callback runs on the CPU that armed it, in hard
/// interrupt context. Not one of the `Hard` modes: those promise to take no `spinlock_t`, which on
/// PREEMPT_RT would sleep; this one would be moved to a softirq there.
pub(crate) type Mode = RelativePinnedMode<Monotonic>;

/// An owner of a timer that can be armed without a handle.
///
/// # Safety
///
/// The implementer must call [`cancel`] when it is dropped.
pub(crate) unsafe trait Alarm: HasHrTimer<Self, TimerMode = Mode> + Sized {}

/// Runs `f` in a timer callback, of which `ctx` is the proof, where interrupts are disabled.
pub(crate) fn in_callback<T: Alarm, R>(
    ctx: &HrTimerCallbackContext<'_, T>,
    f: impl FnOnce(&LocalInterruptDisabled) -> R,
) -> R {
    let _ = ctx;
    // SAFETY: Timer callbacks run with interrupts disabled (PREEMPT_RT is off).
    f(unsafe { LocalInterruptDisabled::assume_disabled() })
}

/// The time now, in nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: May be called in any context but NMI.
    let now = unsafe { bindings::ktime_get() };
    // The monotonic clock starts at boot: it is never negative.
    u64::try_from(now).unwrap_or(0)
}

/// Arms the timer for `at` (ns of the monotonic clock), in place of any earlier arming.
pub(crate) fn arm<T: Alarm>(owner: &T, at: u64) {
    let wait = i64::try_from(at.saturating_sub(now_ns())).unwrap_or(i64::MAX);
    // SAFETY: `owner` is valid now, and when it goes it cancels the timer, by the trait's contract.
    unsafe { T::start(owner, Delta::from_nanos(wait)) }
}

/// Cancels the timer; waits for a callback that is running. Not from the callback itself.
pub(crate) fn cancel<T: Alarm>(owner: &T) {
    // SAFETY: `owner` is valid, and its timer was initialised when it was made.
    unsafe { bindings::hrtimer_cancel(T::c_timer_ptr(owner).cast_mut()) };
}
