// SPDX-License-Identifier: GPL-2.0
//! `vf-client chain` and `vf-client resume`: a chain job, and how a script moves it.
//!
//! The client says what it is at, one line each (with `--json` an object with `event` and
//! `steps`), and obeys orders: lines on standard input with `--stdin`, or SIGUSR1, which is the
//! next thing to do each time (source: `freeze`, `dump`, `exit`; target: `go`).
//!
//! | source: `chain --checkpoint FILE` | what the script does |
//! |---|---|
//! | says `working`, then every half second `at` | |
//! | `freeze` (or the step of `--at-step` is done): touches the device no more, says `frozen` | pause the VF: from here on the GPU writes nothing |
//! | `dump`: writes FILE, says `dumped` | save the VF |
//! | `exit`: says `left` and ends with status 0 (VFIO resets the VF) | |
//! | or `thaw`: says `working` and goes on here, when the VF runs again | |
//!
//! | target: `resume --checkpoint FILE` | what the script does |
//! |---|---|
//! | opens the VF (VFIO resets it), maps memory at the same bus addresses, sets up interrupts and bus master, says `ready` | restore the VF |
//! | or with `--early`: opens the VF, says `open`; at `load` the rest, and says `ready` | begin to restore the VF while the source works |
//! | `go`: says `working` and goes on, with no word to the host | |
//!
//! Where the VFs are bound to gim-vfio-pci the clients move them themselves, by VFIO: the source is
//! told `precopy PATH` while it works (it says `streamed` once nothing is left for now), and
//! `stop` when it is frozen (`stopped`: all is in PATH); the target is told `fill PATH` when it
//! is open (`filled`), and `go` lets the VF run.
//!
//! A chain with `--rate` that is told `hurry` while it works does the rest as fast as it can.
//!
//! `dump` must come after the VF was paused: what the engine writes to the client's memory before
//! is part of the job.  A client that waits for an order and whose standard input ends is told
//! nothing any more: it fails.  At the end both verify, give the GPU back and say `done` with the digest.
//! SIGINT and SIGTERM end a client that works with status 1, a frozen one as `exit` does.

use std::fs::File;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use vf_client::chain::{Chain, Plan};
use vf_client::checkpoint::Checkpoint;
use vf_client::migration::{self, State};
use vf_client::vfio::Vfio;
use vf_client::{Error, Result};

use crate::{brief, open, seconds, Cli, Voice, Way};

/// Time between two reports.
const REPORT: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct ChainArgs {
    /// Where block and steps come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps in all
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Bytes of framebuffer that a step writes, a multiple of 4096
    #[arg(long, default_value_t = 64 << 10)]
    step_bytes: u32,
    /// Steps of a job
    #[arg(long, default_value_t = 4)]
    per_job: u32,
    /// Jobs in flight
    #[arg(long, default_value_t = 4)]
    depth: u32,
    /// Bytes of framebuffer to walk through; 0: all
    #[arg(long, default_value_t = 0)]
    spread: u64,
    /// Bytes of framebuffer to rewrite in a second; 0: as many as it can
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Write all of it before the first step
    #[arg(long)]
    prefill: bool,
    /// How long a job may take before it counts as a hang, in seconds
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    patience: f64,
    /// Freeze by itself when so many steps are done
    #[arg(long)]
    at_step: Option<u64>,
    /// Where `dump` writes to
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Obey standard input
    #[arg(long)]
    stdin: bool,
}

