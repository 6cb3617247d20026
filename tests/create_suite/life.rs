//! From start to end: what is handed to xl, what is counted, who may end what, and what comes home.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use autoxen::create::Ask;
use autoxen::create::state::State;
use autoxen::domain::value::Name;
use autoxen::progress::Progress;
use serde_json::json;

use crate::lab::{GID, Lab, POLICY, UID, USER, give};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn xl_gets_copies_that_only_root_reads_and_nothing_of_the_caller() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let policy = lab.own("policy.toml");
    fs::write(&policy, lab.policy_text(POLICY)).unwrap();
    let shell = format!(
        "umask 0; trap '' QUIT USR1 CHLD; ulimit -S -f 1000; ulimit -S -s 1024; ulimit -S -n 20; exec {} create bundle --policy {} --as {USER} --json",
        env!("CARGO_BIN_EXE_autoxen"),
        policy.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &shell])
        .current_dir(lab.theirs(""))
        .envs([
            ("EVIL", "1"),
            ("PATH", "/tmp/evil:/usr/bin:/bin"),
            ("LD_LIBRARY_PATH", "/tmp/evil"),
            ("BASH_ENV", "/tmp/evil"),
            ("XL_CONFIG", "/tmp/evil"),
            ("SOURCE_DATE_EPOCH", "1"),
            ("HOME", "/tmp/evil"),
            ("IFS", "/"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["name"], "games-fit");
    assert!(record["created"].as_i64().unwrap() > 1_700_000_000, "the clock's, not the caller's");

    let read = |name: &str| fs::read_to_string(lab.own(name)).unwrap();
    let mut variables: Vec<String> = read("env")
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned()))
        // The shell that plays xl makes these itself.
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str()))
        .collect();
    variables.sort();
    assert_eq!(variables, ["HOME", "LC_ALL", "PATH"]);
    assert!(!read("env").contains("evil"));
    assert_eq!(read("pwd"), "/\n");
    assert_eq!(read("umask").trim_start_matches('0'), "77\n");
    assert_eq!(read("fsize"), "unlimited\n");
    // SIGQUIT is the third bit, SIGUSR1 the tenth; what the shell that plays xl ignores by itself is neither.
    for line in read("signals").lines() {
        let bits = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(bits & (1 << 2 | 1 << 9 | 1 << 16 | 1 << 19), 0, "{line}");
    }
    let stack = read("limits");
    let stack = stack.lines().find(|line| line.starts_with("Max stack size")).unwrap();
    assert!(stack.contains("8388608"), "{stack}");
    assert_eq!(read("nice"), "0\n");

    let directory = lab.own("state/domains/games-fit");
    let configuration = directory.join("domain.cfg");
    assert_eq!(read("arguments"), format!("create\n{}\n", configuration.display()));
    let text = fs::read_to_string(&configuration).unwrap();
    assert!(!text.contains(lab.theirs("").to_str().unwrap()), "no path of the stranger's: {text}");
    for (path, mode) in [
        ("", 0o700),
        ("files", 0o700),
        ("files/xvda.img", 0o600),
        ("files/vmlinuz", 0o600),
        ("domain.cfg", 0o600),
        ("record.json", 0o600),
    ] {
        let found = fs::metadata(directory.join(path)).unwrap();
        assert_eq!((found.uid(), found.permissions().mode() & 0o7777), (0, mode), "{path}");
    }
    // What its owner writes from here on is another file.
    fs::write(bundle.at("xvda.img"), "evil").unwrap();
    assert_eq!(fs::read(directory.join("files/xvda.img")).unwrap(), [3; 5000]);
}

#[test]
fn results_come_home_as_the_users_file_and_the_domain_is_forgotten() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    let fit = lab.start(&site, &bundle.path, "games-fit").unwrap();
    assert_eq!(site.state(&fit).unwrap(), State::Running);
    // The guest writes, and goes.
    for file in ["results.img", "xvda.img"] {
        fs::write(lab.own(&format!("state/domains/games-fit/files/{file}")), "written").unwrap();
    }
    lab.guest_ends();
    assert_eq!(site.state(&fit).unwrap(), State::Ended);

    let brought = site.take_home(&fit, false, None, Progress::new(true)).unwrap();
    assert_eq!(brought, [bundle.at("results.img")]);
    let found = fs::metadata(bundle.at("results.img")).unwrap();
    assert_eq!((found.uid(), found.gid()), (UID, GID));
    assert_eq!(fs::read(bundle.at("results.img")).unwrap(), b"written");
    assert_eq!(fs::read(bundle.at("xvda.img")).unwrap(), [3; 5000], "not a result");
    assert_eq!(lab.stored(), [""; 0]);
    assert!(site.state(&fit).is_err());
    let mut left: Vec<_> = fs::read_dir(&bundle.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["initrd.img", "manifest.json", "results.img", "vmlinuz", "xvda.img"]);
}

