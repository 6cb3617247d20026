//! Lists of patterns for names, as ssh_config(5) has them under PATTERNS: `release@example.org,*@site,!guest@site`.
//!
//! `*` stands for any characters, `?` for one. An entry with `!` in front excludes, wherever it stands in the list; a list
//! of exclusions alone matches nothing.

/// A list, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternList(String);

impl PatternList {
    /// The list that `text` is; there are no wrong ones.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name`, which is one name and no pattern, is in the list.
    pub fn matches(&self, name: &str) -> bool {
        let any = |excluding: bool| {
            self.entries()
                .filter(|(excludes, _)| *excludes == excluding)
                .any(|(_, pattern)| glob(pattern, name, Stars::AreLetters))
        };
        any(false) && !any(true)
    }

    /// Whether a signer whose line of allowed signers has this list of principals is one of those that `wanted` names.
    ///
    /// * A name in `wanted` without wildcards is met where this list matches it, as `ssh-keygen -Y verify -I NAME` would.
    /// * A principal of this list is met by a pattern in `wanted` that covers it. One with wildcards is covered only by a
    ///   pattern that covers every name it stands for: `*@site` meets `*@site` and `*`, and not `release@*`.
    /// * `!` in `wanted` excludes: a line that has an excluded name, or has wildcards and so may mean one, meets nothing.
    /// * `!` in this list takes names away, and adds none.
    pub fn meets(&self, wanted: &[String]) -> bool {
        if self.is_excluded_by(wanted) {
            return false;
        }
        wanted.iter().flat_map(|list| entries(list)).filter(|(excludes, _)| !excludes).any(
            |(_, pattern)| {
                let named =
                    !is_open(pattern) && self.matches(pattern) && !is_excluded(pattern, wanted);
                named
                    || self.principals().any(|name| {
                        // A name that the same list takes away again is not one of its principals.
                        (is_open(name) || self.matches(name)) && glob(pattern, name, Stars::AreSets)
                    })
            },
        )
    }

    /// Whether a signer whose line has this list is, or may be, one whom `wanted` excludes.
    pub fn is_excluded_by(&self, wanted: &[String]) -> bool {
        self.principals().any(|name| is_excluded(name, wanted))
    }

    fn principals(&self) -> impl Iterator<Item = &str> {
        self.entries().filter(|(excludes, _)| !excludes).map(|(_, name)| name)
    }

    fn entries(&self) -> impl Iterator<Item = (bool, &str)> {
        entries(&self.0)
    }
}

/// Whether an exclusion in `wanted` is of `name`; one with wildcards may be any.
fn is_excluded(name: &str, wanted: &[String]) -> bool {
    wanted.iter().flat_map(|list| entries(list)).any(|(excludes, pattern)| {
        excludes && (is_open(name) || glob(pattern, name, Stars::AreLetters))
    })
}

/// The entries of a list, and whether each excludes.
fn entries(list: &str) -> impl Iterator<Item = (bool, &str)> {
    list.split(',').filter(|entry| !entry.is_empty()).map(|entry| match entry.strip_prefix('!') {
        Some(pattern) => (true, pattern),
        None => (false, entry),
    })
}

/// Whether a pattern stands for more than one name.
fn is_open(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// What `*` is in the text that a pattern is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stars {
    /// A letter as any other.
    AreLetters,
    /// Any number of letters, so that only another `*` covers it.
    AreSets,
}

/// Whether `pattern` covers `text`. Linear in memory, and at most the product of both in time.
fn glob(pattern: &str, text: &str, stars: Stars) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut next) = (0, 0);
    // Where the last `*` was met: behind it in the pattern, and how far it reaches in the text.
    let mut star: Option<(usize, usize)> = None;
    while next < text.len() {
        let set = stars == Stars::AreSets && text[next] == b'*';
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, next));
                at += 1;
            }
            Some(b'?') if !set => (at, next) = (at + 1, next + 1),
            Some(letter) if *letter == text[next] => (at, next) = (at + 1, next + 1),
            _ => match star {
                Some((behind, reach)) => {
                    star = Some((behind, reach + 1));
                    (at, next) = (behind, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::PatternList;

    #[test]
    fn a_list_matches_names_as_ssh_does() {
        for (list, name, expected) in [
            ("alice@site", "alice@site", true),
            ("alice@site", "Alice@site", false),
            ("bob@site,alice@site", "alice@site", true),
            ("*@site", "alice@site", true),
            ("a*e@s?te", "alice@site", true),
            ("a*e@s?te", "alice@ste", false),
            ("!alice@site,*", "alice@site", false),
            ("*,!alice@site", "alice@site", false),
            ("*,!alice@site", "bob@site", true),
            ("!bob@site", "alice@site", false),
            ("", "", false),
            ("alice@site,", "", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b", "xaxbx", false),
        ] {
            assert_eq!(PatternList::new(list).matches(name), expected, "{list} {name}");
        }
    }

    #[test]
    fn a_line_meets_a_demand_only_where_all_that_it_stands_for_does() {
        for (line, wanted, expected) in [
            ("release@site", "release@site", true),
            ("release@site", "release@*", true),
            ("release@site", "*", true),
            ("release@site", "other@site", false),
            ("alice@site,release@site", "release@site", true),
            ("*@site", "release@site", true),
            ("*@site", "release@*", false),
            ("*@site", "*@site", true),
            ("*@site", "*", true),
            ("*@site", "?@site", false),
            ("?@site", "?@site", true),
            ("?@site", "*@site", true),
            ("release@site", "*,!release@site", false),
            ("alice@site,release@site", "alice@site,!release@site", false),
            ("*@site", "*,!release@other", false),
            ("*@site,!release@site", "release@site", false),
            ("release@site,!release@site", "release@*", false),
            ("release@site", "!alice@site", false),
            ("release@site", "", false),
            ("", "*", false),
        ] {
            let met = PatternList::new(line).meets(&[wanted.to_owned()]);
            assert_eq!(met, expected, "{line} against {wanted}");
        }
    }
}
