// SPDX-License-Identifier: GPL-2.0
//! `gimctl top`: a live table in a terminal, plain readings elsewhere.

use std::io::{self, IsTerminal, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType};
use crossterm::{cursor, execute, queue};
use gimctl::rates::{between, VfRate};
use gimctl::sysfs::{Gpu, Sysfs};
use gimctl::table::{duration, or_dash, percent, render, table};
use serde_json::json;

use crate::show::print;
use crate::TopArgs;

/// One reading and the time for which it stands; no time: since the driver was loaded.
struct Reading {
    gpu: Gpu,
    seconds: Option<f64>,
    rates: Vec<VfRate>,
}

pub(crate) fn run(sysfs: &Sysfs, args: &TopArgs, json: bool) -> Result<()> {
    let gpu = sysfs.gpu(args.choice.gpu.as_deref())?;
    if args.once {
        let rates = between(None, &gpu);
        return emit(
            &Reading {
                gpu,
                seconds: None,
                rates,
            },
            json,
        );
    }
    let pause = Duration::from_secs_f64(args.interval);
    if !json && args.iterations.is_none() && io::stdout().is_terminal() {
        return live(sysfs, gpu, pause);
    }
    let mut last = (gpu, Instant::now());
    let mut left = args.iterations;
    while left != Some(0) {
        sleep(pause);
        let reading = next(sysfs, &mut last)?;
        emit(&reading, json)?;
        left = left.map(|n| n - 1);
    }
    Ok(())
}

fn next(sysfs: &Sysfs, last: &mut (Gpu, Instant)) -> Result<Reading> {
    let gpu = sysfs.read_gpu(&last.0.pci)?;
    let now = Instant::now();
    let reading = Reading {
        rates: between(Some(&last.0), &gpu),
        seconds: Some(now.duration_since(last.1).as_secs_f64()),
        gpu: gpu.clone(),
    };
    *last = (gpu, now);
    Ok(reading)
}

fn emit(reading: &Reading, json: bool) -> Result<()> {
    if json {
        // One reading a line, so that a reader can follow.
        let value = json!({
            "gpu": reading.gpu.pci,
            "state": reading.gpu.state,
            "seconds": reading.seconds,
            "vfs": reading.rates,
        });
        return print(&value.to_string());
    }
    print(&format!("{}\n", draw(reading)))
}

fn draw(reading: &Reading) -> String {
    let gpu = &reading.gpu;
    let window = reading.seconds.map_or_else(
        || "since the driver was loaded".to_owned(),
        |s| format!("over {s:.2} s"),
    );
    let mut text = format!(
        "GPU {}  {}  {}  {} VFs  {} {}  {window}\n",
        gpu.pci,
        or_dash(gpu.chip.as_ref()),
        or_dash(gpu.state.as_ref()),
        gpu.num_vfs,
        or_dash(gpu.policy.as_ref()),
        or_dash(gpu.mode.as_ref()),
    );
    let mut t = table(&[
        ">VF",
        "PCI",
        "STATE",
        ">SHARE",
        ">RUN",
        ">SWITCHES",
        ">SKIPS",
        ">MESSAGES",
        ">RESETS",
        ">MAX GAP",
    ]);
    for r in &reading.rates {
        t.add_row([
            r.vf.to_string(),
            or_dash(r.pci.as_ref()),
            or_dash(r.state.as_ref()),
            percent(r.share),
            duration(r.run_ns),
            r.switches.to_string(),
            r.skips.to_string(),
            r.messages.to_string(),
            r.resets.to_string(),
            duration(r.max_gap_ns),
        ]);
    }
    text.push_str(&render(&t));
    text
}

/// Leaves the terminal as it was, however the live view ends.
struct Screen;

impl Screen {
    fn enter() -> Result<Self> {
        terminal::enable_raw_mode()?;
        let screen = Self;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn live(sysfs: &Sysfs, gpu: Gpu, pause: Duration) -> Result<()> {
    let rates = between(None, &gpu);
    let mut reading = Reading {
        gpu: gpu.clone(),
        seconds: None,
        rates,
    };
    let mut last = (gpu, Instant::now());
    let _screen = Screen::enter()?;
    loop {
        paint(&draw(&reading))?;
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if event::poll(left)? && quits(&event::read()?) {
                return Ok(());
            }
        }
        reading = next(sysfs, &mut last)?;
    }
}

fn quits(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        || (key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL))
}

fn paint(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let (width, height) = terminal::size()?;
    queue!(out, cursor::MoveTo(0, 0))?;
    for line in text
        .lines()
        .chain(["", "q: quit"])
        .take(usize::from(height))
    {
        let cut: String = line.chars().take(usize::from(width)).collect();
        write!(out, "{cut}")?;
        queue!(
            out,
            Clear(ClearType::UntilNewLine),
            cursor::MoveToNextLine(1)
        )?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    out.flush()?;
    Ok(())
}
