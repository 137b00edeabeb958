// SPDX-License-Identifier: GPL-2.0
//! Jobs: what the GPU is asked to do in one slot of memory, and what must come of it.

use fastrand::Rng;
use gpu_regs::sdma::Packet;
use serde::{Deserialize, Serialize};

use crate::ring::Stream;

/// Most operations of a job.
pub const MAX_OPS: usize = 8;
/// Most dwords of one WRITE_LINEAR.
const MAX_WRITE: usize = 32;

/// What kind of work a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Fill framebuffer.
    Fill,
    /// Copy within the framebuffer.
    Copy,
    /// Copy between framebuffer and system memory, both ways.
    Dma,
    /// Write dwords that come with the packet.
    Write,
    /// Chains of everything, from an indirect buffer.
    Indirect,
    /// Chains of everything, half of them from an indirect buffer.
    Mix,
}

/// One of the two memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The VF's framebuffer.
    Vram,
    /// The client's own memory.
    Own,
}

/// Bytes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which memory.
    pub place: Place,
    /// Offset in the slot's part of it.
    pub offset: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Span {
    fn overlaps(&self, other: &Self) -> bool {
        self.place == other.place
            && self.offset < other.offset + other.len
            && other.offset < self.offset + self.len
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Fill `to` with a dword.
    Fill {
        /// Where; a multiple of 4 in offset and length.
        to: Span,
        /// With what.
        value: u32,
    },
    /// Copy; the two do not overlap and have one length.
    Copy {
        /// From where.
        from: Span,
        /// Where to.
        to: Span,
    },
    /// Write dwords.
    Write {
        /// Where; a multiple of 4 in offset and length.
        to: Span,
        /// What.
        data: Vec<u32>,
    },
}

impl Op {
    /// What is written.
    pub fn to(&self) -> Span {
        match self {
            Self::Fill { to, .. } | Self::Copy { to, .. } | Self::Write { to, .. } => *to,
        }
    }
}

/// What both memories of a slot hold, as far as the client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The slot's framebuffer.
    pub vram: Vec<u8>,
    /// The slot's own memory.
    pub own: Vec<u8>,
}

impl Shadow {
    /// The memory of `place`.
    pub fn of(&mut self, place: Place) -> &mut Vec<u8> {
        match place {
            Place::Vram => &mut self.vram,
            Place::Own => &mut self.own,
        }
    }

    /// Does in software what the GPU is asked to do.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Fill { to, value } => {
                // By large pieces: on an emulated CPU a loop over dwords takes most of a test's time.
                let mut piece = [0; 256];
                for dw in piece.chunks_exact_mut(4) {
                    dw.copy_from_slice(&value.to_le_bytes());
                }
                for part in self.slice(to).chunks_mut(piece.len()) {
                    part.copy_from_slice(&piece[..part.len()]);
                }
            }
            Op::Write { to, data } => {
                for (dw, value) in self.slice(to).chunks_exact_mut(4).zip(data) {
                    dw.copy_from_slice(&value.to_le_bytes());
                }
            }
            Op::Copy { from, to } => {
                if from.place == to.place {
                    let range = from.offset..from.offset + from.len;
                    self.of(to.place).copy_within(range, to.offset);
                } else {
                    let bytes = self.slice(from).to_vec();
                    self.slice(to).copy_from_slice(&bytes);
                }
            }
        }
    }

    fn slice(&mut self, span: &Span) -> &mut [u8] {
        &mut self.of(span.place)[span.offset..span.offset + span.len]
    }
}

/// A chain of operations in one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// In this order.
    pub ops: Vec<Op>,
    /// How often the whole chain runs.
    pub repeat: u32,
    /// Whether it lies in an indirect buffer.
    pub indirect: bool,
}

/// Where jobs may write: both memories of a slot without the guard zones at their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of framebuffer.
    pub vram: usize,
    /// Bytes of own memory.
    pub own: usize,
    /// Bytes at each end that no job touches.
    pub guard: usize,
    /// Most bytes of one operation.
    pub op_bytes: usize,
}

impl Bounds {
    fn len(&self, place: Place) -> usize {
        match place {
            Place::Vram => self.vram,
            Place::Own => self.own,
        }
    }

    /// A random span of at most `most` bytes; offset and length are multiples of `align`.
    fn span(&self, rng: &mut Rng, place: Place, most: usize, align: usize) -> Span {
        let room = self.len(place) - 2 * self.guard;
        let units = most.min(room) / align;
        let len = rng.usize(1..=units.max(1)) * align;
        let offset = self.guard + rng.usize(0..=(room - len) / align) * align;
        Span { place, offset, len }
    }

