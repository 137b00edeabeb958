// SPDX-License-Identifier: GPL-2.0

//! What the engine is told and what it answers: the whole seam between the core and the shell.

use super::types::{
    Fcn,
    Ns,
    VfId, //
};

/// A message of the PF/VF mailbox: the four data words, as they were read.
pub type MailWords = [u32; 4];

/// A GPU-IOV command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmdKind {
    /// Stop the function that runs; its state stays on the engine.
    Idle,
    /// Write the state of the idled function to its context save area.
    Save,
    /// Read the state of a function from its context save area.
    Load,
    /// Let the loaded or initialised function run.
    Run,
    /// Give a function fresh engine state instead of a saved one.
    Init,
}

/// A GPU-IOV command and the function it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cmd {
    /// What to do.
    pub kind: CmdKind,
    /// To whom.
    pub fcn: Fcn,
}

/// What the command register says about the command in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmdStatus {
    /// It is still being executed.
    Busy,
    /// It completed.
    Done,
    /// It ended with this status code (hang codes, illegal order).
    Failed(u8),
    /// All ones were read: the device does not answer.
    Gone,
}

/// Who noticed a command's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusSource {
    /// The completion interrupt.
    Irq,
    /// The engine asked ([`Action::ReadStatus`]).
    Poll,
}

/// Work that sleeps and is therefore done by the shell's ordered queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reset the VF (FLR), restore its configuration. Does not touch its framebuffer.
    Reset(VfId),
    /// Zero the VF's framebuffer.
    Scrub(VfId),
    /// Write to the VF's framebuffer what the host tells its guest ([`super::exchange`]).
    Prepare(VfId),
    /// Reset the whole GPU and restore its set-up: SR-IOV with the same VFs, framebuffer table,
    /// interrupts. Does not touch framebuffers: scrubs of all VFs follow. All contexts are lost.
    GpuReset,
}

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The deadline that [`super::engine::Engine::deadline`] gave has come (or an earlier time).
    Timer,
    /// The status of the command in flight was read.
    CmdStatus {
        /// What the register said.
        status: CmdStatus,
        /// Why it was read.
        source: StatusSource,
    },
    /// The VF sent a message (read and acknowledged by the shell).
    Message {
        /// The sender, by the hardware's word, not by the message's.
        vf: VfId,
        /// The data words: not trusted.
        words: MailWords,
    },
    /// The VF acknowledged the last message sent to it.
    MessageAck(VfId),
    /// These VFs saw a function level reset (RESET_NOTIFICATION, which the shell clears as it
    /// feeds this, not when it reads it: what was ordered meanwhile was ordered in ignorance).
    ResetSeen {
        /// The number of the read ([`Action::ReadResets`]).
        read: u64,
        /// One bit per VF; 0 if there was none.
        mask: u32,
    },
    /// Somebody has these VFs open; answers [`Action::ReadUsers`].
    Users {
        /// One bit per VF.
        mask: u32,
    },
    /// Somebody has to know at once which VFs were reset: RESET_NOTIFICATION is read, unless the GPU
    /// is away or gone.
    Look,
    /// Slow work ended.
    WorkDone {
        /// Which.
        work: Work,
        /// Whether it succeeded.
        ok: bool,
    },
    /// VFs `0..count` are about to be enabled (windows are programmed, PCI does not show them yet).
    Enable {
        /// How many: 1, 2, 4, 8 or 16.
        count: u8,
    },
    /// VFs are about to be disabled: stop everything, then say [`Action::Stopped`].
    Disable,
    /// The host takes the VF off the engine until [`Event::Resume`].
    Pause(VfId),
    /// The same, but it ends by itself after `ns`, unless [`Event::Pause`] comes before.
    Hold {
        /// Which.
        vf: VfId,
        /// How long at most.
        ns: Ns,
    },
    /// The host lets the VF run again.
    Resume(VfId),
    /// The host wants to fill a VF from a stream. One that is being reset or scrubbed is taken when
    /// it is available; any other than those and an available one is refused. Answered by
    /// [`Action::Adopted`].
    Adopt(VfId),
    /// The host has filled the VF that [`Action::Adopted`] gave it. Answered by
    /// [`Action::Restored`]; then [`Event::Resume`] lets it run.
    Adopted {
        /// Which.
        vf: VfId,
        /// Its guest's driver is loaded, and a context image is in its save area.
        loaded: bool,
        /// What its guest has asked and was not granted yet.
        want: Option<super::access::Access>,
    },
    /// The host takes the state of a suspended VF: from now on its messages stay unread, until it
    /// runs again or is reset ([`super::engine::Engine::takes_messages`], [`Action::Listen`]).
    Seal(VfId),
    /// The host orders a reset of the VF.
    ResetVf(VfId),
    /// The VF's guest is to be interrupted, so that it looks at all that may have happened; one
    /// without a driver is left alone.
    Alert(VfId),
    /// The host parks the whole scheduler until [`Event::ResumeAll`]; full access and a scrub that
    /// is going on are finished first, others wait.
    PauseAll,
    /// The host lets the scheduler go on.
    ResumeAll,
    /// The driver is about to leave its VFs to the next life of it: whatever goes on is finished,
    /// nothing begins. Answered by [`Action::Left`].
    Leave,
    /// It stays after all.
    Stay,
    /// The first event of an engine that goes on from a record
    /// ([`super::engine::Engine::read`]).
    Arrive,
    /// The hardware says which VFs have work, one bit per VF. Until it was said once, all are taken
    /// to have some. In work-conserving mode those without are skipped.
    Busy {
        /// One bit per VF.
        mask: u32,
    },
    /// The PF's own copy engine has work (true) or has no more (false): schedule the PF.
    PfWork(bool),
    /// The GPU is taken away until [`Event::Attached`] or [`Event::Gone`]: somebody else resets it, a
    /// bus error has cut it off, or the host sleeps. Nothing is commanded, and all that was on it
    /// is taken to be lost.
    Detached,
    /// The GPU is given back: it was reset, and is set up as after [`Work::GpuReset`].
    Attached,
    /// The device has left the bus.
    Gone,
}

