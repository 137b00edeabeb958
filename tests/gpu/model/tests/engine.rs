// SPDX-License-Identifier: GPL-2.0
//! What the work engine executes, when, and what it refuses.

mod rig;

use gpu_model::Config;
use gpu_regs::ih::SRC_SDMA_ILLEGAL;
use gpu_regs::referee::func;
use gpu_regs::sdma::{self, Compare, Packet, Poll};
use gpu_regs::vsec::cmd;
use rig::*;

fn running() -> Rig {
    let mut r = rig();
    r.start(1);
    r.ih(1);
    r.ring(1);
    r
}

#[test]
fn each_packet_takes_its_time() {
    let mut r = running();
    r.submit(
        1,
        &[
            Packet::ConstFill {
                dst: DATA,
                value: 1,
                bytes: 1000,
            },
            Packet::Fence {
                addr: DATA + 4096,
                value: 1,
            },
            Packet::Nop { extra: 2 },
            Packet::Fence {
                addr: DATA + 4096,
                value: 2,
            },
        ],
    );
    r.pass(1999);
    assert_eq!(r.fb32(1, DATA + 4096), 0);
    r.pass(1);
    assert_eq!(r.fb32(1, DATA + 4096), 1);
    r.pass(999);
    assert_eq!(r.fb32(1, DATA + 4096), 1);
    r.pass(1);
    assert_eq!(r.fb32(1, DATA + 4096), 2);
    // The packet was not waited for with more than one timer each, and none is left.
    assert_eq!(r.host.armed, None);
    assert!(r.host.timers < 20, "{} timers", r.host.timers);
    assert_eq!(
        r.get(1, r.regs().sdma.status),
        sdma::STATUS_IDLE | sdma::STATUS_RB_EMPTY
    );
}

#[test]
fn coarse_timers_do_not_change_the_accounts() {
    let mut r = rig_with(Config {
        tick_ns: 50_000,
        ..Config::default()
    });
    r.start(1);
    r.ring(1);
    let timers = r.host.timers;
    for _ in 0..100 {
        r.submit(
            1,
            &[Packet::Fence {
                addr: DATA,
                value: 1,
            }],
        );
    }
    r.pass(1_000_000);
    assert_eq!(r.fstat(1, func::BUSY_NS), 50_000);
    assert!(r.host.timers - timers <= 2);
}

#[test]
fn the_ring_wraps_in_the_middle_of_packets() {
    let mut r = running();
    let data: Vec<u32> = (0..21).collect();
    for n in 0..200 {
        r.submit(
            1,
            &[
                Packet::WriteLinear {
                    dst: DATA,
                    data: &data,
                },
                Packet::Fence {
                    addr: DATA + 256,
                    value: n,
                },
            ],
        );
        r.pass(20_000);
        assert_eq!(r.fb32(1, DATA + 256), n);
        for (i, &d) in data.iter().enumerate() {
            assert_eq!(r.fb32(1, DATA + 4 * i as u64), d);
        }
        r.fb(1, DATA, 84).fill(0);
    }
    assert_eq!(r.fstat(1, func::PACKETS), 400);
}

#[test]
fn half_a_packet_waits_for_the_rest() {
    let mut r = running();
    let at = (base(1) + RING) as usize;
    for (i, d) in [5u32, DATA as u32, 0, 9].iter().enumerate() {
        r.host.vram[at + 4 * i..][..4].copy_from_slice(&d.to_le_bytes());
    }
    r.set(1, r.regs().sdma.rb_wptr, 8);
    r.pass(100_000);
    assert_eq!((r.fb32(1, DATA), r.fstat(1, func::BAD_PACKETS)), (0, 0));
    r.set(1, r.regs().sdma.rb_wptr, 16);
    r.pass(1_000);
    assert_eq!(r.fb32(1, DATA), 9);
}

