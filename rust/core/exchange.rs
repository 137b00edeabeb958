// SPDX-License-Identifier: GPL-2.0

//! What host and guest tell each other in the VF's framebuffer (gpu-iov-hardware.md, 4.5): one page
//! of the host's (pf2vf, version 2), one of the guest's (vf2pf, version 3).
//!
//! The guest's page is the guest's to write at any time: it is copied first, then its size is
//! checked, then its version, then its sum, and only then a field is looked at.

use core::fmt::{
    self,
    Write as _, //
};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 1024;

/// One page, as it lies in the framebuffer.
pub type Page = [u8; PAGE_BYTES];

/// Where the host's page is, from the start of the VF's framebuffer.
pub const PF2VF_AT: u64 = 64 << 10;

/// Where the guest's page is, behind the host's.
pub const VF2PF_AT: u64 = PF2VF_AT + PAGE_BYTES as u64;

/// The layout of the region that GPU_INIT_DATA_READY names.
pub const LAYOUT: u32 = 1;

/// Fields that both pages have.
mod head {
    pub(super) const SIZE: usize = 0x00;
    pub(super) const VERSION: usize = 0x04;
    pub(super) const CHECKSUM: usize = 0x10;
}

/// Fields of the host's page.
mod pf2vf {
    pub(super) const VERSION: u32 = 2;
    pub(super) const FEATURES: usize = 0x14;
    pub(super) const UPDATE_INTERVAL_MS: usize = 0x58;
    pub(super) const UUID: usize = 0x5c;
    pub(super) const GPU_CAPACITY: usize = 0xc0;

    /// The framebuffer's content is lost by a reset.
    pub(super) const HOST_FLR_VRAMLOST: u32 = 1 << 2;
}

/// Fields of the guest's page.
mod vf2pf {
    pub(super) const VERSION: u32 = 3;
    pub(super) const DRIVER: usize = 0x14;
    pub(super) const DRIVER_BYTES: usize = 64;
    pub(super) const OS: usize = 0x58;
    /// A page that ends before this lacks fields that are read here.
    pub(super) const LEAST: usize = 0x98;

    pub(super) const OS_WINDOWS: u32 = 1;
    /// What is not known of usage or health.
    pub(super) const UNKNOWN: u32 = 0xffff;
}

/// How often a guest is to write its page.
const UPDATE_INTERVAL_MS: u32 = 2_000;

/// Numbers of the guest's page: name, and where they are.
const FIELDS: [(&str, usize); 14] = [
    ("fb_used_mib", 0x5c),
    ("fb_mib", 0x94),
    ("fb_visible_used_mib", 0x8c),
    ("fb_visible_mib", 0x90),
    ("gfx_usage_pct", 0x60),
    ("gfx_health_pct", 0x64),
    ("compute_usage_pct", 0x68),
    ("compute_health_pct", 0x6c),
    ("avc_usage_pct", 0x70),
    ("avc_health_pct", 0x74),
    ("hevc_usage_pct", 0x78),
    ("hevc_health_pct", 0x7c),
    ("encode_usage_pct", 0x80),
    ("decode_usage_pct", 0x84),
];

fn get(page: &Page, at: usize) -> u32 {
    let bytes = page.get(at..at.saturating_add(4));
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

fn put(page: &mut Page, at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if let Some(to) = page.get_mut(at..end) {
        to.copy_from_slice(bytes);
    }
}

/// The sum of the first `size` bytes, without the field that holds it.
fn sum(page: &Page, size: usize) -> u32 {
    let all = page.get(..size).unwrap_or(page).iter();
    let own = &page[head::CHECKSUM..head::CHECKSUM + 4];
    let add = |sum: u32, byte: &u8| sum.wrapping_add(u32::from(*byte));
    let own = own.iter().fold(0, add);
    all.fold(0, add).wrapping_sub(own)
}

/// What the host tells a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPage {
    /// Names the VF, for as long as the host's driver is loaded.
    pub uuid: u64,
    /// Between how many VFs the GPU is divided.
    pub count: u8,
}