#[derive(Args)]
pub(crate) struct ResumeArgs {
    /// What a frozen client has dumped
    #[arg(long)]
    checkpoint: PathBuf,
    /// Open the VF, say `open`, and read the checkpoint only when told `load`: so the VF can be
    /// filled while the source still works
    #[arg(long)]
    early: bool,
    /// Where `dump` writes to, if it is to move again
    #[arg(long)]
    next_checkpoint: Option<PathBuf>,
    /// Obey standard input
    #[arg(long)]
    stdin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    Freeze,
    Dump,
    Thaw,
    Exit,
    Go,
    Hurry,
    Load,
    Precopy(PathBuf),
    StopCopy,
    Fill(PathBuf),
    /// Standard input has ended.
    Ended,
    /// SIGUSR1: whatever comes next.
    Next,
    /// SIGINT, SIGTERM.
    Stop,
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        if let Some((order, path)) = line.split_once(' ') {
            return match order {
                "precopy" => Some(Self::Precopy(path.into())),
                "fill" => Some(Self::Fill(path.into())),
                _ => None,
            };
        }
        Some(match line {
            "stop" => Self::StopCopy,
            "freeze" => Self::Freeze,
            "dump" => Self::Dump,
            "thaw" => Self::Thaw,
            "exit" => Self::Exit,
            "go" => Self::Go,
            "hurry" => Self::Hurry,
            "load" => Self::Load,
            _ => return None,
        })
    }
}

fn listen(stdin: bool) -> Result<Receiver<Order>> {
    let (tx, rx) = channel();
    let mut signals = Signals::new([SIGUSR1, SIGINT, SIGTERM])
        .map_err(|e| Error::transport("catching signals", e))?;
    let from_signals: Sender<Order> = tx.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let order = match signal {
                SIGUSR1 => Order::Next,
                _ => Order::Stop,
            };
            if from_signals.send(order).is_err() {
                return;
            }
        }
    });
    if stdin {
        std::thread::spawn(move || {
            let lines = io::stdin().lock().lines();
            for line in lines.map_while(std::result::Result::ok) {
                match Order::parse(line.trim()) {
                    Some(order) => {
                        if tx.send(order).is_err() {
                            return;
                        }
                    }
                    None => eprintln!("vf-client: {line:?} is no order"),
                }
            }
            let _ = tx.send(Order::Ended);
        });
    }
    Ok(rx)
}

/// A chain with all it takes to obey.
struct Job<'a, W: Way> {
    chain: Chain<W>,
    orders: Receiver<Order>,
    voice: &'a Voice,
    steps: u64,
    checkpoint: Option<PathBuf>,
    at_step: Option<u64>,
    stream: Option<Stream>,
}

/// The VF on its way out: VFIO's file, and where it goes.
struct Stream {
    pump: std::thread::JoinHandle<io::Result<(File, File)>>,
    told: bool,
}

impl Stream {
    /// Begins while the VF works; whatever is there goes at once.
    fn begin(vf: &Vfio, path: PathBuf) -> Result<Self> {
        let fail = |e| Error::transport("PRE_COPY", e);
        let data = migration::set_state(vf, State::PreCopy).map_err(fail)?;
        let mut data = data.ok_or_else(|| fail(io::Error::other("no file")))?;
        let pump = std::thread::spawn(move || {
            let mut to = File::options().write(true).open(path)?;
            match migration::drain(&mut data, &mut to)? {
                true => Err(io::Error::other("the end came while the VF may run")),
                false => Ok((data, to)),
            }
        });
        Ok(Self { pump, told: false })
    }

    /// All that is left; the VF stays stopped.
    fn end(self, vf: &Vfio) -> Result<()> {
        let fail = |e| Error::transport("STOP_COPY", e);
        let pumped = self.pump.join();
        let pumped = pumped.unwrap_or_else(|_| Err(io::Error::other("it has panicked")));
        let (mut data, mut to) = pumped.map_err(fail)?;
        migration::set_state(vf, State::StopCopy).map_err(fail)?;
        match migration::drain(&mut data, &mut to).map_err(fail)? {
            true => migration::set_state(vf, State::Stop)
                .map_err(fail)
                .map(drop),
            false => Err(fail(io::Error::other("the end did not come"))),
        }
    }
}

