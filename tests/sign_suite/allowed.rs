//! Lines of allowed signers and revoked keys: what ssh-keygen makes of them, and what we do.

use std::fs;

use autoxen::sign::{Namespace, Refusal, Signers};

use crate::keys::{minisign_key, public, ssh_key, ssh_verify};
use crate::site::{Site, run};

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Both accept the signature.
    Accepted,
    /// Both refuse it; we by this rule.
    Refused(&'static str),
    /// Both refuse it; the line is an error here.
    BadLine,
    /// ssh-keygen is content, and we refuse the line: why.
    Stricter(&'static str),
}

use Fate::{Accepted, BadLine, Refused, Stricter};

/// A site with a signed manifest, and the key's public half.
fn signed(site: &Site) -> String {
    site.write("root.img", "bytes");
    let key = ssh_key(site, "key", &["-t", "ed25519"], "");
    site.succeeds(&["sign", "root.img", "--key", "key"]);
    public(&key)
}

fn ours(site: &Site, allowed: &str, revoked: Option<&str>) -> Result<Result<(), Refusal>, String> {
    let revoked = revoked.map(|text| (text.as_bytes(), "revoked"));
    let signers =
        Signers::parse(allowed.as_bytes(), "signers", revoked).map_err(|e| e.to_string())?;
    let message = fs::read(site.path("root.img.manifest")).unwrap();
    let signature = fs::read(site.path("root.img.manifest.sig")).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let verdict = signers.verify(Namespace::Image, &message, &signature, now.as_secs() as i64);
    Ok(verdict.and_then(|signer| signer.must_match(&["alice@site".into()])))
}

#[test]
fn lines_mean_what_they_mean_to_ssh_keygen() {
    let site = Site::new();
    let key = signed(&site);
    let other = public(&ssh_key(&site, "other", &["-t", "ed25519"], ""));
    let minisign = minisign_key(&site);
    let (kind, base64) = key.split_once(' ').unwrap();
    let short = &key[..key.len() - 1];
    let cases: &[(String, Fate)] = &[
        (format!("alice@site {key}\n"), Accepted),
        (format!("alice@site {key}"), Accepted),
        (format!("alice@site {key} with a comment\n"), Accepted),
        (format!("alice@site {key}\r\n"), Accepted),
        (format!("  alice@site \t {key}\n"), Accepted),
        (format!("# comment\n\n   \nalice@site {key}\n"), Accepted),
        (format!("\"alice@site\" {key}\n"), Accepted),
        (format!("bob@site,alice@site {key}\n"), Accepted),
        (format!("alice@site, {key}\n"), Accepted),
        (format!("a*e@s?te {key}\n"), Accepted),
        (format!("* {key}\n"), Accepted),
        (format!("alice@site,!bob@site {key}\n"), Accepted),
        (format!("!alice@site,* {key}\n"), Refused("wrong signer")),
        (format!("*,!alice@site {key}\n"), Refused("wrong signer")),
        (format!("*,!alice@site {key}\n*,!bob@site {key}\n"), Accepted),
        (format!("Alice@site {key}\n"), Refused("wrong signer")),
        (format!("alice@site {other}\n"), Refused("unknown key")),
        (format!("alice@site {other}\nalice@site {key}\n"), Accepted),
        (String::new(), Refused("unknown key")),
        (format!("alice@site namespaces=\"autoxen-image\" {key}\n"), Accepted),
        (format!("alice@site namespaces=\"autoxen-image\"\t{key}\n"), Accepted),
        (format!("alice@site NameSpaces=\"file,autoxen-*\" {key}\n"), Accepted),
        (format!("alice@site namespaces=\"a\\\"b,autoxen-image\" {key}\n"), Accepted),
        (format!("alice@site namespaces=\"file\" {key}\n"), Refused("wrong namespace")),
        (format!("alice@site namespaces=\"\" {key}\n"), Refused("wrong namespace")),
        (
            format!("alice@site namespaces=\"a*,!autoxen-image\" {key}\n"),
            Refused("wrong namespace"),
        ),
        (format!("alice@site valid-after=\"20200101\" {key}\n"), Accepted),
        (format!("alice@site valid-before=\"20990101\" {key}\n"), Accepted),
        (format!("alice@site valid-before=\"20990101Z\" {key}\n"), Accepted),
        (format!("alice@site valid-before=\"20990101z\" {key}\n"), Accepted),
        (format!("alice@site valid-before=\"209901011200Z\" {key}\n"), Accepted),
        (format!("alice@site valid-before=\"20990101120000UTC\" {key}\n"), Accepted),
        (
            format!("alice@site valid-after=\"20200101\",valid-before=\"20990101Z\" {key}\n"),
            Accepted,
        ),
        (format!("alice@site valid-before=\"20200101\" {key}\n"), Refused("expired")),
        (format!("alice@site valid-before=\"20200101UTC\" {key}\n"), Refused("expired")),
        (format!("alice@site valid-after=\"20990101\" {key}\n"), Refused("not yet valid")),
        (format!("alice@site valid-before=\"20200101\" {key}\nalice@site {key}\n"), Accepted),
        (format!("alice@site cert-authority {key}\n"), Refused("unknown key")),
        (
            format!("alice@site Cert-Authority,namespaces=\"autoxen-image\" {key}\n"),
            Refused("unknown key"),
        ),
        (format!("alice@site cert-authority {key}\nalice@site {key}\n"), Accepted),
        (format!("alice@site namespaces=autoxen-image {key}\n"), BadLine),
        (format!("alice@site namespaces=\"autoxen-image {key}\n"), BadLine),
        (format!("alice@site namespaces=\"x\",namespaces=\"y\" {key}\n"), BadLine),
        (format!("alice@site foo=\"x\" {key}\n"), BadLine),
        (format!("alice@site no-touch-required {key}\n"), BadLine),
        (format!("alice@site valid-after=\"2020010125\" {key}\n"), BadLine),
        (format!("alice@site valid-before=\"20401301Z\" {key}\n"), BadLine),
        (format!("alice@site valid-before=\"19700101Z\" {key}\n"), BadLine),
        (format!("alice@site valid-before=\"\" {key}\n"), BadLine),
        (format!("alice@site valid-after=\"20300101\",valid-before=\"20200101\" {key}\n"), BadLine),
        (format!("alice@site valid-after=\"20200101\",valid-after=\"20200101\" {key}\n"), BadLine),
        (format!("alice@site valid-after=\"20200101\", {key}\n"), BadLine),
        (format!("alice@site valid-after=\"20200101\"valid-before=\"20990101Z\" {key}\n"), BadLine),
        (format!("alice@site ssh-rsa {base64}\n"), BadLine),
        (format!("alice@site {kind}\n"), BadLine),
        (format!("alice@site {short}\n"), BadLine),
        (format!("alice@site {base64}\n"), BadLine),
        ("alice@site\n".into(), BadLine),
        (format!("alice@site valid-after=\"20200231\" {key}\n"), Stricter("no such day")),
        (
            format!("alice@site valid-before=\"20990101235960Z\" {key}\n"),
            Stricter("no such second"),
        ),
        (
            format!("alice@site valid-after=\"20200101\",,valid-before=\"20990101Z\" {key}\n"),
            Stricter("an empty option"),
        ),
        (format!("alice@site garbage\nalice@site {key}\n"), Stricter("a line that cannot be read")),
        (format!("alice@site\nalice@site {key}\n"), Stricter("a line that cannot be read")),
    ];
    for (allowed, fate) in cases {
        site.write("signers", allowed);
        let theirs = ssh_verify(&site, "autoxen-image", "root.img.manifest", &[]);
        let expected = matches!(fate, Accepted | Stricter(_));
        assert_eq!(theirs.status.success(), expected, "ssh-keygen: {allowed:?}");
        match (ours(&site, allowed, None), fate) {
            (Ok(Ok(())), Accepted) => {}
            (Ok(Err(refusal)), Refused(rule)) => assert_eq!(refusal.rule(), *rule, "{allowed:?}"),
            (Err(message), BadLine | Stricter(_)) => {
                assert!(message.starts_with("signers:1: "), "{message}")
            }
            (found, _) => panic!("{allowed:?}: {found:?}, not {fate:?}"),
        }
    }
    // A line of minisign's is ours alone: ssh-keygen complains about it, and goes on to the next.
    let both = format!("alice@site minisign {minisign}\nalice@site {key}\n");
    site.write("signers", &both);
    assert!(ssh_verify(&site, "autoxen-image", "root.img.manifest", &[]).status.success());
    assert_eq!(ours(&site, &both, None), Ok(Ok(())));
}

#[test]
fn times_without_z_are_of_the_local_time_zone() {
    let site = Site::new();
    let key = signed(&site);
    // Half a day from now in UTC is past in a zone 14 hours ahead, and not so in one behind.
    let clock = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(13);
    let text = clock.strftime("%Y%m%d%H%M").to_string();
    site.write("signers", format!("alice@site valid-before=\"{text}\" {key}\n"));
    let verify = ["verify", "root.img", "--allowed-signers", "signers"];
    for (zone, expected) in [("XXX-14", false), ("XXX+11", true), ("UTC", true)] {
        let output = site.autoxen_with(&[("TZ", zone)], &verify);
        assert_eq!(
            output.status.success(),
            expected,
            "{zone}: {}",
            crate::site::text(&output.stderr)
        );
    }
}

#[test]
fn revoked_keys_are_revoked_for_both() {
    let site = Site::new();
    let key = signed(&site);
    let other = public(&ssh_key(&site, "other", &["-t", "ecdsa"], ""));
    let minisign = minisign_key(&site);
    let allowed = format!("alice@site {key}\n");
    site.write("signers", &allowed);
    // ssh-keygen, the rule of ours or a bad line.
    for (revoked, theirs, rule) in [
        (String::new(), true, Ok(None)),
        (format!("{other}\n"), true, Ok(None)),
        (format!("# none\n\n  {other} a comment\n"), true, Ok(None)),
        (format!("{key}\n"), false, Ok(Some("revoked"))),
        (format!("{other}\n{key} alice\n"), false, Ok(Some("revoked"))),
        (format!("{other}\n{key}"), false, Ok(Some("revoked"))),
        ("garbage\n".into(), false, Err(1)),
        (format!("{other}\nssh-ed25519 AAAA\n"), false, Err(2)),
        (format!("alice@site {key}\n"), false, Err(1)),
        // Theirs refuses every signature then; ours has a use for it.
        (format!("minisign {minisign}\n"), false, Ok(None)),
    ] {
        site.write("revoked", &revoked);
        let judged = ssh_verify(&site, "autoxen-image", "root.img.manifest", &["-r", "revoked"]);
        assert_eq!(judged.status.success(), theirs, "ssh-keygen: {revoked:?}");
        match (ours(&site, &allowed, Some(&revoked)), rule) {
            (Ok(found), Ok(rule)) => {
                assert_eq!(found.err().map(|e| e.rule()), rule, "{revoked:?}")
            }
            (Err(message), Err(nr)) => {
                assert!(message.starts_with(&format!("revoked:{nr}: ")), "{message}")
            }
            (found, _) => panic!("{revoked:?}: {found:?}"),
        }
    }
    // A binary list is refused by name.
    let [krl, public] = ["krl", "key.pub"].map(|name| site.path(name));
    run(
        "ssh-keygen",
        "openssh-client",
        &["-q", "-k", "-f", krl.to_str().unwrap(), public.to_str().unwrap()],
    );
    let verify = ["verify", "root.img", "--allowed-signers", "signers", "--revoked"];
    let stderr = site.fails(&[&verify[..], &["krl"]].concat());
    assert!(
        stderr.starts_with("error: krl:1: a binary revocation list (KRL) is not supported"),
        "{stderr}"
    );
    let stderr = site.fails(&[&verify[..], &["missing"]].concat());
    assert!(stderr.starts_with("error: cannot read `missing`"), "{stderr}");
}
