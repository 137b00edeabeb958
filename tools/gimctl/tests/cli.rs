// SPDX-License-Identifier: GPL-2.0
//! `gimctl` against a made-up sysfs tree.

mod tree;

use std::fs;
use std::path::Path;

use predicates::prelude::*;
use serde_json::Value;

use tree::{says, Tree, PCI};

#[test]
fn no_driver() {
    Tree::new()
        .run(&["list"])
        .failure()
        .stderr(says("not loaded"));
}

#[test]
fn no_gpu() {
    let tree = Tree::new();
    tree.write("bind", "");
    tree.run(&["list"]).success().stdout(says("no GPU"));
    tree.run(&["show"]).failure().stderr(says("drives no GPU"));
}

#[test]
fn list_and_show() {
    let tree = Tree::new().gpu(PCI, 4);
    tree.run(&["list"])
        .success()
        .stdout(says(PCI).and(says("Tonga")).and(says("8192 MiB")));
    let list = tree.json(&["list", "--json"]);
    assert_eq!(list["gpus"][0]["num_vfs"], 4);
    assert_eq!(list["gpus"][0]["mode"], "strict");
    let show = tree.json(&["--json", "show"]);
    assert_eq!(show["stats"]["brand_new_key"], 5);
    assert_eq!(show["vfs"][3]["pci"], "0000:03:02.3");
    assert_eq!(show["vfs"][3]["fb_offset_mib"], 272 + 3 * 1968);
    tree.run(&["show", "03:00.0"])
        .success()
        .stdout(says("brand_new_key").and(says("0000:03:02.3")))
        .stdout(
            says("amdgpu 7.3")
                .and(says("77 MiB"))
                .and(says("bad-checksum")),
        );
    assert_eq!(show["vfs"][0]["guest"]["driver"], "amdgpu 7.3");
    // Whoever does not ask does not look.
    let list = tree.json(&["list", "--json"]);
    assert!(list["gpus"][0]["vfs"][0].get("guest").is_none());
}

#[test]
fn who_has_a_vf_open() {
    let tree = Tree::new().gpu(PCI, 4);
    tree.process(
        7,
        &["qemu", "-name", "guest=web1"],
        &["/dev/null", "/dev/vfio/42"],
    );
    tree.process(
        8,
        &["crosvm"],
        &["/dev/vfio/devices/vfio3", "/dev/vfio/vfio"],
    );
    let vfs = tree.json(&["vfs", "list", "--json"]);
    assert!(vfs["vfs"][0].get("holder").is_none());
    assert_eq!(vfs["vfs"][2]["holder"]["vm"], "web1");
    assert_eq!(vfs["vfs"][2]["holder"]["pid"], 7);
    assert_eq!(vfs["vfs"][3]["holder"]["program"], "crosvm");
    tree.run(&["show"])
        .success()
        .stdout(says("web1").and(says("crosvm")));
}

#[test]
fn several_gpus_need_a_choice() {
    let tree = Tree::new().gpu(PCI, 0).gpu("0000:04:00.0", 2);
    tree.run(&["show"])
        .failure()
        .stderr(says("choose one of: 0000:03:00.0, 0000:04:00.0"));
    tree.run(&["show", "7"])
        .failure()
        .stderr(says("no GPU \"7\""));
    assert_eq!(tree.json(&["--json", "show", "1"])["num_vfs"], 2);
    assert_eq!(
        tree.json(&["--json", "vfs", "list", "-g", "04:00.0"])["vfs"][1]["index"],
        1
    );
}

#[test]
fn set_counts() {
    let tree = Tree::new().gpu(PCI, 0);
    for bad in ["3", "17", "32"] {
        tree.run(&["vfs", "set", bad])
            .failure()
            .stderr(says("1, 2, 4, 8, 16"));
    }
    assert_eq!(tree.numvfs(PCI), "0\n");
    tree.run(&["vfs", "set", "8"])
        .success()
        .stdout(says("0 -> 8"));
    assert_eq!(tree.numvfs(PCI), "8\n");
    tree.run(&["vfs", "set", "8"])
        .success()
        .stdout(says("already"));
}