    /// A span as long as `other` that does not overlap it, if a few throws find one.
    fn apart(&self, rng: &mut Rng, place: Place, other: &Span, align: usize) -> Option<Span> {
        let room = self.len(place) - 2 * self.guard;
        (0..16).find_map(|_| {
            let offset = self.guard + rng.usize(0..=(room - other.len) / align) * align;
            let span = Span {
                place,
                offset,
                len: other.len,
            };
            (!span.overlaps(other)).then_some(span)
        })
    }
}

impl Job {
    /// A job of the given kind.  The same `rng` gives the same job.
    pub fn random(rng: &mut Rng, workload: Workload, bounds: &Bounds, repeat: u32) -> Self {
        let count = match workload {
            Workload::Mix | Workload::Indirect => rng.usize(3..=MAX_OPS),
            _ => rng.usize(1..=3),
        };
        let ops = (0..count)
            .map(|i| random_op(rng, workload, bounds, i))
            .collect();
        let indirect = match workload {
            Workload::Indirect => true,
            Workload::Mix => rng.bool(),
            _ => false,
        };
        Self {
            ops,
            repeat,
            indirect,
        }
    }

    /// Brings the shadow to where the memory must be after the job.
    pub fn apply(&self, shadow: &mut Shadow) {
        // Without copies, every run of the chain leaves the same behind.
        let copies = self.ops.iter().any(|op| matches!(op, Op::Copy { .. }));
        let times = if copies {
            self.repeat
        } else {
            self.repeat.min(1)
        };
        for _ in 0..times {
            self.ops.iter().for_each(|op| shadow.apply(op));
        }
    }

    /// The packets for one run, for a slot whose memories start at these GPU addresses.
    pub fn emit(&self, stream: &mut Stream, vram: u64, own: u64) {
        let addr = |span: &Span| {
            span.offset as u64
                + match span.place {
                    Place::Vram => vram,
                    Place::Own => own,
                }
        };
        for op in &self.ops {
            // CAST: spans are far below 2^22 bytes.
            let packet = match op {
                Op::Fill { to, value } => Packet::ConstFill {
                    dst: addr(to),
                    value: *value,
                    bytes: to.len as u32,
                },
                Op::Copy { from, to } => Packet::CopyLinear {
                    src: addr(from),
                    dst: addr(to),
                    bytes: to.len as u32,
                },
                Op::Write { to, data } => Packet::WriteLinear {
                    dst: addr(to),
                    data: data.as_slice(),
                },
            };
            stream.push(&packet);
        }
    }

    /// Bytes that the GPU writes, repetitions counted.
    pub fn bytes_written(&self) -> u64 {
        self.ops.iter().map(|op| op.to().len as u64).sum::<u64>() * u64::from(self.repeat)
    }

    /// Distinct bytes that the GPU was asked to write in `place`.
    pub fn bytes_covered(&self, place: Place) -> usize {
        let mut spans: Vec<Span> = self
            .ops
            .iter()
            .map(Op::to)
            .filter(|s| s.place == place)
            .collect();
        spans.sort_by_key(|s| s.offset);
        let mut end = 0;
        let mut sum = 0;
        for s in spans {
            let stop = s.offset + s.len;
            sum += stop.saturating_sub(s.offset.max(end));
            end = end.max(stop);
        }
        sum
    }

    /// Whether the job was to write the byte at `offset` of `place`.
    pub fn covers(&self, place: Place, offset: usize) -> bool {
        let byte = Span {
            place,
            offset,
            len: 1,
        };
        self.ops.iter().any(|op| op.to().overlaps(&byte))
    }
}

fn random_op(rng: &mut Rng, workload: Workload, bounds: &Bounds, nth: usize) -> Op {
    let either = |rng: &mut Rng| if rng.bool() { Place::Vram } else { Place::Own };
    match workload {
        Workload::Fill => fill(rng, bounds, Place::Vram),
        Workload::Copy => copy(rng, bounds, Place::Vram, Place::Vram),
        Workload::Dma if nth % 2 == 0 => copy(rng, bounds, Place::Vram, Place::Own),
        Workload::Dma => copy(rng, bounds, Place::Own, Place::Vram),
        Workload::Write => {
            let place = either(rng);
            write(rng, bounds, place)
        }
        Workload::Indirect | Workload::Mix => {
            let (a, b) = (either(rng), either(rng));
            match rng.u32(0..6) {
                0 => fill(rng, bounds, a),
                1 => write(rng, bounds, a),
                _ => copy(rng, bounds, a, b),
            }
        }
    }
}

