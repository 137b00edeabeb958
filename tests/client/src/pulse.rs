// SPDX-License-Identifier: GPL-2.0
//! Jobs one after the other, each waited for by its interrupt alone: the GPU raises none before the last
//! one was answered, so a client that lost one would wait for ever. This one waits long, and counts.

use std::time::Duration;

use gpu_regs::sdma::Packet;

use crate::error::{Error, Result};
use crate::layout::CELL_TEST;
use crate::transport::Transport;
use crate::vf::{nanos, reached, Vf};

/// A client that looks at nothing unless it is interrupted.
#[derive(Debug)]
pub struct Pulse<T: Transport> {
    /// The VF.  Of its counters `late_interrupts` are the jobs whose interrupt has not come,
    /// and `max_gap_ns` is the longest time from doorbell to interrupt.
    pub vf: Vf<T>,
    patience: Duration,
}

impl<T: Transport> Pulse<T> {
    /// Takes the VF over; an interrupt that takes longer than `patience` is lost.
    pub fn new(t: T, patience: Duration) -> Result<Self> {
        let vf = Vf::attach(t, 4096)?;
        Ok(Self { vf, patience })
    }

    /// Gets full access, sets up, gives it back.
    pub fn start(&mut self) -> Result<()> {
        self.vf.start()
    }

    /// One job, until its interrupt has come or is lost.
    pub fn step(&mut self) -> Result<()> {
        let mut stream = self.vf.stream();
        let number = self.vf.stats.jobs as u32;
        stream.push(&Packet::WriteLinear {
            dst: self.vf.space.dma(CELL_TEST),
            data: &[number],
        });
        let start = self.vf.t.now();
        let (seq, position) = self.vf.submit(stream)?;
        loop {
            let waited = self.vf.t.now().saturating_sub(start);
            let noticed = self.vf.watch(self.patience.saturating_sub(waited))?;
            if reached(noticed.fence, seq) {
                self.vf.stats.late_interrupts += u64::from(!noticed.interrupted);
                break;
            }
            if !noticed.interrupted {
                return Err(Error::Timeout {
                    what: format!("waiting for job {seq}, by interrupt or fence"),
                    waited: self.vf.t.now().saturating_sub(start),
                    seen: format!("fence {}", noticed.fence),
                });
            }
            // One of an earlier job, a second time: that does no harm.
        }
        let took = nanos(self.vf.t.now().saturating_sub(start));
        self.vf.stats.max_gap_ns = self.vf.stats.max_gap_ns.max(took);
        let found = self.vf.cell(CELL_TEST)?;
        if found != number {
            return Err(Error::Unsupported(format!(
                "job {number} has left {found} behind"
            )));
        }
        self.vf.ring.retire(position);
        self.vf.stats.jobs += 1;
        Ok(())
    }
}
