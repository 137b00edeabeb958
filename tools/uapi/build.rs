// SPDX-License-Identifier: GPL-2.0
//! Has bindgen translate the uAPI header, the only source of structures and numbers.

use std::{env, path::Path, process::Command};

fn main() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join("gim.rs");
    let [header, uapi, script] = [
        "include/gim-bindgen.h",
        "include/uapi/gim.h",
        "scripts/bindgen",
    ]
    .map(|p| top.join(p));
    for input in [&header, &uapi, &script] {
        println!("cargo:rerun-if-changed={}", input.display());
    }
    let status = Command::new(&script)
        .arg(&header)
        .arg(&out)
        .arg(format!("-I{}", top.join("include").display()))
        .status()
        .expect("scripts/bindgen runs");
    assert!(status.success(), "bindgen failed: is it installed?");
}
