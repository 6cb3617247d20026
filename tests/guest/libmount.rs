//! libmount as a judge: an fstab in, the entries that it reads out.

use std::path::Path;
use std::process::Command;

use autoxen::guest::fstab::Entry;

/// The entries of `table`, by findmnt(8).
pub(crate) fn read(table: &Path) -> Vec<Entry> {
    let columns = "SOURCE,TARGET,FSTYPE,OPTIONS,FREQ,PASSNO";
    let output = Command::new("findmnt")
        .args(["--list", "--json", "--output", columns, "--tab-file"])
        .arg(table)
        .output()
        .expect("findmnt runs: install the package util-linux");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "findmnt: {errors}");
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("findmnt prints JSON");
    // An empty field is null.
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("").as_bytes().to_vec();
    let number = |value: &serde_json::Value| {
        u32::try_from(value.as_u64().expect("a number")).expect("a small one")
    };
    let entry = |line: &serde_json::Value| Entry {
        source: text(&line["source"]),
        target: text(&line["target"]),
        fstype: text(&line["fstype"]),
        options: text(&line["options"]),
        freq: number(&line["freq"]),
        passno: number(&line["passno"]),
    };
    json["filesystems"].as_array().expect("a list").iter().map(entry).collect()
}
