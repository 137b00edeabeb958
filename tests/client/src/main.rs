// SPDX-License-Identifier: GPL-2.0
//! `vf-client`: one tenant's guest driver on the command line.
//!
//! Exit status: 0 all right, 1 something failed, 2 wrong usage, 3 wrong bytes.

mod chain_cli;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use gpu_regs::chip::CHIPS;
use gpu_regs::mailbox::event;
use serde_json::json;
use vf_client::exchange::Spoil;
use vf_client::job::Workload;
use vf_client::pci::PciDevice;
use vf_client::pulse::Pulse;
use vf_client::runner::{Plan, Runner};
use vf_client::stats::{Line, Stats};
use vf_client::sysfs::Sysfs;
use vf_client::transport::Transport;
use vf_client::vf::Vf;
use vf_client::vfio::Vfio;
use vf_client::{exchange, mailbox, scrub, Error, Result};

/// How often a job's chain runs, if nobody says.
const REPEAT: u32 = 64;

#[derive(Parser)]
#[command(
    name = "vf-client",
    version,
    about = "A VF's guest driver in user space"
)]
struct Cli {
    /// PCI address of the VF
    #[arg(long, global = true)]
    pci: Option<String>,
    /// Bind the VF to vfio-pci first
    #[arg(long, global = true)]
    bind: bool,
    /// Reach the VF through sysfs, without VFIO: in a guest VM
    #[arg(long, global = true, conflicts_with = "bind")]
    sysfs: bool,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Get full access, set up, give it back, then the same for shutting down
    Handshake,
    /// Work and verify
    Run(RunArgs),
    /// A long chain of dependent steps whose end is known; can be frozen and moved
    Chain(chain_cli::ChainArgs),
    /// Go on with a chain that was frozen elsewhere
    Resume(chain_cli::ResumeArgs),
    /// Short jobs, each waited for by its interrupt alone, and count those that do not come
    Pulse {
        /// After how many seconds an interrupt counts as lost
        #[arg(long, default_value_t = 2.0, value_parser = seconds)]
        patience: f64,
    },
    /// Check that the framebuffer handed out holds nobody's bytes
    ScrubCheck,
    /// Send one mailbox message and report what the host does
    RawMsg {
        /// First dword of the message
        message: u32,
        /// How long to keep the VF afterwards, in milliseconds
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
        hold_ms: u64,
        /// How long to wait for the acknowledgement and for an answer, in milliseconds
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=60_000))]
        wait_ms: u64,
        /// How often to send it
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        times: u32,
    },
    /// Print the device ids of PF and VF, and the last word of the name, of each chip
    Chips,
    /// Write the page in which a guest tells of itself, perhaps a wrong one, and keep the VF
    Tell {
        /// What is wrong with it
        #[arg(long, value_enum, default_value = "nothing")]
        spoil: Spoil,
        /// Write it again and again, each time another one
        #[arg(long)]
        flicker: bool,
        /// How long to keep the VF at most, in milliseconds; a signal ends it
        #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(0..=60_000))]
        hold_ms: u64,
    },
    /// Hang the engine, and report how the host and this VF come out of it
    Hang,
}

#[derive(Args)]
struct RunArgs {
    /// How long; 0 until a signal or, with --stdin, its end
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Where data and jobs come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kind of jobs
    #[arg(long, value_enum, default_value = "mix")]
    workload: Workload,
    /// Jobs in flight
    #[arg(long, default_value_t = 8)]
    depth: usize,
    /// Most bytes of one operation
    #[arg(long, default_value_t = 16 << 10)]
    op_bytes: usize,
    /// How often each job's chain runs, so that the GPU is busier than the CPU that verifies; 64 if
    /// that many fit into the ring
    #[arg(long)]
    repeat: Option<u32>,
    /// How long a job may take before it counts as a hang, in seconds; a Linux guest takes 2
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    patience: f64,
    /// Obey standard input: a line `hang` hangs the engine, its end ends the run
    #[arg(long)]
    stdin: bool,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.0..=1e6).contains(&s) => Ok(s),
        _ => Err("a number of seconds from 0 to 1000000 is allowed".to_owned()),
    }
}

/// Says something as JSON or as text.
struct Voice {
    json: bool,
}

impl Voice {
    fn say(&self, value: &serde_json::Value, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        let done = if self.json {
            writeln!(out, "{value}")
        } else {
            writeln!(out, "{text}")
        };
        done.and_then(|()| out.flush())
            .map_err(|e| Error::transport("writing the report", e))
    }

