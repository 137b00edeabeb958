// SPDX-License-Identifier: GPL-2.0
//! One tenant: a `vf-client` process on a VF, told by standard input, heard by standard output.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use vf_client::stats::{Line, State, Stats};

/// What is known of a tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// Where the client is; `None` before its first word.
    pub(crate) state: Option<State>,
    /// Its counters.
    pub(crate) stats: Stats,
    /// Its last word: all right, or what was wrong.
    pub(crate) result: Option<Result<(), String>>,
    /// The last lines of its standard error.
    complaints: VecDeque<String>,
}

/// See the module.
pub(crate) struct Tenant {
    /// PCI address of the VF.
    pub(crate) pci: String,
    /// Kind of work.
    pub(crate) workload: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    news: Arc<Mutex<News>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a tenant is started with.
pub(crate) struct Order<'a> {
    pub(crate) client: &'a Path,
    pub(crate) pci: &'a str,
    pub(crate) workload: &'static str,
    pub(crate) seed: u64,
    pub(crate) repeat: u32,
}

fn lock(news: &Mutex<News>) -> MutexGuard<'_, News> {
    news.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tenant {
    pub(crate) fn start(order: &Order<'_>) -> Result<Self> {
        let mut child = Command::new(order.client)
            .args([
                "--json",
                "--pci",
                order.pci,
                "run",
                "--seconds",
                "0",
                "--stdin",
            ])
            .args(["--workload", order.workload])
            .args([
                "--seed",
                &order.seed.to_string(),
                "--repeat",
                &order.repeat.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", order.client.display()))?;
        let news = Arc::new(Mutex::new(News::default()));
        let stdin = child.stdin.take();
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            let news = news.clone();
            readers.push(listen(out, move |line| hear(&news, &line)));
        }
        if let Some(err) = child.stderr.take() {
            let news = news.clone();
            readers.push(listen(err, move |line| complain(&news, line)));
        }
        let pci = order.pci.to_owned();
        Ok(Self {
            pci,
            workload: order.workload,
            child,
            stdin,
            news,
            readers,
        })
    }

    pub(crate) fn news(&self) -> News {
        lock(&self.news).clone()
    }

    /// Fails if the client has ended although nobody told it to.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self
            .child
            .try_wait()
            .context("cannot ask for a client's state")?
        else {
            return Ok(());
        };
        self.readers.drain(..).for_each(|r| drop(r.join()));
        bail!(
            "the client on {} ended early ({status}): {}",
            self.pci,
            self.reason()
        )
    }

    fn reason(&self) -> String {
        let news = lock(&self.news);
        let said = match &news.result {
            Some(Err(error)) => error.clone(),
            _ => Vec::from(news.complaints.clone()).join("; "),
        };
        if said.is_empty() {
            "it said nothing".to_owned()
        } else {
            said
        }
    }

    /// Tells the client to hang its engine.
    pub(crate) fn hang(&mut self) -> Result<()> {
        let Some(stdin) = &mut self.stdin else {
            bail!("the client on {} is stopping", self.pci)
        };
        writeln!(stdin, "hang")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("cannot talk to the client on {}", self.pci))
    }

    /// Tells the client to end its jobs, verify them and go.
    pub(crate) fn tell_stop(&mut self) {
        self.stdin = None;
    }

    /// Waits for the end of the client, at most until `deadline`; gives its result.
    pub(crate) fn finish(&mut self, deadline: Instant) -> Result<(), String> {
        self.tell_stop();
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(20)),
                Ok(None) => {
                    let news = self.news();
                    return Err(format!(
                        "did not stop in time (state {:?}, {} jobs)",
                        news.state, news.stats.jobs
                    ));
                }
                Err(e) => return Err(e.to_string()),
            }
        }
        self.readers.drain(..).for_each(|r| drop(r.join()));
        match self.news().result {
            Some(result) => result,
            None => Err(self.reason()),
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let _ = self.finish(Instant::now() + Duration::from_secs(5));
        // A client that does not answer is ended the hard way: the VF must become free.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn listen(
    pipe: impl Read + Send + 'static,
    mut each: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            each(line);
        }
    })
}

fn hear(news: &Mutex<News>, line: &str) {
    match serde_json::from_str(line) {
        Ok(Line::Progress { state, stats, .. }) => {
            let mut news = lock(news);
            news.state = Some(state);
            news.stats = stats;
        }
        Ok(Line::Result {
            ok, error, stats, ..
        }) => {
            let mut news = lock(news);
            news.stats = stats;
            news.result = Some(if ok {
                Ok(())
            } else {
                Err(error.unwrap_or_default())
            });
        }
        Err(e) => complain(news, format!("unreadable line {line:?}: {e}")),
    }
}

fn complain(news: &Mutex<News>, line: String) {
    let mut news = lock(news);
    if news.complaints.len() == 5 {
        news.complaints.pop_front();
    }
    news.complaints.push_back(line);
}

/// The client's program: beside this one, or somewhere in PATH.
pub(crate) fn find_client(named: Option<&Path>) -> PathBuf {
    if let Some(path) = named {
        return path.to_owned();
    }
    let beside = std::env::current_exe()
        .ok()
        .map(|p| p.with_file_name("vf-client"));
    beside
        .filter(|p| p.exists())
        .unwrap_or_else(|| PathBuf::from("vf-client"))
}
