//! Where signers, revoked keys, keys and passphrases are read from; and images that are links.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::keys::{public, ssh_key};
use crate::site::{Site, run, text};

const VERIFY: [&str; 4] = ["verify", "root.img", "--allowed-signers", "trust/signers"];

/// An image that alice has signed; the line of her key, and another key.
fn site() -> (Site, String, String) {
    let site = Site::new();
    site.write("root.img", "bytes");
    let key = public(&ssh_key(&site, "key", &["-t", "ed25519"], ""));
    let other = public(&ssh_key(&site, "other", &["-t", "ed25519"], ""));
    site.write("trust/signers", format!("alice@site {key}\n"));
    site.succeeds(&["sign", "root.img", "--key", "key"]);
    site.succeeds(&VERIFY);
    (site, key, other)
}

#[test]
fn keys_revoked_beside_the_file_that_is_named_stay_revoked() {
    let (site, key, other) = site();
    site.write("trust/revoked_signers", format!("{key}\n"));
    site.write("more", format!("{other}\n"));
    for more in [&[][..], &["--revoked", "more"]] {
        let stderr = site.fails(&[&VERIFY[..], more].concat());
        assert!(stderr.contains("revoked: the key SHA256:"), "{stderr}");
    }
    site.write("trust/revoked_signers", format!("{other}\n"));
    site.succeeds(&VERIFY);
    site.write("more", format!("{key}\n"));
    let stderr = site.fails(&[&VERIFY[..], &["--revoked", "more"]].concat());
    assert!(stderr.contains("revoked: the key SHA256:"), "{stderr}");
    // Without a directory in front.
    fs::rename(site.path("trust/signers"), site.path("signers")).unwrap();
    site.write("revoked_signers", format!("{key}\n"));
    let stderr = site.fails(&["verify", "root.img", "--allowed-signers", "signers"]);
    assert!(stderr.contains("revoked: the key SHA256:"), "{stderr}");
}

#[test]
fn a_link_to_revoked_keys_that_leads_nowhere_is_an_error() {
    let (site, ..) = site();
    symlink("nowhere", site.path("trust/revoked_signers")).unwrap();
    let stderr = site.fails(&VERIFY);
    assert!(stderr.starts_with("error: cannot read `trust/revoked_signers`: no such"), "{stderr}");
    let (own, variables) = (site.path("config/autoxen"), site.path("config"));
    fs::create_dir_all(&own).unwrap();
    fs::copy(site.path("trust/signers"), own.join("allowed_signers")).unwrap();
    let variables = [("XDG_CONFIG_HOME", variables.to_str().unwrap())];
    let verify = || site.autoxen_with(&variables, &["verify", "root.img"]);
    assert!(verify().status.success());
    symlink("nowhere", own.join("revoked_signers")).unwrap();
    let output = verify();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn nothing_but_regular_files_is_read() {
    let (site, ..) = site();
    for name in ["fifo", "trust/revoked_signers"] {
        run("mkfifo", "coreutils", &[site.path(name).to_str().unwrap()]);
    }
    ssh_key(&site, "locked", &["-t", "ed25519"], "open sesame");
    for args in [
        &VERIFY[..],
        &["verify", "root.img", "--allowed-signers", "fifo"],
        &["verify", "root.img", "--allowed-signers", "/dev/null"],
        &["verify", "root.img", "--allowed-signers", "key.pub", "--revoked", "fifo"],
        &["sign", "root.img", "--force", "--key", "fifo"],
        &["sign", "root.img", "--force", "--key", "/dev/zero"],
        &["sign", "root.img", "--force", "--key", "locked", "--passphrase-file", "fifo"],
        &["key", "show", "fifo"],
    ] {
        let output = Command::new("timeout")
            .args(["20", env!("CARGO_BIN_EXE_autoxen")])
            .args(args)
            .current_dir(site.path(""))
            .output()
            .expect("timeout (Debian: coreutils) runs");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        // `key.pub` is no file of signers.
        let is_told = stderr.contains("it is not a regular file") || args.contains(&"key.pub");
        assert!(is_told, "{args:?}: {stderr}");
    }
}

#[test]
fn a_link_to_an_image_is_signed_and_verified_where_the_image_lies() {
    let (site, ..) = site();
    fs::create_dir(site.path("links")).unwrap();
    symlink("../root.img", site.path("links/latest.img")).unwrap();
    // Beside the link lies what nobody is to believe.
    site.write("links/latest.img.manifest", "");
    site.write("links/latest.img.manifest.sig", "");
    site.succeeds(&["verify", "links/latest.img", "--allowed-signers", "trust/signers"]);
    fs::remove_file(site.path("root.img.manifest")).unwrap();
    let sign = ["sign", "links/latest.img", "--key", "key", "--force"];
    let manifest = site.path("").canonicalize().unwrap().join("root.img.manifest");
    assert_eq!(site.succeeds(&sign).lines().next(), manifest.to_str());
    site.succeeds(&VERIFY);
}

#[test]
fn keys_that_nobody_accepts_do_not_sign() {
    let (site, ..) = site();
    ssh_key(&site, "short", &["-t", "rsa", "-b", "1024"], "");
    let stderr = site.fails(&["sign", "root.img", "--key", "short", "--force"]);
    assert_eq!(stderr, "error: key `short`: an RSA key of 1024 bits is not supported\n");
}

#[test]
fn hints_say_whom_to_ask() {
    let (site, ..) = site();
    site.write("trust/signers", "");
    let stderr = site.fails(&VERIFY);
    assert!(stderr.contains("hint: get the maker's public key from the maker"), "{stderr}");
    fs::remove_file(site.path("root.img.manifest.sig")).unwrap();
    let stderr = site.fails(&VERIFY);
    assert!(stderr.contains("hint: ask its maker for IMAGE.manifest and its sig"), "{stderr}");
    // setsid takes the terminal away, where the tests have one.
    let output = Command::new("setsid")
        .args(["-w", env!("CARGO_BIN_EXE_autoxen"), "key", "new", "-o", "new"])
        .current_dir(site.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("setsid (Debian: util-linux) runs");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("--passphrase-file") && stderr.contains("--no-passphrase"), "{stderr}");
}

/// Python is the terminal, and types ^C.
const INTERRUPTS: &str = "\
import os, pty, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b''
while b'passphrase of' not in said:
    said += os.read(terminal, 1024)
# The prompt comes first; then ^C becomes a letter.
while termios.tcgetattr(terminal)[3] & termios.ISIG:
    pass
os.write(terminal, b'\\x03')
try:
    while os.read(terminal, 1024):
        pass
except OSError:
    pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn an_interruption_at_the_passphrase_is_one() {
    let (site, ..) = site();
    let key = ssh_key(&site, "locked", &["-t", "ed25519"], "open sesame");
    let [key, image] = [key, site.path("root.img")].map(|path| path.to_str().unwrap().to_owned());
    let autoxen = env!("CARGO_BIN_EXE_autoxen");
    let args = ["-c", INTERRUPTS, autoxen, "sign", &image, "--force", "--key", &key];
    assert_eq!(run("python3", "python3", &args).trim(), "130");
}