#[test]
fn what_comes_home_is_written_with_the_users_rights_alone() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    let fit = lab.start(&site, &bundle.path, "games-fit").unwrap();
    lab.guest_ends();
    // The bundle is swapped for a link to where the stranger may not write.
    fs::rename(&bundle.path, lab.theirs("elsewhere")).unwrap();
    symlink(lab.own("state"), &bundle.path).unwrap();
    let refused = site.take_home(&fit, false, None, Progress::new(true)).expect_err("a link");
    assert!(refused.to_string().starts_with("refused by bundle.links: "), "{refused}");
    let root = lab.own("state");
    let refused =
        site.take_home(&fit, false, Some(&root), Progress::new(true)).expect_err("root's");
    assert!(refused.to_string().contains("ermission denied"), "{refused}");
    // A link in the place of a file is replaced, not written through.
    let own = lab.theirs("elsewhere");
    fs::write(lab.theirs("precious"), "precious").unwrap();
    give(&lab.theirs("precious"));
    fs::remove_file(own.join("results.img")).unwrap();
    symlink(lab.theirs("precious"), own.join("results.img")).unwrap();
    site.take_home(&fit, false, Some(&own), Progress::new(true)).unwrap();
    assert_eq!(fs::read(lab.theirs("precious")).unwrap(), b"precious");
    assert!(fs::symlink_metadata(own.join("results.img")).unwrap().is_file());
}

#[test]
fn nobody_ends_or_sees_anothers_domain() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    let fit = lab.start(&site, &bundle.path, "games-fit").unwrap();
    let other = lab.site_of("daemon", &POLICY.replace("\"games\"", "\"games\", \"daemon\""));
    assert!(other.list().unwrap().domains.is_empty());
    for refused in [
        other.destroy(&fit, true).map(drop),
        other.state(&fit).map(drop),
        other.take_home(&fit, true, None, Progress::new(true)).map(drop),
    ] {
        assert_eq!(refused.expect_err("another's").to_string(), "you have no domain `games-fit`");
    }
    // A domain that is not ours at all, though it has the name.
    lab.guest_ends();
    fs::write(lab.own("domains"), "99999999-9999-9999-9999-999999999999 games-fit\n").unwrap();
    assert!(!site.destroy(&fit, false).unwrap(), "ours has ended");
    assert_eq!(fs::read_to_string(lab.own("domains")).unwrap().lines().count(), 1);
    assert!(site.destroy(&name("Domain-1"), false).is_err());
    // Root sees all.
    let root = lab.site_of("root", POLICY);
    let seen: Vec<String> = root
        .list()
        .unwrap()
        .domains
        .into_iter()
        .map(|(record, _)| record.name.to_string())
        .collect();
    assert_eq!(seen, ["games-fit"]);
    site.destroy(&fit, true).unwrap();
    assert_eq!(lab.stored(), [""; 0]);
}

#[test]
fn domains_are_counted_until_they_are_taken_home() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    for one in ["games-a", "games-b", "games-c"] {
        lab.start(&site, &bundle.path, one).unwrap();
    }
    let refused = lab.start(&site, &bundle.path, "games-d").expect_err("three are there");
    assert_eq!(refused, "refused by limits.user.domains: 4, at most 3");
    let refused = lab.start(&site, &bundle.path, "games-a").expect_err("there is one");
    assert_eq!(refused, "refused by limits.user.domains: 4, at most 3");
    // One that has ended has its disks still.
    lab.guest_ends();
    assert!(lab.start(&site, &bundle.path, "games-d").is_err());
    site.destroy(&name("games-b"), true).unwrap();
    let refused = lab.start(&site, &bundle.path, "games-c").expect_err("there is one");
    assert!(refused.starts_with("refused by names.unique: "), "{refused}");
    let refused = lab.start(&site, &bundle.path, "games-a").expect_err("it was not taken home");
    assert!(refused.starts_with("refused by names.unique: "), "{refused}");
    lab.start(&site, &bundle.path, "games-d").expect("there is room for one");
}

