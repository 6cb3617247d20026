//! The rules of a policy, each held against one thing that a domain wants. Pure: what is counted or looked up on the host
//! comes in as a value.
//!
//! A rule that holds is a [`Passed`], one that does not is the [`Refusal`] that ends the work. Both have the key of the
//! policy's file as their name.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use indicatif::BinaryBytes;

use super::model::{Limits, Need, Policy, is_below};
use crate::domain::value::Mac;
use crate::domain::xl::{Boot, Disk, DiskFormat, File, Network, Parts, word};
use crate::failure::Failure;
use crate::visible::visible;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The name.
    pub name: String,
    /// Names of all groups.
    pub groups: Vec<String>,
}

/// A rule that holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Passed {
    /// The key in the policy.
    pub rule: &'static str,
    /// What was wanted.
    pub wanted: String,
    /// What is allowed.
    pub allowed: String,
}

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The key in the policy, or the name of a check that no policy takes away.
    pub rule: &'static str,
    /// The value, and what would serve.
    pub why: String,
    /// A way out.
    pub hint: Option<String>,
}

impl Refusal {
    /// The rule `rule` does not hold.
    pub fn new(rule: &'static str, why: impl Into<String>) -> Self {
        Self { rule, why: why.into(), hint: None }
    }

    /// Show a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by {}: {}", self.rule, visible(&self.why))
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string()).any_hint(refusal.hint.as_deref())
    }
}

/// What a file of a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// Whether the manifest says its digest.
    pub has_digest: bool,
}

/// What domains take, counted or wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of domains.
    pub domains: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Length of all disks, in bytes.
    pub disk: u64,
}

impl Usage {
    /// Both together; what no number can hold is as much as one can.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            domains: self.domains.saturating_add(other.domains),
            memory: self.memory.saturating_add(other.memory),
            vcpus: self.vcpus.saturating_add(other.vcpus),
            disk: self.disk.saturating_add(other.disk),
        }
    }
}

/// A rule, held against one thing.
pub type Outcome = Result<Passed, Refusal>;

fn passed(rule: &'static str, wanted: impl fmt::Display, allowed: impl fmt::Display) -> Outcome {
    Ok(Passed { rule, wanted: wanted.to_string(), allowed: allowed.to_string() })
}

fn list(all: &[impl fmt::Display]) -> String {
    if all.is_empty() {
        return "none".into();
    }
    all.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
}

fn paths(all: &[std::path::PathBuf]) -> String {
    list(&all.iter().map(|path| path.display()).collect::<Vec<_>>())
}

fn is_named(user: &User, list: &[String]) -> bool {
    list.iter().any(|entry| match entry.strip_prefix('@') {
        Some(group) => user.groups.iter().any(|own| own == group),
        None => entry == "*" || *entry == user.name,
    })
}

/// Whether `user` may create domains at all.
pub fn user(policy: &Policy, user: &User) -> Outcome {
    if user.uid == 0 {
        return passed("users.allow", &user.name, "root");
    }
    if is_named(user, &policy.deny) {
        let why = format!("user `{}` is denied", user.name);
        return Err(Refusal::new("users.deny", why));
    }
    if !is_named(user, &policy.allow) {
        let why = format!("user `{}` is not among {}", user.name, list(&policy.allow));
        return Err(Refusal::new("users.allow", why).hint("ask the administrator of this host"));
    }
    passed("users.allow", &user.name, list(&policy.allow))
}

/// Whether the name begins as that of `user` must. Root's may be any.
pub fn name(policy: &Policy, user: &User, name: &str) -> Outcome {
    let prefix = policy.prefix_of(&user.name);
    if user.uid == 0 {
        return passed("names.prefix", name, "any, for root");
    }
    if name.len() <= prefix.len() || !name.starts_with(&prefix) {
        let why = format!("the domain is named `{name}`, names of yours begin with `{prefix}`");
        let hint = format!("`--name {prefix}{name}` gives it another");
        return Err(Refusal::new("names.prefix", why).hint(hint));
    }
    passed("names.prefix", name, prefix)
}