/// Something is to be done by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Issue this command, with its completion interrupt enabled if the chip has one.
    Command(Cmd),
    /// Read the command status now and feed [`Event::CmdStatus`] with [`StatusSource::Poll`].
    ReadStatus,
    /// Read RESET_NOTIFICATION now; feed [`Event::ResetSeen`] with this number, whatever
    /// was read, or [`Event::Gone`] if the GPU does not answer.
    ReadResets(u64),
    /// Look who has VFs open: feed [`Event::Users`].
    ReadUsers,
    /// Send a message to a VF; an unacknowledged one is overwritten.
    Send {
        /// To whom.
        vf: VfId,
        /// The data words.
        words: MailWords,
        /// Whether to raise VALID (and so the interrupt). FLR completion is also polled by
        /// guests without it (gpu-iov-hardware.md, 4.2).
        valid: bool,
    },
    /// The VF has acknowledged: drop VALID.
    ClearValid(VfId),
    /// Queue slow work; answered by [`Event::WorkDone`].
    Queue(Work),
    /// The PF now owns the engine (true) or no longer does (false).
    PfRuns(bool),
    /// [`Event::Disable`] is complete: nothing runs, no work is queued.
    Stopped,
    /// [`Event::Pause`] is complete: the VF's state is saved, unless it is lost: then
    /// [`super::engine::Engine::vf_state`] is not suspended.
    Paused(VfId),
    /// The answer to [`Event::Adopt`]. If `ok`, the VF is suspended, its framebuffer is clean, and
    /// nothing of it runs or is listened to: the host may fill it. A reset makes an end of that at
    /// any time ([`super::engine::Engine::adoption`] tells).
    Adopted {
        /// Which VF.
        vf: VfId,
        /// Whether it is the host's now.
        ok: bool,
    },
    /// The answer to [`Event::Adopted`]. If not `ok`, the VF was reset meanwhile, or was never
    /// taken: what the host has put there is scrubbed.
    Restored {
        /// Which VF.
        vf: VfId,
        /// Whether it runs after [`Event::Resume`].
        ok: bool,
    },
    /// [`Event::PauseAll`] is complete: nobody runs, and all states are saved; or the GPU is lost, or
    /// has stopped to answer while VFs were being disabled.
    AllPaused,
    /// The answer to [`Event::Leave`]. If `ok`, the engine does nothing any more and can be
    /// [written](super::engine::Engine::write): whatever the shell feeds it comes to nothing until
    /// [`Event::Stay`]. Else the GPU does not serve VFs.
    Left {
        /// Whether the VFs can be left.
        ok: bool,
    },
    /// Read the message that waits in the VF's mailbox, if any: its interrupt may have been lost, or
    /// the VF is listened to again after it had sent too many. Meanwhile ([`super::engine::Engine::takes_messages`] is false) the shell leaves what
    /// the VF sends unread and unacknowledged.
    Listen(VfId),
    /// Tell whoever watches (tracepoint, uevent, log).
    Note(Note),
}

