// SPDX-License-Identifier: GPL-2.0
//! The mailbox as a VI guest uses it (gpu-iov-hardware.md, sections 4.1 to 4.4 and 8.1).

use std::time::Duration;

use gpu_regs::mailbox::{event, RCV_ACK, RCV_VALID, TRN_ACK, TRN_VALID};
use gpu_regs::mmio::{MAILBOX_CONTROL, MAILBOX_RCV_DW0, MAILBOX_TRN_DW0};

use crate::error::{Error, Result};
use crate::transport::Transport;

/// What a VI guest waits for an acknowledgement, an answer, or the end of a reset (section 4.3).
pub const GUEST_LIMIT: Duration = Duration::from_millis(12_000);

/// Pause between two looks at a register.
const PERIOD: Duration = Duration::from_millis(1);

/// Looks every millisecond until `done`, or fails with `what` and the state of the mailbox.
fn poll<T: Transport>(
    t: &mut T,
    limit: Duration,
    what: impl Fn() -> String,
    mut done: impl FnMut(&mut T) -> bool,
) -> Result<()> {
    let start = t.now();
    loop {
        if done(t) {
            return Ok(());
        }
        let waited = t.now().saturating_sub(start);
        if waited >= limit {
            return Err(Error::Timeout {
                what: what(),
                waited,
                seen: seen(t),
            });
        }
        t.sleep(PERIOD);
    }
}

fn seen<T: Transport>(t: &mut T) -> String {
    format!(
        "control {:#010x}, received {:#x}",
        t.reg_read(MAILBOX_CONTROL),
        t.reg_read(MAILBOX_RCV_DW0)
    )
}

/// Sends `message`; waits for the host's acknowledgement at most `limit`.
///
/// On a time-out the message is withdrawn.  Says how long it took.
pub fn send_within<T: Transport>(t: &mut T, message: u32, limit: Duration) -> Result<Duration> {
    let start = t.now();
    t.reg_write(MAILBOX_TRN_DW0, message);
    // The guest driver reads, changes and writes the whole dword; read-only bits go back too.
    let control = t.reg_read(MAILBOX_CONTROL);
    t.reg_write(MAILBOX_CONTROL, control | TRN_VALID);
    let acked = poll(
        t,
        limit,
        || format!("waiting for the host to acknowledge message {message}"),
        |t| {
            let control = t.reg_read(MAILBOX_CONTROL);
            control != u32::MAX && control & TRN_ACK != 0
        },
    );
    let control = t.reg_read(MAILBOX_CONTROL);
    t.reg_write(MAILBOX_CONTROL, control & !TRN_VALID);
    acked.map(|()| t.now().saturating_sub(start))
}

/// Sends `message` and waits for the acknowledgement as long as a guest does.
pub fn send<T: Transport>(t: &mut T, message: u32) -> Result<Duration> {
    send_within(t, message, GUEST_LIMIT)
}

/// The message that lies in the mailbox, if it is valid.
pub fn pending<T: Transport>(t: &mut T) -> Option<u32> {
    let control = t.reg_read(MAILBOX_CONTROL);
    (control != u32::MAX && control & RCV_VALID != 0).then(|| t.reg_read(MAILBOX_RCV_DW0))
}

/// The first dword received, valid or not: the end of a reset comes without the valid bit.
pub fn received<T: Transport>(t: &mut T) -> u32 {
    t.reg_read(MAILBOX_RCV_DW0)
}

/// Acknowledges the message in the mailbox and waits until it is gone.
pub fn acknowledge<T: Transport>(t: &mut T) -> Result<()> {
    let message = received(t);
    let control = t.reg_read(MAILBOX_CONTROL);
    t.reg_write(MAILBOX_CONTROL, control | RCV_ACK);
    poll(
        t,
        GUEST_LIMIT,
        || format!("message {message} was acknowledged, waiting for its valid bit to drop"),
        |t| t.reg_read(MAILBOX_CONTROL) & RCV_VALID == 0,
    )
}

/// Waits for `wanted`, acknowledges it and waits until it is gone.  Says how long it took to come.
pub fn wait_for<T: Transport>(t: &mut T, wanted: u32, what: &str) -> Result<Duration> {
    let start = t.now();
    poll(
        t,
        GUEST_LIMIT,
        || what.to_owned(),
        |t| pending(t) == Some(wanted),
    )?;
    let took = t.now().saturating_sub(start);
    acknowledge(t)?;
    Ok(took)
}

/// Asks for full access by `request` (init, fini or reset) and waits until the host grants it.
///
/// Says how long the host took from the request to the grant.
pub fn request_access<T: Transport>(t: &mut T, request: u32) -> Result<Duration> {
    let acked = send(t, request)?;
    let what = format!("request {request} was acknowledged, waiting for READY_TO_ACCESS_GPU");
    Ok(acked + wait_for(t, event::READY_TO_ACCESS_GPU, &what)?)
}

/// Waits until the host says that a reset has ended, with or without the valid bit.
pub fn wait_reset_done<T: Transport>(t: &mut T) -> Result<Duration> {
    let start = t.now();
    poll(
        t,
        GUEST_LIMIT,
        || "waiting for FLR_NOTIFICATION_CMPL".to_owned(),
        |t| received(t) == event::FLR_NOTIFICATION_CMPL,
    )?;
    if pending(t) == Some(event::FLR_NOTIFICATION_CMPL) {
        acknowledge(t)?;
    }
    Ok(t.now().saturating_sub(start))
}
