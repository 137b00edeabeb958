// SPDX-License-Identifier: GPL-2.0

//! Tests of the layout, and of what each end refuses.

use super::super::{
    account::VfStats,
    policy::Share,
    types::MS, //
};
use super::*;

cases! {
    gim_stream:
    the_layout_of_the_header,
    the_layout_of_a_section,
    what_is_written_is_read,
    a_stream_for_another_target_is_refused_before_anything,
    the_writing_end_keeps_the_order,
    the_writing_end_keeps_its_word_of_pages,
    a_small_buffer_is_refused_and_nothing_changes,
    bad_values_are_named,
    lists_of_pages_make_runs,
    kinds_have_numbers_and_names,
    the_ends_are_small,
}

const HEADER: Header = Header {
    chip: 0x692F,
    features: 0,
    fb_bytes: 4 * PAGE as u64,
    context_bytes: 8,
};

fn state(loaded: bool) -> State {
    State {
        loaded,
        want: Want::Init,
        slice: 6 * MS,
        share: Share::DEFAULT,
        counters: VfStats::NEW.counters(),
    }
}

/// Collects what an encoder writes.
struct Out {
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl Out {
    fn new() -> Self {
        let mut out = Self {
            encoder: Encoder::new(HEADER),
            bytes: Vec::new(),
        };
        out.put(Encoder::header).unwrap();
        out
    }

    fn put(
        &mut self,
        with: impl FnOnce(&mut Encoder, &mut [u8]) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let mut scratch = [0xEE; SCRATCH];
        let n = with(&mut self.encoder, &mut scratch)?;
        self.bytes.extend_from_slice(&scratch[..n]);
        assert!(scratch[n..].iter().all(|&b| b == 0xEE));
        assert_eq!(self.encoder.bytes(), self.bytes.len() as u64);
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        self.encoder.data(data).unwrap();
        self.bytes.extend_from_slice(data);
    }

    /// One round: page 1 has contents, the others are zero.
    fn round(&mut self) {
        self.put(|e, out| e.pages(out, 1, 1)).unwrap();
        self.put(|e, out| e.run(out, Run { first: 1, count: 1 }))
            .unwrap();
        self.data(&[7; PAGE as usize]);
        self.put(Encoder::end_section).unwrap();
        let zero = [Run { first: 0, count: 1 }, Run { first: 2, count: 2 }];
        self.put(|e, out| e.zero(out, &zero)).unwrap();
        self.put(|e, out| e.round(out, 0)).unwrap();
    }

    fn rest(&mut self, loaded: bool) {
        self.put(|e, out| e.state(out, &state(loaded))).unwrap();
        self.put(|e, out| e.registers(out, &[(1, 2), (3, 4)]))
            .unwrap();
        self.put(|e, out| e.mailbox(out, &Mailbox::default()))
            .unwrap();
        self.put(|e, out| e.irq(out, Irq::default())).unwrap();
        if loaded {
            self.put(Encoder::context).unwrap();
            self.data(&[9; 8]);
            self.put(Encoder::end_section).unwrap();
        }
        self.put(Encoder::end).unwrap();
    }
}

/// The names of what a decoder delivers, and its verdict.
fn read(bytes: &[u8]) -> (Vec<String>, Result<(), Error>) {
    let mut decoder = Decoder::new(HEADER);
    let (mut seen, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (taken, item) = match decoder.feed(rest) {
            Ok(found) => found,
            Err(e) => return (seen, Err(e)),
        };
        rest = &rest[taken..];
        if let Some(item) = item {
            let text = format!("{item:?}");
            seen.push(text.split(['(', ' ']).next().unwrap().to_string());
        }
    }
    (seen, decoder.finish())
}

fn the_layout_of_the_header() {
    let out = Out::new();
    let mut want = b"GIMVF\r\n\x1A\x01\0\x30\0\x2F\x69\0\0".to_vec();
    want.extend([0; 8]);
    want.extend([
        0, 0x40, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
    ]);
    want.extend(Crc32c::of(&want).to_le_bytes());
    assert_eq!(out.bytes, want);
}

fn the_layout_of_a_section() {
    let mut out = Out::new();
    let run = Run { first: 2, count: 1 };
    out.put(|e, out| e.zero(out, &[run])).unwrap();
    let mut want = vec![7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
    let mut crc = Crc32c::new();
    crc.update(&want);
    want.extend(crc.value().to_le_bytes());
    let payload = [2, 0, 0, 0, 1, 0, 0, 0];
    crc.update(&payload);
    want.extend(payload);
    want.extend(crc.value().to_le_bytes());
    assert_eq!(out.bytes[HEADER_LEN..], want);
}

fn what_is_written_is_read() {
    let mut out = Out::new();
    out.round();
    out.rest(true);
    assert!(out.encoder.is_complete());
    let (seen, verdict) = read(&out.bytes);
    assert_eq!(verdict, Ok(()));
    let want =
        "Header Pages SectionEnd Zero Round State Registers Mailbox Irq Context SectionEnd End";
    assert_eq!(seen.join(" "), want);
    let mut out = Out::new();
    out.round();
    out.rest(false);
    let (seen, verdict) = read(&out.bytes);
    assert_eq!((seen.len(), verdict), (10, Ok(())));
}

fn a_stream_for_another_target_is_refused_before_anything() {
    let mut out = Out::new();
    out.round();
    let cases = [
        (Header { chip: 1, ..HEADER }, "device id 0x692f"),
        (
            Header {
                fb_bytes: 4096,
                ..HEADER
            },
            "framebuffer of 16384",
        ),
        (
            Header {
                context_bytes: 4,
                ..HEADER
            },
            "context image of 8",
        ),
    ];
    for (expect, text) in cases {
        let mut decoder = Decoder::new(expect);
        let error = decoder.feed(&out.bytes).unwrap_err();
        assert!(
            error.is_mismatch() && error.to_string().contains(text),
            "{error}"
        );
        assert_eq!(decoder.feed(&out.bytes), Err(error), "an error is final");
    }
    // Features that must be known, and others.
    for (features, good) in [(1 << 3, false), (1 << 31, false), (1 << 32, true)] {
        let mut bytes = [0; HEADER_LEN];
        Header { features, ..HEADER }.put(&mut bytes).unwrap();
        assert_eq!(Decoder::new(HEADER).feed(&bytes).is_ok(), good);
        let mut knows = Decoder::new(Header { features, ..HEADER });
        assert!(knows.feed(&bytes).is_ok());
    }
    // Another version, another page size.
    for (at, want) in [
        (8, Error::Version { got: 3 }),
        (37, Error::PageSize { got: 0x200 }),
    ] {
        let mut bytes = out.bytes[..HEADER_LEN].to_vec();
        bytes[at] ^= if at == 8 { 2 } else { 0x12 };
        let crc = Crc32c::of(&bytes[..44]).to_le_bytes();
        bytes[44..].copy_from_slice(&crc);
        assert_eq!(Decoder::new(HEADER).feed(&bytes), Err(want));
        assert!(want.is_mismatch());
    }
}

fn the_writing_end_keeps_the_order() {
    let mut out = Out::new();
    let unfinished = Error::Unfinished { left: 4 };
    let early = out.put(|e, out| e.state(out, &state(true)));
    assert_eq!(early, Err(unfinished));
    assert!(matches!(out.put(Encoder::end), Err(Error::Order { .. })));
    let page = Run { first: 0, count: 1 };
    let twice = [Run { first: 0, count: 3 }, Run { first: 0, count: 2 }];
    assert!(out.put(|e, out| e.zero(out, &twice)).is_err());
    assert!(out.put(|e, out| e.zero(out, &[])).is_err());
    let beyond = Run { first: 4, count: 1 };
    assert!(out.put(|e, out| e.zero(out, &[beyond])).is_err());
    // Not all pages were in the first round.
    out.put(|e, out| e.zero(out, &[page])).unwrap();
    assert!(out.put(|e, out| e.round(out, 0)).is_err());
    let more = Run { first: 1, count: 3 };
    out.put(|e, out| e.zero(out, &[more])).unwrap();
    out.put(|e, out| e.round(out, 1)).unwrap();
    // One page is still dirty.
    let dirty = out.put(|e, out| e.state(out, &state(true)));
    assert_eq!(dirty, Err(Error::Unfinished { left: 1 }));
    out.put(|e, out| e.zero(out, &[page])).unwrap();
    out.put(|e, out| e.round(out, 0)).unwrap();
    out.rest(true);
    assert_eq!(read(&out.bytes).1, Ok(()));
    assert!(out.put(Encoder::end).is_err());
    assert!(out.put(Encoder::header).is_err());
}

fn the_writing_end_keeps_its_word_of_pages() {
    let mut out = Out::new();
    let page = Run { first: 0, count: 1 };
    assert!(out.put(|e, out| e.pages(out, 257, 1)).is_err());
    assert!(out.put(|e, out| e.pages(out, 1, 2)).is_err());
    assert!(out.put(|e, out| e.pages(out, u32::MAX, u32::MAX)).is_err());
    assert!(out.put(|e, out| e.run(out, page)).is_err());
    out.put(|e, out| e.pages(out, 2, 2)).unwrap();
    assert!(out.encoder.data(&[0]).is_err(), "contents without a run");
    let long = Run { first: 0, count: 3 };
    assert!(out.put(|e, out| e.run(out, long)).is_err());
    out.put(|e, out| e.run(out, page)).unwrap();
    assert!(out.put(|e, out| e.run(out, page)).is_err());
    out.data(&[1; 4096]);
    let missing = Error::Payload { missing: 4104 };
    assert_eq!(out.put(Encoder::end_section), Err(missing));
    assert_eq!(out.put(|e, out| e.irq(out, Irq::default())), Err(missing));
    out.put(|e, out| e.run(out, page)).unwrap();
    out.data(&[1; 4096]);
    out.put(Encoder::end_section).unwrap();
    assert_eq!(out.encoder.round_pages(), (2, 0));
}

fn a_small_buffer_is_refused_and_nothing_changes() {
    let mut out = Out::new();
    out.round();
    let before = out.bytes.len() as u64;
    for have in 0..HEAD_LEN + 160 + TRAILER_LEN {
        let mut small = vec![0; have];
        let refused = out.encoder.state(&mut small, &state(true));
        let need = HEAD_LEN + 160 + TRAILER_LEN;
        assert_eq!(refused, Err(Error::Space { have, need }));
        assert_eq!(out.encoder.bytes(), before);
    }
    out.rest(true);
    assert_eq!(read(&out.bytes).1, Ok(()));
}

fn bad_values_are_named() {
    let mut out = Out::new();
    out.round();
    let mut bad = state(true);
    bad.slice = 1;
    let slice = out.put(|e, out| e.state(out, &bad)).unwrap_err();
    assert_eq!(slice.to_string(), "STATE section: bad slice");
    let mut bad = state(true);
    bad.share.cap = 0;
    let share = out.put(|e, out| e.state(out, &bad)).unwrap_err();
    assert_eq!(share.to_string(), "STATE section: bad share");
    out.put(|e, out| e.state(out, &state(false))).unwrap();
    let twice = out.put(|e, out| e.registers(out, &[(2, 0), (2, 0)]));
    assert!(twice
        .unwrap_err()
        .to_string()
        .contains("order of registers"));
}

fn lists_of_pages_make_runs() {
    let runs = |pages: &[u32]| -> Vec<(u32, u32)> {
        let runs = runs_of(pages);
        runs.map(|run| (run.first, run.count)).collect()
    };
    assert_eq!(runs(&[]), []);
    assert_eq!(runs(&[5]), [(5, 1)]);
    assert_eq!(
        runs(&[1, 2, 3, 7, 8, 2, 4]),
        [(1, 3), (7, 2), (2, 1), (4, 1)]
    );
    assert_eq!(runs(&[u32::MAX, 0]), [(u32::MAX, 1), (0, 1)]);
}

fn kinds_have_numbers_and_names() {
    for kind in Kind::ALL {
        assert_eq!(Kind::new(kind as u16), Some(kind));
        assert!(!kind.to_string().is_empty());
    }
    assert_eq!((Kind::new(0), Kind::new(10)), (None, None));
}

fn the_ends_are_small() {
    assert!(core::mem::size_of::<Decoder>() <= 1024);
    assert!(core::mem::size_of::<Encoder>() <= 256);
}