#[test]
fn what_fails_leaves_nothing() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    bundle.write();
    let whole = bundle.manifest.to_string();
    let site = lab.site(POLICY);
    fs::write(lab.own("refuses"), "").unwrap();
    let failed = lab.start(&site, &bundle.path, "games-fit").expect_err("xl refuses");
    assert_eq!(failed, "xl create failed: libxl: error: libxl_create.c:1: no memory");
    assert_eq!(lab.stored(), [""; 0]);
    fs::remove_file(lab.own("refuses")).unwrap();
    bundle.manifest["files"][3]["digest"] = json!(format!("tree-sha256:{}", "0".repeat(64)));
    bundle.write();
    let failed = lab.start(&site, &bundle.path, "games-fit").expect_err("another digest");
    assert!(
        failed.starts_with("refused by bundle.digest: `results.img` is tree-sha256:"),
        "{failed}"
    );
    assert_eq!(lab.stored(), [""; 0]);
    // One that xl has made all the same.
    bundle.manifest["files"] =
        serde_json::from_str::<serde_json::Value>(&whole).unwrap()["files"].clone();
    bundle.write();
    fs::write(lab.own("dies"), "").unwrap();
    let failed = lab.start(&site, &bundle.path, "games-fit").expect_err("xl is killed");
    assert_eq!(failed, "xl create failed: signal: 9 (SIGKILL)");
    assert_eq!(fs::read_to_string(lab.own("domains")).unwrap(), "", "it was ended");
    assert_eq!(lab.stored(), [""; 0]);
    // One that was killed in the middle.
    fs::create_dir_all(lab.own("state/domains/games-dead/files")).unwrap();
    fs::write(lab.own("state/domains/games-dead/files/xvda.img"), "half").unwrap();
    assert!(site.list().unwrap().domains.is_empty());
    assert_eq!(lab.stored(), [""; 0]);
}

#[test]
fn a_guest_between_two_starts_has_not_ended() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    // An xl that stays, as the real one does, and waits for the end.
    fs::write(lab.own("stays"), "").unwrap();
    let fit = lab.start(&site, &bundle.path, "games-fit").unwrap();
    lab.guest_ends();
    assert_eq!(site.state(&fit).unwrap(), State::Running, "xl would start it again");
    assert!(site.take_home(&fit, false, None, Progress::new(true)).is_err());
    let told = site.destroy(&fit, true).expect_err("there is nothing to destroy");
    assert_eq!(told.to_string(), "`games-fit` is between two starts");
    assert_eq!(lab.stored(), ["games-fit"]);
    fs::remove_file(lab.own("stays")).unwrap();
    while site.state(&fit).unwrap() == State::Running {
        std::thread::yield_now();
    }
    assert_eq!(site.state(&fit).unwrap(), State::Ended);
}

#[test]
fn what_grows_after_it_was_counted_is_refused() {
    for name in ["vmlinuz", "initrd.img", "xvda.img", "results.img"] {
        for listed in [true, false] {
            let lab = Lab::new();
            let mut bundle = lab.bundle("bundle");
            if !listed {
                bundle.manifest["files"] = json!([]);
            }
            bundle.write();
            let site = lab.site(&format!("{POLICY}[bundles]\ndigests = \"optional\"\n"));
            let ask = Ask { bundle: bundle.path.clone(), name: None, prefix: false };
            let checked = site.check(&ask).unwrap();
            // An initramfs may have another behind it.
            let mut file = fs::File::options().append(true).open(bundle.at(name)).unwrap();
            std::io::Write::write_all(&mut file, &[9; 30_000]).unwrap();
            let refused = checked.start(&site.policy, Progress::new(true)).expect_err(name);
            assert_eq!(
                refused.to_string(),
                format!("refused by bundle.length: `{name}` had 5000 bytes, and has 35000 now")
            );
            assert_eq!(lab.stored(), [""; 0]);
        }
    }
}

#[test]
fn what_cannot_be_read_in_the_store_is_in_nobodys_way() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    let fit = lab.start(&site, &bundle.path, "games-fit").unwrap();
    fs::create_dir(lab.own("state/domains/games-bad")).unwrap();
    fs::write(lab.own("state/domains/games-bad/record.json"), "{\"name\": ").unwrap();
    fs::write(lab.own("state/domains/stray"), "").unwrap();
    lab.start(&site, &bundle.path, "games-other").unwrap();
    site.destroy(&fit, true).unwrap();
    let broken = lab.site_of("root", POLICY).list().unwrap().broken;
    assert_eq!(broken.len(), 2, "{broken:?}");
    let refused = lab.start(&site, &bundle.path, "games-bad").expect_err("the name is taken");
    assert!(refused.starts_with("refused by names.unique: "), "{refused}");
}

#[test]
fn a_domain_is_taken_home_or_thrown_away_by_one_at_a_time() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let site = lab.site(POLICY);
    let fit = lab.start(&site, &bundle.path, "games-fit").unwrap();
    lab.guest_ends();
    assert_eq!(site.state(&fit).unwrap(), State::Ended);
    // Another that is at it holds the domain's lock.
    let lock = fs::File::open(lab.own("state/domains/games-fit/lock")).unwrap();
    lock.lock().unwrap();
    assert!(site.take_home(&fit, false, None, Progress::new(true)).is_err());
    assert!(site.destroy(&fit, true).is_err());
    assert_eq!(lab.stored(), ["games-fit"]);
    drop(lock);
    site.take_home(&fit, false, None, Progress::new(true)).unwrap();
    assert_eq!(lab.stored(), [""; 0]);
}