/// Whether a bundle may lie there.
pub fn bundle(policy: &Policy, path: &Path) -> Outcome {
    let allowed = &policy.bundles.directories;
    if !is_below(path, allowed) {
        let why = format!("`{}` lies in none of {}", path.display(), paths(allowed));
        return Err(Refusal::new("bundles.directories", why));
    }
    passed("bundles.directories", path.display(), paths(allowed))
}

/// Whether the files of a bundle belong to whom they may, and have their digests.
pub fn files(policy: &Policy, user: &User, files: &[BundleFile]) -> Result<Vec<Passed>, Refusal> {
    let owners: Vec<String> =
        policy.bundles.owners.iter().map(|owner| owner.replace("{user}", &user.name)).collect();
    for file in files {
        if !owners.iter().any(|owner| *owner == "*" || *owner == file.owner) {
            let why =
                format!("`{}` belongs to `{}`, not to {}", file.name, file.owner, list(&owners));
            return Err(Refusal::new("bundles.owners", why));
        }
        if policy.bundles.digests == Need::Required && !file.has_digest {
            let why = format!("the manifest has no digest of `{}`", file.name);
            let hint = "prepare the bundle again, without --no-digests";
            return Err(Refusal::new("bundles.digests", why).hint(hint));
        }
    }
    let with_digest = files.iter().filter(|file| file.has_digest).count();
    Ok(vec![
        passed("bundles.owners", format!("{} files", files.len()), list(&owners))?,
        passed(
            "bundles.digests",
            format!("{with_digest} of {} files have one", files.len()),
            match policy.bundles.digests {
                Need::Required => "required",
                Need::Optional => "optional",
            },
        )?,
    ])
}

/// Whether the domain is one that the policy lets start, whatever else there is.
pub fn domain(policy: &Policy, parts: &Parts) -> Result<Vec<Passed>, Refusal> {
    let mut all = vec![guest_type(policy, parts)?];
    all.extend(boot(policy, parts)?);
    all.extend(parts.disks.iter().map(|disk| image(policy, disk)).collect::<Result<Vec<_>, _>>()?);
    let limits = &policy.domain;
    let disks = u64::try_from(parts.disks.len()).unwrap_or(u64::MAX);
    all.push(at_most("limits.domain.memory", memory(parts), limits.memory, size)?);
    all.push(at_most("limits.domain.vcpus", parts.vcpus.get().into(), limits.vcpus.into(), count)?);
    all.push(at_most("limits.domain.disks", disks, limits.disks.into(), count)?);
    let cards = u64::try_from(parts.networks.len()).unwrap_or(u64::MAX);
    all.push(at_most("networks.cards", cards, policy.networks.cards.into(), count)?);
    Ok(all)
}

/// Whether its cards are on bridges that there are, with addresses that there are; [`complete`] comes before.
pub fn networks(policy: &Policy, parts: &Parts) -> Result<Vec<Passed>, Refusal> {
    let mut all = Vec::new();
    for network in &parts.networks {
        all.extend(card(policy, network)?);
    }
    Ok(all)
}

/// Memory of a domain, in bytes.
pub fn memory(parts: &Parts) -> u64 {
    u64::from(parts.memory_mib.get()) << 20
}

/// Whether kernel and ramdisk, which are `len` bytes long together, are not too long.
pub fn kernel(policy: &Policy, len: u64) -> Outcome {
    at_most("limits.domain.kernel", len, policy.domain.kernel, size)
}

/// Whether its disks are not too long, and whether there is room for it beside `own`, what the user has, and `others`, what
/// all users have.
pub fn usage(
    policy: &Policy,
    wanted: Usage,
    own: Usage,
    everybodys: Usage,
) -> Result<Vec<Passed>, Refusal> {
    let mut all = vec![at_most("limits.domain.disk", wanted.disk, policy.domain.disk, size)?];
    all.extend(together(USER, &policy.user, own.and(wanted))?);
    all.extend(together(ALL, &policy.all, everybodys.and(wanted))?);
    Ok(all)
}

