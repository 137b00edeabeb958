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
//! `dump` must come after the VF was paused: what the engine writes to the client's memory before
//! is part of the job.  At the end both verify, give the GPU back and say `done` with the digest.
//! SIGINT and SIGTERM end a client that works with status 1, a frozen one as `exit` does.

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
use vf_client::transport::Transport;
use vf_client::vfio::Vfio;
use vf_client::{Error, Result};

use crate::{brief, open, Cli, Voice};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Freeze,
    Dump,
    Thaw,
    Exit,
    Go,
    Load,
    /// SIGUSR1: whatever comes next.
    Next,
    /// SIGINT, SIGTERM.
    Stop,
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        Some(match line {
            "freeze" => Self::Freeze,
            "dump" => Self::Dump,
            "thaw" => Self::Thaw,
            "exit" => Self::Exit,
            "go" => Self::Go,
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
                    Some(order) if tx.send(order).is_err() => return,
                    Some(_) => {}
                    None => eprintln!("vf-client: {line:?} is no order"),
                }
            }
        });
    }
    Ok(rx)
}

/// A chain with all it takes to obey.
struct Job<'a> {
    chain: Chain<Vfio>,
    orders: Receiver<Order>,
    voice: &'a Voice,
    steps: u64,
    checkpoint: Option<PathBuf>,
    at_step: Option<u64>,
}

/// How a frozen client went on.
enum Then {
    Thawed,
    Left,
}

impl Job<'_> {
    fn tell(&self, event: &str) -> Result<()> {
        let (done, pci) = (self.chain.steps_done(), self.chain.vf.t.name());
        self.voice.say(
            &json!({ "event": event, "steps": done, "pci": pci }),
            &format!("{event} {done} of {} steps", self.steps),
        )
    }

    fn refused(&self, order: Order) {
        eprintln!("vf-client: {order:?} cannot be done now");
    }

    /// Waits for `go`.
    fn ready(&self) -> Result<()> {
        self.tell("ready")?;
        loop {
            match self.orders.recv() {
                Ok(Order::Go | Order::Next) => return Ok(()),
                Ok(Order::Exit | Order::Stop) | Err(_) => {
                    return Err(Error::Unsupported("told to end before it went on".into()))
                }
                Ok(order) => self.refused(order),
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
            Ok(order) => {
                self.refused(order);
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }

    fn frozen(&mut self) -> Result<Then> {
        self.tell("frozen")?;
        let mut dumped = false;
        while let Ok(order) = self.orders.recv() {
            match order {
                Order::Thaw => return Ok(Then::Thawed),
                Order::Exit | Order::Stop => break,
                Order::Next if dumped => break,
                Order::Dump | Order::Next => {
                    self.dump()?;
                    dumped = true;
                }
                other => self.refused(other),
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

pub(crate) fn chain(cli: &Cli, args: &ChainArgs, voice: &Voice) -> Result<()> {
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
    let mut chain = Chain::new(open(cli)?, plan)?;
    chain.start()?;
    let job = Job {
        chain,
        orders,
        voice,
        steps: plan.steps,
        checkpoint: args.checkpoint.clone(),
        at_step: args.at_step,
    };
    job.work()
}

pub(crate) fn resume(cli: &Cli, args: &ResumeArgs, voice: &Voice) -> Result<()> {
    let orders = listen(args.stdin)?;
    let early = match args.early {
        true => {
            let vf = open(cli)?;
            voice.say(&json!({ "event": "open" }), "open")?;
            while orders.recv().is_ok_and(|order| order != Order::Load) {}
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
    };
    job.ready()?;
    job.work()
}
