// SPDX-License-Identifier: GPL-2.0
//! Packets and fields survive encoding and decoding, and equal what Linux's driver emits.

use gpu_regs::chip::{Chip, CHIPS, TONGA, VEGA10};
use gpu_regs::ih::{Entry, Format};
use gpu_regs::sdma::{Compare, Counts, Packet, Poll};
use gpu_regs::vsec;

fn words(p: Packet<&[u32]>) -> Vec<u32> {
    let mut v = Vec::new();
    p.encode(Counts::Exact, |d| v.push(d));
    v
}

#[test]
fn what_is_encoded_is_decoded() {
    let poll = Poll {
        compare: Compare::GreaterEqual,
        interval: 7,
        retry: 9,
        ..Poll::memory(0x1_2345_6780, 3, 0xFF)
    };
    let all: [(Packet<&[u32]>, Packet<u32>); 8] = [
        (Packet::Nop { extra: 3 }, Packet::Nop { extra: 3 }),
        (
            Packet::CopyLinear {
                src: 1 << 33,
                dst: 0x2000,
                bytes: 77,
            },
            Packet::CopyLinear {
                src: 1 << 33,
                dst: 0x2000,
                bytes: 77,
            },
        ),
        (
            Packet::WriteLinear {
                dst: 0x40,
                data: &[1, 2, 3],
            },
            Packet::WriteLinear { dst: 0x40, data: 3 },
        ),
        (
            Packet::ConstFill {
                dst: 0x50,
                value: 0xAA,
                bytes: 64,
            },
            Packet::ConstFill {
                dst: 0x50,
                value: 0xAA,
                bytes: 64,
            },
        ),
        (
            Packet::Fence { addr: 8, value: 5 },
            Packet::Fence { addr: 8, value: 5 },
        ),
        (Packet::Trap { context: 6 }, Packet::Trap { context: 6 }),
        (Packet::PollRegmem(poll), Packet::PollRegmem(poll)),
        (
            Packet::Indirect {
                base: 0x1_0000_0020,
                dwords: 8,
                vmid: 0,
            },
            Packet::Indirect {
                base: 0x1_0000_0020,
                dwords: 8,
                vmid: 0,
            },
        ),
    ];
    for (encode, decode) in all {
        let w = words(encode);
        let d = Packet::decode(Counts::Exact, &w).unwrap();
        assert_eq!(d, decode);
        assert_eq!(d.dwords() as usize, w.len());
    }
}

#[test]
fn short_and_unknown_packets_are_refused() {
    assert_eq!(Packet::decode(Counts::Exact, &[]), None);
    assert_eq!(Packet::decode(Counts::Exact, &[1, 2, 3]), None);
    assert_eq!(
        Packet::decode(Counts::Exact, &[0x0C, 0, 0, 0, 0, 0, 0, 0]),
        None
    );
    assert_eq!(
        Packet::decode(Counts::Exact, &[0x0101, 0, 0, 0, 0, 0, 0, 0]),
        None,
        "tiled copy"
    );
}

#[test]
fn packets_equal_the_linux_drivers() {
    // sdma_v3_0: fence, trap, hdp flush
    assert_eq!(
        words(Packet::Fence {
            addr: 0x1_0000_0008,
            value: 3
        }),
        [5, 8, 1, 3]
    );
    assert_eq!(words(Packet::Trap { context: 0 }), [6, 0]);
    let hdp = Poll {
        addr: (0x1538 << 2) | ((0x1537u64 << 2) << 32),
        memory: false,
        hdp_flush: true,
        ..Poll::memory(0, 0x400, 0x400)
    };
    let want = [0x3400_0008, 0x54E0, 0x54DC, 0x400, 0x400, 0x0FFF_000A];
    assert_eq!(words(Packet::PollRegmem(hdp)), want);
}

#[test]
fn windows_as_the_worked_example() {
    // 8192 MB, 16 VFs: VF0 at 272 MB, 480 MB each
    assert_eq!(TONGA.vsec.window(272, 480), 0x0011_001D);
    assert_eq!(
        TONGA.vsec.window_bytes(0x002F_001D),
        Some((752 << 20, 480 << 20))
    );
    assert_eq!(TONGA.vsec.window_bytes(0), None);
}

