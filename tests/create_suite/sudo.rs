//! The real thing: an ordinary user, a line in sudoers, and sudo. It runs in a mount namespace of its own, so that nothing
//! of it is seen by the rest of the machine.

use std::fs;
use std::process::{Command, Output};

use crate::lab::{Lab, USER};

/// The policy, store and sudoers of the lab in their places, then the script as the user.
const SCRIPT: &str = r#"
set -eu
lab=$1 home=$2 autoxen=$3 user=$4
mkdir -p /etc/autoxen /var/lib/autoxen /etc/sudoers.d
mount -t tmpfs -o mode=755 none /etc/autoxen
mount -t tmpfs -o mode=755 none /var/lib/autoxen
mount -t tmpfs -o mode=755 none /etc/sudoers.d
cp "$lab/policy.toml" /etc/autoxen/policy.toml
if [ -e "$lab/allowed" ]; then cp "$lab/allowed" /etc/autoxen/allowed; fi
install -m 0755 "$autoxen" /etc/autoxen/autoxen
printf '%s\n' "Defaults !lecture" \
  "$user ALL=(root) NOPASSWD: /etc/autoxen/autoxen create *, /etc/autoxen/autoxen wait *, /etc/autoxen/autoxen list, /etc/autoxen/autoxen list *, /etc/autoxen/autoxen destroy *" \
  > /etc/sudoers.d/autoxen
chmod 0440 /etc/sudoers.d/autoxen
visudo -cqf /etc/sudoers.d/autoxen
cd "$home"
exec setpriv --reuid "$user" --regid "$user" --init-groups -- sh -c "$5"
"#;

fn as_user(lab: &Lab, script: &str) -> Output {
    let own = lab.own("");
    let home = lab.theirs("");
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
        .arg(own.as_os_str())
        .arg(home.as_os_str())
        .args([env!("CARGO_BIN_EXE_autoxen"), USER, script])
        .output()
        .expect("unshare (Debian: util-linux)")
}

