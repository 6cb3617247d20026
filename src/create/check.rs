//! A bundle, held against every rule, and what becomes of it.

use std::path::PathBuf;

use super::bundle::{Bundle, Open};
use super::manifest::Manifest;
use super::outside::outside;
use super::state::{Counted, Record, Store, random_uuid};
use super::{Site, signature};
use crate::domain::value::{Mac, Name};
use crate::domain::xl::{Config, Domain};
use crate::epoch;
use crate::failure::{Failure, Result};
use crate::policy::{Passed, Refusal, Usage, rules};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The bundle: absolute.
    pub bundle: PathBuf,
    /// The domain's name, in place of the manifest's.
    pub name: Option<Name>,
    /// Give the name the user's prefix, where it lacks it.
    pub prefix: bool,
}

/// A bundle that passed every rule.
#[derive(Debug)]
pub struct Checked {
    /// What the domain is.
    pub record: Record,
    /// What xl will be told.
    pub config: Config,
    pub(super) passed: Vec<Passed>,
    pub(super) files: Vec<Open>,
    pub(super) store: Store,
    pub(super) counted: Counted,
}

impl Site {
    /// Hold the bundle against every rule.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self, ask: &Ask) -> Result<Checked> {
        let Self { caller, policy } = self;
        let user = &caller.user;
        let mut passed = vec![rules::user(policy, user)?];
        passed.push(rules::bundle(policy, &ask.bundle)?);
        let bundle = Bundle::open(&ask.bundle, caller)?;
        let signer = signature::of_bundle(policy, &bundle, epoch::clock()?, &mut passed)?;
        let manifest = Manifest::parse(&bundle.manifest)?;
        signature::of_stock(policy, signer.as_ref(), &manifest, &mut passed)?;

        let mut parts = manifest.domain.parts().clone();
        parts.name = self.name(ask, &parts.name)?;
        passed.push(rules::name(policy, user, parts.name.as_str())?);

        passed.extend(rules::domain(policy, &parts)?);

        let files = bundle.files(manifest.needed()?, caller)?;
        results(&manifest, &files)?;
        passed.extend(rules::files(policy, user, &bundle.facts(&files))?);
        let outside = outside(self, &parts, &mut passed)?;
        let boot = files.iter().filter(|open| !open.needed.is_disk);
        let boot = boot.map(|open| open.len).chain([outside.kernel]);
        passed.push(rules::kernel(policy, sum(boot))?);

        // From here on the lock is held, and nothing is touched that a stranger could make us wait for.
        let (store, counted) = self.count()?;
        let uuid = random_uuid()?;
        if !caller.is_root() || !policy.networks.bridges.is_empty() {
            let taken: Vec<Mac> =
                counted.domains.iter().flat_map(|(record, _)| record.macs.clone()).collect();
            let (seed, _) = uuid.as_u64_pair();
            rules::complete(policy, &mut parts.networks, &taken, seed);
            rules::addresses(&parts.networks, &taken)?;
            // Where root's policy says no word of networks, the host's defaults hold.
            passed.extend(rules::networks(policy, &parts)?);
        }
        // All that is copied counts, kernels too.
        let disk = sum(files.iter().map(|open| open.len).chain([outside.disks]));
        let wanted =
            Usage { domains: 1, memory: rules::memory(&parts), vcpus: parts.vcpus.get(), disk };
        let (own, all) = usage(&counted, user.uid);
        passed.extend(rules::usage(policy, wanted, own, all)?);

        let record = Record {
            name: parts.name.clone(),
            uuid,
            uid: user.uid,
            user: user.name.clone(),
            bundle: bundle.path.clone(),
            memory: wanted.memory,
            vcpus: wanted.vcpus,
            disk: wanted.disk,
            macs: parts.networks.iter().filter_map(|card| card.mac.clone()).collect(),
            writable: files
                .iter()
                .filter(|open| open.needed.is_writable)
                .map(|open| open.needed.name.clone())
                .collect(),
            results: manifest.results().cloned(),
            created: epoch::clock()?,
            was_started: false,
        };
        let config = Domain::new(parts)
            .and_then(|domain| domain.in_directory(&store.files(&record.name)))
            .map_err(|e| Refusal::new("bundle.manifest", e.to_string()))?
            .with_uuid(uuid);
        Ok(Checked { record, config, passed, files, store, counted })
    }

    /// The name that the domain will have.
    fn name(&self, ask: &Ask, manifests: &Name) -> Result<Name> {
        let name = ask.name.as_ref().unwrap_or(manifests);
        let prefix = self.policy.prefix_of(&self.caller.user.name);
        if !ask.prefix || self.caller.is_root() || name.as_str().starts_with(&prefix) {
            return Ok(name.clone());
        }
        Name::new(format!("{prefix}{name}")).map_err(|e| Failure::new(e.to_string()))
    }
}

/// The disk of results is one that the guest writes to.
fn results(manifest: &Manifest, files: &[Open]) -> Result<(), Refusal> {
    let Some(name) = manifest.results() else { return Ok(()) };
    if files.iter().any(|open| open.needed.is_writable && open.needed.name == *name) {
        return Ok(());
    }
    let why =
        format!("`{name}`, which is to hold the results, is no disk that the guest writes to");
    Err(Refusal::new("bundle.manifest", why))
}

/// All lengths together; what no number can hold is as much as one can.
fn sum(lengths: impl Iterator<Item = u64>) -> u64 {
    lengths.fold(0, u64::saturating_add)
}

/// What the user has, and what all have.
fn usage(counted: &Counted, uid: u32) -> (Usage, Usage) {
    counted.domains.iter().fold(Default::default(), |(own, all), (record, state)| {
        let usage = record.usage(*state);
        (if record.uid == uid { own.and(usage) } else { own }, all.and(usage))
    })
}
