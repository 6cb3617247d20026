//! A site of its own: policy, store and an xl where only root writes, and a bundle that belongs to a stranger.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use autoxen::create::caller::Caller;
use autoxen::create::{Ask, Site};
use autoxen::digest::tree;
use autoxen::domain::value::Name;
use autoxen::policy::Policy;
use autoxen::progress::Progress;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::judge;

/// The stranger: Debian's user `games`, number 5, group 60.
pub(crate) const USER: &str = "games";
pub(crate) const UID: u32 = 5;
pub(crate) const GID: u32 = 60;

/// A policy under which an ordinary bundle of [`USER`] is started.
pub(crate) const POLICY: &str = r#"
version = 1
[users]
allow = ["games"]
[networks]
bridges = ["xenbr0"]
[limits.domain]
memory = "512M"
[limits.user]
domains = 3
"#;

/// A site.
pub(crate) struct Lab {
    /// Where only root writes.
    root: TempDir,
    /// Where the stranger writes.
    home: TempDir,
}

impl Lab {
    /// A site, and the stranger's home.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests want to be root");
        // Everybody may write to /tmp, so that nothing of a site can be below it; and /root may be closed.
        let root = TempDir::with_prefix_in("autoxen-test.", "/opt").unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/create_suite/xl.sh"),
            root.path().join("xl"),
        )
        .unwrap();
        judge::compile(root.path());
        let home = TempDir::new().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        give(home.path());
        Self { root, home }
    }

    /// A path where only root writes.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A path of the stranger's.
    pub(crate) fn theirs(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The policy's text, with xl and store in this site.
    pub(crate) fn policy_text(&self, text: &str) -> String {
        let at = self.root.path().display();
        format!("{text}\n[paths]\nxl = \"{at}/xl\"\nstate = \"{at}/state\"\n")
    }

    /// The site under this policy, asked by the stranger.
    pub(crate) fn site(&self, policy: &str) -> Site {
        self.site_of(USER, policy)
    }

    /// The site under this policy, asked by `user`.
    pub(crate) fn site_of(&self, user: &str, policy: &str) -> Site {
        Site {
            caller: Caller::named(user).unwrap(),
            policy: Policy::parse(&self.policy_text(policy)).unwrap(),
        }
    }

    /// A bundle of the stranger's, and its manifest, which is not written yet.
    pub(crate) fn bundle(&self, name: &str) -> Bundle {
        let path = self.theirs(name);
        fs::create_dir(&path).unwrap();
        give(&path);
        let mut bundle = Bundle { path, manifest: Value::Null };
        bundle.manifest = json!({
            "format": 1,
            "id": "0123456789abcdef",
            "domain": {
                "name": "games-fit", "guest_type": "pv", "memory_mib": 64, "vcpus": 1,
                "boot": {"kernel": {
                    "kernel": {"bundle": "vmlinuz"}, "ramdisk": {"bundle": "initrd.img"}, "cmdline": "root=/dev/xvda ro",
                }},
                "disks": [
                    {"vdev": "xvda", "read_only": false, "target": {"bundle": "xvda.img"}},
                    {"vdev": "xvdb", "read_only": false, "target": {"bundle": "results.img"}},
                ],
                "networks": [],
                "restarts": false,
            },
            "files": [],
            "disks": [],
            "results": {"vdev": "xvdb", "file": "results.img", "label": "AUTOXEN_RES"},
        });
        for (name, fill) in [("vmlinuz", 1), ("initrd.img", 2), ("xvda.img", 3), ("results.img", 4)]
        {
            bundle.add(name, &vec![fill; 5000]);
        }
        bundle
    }

    /// Hold the bundle against the rules, its digests included.
    pub(crate) fn check(&self, policy: &str, bundle: &Path) -> Result<String, String> {
        let site = self.site(policy);
        let ask = Ask { bundle: bundle.to_owned(), name: None, prefix: false };
        let checked = site.check(&ask).map_err(|e| e.to_string())?;
        let (config, _) = checked.compare(Progress::new(true)).map_err(|e| e.to_string())?;
        Ok(config.to_string())
    }

    /// Start it; the domain's name.
    pub(crate) fn start(&self, site: &Site, bundle: &Path, name: &str) -> Result<Name, String> {
        let name = Name::new(name).unwrap();
        let ask = Ask { bundle: bundle.to_owned(), name: Some(name), prefix: false };
        let checked = site.check(&ask).map_err(|e| e.to_string())?;
        let record = checked.start(&site.policy, Progress::new(true)).map_err(|e| e.to_string())?;
        Ok(record.name)
    }

    /// The guest of the first domain ends.
    pub(crate) fn guest_ends(&self) {
        let domains = fs::read_to_string(self.own("domains")).unwrap();
        let rest: Vec<&str> = domains.lines().skip(1).map(|line| line.trim_end()).collect();
        fs::write(
            self.own("domains"),
            rest.iter().map(|line| format!("{line}\n")).collect::<String>(),
        )
        .unwrap();
    }

    /// Names of what is in the store.
    pub(crate) fn stored(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.own("state/domains")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A bundle in the making.
pub(crate) struct Bundle {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What its manifest will say.
    pub(crate) manifest: Value,
}

impl Bundle {
    /// A path in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Add a file, and list it.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) {
        let path = self.at(name);
        fs::write(&path, bytes).unwrap();
        give(&path);
        let file = fs::File::open(&path).unwrap();
        let digest = tree::of(&file, bytes.len() as u64, &|_| Ok(())).unwrap().to_string();
        let listed = json!({"name": name, "len": bytes.len(), "digest": digest});
        self.manifest["files"].as_array_mut().unwrap().push(listed);
    }

    /// Write the manifest.
    pub(crate) fn write(&self) -> &Path {
        self.write_text(&serde_json::to_string_pretty(&self.manifest).unwrap())
    }

    /// Write this in place of a manifest.
    pub(crate) fn write_text(&self, text: &str) -> &Path {
        fs::write(self.at("manifest.json"), text).unwrap();
        give(&self.at("manifest.json"));
        &self.path
    }
}

/// Give a file to the stranger.
pub(crate) fn give(path: &Path) {
    chown(path, Some(UID), Some(GID)).unwrap();
}
