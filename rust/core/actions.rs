// SPDX-License-Identifier: GPL-2.0

//! The list of actions that one step of the engine answers with.

use super::event::Action;

/// How many actions one step may answer with.
///
/// The worst step speaks of every VF three times (a message, a state, a reason) and then says what
/// the engine itself does; the simulation asserts that the list never overflows.
pub const ACTIONS_MAX: usize = 60;

/// A fixed-capacity list of actions, in the order in which they are to be carried out.
#[derive(Debug)]
pub struct Actions {
    len: usize,
    lost: usize,
    list: [Action; ACTIONS_MAX],
}

impl Default for Actions {
    fn default() -> Self {
        Self::new()
    }
}

impl Actions {
    /// An empty list.
    pub const fn new() -> Self {
        Self {
            len: 0,
            lost: 0,
            list: [Action::ReadStatus; ACTIONS_MAX],
        }
    }

    /// Empties the list; [`super::engine::Engine::step`] does it first.
    pub fn clear(&mut self) {
        self.len = 0;
        self.lost = 0;
    }

    /// The actions, first to last.
    pub fn as_slice(&self) -> &[Action] {
        self.list.get(..self.len).unwrap_or(&[])
    }

    /// Actions that did not fit since the list was cleared: always 0, by design.
    pub const fn lost(&self) -> usize {
        self.lost
    }

    /// Appends an action.
    pub(super) fn push(&mut self, action: Action) {
        match self.list.get_mut(self.len) {
            Some(slot) => {
                *slot = action;
                self.len += 1;
            }
            None => self.lost = self.lost.saturating_add(1),
        }
    }
}

impl<'a> IntoIterator for &'a Actions {
    type Item = &'a Action;
    type IntoIter = core::slice::Iter<'a, Action>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_actions:
        keeps_order_and_counts_what_does_not_fit,
        fits_on_a_kernel_stack,
    }

    fn keeps_order_and_counts_what_does_not_fit() {
        let mut list = Actions::new();
        for _ in 0..ACTIONS_MAX {
            list.push(Action::Stopped);
        }
        assert_eq!((list.as_slice().len(), list.lost()), (ACTIONS_MAX, 0));
        list.push(Action::ReadResets(1));
        assert_eq!((list.as_slice().len(), list.lost()), (ACTIONS_MAX, 1));
        list.clear();
        list.push(Action::ReadResets(1));
        list.push(Action::ReadStatus);
        assert_eq!(
            list.as_slice(),
            &[Action::ReadResets(1), Action::ReadStatus]
        );
        assert_eq!((&list).into_iter().count(), 2);
    }

    fn fits_on_a_kernel_stack() {
        assert!(core::mem::size_of::<Actions>() <= 1536);
    }
}
