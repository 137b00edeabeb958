// SPDX-License-Identifier: GPL-2.0
//! Moving a running VF: `gimctl migrate save|restore|send|recv`.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use gim_uapi::{open_vf, sys, Limits, Source, Stream, Vf, ENOMSG};
use gimctl::sysfs::Sysfs;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Bytes that are moved at a time.
const CHUNK: usize = 1 << 20;

/// How long to wait for something to become dirty before looking again.
const PAUSE: Duration = Duration::from_millis(5);

/// What a link may deliver at once after it was idle.
const BURST: Duration = Duration::from_millis(5);

/// Holds that may end before all was sent; then the VF is paused anyway.
const HOLDS: u32 = 3;

/// What the receiver answers when the VF is in place.
const ANSWER_OK: &str = "gim: restored";

#[derive(Subcommand)]
pub(crate) enum Migrate {
    /// Write a VF to a file, or to standard output; then it runs on
    Save {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: How,
        /// Leave the VF paused
        #[arg(long)]
        keep_paused: bool,
        /// The file; - for standard output
        file: PathBuf,
    },
    /// Fill a free VF from a file, or from standard input
    Restore {
        #[command(flatten)]
        which: Which,
        /// Leave the VF paused
        #[arg(long)]
        keep_paused: bool,
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Send a VF to a host where `recv` waits; then it is reset here
    Send {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: How,
        /// Address and port of the receiver
        to: String,
    },
    /// Wait for a VF from `send`
    Recv {
        #[command(flatten)]
        which: Which,
        /// Leave the VF paused
        #[arg(long)]
        keep_paused: bool,
        /// Run this once the VF is in place, before it runs: it prepares whoever uses it
        #[arg(long, value_name = "COMMAND")]
        on_restored: Option<String>,
        /// Address and port to listen on
        listen: String,
    },
}

#[derive(Args)]
pub(crate) struct Which {
    /// PCI address of the GPU, or its number in `gimctl list`, from 0
    #[arg(short, long)]
    gpu: Option<String>,
    /// Number of the VF, from 0
    #[arg(long)]
    vf: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tracking {
    /// The device's dirty plane if it has one, else hashes
    Auto,
    /// The device's dirty plane
    Hw,
    /// Hashes: a collision of 64 bits would be missed
    Sw,
    /// Comparison with a copy: nothing is missed
    Exact,
    /// Nothing: the VF is paused for the whole time
    None,
}

#[derive(Args)]
pub(crate) struct How {
    /// How changed pages are known while the VF runs
    #[arg(long, value_enum, default_value = "auto")]
    dirty: Tracking,
    /// How long the VF may be paused, in milliseconds; where that cannot be kept it is paused all
    /// the same, after the last round
    #[arg(long, default_value_t = 300, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    downtime_limit: u32,
    /// How long the VF may be held off the engine before, while its user runs; 0: not at all
    #[arg(long, default_value_t = 800, value_name = "MS", value_parser = clap::value_parser!(u32).range(..=1500))]
    brownout_limit: u32,
    /// Stop the VF after so many rounds at the latest
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Promise that nobody writes to the VF's framebuffer by the CPU while it is held: what was
    /// looked at then need not be looked at again while it is paused
    #[arg(long)]
    quiet: bool,
    /// Part of the framebuffer that may be written nevertheless, in bytes: it is read again when
    /// the VF is paused
    #[arg(long, value_name = "OFFSET:LENGTH", value_parser = parse_range, requires = "quiet")]
    touches: Vec<(u64, u64)>,
    /// Run this just before the VF is held: it sees to what --quiet promises
    #[arg(long, value_name = "COMMAND", requires = "quiet")]
    on_hold: Option<String>,
    /// Send no faster than this, in MiB per second
    #[arg(long, value_name = "MIB/S", value_parser = clap::value_parser!(u64).range(1..))]
    bandwidth: Option<u64>,
    /// Run this just before the VF is paused: it stops whoever uses it
    #[arg(long, value_name = "COMMAND")]
    on_pause: Option<String>,
    /// Run this once the VF is paused: the GPU writes nothing of its user's any more
    #[arg(long, value_name = "COMMAND")]
    on_paused: Option<String>,
}

/// What a save has cost.
#[derive(Serialize)]
struct Report {
    rounds: u32,
    bytes: u64,
    zero_pages: u64,
    seconds: f64,
    /// How long the VF was held before it was paused.
    brownout_ms: f64,
    /// From the order to pause until the last byte was handed over; when it is sent: until the
    /// target has it.
    blackout_ms: f64,
    #[serde(skip)]
    paused: Option<Instant>,
}

/// Two numbers with a colon between them.
fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not OFFSET:LENGTH");
    let (offset, length) = text.split_once(':').ok_or_else(wrong)?;
    Ok((
        offset.parse().map_err(|_| wrong())?,
        length.parse().map_err(|_| wrong())?,
    ))
}

/// The VF that is meant.
fn open(sysfs: &Sysfs, which: &Which) -> Result<Vf> {
    let gpu = sysfs.gpu(which.gpu.as_deref())?;
    let address = parse_address(&gpu.pci).with_context(|| format!("PCI address {}", gpu.pci))?;
    open_vf(address, which.vf).with_context(|| format!("VF{} of {} (/dev/gim)", which.vf, gpu.pci))
}

/// Domain, bus, and device with function.
fn parse_address(text: &str) -> Option<(u32, u32, u32)> {
    let (domain, rest) = text.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let hex = |s| u32::from_str_radix(s, 16).ok();
    Some((
        hex(domain)?,
        hex(bus)?,
        (hex(device)? << 3) | hex(function)?,
    ))
}

impl Tracking {
    fn source(self) -> Option<Source> {
        Some(match self {
            Self::Auto => Source::Auto,
            Self::Hw => Source::Hardware,
            Self::Sw => Source::Software,
            Self::Exact => Source::Exact,
            Self::None => return None,
        })
    }
}

/// Runs what the operator wants to be run; a failure ends the migration.
fn hook(name: &str, command: Option<&str>) -> Result<()> {
    let Some(command) = command else {
        return Ok(());
    };
    let status = Process::new("sh").args(["-c", command]).status()?;
    if !status.success() {
        bail!("{name}: {command}: {status}");
    }
    Ok(())
}

/// Moves the stream of a VF to `out`.
struct Saver<'a> {
    vf: &'a Vf,
    how: &'a How,
    bar: ProgressBar,
    start: Instant,
    bytes: u64,
    /// When the link is free again.
    free: Instant,
    held: Option<Instant>,
    holds: u32,
    paused: Option<Instant>,
}