fn told(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn an_ordinary_user_starts_and_ends_a_domain_by_one_line_of_sudoers() {
    let lab = Lab::new();
    let bundle = lab.bundle("ready");
    bundle.write();
    let text = lab.policy_text("version = 1\n[users]\nallow = [\"@games\"]\n");
    let text = text.replace(&format!("{}/state", lab.own("").display()), "/var/lib/autoxen");
    let text = text.replace("state = ", "#state = ");
    fs::write(lab.own("policy.toml"), text).unwrap();
    let output = as_user(
        &lab,
        r#"
        set -e
        run() { sudo -n /etc/autoxen/autoxen "$@"; }
        id -un
        run create ready --dry-run | grep -c '^# '
        run create ready
        run list --json | grep '"state"'
        # The file is the user's, and what is done to it has no effect on the guest.
        echo changed > ready/xvda.img
        ! cat /var/lib/autoxen/domains/games-fit/files/xvda.img 2> /dev/null
        ! ls /var/lib/autoxen/domains 2> /dev/null
        run destroy games-fit
        run list --json | grep '"state"'
        run wait games-fit
        stat -c '%U %s' ready/results.img
        run list
        ! run create ready
        "#,
    );
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    let home = lab.theirs("");
    let told = told.replace(home.to_str().unwrap(), "HOME/");
    for expected in [
        "games\n",
        "games-fit\n",
        "\"state\": \"running\"",
        "note: `games-fit` is destroyed; `sudo autoxen wait games-fit` brings home what it has written",
        "\"state\": \"ended\"",
        "results.img\n",
        "games 5000\n",
        "error: refused by bundle.length: `xvda.img` has 8 bytes, the manifest says 5000",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
}

#[test]
fn the_line_of_sudoers_gives_nothing_else() {
    let lab = Lab::new();
    let bundle = lab.bundle("ready");
    bundle.write();
    let text = lab.policy_text("version = 1\n[users]\nallow = [\"games\"]\n");
    fs::write(lab.own("policy.toml"), text).unwrap();
    fs::write(lab.theirs("policy.toml"), "version = 1\n[users]\nallow = [\"*\"]\n").unwrap();
    let closed = lab.own("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("manifest.json"), "{}").unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for (what, command, expected) in [
        (
            "another policy",
            "create ready --policy policy.toml",
            "refused by policy.root: --policy is for root alone",
        ),
        (
            "another policy, before",
            "create --policy=/etc/autoxen/policy.toml ready",
            "refused by policy.root",
        ),
        (
            "another user",
            "create ready --as root",
            "refused by policy.root: --as is for root alone",
        ),
        ("another user, by variable", "create ready --name daemon-x", "refused by names.prefix"),
        (
            "a bundle that root has closed",
            &*format!("create {}", closed.display()),
            "permission denied",
        ),
        ("what is none of the verbs", "image ls x", "a password is required"),
        (
            "a verb that runs a command",
            "run job.xml -o out --launcher id",
            "a password is required",
        ),
        ("the list of another", "list --as root", "refused by policy.root: --as"),
    ] {
        let script = format!(
            "SUDO_UID=0 DOAS_USER=root PKEXEC_UID=0 sudo -n /etc/autoxen/autoxen {command}"
        );
        let output = as_user(&lab, &script);
        let told = told(&output);
        assert!(!output.status.success() && told.contains(expected), "{what}: {told}");
    }
    // Nor does root's environment reach it.
    let script = "! sudo -n SUDO_UID=0 /etc/autoxen/autoxen create ready --as root";
    let output = as_user(&lab, script);
    assert!(told(&output).contains("not allowed"), "{}", told(&output));
}

/// A guest that leaves on its results disk what a runner would have.
const GUEST: &str = r#"#!/bin/sh
set -e
PATH=$PATH:/usr/sbin:/sbin
work=$(dirname "$0")
cd "$work"
id=$(sed -n 's/^  "id": "\(.*\)",$/\1/p' "$(cat bundle)/manifest.json")
printf '{"format":1,"id":"%s","start":1,"end":3,"finished":true,"reason":null}' "$id" > run.json
printf '{"format":1,"start":1,"end":2,"exit":5,"finished":true}' > job.json
printf 'mkdir 10-hello\nwrite run.json run.json\ncd 10-hello\nwrite job.json job.json\nwrite run.json stdout\n' > requests
debugfs -w -f requests "$1/xvdb.img" > /dev/null 2>&1
"#;

#[test]
fn a_user_goes_from_a_job_description_to_its_results_in_one_command() {
    let lab = Lab::new();
    let text = lab.policy_text("version = 1\n[users]\nallow = [\"games\"]\n");
    fs::write(lab.own("policy.toml"), text).unwrap();
    fs::write(lab.own("guest"), GUEST).unwrap();
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.own("guest"), runs).unwrap();
    fs::write(lab.own("bundle"), lab.theirs("kept").to_str().unwrap()).unwrap();
    fs::create_dir_all(lab.theirs("tree/etc")).unwrap();
    fs::create_dir_all(lab.theirs("tree/boot")).unwrap();
    fs::write(lab.theirs("tree/etc/fstab"), "/dev/xvda / ext4 defaults 0 1\n").unwrap();
    fs::write(lab.theirs("tree/boot/vmlinuz-6.1.0-9-amd64"), "kernel").unwrap();
    let job = "<xenmetaconfig><general><memory>64</memory><name>fit</name></general><imagefile>\
<filesystemtype>ext4</filesystemtype><mountpoint>/</mountpoint><blockdevice>/dev/xvda</blockdevice>\
<url>root.img</url></imagefile><job><command>echo hello</command></job><results size='8M'/></xenmetaconfig>";
    fs::write(lab.theirs("job.xml"), job).unwrap();
    let output = as_user(
        &lab,
        r#"
        PATH=$PATH:/usr/sbin:/sbin
        mke2fs -q -t ext4 -d tree root.img 16M
        status=0
        /etc/autoxen/autoxen run job.xml -o out --runner busybox --bundle kept || status=$?
        echo "status $status"
        ls out/10-hello
        sudo -n /etc/autoxen/autoxen list
        stat -c '%U' kept/xvdb.img
        "#,
    );
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    for expected in ["fit: finished in 2s, exit status 5", "status 5\n", "stdout\n", "games\n"] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
    assert!(!told.contains("NAME"), "nothing is left: {told}");
}

#[test]
fn the_sites_policy_asks_prepare_for_signatures_too() {
    let lab = Lab::new();
    let home = lab.theirs("");
    let home = home.to_str().unwrap().trim_end_matches('/');
    let text = lab.policy_text(&format!(
        "version = 1\n[users]\nallow = [\"games\"]\n[signatures]\nallowed_signers = \"/etc/autoxen/none\"\n\
         [[signatures.images]]\ndirectory = \"{home}/stock\"\nsigners = [\"release@*\"]\n"
    ));
    fs::write(lab.own("policy.toml"), &text).unwrap();
    fs::create_dir_all(lab.theirs("tree/etc")).unwrap();
    fs::create_dir_all(lab.theirs("tree/boot")).unwrap();
    fs::create_dir_all(lab.theirs("stock")).unwrap();
    crate::lab::give(&lab.theirs("stock"));
    fs::write(lab.theirs("tree/etc/fstab"), "/dev/xvda / ext4 defaults 0 1\n").unwrap();
    fs::write(lab.theirs("tree/boot/vmlinuz-6.1.0-9-amd64"), "kernel").unwrap();
    let job = "<xenmetaconfig><general><memory>64</memory></general><imagefile>\
<filesystemtype>ext4</filesystemtype><mountpoint>/</mountpoint><blockdevice>/dev/xvda</blockdevice>\
<url>stock/root.img</url></imagefile><job><command>true</command></job></xenmetaconfig>";
    fs::write(lab.theirs("job.xml"), job).unwrap();
    let script =
        "PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -t ext4 -d tree stock/root.img 16M > /dev/null
        ssh-keygen -q -t ed25519 -N '' -C '' -f key
        /etc/autoxen/autoxen sign stock/root.img --key key --creator release@here
        printf 'release@here %s\\n' \"$(cut -d' ' -f1,2 key.pub)\" > own
        /etc/autoxen/autoxen prepare job.xml -o ready --runner none --allowed-signers own";
    // There are no signers of the site's: that is no way round it.
    let output = as_user(&lab, script);
    assert!(!output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("/etc/autoxen/none"), "{}", told(&output));
    // The site's signers are others than the user's.
    fs::write(lab.own("allowed"), "").unwrap();
    let other = text.replace("/etc/autoxen/none", "/etc/autoxen/allowed");
    fs::write(lab.own("policy.toml"), other).unwrap();
    fs::remove_file(lab.theirs("key")).unwrap();
    let output = as_user(&lab, &script.replace("--key key", "--key key --force"));
    assert!(!output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("unknown key: SHA256:"), "{}", told(&output));
}
