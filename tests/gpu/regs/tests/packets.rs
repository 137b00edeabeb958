// SPDX-License-Identifier: GPL-2.0
//! Packets and fields survive encoding and decoding, and equal what Linux's driver emits.

use gpu_regs::ih::Entry;
use gpu_regs::sdma::{Compare, Counts, Packet, Poll};
use gpu_regs::vsec;

fn words(p: Packet<&[u32]>) -> Vec<u32> {
    let mut v = Vec::new();
    p.emit(|d| v.push(d));
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
    assert_eq!(vsec::window(272, 480), 0x0011_001D);
    assert_eq!(
        vsec::window_bytes(0x002F_001D),
        Some((752 << 20, 480 << 20))
    );
    assert_eq!(vsec::window_bytes(0), None);
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
    assert_eq!(Entry::decode(e.encode()), e);
    assert_eq!(gpu_regs::ih::rb_bytes(gpu_regs::ih::rb_cntl(4096)), 4096);
    assert_eq!(
        gpu_regs::sdma::rb_bytes(gpu_regs::sdma::rb_cntl(65536)),
        65536
    );
}
