// SPDX-License-Identifier: GPL-2.0
//! `gimctl metrics`: once to standard output, or to whoever asks by HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{mpsc, Arc};
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
    let (ended, ends) = mpsc::channel();
    for _ in 0..WORKERS {
        let (server, ended) = (server.clone(), ended.clone());
        let (sysfs, proc) = (sysfs.clone(), proc.to_owned());
        // The first that ends ends the program, which waits for nobody.
        thread::spawn(move || ended.send(take_requests(&server, &sysfs, &proc)));
    }
    drop(ended);
    match ends.recv() {
        Ok(e) => Err(e).context("cannot take requests"),
        Err(_) => bail!("all threads that serve have failed"),
    }
}

/// Serves until that fails.
fn take_requests(server: &Server, sysfs: &Sysfs, proc: &Path) -> io::Error {
    loop {
        match server.recv() {
            // Whoever asked may have gone.
            Ok(request) => drop(answer(sysfs, proc, request)),
            Err(e) => return e,
        }
    }
}

fn answer(sysfs: &Sysfs, proc: &Path, request: Request) -> io::Result<()> {
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
