// SPDX-License-Identifier: GPL-2.0
//! Readers and writers of every kind: slow ones, ones that are interrupted or killed, ones that
//! never wait, ones that poll.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use gim_uapi::{sys, Source, Stream, Vf, ENOMSG};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::signal::{register_signal_handler, Killable, SIGRTMIN};

use crate::errno::*;
use crate::streams::{compare, fill, is_clean, small, take};
use crate::{refused, Bench, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a reader of single bytes, and a slow one", slow_reader),
    ("a writer of single bytes, and a slow one", slow_writer),
    ("signals while a stream is read and written", signals),
    ("a signal while a VF is being cleaned", signal_while_waiting),
    ("streams that never wait", nonblocking),
    ("the last look is not waited for by those", last_look),
    ("what poll tells", polled),
    ("whoever saves is killed", killed_saving),
    ("whoever restores is killed", killed_restoring),
];

fn slow_reader(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let data = fill(b, &vf, 4096)?;
    let (mut all, mut byte) = (Vec::new(), [0]);
    let mut stream = vf.save(None)?;
    while all.len() < 6000 {
        ensure!(stream.read(&mut byte)? == 1);
        all.push(byte[0]);
        if all.len() % 500 == 0 {
            std::thread::sleep(Duration::from_millis(40));
        }
    }
    let mut piece = [0; 77];
    loop {
        match stream.read(&mut piece)? {
            0 => break,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
    drop(stream);
    let to = b.vf(1)?;
    to.restore()?.write_all(&all)?;
    compare(&to, &data)?;
    to.reset()?;
    vf.reset()?;
    Ok(())
}

fn slow_writer(b: &Bench) -> Result<()> {
    let all = small(b)?;
    let to = b.vf(1)?;
    let mut stream = to.restore()?;
    for (n, byte) in all.iter().enumerate() {
        ensure!(!stream.is_complete()?, "complete before byte {n}");
        ensure!(stream.write(&[*byte])? == 1);
        if n % 1000 == 0 {
            std::thread::sleep(Duration::from_millis(40));
        }
    }
    ensure!(stream.is_complete()?);
    ensure!(stream.query()?.passed_bytes == all.len() as u64);
    to.reset()?;
    Ok(())
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Does `work` in a thread that gets one signal after the other; says how many came.
fn under_fire<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<(T, u32)> {
    register_signal_handler(SIGRTMIN(), on_signal).map_err(io::Error::from)?;
    let before = SIGNALS.load(Ordering::Relaxed);
    let thread = std::thread::spawn(work);
    while !thread.is_finished() {
        // It may have ended since.
        let _ = thread.kill(SIGRTMIN());
        std::thread::sleep(Duration::from_micros(300));
    }
    let result = thread.join();
    let came = SIGNALS.load(Ordering::Relaxed).wrapping_sub(before);
    result
        .map(|result| (result, came))
        .map_err(|_| anyhow::anyhow!("the thread has panicked"))
}

/// Reads or writes in pieces so large that a signal comes into each of them.
fn with_patience(mut step: impl FnMut() -> io::Result<usize>) -> io::Result<()> {
    loop {
        match step() {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn signals(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, true)?;
    let data = fill(b, &vf, 3 << 20)?;
    let want = take(&vf, None)?;
    let mut stream = vf.save(None)?;
    let read = move || {
        let (mut all, mut calls) = (Vec::new(), 0);
        let mut piece = vec![0; 16 << 20];
        let done = with_patience(|| {
            let n = stream.read(&mut piece)?;
            all.extend_from_slice(&piece[..n]);
            calls += 1;
            Ok(n)
        });
        (done, all, calls)
    };
    let ((done, all, calls), came) = under_fire(read)?;
    done.context("reading under fire")?;
    ensure!(all == want, "what was read under fire is not the stream");
    println!("# read by {calls} calls, {came} signals");
    ensure!(came > 0 && calls > 2, "no signal came in between");

    let to = b.vf(1)?;
    let mut stream = to.restore()?;
    let write = move || {
        let (mut at, mut calls) = (0, 0);
        let done = with_patience(|| {
            let n = if at < all.len() {
                stream.write(&all[at..])?
            } else {
                0
            };
            at += n;
            calls += 1;
            Ok(n)
        });
        (done, stream.is_complete(), calls)
    };
    let ((done, complete, calls), came) = under_fire(write)?;
    done.context("writing under fire")?;
    println!("# written by {calls} calls, {came} signals");
    ensure!(complete?, "not complete");
    compare(&to, &data)?;
    to.reset()?;
    vf.reset()?;
    Ok(())
}

/// A restore waits until the VF is clean; who is interrupted then asks again.
fn signal_while_waiting(b: &Bench) -> Result<()> {
    let good = small(b)?;
    let mut interrupted = 0;
    for _ in 0..3 {
        let vf = b.vf(1)?;
        vf.pause(0, false)?;
        vf.fb_write(0, &[1; 4096])?;
        vf.reset()?;
        let ask = move || vf.restore().map(drop);
        if let (Err(e), _) = under_fire(ask)? {
            ensure!(e.raw_os_error() == Some(EINTR), "{e}");
            interrupted += 1;
        }
        is_clean(b)?;
        let vf = b.vf(1)?;
        let mut stream = vf.restore()?;
        stream.write_all(&good)?;
        ensure!(stream.is_complete()?);
        vf.reset()?;
        b.wait_state(1, "available")?;
    }
    println!("# interrupted {interrupted} times of 3");
    Ok(())
}

/// A stream with `O_NONBLOCK`; with a source, in rounds.
fn save_nonblocking(vf: &Vf, source: Option<Source>) -> io::Result<std::fs::File> {
    use std::os::fd::FromRawFd;

    let arg = sys::gim_vf_save {
        argsz: u32::try_from(size_of::<sys::gim_vf_save>()).unwrap_or(0),
        flags: match source {
            Some(_) => sys::GIM_SAVE_NONBLOCK | sys::GIM_SAVE_PRECOPY,
            None => sys::GIM_SAVE_NONBLOCK,
        },
        source: source.unwrap_or(Source::Auto) as u32,
        ..Default::default()
    };
    let fd = vf.as_fd().as_raw_fd();
    // SAFETY: The structure of that ioctl.
    match unsafe { ioctl_with_ref(&fd, sys::GIM_IOCTL_VF_SAVE.into(), &arg) } {
        n if n < 0 => Err(io::Error::last_os_error()),
        // SAFETY: Just made by the kernel; nobody else has it.
        n => Ok(unsafe { std::fs::File::from_raw_fd(n) }),
    }
}

fn nonblocking(b: &Bench) -> Result<()> {
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    fill(b, &vf, 64 << 10)?;
    let want = take(&vf, None)?;
    let mut stream = save_nonblocking(&vf, None)?;
    let flags = rustix::fs::fcntl_getfl(&stream)?;
    ensure!(flags.contains(rustix::fs::OFlags::NONBLOCK), "{flags:?}");
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    ensure!(all == want, "another stream");
    drop(stream);
    vf.resume()?;
    let mut stream = save_nonblocking(&vf, Some(Source::Auto))?;
    let quiet = loop {
        match stream.read(&mut vec![0; 1 << 20]) {
            Ok(0) => bail!("the end came while it runs"),
            Ok(_) => {}
            Err(e) => break e,
        }
    };
    ensure!(quiet.raw_os_error() == Some(ENOMSG), "{quiet}");
    drop(stream);
    vf.reset()?;
    b.wait_state(0, "available")
}

/// Reads until there is nothing at the moment, which it returns, or until the end.
fn read_on(stream: &mut std::fs::File, all: &mut Vec<u8>) -> Result<Option<i32>> {
    let mut buf = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(None),
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(e) => return Ok(e.raw_os_error()),
        }
    }
}

/// While the last look goes on there is nothing yet, and poll() tells when there is.
fn last_look(b: &Bench) -> Result<()> {
    const BYTES: usize = 256 << 10;
    let (vf, target) = (b.vf(0)?, b.vf(1)?);
    // Whatever the tests before have left of them.
    vf.reset()?;
    target.reset()?;
    b.wait_state(0, "available")?;
    b.wait_state(1, "available")?;
    let mut all = Vec::new();
    let mut stream = save_nonblocking(&vf, Some(Source::Software))?;
    ensure!(read_on(&mut stream, &mut all)? == Some(ENOMSG));
    // A CPU's writes stand for the VF's.
    let fb = b.framebuffer(0, BYTES)?;
    for at in (0..BYTES).step_by(4096) {
        fb.write32(at, 7)?;
    }
    vf.pause(0, false).context("pausing")?;
    let mut waited = 0;
    while let Some(why) = read_on(&mut stream, &mut all)? {
        ensure!(why == EAGAIN, "errno {why}");
        waited += 1;
        let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
        let most = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        ensure!(
            poll(&mut fds, Some(&most))? == 1,
            "nobody has said that it goes on"
        );
        ensure!(fds[0].revents() == PollFlags::IN, "{:?}", fds[0].revents());
    }
    ensure!(waited > 0, "there was nothing to wait for");
    let mut to = target.restore().context("restoring")?;
    to.write_all(&all).context("writing")?;
    ensure!(to.is_complete()?);
    let mut there = vec![0; BYTES];
    target.fb_read(0, &mut there)?;
    ensure!(there.chunks(4096).all(|page| page[..5] == [7, 0, 0, 0, 0]));
    drop((stream, to));
    vf.reset()?;
    target.reset()?;
    b.wait_state(0, "available")?;
    b.wait_state(1, "available")
}

fn seen(stream: &Stream) -> Result<PollFlags> {
    let both = PollFlags::IN | PollFlags::OUT;
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), both)];
    poll(&mut fds, Some(&Timespec::default()))?;
    Ok(fds[0].revents())
}

