// SPDX-License-Identifier: GPL-2.0
//! A VF is saved and restored in every phase of its life: VF0 becomes VF1, and its guest goes on.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use gim_uapi::Vf;
use gpu_regs::mailbox::{event, request};
use gpu_regs::sdma::{Packet, MAX_BYTES};
use vf_client::mailbox;
use vf_client::referee::{Fault, Referee};
use vf_client::transport::Transport;

use crate::errno::*;
use crate::guest::{Guest, LIMIT, WORK};
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("it moves while it has nothing to do", idle),
    ("it moves in the middle of a copy", mid_copy),
    (
        "it moves in the middle of a copy, again and again",
        ping_pong,
    ),
    ("an interrupt that it has not seen comes again", interrupt),
    ("a message that it has not acknowledged stands", to_guest),
    ("a request that was taken is answered elsewhere", wish),
    (
        "a message that nobody has taken is taken elsewhere",
        untaken,
    ),
    ("its driver loads elsewhere", unloaded),
    (
        "a request before its driver loads is answered elsewhere",
        early,
    ),
    (
        "a message before its driver loads is taken elsewhere",
        early_untaken,
    ),
    (
        "a message whose taking it has not seen is taken elsewhere",
        early_unseen,
    ),
    ("full access is not interrupted", full_access),
    ("a stream is refused by a VF that is in use", in_use),
];

/// Reads a stream to its end.
fn read_all(vf: &Vf) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    vf.save(None)?.read_to_end(&mut all)?;
    Ok(all)
}

/// Fills a VF from a stream; it is paused then.
fn write_all(vf: &Vf, all: &[u8]) -> Result<()> {
    let mut stream = vf.restore()?;
    stream.write_all(all)?;
    ensure!(stream.is_complete()?, "not complete");
    Ok(())
}

/// Moves a guest: `between` is called when its VF is paused.
fn carry(
    b: &Bench,
    (from, to): (u32, u32),
    mut guest: Guest,
    between: impl FnOnce(&mut Guest, &Vf) -> Result<()>,
) -> Result<Guest> {
    let source = b.vf(from)?;
    source.pause(0, true)?;
    between(&mut guest, &source)?;
    let target = b.open_function(to)?;
    let all = read_all(&source)?;
    arrive(b, (source, to), guest, target, &all)
}

/// The second half: the stream is there.
fn arrive(
    b: &Bench,
    (source, to): (Vf, u32),
    mut guest: Guest,
    target: vf_client::vfio::Vfio,
    all: &[u8],
) -> Result<Guest> {
    let frozen = guest.freeze()?;
    let destination = b.vf(to)?;
    write_all(&destination, all)?;
    let moved = frozen.thaw(target)?;
    // The source goes, as after a migration that was good.
    source.reset()?;
    drop(guest);
    destination.resume()?;
    Ok(moved)
}

fn nothing(_: &mut Guest, _: &Vf) -> Result<()> {
    Ok(())
}

fn done(guest: Guest) -> Result<()> {
    guest.stop()
}

fn idle(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    guest.works()?;
    let mut guest = carry(b, (0, 1), guest, nothing)?;
    guest.works()?;
    ensure!(b.state(1)? == "active");
    done(guest)
}

/// Bytes of the long copy.
const LONG: u32 = MAX_BYTES / 4096 * 4096;

/// Where it reads, and where it writes.
const FROM: u64 = WORK;
const TO: u64 = WORK + LONG as u64;

/// Fills a source and begins to copy it, three times; returns the number of the job.
fn long_copy(guest: &mut Guest, value: u32) -> Result<u32> {
    let fill = |dst, value| Packet::ConstFill {
        dst,
        value,
        bytes: LONG,
    };
    let job = guest.submit([fill(FROM, value), fill(TO, !value)])?;
    guest.wait(job)?;
    let copy = |n: u32| Packet::CopyLinear {
        src: FROM,
        dst: TO,
        bytes: LONG - n * 4096,
    };
    guest.submit((0..3).map(copy))
}

/// How many bytes of the copy have come; what is behind them is as before.
fn progress(vf: &Vf, value: u32) -> Result<usize> {
    let mut now = vec![0; LONG as usize];
    vf.fb_read(TO, &mut now)?;
    let want = value.to_le_bytes();
    let right = |(i, byte): (usize, &u8)| *byte == want[i % 4];
    let came = now
        .iter()
        .enumerate()
        .take_while(|&each| right(each))
        .count();
    let old = (came..)
        .zip(&now[came..])
        .all(|(i, byte)| *byte == !want[i % 4]);
    ensure!(old, "behind byte {came} there is something else");
    Ok(came)
}