    fn line(&self, line: &Line) -> Result<()> {
        let text = match line {
            Line::Progress { pci, state, stats } => format!("{pci} {state:?}: {}", brief(stats)),
            Line::Result {
                pci,
                ok: true,
                stats,
                ..
            } => format!("{pci} ok: {}", brief(stats)),
            Line::Result {
                pci, error, stats, ..
            } => {
                let error = error.as_deref().unwrap_or("?");
                format!("{pci} FAILED: {error}; {}", brief(stats))
            }
        };
        let value = serde_json::to_value(line).map_err(|e| Error::transport("JSON", e))?;
        self.say(&value, &text)
    }
}

fn brief(s: &Stats) -> String {
    format!(
        "{} jobs, {} bytes verified, {} interrupts ({} late), largest gap {:.1} ms, {} recoveries",
        s.jobs,
        s.bytes_verified,
        s.interrupts,
        s.late_interrupts,
        s.max_gap_ns as f64 / 1e6,
        s.recoveries
    )
}

/// A way to a VF that the command line can choose.
trait Way: Transport + Sized {
    fn open(pci: &PciDevice) -> Result<Self>;

    /// The VFIO device, where it is one.
    fn vfio(&self) -> Result<&Vfio>;
}

impl Way for Vfio {
    fn open(pci: &PciDevice) -> Result<Self> {
        Self::open(pci)
    }

    fn vfio(&self) -> Result<&Vfio> {
        Ok(self)
    }
}

impl Way for Sysfs {
    fn open(pci: &PciDevice) -> Result<Self> {
        Self::open(pci)
    }

    fn vfio(&self) -> Result<&Vfio> {
        let what = "through sysfs a VF cannot be moved".to_owned();
        Err(Error::Unsupported(what))
    }
}

fn open<W: Way>(cli: &Cli) -> Result<W> {
    let Some(address) = &cli.pci else {
        return Err(Error::Unsupported(
            "name the VF: --pci 0000:03:02.0".to_owned(),
        ));
    };
    let pci = PciDevice::new(address)?;
    if cli.bind {
        pci.bind_vfio()?;
    }
    W::open(&pci)
}

/// What the outside wants.
#[derive(Debug, Default)]
struct Wishes {
    stop: Arc<AtomicBool>,
    hang: Arc<AtomicBool>,
}