#[test]
fn context_area_and_commands() {
    let v = vsec::context(256 << 20, 1);
    assert_eq!(v, 1 | (1024 << 10));
    assert_eq!(vsec::context_area(v), Some((256 << 20, 256 << 10)));
    assert_eq!(
        vsec::context_area(vsec::context(64 << 20, 4)),
        Some((64 << 20, 1 << 20))
    );
    assert_eq!(vsec::context_area(v | 0x80), None);
    let c = vsec::command(vsec::cmd::LOAD, vsec::fcn_vf(3), 0, true);
    assert_eq!(c, 0x8333);
}

#[test]
fn interrupt_entries() {
    let e = Entry {
        src: 224,
        data: 0x123_4567,
        ring: 1,
        vmid: 2,
    };
    assert_eq!(Format::Vi.decode(&Format::Vi.encode(e)), Some(e));
    assert_eq!(gpu_regs::ih::rb_bytes(gpu_regs::ih::rb_cntl(4096)), 4096);
    assert_eq!(
        gpu_regs::sdma::rb_bytes(gpu_regs::sdma::rb_cntl(65536)),
        65536
    );
}

#[test]
fn entries_of_soc15_name_their_client() {
    let dw = Format::Soc15.encode(Entry::new(137, 5));
    assert_eq!((dw[0], dw[4]), (3 | (137 << 8), 5));
    assert_eq!(Format::Soc15.decode(&dw), Some(Entry::new(137, 5)));
    // The same source of another client is something else.
    let mut other = dw;
    other[0] = 7 | (137 << 8);
    assert_eq!(Format::Soc15.decode(&other), None);
    assert_eq!(Format::Soc15.decode(&dw[..7]), None);
}

#[test]
fn counts_less_one() {
    let mut v = Vec::new();
    let p = Packet::ConstFill {
        dst: 0x1000,
        value: 0,
        bytes: 4096,
    };
    p.encode(Counts::LessOne, |d| v.push(d));
    assert_eq!(v[4], 4095);
    assert_eq!(
        Packet::decode(Counts::LessOne, &v),
        Some(Packet::ConstFill {
            dst: 0x1000,
            value: 0,
            bytes: 4096
        })
    );
}

#[test]
fn chips_by_name_and_device() {
    for c in CHIPS {
        assert!(std::ptr::eq(Chip::by_name(c.name).unwrap(), c));
        for id in [c.pf_device, c.vf_device] {
            assert!(std::ptr::eq(Chip::by_device(id).unwrap(), c));
        }
        let window = c.vsec.window(272, 480);
        assert_eq!(
            c.vsec.window_bytes(window),
            Some((272 << 20, 480 << 20)),
            "{}",
            c.name
        );
    }
    assert_eq!(VEGA10.vsec.window(272, 480), 0x0011_001E);
    assert!(Chip::by_device(0).is_none());
}

#[test]
fn translation_registers_say_what_was_written() {
    use gpu_regs::vm::{Fault, Space, Table};
    for c in CHIPS {
        let mut regs = std::collections::HashMap::new();
        let space = Space {
            fb_base: 0x8000_0000,
            fb_last: 0x9FFF_FFFF,
            table: Some(Table {
                base: 0x8024_0000,
                first_page: 0xA_0000,
                last_page: 0xA_00FF,
            }),
        };
        c.regs.vm.write(&space, |r, v| {
            regs.insert(r, v);
        });
        let get = |r: u32| regs.get(&r).copied().unwrap_or(0);
        assert_eq!(c.regs.vm.read(get), space, "{}", c.name);
        let fault = Fault {
            addr: 0x1234_5678,
            write: true,
            denied: false,
        };
        let mut regs = std::collections::HashMap::new();
        c.regs.vm.fault(fault, |r, v| {
            regs.insert(r, v);
        });
        let (status, page) = c.regs.vm.last_fault(|r| regs[&r]);
        assert!(status != 0 && page == 0x1_2345, "{}", c.name);
    }
}