#[test]
fn indirect_buffers() {
    let mut r = running();
    let mut ib = Vec::new();
    Packet::WriteLinear {
        dst: DATA,
        data: &[7, 8][..],
    }
    .encode(sdma::Counts::Exact, |d| ib.push(d));
    Packet::<&[u32]>::Fence {
        addr: DATA + 8,
        value: 9,
    }
    .encode(sdma::Counts::Exact, |d| ib.push(d));
    let ib_at = 0x3_0000;
    for (i, d) in ib.iter().enumerate() {
        r.fb(1, ib_at + 4 * i as u64, 4)
            .copy_from_slice(&d.to_le_bytes());
    }
    let dwords = ib.len() as u32;
    r.submit(
        1,
        &[
            Packet::Indirect {
                base: ib_at,
                dwords,
                vmid: 0,
            },
            Packet::Fence {
                addr: DATA + 12,
                value: 10,
            },
        ],
    );
    // Stopped inside the buffer, too.
    r.pass(700);
    r.stop(1);
    r.resume(1);
    r.pass(10_000);
    let got: Vec<u32> = (0..4).map(|i| r.fb32(1, DATA + 4 * i)).collect();
    assert_eq!(got, [7, 8, 9, 10]);
    // Not where they are switched off, and not nested.
    r.set(1, r.regs().sdma.ib_cntl, 0);
    r.submit(
        1,
        &[Packet::Indirect {
            base: ib_at,
            dwords,
            vmid: 0,
        }],
    );
    r.pass(10_000);
    assert_eq!(r.fstat(1, func::BAD_PACKETS), 1);
}

#[test]
fn unknown_packets_stop_the_ring_and_tell() {
    for bad in [0x0000_0101u32, 12, 0xFF] {
        let mut r = running();
        r.submit(
            1,
            &[Packet::Fence {
                addr: DATA,
                value: 1,
            }],
        );
        r.pass(1000);
        let at = (base(1) + RING) as usize + 16;
        r.host.vram[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        r.set(1, r.regs().sdma.rb_wptr, 64);
        r.pass(10_000);
        assert_eq!(r.entry(1, 0).src, SRC_SDMA_ILLEGAL);
        assert_eq!(r.fstat(1, func::BAD_PACKETS), 1, "once, not for ever");
        assert_eq!(r.host.armed, None);
        // It can be idled, saved and set up again.
        r.stop(1);
        r.resume(1);
        r.set(1, r.regs().sdma.rb_cntl, 0);
        r.ring(1);
        r.submit(
            1,
            &[Packet::Fence {
                addr: DATA,
                value: 2,
            }],
        );
        r.pass(1000);
        assert_eq!(r.fb32(1, DATA), 2);
    }
}

#[test]
fn a_halted_or_disabled_ring_does_nothing() {
    let mut r = running();
    r.set(1, r.regs().sdma.f32_cntl, sdma::F32_HALT);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 1,
        }],
    );
    r.pass(10_000);
    assert_eq!(r.fb32(1, DATA), 0);
    r.set(1, r.regs().sdma.f32_cntl, 0);
    r.pass(1_000);
    assert_eq!(r.fb32(1, DATA), 1);
}