/// Fills a VF from a file, and leaves it stopped.
fn fill(vf: &Vfio, path: &std::path::Path) -> Result<()> {
    let fail = |e| Error::transport("RESUMING", e);
    let data = migration::set_state(vf, State::Resuming).map_err(fail)?;
    let mut data = data.ok_or_else(|| fail(io::Error::other("no file")))?;
    let mut from = File::open(path).map_err(fail)?;
    io::copy(&mut from, &mut data).map_err(fail)?;
    migration::set_state(vf, State::Stop)
        .map_err(fail)
        .map(drop)
}

/// Lets a VF run that was stopped by VFIO; others cannot be.
fn run<W: Way>(vf: &W) -> Result<()> {
    let Ok(vf) = vf.vfio() else {
        return Ok(());
    };
    match migration::state(vf) {
        Ok((state, _)) if state != State::Running as u32 => {
            let done = migration::set_state(vf, State::Running);
            done.map_err(|e| Error::transport("RUNNING", e)).map(drop)
        }
        _ => Ok(()),
    }
}

/// How a frozen client went on.
enum Then {
    Thawed,
    Left,
}

impl<W: Way> Job<'_, W> {
    fn tell(&self, event: &str) -> Result<()> {
        let (done, pci) = (self.chain.steps_done(), self.chain.vf.t.name());
        self.voice.say(
            &json!({ "event": event, "steps": done, "pci": pci }),
            &format!("{event} {done} of {} steps", self.steps),
        )
    }

    fn refused(&self, order: &Order) {
        eprintln!("vf-client: {order:?} cannot be done now");
    }

    /// Waits for `go`.
    fn ready(&self) -> Result<()> {
        self.tell("ready")?;
        loop {
            match self.orders.recv() {
                Ok(Order::Go | Order::Next) => return run(&self.chain.vf.t),
                Ok(Order::Ended) => return Err(forsaken("go")),
                Ok(Order::Exit | Order::Stop) | Err(_) => {
                    return Err(Error::Unsupported("told to end before it went on".into()))
                }
                Ok(order) => self.refused(&order),
            }
        }
    }

    fn work(mut self) -> Result<()> {
        self.chain.go_on();
        self.tell("working")?;
        let mut told = Instant::now();
        while !self.chain.is_done() {
            if self.shall_freeze()? {
                match self.frozen()? {
                    Then::Left => return self.tell("left"),
                    Then::Thawed => {
                        self.chain.go_on();
                        self.tell("working")?;
                    }
                }
            }
            self.chain.step()?;
            self.streamed()?;
            if told.elapsed() >= REPORT {
                self.tell("at")?;
                told = Instant::now();
            }
        }
        let outcome = self.chain.finish()?;
        let digest = format!("{:016x}", outcome.digest);
        let stats = &self.chain.vf.stats;
        self.voice.say(
            &json!({
                "event": "done",
                "ok": true,
                "steps": outcome.steps,
                "digest": digest,
                "verified": outcome.verified,
                "stats": stats,
            }),
            &format!(
                "done {} steps, digest {digest}, {} bytes of framebuffer right; {}",
                outcome.steps,
                outcome.verified,
                brief(stats)
            ),
        )
    }

    /// Says once that nothing is left for now.
    fn streamed(&mut self) -> Result<()> {
        let stream = self.stream.as_mut();
        let Some(stream) = stream.filter(|s| !s.told && s.pump.is_finished()) else {
            return Ok(());
        };
        stream.told = true;
        self.tell("streamed")
    }

    fn shall_freeze(&mut self) -> Result<bool> {
        let done = self.chain.steps_done();
        if self.at_step.take_if(|&mut at| done >= at).is_some() {
            return Ok(true);
        }
        match self.orders.try_recv() {
            Ok(Order::Freeze | Order::Next) => Ok(true),
            Ok(Order::Stop | Order::Exit) => Err(Error::Unsupported(format!(
                "told to end after {done} of {} steps",
                self.steps
            ))),
            Ok(Order::Hurry) => {
                self.chain.hurry();
                Ok(false)
            }
            Ok(Order::Precopy(path)) => {
                self.stream = Some(Stream::begin(self.chain.vf.t.vfio()?, path)?);
                Ok(false)
            }
            // While it works it needs no orders.
            Ok(Order::Ended) | Err(_) => Ok(false),
            Ok(order) => {
                self.refused(&order);
                Ok(false)
            }
        }
    }

    fn frozen(&mut self) -> Result<Then> {
        self.tell("frozen")?;
        let mut dumped = false;
        while let Ok(order) = self.orders.recv() {
            match order {
                Order::Thaw => {
                    run(&self.chain.vf.t)?;
                    return Ok(Then::Thawed);
                }
                Order::Exit | Order::Stop => break,
                Order::Ended => return Err(forsaken("thaw or exit")),
                Order::Next if dumped => break,
                Order::Dump | Order::Next => {
                    self.dump()?;
                    dumped = true;
                }
                Order::StopCopy if self.stream.is_some() => {
                    if let Some(stream) = self.stream.take() {
                        stream.end(self.chain.vf.t.vfio()?)?;
                    }
                    self.tell("stopped")?;
                }
                other => self.refused(&other),
            }
        }
        Ok(Then::Left)
    }

    fn dump(&mut self) -> Result<()> {
        let Some(path) = &self.checkpoint else {
            return Err(Error::Unsupported("where to? --checkpoint FILE".into()));
        };
        let bytes = self.chain.save()?.write(path)?;
        self.voice.say(
            &json!({ "event": "dumped", "steps": self.chain.steps_done(), "bytes": bytes }),
            &format!("dumped {bytes} bytes to {}", path.display()),
        )
    }
}

