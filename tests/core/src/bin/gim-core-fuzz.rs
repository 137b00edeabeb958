// SPDX-License-Identifier: GPL-2.0

//! `gim-core-fuzz CORPUS OUT`: fuzzes the decoder of streams for GIM_FUZZ_SECONDS (15).
//!
//! An input that is not survived is written to OUT; a copy of it in CORPUS is tried by `cargo test`
//! ever after. Exit status: 0 all survived, 1 one was not, 2 wrong usage, or no coverage though
//! GIM_FUZZ_COVERAGE is set.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use gim_core::stream::crc::Crc32c;
use gim_core_sim::{
    campaign,
    fuzz::{Coverage, Fuzzer},
};

/// Counters that LLVM's pass `sancov-module` has put into this program.
mod counters {
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static LEN: AtomicUsize = AtomicUsize::new(0);

    /// Called before main by every object that has counters: all lie in one array.
    ///
    /// # Safety
    ///
    /// From `start` to `stop` there must be counters for as long as the program runs.
    // SAFETY: The name is the pass's, and nobody else's.
    #[no_mangle]
    unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
        // CAST: Addresses.
        let len = (stop as usize).saturating_sub(start as usize);
        START.store(start, Ordering::SeqCst);
        LEN.store(len, Ordering::SeqCst);
    }

    /// The table of places that belong to the counters is not needed.
    ///
    /// # Safety
    ///
    /// None is needed.
    // SAFETY: The name is the pass's, and nobody else's.
    #[no_mangle]
    unsafe extern "C" fn __sanitizer_cov_pcs_init(_: *const usize, _: *const usize) {}

    /// A copy of all.
    pub(crate) fn read(to: &mut Vec<u8>) {
        let start = START.load(Ordering::SeqCst);
        to.clear();
        // SAFETY: `init` has told so many counters there, which stay; only this thread runs.
        to.extend((0..LEN.load(Ordering::SeqCst)).map(|n| unsafe { start.add(n).read_volatile() }));
    }

    /// Sets all to 0.
    pub(crate) fn clear() {
        let start = START.load(Ordering::SeqCst);
        for n in 0..LEN.load(Ordering::SeqCst) {
            // SAFETY: As above.
            unsafe { start.add(n).write_volatile(0) };
        }
    }
}

struct Sancov(Vec<u8>);

impl Coverage for Sancov {
    fn reset(&mut self) {
        counters::clear();
    }
    fn counters(&mut self) -> &[u8] {
        counters::read(&mut self.0);
        &self.0
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, corpus, out] = args.as_slice() else {
        eprintln!("usage: gim-core-fuzz CORPUS OUT");
        return ExitCode::from(2);
    };
    let seconds = campaign::number("GIM_FUZZ_SECONDS", 15);
    let seed = campaign::seed();
    println!("GIM_SEED={seed} GIM_FUZZ_SECONDS={seconds}");
    let fuzzer = Fuzzer::new(Sancov(Vec::new()), seed, Path::new(corpus));
    let mut fuzzer = match fuzzer {
        Ok(fuzzer) => fuzzer,
        Err(e) => {
            eprintln!("gim-core-fuzz: {corpus}: {e}");
            return ExitCode::from(2);
        }
    };
    let input = match fuzzer.run(Duration::from_secs(seconds)) {
        Ok(outcome) => {
            println!("{outcome:?}");
            let wanted = std::env::var("GIM_FUZZ_COVERAGE").is_ok();
            return ExitCode::from(if wanted && outcome.reached == 0 { 2 } else { 0 });
        }
        Err(input) => input,
    };
    let path = Path::new(out).join(format!("crash-{:08x}.bin", Crc32c::of(&input)));
    let kept = fs::create_dir_all(out).and_then(|()| fs::write(&path, &input));
    match kept {
        Ok(()) => eprintln!("gim-core-fuzz: not survived: {}", path.display()),
        Err(e) => eprintln!("gim-core-fuzz: not survived, and {}: {e}", path.display()),
    }
    ExitCode::FAILURE
}
