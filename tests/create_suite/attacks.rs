//! What a bundle says that is to get out of its place: each is refused, by the rule that is meant for it, or is told to xl
//! as the plain text that it is.

use serde_json::{Value, json};

use crate::judge::{meaning, read_back};
use crate::lab::{Bundle, Lab, POLICY};

/// Set what the JSON pointer `at` of the manifest names.
fn set(bundle: &mut Bundle, at: &str, value: Value) {
    let (parent, key) = at.rsplit_once('/').unwrap();
    bundle.manifest.pointer_mut(parent).unwrap()[key] = value;
}

/// Each change of the manifest alone, and the rule that refuses it.
fn changes() -> Vec<(&'static str, Value, &'static str)> {
    const MANIFEST: &str = "bundle.manifest";
    let mut all = Vec::new();
    // Keys of xl that are a way to root on the host, or out of the guest.
    for key in [
        "device_model_override",
        "device_model_args",
        "device_model_args_hvm",
        "bootloader",
        "bootloader_args",
        "pci",
        "iomem",
        "ioports",
        "irqs",
        "p9",
        "seclabel",
        "driver_domain",
        "channel",
        "usbdev",
        "dtdev",
        "cpuid",
        "firmware",
        "bios_path_override",
        "device_tree",
        "init_seclabel",
        "extra",
        "kernel",
        "disk",
        "vif",
        "on_crash",
        "uuid",
    ] {
        all.push((key, json!("/bin/sh"), MANIFEST));
    }
    let mut all: Vec<(&'static str, Value, &'static str)> = all
        .into_iter()
        .map(|(key, value, rule)| (&*format!("/domain/{key}").leak(), value, rule))
        .collect();
    for key in [
        "script",
        "backend",
        "backendtype",
        "format",
        "colo-host",
        "direct-io-safe",
        "devtype",
        "discard",
    ] {
        all.push((&*format!("/domain/disks/0/{key}").leak(), json!("x"), MANIFEST));
    }
    for key in ["script", "type", "model", "backend", "ifname", "rate", "devid", "gatewaydev"] {
        let card = json!({"bridge": "xenbr0", "mac": null, key: "x"});
        all.push(("/domain/networks", json!([card]), MANIFEST));
    }
    all.extend([
        // Names.
        ("/domain/name", json!("Domain-0"), MANIFEST),
        ("/domain/name", json!("0"), MANIFEST),
        ("/domain/name", json!("7"), MANIFEST),
        ("/domain/name", json!(""), MANIFEST),
        ("/domain/name", json!("../x"), MANIFEST),
        ("/domain/name", json!("games-../../x"), MANIFEST),
        ("/domain/name", json!("games-a/b"), MANIFEST),
        ("/domain/name", json!("games-a\"b"), MANIFEST),
        ("/domain/name", json!("games-a\nb"), MANIFEST),
        ("/domain/name", json!("games-a\u{0}b"), MANIFEST),
        ("/domain/name", json!("games-a,b"), MANIFEST),
        ("/domain/name", json!("games-\u{202e}x"), MANIFEST),
        ("/domain/name", json!("gam\u{435}s-x"), MANIFEST),
        ("/domain/name", json!(format!("games-{}", "a".repeat(64))), MANIFEST),
        ("/domain/name", json!(["games-x"]), MANIFEST),
        ("/domain/name", json!("daemon-x"), "names.prefix"),
        ("/domain/name", json!("games-"), "names.prefix"),
        ("/domain/name", json!("Games-x"), "names.prefix"),
        // Numbers.
        ("/domain/memory_mib", json!(0), MANIFEST),
        ("/domain/memory_mib", json!(-1), MANIFEST),
        ("/domain/memory_mib", json!(4_294_967_296_u64), MANIFEST),
        ("/domain/memory_mib", json!(64.5), MANIFEST),
        ("/domain/memory_mib", json!("64"), MANIFEST),
        ("/domain/memory_mib", json!(513), "limits.domain.memory"),
        ("/domain/memory_mib", json!(4_294_967_295_u64), "limits.domain.memory"),
        ("/domain/vcpus", json!(0), MANIFEST),
        ("/domain/vcpus", json!(5), "limits.domain.vcpus"),
        ("/domain/vcpus", json!(4_294_967_295_u64), "limits.domain.vcpus"),
        ("/domain/restarts", json!("destroy\"\nkernel=\"/x"), MANIFEST),
        // What starts.
        ("/domain/guest_type", json!("hvm"), "guests.types"),
        ("/domain/guest_type", json!("pv\""), MANIFEST),
        (
            "/domain/boot",
            json!({"bootloader": {"program": "pygrub", "cmdline": null}}),
            "guests.bootloaders",
        ),
        (
            "/domain/boot",
            json!({"bootloader": {"program": "/bin/sh", "cmdline": "-c id"}}),
            "guests.bootloaders",
        ),
        ("/domain/boot", json!({"bootloader": {"program": "sh", "cmdline": null}}), MANIFEST),
        (
            "/domain/boot",
            json!({"bootloader": {"program": "/usr/bin/../../tmp/x", "cmdline": null}}),
            MANIFEST,
        ),
        ("/domain/boot", json!({"firmware": {}}), MANIFEST),
        ("/domain/boot/kernel/kernel", json!({"host": "/etc/shadow"}), "kernels.directories"),
        ("/domain/boot/kernel/ramdisk", json!({"host": "/etc/shadow"}), "kernels.directories"),
        ("/domain/boot/kernel/kernel", json!({"host": "/dev/mem"}), "kernels.directories"),
        ("/domain/boot/kernel/kernel", json!({"host": "vmlinuz"}), MANIFEST),
        ("/domain/boot/kernel/kernel", json!({"bundle": "../../etc/shadow"}), MANIFEST),
        ("/domain/boot/kernel/kernel", json!({"bundle": "/etc/shadow"}), MANIFEST),
        ("/domain/boot/kernel/kernel", json!({"bundle": ".."}), MANIFEST),
        ("/domain/boot/kernel/kernel", json!({"bundle": "manifest.json\u{0}"}), MANIFEST),
        ("/domain/boot/kernel/cmdline", json!("ro\nkernel=\"/x\""), MANIFEST),
        ("/domain/boot/kernel/cmdline", json!("ro\u{0}"), MANIFEST),
        ("/domain/boot/kernel/cmdline", json!("ro\u{85}x"), MANIFEST),
        ("/domain/boot/kernel/cmdline", json!("ro\r"), MANIFEST),
        // Disks.
        ("/domain/disks/0/target", json!({"host": "/dev/sda"}), "images.read_only"),
        ("/domain/disks/0/target", json!({"host": "/srv/images/root.img"}), "images.read_only"),
        ("/domain/disks/0/target", json!({"host": "/srv/a,script=x"}), "images.read_only"),
        ("/domain/disks/0/target", json!({"host": "phy:/dev/sda"}), MANIFEST),
        ("/domain/disks/0/target", json!({"host": "/dev/../etc/shadow"}), MANIFEST),
        ("/domain/disks/0/target", json!({"host": "/srv/a.img,"}), MANIFEST),
        ("/domain/disks/0/target", json!({"host": "/srv/a.img "}), MANIFEST),
        ("/domain/disks/0/target", json!({"host": "/srv/a\nformat=raw"}), MANIFEST),
        ("/domain/disks/0/target", json!({"host": "//srv/a.img"}), MANIFEST),
        ("/domain/disks/0/target", json!({"bundle": "xvda.img,script=x"}), MANIFEST),
        ("/domain/disks/0/format", json!("qcow2"), "images.raw"),
        ("/domain/disks/0/format", json!("vhd"), "bundle.manifest"),
        ("/domain/disks/0/target", json!({"bundle": "results.img"}), "bundle.file_twice"),
        ("/domain/disks/0/target", json!({"bundle": "vmlinuz"}), "bundle.file_twice"),
        ("/domain/disks/0/target", json!({"bundle": "none.img"}), "bundle.file"),
        ("/domain/disks/0/vdev", json!("xvda,script=x"), MANIFEST),
        ("/domain/disks/0/vdev", json!("xvdb"), MANIFEST),
        ("/domain/disks/0/vdev", json!("xvdb1"), MANIFEST),
        ("/domain/disks/0/vdev", json!("xvda0"), MANIFEST),
        ("/domain/disks/0/vdev", json!("xvda256"), MANIFEST),
        ("/domain/disks/0/read_only", json!("ro"), MANIFEST),
        // Networks.
        ("/domain/networks", json!([{"mac": null, "bridge": "eth0"}]), "networks.bridges"),
        ("/domain/networks", json!([{"mac": null, "bridge": "xenbr0,script=x"}]), MANIFEST),
        ("/domain/networks", json!([{"mac": null, "bridge": "../../proc"}]), MANIFEST),
        (
            "/domain/networks",
            json!([{"mac": "00:16:3f:00:00:01", "bridge": null}]),
            "networks.macs",
        ),
        ("/domain/networks", json!([{"mac": "ff:ff:ff:ff:ff:ff", "bridge": null}]), MANIFEST),
        (
            "/domain/networks",
            json!([{"mac": "00:16:3e:00:00:01,script=x", "bridge": null}]),
            MANIFEST,
        ),
        (
            "/domain/networks",
            json!([{"mac": null, "bridge": null}, {"mac": null, "bridge": null}]),
            "networks.cards",
        ),
        // The manifest's own.
        ("/format", json!(2), MANIFEST),
        ("/format", json!("1"), MANIFEST),
        ("/files/0/len", json!(4_999), "bundle.length"),
        ("/files/0/len", json!(-1), MANIFEST),
        ("/files/0/len", json!(18_446_744_073_709_551_615_u64), "bundle.length"),
        ("/files/0/name", json!("initrd.img"), MANIFEST),
        ("/files/0/name", json!("other"), "bundles.digests"),
        ("/files/0/name", json!("../vmlinuz"), MANIFEST),
        ("/files/0/digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e"), MANIFEST),
        ("/files/0/digest", json!(format!("tree-sha256:{}", "0".repeat(64))), "bundle.digest"),
        ("/files/2/digest", json!(format!("tree-sha256:{}", "0".repeat(64))), "bundle.digest"),
        ("/files", json!([]), "bundles.digests"),
        ("/results/file", json!("../../../etc/cron.d/x"), MANIFEST),
        ("/results/file", json!("vmlinuz"), MANIFEST),
        ("/results/file", json!("none.img"), MANIFEST),
    ]);
    all
}