/// Nobody is there to give that order.
fn forsaken(order: &str) -> Error {
    Error::Unsupported(format!(
        "standard input has ended without an order to {order}"
    ))
}

pub(crate) fn chain<W: Way>(cli: &Cli, args: &ChainArgs, voice: &Voice) -> Result<()> {
    let plan = Plan {
        seed: args.seed,
        steps: args.steps,
        bytes: args.step_bytes,
        per_job: args.per_job,
        depth: args.depth,
        spread: args.spread,
        rate: args.rate,
        prefill: args.prefill,
    };
    plan.check()?;
    let orders = listen(args.stdin)?;
    let mut chain = Chain::new(open::<W>(cli)?, plan)?;
    chain.patience = Duration::from_secs_f64(args.patience);
    chain.start()?;
    let job = Job {
        chain,
        orders,
        voice,
        steps: plan.steps,
        checkpoint: args.checkpoint.clone(),
        at_step: args.at_step,
        stream: None,
    };
    job.work()
}

pub(crate) fn resume<W: Way>(cli: &Cli, args: &ResumeArgs, voice: &Voice) -> Result<()> {
    let orders = listen(args.stdin)?;
    let early = match args.early {
        true => {
            let vf: W = open(cli)?;
            voice.say(&json!({ "event": "open" }), "open")?;
            loop {
                match orders.recv() {
                    Ok(Order::Load) | Err(_) => break,
                    Ok(Order::Exit | Order::Stop) => {
                        return Err(Error::Unsupported(
                            "told to end before it was loaded".into(),
                        ))
                    }
                    Ok(Order::Ended) => return Err(forsaken("load")),
                    Ok(Order::Fill(path)) => {
                        fill(vf.vfio()?, &path)?;
                        voice.say(&json!({ "event": "filled" }), "filled")?;
                    }
                    Ok(order) => eprintln!("vf-client: {order:?} cannot be done now"),
                }
            }
            Some(vf)
        }
        false => None,
    };
    let saved = Checkpoint::read(&args.checkpoint)?;
    let vf = match early {
        Some(vf) => vf,
        None => open(cli)?,
    };
    let chain = Chain::resume(vf, &saved)?;
    let job = Job {
        steps: chain.steps(),
        chain,
        orders,
        voice,
        checkpoint: args.next_checkpoint.clone(),
        at_step: None,
        stream: None,
    };
    job.ready()?;
    job.work()
}
