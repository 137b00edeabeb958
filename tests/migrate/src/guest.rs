// SPDX-License-Identifier: GPL-2.0
//! A guest of a VF that can be moved to another: its driver is the test client's.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use gpu_regs::mailbox::request;
use gpu_regs::sdma::Packet;
use vf_client::pci::PciDevice;
use vf_client::ring::Stream;
use vf_client::transport::Transport;
use vf_client::vf::{Vf, VfState};
use vf_client::vfio::Vfio;
use vf_client::{layout, mailbox};

use crate::Bench;

/// How long anything of a guest may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// Memory of the guest that the GPU reaches, for data.
pub(crate) const OWN_BYTES: usize = 4 << 20;
/// The framebuffer from here on is the tests'.
pub(crate) const WORK: u64 = layout::WORK;

/// A VF with a client.
pub(crate) struct Guest {
    pub(crate) vf: Vf<Vfio>,
}

/// A client without a VF.
pub(crate) struct Frozen {
    state: VfState,
    memory: Vec<u8>,
}

impl Bench {
    /// The PCI function of a VF.
    pub(crate) fn function(&self, n: u32) -> Result<PciDevice> {
        let link = std::fs::read_link(self.sysfs.join(format!("virtfn{n}")))?;
        let name = link.file_name().context("virtfn is a link")?;
        Ok(PciDevice::new(&name.to_string_lossy())?)
    }

    /// Opens a VF as a VMM does, which resets it; waits until it is clean.
    pub(crate) fn open_function(&self, n: u32) -> Result<Vfio> {
        let function = self.function(n)?;
        function.bind_vfio()?;
        // Whoever had it before may be leaving it just now.
        self.wait_state(n, "available")?;
        let start = Instant::now();
        let vfio = loop {
            match Vfio::open(&function) {
                Ok(vfio) => break vfio,
                Err(e) if start.elapsed() > LIMIT => return Err(e.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        self.wait_state(n, "available")?;
        Ok(vfio)
    }

    /// A guest whose driver is not loaded yet.
    pub(crate) fn new_guest(&self, n: u32) -> Result<Guest> {
        let vf = Vf::attach(self.open_function(n)?, OWN_BYTES)?;
        Ok(Guest { vf })
    }

    /// A guest whose driver is loaded.
    pub(crate) fn guest(&self, n: u32) -> Result<Guest> {
        let mut guest = self.new_guest(n)?;
        guest.vf.start()?;
        Ok(guest)
    }
}

impl Guest {
    /// What has to move besides the VF. The VF must be paused.
    pub(crate) fn freeze(&mut self) -> Result<Frozen> {
        Ok(Frozen {
            state: self.vf.save(),
            memory: self.vf.memory()?,
        })
    }

    /// Submits packets; returns the number of the job.
    pub(crate) fn submit<'a>(
        &mut self,
        packets: impl IntoIterator<Item = Packet<&'a [u32]>>,
    ) -> Result<u32> {
        let mut stream: Stream = self.vf.stream();
        for packet in packets {
            stream.push(&packet);
        }
        Ok(self.vf.submit(stream)?.0)
    }

    /// Waits for a job, and for all before it.
    pub(crate) fn wait(&mut self, job: u32) -> Result<()> {
        self.vf.wait_fence(job, LIMIT)?;
        self.vf.ring.retire(self.vf.ring.position());
        Ok(())
    }

    /// Works a little, and finds the result right.
    pub(crate) fn works(&mut self) -> Result<()> {
        let (at, bytes) = (WORK + (1 << 20), 8192);
        let value = 0x1234_0000 | std::process::id();
        let fill = Packet::ConstFill {
            dst: at,
            value,
            bytes,
        };
        let copy = Packet::CopyLinear {
            src: at,
            dst: at + u64::from(bytes),
            bytes,
        };
        let job = self.submit([fill, copy])?;
        self.wait(job).context("a small job")?;
        let mut back = vec![0; bytes as usize];
        self.vf.t.vram_read(at + u64::from(bytes), &mut back)?;
        let right = back.chunks(4).all(|c| c == value.to_le_bytes());
        ensure!(right, "the small job has written something else");
        Ok(())
    }

    /// Unloads the driver.
    pub(crate) fn stop(mut self) -> Result<()> {
        Ok(self.vf.stop()?)
    }

    /// Sends a message and waits until the host has taken it.
    pub(crate) fn send(&mut self, message: u32) -> Result<()> {
        mailbox::send(&mut self.vf.t, message).map(drop)?;
        Ok(())
    }

    /// Sends a message and does not look what becomes of it.
    pub(crate) fn post(&mut self, message: u32) {
        mailbox::post(&mut self.vf.t, message);
    }

    /// Waits until what was posted is taken, and leaves it standing.
    pub(crate) fn await_ack(&mut self) -> Result<()> {
        Ok(mailbox::await_ack(&mut self.vf.t, LIMIT)?)
    }

    /// What was posted, perhaps by way of another VF, is taken now.
    pub(crate) fn posted(&mut self, message: u32) -> Result<()> {
        Ok(mailbox::withdraw(&mut self.vf.t, message, LIMIT)?)
    }

    /// Waits for a message of the host; leaves it where it is.
    pub(crate) fn await_message(&mut self, wanted: u32) -> Result<()> {
        let start = self.vf.t.now();
        while mailbox::pending(&mut self.vf.t) != Some(wanted) {
            let waited = self.vf.t.now().saturating_sub(start);
            ensure!(waited < LIMIT, "message {wanted} does not come");
            self.vf.t.sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Full access was granted after a request to load: gives it back.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.send(request::REL_INIT_ACCESS)
    }
}

impl Frozen {
    /// Goes on with a VF that was opened by [`Bench::open_function`].
    pub(crate) fn thaw(&self, function: Vfio) -> Result<Guest> {
        let vf = Vf::resume(function, &self.state, &self.memory)?;
        Ok(Guest { vf })
    }
}
