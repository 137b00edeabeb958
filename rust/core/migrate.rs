// SPDX-License-Identifier: GPL-2.0

//! The migration of one VF: where it is, what may happen there, and what the shell has to do then.
//!
//! ```text
//!                Save               Hold              Pause              End
//!        Idle ---------> PreCopy <-------> Held ----------------+
//!        |  ^               |    HoldOver                       v
//!  Pause |  | Resume        +---- Pause ------------------> Copying ---------> Saved
//!        v  |                     Save                          ^                |
//!       Stopped ------------------------------------------------+                |
//!          ^----------------------- Close (the VF can go on here) <--------------+
//!
//!                Restore                End                  Resume
//!        Idle -----------> Restoring ------------> Restored ---------> Idle, and it runs
//!                                                     | Save
//!                                                     +-------> Copying: it moves on as it is
//! ```
//!
//! What spoils a stream (an error, a reset of the VF, the loss of the device) leads to `Failed` if the
//! VF is paused, else to `Broken`, while its file is open: whoever reads or writes it is told.
//! Closing leads from `Failed` to `Stopped`, where the VF can be resumed, from `Broken` to `Idle`.

use core::fmt;

/// Where the migration of a VF is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// There is none.
    Idle,
    /// The VF runs, its framebuffer is sent in rounds.
    PreCopy,
    /// As before, but the VF is held off the engine for a bounded time; its vCPUs run.
    Held,
    /// The VF is paused, there is no stream.
    Stopped,
    /// The VF is paused, the last round and its state are sent.
    Copying,
    /// All was sent; the VF is paused, and could go on here.
    Saved,
    /// The VF is the host's and is being filled.
    Restoring,
    /// The VF is filled and waits for its first turn.
    Restored,
    /// The stream is void, its file is still open; the VF is paused, and could go on here.
    Failed,
    /// The stream is void, its file is still open; the VF is not held.
    Broken,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    /// A stream to save the VF is opened.
    Save,
    /// A stream to restore the VF is opened.
    Restore,
    /// The VF is to be held off the engine, or needs not be any more.
    Hold,
    /// The hold has lasted as long as it may, or has ended.
    HoldOver,
    /// The VF is to be paused: its vCPUs do not run.
    Pause,
    /// The VF is to run (again).
    Resume,
    /// The last byte of the stream was made, or taken and found right.
    End,
    /// The stream cannot be made or is wrong.
    Error,
    /// The VF was reset, whoever did it.
    Reset,
    /// The device is gone, or VFs are being disabled.
    Gone,
    /// The file of the stream is closed.
    Close,
}

/// What the shell does on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Take the VF off the engine.
    Hold,
    /// Give the VF back to the engine.
    Release,
    /// Take the VF for a restore.
    Adopt,
    /// Tell the engine that the VF has been filled.
    Filled,
    /// Reset the VF, so that nothing is left of what was written to it.
    Scrub,
}

