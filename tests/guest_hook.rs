//! The scripts that start the runner of jobs, judged by shellcheck and read by the shells that guests have.

use std::path::Path;
use std::process::Command;

use autoxen::guest::hook::{Piece, Stock, pieces};
use autoxen::guest::init::Init;

const INITS: [Init; 8] = [
    Init::Systemd,
    Init::Upstart,
    Init::SysvRedHat,
    Init::SysvSuse,
    Init::SysvDebian,
    Init::OpenRc,
    Init::BusyBox,
    Init::Runit,
];

const READERS: [&[&str]; 4] = [
    &["shellcheck", "--shell=sh"],
    &["dash", "-n"],
    &["bash", "--posix", "-n"],
    &["busybox", "ash", "-n"],
];

fn judge(script: &Path) {
    for reader in READERS {
        let output = Command::new(reader[0])
            .args(&reader[1..])
            .arg(script)
            .output()
            .unwrap_or_else(|e| panic!("{} is missing: {e}", reader[0]));
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{reader:?}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn every_script_of_a_hook_is_clean_for_each_shell() {
    let home = tempfile::tempdir().unwrap();
    let mut judged = 0;
    for init in INITS {
        for has_etc_init in [false, true] {
            let stock = Stock { has_etc_init, ..Stock::default() };
            for piece in pieces(init, stock).unwrap() {
                let Piece::File { bytes, mode, .. } = piece else { continue };
                // What is executable is a script, and nothing else is.
                assert_eq!(bytes.starts_with(b"#!/"), mode == Some(0o755), "{init:?}");
                if mode == Some(0o755) {
                    let script = home.path().join("script");
                    std::fs::write(&script, bytes).unwrap();
                    judge(&script);
                    judged += 1;
                }
            }
        }
    }
    // Three of System V, OpenRC and runit, twice each; upstart without /etc/init.
    assert_eq!(judged, 11);
}
