// SPDX-License-Identifier: GPL-2.0

//! What user space is told by uevents: which notes, how many of them, and what became of the rest.
//!
//! Notes arise in interrupts, uevents need a context that sleeps. In between they wait here. What a
//! VF can cause is limited twice: by a token bucket, so that a guest cannot keep user space busy,
//! and by the places it may take in the queue, so that it cannot push out what others have to say.
//! A notice that is not taken leaves a gap in the numbers and is counted.

use super::{
    event::{
        Note,
        ResetReason, //
    },
    guard::{
        Act,
        Bucket,
        Limit,
        Rate, //
    },
    types::{
        Ns,
        VfId,
        MAX_VFS,
        MS, //
    },
    vf::VfState,
};

/// Notices about one VF that may wait at once.
const VF_PLACES: u8 = 4;

/// All that may wait at once: what VFs may have there, and as much again as the GPU itself needs.
const PLACES: usize = MAX_VFS * VF_PLACES as usize + 16;

/// Notices about one VF: 20 at once, and 20 per minute in the long run.
const VF_RATE: Rate = match Rate::new(20, 60_000 * MS) {
    Ok(rate) => rate,
    Err(_) => panic!("the rate is in its range"),
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A VF has exceeded a limit.
    Guard {
        /// Which.
        limit: Limit,
        /// What is done about it.
        act: Act,
    },
    /// A VF is reset, for a reason that is no guest's ordinary business.
    Reset(ResetReason),
    /// A VF gets nothing more until the host resets it.
    Quarantined,
    /// The whole GPU is reset.
    GpuReset,
    /// The whole GPU was reset and serves its VFs again.
    GpuReady,
    /// The GPU does not answer and is given up.
    GpuDead,
    /// The GPU was taken away: it is reset by somebody else, or the host sleeps.
    GpuDetached,
    /// The GPU has left the bus.
    GpuGone,
    /// Completion interrupts do not come: commands are polled.
    Polling,
}

impl What {
    /// The name that the ABI gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guard { .. } => "guard",
            Self::Reset(_) => "vf-reset",
            Self::Quarantined => "vf-quarantined",
            Self::GpuReset => "gpu-reset",
            Self::GpuReady => "gpu-ready",
            Self::GpuDead => "gpu-dead",
            Self::GpuDetached => "gpu-detached",
            Self::GpuGone => "gpu-gone",
            Self::Polling => "polling",
        }
    }

    /// What of a note user space is to be told, if anything, and about which VF.
    pub const fn of(note: &Note) -> Option<(Option<VfId>, Self)> {
        Some(match *note {
            Note::Guard { vf, limit, act } => (Some(vf), Self::Guard { limit, act }),
            Note::Reset { vf, reason } => match reason {
                ResetReason::Hang | ResetReason::FullAccessTimeout | ResetReason::Abandoned => {
                    (Some(vf), Self::Reset(reason))
                }
                // Drivers and VMMs reset all the time, the operator knows of his own resets, and
                // that of the GPU is told once.
                ResetReason::GuestRequest
                | ResetReason::GuestFlr
                | ResetReason::HostRequest
                | ResetReason::GpuReset => return None,
            },
            Note::State {
                vf,
                to: VfState::Quarantined,
                ..
            } => (Some(vf), Self::Quarantined),
            Note::GpuReset => (None, Self::GpuReset),
            Note::GpuReady => (None, Self::GpuReady),
            Note::Dead => (None, Self::GpuDead),
            Note::Detached => (None, Self::GpuDetached),
            Note::Gone => (None, Self::GpuGone),
            Note::Polling => (None, Self::Polling),
            Note::Switch { .. }
            | Note::State { .. }
            | Note::CmdFailed { .. }
            | Note::MessageDropped { .. }
            | Note::LostIrq => return None,
        })
    }
}

/// One thing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its number, from 1; one that is missing was dropped.
    pub seq: u64,
    /// The VF it is about; `None` for the GPU.
    pub vf: Option<VfId>,
    /// What happened.
    pub what: What,
    /// Notices dropped before it, in all.
    pub dropped: u64,
}

/// Notices that wait to be told, first in first out.
#[derive(Debug)]
pub struct Notices {
    slots: [Option<Notice>; PLACES],
    /// The slot of the oldest, and how many there are.
    first: usize,
    len: usize,
    /// How many of them are about each VF.
    waiting: [u8; MAX_VFS],
    buckets: [Bucket; MAX_VFS],
    seq: u64,
    dropped: u64,
}

impl Default for Notices {
    fn default() -> Self {
        Self::new()
    }
}