fn fill(rng: &mut Rng, bounds: &Bounds, place: Place) -> Op {
    let to = bounds.span(rng, place, bounds.op_bytes, 4);
    Op::Fill {
        to,
        value: rng.u32(..),
    }
}

fn write(rng: &mut Rng, bounds: &Bounds, place: Place) -> Op {
    let to = bounds.span(rng, place, MAX_WRITE * 4, 4);
    Op::Write {
        to,
        data: (0..to.len / 4).map(|_| rng.u32(..)).collect(),
    }
}

/// Copies are good for any address and length, so every fourth is odd in all three.
fn copy(rng: &mut Rng, bounds: &Bounds, from: Place, to: Place) -> Op {
    let align = if rng.u32(0..4) == 0 { 1 } else { 4 };
    let source = bounds.span(rng, from, bounds.op_bytes, align);
    match bounds.apart(rng, to, &source, align) {
        Some(target) => Op::Copy {
            from: source,
            to: target,
        },
        None => fill(rng, bounds, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        vram: 9000,
        own: 5000,
        guard: 64,
        op_bytes: 2048,
    };

    const ALL: [Workload; 6] = [
        Workload::Fill,
        Workload::Copy,
        Workload::Dma,
        Workload::Write,
        Workload::Indirect,
        Workload::Mix,
    ];

    #[test]
    fn jobs_stay_inside_and_do_not_overlap() {
        let mut rng = Rng::with_seed(1);
        for i in 0..6000 {
            let job = Job::random(&mut rng, ALL[i % 6], &BOUNDS, 1);
            assert!(!job.ops.is_empty() && job.ops.len() <= MAX_OPS);
            for op in &job.ops {
                let to = op.to();
                assert!(to.len > 0 && to.offset >= BOUNDS.guard);
                assert!(to.offset + to.len <= BOUNDS.len(to.place) - BOUNDS.guard);
                match op {
                    Op::Copy { from, to } => {
                        assert!(from.len == to.len && !from.overlaps(to));
                        assert!(from.offset + from.len <= BOUNDS.len(from.place));
                    }
                    Op::Fill { .. } => assert!(to.offset % 4 == 0 && to.len % 4 == 0),
                    Op::Write { data, .. } => assert_eq!(data.len() * 4, to.len),
                }
            }
        }
    }

    #[test]
    fn same_seed_same_job() {
        let make = |seed| Job::random(&mut Rng::with_seed(seed), Workload::Mix, &BOUNDS, 2);
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
    }

    #[test]
    fn coverage_counts_each_byte_once() {
        let span = |offset, len| Span {
            place: Place::Vram,
            offset,
            len,
        };
        let job = Job {
            ops: vec![
                Op::Fill {
                    to: span(100, 40),
                    value: 1,
                },
                Op::Fill {
                    to: span(120, 40),
                    value: 2,
                },
                Op::Fill {
                    to: span(0, 8),
                    value: 3,
                },
                Op::Fill {
                    to: span(104, 4),
                    value: 4,
                },
            ],
            repeat: 3,
            indirect: false,
        };
        assert_eq!(job.bytes_covered(Place::Vram), 68);
        assert_eq!(job.bytes_covered(Place::Own), 0);
        assert_eq!(job.bytes_written(), 3 * 92);
        assert!(job.covers(Place::Vram, 159) && !job.covers(Place::Vram, 160));
        assert!(!job.covers(Place::Own, 104));
    }

    #[test]
    fn shadow_does_what_the_packets_say() {
        let span = |place, offset, len| Span { place, offset, len };
        let mut shadow = Shadow {
            vram: vec![0; 16],
            own: vec![9; 16],
        };
        shadow.apply(&Op::Fill {
            to: span(Place::Vram, 4, 8),
            value: 0x0403_0201,
        });
        shadow.apply(&Op::Copy {
            from: span(Place::Vram, 5, 3),
            to: span(Place::Own, 1, 3),
        });
        shadow.apply(&Op::Write {
            to: span(Place::Own, 8, 4),
            data: vec![0xAABB_CCDD],
        });
        assert_eq!(
            shadow.vram,
            [0, 0, 0, 0, 1, 2, 3, 4, 1, 2, 3, 4, 0, 0, 0, 0]
        );
        assert_eq!(shadow.own[..5], [9, 2, 3, 4, 9]);
        assert_eq!(shadow.own[8..12], [0xDD, 0xCC, 0xBB, 0xAA]);
    }
}