fn copied(guest: &mut Guest, value: u32) -> Result<()> {
    let mut now = vec![0; LONG as usize];
    guest.vf.t.vram_read(TO, &mut now)?;
    let right = now.chunks(4).all(|c| c == value.to_le_bytes());
    ensure!(right, "the copy is not what it must be");
    Ok(())
}

fn mid_copy(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    let value = 0x1357_9BDF;
    let job = long_copy(&mut guest, value)?;
    std::thread::sleep(Duration::from_micros(1500));
    let mut came = 0;
    let guest = carry(b, (0, 1), guest, |_, vf| {
        came = progress(vf, value)?;
        Ok(())
    });
    let mut guest = guest?;
    ensure!(
        came > 0 && came < LONG as usize,
        "{came} bytes of {LONG} were copied: not in the middle"
    );
    guest.wait(job).context("the job that was under way")?;
    copied(&mut guest, value)?;
    guest.works()?;
    done(guest)
}

/// To VF1, back to VF0, and so on, always in the middle of the same job.
fn ping_pong(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    let value = 0x0246_8ACE;
    let job = long_copy(&mut guest, value)?;
    let mut last = 0;
    for hop in 0..6 {
        let way = (hop % 2, 1 - hop % 2);
        std::thread::sleep(Duration::from_micros(300));
        guest = carry(b, way, guest, |_, vf| {
            let came = progress(vf, value)?;
            ensure!(came >= last, "hop {hop}: {came} bytes after {last}");
            last = came;
            Ok(())
        })?;
    }
    ensure!(last > 0, "it never ran");
    guest.wait(job)?;
    copied(&mut guest, value)?;
    done(guest)
}

fn interrupt(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    // Nobody looks at what this one brings.
    let fill = Packet::ConstFill {
        dst: WORK,
        value: 5,
        bytes: 4096,
    };
    let job = guest.submit([fill])?;
    std::thread::sleep(Duration::from_millis(50));
    let before = guest.vf.stats.traps;
    let mut guest = carry(b, (0, 1), guest, nothing)?;
    let seen = guest.vf.watch(LIMIT)?;
    ensure!(seen.interrupted, "no interrupt came");
    ensure!(
        seen.fence == job && guest.vf.stats.traps > before,
        "{seen:?}"
    );
    guest.works()?;
    done(guest)
}

fn to_guest(b: &Bench) -> Result<()> {
    let mut guest = b.new_guest(0)?;
    guest.send(request::REQ_INIT_ACCESS)?;
    guest.await_message(event::READY_TO_ACCESS_GPU)?;
    // It begins and ends without a word to that.
    guest.release()?;
    b.wait_state(0, "active")?;
    let mut guest = carry(b, (0, 1), guest, nothing)?;
    ensure!(
        mailbox::pending(&mut guest.vf.t) == Some(event::READY_TO_ACCESS_GPU),
        "the message is gone"
    );
    mailbox::acknowledge(&mut guest.vf.t).context("acknowledging it elsewhere")?;
    ensure!(b.state(1)? == "active");
    Ok(())
}

/// What a guest asks while it is paused is answered when it runs.
fn wish(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    guest.works()?;
    let guest = carry(b, (0, 1), guest, |guest, _| {
        guest.send(request::REQ_FINI_ACCESS)
    });
    let mut guest = guest?;
    let what = "READY_TO_ACCESS_GPU on the other VF";
    mailbox::wait_for(&mut guest.vf.t, event::READY_TO_ACCESS_GPU, what)?;
    guest.send(request::REL_FINI_ACCESS)?;
    b.wait_state(1, "available")
}

