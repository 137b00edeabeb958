// SPDX-License-Identifier: GPL-2.0
//! What befalls a VF or its GPU in the middle of a save or a restore.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use gim_uapi::Vf;
use gpu_regs::referee::{fault, ANY};
use vf_client::referee::{Fault, Referee};

use crate::Bench;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The host resets the function.
    Flr,
    /// Another user of `/dev/gim` resets the VF.
    Reset,
    /// VFs are disabled and enabled again.
    Disable,
    /// The driver is unbound from the GPU, and bound again.
    Unbind,
    /// The GPU is taken away, and comes back.
    Remove,
    /// The GPU is not on the bus any more, and nobody has said so: it reads all ones.
    Lost,
}

impl Strike {
    pub(crate) const ALL: [Self; 6] = [
        Self::Flr,
        Self::Reset,
        Self::Disable,
        Self::Unbind,
        Self::Remove,
        Self::Lost,
    ];

    /// Lets it happen to VF `n`; afterwards VFs are there again, after [`Self::mend`] at the latest.
    pub(crate) fn befall(self, b: &Bench, n: u32) -> Result<()> {
        match self {
            Self::Flr => b.flr(n)?,
            Self::Reset => b.vf(n)?.reset()?,
            Self::Disable => b.enable(0)?,
            Self::Unbind => {
                let driver = Path::new("/sys/bus/pci/drivers/gim");
                fs::write(driver.join("unbind"), b.pf())?;
                fs::write(driver.join("bind"), b.pf())?;
            }
            Self::Remove => b.replug(|| Ok(()))?,
            Self::Lost => {
                return Ok(referee()?.arm(Fault {
                    kind: fault::PF_DEAD,
                    function: 0,
                    command: 0,
                    arg: 0,
                    count: ANY,
                })?);
            }
        }
        if !matches!(self, Self::Flr | Self::Reset) {
            b.enable(4)?;
        }
        b.wait_state(n, "available")
    }

    /// A GPU that was lost is taken out, and another one put in.
    pub(crate) fn mend(self, b: &Bench, n: u32) -> Result<()> {
        if self != Self::Lost {
            return Ok(());
        }
        b.replug(|| Ok(referee()?.clear_faults()?))?;
        b.enable(4)?;
        b.wait_state(n, "available")
    }

    /// Whether files that were open before are good for nothing afterwards.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Unbind | Self::Remove | Self::Lost)
    }
}

/// The emulated GPU's debug device.
fn referee() -> Result<Referee> {
    Referee::find()?.context("this machine has no debug device")
}

impl Bench {
    /// The GPU is taken away; `meanwhile`; it is found again.
    fn replug(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        fs::write(self.sysfs.join("remove"), "1")?;
        meanwhile()?;
        fs::write("/sys/bus/pci/rescan", "1")?;
        self.wait_path(&self.sysfs.join("driver"))
    }

    pub(crate) fn pf(&self) -> String {
        let name = self.sysfs.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn wait_path(&self, path: &Path) -> Result<()> {
        let start = Instant::now();
        while !path.exists() {
            let waited = start.elapsed();
            ensure!(
                waited < Duration::from_secs(10),
                "{} is missing",
                path.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sets the number of VFs.
    pub(crate) fn enable(&self, vfs: u32) -> Result<()> {
        fs::write(self.sysfs.join("sriov_numvfs"), vfs.to_string())
            .with_context(|| format!("enabling {vfs} VFs"))
    }

    /// All that a free VF can do: it is paused, saved, and a restore fills it.
    pub(crate) fn is_sound(&self, n: u32, stream: &[u8]) -> Result<()> {
        use std::io::{Read, Write};

        self.wait_state(n, "available")?;
        let vf: Vf = self.vf(n)?;
        vf.pause(0, false).context("pausing it afterwards")?;
        vf.fb_write(0, b"used")?;
        let mut all = Vec::new();
        let saved = vf.save(None).and_then(|mut s| s.read_to_end(&mut all));
        saved.context("saving it afterwards")?;
        vf.resume()?;
        let mut to = vf.restore().context("restoring it afterwards")?;
        to.write_all(stream).context("restoring it afterwards")?;
        ensure!(to.is_complete()?);
        drop(to);
        vf.reset()?;
        self.wait_state(n, "available")
    }
}
