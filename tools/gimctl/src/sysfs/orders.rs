// SPDX-License-Identifier: GPL-2.0
//! What is written: the number of VFs, orders to them and to the scheduler.

use std::fs;

use anyhow::{anyhow, bail, Context, Result};
use rustix::io::Errno;

use super::{Gpu, VF_COUNTS};

impl Gpu {
    /// Enables `count` VFs, or takes all away with 0.
    ///
    /// Refuses what [`Self::check_vfs`] does. Returns the count that was in force before.
    pub fn set_vfs(&self, count: u32, force: bool) -> Result<u32> {
        self.check_vfs(count, force)?;
        if count == self.num_vfs {
            return Ok(self.num_vfs);
        }
        if self.num_vfs != 0 {
            // The PCI core refuses to go from one count to another without passing through 0.
            self.write_numvfs(0)?;
        }
        if count != 0 {
            self.write_numvfs(count)?;
        }
        Ok(self.num_vfs)
    }

    /// Refuses counts outside [`VF_COUNTS`] and, unless `force`, to take away VFs that guests use.
    pub fn check_vfs(&self, count: u32, force: bool) -> Result<()> {
        self.check_count(count)?;
        if count != self.num_vfs {
            let busy: Vec<String> = self
                .vfs
                .iter()
                .filter(|vf| vf.in_use())
                .map(|vf| {
                    let state = vf.state.as_deref().unwrap_or("?");
                    format!(
                        "VF {} ({}) is {state}",
                        vf.index,
                        vf.pci.as_deref().unwrap_or("?")
                    )
                })
                .collect();
            if !busy.is_empty() && !force {
                bail!(
                    "VFs of GPU {} are in use: {}; shut their VMs down first (--force pulls the GPU from under them)",
                    self.pci,
                    busy.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Sets whether the time of an idle VF is given away: `strict` or `work-conserving`.
    pub fn set_mode(&self, mode: &str) -> Result<()> {
        let path = self.dir.join("gim/mode");
        fs::write(&path, format!("{mode}\n"))
            .with_context(|| format!("cannot set mode {mode} ({})", path.display()))
    }

    /// Orders `pause`, `resume` or (of a VF) `reset`, and returns when it is done.
    ///
    /// Without a VF, the order is for the scheduler as a whole.
    pub fn order(&self, vf: Option<u32>, order: &str) -> Result<()> {
        let (path, whom) = match vf {
            None => (self.dir.join("gim/control"), "the scheduler".to_owned()),
            Some(n) if n < self.num_vfs => {
                let path = format!("sriov_admin/vf{}/control", n + 1);
                (self.dir.join(path), format!("VF {n}"))
            }
            Some(n) => bail!(
                "GPU {} has no VF {n}; it has {} VFs, counted from 0",
                self.pci,
                self.num_vfs
            ),
        };
        fs::write(&path, format!("{order}\n")).map_err(|e| {
            let why = match Errno::from_io_error(&e) {
                Some(Errno::ACCESS | Errno::PERM) => {
                    "this needs root; run it again with sudo".to_owned()
                }
                Some(Errno::TIMEDOUT) => "it takes too long; nothing was changed".to_owned(),
                Some(Errno::CANCELED) => "somebody else has ordered otherwise meanwhile".to_owned(),
                Some(Errno::IO) => {
                    "the reset has failed, or the VF is quarantined; see the kernel log".to_owned()
                }
                Some(Errno::NOENT) => {
                    format!("{} is missing: is the driver older?", path.display())
                }
                _ => e.to_string(),
            };
            anyhow!("cannot {order} {whom} of GPU {}: {why}", self.pci)
        })
    }

    /// Has the driver leave its VFs to the next one when it is unloaded, or take them with it.
    pub fn hand_over(&self, on: bool) -> Result<()> {
        let path = self.dir.join("gim/handover");
        fs::write(&path, format!("{}\n", u8::from(on))).map_err(|e| {
            let why = match Errno::from_io_error(&e) {
                Some(Errno::ACCESS | Errno::PERM) => "this needs root; run it again with sudo".to_owned(),
                Some(Errno::NODEV) => {
                    "gim_seam, which keeps what the next gim must know, is not loaded; run: modprobe gim_seam".to_owned()
                }
                Some(Errno::BUSY) => "a VF is being saved, restored or tracked; let that end first".to_owned(),
                Some(Errno::NOENT) => format!("{} is missing: is the driver older?", path.display()),
                _ => e.to_string(),
            };
            anyhow!("the VFs of GPU {} cannot be handed over: {why}", self.pci)
        })
    }

    fn check_count(&self, count: u32) -> Result<()> {
        if count != 0 && !VF_COUNTS.contains(&count) {
            bail!("{count} VFs are not possible; allowed are 1, 2, 4, 8, 16, or 0 to disable");
        }
        if self.total_vfs != 0 && count > self.total_vfs {
            bail!(
                "GPU {} has {} VFs at most, {count} were asked for",
                self.pci,
                self.total_vfs
            );
        }
        Ok(())
    }

    fn write_numvfs(&self, count: u32) -> Result<()> {
        let path = self.dir.join("sriov_numvfs");
        fs::write(&path, format!("{count}\n")).map_err(|e| {
            let why = match Errno::from_io_error(&e) {
                Some(Errno::ACCESS | Errno::PERM) => "this needs root; run it again with sudo".to_owned(),
                Some(Errno::BUSY) => "VFs are in use (EBUSY); shut down the VMs that hold them, or unbind them from their driver".to_owned(),
                Some(Errno::NOSYS | Errno::NOENT) => "the device offers no SR-IOV, or it is switched off in the firmware".to_owned(),
                Some(Errno::NOMEM | Errno::NOSPC) => format!("{e}; there is not enough PCI address space or bus numbers for the VFs (try the kernel parameter pci=realloc)"),
                Some(Errno::INVAL | Errno::RANGE) => format!("the driver refused {count} VFs; see the kernel log"),
                _ => e.to_string(),
            };
            anyhow!("cannot set {count} VFs on GPU {}: {why}", self.pci)
        })
    }
}
