// SPDX-License-Identifier: GPL-2.0
//! The mailbox as the chip's guest driver uses it (gpu-iov-hardware.md, sections 4.1 to 4.4 and
//! 8.1): that of Tonga changes the dword of handshake bits, that of Vega writes single bytes.

use std::time::Duration;

use gpu_regs::chip::MailboxAccess;
use gpu_regs::mailbox::{event, request, RCV_ACK, RCV_VALID, TRN_ACK, TRN_VALID};

use crate::error::{Error, Result};
use crate::transport::Transport;

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
    format!("control {:#010x}, received {:#x}", control(t), received(t))
}

fn control<T: Transport>(t: &mut T) -> u32 {
    let register = t.chip().regs.mailbox_control;
    t.reg_read(register)
}

/// A limit of the chip's guest driver.
fn limit(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// Says that the own message is valid, or no longer.
fn set_valid<T: Transport>(t: &mut T, on: bool) {
    let register = t.chip().regs.mailbox_control;
    match t.chip().mailbox {
        // The guest driver reads, changes and writes the whole dword; read-only bits go back too.
        MailboxAccess::Dword => {
            let rest = control(t) & !TRN_VALID;
            t.reg_write(register, rest | if on { TRN_VALID } else { 0 });
        }
        MailboxAccess::Bytes => t.reg_write_byte(register, 0, u8::from(on)),
    }
}

fn is_acked<T: Transport>(t: &mut T) -> bool {
    let control = control(t);
    control != u32::MAX && control & TRN_ACK != 0
}

/// Puts `message` into the mailbox and does not look what becomes of it.
pub fn post<T: Transport>(t: &mut T, message: u32) {
    let register = t.chip().regs.mailbox_trn_dw0;
    if t.chip().mailbox == MailboxAccess::Bytes {
        set_valid(t, false);
    }
    t.reg_write(register, message);
    set_valid(t, true);
}

/// Waits at most `limit` until the host has acknowledged what was posted.
pub fn await_ack<T: Transport>(t: &mut T, limit: Duration) -> Result<()> {
    let what = || "waiting for the host to acknowledge a message".to_owned();
    poll(t, limit, what, is_acked)
}

/// Waits until the host has acknowledged `message`, at most `limit`, and drops it in any case.
pub fn withdraw<T: Transport>(t: &mut T, message: u32, limit: Duration) -> Result<()> {
    let acked = poll(
        t,
        limit,
        || format!("waiting for the host to acknowledge message {message}"),
        is_acked,
    );
    set_valid(t, false);
    acked
}

/// Sends `message`; waits for the host's acknowledgement at most `limit`.
///
/// On a time-out the message is withdrawn.  Says how long it took.
pub fn send_within<T: Transport>(t: &mut T, message: u32, limit: Duration) -> Result<Duration> {
    let start = t.now();
    post(t, message);
    withdraw(t, message, limit)?;
    Ok(t.now().saturating_sub(start))
}

/// Sends `message` and waits for the acknowledgement as long as a guest does.
pub fn send<T: Transport>(t: &mut T, message: u32) -> Result<Duration> {
    let patience = limit(t.chip().guest.ack_ms);
    send_within(t, message, patience)
}

/// Tells the host that the VF may be reset, if the chip's guest driver does.  That the host, or
/// the reset, is faster than the acknowledgement is no failure.
pub fn ready_to_reset<T: Transport>(t: &mut T) {
    let guest = t.chip().guest;
    if !guest.ready_to_reset {
        return;
    }
    let register = t.chip().regs.mailbox_trn_dw0;
    set_valid(t, false);
    t.reg_write(register, request::READY_TO_RESET);
    set_valid(t, true);
    let _ = poll(
        t,
        limit(guest.ack_ms),
        || "waiting for the host to acknowledge READY_TO_RESET".to_owned(),
        |t| is_acked(t) || received(t) == event::FLR_NOTIFICATION_CMPL,
    );
    set_valid(t, false);
}

/// The message that lies in the mailbox, if it is valid.
pub fn pending<T: Transport>(t: &mut T) -> Option<u32> {
    let control = control(t);
    (control != u32::MAX && control & RCV_VALID != 0).then(|| received(t))
}

/// The first dword received, valid or not: the end of a reset comes without the valid bit.
pub fn received<T: Transport>(t: &mut T) -> u32 {
    let register = t.chip().regs.mailbox_rcv_dw0;
    t.reg_read(register)
}

/// Acknowledges the message in the mailbox and waits until it is gone.
pub fn acknowledge<T: Transport>(t: &mut T) -> Result<()> {
    let message = received(t);
    let register = t.chip().regs.mailbox_control;
    match t.chip().mailbox {
        MailboxAccess::Dword => {
            let control = control(t);
            t.reg_write(register, control | RCV_ACK);
        }
        // CAST: the bit is in the second byte.
        MailboxAccess::Bytes => t.reg_write_byte(register, 1, (RCV_ACK >> 8) as u8),
    }
    let patience = limit(t.chip().guest.access_ms);
    poll(
        t,
        patience,
        || format!("message {message} was acknowledged, waiting for its valid bit to drop"),
        |t| control(t) & RCV_VALID == 0,
    )
}

/// Waits for `wanted`, acknowledges it and waits until it is gone.  Says how long it took to come.
pub fn wait_for<T: Transport>(t: &mut T, wanted: u32, what: &str) -> Result<Duration> {
    let start = t.now();
    let patience = limit(t.chip().guest.access_ms);
    poll(
        t,
        patience,
        || what.to_owned(),
        |t| pending(t) == Some(wanted),
    )?;
    let took = t.now().saturating_sub(start);
    acknowledge(t)?;
    Ok(took)
}

/// Asks for what the host has to tell, and waits until it is there.  Says which layout it has.
pub fn request_init_data<T: Transport>(t: &mut T) -> Result<u32> {
    send(t, request::REQ_INIT_DATA)?;
    let patience = limit(t.chip().guest.access_ms);
    poll(
        t,
        patience,
        || "REQ_GPU_INIT_DATA was acknowledged, waiting for GPU_INIT_DATA_READY".to_owned(),
        |t| pending(t) == Some(event::INIT_DATA_READY),
    )?;
    let register = t.chip().regs.mailbox_rcv_dw0 + 1;
    let layout = t.reg_read(register);
    acknowledge(t)?;
    Ok(layout)
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
    let patience = limit(t.chip().guest.reset_ms);
    poll(
        t,
        patience,
        || "waiting for FLR_NOTIFICATION_CMPL".to_owned(),
        |t| received(t) == event::FLR_NOTIFICATION_CMPL,
    )?;
    if pending(t) == Some(event::FLR_NOTIFICATION_CMPL) {
        acknowledge(t)?;
    }
    Ok(t.now().saturating_sub(start))
}
