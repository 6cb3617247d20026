//! Which machine an image is for, by the names of Go (`GOARCH`) and the variants of the OCI image specification.
//!
//! ```text
//! amd64  =  amd64/v1          arm  =  arm/v7          arm64  =  arm64/v8          ppc64le, riscv64, s390x …: no variants
//! wanted arm/v7, there is arm/v5, arm/v6, arm/v8, arm64/v8      arm/v6: the most that the machine can run
//! ```
//! The variants of these three are levels: a machine runs what was made for it or for less. Those of others are names, which
//! are the same or are not; an image without one is for all machines of its kind. Other spellings (`x86_64`, `armhf`) are
//! understood, as other tools do.

use std::fmt;

/// A machine that an image is to run on.
pub(super) struct Machine {
    architecture: String,
    variant: String,
}

impl Machine {
    /// From `arm64` or `arm/v7`; in their own words, `x86_64`.
    pub(super) fn parse(text: &str) -> Self {
        let (architecture, variant) = text.split_once('/').unwrap_or((text, ""));
        Self::new(architecture, variant)
    }

    /// By architecture and variant, empty where there is none.
    pub(super) fn new(architecture: &str, variant: &str) -> Self {
        let (architecture, default) = match architecture {
            "amd64" | "x86_64" | "x86-64" => ("amd64", "v1"),
            "arm64" | "aarch64" => ("arm64", "v8"),
            "arm" | "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            "386" | "i386" | "i686" => ("386", ""),
            other => (other, ""),
        };
        let variant = match variant {
            "" => default.to_owned(),
            number if number.starts_with(|c: char| c.is_ascii_digit()) => format!("v{number}"),
            name => name.to_owned(),
        };
        Self { architecture: architecture.to_owned(), variant }
    }

    /// What this was built for.
    pub(super) fn this() -> Self {
        let name = go_name(std::env::consts::ARCH, cfg!(target_endian = "little"));
        let variant = match name {
            "arm" if cfg!(target_feature = "v7") => "v7",
            "arm" if cfg!(target_feature = "v6") => "v6",
            "arm" => "v5",
            _ => "",
        };
        Self::new(name, variant)
    }

    /// How well an image for `other` serves: the higher the better. `None` where it does not run.
    pub(super) fn rank(&self, other: &Self) -> Option<(u32, u32)> {
        if self.architecture != other.architecture {
            return None;
        }
        if matches!(&*self.architecture, "amd64" | "arm64" | "arm")
            && let (Some(ours), Some(theirs)) = (level(&self.variant), level(&other.variant))
        {
            return (theirs <= ours).then_some(theirs);
        }
        match (&*self.variant, &*other.variant) {
            (ours, theirs) if ours == theirs => Some((1, 0)),
            ("", _) | (_, "") => Some((0, 0)),
            _ => None,
        }
    }
}

/// As people write it, with a variant only where it says something.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_default = Self::new(&self.architecture, "").variant == self.variant;
        let slash = if is_default { "" } else { "/" };
        let variant = if is_default { "" } else { &self.variant };
        write!(f, "{}{slash}{variant}", self.architecture)
    }
}

/// `v8.2` as numbers.
fn level(variant: &str) -> Option<(u32, u32)> {
    let number = variant.strip_prefix('v')?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Go's name for a machine, by Rust's, which does not tell the order of bytes.
fn go_name(machine: &'static str, is_little_endian: bool) -> &'static str {
    match (machine, is_little_endian) {
        ("x86_64", _) => "amd64",
        ("x86", _) => "386",
        ("aarch64", _) => "arm64",
        ("powerpc64", true) => "ppc64le",
        ("powerpc64", false) => "ppc64",
        ("powerpc", _) => "ppc",
        ("loongarch64", _) => "loong64",
        ("mips", true) => "mipsle",
        ("mips64", true) => "mips64le",
        // `arm`, `riscv64`, `s390x`, `sparc64`, and the others of MIPS, are named alike.
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, go_name};

    #[test]
    fn machines_have_the_names_that_go_gives_them() {
        for (machine, is_little_endian, expected) in [
            ("x86_64", true, "amd64"),
            ("aarch64", true, "arm64"),
            ("powerpc64", true, "ppc64le"),
            ("powerpc64", false, "ppc64"),
            ("loongarch64", true, "loong64"),
            ("mips64", true, "mips64le"),
            ("mips64", false, "mips64"),
            ("riscv64", true, "riscv64"),
            ("s390x", false, "s390x"),
        ] {
            assert_eq!(go_name(machine, is_little_endian), expected);
        }
    }

    #[test]
    fn a_machine_runs_what_was_made_for_it_or_for_less() {
        let best = |wanted: &str, there: &[&str]| {
            let wanted = Machine::parse(wanted);
            let ranked = there
                .iter()
                .filter_map(|name| Some((wanted.rank(&Machine::parse(name))?, (*name).to_owned())));
            ranked.max().map(|(_, name)| name)
        };
        for (wanted, there, expected) in [
            ("amd64", &["amd64/v1", "amd64/v3", "386"][..], Some("amd64/v1")),
            ("x86_64/v3", &["amd64", "amd64/v2", "amd64/v4"], Some("amd64/v2")),
            ("amd64", &["amd64/v3"], None),
            ("arm", &["arm/v5", "arm/v6", "arm/v7", "arm/v8"], Some("arm/v7")),
            ("armhf", &["arm/7", "arm64"], Some("arm/7")),
            ("arm/v6", &["arm", "arm/v5"], Some("arm/v5")),
            ("arm/6", &["arm/v7"], None),
            ("arm64", &["arm", "arm64/v8", "arm64/v8.2"], Some("arm64/v8")),
            ("aarch64/v9", &["arm64/v8.10", "arm64/v8.9"], Some("arm64/v8.10")),
            ("ppc64le", &["ppc64", "ppc64le"], Some("ppc64le")),
            ("ppc64", &["ppc64le"], None),
            ("riscv64", &["riscv64/rva22u64", "riscv64"], Some("riscv64")),
            ("riscv64/rva22u64", &["riscv64/rva20u64", "riscv64"], Some("riscv64")),
            ("mips64le/softfloat", &["mips64le/hardfloat"], None),
            ("loong64", &["loong64"], Some("loong64")),
            ("s390x", &["s390"], None),
        ] {
            assert_eq!(best(wanted, there).as_deref(), expected, "{wanted} of {there:?}");
        }
        assert_eq!(Machine::parse("x86_64/v1").to_string(), "amd64");
        assert_eq!(Machine::parse("arm/6").to_string(), "arm/v6");
    }
}
