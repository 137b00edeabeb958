// SPDX-License-Identifier: GPL-2.0
//! `gimctl policy` against a made-up sysfs tree.

mod tree;

use std::fs;

use predicates::prelude::*;
use predicates::str::contains as says;
use serde_json::json;
use tree::{Tree, PCI};

#[test]
fn policy_is_shown() {
    let tree = Tree::new().settled(PCI, 2);
    tree.run(&["policy"])
        .success()
        .stdout(says("work-conserving").and(says("56 in 60 s")))
        .stdout(says("0/1000  1000/1000     none"));
    let shown = tree.json(&["policy", "show", "0", "--json"]);
    assert_eq!(shown["settings"]["preset"], "long");
    assert_eq!(shown["settings"]["limits"]["access-time"]["count"], 2000);
    assert_eq!(shown["settings"]["vf"]["1"]["cap_permille"], 1000);
    assert_eq!(shown["settings"]["vf"].as_object().unwrap().len(), 2);
}

#[test]
fn settings_are_written_where_they_belong() {
    let tree = Tree::new().settled(PCI, 4);
    let gpu = "--policy qos --mode strict --watchdog-ms 200 --enforce off --limit messages=28/30";
    let vfs = "--vf 1,3 --weight 300 --min 100 --latency-us 40000 --slice-us 3000";
    let args: Vec<&str> = gpu.split(' ').chain(vfs.split(' ')).collect();
    tree.set(&args)
        .success()
        .stdout(says("GPU 0000:03:00.0: policy: rr -> qos"))
        .stdout(says("limit messages: 56/60 -> 28/30"))
        .stdout(says("VF 3 min_permille: 0 -> 100"));
    for (at, text) in [
        ("gim/policy", "qos"),
        ("gim/mode", "strict"),
        ("gim/watchdog_ms", "200"),
        ("gim/limits/enforced", "0"),
        ("gim/limits/messages", "28 30"),
        ("sriov_admin/vf2/weight", "300"),
        ("sriov_admin/vf4/slice_us", "3000"),
        ("sriov_admin/vf4/latency_us", "40000"),
        ("sriov_admin/vf1/weight", "100"),
        ("gim/slice_us", "6000"),
    ] {
        assert_eq!(tree.read(at), text, "{at}");
    }
    tree.set(&["--vf", "all", "--cap", "500"]).success();
    assert_eq!(tree.read("sriov_admin/vf1/cap_permille"), "500");
    tree.set(&["--preset", "short"]).success();
    assert_eq!(tree.read("gim/slice_preset"), "short");
    let set = tree.json(&["policy", "set", "--policy", "rr", "--json"]);
    let change = json!([{ "what": "policy", "from": "qos", "to": "rr" }]);
    assert_eq!(set["changes"], change);
    tree.set(&["--policy", "rr"])
        .success()
        .stdout(says("already"));
}

#[test]
fn what_is_out_of_range_is_not_written() {
    let tree = Tree::new().settled(PCI, 4);
    for (args, why) in [
        (
            "--vf 1 --weight 0",
            "VF 1: weight cannot be 0; allowed are 1 to 10000",
        ),
        (
            "--vf 1 --min 1001",
            "min_permille cannot be 1001; allowed are 0 to 1000",
        ),
        (
            "--vf 1 --cap 0",
            "cap_permille cannot be 0; allowed are 1 to 1000",
        ),
        (
            "--vf 1 --latency-us 9",
            "allowed are 1000 to 10000000, and 0 for no bound",
        ),
        (
            "--vf 1 --slice-us 99",
            "slice_us cannot be 99; allowed are 100 to 1000000",
        ),
        ("--slice-us 1000001", "slice_us cannot be 1000001"),
        (
            "--watchdog-ms 5001",
            "watchdog_ms cannot be 5001; allowed are 1 to 5000",
        ),
        ("--limit hangs=0/60", "the count of limit hangs cannot be 0"),
        (
            "--limit hangs=1/3601",
            "the seconds of limit hangs cannot be 3601",
        ),
        (
            "--vf 4 --weight 1",
            "there is no VF 4: there are 4 VFs, counted from 0",
        ),
        (
            "--vf 1 --min 300 --cap 200",
            "cap_permille 200 is below min_permille 300",
        ),
        ("--vf all --min 251", "add up to 1004; at most 1000"),
        (
            "--preset long --slice-us 2000",
            "slice_us goes with preset own",
        ),
    ] {
        let args: Vec<&str> = ["--policy", "qos"]
            .into_iter()
            .chain(args.split(' '))
            .collect();
        tree.set(&args).failure().code(1).stderr(says(why));
        assert_eq!(tree.read("gim/policy"), "[rr] qos", "{args:?}");
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let tree = Tree::new().settled(PCI, 4);
    for args in [
        &[][..],
        &["--gpu", "0"],
        &["--vf", "1"],
        &["--vf", "1", "--policy", "rr"],
        &["--weight", "100"],
        &["--policy", "best"],
        &["--limit", "luck=1/2"],
        &["--limit", "hangs=1"],
        &["--vf", "one", "--weight", "1"],
    ] {
        tree.set(args).failure().code(2);
    }
    let empty = Tree::new().settled(PCI, 0);
    empty
        .set(&["--vf", "all", "--weight", "1"])
        .failure()
        .stderr(says("has no VFs"));
}

#[test]
fn what_fails_is_put_back() {
    let tree = Tree::new().settled(PCI, 4);
    // A directory can be neither read nor written.
    fs::remove_file(tree.file(&format!("{PCI}/gim/watchdog_ms"))).unwrap();
    fs::create_dir(tree.file(&format!("{PCI}/gim/watchdog_ms"))).unwrap();
    tree.set(&[
        "--vf",
        "0",
        "--weight",
        "7",
        "--mode",
        "strict",
        "--watchdog-ms",
        "60",
    ])
    .failure()
    .stderr(says("watchdog_ms: ? -> 60").and(says("no setting was changed")));
    assert_eq!(tree.read("sriov_admin/vf1/weight"), "100");
    assert_eq!(tree.read("gim/mode"), "work-conserving");
    fs::remove_dir(tree.file(&format!("{PCI}/gim/watchdog_ms"))).unwrap();
    tree.set(&["--watchdog-ms", "60"])
        .failure()
        .stderr(says("gim/watchdog_ms is missing: is the driver older?"));
}