fn polled(b: &Bench) -> Result<()> {
    let good = small(b)?;
    let vf = b.vf(0)?;
    vf.pause(0, false)?;
    let mut stream = vf.save(None)?;
    ensure!(seen(&stream)? == PollFlags::IN, "{:?}", seen(&stream)?);
    stream.read_to_end(&mut Vec::new())?;
    // As with every file, its end is there to be read.
    ensure!(seen(&stream)? == PollFlags::IN, "{:?}", seen(&stream)?);
    drop(stream);
    let to = b.vf(1)?;
    let mut stream = to.restore()?;
    ensure!(seen(&stream)? == PollFlags::OUT, "{:?}", seen(&stream)?);
    stream.write_all(&good[..100])?;
    ensure!(seen(&stream)? == PollFlags::OUT, "{:?}", seen(&stream)?);
    refused(stream.write(&[0xEE; 4096]), EBADMSG)?;
    ensure!(
        seen(&stream)?.contains(PollFlags::ERR),
        "{:?}",
        seen(&stream)?
    );
    refused(stream.read(&mut [0]), EINVAL)?;
    drop(stream);
    is_clean(b)
}

/// A child that holds a stream which has come to byte `n`, and is then killed.
struct Victim(Child);

impl Victim {
    fn new(b: &Bench, what: &str, n: usize) -> Result<Self> {
        let me = std::env::current_exe()?;
        let mut child = Command::new(me)
            .args([
                "--gpu",
                &b.pf(),
                "--hold",
                what,
                "--at",
                &n.to_string(),
                "none",
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("its output")?;
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.trim() == "holds", "the victim says {line:?}");
        Ok(Self(child))
    }

    fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

/// Where a stream for victims lies.
const STREAM: &str = "/tmp/migrate-test.stream";

/// What the victim does; it does not come back.
pub(crate) fn hold(b: &Bench, what: &str, n: usize) -> Result<()> {
    static FOREVER: AtomicBool = AtomicBool::new(true);
    let vf = b.vf(u32::from(what == "restore"))?;
    let stream = match what {
        "save" => {
            vf.pause(0, false)?;
            fill(b, &vf, 4096)?;
            let mut stream = vf.save(None)?;
            stream.read_exact(&mut vec![0; n])?;
            stream
        }
        "precopy" => {
            let mut stream = vf.save(Some(Source::Auto))?;
            stream.read_exact(&mut vec![0; n])?;
            stream
        }
        "restore" => {
            let all = std::fs::read(STREAM)?;
            let mut stream = vf.restore()?;
            stream.write_all(&all[..n])?;
            stream
        }
        _ => bail!("--hold save, precopy or restore"),
    };
    println!("holds");
    while FOREVER.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_secs(1));
    }
    drop((stream, vf));
    Ok(())
}

