// SPDX-License-Identifier: GPL-2.0

//! The states of a VFIO migration (`<linux/vfio.h>`), and what each arc between them asks for.
//!
//! ```text
//!              RUNNING <-----------> PRE_COPY            save: begins or ends
//!                 ^                     ^
//!                 | pause, resume       | pause, resume
//!                 v                     v
//!            RUNNING_P2P <--------> PRE_COPY_P2P         save: begins or ends
//!                 ^                     |
//!                 | nothing             | last
//!                 v                     v
//!  RESUMING <--> STOP <------------> STOP_COPY           save: begins or ends
//!     restore, load
//! ```
//!
//! VFIO's core walks the other transitions arc by arc. A VF does DMA only while it is on the
//! engine, so one that is not to do any peer to peer is paused, as one that is stopped.

/// A state, by the numbers of `enum vfio_device_mig_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It failed; a reset leads out.
    Error = 0,
    /// It does nothing.
    Stop = 1,
    /// It runs.
    Running = 2,
    /// It does nothing, and is read.
    StopCopy = 3,
    /// It is being filled.
    Resuming = 4,
    /// It does no DMA.
    RunningP2p = 5,
    /// It runs, and is read.
    PreCopy = 6,
    /// It does no DMA, and is read.
    PreCopyP2p = 7,
}

impl State {
    /// All of them, by their numbers.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Stop,
        Self::Running,
        Self::StopCopy,
        Self::Resuming,
        Self::RunningP2p,
        Self::PreCopy,
        Self::PreCopyP2p,
    ];

    /// The state with this number.
    pub fn new(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        // CAST: The discriminants are the numbers.
        self as u32
    }

    /// Whether the VF is held off the engine by a pause.
    pub const fn paused(self) -> bool {
        matches!(
            self,
            Self::Stop | Self::StopCopy | Self::RunningP2p | Self::PreCopyP2p
        )
    }

    /// Whether the VF may still run on after what is read now.
    pub const fn precopy(self) -> bool {
        matches!(self, Self::PreCopy | Self::PreCopyP2p)
    }
}

/// What an arc asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Take the VF off the engine.
    Pause,
    /// Let it run.
    Resume,
    /// Begin to save it; it may run meanwhile.
    SaveAhead,
    /// Begin to save it as it is.
    Save,
    /// It has stopped for good: the stream may come to its end.
    Last,
    /// End the save, read to its end or not.
    EndSave,
    /// Begin to restore it.
    Restore,
    /// What was written becomes its state.
    Load,
}

/// What the arc asks for; `None` if there is no such arc.
pub const fn step(from: State, to: State) -> Option<Step> {
    use State::{
        PreCopy,
        PreCopyP2p,
        Resuming,
        Running,
        RunningP2p,
        Stop,
        StopCopy, //
    };
    Some(match (from, to) {
        (Running, RunningP2p) | (PreCopy, PreCopyP2p) => Step::Pause,
        (RunningP2p, Running) | (PreCopyP2p, PreCopy) => Step::Resume,
        (RunningP2p, Stop) | (Stop, RunningP2p) => Step::Nothing,
        (Running, PreCopy) | (RunningP2p, PreCopyP2p) => Step::SaveAhead,
        (Stop, StopCopy) => Step::Save,
        (PreCopyP2p, StopCopy) => Step::Last,
        (PreCopy, Running) | (PreCopyP2p, RunningP2p) | (StopCopy, Stop) => Step::EndSave,
        (Stop, Resuming) => Step::Restore,
        (Resuming, Stop) => Step::Load,
        _ => return None,
    })
}

/// The state after a step that has failed; `lost`: the PF's driver is gone, or is another one.
pub const fn failed(at: State, step: Step, lost: bool) -> State {
    match (at, step) {
        // Whatever it was, it is not that any more.
        (_, Step::Restore | Step::Load) => State::Error,
        // It runs, with or without anybody who knows.
        (State::Running | State::PreCopy, _) => at,
        // Nobody knows whether it is still paused.
        _ if lost => State::Error,
        _ => at,
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_vfio:
        numbers_are_those_of_the_header,
        arcs_are_those_of_the_header,
        what_is_paused_is_let_go,
        sessions_begin_and_end,
        failures_leave_no_doubt,
    }

    fn numbers_are_those_of_the_header() {
        for (i, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state.number() as usize, i);
            assert_eq!(State::new(state.number()), Some(state));
        }
        assert_eq!(State::new(8), None);
        assert_eq!(State::new(u32::MAX), None);
    }

    /// The arcs that the header names for STOP_COPY, P2P and PRE_COPY together, and no other.
    fn arcs_are_those_of_the_header() {
        let arcs = State::ALL
            .iter()
            .flat_map(|&a| State::ALL.map(|b| (a, b)))
            .filter(|&(a, b)| step(a, b).is_some());
        assert_eq!(arcs.count(), 15);
        for state in State::ALL {
            assert_eq!(step(state, state), None);
            assert_eq!(step(State::Error, state), None);
            assert_eq!(step(state, State::Error), None);
        }
        assert_eq!(step(State::StopCopy, State::PreCopy), None);
        assert_eq!(step(State::StopCopy, State::PreCopyP2p), None);
    }

    /// Along every arc the VF is paused or let go exactly where it has to be.
    fn what_is_paused_is_let_go() {
        for a in State::ALL {
            for b in State::ALL {
                let Some(step) = step(a, b) else {
                    continue;
                };
                // A VF that is being filled is held otherwise.
                let (was, is) = (a.paused(), b.paused());
                match step {
                    Step::Pause => assert!(!was && is, "{a:?} {b:?}"),
                    Step::Resume => assert!(was && !is, "{a:?} {b:?}"),
                    Step::Restore => assert!(was && !is),
                    Step::Load => assert!(!was && is),
                    _ => assert_eq!(was, is, "{a:?} {b:?}"),
                }
            }
        }
    }

    /// A session begins where the saving group is entered, and ends where it is left.
    fn sessions_begin_and_end() {
        let saving = |s: State| s.precopy() || s == State::StopCopy;
        for a in State::ALL {
            for b in State::ALL {
                let Some(step) = step(a, b) else {
                    continue;
                };
                let begins = matches!(step, Step::Save | Step::SaveAhead);
                assert_eq!(begins, !saving(a) && saving(b), "{a:?} {b:?}");
                assert_eq!(step == Step::EndSave, saving(a) && !saving(b));
                assert_eq!(step == Step::Restore, b == State::Resuming);
                assert_eq!(step == Step::Load, a == State::Resuming);
            }
        }
    }

    fn failures_leave_no_doubt() {
        assert_eq!(failed(State::Running, Step::Pause, true), State::Running);
        assert_eq!(failed(State::PreCopy, Step::Pause, true), State::PreCopy);
        assert_eq!(failed(State::RunningP2p, Step::Resume, true), State::Error);
        assert_eq!(failed(State::Stop, Step::Save, false), State::Stop);
        assert_eq!(failed(State::Stop, Step::Restore, false), State::Error);
        assert_eq!(failed(State::Resuming, Step::Load, false), State::Error);
    }
}
