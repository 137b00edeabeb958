// SPDX-License-Identifier: GPL-2.0

//! The life cycle of a VF: its states and the only ways between them.

use core::fmt;

/// Where a VF is in its life, as the ABI names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VfState {
    /// Not enabled, or enabled and its framebuffer is not yet clean.
    Unavailable,
    /// Clean and free: waits for a guest.
    Available,
    /// Its guest owns the GPU alone, to initialise or to unload.
    FullAccess,
    /// Its guest's driver is loaded: it takes part in scheduling.
    Active,
    /// The host holds it off the engine.
    Suspended,
    /// It is being reset and scrubbed.
    Resetting,
    /// It cannot be reset, or offended too often: it gets nothing until the host resets it.
    Quarantined,
}

impl VfState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Unavailable,
        Self::Available,
        Self::FullAccess,
        Self::Active,
        Self::Suspended,
        Self::Resetting,
        Self::Quarantined,
    ];

    /// The name that the ABI gives the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Available => "available",
            Self::FullAccess => "full-access",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Resetting => "resetting",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state after `event`, or `None` where the event has no place.
    pub const fn after(self, event: VfEvent) -> Option<Self> {
        use VfEvent as E;
        use VfState as S;

        Some(match (self, event) {
            (_, E::Disable) => S::Unavailable,
            (S::Unavailable | S::Resetting, E::Clean) => S::Available,
            (S::Available | S::Active, E::Grant) => S::FullAccess,
            (S::FullAccess, E::Loaded) => S::Active,
            (S::FullAccess | S::Active, E::Unloaded) => S::Available,
            (S::Available | S::Active, E::Suspend) => S::Suspended,
            (S::Suspended, E::ResumeActive) => S::Active,
            (S::Suspended, E::ResumeAvailable) => S::Available,
            (S::Quarantined, E::Release) => S::Resetting,
            (S::Quarantined, _) => return None,
            (_, E::Reset) => S::Resetting,
            (_, E::Quarantine) => S::Quarantined,
            _ => return None,
        })
    }
}

impl fmt::Display for VfState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What moves a VF from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VfEvent {
    /// Its framebuffer has been scrubbed.
    Clean,
    /// Full access is granted.
    Grant,
    /// Its guest's driver has been loaded.
    Loaded,
    /// Its guest's driver is gone.
    Unloaded,
    /// The host takes it off the engine.
    Suspend,
    /// The host gives it back; its guest's driver is loaded.
    ResumeActive,
    /// The host gives it back; no driver is loaded.
    ResumeAvailable,
    /// It is reset, whoever did it.
    Reset,
    /// It is given up.
    Quarantine,
    /// The host gives it another chance: it is reset.
    Release,
    /// VFs are disabled.
    Disable,
}

impl VfEvent {
    /// All events.
    pub const ALL: [Self; 11] = [
        Self::Clean,
        Self::Grant,
        Self::Loaded,
        Self::Unloaded,
        Self::Suspend,
        Self::ResumeActive,
        Self::ResumeAvailable,
        Self::Reset,
        Self::Quarantine,
        Self::Release,
        Self::Disable,
    ];
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_vf:
        every_transition_is_the_tables,
        every_state_is_reached_and_left,
        names_are_the_abis,
    }

    /// The whole table, row by row; `.` is no transition.
    const TABLE: [(VfState, &str); 7] = [
        // Clean Grant Loaded Unloaded Suspend ResumeAct ResumeAvail Reset Quarantine Release Disable
        (VfState::Unavailable, "a......rq.u"),
        (VfState::Available, ".f..s..rq.u"),
        (VfState::FullAccess, "..Aa...rq.u"),
        (VfState::Active, ".f.as..rq.u"),
        (VfState::Suspended, ".....Aarq.u"),
        (VfState::Resetting, "a......rq.u"),
        (VfState::Quarantined, ".........ru"),
    ];

    fn letter(state: Option<VfState>) -> char {
        match state {
            None => '.',
            Some(VfState::Unavailable) => 'u',
            Some(VfState::Available) => 'a',
            Some(VfState::FullAccess) => 'f',
            Some(VfState::Active) => 'A',
            Some(VfState::Suspended) => 's',
            Some(VfState::Resetting) => 'r',
            Some(VfState::Quarantined) => 'q',
        }
    }

    fn every_transition_is_the_tables() {
        for (state, row) in TABLE {
            let got: String = VfEvent::ALL
                .iter()
                .map(|&event| letter(state.after(event)))
                .collect();
            assert_eq!(got, row, "{state}");
        }
    }

    fn every_state_is_reached_and_left() {
        for to in VfState::ALL {
            let into = VfState::ALL
                .iter()
                .any(|from| *from != to && VfEvent::ALL.iter().any(|&e| from.after(e) == Some(to)));
            assert!(into, "{to} is never entered");
            let out = VfEvent::ALL
                .iter()
                .any(|&e| to.after(e).is_some_and(|next| next != to));
            assert!(out, "{to} is never left");
        }
    }

    fn names_are_the_abis() {
        let names: Vec<_> = VfState::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(
            names,
            [
                "unavailable",
                "available",
                "full-access",
                "active",
                "suspended",
                "resetting",
                "quarantined"
            ]
        );
    }
}
