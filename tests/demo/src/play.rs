// SPDX-License-Identifier: GPL-2.0
//! The course of the demo: set up, act 1 (shares), act 2 (a hang), end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use gimctl::rates::between;
use gimctl::sysfs::Gpu;
use vf_client::referee::{Referee, Snapshot};
use vf_client::stats::State;

use crate::board::{Board, Cell};
use crate::host::Host;
use crate::tenant::{find_client, Order, Tenant};
use crate::verdict::{Outcome, Row};
use crate::Options;

/// What the tenants do, in turn.
const WORK: [&str; 4] = ["fill", "copy", "dma", "mix"];
/// How long a guest may take to load when all load at once: each waits 12 s at most.
const LOAD_LIMIT: Duration = Duration::from_secs(60);
/// Guests that load at the same time.
const MOST_LOADING: usize = 4;
/// How long the way back from a hang may take before the demo gives up.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
/// How long the clients may take to end and verify their last jobs.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// Turns that each VF shall have in the measured window: one more or less is then below 1 %.
const TURNS: u64 = 150;
/// Slice to reckon with where the driver does not tell, in microseconds.
const SLICE_US: u64 = 6000;
/// Pause between two looks at everything.
const LOOK: Duration = Duration::from_millis(50);

/// Both views of the GPU at one moment.
#[derive(Clone)]
struct Reading {
    gpu: Gpu,
    referee: Snapshot,
}

struct Play {
    // Tenants go before the VFs they sit on.
    tenants: Vec<Tenant>,
    host: Host,
    referee: Referee,
    board: Board,
    stop: Arc<AtomicBool>,
    base: Reading,
    violations: u64,
    faults: Vec<Faults>,
}

/// What the referee counted against a VF.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// Accesses outside its framebuffer, packets that could not be executed.
    memory: u64,
    /// Failed accesses to system memory.
    dma: u64,
}

/// Runs the demo.  Says whether everything was as it should be.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("cannot catch signals")?;
    }
    let referee = Referee::find()?.ok_or_else(|| {
        anyhow!("the debug device of the emulated GPU (1b36:0f0f) is missing: without it nobody counts outside the driver")
    })?;
    let mut board = Board::new(options.json, options.plain);
    let before = referee.snapshot()?;
    let violations = before.violations;
    referee.reset_stats()?;
    board.say(&format!("dividing the GPU into {} VFs", options.vfs));
    let host = Host::set_up(options.gpu.as_deref(), options.vfs)?;
    let base = Reading {
        gpu: host.read()?,
        referee: before,
    };
    let mut play = Play {
        tenants: Vec::new(),
        host,
        referee,
        board,
        stop,
        base,
        // Rules count from the driver's first moment, what guests did only from now on.
        violations,
        faults: vec![Faults::default(); options.vfs as usize],
    };
    play.load(options)?;
    let window = play.share(options)?;
    let victim = if options.no_hang {
        None
    } else {
        Some(play.hang(options)?)
    };
    let outcome = play.end(options, &window, victim)?;
    let text = if options.json {
        serde_json::to_string_pretty(&outcome)?
    } else {
        outcome.text()
    };
    println!("{text}");
    play.host.tear_down()?;
    Ok(outcome.ok())
}

/// The measured window: everything in it, and how long it was.
struct Window {
    seconds: f64,
    driver_ns: Vec<u64>,
    referee: Snapshot,
    start: Snapshot,
}

impl Play {
    fn read(&self) -> Result<Reading> {
        Ok(Reading {
            gpu: self.host.read()?,
            referee: self.referee.snapshot()?,
        })
    }

    /// Starts the referee's counters anew; what they have counted against anybody is kept.
    fn new_window(&mut self) -> Result<()> {
        let last = self.referee.snapshot()?;
        self.keep(&last);
        self.referee.reset_stats()?;
        self.base = self.read()?;
        Ok(())
    }

    fn keep(&mut self, last: &Snapshot) {
        self.violations += last.violations;
        for (n, sum) in (0..).zip(&mut self.faults) {
            let f = last.vf(n);
            sum.memory += f.window_faults + f.bad_packets;
            sum.dma += f.dma_faults;
        }
    }

