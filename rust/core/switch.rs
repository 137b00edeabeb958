// SPDX-License-Identifier: GPL-2.0

//! The hardware's seat and the way to a goal.
//!
//! One function at a time sits on the engine. Commands move it on and off; each is legal from few
//! seats only, and the hardware is not asked to judge. From where the seat is and where it shall
//! be, [`next`] tells the one command that comes next.
//!
//! ```text
//!            LOAD f              RUN f
//!   Empty ----------> Loaded f --------> Running f
//!     |  ^                                  ^   |
//!     |  |  INIT f              RUN f       |   | IDLE f
//!     +--|----------> Fresh f --------------+   v
//!        +--------------------------------- Idled f
//!                       SAVE f
//! ```
//!
//! `Loaded` and `Fresh` have not run: LOAD and INIT of another function may replace them.

use super::{
    event::{
        Cmd,
        CmdKind, //
    },
    types::Fcn, //
};

/// Who is on the engine, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Nobody.
    Empty,
    /// Its saved state has been read back.
    Loaded(Fcn),
    /// It has been given fresh state.
    Fresh(Fcn),
    /// It runs.
    Running(Fcn),
    /// It has been stopped; its state is still on the engine.
    Idled(Fcn),
    /// A command failed: only a reset makes it known again.
    Unknown,
}

impl Seat {
    /// The function on the seat.
    pub const fn fcn(self) -> Option<Fcn> {
        match self {
            Self::Loaded(f) | Self::Fresh(f) | Self::Running(f) | Self::Idled(f) => Some(f),
            Self::Empty | Self::Unknown => None,
        }
    }

    /// The function that runs.
    pub const fn running(self) -> Option<Fcn> {
        match self {
            Self::Running(f) => Some(f),
            _ => None,
        }
    }

    /// The seat once `cmd` has completed, or `None` if the command is not legal from here.
    pub fn after(self, cmd: Cmd) -> Option<Self> {
        let f = cmd.fcn;
        match (cmd.kind, self) {
            (CmdKind::Idle, Self::Running(g)) if f == g => Some(Self::Idled(f)),
            (CmdKind::Save, Self::Idled(g)) if f == g => Some(Self::Empty),
            (CmdKind::Load, Self::Empty | Self::Loaded(_) | Self::Fresh(_)) => {
                Some(Self::Loaded(f))
            }
            (CmdKind::Init, Self::Empty | Self::Loaded(_) | Self::Fresh(_)) => Some(Self::Fresh(f)),
            (CmdKind::Run, Self::Loaded(g) | Self::Fresh(g)) if f == g => Some(Self::Running(f)),
            _ => None,
        }
    }
}

/// What a function's save area holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Nothing of use: the function has to be initialised.
    Clear,
    /// Its state, or its state is on the engine and will be saved.
    Kept,
    /// A state that the host has put there: what the seat may have of the function is another one.
    Restored,
}

/// Where the seat shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// This function runs, with a context as the save area has it.
    Run(Fcn),
    /// Nobody runs, and whoever ran is saved.
    Park,
}

/// The way on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The goal is reached.
    Reached,
    /// This command comes next.
    Issue(Cmd),
    /// There is no way from an unknown seat.
    Stuck,
}