fn killed_saving(b: &Bench) -> Result<()> {
    let good = small(b)?;
    let len = good.len();
    for (what, n) in [
        ("save", 0),
        ("save", 48),
        ("save", 9000),
        ("precopy", 0),
        ("precopy", 100),
    ] {
        let victim = Victim::new(b, what, n)?;
        refused(b.vf(0)?.save(Some(Source::Auto)), EBUSY)?;
        victim.kill()?;
        b.is_sound(0, &good)
            .with_context(|| format!("{what} killed at {n} of {len}"))?;
    }
    Ok(())
}

fn killed_restoring(b: &Bench) -> Result<()> {
    let good = small(b)?;
    std::fs::write(STREAM, &good)?;
    for n in [0, 48, good.len() / 2, good.len() - 1] {
        let victim = Victim::new(b, "restore", n)?;
        refused(b.vf(1)?.restore(), EBUSY)?;
        victim.kill()?;
        is_clean(b).with_context(|| format!("killed at {n}"))?;
        b.is_sound(1, &good)?;
    }
    // What was complete waits for whoever comes next.
    Victim::new(b, "restore", good.len())?.kill()?;
    ensure!(b.state(1)? == "suspended");
    let vf = b.vf(1)?;
    vf.resume()?;
    vf.reset()?;
    std::fs::remove_file(STREAM)?;
    Ok(())
}