#[test]
fn each_change_of_a_manifest_is_refused_by_the_rule_that_is_meant_for_it() {
    let lab = Lab::new();
    let good = lab.bundle("bundle");
    lab.check(POLICY, good.write()).expect("the bundle itself is right");
    let original = good.manifest.clone();
    let mut bundle = good;
    let all = changes();
    assert!(all.len() > 120, "{}", all.len());
    for (at, value, rule) in all {
        bundle.manifest = original.clone();
        set(&mut bundle, at, value.clone());
        let refused = lab.check(POLICY, bundle.write()).expect_err(at);
        assert!(refused.starts_with(&format!("refused by {rule}: ")), "{at} {value}: {refused}");
        assert!(!refused.contains(char::is_control), "{refused:?}");
    }
    assert_eq!(lab.stored(), [""; 0], "nothing was started");
}

#[test]
fn texts_that_are_no_manifest_are_refused() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    let whole = serde_json::to_string(&bundle.manifest).unwrap();
    let twice =
        whole.replacen("\"name\":\"games-fit\"", "\"name\":\"games-fit\",\"name\":\"games-b\"", 1);
    assert_ne!(twice, whole);
    let again = whole.replacen("\"format\":1", "\"format\":1,\"domain\":{}", 1);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["", "{}", "null", "\u{feff}{}", &whole[..whole.len() - 1], &twice, &again, &deep] {
        let refused = lab.check(POLICY, bundle.write_text(text)).expect_err(text);
        assert!(refused.starts_with("refused by bundle.manifest: "), "{refused}");
    }
}

#[test]
fn what_a_value_may_hold_is_told_to_xl_as_it_is() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    for line in [
        "root=/dev/xvda \" kernel=\"/etc/shadow",
        "'; device_model_override = '/bin/sh' #",
        "\\\" , ] on_crash=\\\"preserve",
        "${IFS}$(id)`id`",
        "\u{202e}\u{200b}é日本 = \\\\",
    ] {
        set(&mut bundle, "/domain/boot/kernel/cmdline", json!(line));
        let card = json!([{"mac": "00:16:3e:00:00:07", "bridge": "xenbr0"}]);
        set(&mut bundle, "/domain/networks", card);
        let text = lab.check(POLICY, bundle.write()).expect(line);
        let domain = serde_json::from_value(bundle.manifest["domain"].clone()).unwrap();
        let domain: autoxen::domain::xl::Domain = domain;
        let files = lab.own("state/domains/games-fit/files");
        let mut meant = meaning(domain.parts(), files.to_str().unwrap());
        let read = read_back(std::slice::from_ref(&text)).remove(0).expect("xl reads it");
        // The UUID is drawn anew each time.
        meant.strings.insert("uuid".into(), read.strings["uuid"].clone());
        assert_eq!(read, meant, "{text}");
    }
}