impl Wishes {
    fn listen(stdin: bool) -> Result<Self> {
        let wishes = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, wishes.stop.clone())
                .map_err(|e| Error::transport("catching signals", e))?;
        }
        if stdin {
            let (stop, hang) = (wishes.stop.clone(), wishes.hang.clone());
            std::thread::spawn(move || {
                for line in io::stdin()
                    .lock()
                    .lines()
                    .map_while(std::result::Result::ok)
                {
                    match line.trim() {
                        "hang" => hang.store(true, Ordering::Relaxed),
                        _ => break,
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        Ok(wishes)
    }
}

fn run<W: Way>(cli: &Cli, args: &RunArgs, voice: &Voice) -> Result<()> {
    let wishes = Wishes::listen(args.stdin)?;
    let mut plan = Plan {
        workload: args.workload,
        seed: args.seed,
        depth: args.depth,
        op_bytes: args.op_bytes,
        repeat: 1,
        patience: Duration::from_secs_f64(args.patience),
    };
    plan.repeat = args.repeat.unwrap_or(plan.max_repeat().min(REPEAT));
    let vf: W = open(cli)?;
    let pci = vf.name();
    let mut runner = Runner::new(vf, plan)?;
    let done = work(&mut runner, args, &wishes, voice);
    voice.line(&Line::Result {
        pci,
        ok: done.is_ok(),
        error: done.as_ref().err().map(ToString::to_string),
        stats: runner.vf.stats.clone(),
    })?;
    done
}

fn work<W: Way>(
    runner: &mut Runner<W>,
    args: &RunArgs,
    wishes: &Wishes,
    voice: &Voice,
) -> Result<()> {
    let tell = |r: &Runner<W>| {
        let (pci, state, stats) = (r.vf.t.name(), r.state, r.vf.stats.clone());
        voice.line(&Line::Progress { pci, state, stats })
    };
    tell(runner)?;
    runner.start()?;
    tell(runner)?;
    let start = Instant::now();
    let limit = Duration::from_secs_f64(args.seconds);
    let mut told = (start, runner.state, runner.vf.stats.recoveries);
    while !wishes.stop.load(Ordering::Relaxed) && (limit.is_zero() || start.elapsed() < limit) {
        if wishes.hang.swap(false, Ordering::Relaxed) {
            runner.submit_hang()?;
        }
        runner.step(true)?;
        let changed = (told.1, told.2) != (runner.state, runner.vf.stats.recoveries);
        if changed || told.0.elapsed() >= Duration::from_millis(500) {
            tell(runner)?;
            told = (Instant::now(), runner.state, runner.vf.stats.recoveries);
        }
    }
    runner.finish()
}

/// Until standard input or a signal ends it.
fn pulse<W: Way>(cli: &Cli, patience: f64, voice: &Voice) -> Result<()> {
    if cli.sysfs {
        let what = "through sysfs no interrupt comes".to_owned();
        return Err(Error::Unsupported(what));
    }
    let wishes = Wishes::listen(true)?;
    let mut client = Pulse::new(open::<W>(cli)?, Duration::from_secs_f64(patience))?;
    client.start()?;
    let say = |what: &str, s: &Stats| {
        let text = format!(
            "{what} {} jobs, {} interrupts, {} lost, longest {:.1} ms",
            s.jobs,
            s.interrupts,
            s.late_interrupts,
            s.max_gap_ns as f64 / 1e6
        );
        voice.say(&json!({ "event": what, "stats": s }), &text)
    };
    let mut told = Instant::now();
    while !wishes.stop.load(Ordering::Relaxed) {
        client.step()?;
        if told.elapsed() >= Duration::from_millis(500) {
            say("at", &client.vf.stats)?;
            told = Instant::now();
        }
    }
    client.vf.stop()?;
    say("done", &client.vf.stats)
}

fn handshake<W: Way>(cli: &Cli, voice: &Voice) -> Result<()> {
    let mut vf = Vf::attach(open::<W>(cli)?, 4096)?;
    vf.start()?;
    let mib = vf.space.vram_bytes >> 20;
    let init_ns = vf.stats.max_access_wait_ns;
    vf.stop()?;
    let value = json!({ "vram_mib": mib, "init_wait_ns": init_ns, "access_wait_ns": vf.stats.max_access_wait_ns });
    let text = format!(
        "{}: full access granted after {:.1} ms and given back, twice; {mib} MiB of framebuffer",
        vf.t.name(),
        init_ns as f64 / 1e6
    );
    voice.say(&value, &text)
}

fn scrub_check<W: Way>(cli: &Cli, voice: &Voice) -> Result<()> {
    let mut vf = Vf::attach(open::<W>(cli)?, scrub::DMA_BYTES)?;
    let report = scrub::check(&mut vf);
    let stopped = vf.stop();
    let report = report?;
    stopped?;
    let text = format!(
        "{} bytes looked at, {} are the host's, {} are dirty",
        report.bytes, report.documented, report.dirty
    );
    voice.say(&json!(report), &text)?;
    match report.first {
        None => Ok(()),
        Some(offset) => Err(Error::Unsupported(format!(
            "the framebuffer was handed out with {} dirty bytes, the first at {offset:#x}",
            report.dirty
        ))),
    }
}

fn raw_message<W: Way>(
    cli: &Cli,
    message: u32,
    times: u32,
    wait: Duration,
    hold: Duration,
    voice: &Voice,
) -> Result<()> {
    let mut t: W = open(cli)?;
    let before = mailbox::pending(&mut t);
    if before.is_some() {
        mailbox::acknowledge(&mut t)?;
    }
    let mut send = || match mailbox::send_within(&mut t, message, wait) {
        Ok(took) => Ok(Some(took)),
        Err(Error::Timeout { .. }) => Ok(None),
        Err(e) => Err(e),
    };
    let mut acked = send()?;
    for _ in 1..times {
        acked = send()?;
    }
    let start = Instant::now();
    let mut answer = None;
    while answer.is_none() && start.elapsed() < wait {
        answer = mailbox::pending(&mut t);
        t.sleep(Duration::from_millis(1));
    }
    let answered = start.elapsed();
    if answer.is_some() {
        mailbox::acknowledge(&mut t)?;
    }
    let millis = |d: Duration| d.as_secs_f64() * 1e3;
    let value = json!({
        "message": message,
        "found_before": before,
        "acked_ms": acked.map(millis),
        "answer": answer,
        "answer_ms": answer.map(|_| millis(answered)),
    });
    let ack = acked.map_or("not acknowledged".to_owned(), |d| {
        format!("acknowledged after {:.1} ms", millis(d))
    });
    let text = match answer {
        Some(event::READY_TO_ACCESS_GPU) => "answered by READY_TO_ACCESS_GPU (1)".to_owned(),
        Some(other) => format!("answered by {other}"),
        None => format!("no answer within {:.0} ms", millis(wait)),
    };
    voice.say(&value, &format!("message {message}: {ack}, {text}"))?;
    t.sleep(hold);
    Ok(())
}

/// Prints what scripts have to know of the chips.
fn chips(voice: &Voice) -> Result<()> {
    for chip in CHIPS {
        let word = chip.board.split(' ').next_back().unwrap_or_default();
        let (pf, vf) = (chip.pf_device, chip.vf_device);
        let value = json!({ "pf": pf, "vf": vf, "board": chip.board });
        voice.say(&value, &format!("{pf:04x}:{vf:04x}:{word}"))?;
    }
    Ok(())
}

/// Starts the VF, tells the host what it is told to, and waits.
fn tell<W: Way>(
    cli: &Cli,
    spoil: Spoil,
    flicker: bool,
    hold: Duration,
    voice: &Voice,
) -> Result<()> {
    let mut vf = Vf::attach(open::<W>(cli)?, 4096)?;
    vf.start()?;
    // CAST: a number of MiB.
    let mib = (vf.space.vram_bytes >> 20) as u32;
    let mut written = 0;
    let (start, wishes) = (Instant::now(), Wishes::listen(false)?);
    let stopped = || wishes.stop.load(Ordering::Relaxed);
    while written == 0 || (start.elapsed() < hold && !stopped()) {
        if flicker || written == 0 {
            let used = 1 + written % 2 * 256;
            exchange::write_guest(&mut vf.t, &exchange::guest_page(mib, used, spoil))?;
            written += 1;
        }
        let pause = if flicker { 50 } else { 10_000 };
        vf.t.sleep(Duration::from_micros(pause));
    }
    vf.stop()?;
    let text = format!("written {written} times: {:?}", vf.host);
    voice.say(&json!({ "written": written, "host": vf.host }), &text)
}

/// Hangs the engine and waits until the VF works again, or not.
fn hang<W: Way>(cli: &Cli, voice: &Voice) -> Result<()> {
    let mut runner = Runner::new(open::<W>(cli)?, Plan::default())?;
    runner.start()?;
    for _ in 0..20 {
        runner.step(true)?;
    }
    let before = runner.vf.stats.jobs;
    let start = Instant::now();
    runner.submit_hang()?;
    while runner.vf.stats.recoveries == 0 {
        runner.step(true)?;
    }
    let back = start.elapsed();
    while runner.vf.stats.jobs < before + 20 {
        runner.step(true)?;
    }
    runner.finish()?;
    let s = &runner.vf.stats;
    let value = json!({ "back_ms": back.as_secs_f64() * 1e3, "stats": s });
    let text = format!(
        "hung, and back after {:.0} ms (of which {:.0} ms from the notice on); {} jobs lost; works again: {}",
        back.as_secs_f64() * 1e3,
        s.max_recovery_ns as f64 / 1e6,
        s.jobs_lost,
        brief(s)
    );
    voice.say(&value, &text)
}

fn obey<W: Way>(cli: &Cli, voice: &Voice) -> Result<()> {
    match &cli.command {
        Command::Handshake => handshake::<W>(cli, voice),
        Command::Run(args) => run::<W>(cli, args, voice),
        Command::Chain(args) => chain_cli::chain::<W>(cli, args, voice),
        Command::Resume(args) => chain_cli::resume::<W>(cli, args, voice),
        Command::Pulse { patience } => pulse::<W>(cli, *patience, voice),
        Command::ScrubCheck => scrub_check::<W>(cli, voice),
        Command::RawMsg {
            message,
            hold_ms,
            wait_ms,
            times,
        } => {
            let (wait, hold) = (
                Duration::from_millis(*wait_ms),
                Duration::from_millis(*hold_ms),
            );
            raw_message::<W>(cli, *message, *times, wait, hold, voice)
        }
        Command::Tell {
            spoil,
            flicker,
            hold_ms,
        } => {
            let hold = Duration::from_millis(*hold_ms);
            tell::<W>(cli, *spoil, *flicker, hold, voice)
        }
        Command::Chips => chips(voice),
        Command::Hang => hang::<W>(cli, voice),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let voice = Voice { json: cli.json };
    let done = match cli.sysfs {
        true => obey::<Sysfs>(&cli, &voice),
        false => obey::<Vfio>(&cli, &voice),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let name = cli.pci.as_deref().unwrap_or("-");
            eprintln!("vf-client {name}: {error}");
            ExitCode::from(if matches!(error, Error::WrongBytes(_)) {
                3
            } else {
                1
            })
        }
    }
}