impl Notices {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            slots: [None; PLACES],
            first: 0,
            len: 0,
            waiting: [0; MAX_VFS],
            buckets: [Bucket::FULL; MAX_VFS],
            seq: 0,
            dropped: 0,
        }
    }

    /// Takes what is to be told of a note; whether there is something to fetch.
    pub fn put(&mut self, now: Ns, note: &Note) -> bool {
        let Some((vf, what)) = What::of(note) else {
            return false;
        };
        self.seq = self.seq.saturating_add(1);
        let notice = Notice {
            seq: self.seq,
            vf,
            what,
            dropped: self.dropped,
        };
        let taken = self.may(now, vf) && self.push(notice);
        if !taken {
            self.lost();
        }
        taken
    }

    /// Fetches the oldest notice.
    pub fn fetch(&mut self) -> Option<Notice> {
        let notice = self.slots.get_mut(self.first)?.take()?;
        self.first = (self.first + 1) % PLACES;
        self.len = self.len.saturating_sub(1);
        if let Some(vf) = notice.vf {
            let waiting = &mut self.waiting[vf.index()];
            *waiting = waiting.saturating_sub(1);
        }
        Some(notice)
    }

    /// A notice that was fetched could not be told.
    pub fn lost(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Notices so far, those that were dropped included.
    pub const fn count(&self) -> u64 {
        self.seq
    }

    /// Notices that were dropped.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a notice about the VF may be taken, which costs it a token.
    fn may(&mut self, now: Ns, vf: Option<VfId>) -> bool {
        vf.is_none_or(|vf| {
            self.waiting[vf.index()] < VF_PLACES && self.buckets[vf.index()].take(now, VF_RATE)
        })
    }

    fn push(&mut self, notice: Notice) -> bool {
        if self.len >= PLACES {
            return false;
        }
        let Some(slot) = self.slots.get_mut((self.first + self.len) % PLACES) else {
            return false;
        };
        *slot = Some(notice);
        self.len += 1;
        if let Some(vf) = notice.vf {
            self.waiting[vf.index()] += 1;
        }
        true
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_notice:
        in_order_and_numbered,
        what_guests_do_every_day_is_no_news,
        a_flood_leaves_room_for_others,
        the_rate_holds_in_the_long_run,
        the_queue_never_holds_more_than_it_can,
    }

    const SEC: Ns = 1_000 * MS;

    fn hang(n: u32) -> Note {
        Note::Reset {
            vf: VfId::new(n).unwrap(),
            reason: ResetReason::Hang,
        }
    }

    fn in_order_and_numbered() {
        let mut q = Notices::new();
        assert!(q.put(0, &hang(3)));
        assert!(q.put(0, &Note::GpuReset));
        assert!(!q.put(0, &Note::LostIrq));
        let a = q.fetch().unwrap();
        assert_eq!((a.seq, a.vf.map(VfId::raw)), (1, Some(3)));
        assert_eq!(a.what, What::Reset(ResetReason::Hang));
        let b = q.fetch().unwrap();
        assert_eq!((b.seq, b.vf, b.what), (2, None, What::GpuReset));
        assert_eq!(q.fetch(), None);
        assert_eq!((q.count(), q.dropped()), (2, 0));
    }

    fn what_guests_do_every_day_is_no_news() {
        let vf = VfId::FIRST;
        let other = [
            ResetReason::GuestFlr,
            ResetReason::GuestRequest,
            ResetReason::HostRequest,
            ResetReason::GpuReset,
        ];
        for reason in other {
            assert_eq!(What::of(&Note::Reset { vf, reason }), None);
        }
        let to = |to| Note::State {
            vf,
            from: VfState::Resetting,
            to,
        };
        assert_eq!(What::of(&to(VfState::Available)), None);
        let gone = What::of(&to(VfState::Quarantined));
        assert_eq!(gone, Some((Some(vf), What::Quarantined)));
    }

    fn a_flood_leaves_room_for_others() {
        let mut q = Notices::new();
        for n in 0..15 {
            for _ in 0..1_000 {
                q.put(SEC, &hang(n));
            }
        }
        assert!(q.put(SEC, &hang(15)));
        for _ in 0..16 {
            assert!(q.put(SEC, &Note::Dead));
        }
        let all: Vec<_> = core::iter::from_fn(|| q.fetch()).collect();
        assert_eq!(all.len(), 15 * usize::from(VF_PLACES) + 1 + 16);
        assert!(all.windows(2).all(|w| w[0].seq < w[1].seq));
        assert_eq!(q.count(), 15_000 + 17);
        // None is lost silently.
        assert_eq!(q.dropped() + all.len() as u64, q.count());
        assert_eq!(all.last().unwrap().dropped, q.dropped());
    }

    fn the_rate_holds_in_the_long_run() {
        let mut q = Notices::new();
        let mut told = 0;
        // One every 10 ms, fetched at once, for 10 minutes.
        for i in 0..60_000 {
            q.put(i * 10 * MS, &hang(0));
            told += u64::from(q.fetch().is_some());
        }
        assert!((200..=221).contains(&told), "{told}");
        assert_eq!(told + q.dropped(), q.count());
    }

    fn the_queue_never_holds_more_than_it_can() {
        let mut q = Notices::new();
        for i in 0..200 {
            assert_eq!(q.put(0, &Note::GpuReset), i < PLACES);
        }
        assert_eq!(q.dropped(), 200 - PLACES as u64);
        assert_eq!(core::iter::from_fn(|| q.fetch()).count(), PLACES);
        q.lost();
        assert_eq!(q.dropped(), 201 - PLACES as u64);
    }
}
