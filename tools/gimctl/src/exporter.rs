// SPDX-License-Identifier: GPL-2.0
//! `gimctl metrics`: once to standard output, or to whoever asks by HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{anyhow, bail, Context, Result};
use clap::Args;
use gimctl::holder::Holders;
use gimctl::metrics::{self, Family};
use gimctl::sysfs::Sysfs;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use crate::show::print_json;

/// Scrapers that are served at a time: one that does not read its answer keeps nobody waiting.
const WORKERS: usize = 4;

#[derive(Args)]
pub(crate) struct Metrics {
    /// Serve them at this address, under /metrics, until interrupted; 127.0.0.1:9842 for instance
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

pub(crate) fn run(sysfs: &Sysfs, proc: &Path, args: &Metrics, json: bool) -> Result<()> {
    match args.listen {
        None if json => print_json(&gather(sysfs, proc)?),
        None => {
            // Without a line of its own: the text ends with one.
            let text = metrics::text(gather(sysfs, proc)?)?;
            crate::show::print(text.trim_end())
        }
        Some(_) if json => bail!("--json prints once; what is served has Prometheus' format"),
        Some(address) => serve(sysfs, proc, address),
    }
}

fn gather(sysfs: &Sysfs, proc: &Path) -> Result<Vec<Family>> {
    // While the driver is replaced, or before it is loaded, there is that to tell.
    if !sysfs.is_loaded() {
        return Ok(metrics::of_host(None, None));
    }
    let holders = Holders::read(proc);
    let mut gpus = sysfs.gpus()?;
    for gpu in &mut gpus {
        gpu.read_guests();
        gpu.read_holders(&holders);
    }
    Ok(metrics::of_host(sysfs.version().as_deref(), Some(&gpus)))
}

fn serve(sysfs: &Sysfs, proc: &Path, address: SocketAddr) -> Result<()> {
    let server = Server::http(address).map_err(|e| anyhow!("cannot listen on {address}: {e}"))?;
    let server = Arc::new(server);
    eprintln!("metrics at http://{}/metrics", server.server_addr());
    let worker = || -> Result<()> {
        loop {
            let request = server.recv().context("cannot take requests")?;
            // Whoever asked may have gone.
            let _ = answer(sysfs, proc, request);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        let mut ends = workers.into_iter().map(thread::ScopedJoinHandle::join);
        match ends.find(|end| !matches!(end, Ok(Ok(())))) {
            Some(Ok(end)) => end,
            _ => bail!("a thread that serves has failed"),
        }
    })
}

fn answer(sysfs: &Sysfs, proc: &Path, request: Request) -> std::io::Result<()> {
    let (status, kind, body) = match (request.method(), request.url()) {
        (Method::Get | Method::Head, "/metrics") => match scrape(sysfs, proc) {
            Ok(text) => (200, metrics::CONTENT_TYPE, text),
            Err(e) => (500, PLAIN, format!("{e:#}\n")),
        },
        (Method::Get | Method::Head, _) => (404, PLAIN, "metrics are at /metrics\n".to_owned()),
        _ => (405, PLAIN, "only GET is allowed\n".to_owned()),
    };
    let header = Header::from_bytes("Content-Type", kind);
    let response = Response::from_string(body).with_status_code(StatusCode(status));
    request.respond(match header {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    })
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn scrape(sysfs: &Sysfs, proc: &Path) -> Result<String> {
    Ok(metrics::text(gather(sysfs, proc)?)?)
}
