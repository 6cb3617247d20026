//! The policy itself: who may write it, who may choose it, whom it lets in, what it counts.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use autoxen::policy::Policy;
use serde_json::Value;

use crate::lab::{Lab, POLICY, UID, USER, give};

fn autoxen(lab: &Lab, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(arguments)
        .current_dir(lab.theirs(""))
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_policy_that_others_may_write_is_none() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    fs::create_dir(lab.own("etc")).unwrap();
    let path = lab.own("etc/policy.toml");
    let text = lab.policy_text(POLICY);
    fs::write(&path, &text).unwrap();
    let run = |policy: &Path| {
        let policy = policy.to_str().unwrap();
        autoxen(&lab, &[], &["create", "bundle", "--policy", policy, "--as", USER, "--dry-run"])
    };
    assert!(run(&path).status.success(), "{:?}", run(&path));

    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (place, bad, good) in [
        ("etc/policy.toml", 0o666, 0o644),
        ("etc/policy.toml", 0o664, 0o644),
        ("etc", 0o777, 0o755),
        ("etc", 0o1777, 0o755),
    ] {
        mode(&lab.own(place), bad);
        let told = refusal(&run(&path));
        assert!(
            told.starts_with("error: refused by policy.trusted: others than root may write"),
            "{told}"
        );
        mode(&lab.own(place), good);
    }
    give(&path);
    assert!(refusal(&run(&path)).contains("belongs to user 5"));
    // Where the stranger writes, and by a link from there.
    fs::write(lab.theirs("policy.toml"), &text).unwrap();
    assert!(refusal(&run(&lab.theirs("policy.toml"))).contains("refused by policy.trusted"));
    fs::write(lab.own("etc/other.toml"), &text).unwrap();
    symlink(lab.own("etc/other.toml"), lab.theirs("link.toml")).unwrap();
    assert!(refusal(&run(&lab.theirs("link.toml"))).contains("refused by policy.trusted"));
    symlink("other.toml", lab.own("etc/link.toml")).unwrap();
    assert!(run(&lab.own("etc/link.toml")).status.success());
    // A misprint stops everything, and says where.
    fs::write(lab.own("etc/other.toml"), text.replace("memory", "memroy")).unwrap();
    let told = refusal(&run(&lab.own("etc/other.toml")));
    assert!(told.contains("other.toml: line 8, column 1: unknown field `memroy`"), "{told}");
    assert!(refusal(&run(&lab.own("etc/none.toml"))).contains("there is no policy"));
}

