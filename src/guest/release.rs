//! Which distribution a guest is, by the files in which distributions say so.
//!
//! ```text
//! /etc/os-release       PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"       all since about 2012 (os-release(5))
//! /etc/SuSE-release     SUSE LINUX Enterprise Server 9 (i586) / VERSION = 9 / PATCHLEVEL = 3
//! /etc/redhat-release   CentOS release 5.11 (Final)                        and those that follow Red Hat
//! /etc/lsb-release      DISTRIB_DESCRIPTION="Ubuntu 8.04.4 LTS"            Ubuntu, whose debian_version is Debian's
//! /etc/debian_version   4.0
//! ```
//! The first file that says something counts. What it says is a stranger's text: at most 256 letters of it are
//! kept, and none is made harmless here.

/// Letters of each value that are kept.
const LEN_MAX: usize = 256;

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// For people: `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// For programs: `debian`, `rhel`, `sles`, as os-release(5) has it; `None` where the file does not tell.
    pub id: Option<String>,
    /// `12`, `5.11`.
    pub version: Option<String>,
    /// The file that says so.
    pub source: &'static str,
}

/// Where to look, and how it is read.
type Reader = (&'static str, fn(&str) -> Option<Said>);

const FILES: [Reader; 10] = [
    ("/etc/os-release", os_release),
    ("/usr/lib/os-release", os_release),
    ("/etc/SuSE-release", suse_release),
    ("/etc/redhat-release", redhat_release),
    ("/etc/fedora-release", redhat_release),
    ("/etc/alpine-release", |text| number(text, "Alpine Linux", "alpine")),
    ("/etc/slackware-version", |text| words(text, "Slackware", "slackware")),
    ("/etc/gentoo-release", |text| words(text, "Gentoo", "gentoo")),
    ("/etc/lsb-release", lsb_release),
    ("/etc/debian_version", |text| number(text, "Debian GNU/Linux", "debian")),
];

/// Name, identifier, version.
type Said = (String, Option<String>, Option<String>);

/// The release of a guest of which `read` reads a text file.
pub fn of(read: &mut dyn FnMut(&str) -> Option<Vec<u8>>) -> Option<Release> {
    FILES.iter().find_map(|(source, parse)| {
        let bytes = read(source)?;
        let (name, id, version) = parse(&String::from_utf8_lossy(&bytes))?;
        let cut = |text: String| text.chars().take(LEN_MAX).collect::<String>();
        Some(Release { name: cut(name), id: id.map(cut), version: version.map(cut), source })
    })
}

/// The value of an assignment as in a shell; quotes and backslashes are taken away as os-release(5) allows them.
fn assigned(text: &str, key: &str) -> Option<String> {
    let line = text.lines().rev().find_map(|line| {
        let rest = line.trim().strip_prefix(key)?;
        rest.strip_prefix('=')
    })?;
    let value = shlex::split(line).and_then(|words| words.into_iter().next());
    // What is not quoted as a shell would have it is taken as it stands.
    Some(value.unwrap_or_else(|| line.to_owned())).filter(|value| !value.is_empty())
}

fn os_release(text: &str) -> Option<Said> {
    let version = assigned(text, "VERSION_ID");
    let id = assigned(text, "ID");
    let name = assigned(text, "PRETTY_NAME").or_else(|| assigned(text, "NAME"));
    name.or_else(|| id.clone()).map(|name| (name, id, version))
}

fn lsb_release(text: &str) -> Option<Said> {
    let id = assigned(text, "DISTRIB_ID");
    let version = assigned(text, "DISTRIB_RELEASE");
    let name = assigned(text, "DISTRIB_DESCRIPTION").or_else(|| id.clone())?;
    Some((name, id.map(|id| id.to_ascii_lowercase()), version))
}

fn suse_release(text: &str) -> Option<Said> {
    let name = first_line(text)?;
    let field = |key: &str| {
        let values = text.lines().filter_map(|line| line.split_once('='));
        let mut values = values.filter(|(name, _)| name.trim() == key);
        values.next().map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let version = match (field("VERSION"), field("PATCHLEVEL").filter(|level| level != "0")) {
        (Some(version), Some(level)) => Some(format!("{version}.{level}")),
        (version, _) => version,
    };
    let lower = name.to_ascii_lowercase();
    let id = match () {
        () if lower.contains("enterprise server") => "sles",
        () if lower.contains("enterprise desktop") => "sled",
        () if lower.contains("opensuse") => "opensuse",
        () => "suse",
    };
    Some((name, Some(id.into()), version))
}

fn redhat_release(text: &str) -> Option<Said> {
    let name = first_line(text)?;
    let (vendor, rest) = name.split_once(" release ").unwrap_or((&name, ""));
    let version = rest.split_whitespace().next().map(str::to_owned);
    let vendors = [
        ("Red Hat", "rhel"),
        ("CentOS", "centos"),
        ("Fedora", "fedora"),
        ("Scientific", "scientific"),
        ("Oracle", "ol"),
        ("Rocky", "rocky"),
        ("AlmaLinux", "almalinux"),
    ];
    let id = vendors.iter().find(|(start, _)| vendor.starts_with(start));
    Some((name.clone(), id.map(|(_, id)| (*id).to_owned()), version))
}

/// A file that holds a version alone.
fn number(text: &str, name: &str, id: &str) -> Option<Said> {
    let version = first_line(text)?;
    Some((format!("{name} {version}"), Some(id.into()), Some(version)))
}

/// A file that holds a name and, as its last word, a version.
fn words(text: &str, name: &str, id: &str) -> Option<Said> {
    let line = first_line(text)?;
    let is_version = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let version = line.split_whitespace().next_back().filter(is_version).map(str::to_owned);
    line.starts_with(name).then(|| (line.clone(), Some(id.into()), version))
}

fn first_line(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::of;

    /// `name|id|version` of a guest with these files.
    fn told(files: &[(&str, &str)]) -> String {
        let mut read = |path: &str| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| text.as_bytes().to_vec())
        };
        let Some(release) = of(&mut read) else { return "nothing".into() };
        let or = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        format!("{}|{}|{}", release.name, or(release.id), or(release.version))
    }

    #[test]
    fn each_distribution_is_told_by_its_own_file() {
        for (path, text, expected) in [
            (
                "/etc/os-release",
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
                "Debian GNU/Linux 12 (bookworm)|debian|12",
            ),
            ("/usr/lib/os-release", "NAME=Arch\\ Linux\nID=arch\n", "Arch Linux|arch|-"),
            ("/etc/os-release", "ID='x\nNAME=\"a\n", "\"a|'x|-"),
            (
                "/etc/redhat-release",
                "Red Hat Enterprise Linux AS release 3 (Taroon Update 8)\n",
                "Red Hat Enterprise Linux AS release 3 (Taroon Update 8)|rhel|3",
            ),
            (
                "/etc/redhat-release",
                "CentOS release 5.11 (Final)",
                "CentOS release 5.11 (Final)|centos|5.11",
            ),
            ("/etc/redhat-release", "My Linux\n", "My Linux|-|-"),
            (
                "/etc/SuSE-release",
                "SUSE LINUX Enterprise Server 9 (i586)\nVERSION = 9\nPATCHLEVEL = 3\n",
                "SUSE LINUX Enterprise Server 9 (i586)|sles|9.3",
            ),
            (
                "/etc/SuSE-release",
                "openSUSE 11.4 (x86_64)\nVERSION = 11.4\n",
                "openSUSE 11.4 (x86_64)|opensuse|11.4",
            ),
            ("/etc/debian_version", "4.0\n", "Debian GNU/Linux 4.0|debian|4.0"),
            ("/etc/alpine-release", "3.4.6\n", "Alpine Linux 3.4.6|alpine|3.4.6"),
            ("/etc/slackware-version", "Slackware 12.0.0\n", "Slackware 12.0.0|slackware|12.0.0"),
            (
                "/etc/lsb-release",
                "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=8.04\nDISTRIB_DESCRIPTION=\"Ubuntu 8.04.4 LTS\"\n",
                "Ubuntu 8.04.4 LTS|ubuntu|8.04",
            ),
            ("/etc/debian_version", "\n", "nothing"),
            ("/etc/os-release", "", "nothing"),
        ] {
            assert_eq!(told(&[(path, text)]), expected, "{path}");
        }
    }

    #[test]
    fn the_first_file_that_says_something_counts() {
        let ubuntu = ("/etc/lsb-release", "DISTRIB_ID=Ubuntu\n");
        let debian = ("/etc/debian_version", "lenny/sid\n");
        assert_eq!(told(&[debian, ubuntu]), "Ubuntu|ubuntu|-");
        assert_eq!(
            told(&[debian, ("/etc/os-release", "# nothing\n")]),
            "Debian GNU/Linux lenny/sid|debian|lenny/sid"
        );
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = format!("NAME={}\n", "é".repeat(1000));
        assert_eq!(told(&[("/etc/os-release", &long)]).chars().count(), 256 + 4);
    }
}