/// What users may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Ask for state and sizes.
    Query,
    /// Read a stream.
    ReadStream,
    /// Write a stream.
    WriteStream,
    /// Ask what is left to copy and how long it will take.
    Estimate,
    /// Start, read and stop dirty tracking of their own; a stream tracks for itself.
    Track,
    /// Read the framebuffer.
    ReadFramebuffer,
    /// Write the framebuffer.
    WriteFramebuffer,
    /// Have interrupts raised again.
    Interrupts,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 10] = [
        Self::Idle,
        Self::PreCopy,
        Self::Held,
        Self::Stopped,
        Self::Copying,
        Self::Saved,
        Self::Restoring,
        Self::Restored,
        Self::Failed,
        Self::Broken,
    ];

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::PreCopy => "pre-copy",
            Self::Held => "held",
            Self::Stopped => "stopped",
            Self::Copying => "copying",
            Self::Saved => "saved",
            Self::Restoring => "restoring",
            Self::Restored => "restored",
            Self::Failed => "failed",
            Self::Broken => "broken",
        }
    }

    /// Where it leads and what is to be done; `None` where it has no place and is refused.
    pub const fn after(self, what: Happens) -> Option<(Self, Effect)> {
        use Effect as E;
        use Happens as H;
        use Phase as P;

        Some(match (self, what) {
            (P::Idle, H::Save) => (P::PreCopy, E::Nothing),
            // One that was restored and has not run moves on as it came.
            (P::Stopped | P::Restored, H::Save) => (P::Copying, E::Nothing),
            (P::Idle, H::Restore) => (P::Restoring, E::Adopt),

            (P::PreCopy, H::Hold) => (P::Held, E::Hold),
            (P::Held, H::HoldOver) => (P::PreCopy, E::Release),
            (P::Held, H::Pause) => (P::Copying, E::Nothing),
            (P::Idle, H::Pause) => (P::Stopped, E::Hold),
            (P::PreCopy, H::Pause) => (P::Copying, E::Hold),
            // It is paused as it is, and is asked for again.
            (P::Stopped | P::Copying | P::Saved | P::Failed | P::Restored, H::Pause) => {
                (self, E::Nothing)
            }

            (P::Idle | P::PreCopy, H::Resume) => (self, E::Nothing),
            (P::Held, H::Resume) => (P::PreCopy, E::Release),
            (P::Stopped | P::Saved, H::Resume) => (P::Idle, E::Release),
            // What was sent is of a VF that goes on: void.
            (P::Copying | P::Failed, H::Resume) => (P::Broken, E::Release),
            (P::Restored, H::Resume) => (P::Idle, E::Release),

            (P::Copying, H::End) => (P::Saved, E::Nothing),
            (P::Restoring, H::End) => (P::Restored, E::Filled),

            (P::PreCopy, H::Error) => (P::Broken, E::Nothing),
            (P::Held, H::Error) => (P::Broken, E::Release),
            // It stays paused until it is resumed.
            (P::Copying | P::Saved | P::Failed, H::Error) => (P::Failed, E::Nothing),
            (P::Restoring | P::Restored, H::Error) => (P::Broken, E::Scrub),
            (P::Broken, H::Error) => (P::Broken, E::Nothing),

            (P::Idle | P::Stopped, H::Reset) => (self, E::Nothing),
            (P::PreCopy, H::Reset) => (P::Broken, E::Nothing),
            // The engine keeps it paused, clean.
            (P::Copying | P::Saved | P::Failed, H::Reset) => (P::Failed, E::Nothing),
            (P::Held, H::Reset) => (P::Broken, E::Release),
            // Clean as it is.
            (P::Restoring, H::Reset) => (P::Broken, E::Nothing),
            (P::Restored, H::Reset) => (P::Idle, E::Nothing),
            (P::Broken, H::Reset) => (P::Broken, E::Nothing),

            (P::Idle | P::Stopped, H::Gone) => (P::Idle, E::Nothing),
            (P::Restored, H::Gone) => (P::Idle, E::Nothing),
            (_, H::Gone) => (P::Broken, E::Nothing),

            (P::Idle | P::PreCopy | P::Broken, H::Close) => (P::Idle, E::Nothing),
            (P::Held, H::Close) => (P::Idle, E::Release),
            (P::Stopped | P::Copying | P::Saved | P::Failed, H::Close) => (P::Stopped, E::Nothing),
            // The stream was cut.
            (P::Restoring, H::Close) => (P::Idle, E::Scrub),
            (P::Restored, H::Close) => (P::Restored, E::Nothing),

            _ => return None,
        })
    }

    /// Whether users may do this here.
    pub const fn allows(self, what: Operation) -> bool {
        use Operation as O;
        use Phase as P;

        match what {
            O::Query => true,
            // After the end, a reader finds the end.
            O::ReadStream => matches!(self, P::PreCopy | P::Held | P::Copying | P::Saved),
            O::WriteStream => matches!(self, P::Restoring),
            O::Estimate => matches!(self, P::PreCopy | P::Held | P::Copying | P::Saved),
            O::Track => matches!(self, P::Idle | P::Stopped),
            O::ReadFramebuffer => matches!(
                self,
                P::Stopped | P::Copying | P::Saved | P::Restored | P::Failed
            ),
            O::WriteFramebuffer => matches!(self, P::Stopped),
            O::Interrupts => !matches!(self, P::Restoring),
        }
    }

    /// Whether the VF is off the engine because of it.
    pub const fn is_off(self) -> bool {
        !matches!(self, Self::Idle | Self::PreCopy | Self::Broken)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Happens {
    /// All that can happen.
    pub const ALL: [Self; 11] = [
        Self::Save,
        Self::Restore,
        Self::Hold,
        Self::HoldOver,
        Self::Pause,
        Self::Resume,
        Self::End,
        Self::Error,
        Self::Reset,
        Self::Gone,
        Self::Close,
    ];
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_migrate:
        every_transition_is_the_tables,
        the_engine_holds_what_is_held,
        every_phase_is_reached_and_ends,
        operations_are_allowed_where_they_are_safe,
    }

    /// The whole table, row by row: where it leads, what is done; `.` is refused.
    const TABLE: [(Phase, &str); 10] = [
        // Save Restore Hold HoldOver Pause Resume End Error Reset Gone Close
        (Phase::Idle, "p  ra .  .  sh i  .  .  i  i  i "),
        (Phase::PreCopy, ".  .  hh .  ch p  .  b  b  b  i "),
        (Phase::Held, ".  .  .  pr c  pr .  br br b  ir"),
        (Phase::Stopped, "c  .  .  .  s  ir .  .  s  i  s "),
        (Phase::Copying, ".  .  .  .  c  br S  f  f  b  s "),
        (Phase::Saved, ".  .  .  .  S  ir .  f  f  b  s "),
        (Phase::Restoring, ".  .  .  .  .  .  Rf bs b  b  is"),
        (Phase::Restored, "c  .  .  .  R  ir .  bs i  i  R "),
        (Phase::Failed, ".  .  .  .  f  br .  f  f  b  s "),
        (Phase::Broken, ".  .  .  .  .  .  .  b  b  b  i "),
    ];

    fn cell(to: Option<(Phase, Effect)>) -> [char; 2] {
        let Some((to, effect)) = to else {
            return ['.', ' '];
        };
        let phase = match to {
            Phase::Idle => 'i',
            Phase::PreCopy => 'p',
            Phase::Held => 'h',
            Phase::Stopped => 's',
            Phase::Copying => 'c',
            Phase::Saved => 'S',
            Phase::Restoring => 'r',
            Phase::Restored => 'R',
            Phase::Failed => 'f',
            Phase::Broken => 'b',
        };
        let effect = match effect {
            Effect::Nothing => ' ',
            Effect::Hold => 'h',
            Effect::Release => 'r',
            Effect::Adopt => 'a',
            Effect::Filled => 'f',
            Effect::Scrub => 's',
        };
        [phase, effect]
    }

    fn every_transition_is_the_tables() {
        for (phase, row) in TABLE {
            let cells = Happens::ALL.map(|what| cell(phase.after(what)));
            let got: Vec<String> = cells.iter().map(|cell| cell.iter().collect()).collect();
            assert_eq!(got.join(" "), row, "{phase}");
        }
    }

    /// What the engine does with the VF agrees with what the phase says of it.
    fn the_engine_holds_what_is_held() {
        for phase in Phase::ALL {
            for what in Happens::ALL {
                let Some((to, effect)) = phase.after(what) else {
                    continue;
                };
                let restores = matches!(phase, Phase::Restoring | Phase::Restored);
                let off = match (what, effect) {
                    (Happens::Gone, _) => false,
                    // The engine has ended the adoption.
                    (Happens::Reset, _) if restores => false,
                    (_, Effect::Hold | Effect::Adopt) => true,
                    (_, Effect::Release | Effect::Scrub) => false,
                    _ => phase.is_off(),
                };
                assert_eq!(to.is_off(), off, "{phase} {what:?}");
            }
        }
    }

    fn every_phase_is_reached_and_ends() {
        for phase in Phase::ALL {
            let mut seen = vec![Phase::Idle];
            let mut at = 0;
            while at < seen.len() {
                for what in Happens::ALL {
                    if let Some((to, _)) = seen[at].after(what) {
                        if !seen.contains(&to) {
                            seen.push(to);
                        }
                    }
                }
                at += 1;
            }
            assert!(seen.contains(&phase), "{phase} is never reached");
            // Whatever a user has left behind: closing the file and resuming leads back.
            let closed = phase.after(Happens::Close).map(|to| to.0);
            let resumed = closed.and_then(|to| to.after(Happens::Resume));
            let end = resumed.map(|to| to.0);
            assert_eq!(end, Some(Phase::Idle), "{phase}");
        }
    }

    fn operations_are_allowed_where_they_are_safe() {
        use Operation as O;
        // i p h s c S r R f b
        let table = [
            (O::Query, "yyyyyyyyyy"),
            (O::ReadStream, ".yy.yy...."),
            (O::WriteStream, "......y..."),
            (O::Estimate, ".yy.yy...."),
            (O::Track, "y..y......"),
            (O::ReadFramebuffer, "...yyy.yy."),
            (O::WriteFramebuffer, "...y......"),
            (O::Interrupts, "yyyyyy.yyy"),
        ];
        for (what, row) in table {
            let got: String = Phase::ALL
                .iter()
                .map(|phase| if phase.allows(what) { 'y' } else { '.' })
                .collect();
            assert_eq!(got, row, "{what:?}");
            // Nobody reads or writes the framebuffer of a VF that runs.
            for phase in Phase::ALL {
                let touches = matches!(what, O::ReadFramebuffer | O::WriteFramebuffer);
                assert!(!touches || !phase.allows(what) || phase.is_off());
            }
        }
    }
}