impl<'a> Saver<'a> {
    fn new(vf: &'a Vf, how: &'a How, quiet: bool) -> Result<Self> {
        let size = vf.query()?.fb_size;
        Ok(Self {
            vf,
            how,
            bar: bar(quiet, size),
            start: Instant::now(),
            bytes: 0,
            free: Instant::now(),
            held: None,
            holds: 0,
            paused: None,
        })
    }

    /// Takes the VF off the engine while its user runs; false if that cannot be.
    fn hold(&mut self) -> Result<bool> {
        if self.holds >= HOLDS {
            return Ok(false);
        }
        self.holds += 1;
        hook("--on-hold", self.how.on_hold.as_deref())?;
        let since = Instant::now();
        if self
            .vf
            .hold(self.how.brownout_limit, self.how.quiet)
            .is_err()
        {
            return Ok(false);
        }
        self.held = Some(since);
        for &range in &self.how.touches {
            self.vf.touched(range).context("--touches")?;
        }
        Ok(true)
    }

    /// Whether the hold has ended by itself.
    fn hold_is_over(&self) -> Result<bool> {
        Ok(self.vf.query()?.phase != sys::GIM_PHASE_HELD)
    }

    /// Stops the VF, and first whoever uses it.
    fn pause(&mut self) -> Result<()> {
        self.paused = Some(Instant::now());
        hook("--on-pause", self.how.on_pause.as_deref())?;
        self.vf.pause(0, true).context("pausing the VF")?;
        hook("--on-paused", self.how.on_paused.as_deref())
    }