    /// Lets `time` pass, or less when `done`; shows the table once a second.
    fn watch(
        &mut self,
        title: &str,
        time: Duration,
        done: impl Fn(&[Tenant]) -> bool,
    ) -> Result<bool> {
        let start = Instant::now();
        let mut shown = None::<Instant>;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            for tenant in &mut self.tenants {
                tenant.check_alive()?;
            }
            let over = done(&self.tenants);
            if over
                || start.elapsed() >= time
                || shown.is_none_or(|s| s.elapsed() >= Duration::from_secs(1))
            {
                let cells = self.cells()?;
                let title = format!("{title}, {:.0} s", start.elapsed().as_secs_f64());
                self.board.show(&title, &cells);
                shown = Some(Instant::now());
            }
            if over || start.elapsed() >= time {
                return Ok(over);
            }
            sleep(LOOK.min(time.saturating_sub(start.elapsed())));
        }
    }

    fn cells(&self) -> Result<Vec<Cell>> {
        let now = self.read()?;
        let rates = between(Some(&self.base.gpu), &now.gpu);
        let row = |(n, tenant): (usize, &Tenant)| {
            let (news, i) = (tenant.news(), n as u32);
            let rate = rates.get(n);
            Cell {
                pci: tenant.pci.clone(),
                workload: tenant.workload,
                client: news
                    .state
                    .map_or_else(|| "-".to_owned(), |s| format!("{s:?}").to_lowercase()),
                driver_state: rate
                    .and_then(|r| r.state.clone())
                    .unwrap_or_else(|| "-".to_owned()),
                jobs: news.stats.jobs,
                bytes_verified: news.stats.bytes_verified,
                driver_run_ns: rate.map_or(0, |r| r.run_ns),
                referee_run_ns: since(&self.base.referee, &now.referee, i),
                gap_ns: now.referee.vf(i).max_gap_ns,
            }
        };
        Ok(self.tenants.iter().enumerate().map(row).collect())
    }

    fn load(&mut self, options: &Options) -> Result<()> {
        let client = find_client(options.client.as_deref());
        self.board.say("starting one client per VF");
        for (n, pci) in self.host.vfs().iter().enumerate() {
            // Each guest waits 12 s at most for its turn, and the host serves one at a time.
            let room = |t: &[Tenant]| t.iter().filter(|t| !runs(t)).count() < MOST_LOADING;
            if !room(&self.tenants) && !self.watch("guests load", LOAD_LIMIT, room)? {
                break;
            }
            let order = Order {
                client: &client,
                pci,
                workload: WORK[n % WORK.len()],
                seed: options.seed.wrapping_mul(1000).wrapping_add(n as u64),
                repeat: options.repeat,
            };
            self.tenants.push(Tenant::start(&order)?);
        }
        let all = self.host.vfs().len();
        let all_run = |t: &[Tenant]| t.len() == all && t.iter().all(runs);
        if self.watch("guests load", LOAD_LIMIT, all_run)? {
            return Ok(());
        }
        let late: Vec<String> = self
            .tenants
            .iter()
            .filter(|t| !runs(t))
            .map(|t| format!("{} ({:?})", t.pci, t.news().state))
            .collect();
        bail!(
            "clients do not run after {} s: {}",
            LOAD_LIMIT.as_secs(),
            late.join(", ")
        )
    }

    /// Act 1: all work; nothing else happens.
    fn share(&mut self, options: &Options) -> Result<Window> {
        self.new_window()?;
        let slice = self.base.gpu.slice_us.unwrap_or(SLICE_US);
        let turns = Duration::from_micros(slice * u64::from(options.vfs) * TURNS);
        let time = Duration::from_secs(options.seconds).max(turns);
        if time > Duration::from_secs(options.seconds) {
            let text = format!(
                "act 1 takes {:.1} s, so that each VF has {TURNS} turns",
                time.as_secs_f64()
            );
            self.board.say(&text);
        }
        self.watch("act 1: all tenants work", time, |_| false)?;
        let end = self.read()?;
        let ns = end.referee.now_ns.saturating_sub(self.base.referee.now_ns);
        Ok(Window {
            seconds: ns as f64 / 1e9,
            driver_ns: between(Some(&self.base.gpu), &end.gpu)
                .iter()
                .map(|r| r.run_ns)
                .collect(),
            referee: end.referee,
            start: self.base.referee.clone(),
        })
    }

    /// Act 2: the last tenant hangs its VF.  Says which one it was.
    fn hang(&mut self, _options: &Options) -> Result<usize> {
        self.new_window()?;
        let victim = self.tenants.len() - 1;
        let jobs: Vec<u64> = self.tenants.iter().map(|t| t.news().stats.jobs).collect();
        self.board
            .say(&format!("act 2: VF {victim} hangs its engine"));
        self.tenants[victim].hang()?;
        let back = |t: &[Tenant]| {
            let v = t[victim].news();
            let others_work = t
                .iter()
                .zip(&jobs)
                .all(|(t, &old)| t.news().stats.jobs > old + 2);
            v.stats.recoveries > 0 && v.state == Some(State::Running) && others_work
        };
        if !self.watch("act 2: a hang", RECOVERY_LIMIT, back)? {
            let v = self.tenants[victim].news();
            self.board.say(&format!(
                "VF {victim} is not back, or somebody stands still, after {} s (client {:?}, {} recoveries)",
                RECOVERY_LIMIT.as_secs(),
                v.state,
                v.stats.recoveries
            ));
        }
        self.watch("act 2: all work again", Duration::from_secs(2), |_| false)?;
        Ok(victim)
    }

    /// Lets the clients end and gathers everything.
    fn end(
        &mut self,
        options: &Options,
        window: &Window,
        victim: Option<usize>,
    ) -> Result<Outcome> {
        let last = self.referee.snapshot()?;
        self.board.say("the clients end and verify their last jobs");
        self.tenants.iter_mut().for_each(Tenant::tell_stop);
        let deadline = Instant::now() + STOP_LIMIT;
        let results: Vec<Result<(), String>> = self
            .tenants
            .iter_mut()
            .map(|t| t.finish(deadline))
            .collect();
        let end = self.referee.snapshot()?;
        self.keep(&end);
        let row = |(n, tenant): (usize, &Tenant)| {
            let (s, i) = (tenant.news().stats, n as u32);
            let faults = self.faults.get(n).copied().unwrap_or_default();
            // A hung engine goes on polling while the reset has taken the bus from it already.
            let dma = if victim == Some(n) { 0 } else { faults.dma };
            Row {
                vf: i,
                pci: tenant.pci.clone(),
                workload: tenant.workload.to_owned(),
                jobs: s.jobs,
                bytes_verified: s.bytes_verified,
                driver_run_ns: window.driver_ns.get(n).copied().unwrap_or(0),
                referee_run_ns: since(&window.start, &window.referee, i),
                gap_ns: window.referee.vf(i).max_gap_ns,
                hang_gap_ns: victim.map(|_| last.vf(i).max_gap_ns),
                recoveries: s.recoveries,
                recovery_ns: s.max_recovery_ns,
                faults: faults.memory + dma,
                victim: victim == Some(n),
                error: results.get(n).and_then(|r| r.as_ref().err().cloned()),
            }
        };
        Ok(Outcome {
            gpu: self.host.pci.clone(),
            window_s: window.seconds,
            violations: self.violations,
            last_violation: end.last_violation,
            commands: window
                .referee
                .commands
                .saturating_sub(window.start.commands),
            command_ns: window
                .referee
                .command_ns
                .saturating_sub(window.start.command_ns),
            gap_limit_ns: options.gap_limit_ms * 1_000_000,
            tenants: self.tenants.iter().enumerate().map(row).collect(),
        })
    }
}

fn runs(tenant: &Tenant) -> bool {
    tenant.news().state == Some(State::Running)
}

/// Run time of VF `n` between two snapshots; the later one may count from 0 again.
fn since(start: &Snapshot, end: &Snapshot, n: u32) -> u64 {
    let (old, new) = (start.vf(n).run_ns, end.vf(n).run_ns);
    new.checked_sub(old).unwrap_or(new)
}