#[test]
fn polls_wait_for_memory_and_can_be_idled() {
    let mut r = running();
    let flag = DATA + 0x100;
    r.submit(
        1,
        &[
            Packet::PollRegmem(Poll::memory(flag, 5, 0xFF)),
            Packet::Fence {
                addr: DATA,
                value: 1,
            },
        ],
    );
    r.pass(3_000_000);
    assert_eq!(r.fb32(1, DATA), 0);
    assert!(
        r.host.timers < 200,
        "a hang costs the host little: {}",
        r.host.timers
    );
    r.stop(1);
    r.fb(1, flag, 4).copy_from_slice(&0xF05u32.to_le_bytes());
    r.resume(1);
    r.pass(200_000);
    assert_eq!(r.fb32(1, DATA), 1);
    // Every comparison.
    for (compare, passes) in [
        (Compare::Always, true),
        (Compare::Less, false),
        (Compare::LessEqual, true),
        (Compare::Equal, true),
        (Compare::NotEqual, false),
        (Compare::GreaterEqual, true),
        (Compare::Greater, false),
    ] {
        // With a limit it gives up; the tests it made tell whether it passed.
        let p = Poll {
            compare,
            retry: 3,
            interval: 500,
            ..Poll::memory(flag, 5, 0xFF)
        };
        let busy = r.fstat(1, func::BUSY_NS);
        r.submit(1, &[Packet::PollRegmem(p)]);
        r.pass(100_000);
        let took = r.fstat(1, func::BUSY_NS) - busy;
        assert_eq!(
            took,
            if passes { 500 } else { 500 + 3 * 5000 },
            "{compare:?}"
        );
    }
    // Registers, and the flush that Linux polls for.
    let p = Poll {
        memory: false,
        ..Poll::memory(u64::from(r.regs().scratch0) * 4, 3, 7)
    };
    let hdp = Poll {
        hdp_flush: true,
        memory: false,
        ..Poll::memory(0, 1, 1)
    };
    r.submit(
        1,
        &[
            Packet::PollRegmem(hdp),
            Packet::PollRegmem(p),
            Packet::Fence {
                addr: DATA,
                value: 2,
            },
        ],
    );
    r.pass(100_000);
    assert_eq!(r.fb32(1, DATA), 1);
    r.set(1, r.regs().scratch0, 0x13);
    r.pass(200_000);
    assert_eq!(r.fb32(1, DATA), 2);
}

/// The natural hang: IDLE waits for ever, the function keeps the engine, an FLR frees it.
#[test]
fn a_poll_that_says_so_holds_up_idle() {
    for (poll, cfg) in [
        (
            Poll::hang(DATA, 1, 1),
            Config {
                tick_ns: 1,
                ..Config::default()
            },
        ),
        (
            Poll::memory(DATA, 1, 1),
            Config {
                poll_blocks_idle: true,
                ..Config::default()
            },
        ),
    ] {
        let mut r = rig_with(cfg);
        r.start(1);
        r.ring(1);
        r.submit(1, &[Packet::PollRegmem(poll)]);
        r.pass(1_000_000);
        r.issue(cmd::IDLE, 1, 0);
        r.pass(100_000_000);
        assert!(r.executing());
        let ran = r.fstat(1, func::RUN_NS);
        assert!(ran >= 101_000_000, "the hung function is charged: {ran}");
        r.gpu.flr(&mut r.host, 1);
        assert!(!r.executing());
        r.start(2);
        // Or it lets go when the poll matches after all.
        r.stop(2);
        r.start(1);
        r.ring(1);
        r.submit(1, &[Packet::PollRegmem(poll)]);
        r.pass(500_000);
        r.issue(cmd::IDLE, 1, 0);
        r.pass(500_000);
        assert!(r.executing());
        r.fb(1, DATA, 1)[0] = 1;
        r.pass(200_000);
        assert!(!r.executing());
        assert_eq!(r.violations(), 0);
    }
}

#[test]
fn the_write_position_may_be_polled_from_memory() {
    let mut r = running();
    let at = 0x4_0000;
    r.set(1, r.regs().sdma.doorbell, 0);
    r.set(1, r.regs().sdma.wptr_poll_addr_lo, at);
    r.set(1, r.regs().sdma.wptr_poll_cntl, 1);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 1,
        }],
    );
    r.pass(50_000);
    assert_eq!(r.fb32(1, DATA), 0, "the doorbell is off");
    r.fb(1, u64::from(at), 4)
        .copy_from_slice(&16u32.to_le_bytes());
    r.pass(50_000);
    assert_eq!(r.fb32(1, DATA), 1);
    // Written while it was away.
    r.stop(1);
    r.submit(
        1,
        &[Packet::Fence {
            addr: DATA,
            value: 2,
        }],
    );
    r.fb(1, u64::from(at), 4)
        .copy_from_slice(&32u32.to_le_bytes());
    r.resume(1);
    r.pass(2_000);
    assert_eq!(r.fb32(1, DATA), 2);
}