/// The next command from `seat` to `goal`; `context` is that of the function that shall run.
///
/// A function that runs with a context that has been dropped meanwhile is taken off and comes back
/// by INIT.
pub fn next(seat: Seat, goal: Goal, context: Context) -> Next {
    let issue = |kind, fcn| Next::Issue(Cmd { kind, fcn });
    let enter = match context {
        Context::Clear => CmdKind::Init,
        Context::Kept | Context::Restored => CmdKind::Load,
    };
    match (seat, goal) {
        (Seat::Unknown, _) => Next::Stuck,
        (Seat::Idled(f), _) => issue(CmdKind::Save, f),
        (Seat::Running(f), Goal::Run(g)) if f == g && context == Context::Kept => Next::Reached,
        (Seat::Running(f), _) => issue(CmdKind::Idle, f),
        (Seat::Loaded(f), Goal::Run(g)) if f == g && context == Context::Kept => {
            issue(CmdKind::Run, g)
        }
        (Seat::Fresh(f), Goal::Run(g)) if f == g && context != Context::Restored => {
            issue(CmdKind::Run, g)
        }
        (Seat::Empty | Seat::Loaded(_) | Seat::Fresh(_), Goal::Run(g)) => issue(enter, g),
        (Seat::Empty | Seat::Loaded(_) | Seat::Fresh(_), Goal::Park) => Next::Reached,
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::super::types::VfId;
    use super::*;

    cases! {
        gim_switch:
        every_way_is_the_tables,
        every_command_from_every_seat,
        every_goal_is_reached_from_every_seat,
        a_dropped_context_is_not_run_on,
        a_restored_context_is_loaded_whatever_the_seat_has,
        a_plain_switch_is_four_commands,
    }

    fn fcns() -> Vec<Fcn> {
        let vf = |n| Fcn::Vf(VfId::new(n).unwrap());
        vec![Fcn::Pf, vf(0), vf(1), vf(15)]
    }

    fn seats() -> Vec<Seat> {
        let mut all = vec![Seat::Empty, Seat::Unknown];
        for f in fcns() {
            all.extend([
                Seat::Loaded(f),
                Seat::Fresh(f),
                Seat::Running(f),
                Seat::Idled(f),
            ]);
        }
        all
    }

    const KINDS: [CmdKind; 5] = [
        CmdKind::Idle,
        CmdKind::Save,
        CmdKind::Load,
        CmdKind::Run,
        CmdKind::Init,
    ];

    /// The legal seats of each command, as the hardware's order is given.
    fn every_command_from_every_seat() {
        for seat in seats() {
            for f in fcns() {
                for kind in KINDS {
                    let free = matches!(seat, Seat::Empty | Seat::Loaded(_) | Seat::Fresh(_));
                    let want = match kind {
                        CmdKind::Idle => (seat == Seat::Running(f)).then_some(Seat::Idled(f)),
                        CmdKind::Save => (seat == Seat::Idled(f)).then_some(Seat::Empty),
                        CmdKind::Load => free.then_some(Seat::Loaded(f)),
                        CmdKind::Init => free.then_some(Seat::Fresh(f)),
                        CmdKind::Run => (seat == Seat::Loaded(f) || seat == Seat::Fresh(f))
                            .then_some(Seat::Running(f)),
                    };
                    assert_eq!(seat.after(Cmd { kind, fcn: f }), want, "{kind:?} {seat:?}");
                }
            }
        }
    }

    /// From everywhere to everywhere by legal commands, and never more than five.
    fn every_goal_is_reached_from_every_seat() {
        for start in seats() {
            for ctx in [Context::Clear, Context::Kept, Context::Restored] {
                let goals = fcns().into_iter().map(Goal::Run).chain([Goal::Park]);
                for goal in goals {
                    let (mut seat, mut context, mut steps) = (start, ctx, 0);
                    loop {
                        match next(seat, goal, context) {
                            Next::Stuck => {
                                assert_eq!(seat, Seat::Unknown);
                                break;
                            }
                            Next::Reached => {
                                match goal {
                                    Goal::Run(f) => assert_eq!(seat, Seat::Running(f)),
                                    Goal::Park => assert!(seat.running().is_none()),
                                }
                                break;
                            }
                            Next::Issue(cmd) => {
                                // The engine keeps a context once a fresh function runs.
                                if seat == Seat::Fresh(cmd.fcn) && cmd.kind == CmdKind::Run {
                                    context = Context::Kept;
                                }
                                if cmd.kind == CmdKind::Load && Goal::Run(cmd.fcn) == goal {
                                    context = Context::Kept;
                                }
                                seat = seat.after(cmd).expect("legal");
                                steps += 1;
                                assert!(steps <= 5, "{start:?} {goal:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    /// The way on, entry by entry: the goal is `f`, `g` is another function. Columns: to park; to run
    /// `f` with a context that is clear, kept, restored. `.` reached, `?` stuck, else a command.
    const WAYS: [(&str, [&str; 4]); 10] = [
        ("empty", [".", "init f", "load f", "load f"]),
        ("loaded f", [".", "init f", "run f", "load f"]),
        ("loaded g", [".", "init f", "load f", "load f"]),
        ("fresh f", [".", "run f", "run f", "load f"]),
        ("fresh g", [".", "init f", "load f", "load f"]),
        ("running f", ["idle f", "idle f", ".", "idle f"]),
        ("running g", ["idle g", "idle g", "idle g", "idle g"]),
        ("idled f", ["save f", "save f", "save f", "save f"]),
        ("idled g", ["save g", "save g", "save g", "save g"]),
        ("unknown", ["?", "?", "?", "?"]),
    ];

    fn word(next: Next, f: Fcn) -> &'static str {
        match next {
            Next::Reached => ".",
            Next::Stuck => "?",
            Next::Issue(cmd) => match (cmd.kind, cmd.fcn == f) {
                (CmdKind::Idle, true) => "idle f",
                (CmdKind::Idle, false) => "idle g",
                (CmdKind::Save, true) => "save f",
                (CmdKind::Save, false) => "save g",
                (CmdKind::Load, true) => "load f",
                (CmdKind::Load, false) => "load g",
                (CmdKind::Run, true) => "run f",
                (CmdKind::Run, false) => "run g",
                (CmdKind::Init, true) => "init f",
                (CmdKind::Init, false) => "init g",
            },
        }
    }

    fn every_way_is_the_tables() {
        let goals = |f| {
            [
                (Goal::Park, Context::Kept),
                (Goal::Run(f), Context::Clear),
                (Goal::Run(f), Context::Kept),
                (Goal::Run(f), Context::Restored),
            ]
        };
        for f in fcns() {
            for g in fcns().into_iter().filter(|&g| g != f) {
                let seats = [
                    Seat::Empty,
                    Seat::Loaded(f),
                    Seat::Loaded(g),
                    Seat::Fresh(f),
                    Seat::Fresh(g),
                    Seat::Running(f),
                    Seat::Running(g),
                    Seat::Idled(f),
                    Seat::Idled(g),
                    Seat::Unknown,
                ];
                for (seat, (row, want)) in seats.into_iter().zip(WAYS) {
                    for ((goal, context), want) in goals(f).into_iter().zip(want) {
                        let got = word(next(seat, goal, context), f);
                        assert_eq!(got, want, "{row}: {goal:?} {context:?}");
                    }
                }
            }
        }
    }

    fn a_dropped_context_is_not_run_on() {
        let f = fcns()[1];
        for seat in [Seat::Running(f), Seat::Loaded(f)] {
            assert_ne!(next(seat, Goal::Run(f), Context::Clear), Next::Reached);
            let run = Next::Issue(Cmd {
                kind: CmdKind::Run,
                fcn: f,
            });
            assert_ne!(next(seat, Goal::Run(f), Context::Clear), run);
        }
    }

    fn a_restored_context_is_loaded_whatever_the_seat_has() {
        let f = fcns()[1];
        let load = Next::Issue(Cmd {
            kind: CmdKind::Load,
            fcn: f,
        });
        for seat in [Seat::Empty, Seat::Loaded(f), Seat::Fresh(f)] {
            assert_eq!(next(seat, Goal::Run(f), Context::Restored), load);
        }
    }

    fn a_plain_switch_is_four_commands() {
        let (f, g) = (fcns()[1], fcns()[2]);
        let mut seat = Seat::Running(f);
        let mut kinds = Vec::new();
        while let Next::Issue(cmd) = next(seat, Goal::Run(g), Context::Kept) {
            kinds.push((cmd.kind, cmd.fcn));
            seat = seat.after(cmd).unwrap();
        }
        assert_eq!(
            kinds,
            [
                (CmdKind::Idle, f),
                (CmdKind::Save, f),
                (CmdKind::Load, g),
                (CmdKind::Run, g)
            ]
        );
    }
}
