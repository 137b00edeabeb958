// SPDX-License-Identifier: GPL-2.0
//! Address translation of VMID 0: where the framebuffer lies in the GPU's address space, and one
//! flat page table ([`crate::gart`]) for what lies outside.

/// What a function's registers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Address of the framebuffer's first byte, a multiple of 16 MiB.
    pub fb_base: u64,
    /// Address of its last byte.
    pub fb_last: u64,
    /// The page table, if translation is enabled.
    pub table: Option<Table>,
}

/// A flat page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Where it lies in the framebuffer, in the GPU's address space; a multiple of 4 KiB.
    pub base: u64,
    /// First page that it maps: address / 4096.
    pub first_page: u64,
    /// Last page that it maps.
    pub last_page: u64,
}

/// An access that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// GPU address.
    pub addr: u64,
    /// It was a write.
    pub write: bool,
    /// There was no usable page table entry, or the bus refused; else it was outside everything.
    pub denied: bool,
}

/// The registers of a memory hub.
#[derive(Debug)]
pub enum VmRegs {
    /// GMC 8: one register for each thing.
    Gmc8(Vm8),
    /// MMHUB 1.0: pairs of registers, 48-bit addresses.
    Mmhub1(Vm9),
}

/// Registers of [`VmRegs::Gmc8`].
#[derive(Debug)]
pub struct Vm8 {
    /// MC_VM_FB_LOCATION: start \[15:0\] and end \[31:16\] of the framebuffer, both >> 24.
    pub fb_location: u32,
    /// MC_VM_SYSTEM_APERTURE_LOW_ADDR, >> 12.
    pub aperture_low: u32,
    /// MC_VM_SYSTEM_APERTURE_HIGH_ADDR, >> 12.
    pub aperture_high: u32,
    /// VM_CONTEXT0_CNTL.
    pub context0_cntl: u32,
    /// VM_INVALIDATE_REQUEST.
    pub invalidate_req: u32,
    /// VM_INVALIDATE_RESPONSE.
    pub invalidate_ack: u32,
    /// VM_CONTEXT0_PROTECTION_FAULT_STATUS.
    pub fault_status: u32,
    /// VM_CONTEXT0_PROTECTION_FAULT_ADDR, >> 12.
    pub fault_addr: u32,
    /// VM_CONTEXT0_PAGE_TABLE_BASE_ADDR, >> 12.
    pub table_base: u32,
    /// VM_CONTEXT0_PAGE_TABLE_START_ADDR, >> 12.
    pub table_start: u32,
    /// VM_CONTEXT0_PAGE_TABLE_END_ADDR, >> 12.
    pub table_end: u32,
}

/// Registers of [`VmRegs::Mmhub1`]; of a pair the low one, the high one follows.
#[derive(Debug)]
pub struct Vm9 {
    /// MC_VM_FB_LOCATION_BASE, >> 24.
    pub fb_base: u32,
    /// MC_VM_FB_LOCATION_TOP, >> 24.
    pub fb_top: u32,
    /// MC_VM_SYSTEM_APERTURE_LOW_ADDR, >> 18.
    pub aperture_low: u32,
    /// MC_VM_SYSTEM_APERTURE_HIGH_ADDR, >> 18.
    pub aperture_high: u32,
    /// VM_CONTEXT0_CNTL.
    pub context0_cntl: u32,
    /// VM_INVALIDATE_ENG17_REQ.
    pub invalidate_req: u32,
    /// VM_INVALIDATE_ENG17_ACK.
    pub invalidate_ack: u32,
    /// VM_L2_PROTECTION_FAULT_STATUS.
    pub fault_status: u32,
    /// VM_L2_PROTECTION_FAULT_ADDR_LO32 of a pair, >> 12.
    pub fault_addr: u32,
    /// VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32 of a pair: an address, b0 valid.
    pub table_base: u32,
    /// VM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32 of a pair, >> 12.
    pub table_start: u32,
    /// VM_CONTEXT0_PAGE_TABLE_END_ADDR_LO32 of a pair, >> 12.
    pub table_end: u32,
}

/// CONTEXT0_CNTL: the context translates.
const CONTEXT_ENABLE: u32 = 1;
/// Vm9: the page table address is valid.
const TABLE_VALID: u32 = 1;

fn pair(mut get: impl FnMut(u32) -> u32, at: u32) -> u64 {
    u64::from(get(at)) | (u64::from(get(at + 1)) << 32)
}