#[test]
fn nobody_but_root_chooses_policy_or_user() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let uid = UID.to_string();
    fs::write(lab.own("policy.toml"), lab.policy_text(POLICY)).unwrap();
    let policy = lab.own("policy.toml");
    let policy = policy.to_str().unwrap();
    for variable in ["SUDO_UID", "PKEXEC_UID"] {
        for arguments in [
            &["create", "bundle", "--policy", policy][..],
            &["create", "bundle", "--as", "root"],
            &["list", "--as", "root"],
            &["destroy", "x", "--policy", policy],
            &["wait", "x", "--as", "root"],
        ] {
            let told = refusal(&autoxen(&lab, &[(variable, &uid)], arguments));
            assert!(told.starts_with("error: refused by policy.root: --"), "{told}");
        }
    }
    let told = refusal(&autoxen(&lab, &[("DOAS_USER", USER)], &["list", "--as", "root"]));
    assert!(told.contains("--as is for root alone"), "{told}");
    // Whoever is not root does not even get that far. The build may lie where the stranger cannot look.
    let program = lab.own("autoxen");
    fs::copy(env!("CARGO_BIN_EXE_autoxen"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", &uid, "--clear-groups"])
        .arg(&program)
        .arg("list")
        .env("SUDO_UID", "0")
        .output();
    let told = refusal(&output.expect("setpriv (Debian: util-linux)"));
    assert!(told.starts_with("error: only root may act on domains"), "{told}");
}

#[test]
fn the_policy_says_who_and_from_where() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let home = lab.theirs("");
    let home = home.to_str().unwrap().trim_end_matches('/');
    for (policy, expected) in [
        ("version = 1", "refused by users.allow: user `games` is not among none"),
        (
            "version = 1\n[users]\nallow = [\"daemon\"]",
            "refused by users.allow: user `games` is not among `daemon`",
        ),
        (
            "version = 1\n[users]\nallow = [\"@daemon\"]",
            "refused by users.allow: user `games` is not among `@daemon`",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\ndeny = [\"games\"]",
            "refused by users.deny: user `games` is denied",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\ndeny = [\"@games\"]",
            "refused by users.deny: user `games` is denied",
        ),
        (
            "version = 1\n[users]\nallow = [\"@games\"]\n[bundles]\ndirectories = [\"/srv\"]",
            "refused by bundles.directories: ",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[limits.domain]\ndisks = 1",
            "refused by limits.domain.disks: 2, at most 1",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[limits.domain]\ndisk = \"9K\"",
            "refused by limits.domain.disk: 19.53 KiB, at most 9.00 KiB",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[limits.user]\nmemory = \"63M\"",
            "refused by limits.user.memory: 64.00 MiB, at most 63.00 MiB",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[limits.all]\nvcpus = 0",
            "refused by limits.all.vcpus: 1, at most 0",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[limits.all]\ndomains = 0",
            "refused by limits.all.domains: 1, at most 0",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[guests]\ntypes = [\"pvh\"]",
            "refused by guests.types: the guest is of type `pv`, there are `pvh`",
        ),
        (
            "version = 1\n[users]\nallow = [\"*\"]\n[names]\nprefix = \"vm-{user}-\"",
            "refused by names.prefix: ",
        ),
    ] {
        let refused = lab.check(policy, &bundle.path).expect_err(policy);
        assert!(refused.starts_with(expected), "{policy}: {refused}");
    }
    let there = format!(
        "version = 1\n[users]\nallow = [\"@games\"]\n[bundles]\ndirectories = [\"{home}\"]"
    );
    lab.check(&there, &bundle.path).expect("it lies there");
}

#[test]
fn a_card_gets_what_it_leaves_open_from_the_policy() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    bundle.manifest["domain"]["networks"] = serde_json::json!([{"mac": null, "bridge": null}]);
    let policy = format!(
        "{}macs = [\"00:16:3e:00:00:05\"]\n",
        POLICY.replace("[limits.domain]", "[limits.domain]\n#")
    );
    // The key belongs into [networks], which is the table before the limits.
    let policy = policy.replace(
        "bridges = [\"xenbr0\"]",
        "bridges = [\"xenbr0\", \"xenbr1\"]\nmacs = [\"00:16:3e:00:00:05\"]",
    );
    let policy = policy.trim_end_matches("macs = [\"00:16:3e:00:00:05\"]\n");
    let text = lab.check(policy, bundle.write()).expect("one is free");
    assert!(text.contains("\"mac=00:16:3e:00:00:05,bridge=xenbr0\""), "{text}");
    let site = lab.site(policy);
    lab.start(&site, &bundle.path, "games-a").expect("the first has it");
    let refused = lab.start(&site, &bundle.path, "games-b").expect_err("there is but one");
    assert_eq!(refused, "refused by networks.macs: a card has no address, and none is free");
    bundle.manifest["domain"]["networks"][0]["mac"] = "00:16:3e:00:00:05".into();
    bundle.write();
    let refused = lab.start(&site, &bundle.path, "games-b").expect_err("it is taken");
    assert_eq!(refused, "refused by networks.macs: another card has the address 00:16:3e:00:00:05");
}

/// `schema/policy.schema.json` and the program take and refuse the same.
#[test]
fn the_schema_of_policies_says_what_the_program_says() {
    let judge = "import json, sys, tomllib, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for text in json.load(sys.stdin):
    try:
        print('yes' if validator.is_valid(tomllib.loads(text)) else 'no')
    except tomllib.TOMLDecodeError:
        print('no')
";
    let base = autoxen::policy::DEFAULT;
    let mut texts = vec![base.to_owned(), POLICY.to_owned()];
    // Each line of the default, bent.
    for (from, to) in [
        ("version = 1", "version = 2"),
        ("version = 1", "version = \"1\""),
        ("version = 1", ""),
        ("allow = []", "allow = \"*\""),
        ("allow = []", "allow = [\"alice\", \"@xen\", \"*\"]"),
        ("allow = []", "allow = [\"\"]"),
        ("allow = []", "allow = [\"@\"]"),
        ("allow = []", "allow = [\"a b\"]"),
        ("deny = []", "denied = []"),
        ("prefix = \"{user}-\"", "prefix = \"\""),
        ("prefix = \"{user}-\"", "prefix = \"a/b\""),
        ("prefix = \"{user}-\"", "prefix = \"{usr}-\""),
        ("directories = [\"/\"]", "directories = [\"home\"]"),
        ("directories = [\"/\"]", "directories = [\"/home/\"]"),
        ("directories = [\"/\"]", "directories = [\"/home/../etc\"]"),
        ("directories = [\"/\"]", "directories = [\"/home/..x/.y\"]"),
        ("digests = \"required\"", "digests = \"optional\""),
        ("digests = \"required\"", "digests = true"),
        ("bundle = true", "bundle = \"yes\""),
        ("types = [\"pv\", \"pvh\"]", "types = [\"hvm\"]"),
        ("types = [\"pv\", \"pvh\"]", "types = [\"PV\"]"),
        ("bootloaders = []", "bootloaders = [\"pygrub\", \"/usr/lib/xen/boot/pygrub\"]"),
        ("bootloaders = []", "bootloaders = [\"pvgrub\"]"),
        ("cards = 1", "cards = -1"),
        ("cards = 1", "cards = 4294967296"),
        ("bridges = []", "bridges = [\"xenbr0\"]"),
        ("bridges = []", "bridges = [\"a,b\"]"),
        ("bridges = []", "bridges = [\"sixteen-letters-\"]"),
        ("-00:16:3e:7f:ff:ff", ""),
        ("-00:16:3e:7f:ff:ff", "-00:16:3e:7f:ff"),
        ("memory = \"4G\"", "memory = \"4GiB\""),
        ("memory = \"4G\"", "memory = \"4 G\""),
        ("memory = \"4G\"", "memory = 4"),
        ("vcpus = 4", "vcpus = 4.5"),
        ("[limits.all]", "[limits.site]"),
        ("bundles = \"optional\"", "bundles = \"required\""),
        ("stock_signers = []", "stock_signers = [1]"),
        ("xl = \"/usr/sbin/xl\"", "xl = \"xl\""),
        (
            "# [[signatures.images]]\n# directory = \"/srv/images\"\n# signers",
            "[[signatures.images]]\ndirectory = \"/srv/images\"\nsigners",
        ),
        (
            "# [[signatures.images]]\n# directory = \"/srv/images\"\n# signers",
            "[[signatures.images]]\nsigners",
        ),
    ] {
        let text = base.replace(from, to);
        assert_ne!(text, base, "{from}");
        texts.push(text);
    }
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/policy.schema.json");
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", judge, schema])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 (Debian: python3)");
    serde_json::to_writer(child.stdin.take().unwrap(), &Value::from(texts.clone())).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3-jsonschema judges: is it installed?");
    let verdicts = String::from_utf8(output.stdout).unwrap();
    assert_eq!(verdicts.lines().count(), texts.len());
    for (text, verdict) in texts.iter().zip(verdicts.lines()) {
        let ours = Policy::parse(text);
        assert_eq!(ours.is_ok(), verdict == "yes", "{ours:?}\n{text}");
    }
}
