// SPDX-License-Identifier: GPL-2.0
//! `gimctl metrics`, printed and served.

mod tree;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use predicates::prelude::*;
use serde_json::Value;

use tree::{says, Tree, PCI};

#[test]
fn names_units_and_labels() {
    let tree = Tree::new().gpu(PCI, 2);
    tree.process(7, &["qemu", "-name", "we\"b\\1"], &["/dev/vfio/41"]);
    let out = tree.run(&["metrics"]).success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    for line in [
        "gim_up 1.0",
        "# TYPE gim_vf_run_seconds_total counter",
        "gim_vf_run_seconds_total{gpu=\"0000:03:00.0\",vf=\"1\"} 0.000002",
        "# TYPE gim_vf_max_gap_seconds gauge",
        "gim_vf_max_gap_seconds{gpu=\"0000:03:00.0\",vf=\"0\"} 0.018",
        "gim_gpu_brand_new_key_total{gpu=\"0000:03:00.0\"} 5.0",
        "gim_gpu_framebuffer_bytes{gpu=\"0000:03:00.0\"} 8589934592.0",
        "gim_vf_state{gpu=\"0000:03:00.0\",state=\"active\",vf=\"0\"} 1.0",
        "gim_vf_state{gpu=\"0000:03:00.0\",state=\"active\",vf=\"1\"} 0.0",
        "gim_vf_guest_fb_used_bytes{gpu=\"0000:03:00.0\",vf=\"0\"} 80740352.0",
        "gim_vf_guest_report{gpu=\"0000:03:00.0\",state=\"bad-checksum\",vf=\"1\"} 1.0",
        "gim_vf_info{driver=\"\",gpu=\"0000:03:00.0\",iommu_group=\"41\",pci=\"0000:03:02.1\",vf=\"1\",vm=\"we\\\"b\\\\1\"} 1.0",
    ] {
        assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
    }
    // What a guest calls itself would make a new series each time it changes it.
    assert!(!text.contains("amdgpu"));
}

/// The text format as its readers see it: every family once, with its help and type before its samples.
#[test]
fn the_text_is_well_formed() {
    let tree = Tree::new().gpu(PCI, 4).gpu("0000:04:00.0", 16);
    let out = tree.run(&["metrics"]).success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    let mut met = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty(), "{line}");
            assert!(!met.contains(&name), "{name} twice");
            met.push(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(met.last(), Some(&name));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (id, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(met.last().copied(), id.split('{').next(), "{line}");
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        }
    }
    assert!(met.len() > 15, "{met:?}");
}

#[test]
fn a_host_without_the_driver_is_down() {
    let tree = Tree::new();
    tree.run(&["metrics"])
        .success()
        .stdout(says("gim_up 0").and(says("gim_vf").not()));
}

#[test]
fn json() {
    let tree = Tree::new().gpu(PCI, 2);
    let families = tree.json(&["metrics", "--json"]);
    let run = families
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["name"] == "gim_vf_run_seconds")
        .unwrap();
    assert_eq!(run["kind"], "counter");
    assert_eq!(run["samples"][1]["labels"]["vf"], Value::from("1"));
    tree.run(&["metrics", "--json", "--listen", "127.0.0.1:0"])
        .failure()
        .stderr(says("--json"));
}

struct Served(Child, String);

impl Served {
    fn new(tree: &Tree) -> Self {
        let mut command = Command::new(tree.command().get_program());
        command.arg("--sysfs").arg(tree.path());
        command.arg("--proc").arg(tree.path().join("proc"));
        command.args(["metrics", "--listen", "127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("metrics at http://").unwrap();
        let address = address.strip_suffix("/metrics").unwrap().to_owned();
        Self(child, address)
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: gim\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn served() {
    let tree = Tree::new().gpu(PCI, 2);
    let served = Served::new(&tree);
    let answer = served.ask("GET /metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("Content-Type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(answer.contains("gim_vf_switches_total"), "{answer}");
    assert!(served.ask("GET /").starts_with("HTTP/1.1 404"));
    assert!(served.ask("POST /metrics").starts_with("HTTP/1.1 405"));
    // The driver goes, and comes back: whoever serves stays.
    std::fs::rename(tree.driver(), tree.path().join("away")).unwrap();
    assert!(served.ask("GET /metrics").contains("gim_up 0"));
    std::fs::rename(tree.path().join("away"), tree.driver()).unwrap();
    assert!(served.ask("GET /metrics").contains("gim_up 1"));
}

#[test]
fn an_address_that_is_taken() {
    let tree = Tree::new();
    let served = Served::new(&tree);
    tree.run(&["metrics", "--listen", &served.1])
        .failure()
        .stderr(says("cannot listen on"));
}