/// Decisions worth telling: each is a tracepoint; some are also a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The engine passed from one function to another.
    Switch {
        /// Who ran before, if anybody.
        from: Option<Fcn>,
        /// Who runs now.
        to: Fcn,
        /// From the decision to switch until RUN completed, in ns.
        took: Ns,
    },
    /// A VF's life-cycle state changed.
    State {
        /// Whose.
        vf: VfId,
        /// The state it left.
        from: super::vf::VfState,
        /// The state it entered.
        to: super::vf::VfState,
    },
    /// A command did not complete in time or failed.
    CmdFailed {
        /// The command.
        cmd: Cmd,
        /// Its status, if one was read; `None` for a time-out.
        status: Option<u8>,
    },
    /// A VF is being reset.
    Reset {
        /// Whose.
        vf: VfId,
        /// Why.
        reason: ResetReason,
    },
    /// A message was refused or ignored.
    MessageDropped {
        /// The sender.
        vf: VfId,
        /// Its first word.
        code: u32,
    },
    /// A completion interrupt did not come, though the command had completed.
    LostIrq,
    /// Completion interrupts do not come at all: commands are polled from now on.
    Polling,
    /// The GPU itself does not answer: nothing is commanded until VFs have been disabled.
    Dead,
    /// The whole GPU is reset.
    GpuReset,
    /// The reset of the whole GPU is done: its VFs are scrubbed and admitted again.
    GpuReady,
    /// The GPU was taken away; [`Note::GpuReady`] says that it is back.
    Detached,
    /// The device has left the bus.
    Gone,
    /// A VF has exceeded a limit. Said once per offence, not for each message that is dropped.
    Guard {
        /// Which VF.
        vf: VfId,
        /// Which limit.
        limit: super::guard::Limit,
        /// What is done about it.
        act: super::guard::Act,
    },
}

/// Why a VF is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetReason {
    /// A command for it timed out or failed.
    Hang,
    /// It held full access too long.
    FullAccessTimeout,
    /// Its guest asked (REQ_GPU_RESET_ACCESS).
    GuestRequest,
    /// Its guest or its VFIO user reset the function.
    GuestFlr,
    /// The host asked.
    HostRequest,
    /// The whole GPU is reset.
    GpuReset,
    /// Nobody has it open any more, and it was not reset when it was closed.
    Abandoned,
}

impl ResetReason {
    /// The name that the ABI gives the reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::FullAccessTimeout => "full-access-timeout",
            Self::GuestRequest => "guest-request",
            Self::GuestFlr => "guest-flr",
            Self::HostRequest => "host-request",
            Self::GpuReset => "gpu-reset",
            Self::Abandoned => "abandoned",
        }
    }
}