impl HostPage {
    /// Writes the page.
    pub fn encode(&self, page: &mut Page) {
        // CAST: a small constant.
        let size = PAGE_BYTES as u32;
        let share = u32::from(u16::MAX)
            .checked_div(self.count.into())
            .unwrap_or(0);
        page.fill(0);
        for (at, value) in [
            (head::SIZE, size),
            (head::VERSION, pf2vf::VERSION),
            (pf2vf::FEATURES, pf2vf::HOST_FLR_VRAMLOST),
            (pf2vf::UPDATE_INTERVAL_MS, UPDATE_INTERVAL_MS),
            (pf2vf::GPU_CAPACITY, share),
        ] {
            put(page, at, &value.to_le_bytes());
        }
        put(page, pf2vf::UUID, &self.uuid.to_le_bytes());
        let sum = sum(page, PAGE_BYTES);
        put(page, head::CHECKSUM, &sum.to_le_bytes());
    }
}

/// Why a guest's page is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Its size is none that a page can have.
    Size,
    /// It is of another version.
    Version,
    /// Its sum is wrong: it is damaged, or was just being written.
    Checksum,
}

impl Bad {
    /// The name that the ABI gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "bad-size",
            Self::Version => "bad-version",
            Self::Checksum => "bad-checksum",
        }
    }
}

/// What a guest tells the host. All of it is as the guest says; nothing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPage {
    driver: [u8; vf2pf::DRIVER_BYTES],
    os: u32,
    values: [u32; FIELDS.len()],
}

impl GuestPage {
    /// What a copy of the page says; `None` if the guest has not written to it.
    pub fn parse(page: &Page) -> Result<Option<Self>, Bad> {
        let (size, version) = (get(page, head::SIZE), get(page, head::VERSION));
        if size == 0 && version == 0 && get(page, head::CHECKSUM) == 0 {
            return Ok(None);
        }
        let size = usize::try_from(size).map_err(|_| Bad::Size)?;
        if !(vf2pf::LEAST..=PAGE_BYTES).contains(&size) {
            return Err(Bad::Size);
        }
        if version != vf2pf::VERSION {
            return Err(Bad::Version);
        }
        if get(page, head::CHECKSUM) != sum(page, size) {
            return Err(Bad::Checksum);
        }
        let mut driver = [0; vf2pf::DRIVER_BYTES];
        for (to, from) in driver.iter_mut().zip(page.iter().skip(vf2pf::DRIVER)) {
            *to = *from;
        }
        Ok(Some(Self {
            driver,
            os: get(page, vf2pf::OS),
            values: FIELDS.map(|(_, at)| get(page, at)),
        }))
    }

    /// The version of the guest's driver.
    pub fn driver(&self) -> Text<'_> {
        Text(&self.driver)
    }

    /// The guest's operating system.
    pub const fn os(&self) -> &'static str {
        match self.os & vf2pf::OS_WINDOWS {
            0 => "other",
            _ => "windows",
        }
    }

    /// Name and value of what the guest knows.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        let all = FIELDS.iter().zip(self.values);
        all.map(|((name, _), value)| (*name, value))
            .filter(|(name, value)| *value != vf2pf::UNKNOWN || name.ends_with("_mib"))
    }
}