    /// Holds or pauses the VF if it is time to. `dry`: there is nothing to be sent at the moment.
    fn decide(&mut self, stream: &Stream, dry: bool) -> Result<()> {
        let info = stream.query()?;
        let ms = |ns: u64| ns / 1_000_000;
        self.bar.set_message(format!(
            "round {}, {} left, {}/s, downtime about {} ms",
            info.round + 1,
            indicatif::BinaryBytes(info.initial_bytes + info.dirty_bytes),
            indicatif::BinaryBytes(info.rate),
            ms(info.blackout_ns)
        ));
        if self.held.is_some() {
            if self.hold_is_over()? {
                self.held = None;
            } else if dry {
                self.pause()?;
            }
            return Ok(());
        }
        match info.next {
            sys::GIM_NEXT_HOLD if self.hold()? => Ok(()),
            sys::GIM_NEXT_HOLD | sys::GIM_NEXT_PAUSE | sys::GIM_NEXT_GIVE_UP => self.pause(),
            _ => Ok(()),
        }
    }

    /// Keeps to the bandwidth that was asked for.
    fn throttle(&mut self, bytes: usize) {
        let Some(mib) = self.how.bandwidth else {
            return;
        };
        let now = Instant::now();
        let takes = Duration::from_secs_f64(bytes as f64 / (mib << 20) as f64);
        self.free = self.free.max(now.checked_sub(BURST).unwrap_or(now)) + takes;
        std::thread::sleep(self.free.saturating_duration_since(now));
    }

    fn limits(&self) -> Limits {
        let how = self.how;
        // A look that is not final because of a promise is made again while the VF is paused.
        let finds = how.quiet || !matches!(how.dirty, Tracking::Sw | Tracking::Exact);
        Limits {
            downtime_ms: how.downtime_limit,
            brownout_ms: Some(how.brownout_limit).filter(|&ms| ms != 0 && finds),
            rounds: how.rounds,
        }
    }

    fn run(&mut self, out: &mut impl Write) -> Result<Report> {
        let source = self.how.dirty.source();
        if source.is_none() {
            self.pause()?;
        }
        let stream = self.vf.save_within(source, &self.limits());
        let mut stream = stream.context("starting the stream")?;
        let mut buf = vec![0; CHUNK];
        loop {
            let dry = match stream.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => {
                    out.write_all(&buf[..n]).context("writing the stream")?;
                    self.bytes += n as u64;
                    self.bar.set_position(self.bytes);
                    self.throttle(n);
                    false
                }
                Err(e) if e.raw_os_error() == Some(ENOMSG) => true,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).context("reading the VF"),
            };
            if self.paused.is_none() {
                self.decide(&stream, dry)?;
                if dry && self.paused.is_none() && self.held.is_none() {
                    std::thread::sleep(PAUSE);
                }
            }
        }
        out.flush().context("writing the stream")?;
        let info = stream.query()?;
        self.bar.finish_and_clear();
        let blackout = self.paused.map_or(Duration::ZERO, |since| since.elapsed());
        let brownout = match (self.held, self.paused) {
            (Some(held), Some(paused)) => paused - held,
            _ => Duration::ZERO,
        };
        Ok(Report {
            rounds: info.round,
            bytes: self.bytes,
            zero_pages: info.zero_pages,
            seconds: self.start.elapsed().as_secs_f64(),
            brownout_ms: brownout.as_secs_f64() * 1e3,
            blackout_ms: blackout.as_secs_f64() * 1e3,
            paused: self.paused,
        })
    }
}

/// A bar of bytes; a round repeats some, so there may be more than its length.
fn bar(quiet: bool, length: u64) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style = "{elapsed_precise} [{bar:30}] {binary_bytes} ({binary_bytes_per_sec}) {msg}";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// Saves a VF; if that fails it runs on as if nothing had been.
fn save(vf: &Vf, how: &How, out: &mut impl Write, quiet: bool) -> Result<Report> {
    let mut saver = Saver::new(vf, how, quiet)?;
    let result = saver.run(out);
    if result.is_err() && (saver.paused.is_some() || saver.held.is_some()) {
        let _ = vf.resume();
    }
    result
}