#[test]
fn set_respects_the_device() {
    let tree = Tree::new().gpu(PCI, 0);
    tree.write(&format!("{PCI}/sriov_totalvfs"), "4\n");
    tree.run(&["vfs", "set", "8"])
        .failure()
        .stderr(says("4 VFs at most"));
}

#[test]
fn guests_are_not_pulled_away() {
    let tree = Tree::new().gpu(PCI, 4);
    tree.run(&["vfs", "set", "0"])
        .failure()
        .stderr(says("VF 0 (0000:03:02.0) is active"));
    assert_eq!(tree.numvfs(PCI), "4\n");
    tree.run(&["vfs", "set", "0", "--force"]).success();
    assert_eq!(tree.numvfs(PCI), "0\n");
}

#[test]
fn stats() {
    let tree = Tree::new().gpu(PCI, 2);
    tree.run(&["stats"])
        .success()
        .stdout(says("lost_irqs").and(says("PF")).and(says("VF1")));
    let one = tree.json(&["--json", "stats", "--vf", "1"]);
    assert_eq!(one["vfs"].as_array().unwrap().len(), 1);
    assert_eq!(one["vfs"][0]["stats"]["run_ns"], 2000);
    tree.run(&["stats", "--vf", "2"])
        .failure()
        .stderr(says("has no VF 2"));
}

#[test]
fn top() {
    let tree = Tree::new().gpu(PCI, 2);
    tree.run(&["top", "--once"])
        .success()
        .stdout(says("33.33 %").and(says("66.67 %")));
    let line = tree.json(&["--json", "top", "-n", "1", "-i", "0.05"]);
    assert_eq!(line["vfs"][0]["run_ns"], 0);
    assert_eq!(line["vfs"][0]["share"], Value::Null);
    tree.run(&["top", "-i", "0"])
        .failure()
        .stderr(says("0.05 to 3600"));
}

#[test]
fn missing_attributes_are_tolerated() {
    let tree = Tree::new();
    fs::create_dir_all(tree.driver().join(PCI)).unwrap();
    assert!(Path::new(&tree.driver()).exists());
    for args in [
        &["list"][..],
        &["show"],
        &["vfs", "list"],
        &["stats"],
        &["top", "--once"],
    ] {
        tree.run(args).success();
    }
}

#[test]
fn orders_are_written_where_they_belong() {
    let tree = Tree::new().gpu(PCI, 4);
    let read = |at: &str| fs::read_to_string(tree.driver().join(PCI).join(at)).unwrap();
    tree.run(&["pause", "--vf", "2"])
        .success()
        .stdout(says("VF 2"));
    assert_eq!(read("sriov_admin/vf3/control"), "pause\n");
    assert_eq!(read("sriov_admin/vf2/control"), "running\n");
    let json = tree.json(&["resume", "--vf", "2", "--json"]);
    assert_eq!(json["vf"], 2);
    assert_eq!(json["control"], "resume");
    tree.run(&["reset", "--vf", "0"]).success();
    assert_eq!(read("sriov_admin/vf1/control"), "reset\n");
    assert_eq!(read("gim/control"), "running\n");
    tree.run(&["pause"]).success().stdout(says(PCI));
    assert_eq!(read("gim/control"), "pause\n");
    let json = tree.json(&["resume", "--json"]);
    assert_eq!(json["gpu"], PCI);
    assert!(json["vf"].is_null());
    assert_eq!(json["state"], "running");
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let tree = Tree::new().gpu(PCI, 2);
    tree.run(&["pause", "--vf", "2"])
        .failure()
        .stderr(says("no VF 2"));
    // A reset of everything is nothing to order by forgetting an argument.
    tree.run(&["reset"]).failure().code(2);
}

#[test]
fn what_is_no_module_replaces_nothing() {
    let tree = Tree::new().gpu("0000:01:00.0", 4);
    let file = tree.path().join("gim.ko.xz");
    fs::write(&file, b"\xfd7zXZ").unwrap();
    for (path, why) in [
        (file.as_path(), "is no kernel module"),
        (Path::new("/nonexistent/gim.ko"), "cannot read"),
    ] {
        tree.command()
            .arg("upgrade")
            .arg(path)
            .assert()
            .failure()
            .stderr(predicate::str::contains(why));
    }
    assert!(!tree.driver().join("0000:01:00.0/gim/handover").exists());
}