const USER: [&str; 4] =
    ["limits.user.domains", "limits.user.memory", "limits.user.vcpus", "limits.user.disk"];
const ALL: [&str; 4] =
    ["limits.all.domains", "limits.all.memory", "limits.all.vcpus", "limits.all.disk"];

fn together(rules: [&'static str; 4], limits: &Limits, sum: Usage) -> Result<Vec<Passed>, Refusal> {
    let [domains, memory, vcpus, disk] = rules;
    Ok(vec![
        at_most(domains, sum.domains.into(), limits.domains.into(), count)?,
        at_most(memory, sum.memory, limits.memory, size)?,
        at_most(vcpus, sum.vcpus.into(), limits.vcpus.into(), count)?,
        at_most(disk, sum.disk, limits.disk, size)?,
    ])
}

fn count(number: u64) -> String {
    number.to_string()
}

fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

fn at_most(rule: &'static str, wanted: u64, limit: u64, shown: fn(u64) -> String) -> Outcome {
    let allowed = format!("at most {}", shown(limit));
    if wanted > limit {
        return Err(Refusal::new(rule, format!("{}, {allowed}", shown(wanted))));
    }
    passed(rule, shown(wanted), allowed)
}

fn guest_type(policy: &Policy, parts: &Parts) -> Outcome {
    let types: Vec<&str> = policy.guests.types.iter().map(|one| word(*one)).collect();
    let wanted = word(parts.guest_type);
    if !policy.guests.types.contains(&parts.guest_type) {
        let why = format!("the guest is of type `{wanted}`, there are {}", list(&types));
        return Err(Refusal::new("guests.types", why));
    }
    passed("guests.types", wanted, list(&types))
}

fn boot(policy: &Policy, parts: &Parts) -> Result<Vec<Passed>, Refusal> {
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, .. } => {
            std::iter::once(kernel).chain(ramdisk).map(|file| boot_file(policy, file)).collect()
        }
        Boot::Bootloader { program, .. } => {
            let allowed = list(&policy.guests.bootloaders);
            if !policy.guests.bootloaders.contains(program) {
                let why = format!("the guest starts by `{program}`, there are {allowed}");
                return Err(Refusal::new("guests.bootloaders", why)
                    .hint("leave out `bootloader`: the kernel is taken out of the image then"));
            }
            Ok(vec![passed("guests.bootloaders", program, allowed)?])
        }
        Boot::Firmware {} => Ok(Vec::new()),
    }
}

fn boot_file(policy: &Policy, file: &File) -> Outcome {
    match file {
        File::Bundle(name) if policy.kernels.bundle => passed("kernels.bundle", name, "allowed"),
        File::Bundle(name) => {
            let why = format!("the guest starts `{name}` of its bundle");
            let hint = format!("name one below {}", paths(&policy.kernels.directories));
            Err(Refusal::new("kernels.bundle", why).hint(hint))
        }
        File::Host(path) => {
            let allowed = &policy.kernels.directories;
            if !is_below(Path::new(path.as_str()), allowed) {
                let why = format!("`{path}` lies in none of {}", paths(allowed));
                return Err(Refusal::new("kernels.directories", why));
            }
            passed("kernels.directories", path, paths(allowed))
        }
    }
}

fn image(policy: &Policy, disk: &Disk) -> Outcome {
    // Its header names another file, which would be opened as root.
    if disk.format != DiskFormat::Raw {
        let why = format!("{} is in the format `{}`", disk.vdev, disk.format.word());
        return Err(Refusal::new("images.raw", why).hint("prepare the bundle without --overlay"));
    }
    let File::Host(path) = &disk.target else {
        return passed("images.directories", &disk.vdev, "a file of the bundle");
    };
    let allowed = &policy.images.directories;
    if !disk.read_only {
        let why = format!(
            "{} is `{path}`, outside of the bundle, and the guest may write to it",
            disk.vdev
        );
        return Err(Refusal::new("images.read_only", why)
            .hint("prepare the bundle without --in-place, or give the disk access=\"ro\""));
    }
    if !is_below(Path::new(path.as_str()), allowed) {
        let why = format!("`{path}` lies in none of {}", paths(allowed));
        return Err(Refusal::new("images.directories", why));
    }
    passed("images.directories", path, paths(allowed))
}