/// Fills a VF from `input`.
fn restore(vf: &Vf, input: &mut impl Read, quiet: bool) -> Result<u64> {
    let mut stream = vf.restore().context("taking the VF")?;
    let bar = bar(quiet, vf.query()?.fb_size);
    let mut buf = vec![0; CHUNK];
    let mut bytes = 0;
    while !stream.is_complete()? {
        let n = match input.read(&mut buf) {
            Ok(0) => bail!("the stream ends after {bytes} bytes: the VF is cleaned"),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).context("reading the stream"),
        };
        stream
            .write_all(&buf[..n])
            .context("the stream is refused; the kernel's log says why")?;
        bytes += n as u64;
        bar.set_position(bytes);
    }
    bar.finish_and_clear();
    Ok(bytes)
}

fn tell(report: &Report, json: bool) -> Result<()> {
    if json {
        eprintln!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    eprintln!(
        "{} bytes in {} rounds, {:.1} s, {} zero pages; held {:.1} ms, blackout {:.1} ms",
        report.bytes,
        report.rounds,
        report.seconds,
        report.zero_pages,
        report.brownout_ms,
        report.blackout_ms
    );
    Ok(())
}

fn output(file: &Path) -> Result<Box<dyn Write>> {
    Ok(match file.to_str() {
        Some("-") => Box::new(io::stdout().lock()),
        _ => Box::new(File::create(file).with_context(|| file.display().to_string())?),
    })
}

fn input(file: &Path) -> Result<Box<dyn Read>> {
    Ok(match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(file).with_context(|| file.display().to_string())?),
    })
}

/// The sending end: the source is only let go once the target has answered.
fn send(vf: &Vf, how: &How, to: &str, quiet: bool) -> Result<Report> {
    let mut socket = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    socket.set_nodelay(true)?;
    let mut report = save(vf, how, &mut socket, quiet)?;
    let answer = socket.shutdown(Shutdown::Write).and_then(|()| {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map(|_| answer)
    });
    match answer {
        Ok(answer) if answer.trim_end() == ANSWER_OK => {
            let blackout = report.paused.map_or(Duration::ZERO, |p| p.elapsed());
            report.blackout_ms = blackout.as_secs_f64() * 1e3;
            vf.reset().context("resetting the VF here")?;
            Ok(report)
        }
        other => {
            vf.resume().context("resuming the VF here")?;
            match other {
                Ok(answer) => bail!("{to}: {}; the VF runs on here", answer.trim_end()),
                Err(e) => Err(e).context(format!("{to} did not answer; the VF runs on here")),
            }
        }
    }
}

fn recv(vf: &Vf, listen: &str, quiet: bool) -> Result<TcpStream> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    let (mut socket, _) = listener.accept()?;
    match restore(vf, &mut socket, quiet) {
        Ok(_) => Ok(socket),
        Err(e) => {
            let _ = writeln!(socket, "{e:#}");
            Err(e)
        }
    }
}

/// Does what the command says.
pub(crate) fn run(sysfs: &Sysfs, command: &Migrate, json: bool) -> Result<()> {
    match command {
        Migrate::Save {
            which,
            how,
            keep_paused,
            file,
        } => {
            let vf = open(sysfs, which)?;
            let report = save(&vf, how, &mut output(file)?, json)?;
            if !keep_paused {
                vf.resume()?;
            }
            tell(&report, json)
        }
        Migrate::Restore {
            which,
            keep_paused,
            file,
        } => {
            let vf = open(sysfs, which)?;
            restore(&vf, &mut input(file)?, json)?;
            if !keep_paused {
                vf.resume()?;
            }
            Ok(())
        }
        Migrate::Send { which, how, to } => {
            let vf = open(sysfs, which)?;
            let report = send(&vf, how, to, json)?;
            tell(&report, json)
        }
        Migrate::Recv {
            which,
            keep_paused,
            on_restored,
            listen,
        } => {
            let vf = open(sysfs, which)?;
            let mut socket = recv(&vf, listen, json)?;
            let ready = hook("--on-restored", on_restored.as_deref());
            if let Err(e) = ready {
                // The sender has not let go of it.
                let _ = vf.reset();
                let _ = writeln!(socket, "{e:#}");
                return Err(e);
            }
            if !keep_paused {
                vf.resume()?;
            }
            writeln!(socket, "{ANSWER_OK}").context("answering the sender")
        }
    }
}
