//! What a policy says, key by key. The meaning of each key, and its default, is told in `default.toml` beside this file;
//! [`Policy::default`] is what that text says, so that the two cannot drift.

use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::mac::MacRange;
use crate::bytes::bytes;
use crate::domain::value::{Bootloader, Bridge};
use crate::xmf::model::GuestType;

/// The number of this format; a reader refuses one that it does not know.
const VERSION: u32 = 1;

/// A site's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Who may create domains: names, `@group`, `*`.
    pub allow: Vec<String>,
    /// Who may not.
    pub deny: Vec<String>,
    /// How the names of a user's domains begin, with `{user}` for the user's name.
    pub prefix: String,
    /// `[bundles]`.
    pub bundles: Bundles,
    /// `[images]`.
    pub images: Images,
    /// `[kernels]`.
    pub kernels: Kernels,
    /// `[guests]`.
    pub guests: Guests,
    /// `[networks]`.
    pub networks: Networks,
    /// `[limits.domain]`: for one domain; `domains` counts its disks there.
    pub domain: DomainLimits,
    /// `[limits.user]`.
    pub user: Limits,
    /// `[limits.all]`.
    pub all: Limits,
    /// `[signatures]`.
    pub signatures: Signatures,
    /// The program `xl`.
    pub xl: PathBuf,
    /// Where the disks of domains lie.
    pub state: PathBuf,
}

/// `[bundles]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bundles {
    /// Where they may lie.
    pub directories: Vec<PathBuf>,
    /// Whose files they may hold.
    pub owners: Vec<String>,
    /// Whether each file must have a digest.
    pub digests: Need,
}

/// Whether what is asked for must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// It must.
    Required,
    /// It is checked where it is there.
    Optional,
}

/// `[images]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Images {
    /// Where images lie that guests read there.
    pub directories: Vec<PathBuf>,
}

/// `[kernels]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kernels {
    /// Whether bundles bring their own.
    pub bundle: bool,
    /// Where others lie.
    pub directories: Vec<PathBuf>,
}

/// `[guests]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guests {
    /// Types that may be started.
    pub types: Vec<GuestType>,
    /// Boot loaders that the host runs for a guest.
    pub bootloaders: Vec<Bootloader>,
}

/// `[networks]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Networks {
    /// Cards of a domain, at most.
    pub cards: u32,
    /// Bridges.
    pub bridges: Vec<Bridge>,
    /// Addresses.
    pub macs: Vec<MacRange>,
}

/// `[limits.domain]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DomainLimits {
    /// Bytes of memory.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Number of disks.
    pub disks: u32,
    /// Length of all disks together, in bytes.
    pub disk: u64,
    /// Length of kernel and ramdisk together, in bytes.
    pub kernel: u64,
}

/// What several domains may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Number of domains.
    pub domains: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Length of all disks together, in bytes.
    pub disk: u64,
}

/// `[signatures]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signatures {
    /// Who signs.
    pub allowed_signers: PathBuf,
    /// Keys that no longer count; the file need not be there.
    pub revoked_signers: PathBuf,
    /// Whether each bundle is signed.
    pub bundles: Need,
    /// By whom.
    pub bundle_signers: Vec<String>,
    /// Who has signed the images that a bundle's disks were made from.
    pub stock_signers: Vec<String>,
    /// Directories whose images must be signed, and by whom.
    pub images: Vec<(PathBuf, Vec<String>)>,
}

impl Policy {
    /// Read a policy's text; what it leaves out is as in [`super::DEFAULT`].
    ///
    /// # Errors
    /// One line: where, what, and what would serve.
    pub fn parse(text: &str) -> Result<Self, String> {
        let base: PolicyText =
            toml::from_str(super::DEFAULT).expect("the default is tested to be a policy");
        let given: PolicyText = toml::from_str(text).map_err(|error| located(text, &error))?;
        given.over(base)
    }

    /// What holds for root itself where a site has said nothing: a domain's parts are checked, and nothing is limited.
    pub fn of_root() -> Self {
        let unlimited =
            Limits { domains: u32::MAX, memory: u64::MAX, vcpus: u32::MAX, disk: u64::MAX };
        let everywhere = vec![PathBuf::from("/")];
        let mut policy = Self::default();
        policy.prefix.clear();
        policy.images.directories.clone_from(&everywhere);
        policy.kernels.directories = everywhere;
        policy.guests.types = vec![GuestType::Pv, GuestType::Pvh, GuestType::Hvm];
        policy.domain = DomainLimits {
            memory: u64::MAX,
            vcpus: u32::MAX,
            disks: u32::MAX,
            disk: u64::MAX,
            kernel: u64::MAX,
        };
        (policy.user, policy.all) = (unlimited, unlimited);
        policy.networks.cards = u32::MAX;
        policy.bundles.owners = vec!["*".into()];
        policy.bundles.digests = Need::Optional;
        policy
    }

    /// How the names of the domains of `user` begin.
    pub fn prefix_of(&self, user: &str) -> String {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let user: String = user.chars().map(|c| if fits(c) { c } else { '-' }).collect();
        self.prefix.replace("{user}", &user)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::parse("version = 1").expect("the default is tested to be a policy")
    }
}