fn card(policy: &Policy, network: &Network) -> Result<Vec<Passed>, Refusal> {
    let bridges = &policy.networks.bridges;
    let allowed = list(bridges);
    let bridge = match &network.bridge {
        Some(bridge) if bridges.contains(bridge) => passed("networks.bridges", bridge, allowed),
        Some(bridge) => {
            let why = format!("a card is on the bridge `{bridge}`, there are {allowed}");
            Err(Refusal::new("networks.bridges", why))
        }
        None => {
            let why = format!("a card is on the host's own bridge, there are {allowed}");
            Err(Refusal::new("networks.bridges", why))
        }
    }?;
    let macs = list(&policy.networks.macs);
    let mac = match &network.mac {
        Some(mac) if policy.networks.macs.iter().any(|range| range.contains(mac)) => {
            passed("networks.macs", mac, macs)
        }
        Some(mac) => Err(Refusal::new(
            "networks.macs",
            format!("a card has the address {mac}, not of {macs}"),
        )),
        None => Err(Refusal::new("networks.macs", "a card has no address, and none is free")),
    }?;
    Ok(vec![bridge, mac])
}

/// What a card leaves open: the first bridge, and an address that is not among `taken`, looked for from `seed` on. There are
/// no more cards than may be: [`domain`] comes before, for a manifest may name so many that the lock would be held for long.
pub fn complete(policy: &Policy, networks: &mut [Network], taken: &[Mac], seed: u64) {
    let mut used: Vec<Mac> = networks.iter().filter_map(|card| card.mac.clone()).collect();
    used.extend_from_slice(taken);
    for network in networks {
        if network.bridge.is_none() {
            network.bridge = policy.networks.bridges.first().cloned();
        }
        if network.mac.is_none() {
            // As many tries as there can be others, and then some that no card can have.
            let tries = (0..).map(|step| seed.wrapping_add(step)).take(used.len() + 1024);
            let ranges = policy.networks.macs.iter();
            let free =
                ranges.flat_map(|range| tries.clone().filter_map(|index| range.at(index).ok()));
            network.mac = free.into_iter().find(|mac| !used.contains(mac));
            used.extend(network.mac.clone());
        }
    }
}

/// Whether no other domain has an address of this one's.
pub fn addresses(networks: &[Network], taken: &[Mac]) -> Result<(), Refusal> {
    let mut seen: BTreeSet<&Mac> = taken.iter().collect();
    for mac in networks.iter().filter_map(|network| network.mac.as_ref()) {
        if !seen.insert(mac) {
            let why = format!("another card has the address {mac}");
            return Err(
                Refusal::new("networks.macs", why).hint("leave out `mac`: a free one is given")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_get_addresses_that_nobody_has() {
        let policy = Policy::parse("version = 1\n[networks]\ncards = 2\nbridges = [\"xenbr0\"]")
            .expect("a policy");
        let mut cards = vec![Network::default(); 2];
        complete(&policy, &mut cards, &[], 0);
        assert!(cards.iter().all(|card| card.bridge.is_some()));
        let taken: Vec<Mac> = cards.iter().filter_map(|card| card.mac.clone()).collect();
        assert!(taken.len() == 2 && taken[0] != taken[1], "{taken:?}");
        let mut third = vec![Network::default()];
        complete(&policy, &mut third, &taken, 0);
        assert!(third[0].mac.as_ref().is_some_and(|mac| !taken.contains(mac)), "{third:?}");
    }
}
