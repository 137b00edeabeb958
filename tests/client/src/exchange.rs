// SPDX-License-Identifier: GPL-2.0
//! The data exchange pages, as the guest driver reads and writes them; and as one would that means
//! ill.

use gpu_regs::exchange::{checksum, get, head, pf2vf, put, vf2pf, PAGE, PF2VF, VF2PF};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::transport::Transport;

/// What the host has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// What the host does.
    pub feature_flags: u32,
    /// How often the guest is to write its page.
    pub update_interval_ms: u32,
    /// Names the VF.
    pub uuid: u64,
    /// Share of the GPU, of 65535.
    pub gpu_capacity: u32,
}

/// What is wrong with a page that a guest writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Spoil {
    /// Nothing.
    Nothing,
    /// It says that it is larger than it can be.
    SizeBig,
    /// It says that it is as large as can be said.
    SizeHuge,
    /// It says that it has no bytes.
    SizeZero,
    /// It ends before the first field.
    SizeSmall,
    /// It is of a version that nobody knows.
    Version,
    /// Its sum is wrong.
    Checksum,
    /// Its text has no end, and is no text.
    Text,
}

/// Reads and checks the host's page as the guest driver does.
pub fn read_host<T: Transport>(t: &mut T) -> Result<Host> {
    let mut page = [0; PAGE];
    t.vram_read(PF2VF, &mut page)?;
    let bad = |what: &str, found: u32, expected: String| {
        Err(Error::Unsupported(format!(
            "the host's page has {what} {found:#x}, not {expected}"
        )))
    };
    let size = get(&page, head::SIZE);
    // The guest driver refuses more; this host writes all of it.
    if size as usize != PAGE {
        return bad("size", size, PAGE.to_string());
    }
    let version = get(&page, head::VERSION);
    if version != pf2vf::VERSION {
        return bad("version", version, pf2vf::VERSION.to_string());
    }
    let sum = checksum(&page, PAGE);
    if get(&page, head::CHECKSUM) != sum {
        return bad("checksum", get(&page, head::CHECKSUM), format!("{sum:#x}"));
    }
    let uuid = [0, 4].map(|at| u64::from(get(&page, pf2vf::UUID + at)));
    Ok(Host {
        feature_flags: get(&page, pf2vf::FEATURE_FLAGS),
        update_interval_ms: get(&page, pf2vf::UPDATE_INTERVAL_MS),
        uuid: uuid[0] | (uuid[1] << 32),
        gpu_capacity: get(&page, pf2vf::GPU_CAPACITY),
    })
}

/// The guest's page.
pub fn guest_page(vram_mib: u32, used_mib: u32, spoil: Spoil) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    put(&mut page, head::SIZE, PAGE as u32);
    put(&mut page, head::VERSION, vf2pf::VERSION);
    let name = concat!("vf-client ", env!("CARGO_PKG_VERSION")).as_bytes();
    page[vf2pf::DRIVER_VERSION..][..name.len()].copy_from_slice(name);
    put(&mut page, vf2pf::FB_USAGE, used_mib);
    put(&mut page, vf2pf::FB_SIZE, vram_mib);
    for i in 0..10 {
        put(&mut page, vf2pf::GFX_USAGE + 4 * i, vf2pf::UNKNOWN);
    }
    put(&mut page, vf2pf::GFX_USAGE, 50);
    match spoil {
        Spoil::Nothing | Spoil::Checksum => {}
        Spoil::SizeBig => put(&mut page, head::SIZE, PAGE as u32 + 1),
        Spoil::SizeHuge => put(&mut page, head::SIZE, u32::MAX),
        Spoil::SizeZero => put(&mut page, head::SIZE, 0),
        Spoil::SizeSmall => put(&mut page, head::SIZE, 0x14),
        Spoil::Version => put(&mut page, head::VERSION, 77),
        Spoil::Text => page[vf2pf::DRIVER_VERSION..][..64].fill(b'\n'),
    }
    let sum = checksum(&page, PAGE);
    let off = u32::from(spoil == Spoil::Checksum);
    put(&mut page, head::CHECKSUM, sum.wrapping_add(off));
    page
}

/// Writes the guest's page.
pub fn write_guest<T: Transport>(t: &mut T, page: &[u8; PAGE]) -> Result<()> {
    t.vram_write(VF2PF, page)
}
