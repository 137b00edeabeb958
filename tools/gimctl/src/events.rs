// SPDX-License-Identifier: GPL-2.0
//! `gimctl events`: what the driver tells by uevents, as lines or as one JSON object a line.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gimctl::sysfs::Sysfs;
use gimctl::uevent::{Event, Gaps};
use rustix::io::Errno;
use rustix::net::{
    bind, netlink::SocketAddrNetlink, netlink::KOBJECT_UEVENT, recvfrom, socket_with, sockopt,
    AddressFamily, RecvFlags, SocketFlags, SocketType,
};

use crate::show::print;
use crate::EventsArgs;

/// The group to which the kernel sends; 2 would be udev's.
const KERNEL_GROUP: u32 = 1;

/// Most bytes of a uevent: the kernel's own limit is 2048 for the variables.
const MESSAGE_MAX: usize = 8192;

/// Bytes of messages that may wait while we print.
const BUFFER: usize = 4 << 20;

pub(crate) fn run(sysfs: &Sysfs, args: &EventsArgs, json: bool) -> Result<()> {
    let only = match args.choice.gpu.as_deref() {
        Some(choice) => Some(sysfs.gpu(Some(choice))?.pci),
        None => None,
    };
    let socket = listen().context("cannot listen to uevents")?;
    let end = args
        .seconds
        .map(|s| Instant::now() + Duration::from_secs_f64(s));
    let mut left = args.count;
    let mut gaps = Gaps::default();
    let mut buf = vec![0; MESSAGE_MAX];
    while left != Some(0) {
        if !set_wait(&socket, end)? {
            break;
        }
        let len = match recvfrom(&socket, &mut buf[..], RecvFlags::empty()) {
            // What has another sender than the kernel is not the driver's word.
            Ok((len, _, Some(from))) if from_kernel(&from) => len,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(Errno::NOBUFS) => {
                eprintln!("gimctl: too many uevents at once: some were not received");
                continue;
            }
            Err(e) => return Err(e).context("cannot receive uevents"),
        };
        let Some(event) = buf.get(..len).and_then(Event::parse) else {
            continue;
        };
        if only.as_ref().is_some_and(|pci| *pci != event.gpu) {
            continue;
        }
        let missed = gaps.missed(&event);
        show(&event, missed, json)?;
        left = left.map(|n| n - 1);
    }
    Ok(())
}

fn listen() -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(KOBJECT_UEVENT),
    )?;
    // More room needs root; without it there is still some.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER);
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

/// Lets the next wait end in time; false if the time is over.
fn set_wait(socket: &OwnedFd, end: Option<Instant>) -> Result<bool> {
    let Some(end) = end else { return Ok(true) };
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    let left = left.max(Duration::from_millis(1));
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(left))?;
    Ok(true)
}

fn from_kernel(from: &rustix::net::SocketAddrAny) -> bool {
    SocketAddrNetlink::try_from(from.clone()).is_ok_and(|addr| addr.pid() == 0)
}

fn show(event: &Event, missed: u64, json: bool) -> Result<()> {
    if json {
        let mut value = serde_json::to_value(event)?;
        value["missed"] = missed.into();
        return print(&value.to_string());
    }
    if missed != 0 {
        print(&format!("{} ({missed} events were dropped)", event.gpu))?;
    }
    print(&event.to_string())
}
