//! A site's policy, any text: it is refused in one line, or it holds a domain to what it says.

use autoxen::domain::bundle::Manifest;
use autoxen::domain::value::Mac;
use autoxen::domain::xl::{Boot, File, Parts};
use autoxen::policy::{Policy, Usage, User, rules};
use autoxen::visible::visible;

/// Domains that ask for something of each kind.
const DOMAINS: [&[u8]; 3] = [
    include_bytes!("../seeds/bundle_manifest/kernel.json"),
    include_bytes!("../seeds/bundle_manifest/firmware.json"),
    include_bytes!("../seeds/bundle_manifest/bootloader.json"),
];

/// Read `data` as a policy, and hold some domains to it.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(why) => {
            assert!(!visible(&why).contains(char::is_control), "{why:?}");
            return;
        }
    };
    serde_json::to_string(&policy).expect("a policy can be shown");
    users(&policy);
    for domain in DOMAINS {
        let domain = Manifest::parse(domain).expect("a manifest").domain;
        let mut parts = domain.parts().clone();
        allowed(&policy, &parts);
        let before = parts.networks.clone();
        let taken = [Mac::new("00:16:3e:00:00:00").expect("a mac")];
        rules::complete(&policy, &mut parts.networks, &taken, u64::MAX - 7);
        for (before, after) in before.iter().zip(&parts.networks) {
            // What a card says stays, and none gets an address that another has.
            assert!(before.mac.is_none() || before.mac == after.mac);
            assert!(before.bridge.is_none() || before.bridge == after.bridge);
            assert!(before.mac.is_some() || after.mac.as_ref() != Some(&taken[0]));
        }
        if rules::networks(&policy, &parts).is_ok() {
            assert!(parts.networks.len() as u64 <= policy.networks.cards.into());
            for network in &parts.networks {
                let bridge = network.bridge.as_ref().expect("one that is named");
                assert!(policy.networks.bridges.contains(bridge));
                let mac = network.mac.as_ref().expect("one that is given");
                assert!(policy.networks.macs.iter().any(|range| range.contains(mac)));
            }
        }
    }
    let much = Usage { domains: 3, memory: u64::MAX - 5, vcpus: 9, disk: 1 << 40 };
    let usage = rules::usage(&policy, Usage { domains: 1, ..Usage::default() }, much, much);
    // Nothing overflows into room that is not there.
    if usage.is_ok() {
        assert!(policy.user.memory >= much.memory && policy.all.memory >= much.memory);
        assert!(policy.user.domains >= 4 && policy.all.disk >= 1 << 40);
    }
}

fn users(policy: &Policy) {
    let user = |name: &str| User { uid: 1000, name: name.into(), groups: vec!["staff".into()] };
    for name in ["alice", "a,b c/é", "*", "@staff", ""] {
        let user = user(name);
        let prefix = policy.prefix_of(name);
        if rules::user(policy, &user).is_ok() {
            let named = |entry: &String| entry == "*" || entry == name || entry == "@staff";
            assert!(policy.allow.iter().any(named), "{name}");
            assert!(!policy.deny.iter().any(named), "{name}");
        }
        for domain in ["alice-fit", "fit", prefix.as_str()] {
            if rules::name(policy, &user, domain).is_ok() {
                assert!(domain.starts_with(&prefix) && domain.len() > prefix.len());
            }
        }
    }
}

/// A domain that passes has nothing that the policy does not name.
fn allowed(policy: &Policy, parts: &Parts) {
    if rules::domain(policy, parts).is_err() {
        return;
    }
    assert!(policy.guests.types.contains(&parts.guest_type));
    assert!(u64::from(parts.memory_mib.get()) * 1024 * 1024 <= policy.domain.memory);
    assert!(parts.vcpus.get() <= policy.domain.vcpus);
    assert!(parts.disks.len() as u64 <= policy.domain.disks.into());
    let is_below = |file: &File, directories: &[std::path::PathBuf]| match file {
        File::Bundle(_) => true,
        File::Host(path) => {
            directories.iter().any(|one| std::path::Path::new(path.as_str()).starts_with(one))
        }
    };
    for disk in &parts.disks {
        assert!(is_below(&disk.target, &policy.images.directories));
        assert!(disk.read_only || matches!(disk.target, File::Bundle(_)));
    }
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, .. } => {
            for file in std::iter::once(kernel).chain(ramdisk) {
                assert!(is_below(file, &policy.kernels.directories));
                assert!(policy.kernels.bundle || matches!(file, File::Host(_)));
            }
        }
        Boot::Bootloader { program, .. } => assert!(policy.guests.bootloaders.contains(program)),
        Boot::Firmware {} => {}
    }
}
