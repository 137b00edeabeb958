// SPDX-License-Identifier: GPL-2.0

//! Tests of the framebuffer table.

use super::*;

cases! {
    gim_partition:
    the_worked_example_of_the_s7150,
    equal_split_of_every_size_and_count,
    small_framebuffers_serve_sixteen,
    explicit_sizes_are_kept_or_refused,
    counts_and_sizes_out_of_range_are_refused,
}

const MIB: u64 = 1 << 20;

/// What a [`Partition`] promises.
fn prove(p: &Partition) {
    let mut parts = vec![p.pf(), p.context()];
    parts.extend(VfId::all().filter_map(|vf| p.vf(vf)));
    assert_eq!(parts.len(), 2 + usize::from(p.count()));
    for (i, a) in parts.iter().enumerate() {
        assert!(a.size() > 0);
        assert!(a.range().end <= p.total());
        for b in &parts[..i] {
            assert!(a.range().start >= b.range().end || b.range().start >= a.range().end);
        }
    }
    assert!(p.context().size() >= 17 * CONTEXT_SIZE);
}

fn the_worked_example_of_the_s7150() {
    let p = Partition::equal(8192 * MIB, 256 * MIB, 16).unwrap();
    prove(&p);
    let vf0 = p.vf(VfId::new(0).unwrap()).unwrap();
    let vf1 = p.vf(VfId::new(1).unwrap()).unwrap();
    assert_eq!(p.context().offset(), 256 * MIB);
    assert_eq!((vf0.offset_units(), vf0.size_units()), (0x11, 0x1E));
    assert_eq!((vf1.offset_units(), vf1.size()), (0x2F, 480 * MIB));
}

fn equal_split_of_every_size_and_count() {
    for total in [64, 100, 256, 300, 512, 1024, 4096, 8192, 16384, 1 << 20] {
        for pf in [0, 1, 16, 17, 64, 256, 1024] {
            for count in [1, 2, 4, 8, 16] {
                match Partition::equal(total * MIB, pf * MIB, count) {
                    Ok(p) => {
                        prove(&p);
                        let size = p.vf(VfId::new(0).unwrap()).unwrap().size();
                        let all = VfId::all().take(count).map(|vf| p.vf(vf).unwrap().size());
                        assert!(all.into_iter().all(|s| s == size));
                        let left = p.total() - p.pf().size() - p.context().size();
                        assert!(left - size * (count as u64) < UNIT * count as u64);
                    }
                    Err(PartitionError::DoesNotFit { need, have }) => {
                        assert_eq!(have, total * MIB);
                        assert!(need > have / UNIT * UNIT, "{total} {pf} {count}");
                    }
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }
}

fn small_framebuffers_serve_sixteen() {
    let p = Partition::equal(288 * MIB, 16 * MIB, 16).unwrap();
    prove(&p);
    assert_eq!(p.vf(VfId::new(15).unwrap()).unwrap().size(), 16 * MIB);
    assert!(Partition::equal(287 * MIB, 16 * MIB, 16).is_err());
}

fn explicit_sizes_are_kept_or_refused() {
    let p = Partition::explicit(512 * MIB, 64 * MIB, &[128 * MIB, 16 * MIB]).unwrap();
    prove(&p);
    assert_eq!(p.vf(VfId::new(1).unwrap()).unwrap().size(), 16 * MIB);
    assert_eq!(p.vf(VfId::new(2).unwrap()), None);
    let vf1 = VfId::new(1).unwrap();
    for bad in [0, 1, 24 * MIB, u64::MAX] {
        assert_eq!(
            Partition::explicit(512 * MIB, 0, &[16 * MIB, bad]),
            Err(PartitionError::Size { vf: vf1, got: bad })
        );
    }
    let huge = u64::MAX / UNIT * UNIT;
    assert!(matches!(
        Partition::explicit(512 * MIB, 0, &[huge, huge]),
        Err(PartitionError::DoesNotFit { .. })
    ));
}

fn counts_and_sizes_out_of_range_are_refused() {
    for got in [0, 3, 5, 6, 7, 9, 15, 17, 32] {
        assert_eq!(
            Partition::equal(8192 * MIB, 0, got),
            Err(PartitionError::Count { got })
        );
    }
    assert!(matches!(
        Partition::equal(u64::MAX, 0, 1),
        Err(PartitionError::TooLarge { .. })
    ));
    assert!(matches!(
        Partition::equal(1 << 30, u64::MAX, 1),
        Err(PartitionError::DoesNotFit { .. })
    ));
    assert!(Partition::equal(0, 0, 1).is_err());
}