/// Text that a guest has written: up to its first NUL, and nothing in it that is no plain character.
pub struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0.iter().take_while(|&&byte| byte != 0) {
            let plain = byte.is_ascii_graphic() || byte == b' ';
            f.write_char(if plain { char::from(byte) } else { '?' })?;
        }
        Ok(())
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_exchange:
        the_hosts_page_byte_by_byte,
        a_good_page_is_understood,
        every_byte_that_is_changed_is_noticed,
        sizes_come_before_contents,
        text_of_a_guest_is_one_line_of_plain_characters,
    }

    /// A page as the Linux driver writes it, by hand.
    fn guest(size: usize) -> Page {
        let mut page = [0; PAGE_BYTES];
        page[..4].copy_from_slice(&(size as u32).to_le_bytes());
        page[4] = 3;
        page[0x14..0x1b].copy_from_slice(b"7.3.4\n!");
        page[0x58] = 0;
        page[0x5c] = 12;
        page[0x94..0x96].copy_from_slice(&[0xe0, 0x01]);
        page[0x60] = 42;
        page[0x64..0x66].copy_from_slice(&[0xff, 0xff]);
        seal(&mut page, size);
        page
    }

    fn seal(page: &mut Page, size: usize) {
        page[0x10..0x14].fill(0);
        let sum: u32 = page[..size].iter().map(|&b| u32::from(b)).sum();
        page[0x10..0x14].copy_from_slice(&sum.to_le_bytes());
    }

    fn the_hosts_page_byte_by_byte() {
        let mut page = [0xaa; PAGE_BYTES];
        HostPage {
            uuid: 0x1122_3344_5566_7788,
            count: 4,
        }
        .encode(&mut page);
        let mut want = [0u8; PAGE_BYTES];
        want[..2].copy_from_slice(&[0x00, 0x04]);
        want[4] = 2;
        want[0x14] = 4;
        want[0x58..0x5a].copy_from_slice(&[0xd0, 0x07]);
        want[0x5c..0x64].copy_from_slice(&[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        want[0xc0..0xc2].copy_from_slice(&[0xff, 0x3f]);
        seal(&mut want, PAGE_BYTES);
        assert_eq!(page, want);
    }

    fn a_good_page_is_understood() {
        for size in [0x98, 0x124, PAGE_BYTES] {
            let page = GuestPage::parse(&guest(size)).unwrap().unwrap();
            assert_eq!(page.driver().to_string(), "7.3.4?!");
            assert_eq!(page.os(), "other");
            let values: Vec<_> = page.values().collect();
            assert!(values.contains(&("fb_used_mib", 12)));
            assert!(values.contains(&("fb_mib", 480)));
            assert!(values.contains(&("gfx_usage_pct", 42)));
            // Not known to the guest.
            assert!(!values.iter().any(|(name, _)| *name == "gfx_health_pct"));
        }
        assert_eq!(GuestPage::parse(&[0; PAGE_BYTES]), Ok(None));
    }

    fn every_byte_that_is_changed_is_noticed() {
        for size in [0x98, 0x123, PAGE_BYTES] {
            let good = guest(size);
            for at in 0..PAGE_BYTES {
                for bit in 0..8 {
                    let mut page = good;
                    page[at] ^= 1 << bit;
                    let bad = match at {
                        // Another size may be one that a page can have; then the sum is wrong.
                        0..4 => GuestPage::parse(&page).is_err(),
                        4..8 => GuestPage::parse(&page) == Err(Bad::Version),
                        _ if at < size => GuestPage::parse(&page) == Err(Bad::Checksum),
                        _ => GuestPage::parse(&page) == GuestPage::parse(&good),
                    };
                    assert!(bad, "size {size} byte {at} bit {bit}");
                }
            }
        }
    }

    fn sizes_come_before_contents() {
        let sizes = (0..=0x2000).chain([0xffff, 1 << 31, u32::MAX]);
        for size in sizes {
            // The sum is right for as much as there is.
            let mut page = guest(PAGE_BYTES);
            page[..4].copy_from_slice(&size.to_le_bytes());
            seal(&mut page, (size as usize).min(PAGE_BYTES));
            let fits = (0x98..=1024).contains(&size);
            let got = GuestPage::parse(&page);
            assert_eq!(got.is_ok(), fits, "{size}");
            if !fits {
                assert_eq!(got, Err(Bad::Size), "{size}");
            }
        }
    }

    fn text_of_a_guest_is_one_line_of_plain_characters() {
        for byte in 0..=u8::MAX {
            let text = [byte; 64];
            let shown = Text(&text).to_string();
            assert!(shown.len() == 64 || byte == 0 && shown.is_empty());
            assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
    }
}