/// It has sent something after the host had stopped to listen, and before its image was read.
fn untaken(b: &Bench) -> Result<()> {
    let mut guest = b.guest(0)?;
    guest.works()?;
    let target = b.open_function(1)?;
    let source = b.vf(0)?;
    source.pause(0, true)?;
    let context = usize::try_from(source.query()?.context_size)?;
    let whole = read_all(&source)?.len();
    let mut stream = source.save(None)?;
    let mut all = vec![0; whole - context - 100];
    stream.read_exact(&mut all)?;
    guest.post(request::REQ_FINI_ACCESS);
    stream.read_to_end(&mut all)?;
    ensure!(all.len() == whole);
    drop(stream);
    let mut guest = arrive(b, (source, 1), guest, target, &all)?;
    guest.posted(request::REQ_FINI_ACCESS)?;
    let what = "READY_TO_ACCESS_GPU for a message from elsewhere";
    mailbox::wait_for(&mut guest.vf.t, event::READY_TO_ACCESS_GPU, what)?;
    guest.send(request::REL_FINI_ACCESS)?;
    b.wait_state(1, "available")
}

fn unloaded(b: &Bench) -> Result<()> {
    let guest = b.new_guest(0)?;
    let data = [0x5Au8; 8192];
    let guest = carry(b, (0, 1), guest, |_, vf| Ok(vf.fb_write(WORK, &data)?));
    let mut guest = guest?;
    let mut back = [0; 8192];
    guest.vf.t.vram_read(WORK, &mut back)?;
    ensure!(back == data, "its framebuffer is another");
    guest.vf.start()?;
    guest.works()?;
    done(guest)
}

/// Its driver has asked for the GPU, and was not answered before it moved.
fn early(b: &Bench) -> Result<()> {
    let guest = b.new_guest(0)?;
    let guest = carry(b, (0, 1), guest, |guest, _| {
        guest.send(request::REQ_INIT_ACCESS)
    });
    let mut guest = guest?;
    guest.await_message(event::READY_TO_ACCESS_GPU)?;
    mailbox::acknowledge(&mut guest.vf.t)?;
    guest.release()?;
    b.wait_state(1, "active")?;
    guest.vf.start()?;
    guest.works()?;
    done(guest)
}

/// The same, but the interrupt that tells the host was lost: its message stands, unread.
fn early_untaken(b: &Bench) -> Result<()> {
    let Some(referee) = Referee::find()? else {
        return Ok(());
    };
    let guest = b.new_guest(0)?;
    let guest = carry(b, (0, 1), guest, |guest, _| {
        referee.arm(Fault {
            kind: gpu_regs::referee::fault::LOST_INTERRUPT,
            function: 0,
            command: 0,
            arg: 0,
            count: 1,
        })?;
        guest.post(request::REQ_INIT_ACCESS);
        Ok(())
    });
    referee.clear_faults()?;
    let mut guest = guest?;
    guest.posted(request::REQ_INIT_ACCESS)?;
    guest.await_message(event::READY_TO_ACCESS_GPU)?;
    mailbox::acknowledge(&mut guest.vf.t)?;
    guest.release()?;
    b.wait_state(1, "active")
}

/// Its message was taken, and it moves before it looks.
fn early_unseen(b: &Bench) -> Result<()> {
    let guest = b.new_guest(0)?;
    let guest = carry(b, (0, 1), guest, |guest, _| {
        guest.post(request::REQ_INIT_ACCESS);
        guest.await_ack()
    });
    let mut guest = guest?;
    guest.posted(request::REQ_INIT_ACCESS)?;
    guest.await_message(event::READY_TO_ACCESS_GPU)?;
    mailbox::acknowledge(&mut guest.vf.t)?;
    guest.release()?;
    b.wait_state(1, "active")
}

fn full_access(b: &Bench) -> Result<()> {
    let mut guest = b.new_guest(0)?;
    mailbox::request_access(&mut guest.vf.t, request::REQ_INIT_ACCESS)?;
    let vf = b.vf(0)?;
    ensure!(b.state(0)? == "full-access", "{}", b.state(0)?);
    refused(vf.pause(0, false), EBUSY)?;
    refused(vf.save(None), EBUSY)?;
    refused(vf.restore(), EBUSY)?;
    refused(vf.fb_read(0, &mut [0; 4]), EBUSY)?;
    ensure!(b.state(0)? == "full-access", "it was disturbed");
    guest.release()?;
    b.wait_state(0, "active")?;
    vf.pause(0, false)?;
    vf.resume()?;
    guest.vf.start()?;
    guest.works()?;
    done(guest)
}

fn in_use(b: &Bench) -> Result<()> {
    let mut guest = b.guest(1)?;
    let vf = b.vf(1)?;
    refused(vf.restore(), EBUSY)?;
    vf.pause(0, false)?;
    refused(vf.restore(), EBUSY)?;
    vf.resume()?;
    guest.works()?;
    done(guest)
}