/// `line 12, column 3: unknown field …`, without the excerpt.
fn located(text: &str, error: &toml::de::Error) -> String {
    let what = error.message().lines().next().unwrap_or_default().to_owned();
    let Some(span) = error.span() else { return what };
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {what}")
}

impl Signatures {
    /// Whether anything must be signed.
    pub fn are_asked_for(&self) -> bool {
        self.bundles == Need::Required || !self.images.is_empty() || !self.stock_signers.is_empty()
    }
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    version: u32,
    #[serde(default)]
    users: UsersText,
    #[serde(default)]
    names: NamesText,
    #[serde(default)]
    bundles: BundlesText,
    #[serde(default)]
    images: ImagesText,
    #[serde(default)]
    kernels: KernelsText,
    #[serde(default)]
    guests: GuestsText,
    #[serde(default)]
    networks: NetworksText,
    #[serde(default)]
    limits: LimitsText,
    #[serde(default)]
    signatures: SignaturesText,
    #[serde(default)]
    paths: PathsText,
}

/// A table whose keys may each be left out.
macro_rules! table {
    ($name:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $(#[serde(default)] $key: Option<$kind>,)*
        }

        impl $name {
            /// What `self` says, else what `base` says.
            fn over(self, base: Self) -> Self {
                Self { $($key: self.$key.or(base.$key),)* }
            }
        }
    };
}

table!(UsersText { allow: Vec<Who>, deny: Vec<Who> });
table!(NamesText { prefix: Prefix });
table!(BundlesText { directories: Vec<Directory>, owners: Vec<Who>, digests: Need });
table!(ImagesText { directories: Vec<Directory> });
table!(KernelsText { bundle: bool, directories: Vec<Directory> });
table!(GuestsText { types: Vec<TypeText>, bootloaders: Vec<Bootloader> });
table!(NetworksText { cards: u32, bridges: Vec<Bridge>, macs: Vec<MacRange> });
table!(DomainText { memory: Size, vcpus: u32, disks: u32, disk: Size, kernel: Size });
table!(TogetherText { domains: u32, memory: Size, vcpus: u32, disk: Size });
table!(SignaturesText {
    allowed_signers: Directory,
    revoked_signers: Directory,
    bundles: Need,
    bundle_signers: Vec<String>,
    stock_signers: Vec<String>,
    images: Vec<SignedText>,
});
table!(PathsText { xl: Directory, state: Directory });

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    #[serde(default)]
    domain: DomainText,
    #[serde(default)]
    user: TogetherText,
    #[serde(default)]
    all: TogetherText,
}

/// `[[signatures.images]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedText {
    directory: Directory,
    signers: Vec<String>,
}

/// A guest type by xl's word for it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TypeText {
    Pv,
    Pvh,
    Hvm,
}

/// A text that passes a check when it is read.
macro_rules! checked_text {
    ($name:ident($inner:ty), $check:expr) => {
        #[derive(Clone, Debug)]
        struct $name($inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let check: fn(String) -> Result<$inner, String> = $check;
                check(String::deserialize(from)?).map(Self).map_err(de::Error::custom)
            }
        }
    };
}

checked_text!(Directory(PathBuf), |text| {
    let is_normal = text == "/"
        || text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    if is_normal && !text.contains(char::is_control) {
        Ok(text.into())
    } else {
        Err(format!(
            "`{}` is no absolute path without `.`, `..` and a trailing slash",
            text.escape_debug()
        ))
    }
});
checked_text!(Who(String), |text| {
    let name = text.strip_prefix('@').unwrap_or(&text);
    if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace() || c == ',') {
        return Err(format!("`{}` is no user and no `@group`", text.escape_debug()));
    }
    Ok(text)
});
checked_text!(Prefix(String), |text| {
    let rest = text.replace("{user}", "");
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if rest.chars().all(fits) && rest.len() <= 32 {
        Ok(text)
    } else {
        Err(format!(
            "`{}` cannot begin a domain's name: letters, digits, `_`, `.`, `-` and `{{user}}`",
            text.escape_debug()
        ))
    }
});
checked_text!(Size(u64), |text| bytes(&text));