impl VmRegs {
    /// What the registers say; `get` reads one.
    pub fn read(&self, get: impl Fn(u32) -> u32) -> Space {
        match self {
            Self::Gmc8(r) => {
                let location = get(r.fb_location);
                let page = |at: u32| u64::from(get(at));
                let on = get(r.context0_cntl) & CONTEXT_ENABLE != 0;
                Space {
                    fb_base: u64::from(location & 0xFFFF) << 24,
                    fb_last: (u64::from(location >> 16) << 24) | 0xFF_FFFF,
                    table: on.then(|| Table {
                        base: page(r.table_base) << 12,
                        first_page: page(r.table_start),
                        last_page: page(r.table_end),
                    }),
                }
            }
            Self::Mmhub1(r) => {
                let block = |at: u32| u64::from(get(at) & 0xFF_FFFF) << 24;
                let on = get(r.context0_cntl) & CONTEXT_ENABLE != 0
                    && get(r.table_base) & TABLE_VALID != 0;
                Space {
                    fb_base: block(r.fb_base),
                    fb_last: block(r.fb_top) | 0xFF_FFFF,
                    table: on.then(|| Table {
                        base: pair(&get, r.table_base) & 0xFFFF_FFFF_F000,
                        first_page: pair(&get, r.table_start) & 0xF_FFFF_FFFF,
                        last_page: pair(&get, r.table_end) & 0xF_FFFF_FFFF,
                    }),
                }
            }
        }
    }

    /// Programs the registers; `put` writes one.  Ends with a flush of the TLB.
    pub fn write(&self, space: &Space, mut put: impl FnMut(u32, u32)) {
        // CAST: all are addresses of at most 48 bits, in units of their registers, or halves.
        let table = space.table.unwrap_or(Table {
            base: 0,
            first_page: 0,
            last_page: 0,
        });
        let enable = u32::from(space.table.is_some()) * CONTEXT_ENABLE;
        match self {
            Self::Gmc8(r) => {
                let location =
                    (space.fb_base >> 24) as u32 & 0xFFFF | (((space.fb_last >> 24) as u32) << 16);
                put(r.fb_location, location);
                put(r.aperture_low, (space.fb_base >> 12) as u32);
                put(r.aperture_high, (space.fb_last >> 12) as u32);
                put(r.table_start, table.first_page as u32);
                put(r.table_end, table.last_page as u32);
                put(r.table_base, (table.base >> 12) as u32);
                put(r.context0_cntl, enable);
                put(r.invalidate_req, 1);
            }
            Self::Mmhub1(r) => {
                put(r.fb_base, (space.fb_base >> 24) as u32);
                put(r.fb_top, (space.fb_last >> 24) as u32);
                put(r.aperture_low, (space.fb_base >> 18) as u32);
                put(r.aperture_high, (space.fb_last >> 18) as u32);
                for (at, v) in [
                    (r.table_start, table.first_page),
                    (r.table_end, table.last_page),
                    (r.table_base, table.base | u64::from(TABLE_VALID)),
                ] {
                    put(at, v as u32);
                    put(at + 1, (v >> 32) as u32);
                }
                put(r.context0_cntl, enable);
                put(r.invalidate_req, 1);
            }
        }
    }

    /// Tells a fault; `put` writes a register.
    pub fn fault(&self, fault: Fault, mut put: impl FnMut(u32, u32)) {
        let Fault {
            addr,
            write,
            denied,
        } = fault;
        let page = addr >> 12;
        let (write, denied) = (u32::from(write), u32::from(denied));
        // CAST: halves of a page number.
        match self {
            Self::Gmc8(r) => {
                put(r.fault_status, 1 | (write << 24) | (denied << 1));
                put(r.fault_addr, page as u32);
            }
            Self::Mmhub1(r) => {
                // PERMISSION_FAULTS \[7:4\], MAPPING_ERROR b8, RW b18.
                let what = (denied << 4) | ((1 - denied) << 8);
                put(r.fault_status, what | (write << 18));
                put(r.fault_addr, page as u32);
                put(r.fault_addr + 1, (page >> 32) as u32);
            }
        }
    }

    /// Status and page number of the last fault; `get` reads a register.
    pub fn last_fault(&self, mut get: impl FnMut(u32) -> u32) -> (u32, u64) {
        match self {
            Self::Gmc8(r) => (get(r.fault_status), u64::from(get(r.fault_addr))),
            Self::Mmhub1(r) => (get(r.fault_status), pair(get, r.fault_addr)),
        }
    }

    /// Request and acknowledgement of a TLB flush.
    pub fn invalidate(&self) -> (u32, u32) {
        match self {
            Self::Gmc8(r) => (r.invalidate_req, r.invalidate_ack),
            Self::Mmhub1(r) => (r.invalidate_req, r.invalidate_ack),
        }
    }
}
