// SPDX-License-Identifier: GPL-2.0
//! `gimctl config` against a made-up sysfs tree.

mod tree;

use std::fs;

use assert_cmd::assert::Assert;
use gimctl::wanted::Wanted;
use predicates::prelude::*;
use predicates::str::contains as says;
use tree::{Tree, PCI};

const OTHER: &str = "0000:04:00.0";

fn out(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// A file for one GPU.
fn file(settings: &str) -> String {
    format!("version = 1\n[gpu.\"{PCI}\"]\n{settings}\n")
}

#[test]
fn the_file_of_the_manual_is_one() {
    let manual = include_str!("../../../Documentation/gimctl.md");
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    assert_eq!(Wanted::parse(text).unwrap().gpu[PCI].vfs, Some(4));
}

#[test]
fn what_is_shown_is_what_is_wanted() {
    let tree = Tree::new().settled(PCI, 2).settled(OTHER, 0);
    let shown = out(&tree.run(&["config", "show"]).success());
    assert!(
        shown.contains("messages = { count = 56, seconds = 60 }"),
        "{shown}"
    );
    assert!(!shown.contains("slice_us"), "{shown}");
    let as_json = tree.json(&["config", "show", "--json"]).to_string();
    assert_eq!(
        Wanted::parse(&shown).unwrap(),
        Wanted::parse(&as_json).unwrap()
    );
    tree.apply(&shown, &[])
        .success()
        .stdout(says(format!("GPU {PCI}: nothing differs")))
        .stdout(says(format!("GPU {OTHER}: nothing differs")));
    tree.apply(&as_json, &[]).success().stdout(says("->").not());
    // Slices of their own are shown, and set again.
    tree.write(&format!("{PCI}/gim/slice_preset"), "long short [own]\n");
    let own = out(&tree.run(&["config", "show", PCI]).success());
    assert!(
        own.contains("\n1 = { slice_us = 6000, weight = 100"),
        "{own}"
    );
    assert!(!own.contains(OTHER));
    tree.write(&format!("{PCI}/sriov_admin/vf2/slice_us"), "300\n");
    tree.apply(&own, &[])
        .success()
        .stdout(says("VF 1 slice_us: 300 -> 6000"));
    tree.apply(&own, &[])
        .success()
        .stdout(says("nothing differs"));
}

#[test]
fn a_host_is_brought_to_a_file() {
    let tree = Tree::new().settled(PCI, 0);
    let wanted =
        file("vfs = 4\npolicy = \"qos\"\nvf.3 = { weight = 300 }\nlimits.enforced = false");
    tree.apply(&wanted, &["--dry-run"])
        .success()
        .stdout(says("would change vfs: 0 -> 4").and(says("would change VF 3 weight: ? -> 300")));
    assert_eq!(tree.read("sriov_numvfs"), "0");
    tree.apply(&wanted, &[])
        .success()
        .stdout(says("vfs: 0 -> 4").and(says("VF 3 weight: 100 -> 300")));
    assert_eq!(tree.read("sriov_numvfs"), "4");
    assert_eq!(tree.read("sriov_admin/vf4/weight"), "300");
    assert_eq!(tree.read("sriov_admin/vf3/weight"), "100");
    assert_eq!(tree.read("gim/limits/enforced"), "0");
    tree.apply(&wanted, &[])
        .success()
        .stdout(says("nothing differs"));
    tree.apply(&file("vfs = 2"), &[])
        .success()
        .stdout(says("vfs: 4 -> 2"));
}

#[test]
fn guests_keep_their_vfs() {
    let tree = Tree::new().settled(PCI, 4);
    tree.write(&format!("{PCI}/sriov_admin/vf2/state"), "active\n");
    let wanted = file("vfs = 2\npolicy = \"qos\"");
    tree.apply(&wanted, &[])
        .failure()
        .stderr(says("VF 1 (?) is active"));
    assert_eq!(tree.read("gim/policy"), "[rr] qos");
    // Settings alone need nobody to leave.
    let same = file("vfs = 4\npolicy = \"qos\"");
    tree.apply(&same, &[]).success();
    tree.apply(&wanted, &["--force"]).success();
    assert_eq!(tree.read("sriov_numvfs"), "2");
}

#[test]
fn files_that_are_wrong_change_nothing() {
    let tree = Tree::new().settled(PCI, 4).settled(OTHER, 4);
    let absent = "[gpu.\"0000:09:00.0\"]\nvfs = 4";
    for (wanted, why) in [
        (file("polizy = \"rr\""), "unknown field `polizy`"),
        (file("vf.0 = { wait = 1 }"), "unknown field `wait`"),
        (file("vf.first = { weight = 1 }"), "unknown VF `first`"),
        (file("limits.luck = { count = 1, seconds = 2 }"), "unknown field `luck`"),
        (file("policy = \"best\""), "GPU 0000:03:00.0: policy cannot be best; allowed are rr, qos"),
        (file("vf.0 = { weight = 0 }"), "VF 0: weight cannot be 0"),
        (file("vf.4 = { weight = 1 }"), "there is no VF 4"),
        (file("vfs = 3"), "3 VFs are not possible"),
        (file("").replace('1', "2"), "of version 2; this gimctl knows version 1"),
        ("[gpu]".to_owned(), "missing field `version`"),
        (file(absent), "GPU 0000:09:00.0, which gim does not drive; those that it does: 0000:03:00.0, 0000:04:00.0"),
        (file(&format!("policy = \"qos\"\n[gpu.\"{OTHER}\"]\nmode = \"lax\"")), "mode cannot be lax"),
    ] {
        tree.apply(&wanted, &[]).failure().code(1).stderr(says(why));
        assert_eq!(tree.read("gim/policy"), "[rr] qos", "{wanted}");
    }
    tree.run(&["config", "apply", "/nonexistent/gim.toml"])
        .failure()
        .stderr(says("cannot read /nonexistent/gim.toml"));
}

#[test]
fn one_gpus_trouble_is_not_anothers() {
    let tree = Tree::new().settled(PCI, 4).settled(OTHER, 4);
    fs::remove_file(tree.file(&format!("{PCI}/gim/watchdog_ms"))).unwrap();
    let wanted = file(&format!(
        "watchdog_ms = 60\n[gpu.\"{OTHER}\"]\nwatchdog_ms = 60"
    ));
    tree.apply(&wanted, &[])
        .failure()
        .stdout(says(format!("GPU {OTHER}: watchdog_ms: 50 -> 60")))
        .stderr(says(format!("GPU {PCI}: watchdog_ms")));
}