impl PolicyText {
    /// What `self` says, else what `base` says, which has all keys.
    fn over(self, base: Self) -> Result<Policy, String> {
        const WHOLE: &str = "the default has every key";
        if self.version != VERSION {
            return Err(format!("version {} is not known, {VERSION} is", self.version));
        }
        let paths = |list: Vec<Directory>| list.into_iter().map(|one| one.0).collect::<Vec<_>>();
        let names = |list: Vec<Who>| list.into_iter().map(|one| one.0).collect::<Vec<_>>();
        let together = |given: TogetherText, base| {
            let all = given.over(base);
            Limits {
                domains: all.domains.expect(WHOLE),
                memory: all.memory.expect(WHOLE).0,
                vcpus: all.vcpus.expect(WHOLE),
                disk: all.disk.expect(WHOLE).0,
            }
        };
        let users = self.users.over(base.users);
        let bundles = self.bundles.over(base.bundles);
        let kernels = self.kernels.over(base.kernels);
        let guests = self.guests.over(base.guests);
        let networks = self.networks.over(base.networks);
        let domain = self.limits.domain.over(base.limits.domain);
        let signatures = self.signatures.over(base.signatures);
        let own = self.paths.over(base.paths);
        let types = guests.types.expect(WHOLE).into_iter().map(|word| match word {
            TypeText::Pv => GuestType::Pv,
            TypeText::Pvh => GuestType::Pvh,
            TypeText::Hvm => GuestType::Hvm,
        });
        let images = signatures.images.unwrap_or_default().into_iter();
        Ok(Policy {
            allow: names(users.allow.expect(WHOLE)),
            deny: names(users.deny.expect(WHOLE)),
            prefix: self.names.over(base.names).prefix.expect(WHOLE).0,
            bundles: Bundles {
                directories: paths(bundles.directories.expect(WHOLE)),
                owners: names(bundles.owners.expect(WHOLE)),
                digests: bundles.digests.expect(WHOLE),
            },
            images: Images {
                directories: paths(self.images.over(base.images).directories.expect(WHOLE)),
            },
            kernels: Kernels {
                bundle: kernels.bundle.expect(WHOLE),
                directories: paths(kernels.directories.expect(WHOLE)),
            },
            guests: Guests {
                types: types.collect(),
                bootloaders: guests.bootloaders.expect(WHOLE),
            },
            networks: Networks {
                cards: networks.cards.expect(WHOLE),
                bridges: networks.bridges.expect(WHOLE),
                macs: networks.macs.expect(WHOLE),
            },
            domain: DomainLimits {
                memory: domain.memory.expect(WHOLE).0,
                vcpus: domain.vcpus.expect(WHOLE),
                disks: domain.disks.expect(WHOLE),
                disk: domain.disk.expect(WHOLE).0,
                kernel: domain.kernel.expect(WHOLE).0,
            },
            user: together(self.limits.user, base.limits.user),
            all: together(self.limits.all, base.limits.all),
            signatures: Signatures {
                allowed_signers: signatures.allowed_signers.expect(WHOLE).0,
                revoked_signers: signatures.revoked_signers.expect(WHOLE).0,
                bundles: signatures.bundles.expect(WHOLE),
                bundle_signers: signatures.bundle_signers.expect(WHOLE),
                stock_signers: signatures.stock_signers.expect(WHOLE),
                images: images.map(|one| (one.directory.0, one.signers)).collect(),
            },
            xl: own.xl.expect(WHOLE).0,
            state: own.state.expect(WHOLE).0,
        })
    }
}

/// Whether `path` lies below one of `directories`.
pub(super) fn is_below(path: &Path, directories: &[PathBuf]) -> bool {
    directories.iter().any(|directory| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_lets_nobody_in_and_says_each_key() {
        let policy = Policy::default();
        assert_eq!(policy, Policy::parse(super::super::DEFAULT).expect("the default"));
        assert!(policy.allow.is_empty() && policy.guests.bootloaders.is_empty());
        assert_eq!(policy.domain.memory, 4 << 30);
        assert_eq!(policy.prefix_of("SITE\\al ice"), "SITE-al-ice-");
    }

    #[test]
    fn what_a_policy_leaves_out_is_as_in_the_default() {
        let text = "version = 1\n[limits.user]\nmemory = \"1M\"\n";
        let policy = Policy::parse(text).expect("a policy");
        assert_eq!(policy.user, Limits { memory: 1 << 20, ..Policy::default().user });
    }

    #[test]
    fn a_misprint_is_an_error_with_its_place() {
        for (text, expected) in [
            ("", "line 1, column 1: missing field `version`"),
            ("version = 2", "version 2 is not known, 1 is"),
            ("version = 1\n[user]\nallow = []", "line 2, column 2: unknown field `user`"),
            ("version = 1\n[users]\nalow = []", "line 3, column 1: unknown field `alow`"),
            ("version = 1\n[users]\nallow = \"*\"", "line 3, column 9: invalid type: string"),
            ("version = 1\n[limits.domain]\nmemory = \"4GB\"", "line 3, column 10: not a number"),
            ("version = 1\n[limits.domain]\nvcpus = -1", "line 3, column 9: invalid value"),
            ("version = 1\n[limits.domain]\nvcpus = 4294967296", "line 3, column 9: invalid value"),
            (
                "version = 1\n[images]\ndirectories = [\"a\"]",
                "line 3, column 15: `a` is no absolute",
            ),
            ("version = 1\n[images]\ndirectories = [\"/a/../b\"]", "line 3, column 15: `/a/../b`"),
            ("version = 1\n[names]\nprefix = \"a/\"", "line 3, column 10: `a/` cannot begin"),
            ("version = 1\n[guests]\ntypes = [\"xen\"]", "line 3, column 10: unknown variant"),
            ("version = 1\nversion = 1", "line 2, column 1: duplicate key"),
            ("version = 1\n[signatures]\nbundles = \"no\"", "line 3, column 11: unknown variant"),
        ] {
            let error = Policy::parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
