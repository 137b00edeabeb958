// SPDX-License-Identifier: GPL-2.0
//! Memory that a device changes behind the compiler's back: mapped BARs and DMA buffers.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::mm::{mmap, mmap_anonymous, munmap, MapFlags, ProtFlags};

use crate::error::{Error, Result};

/// From so many bytes on nobody expects a read to be of one moment.
const MANY: usize = 256;

/// A mapping of shared memory; what somebody may change meanwhile is accessed by volatile reads and
/// writes.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: The mapping is owned, and whoever holds it may use it from any thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset` on.
    pub fn of_file(fd: BorrowedFd<'_>, offset: u64, len: usize, what: &str) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The kernel chooses the address, so no memory of this program is replaced.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                prot,
                MapFlags::SHARED,
                fd,
                offset,
            )
        };
        Self::new(base, len, what)
    }

    /// Maps `len` bytes of zeroed memory.
    pub fn anonymous(len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: The kernel chooses the address, so no memory of this program is replaced.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags) };
        Self::new(base, len, "memory for DMA")
    }

    /// Maps `len` bytes of zeroed memory of huge pages of 2 MiB, which stay where they are.
    pub fn huge(len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        // SAFETY: The kernel chooses the address, so no memory of this program is replaced.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags) };
        Self::new(base, len, "huge pages")
    }

    fn new(base: rustix::io::Result<*mut c_void>, len: usize, what: &str) -> Result<Self> {
        let fail = |cause: &str| Error::transport(format!("mapping {len} bytes of {what}"), cause);
        let base = base.map_err(|e| fail(&e.to_string()))?;
        let base = NonNull::new(base.cast()).ok_or_else(|| fail("no address"))?;
        Ok(Self { base, len })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it starts, for the kernel's ears.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    fn at(&self, offset: usize, len: usize, align: usize) -> Result<*mut u8> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > self.len) || offset % align != 0 {
            return Err(Error::Unsupported(format!(
                "access of {len} bytes at {offset:#x} outside a mapping of {:#x} bytes",
                self.len
            )));
        }
        // SAFETY: The offset was checked to lie inside the mapping.
        Ok(unsafe { self.base.as_ptr().add(offset) })
    }

    /// Reads one dword; `offset` is a multiple of 4.
    pub fn read32(&self, offset: usize) -> Result<u32> {
        let p = self.at(offset, 4, 4)?;
        // SAFETY: `at` checked range and alignment; mappings start at a page.
        Ok(u32::from_le(unsafe { p.cast::<u32>().read_volatile() }))
    }

    /// Writes one dword; `offset` is a multiple of 4.
    pub fn write32(&self, offset: usize, value: u32) -> Result<()> {
        let p = self.at(offset, 4, 4)?;
        // SAFETY: As in `read32`.
        unsafe { p.cast::<u32>().write_volatile(value.to_le()) };
        Ok(())
    }

    /// Writes one byte.
    pub fn write8(&self, offset: usize, value: u8) -> Result<()> {
        let p = self.at(offset, 1, 1)?;
        // SAFETY: `at` checked the range.
        unsafe { p.write_volatile(value) };
        Ok(())
    }

    /// Copies out: a few bytes by words of 8 where the alignment allows, many as `memcpy` does it,
    /// which an emulated CPU does much faster.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result<()> {
        if data.len() >= MANY {
            return self.copy_out(offset, data);
        }
        let p = self.at(offset, data.len(), 1)?;
        let head = p.align_offset(8).min(data.len());
        let (first, rest) = data.split_at_mut(head);
        let mut words = rest.chunks_exact_mut(8);
        for (i, b) in first.iter_mut().enumerate() {
            // SAFETY: `at` checked the whole range.
            *b = unsafe { p.add(i).read_volatile() };
        }
        let mut at = head;
        for word in &mut words {
            // SAFETY: `at` checked the whole range, and `head` made the address a multiple of 8.
            let v = unsafe { p.add(at).cast::<u64>().read_volatile() };
            word.copy_from_slice(&v.to_ne_bytes());
            at += 8;
        }
        for b in words.into_remainder() {
            // SAFETY: `at` checked the whole range.
            *b = unsafe { p.add(at).read_volatile() };
            at += 1;
        }
        Ok(())
    }

    /// Copies out as `memcpy` does it: fast, of memory that nobody changes meanwhile.
    pub fn copy_out(&self, offset: usize, data: &mut [u8]) -> Result<()> {
        let p = self.at(offset, data.len(), 1)?;
        // SAFETY: `at` checked the range; the destination is no mapping of a device.
        unsafe { p.copy_to_nonoverlapping(data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    /// Copies in, by 8 bytes where the alignment allows.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<()> {
        let p = self.at(offset, data.len(), 1)?;
        let head = p.align_offset(8).min(data.len());
        let (first, rest) = data.split_at(head);
        let words = rest.chunks_exact(8);
        for (i, &b) in first.iter().enumerate() {
            // SAFETY: `at` checked the whole range.
            unsafe { p.add(i).write_volatile(b) };
        }
        let tail = words.remainder();
        let mut at = head;
        for word in words {
            let mut v = [0; 8];
            v.copy_from_slice(word);
            // SAFETY: `at` checked the whole range, and `head` made the address a multiple of 8.
            unsafe {
                p.add(at)
                    .cast::<u64>()
                    .write_volatile(u64::from_ne_bytes(v))
            };
            at += 8;
        }
        for &b in tail {
            // SAFETY: `at` checked the whole range.
            unsafe { p.add(at).write_volatile(b) };
            at += 1;
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping is owned and nobody keeps a pointer into it.  A failure would leave
        // it in place, which harms nobody.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_alignment() {
        let m = Mapping::anonymous(4096).unwrap();
        let data: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
        for offset in [0, 1, 7, 8, 4096 - 300] {
            // From 256 bytes on reads are another matter.
            for len in [0, 1, 7, 8, 9, 31, 255, 256, 300] {
                m.write(offset, &data[..len]).unwrap();
                let mut back = vec![0; len];
                m.read(offset, &mut back).unwrap();
                assert_eq!(back, data[..len]);
                back.fill(0xFF);
                m.copy_out(offset, &mut back).unwrap();
                assert_eq!(back, data[..len]);
            }
        }
        assert!(m.write(4090, &data[..7]).is_err());
        assert!(m.copy_out(4090, &mut [0; 7]).is_err());
        assert!(m.read32(2).is_err() && m.read32(4096).is_err());
        assert!(m.read(usize::MAX, &mut [0; 2]).is_err());
    }
}
