//! Who owns what goes into an image: `root:root` for all of it, or a map, one pair an entry.
//!
//! ```text
//! 0:0               all of it is root's
//! 1000:1000=0:0     what is user 1000's becomes root's, what is group 1000's the group root's; the rest stays
//! :50               only the group, of everything
//! ```
//! Names of users mean nothing in another system, `root` apart.

/// Owners to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    uid: Map,
    gid: Map,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Map {
    /// Of everything that no pair names.
    all: Option<u32>,
    /// From, to.
    pairs: Vec<(u32, u32)>,
}

impl Owners {
    /// From entries in the notation above.
    ///
    /// # Errors
    /// What is wrong with which one.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut owners = Self::default();
        for entry in entries {
            owners.add(entry).map_err(|what| format!("`{entry}`: {what}"))?;
        }
        Ok(owners)
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        let (from, to) = match entry.split_once('=') {
            Some((from, to)) => (Some(ids(from)?), ids(to)?),
            None => (None, ids(entry)?),
        };
        if to == (None, None) {
            return Err("it names nobody".into());
        }
        let Some(from) = from else {
            return self.uid.set_all(to.0).and_then(|()| self.gid.set_all(to.1));
        };
        self.uid.add(from.0, to.0)?;
        self.gid.add(from.1, to.1)
    }

    /// Whether every owner stays.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Owner and group in the image of what has these in the source.
    pub fn map(&self, uid: u32, gid: u32) -> (u32, u32) {
        (self.uid.map(uid), self.gid.map(gid))
    }
}

impl Map {
    fn set_all(&mut self, id: Option<u32>) -> Result<(), String> {
        match id {
            Some(_) if self.all.is_some() => Err("all of it has an owner already".into()),
            None => Ok(()),
            id => {
                self.all = id;
                Ok(())
            }
        }
    }

    fn add(&mut self, from: Option<u32>, to: Option<u32>) -> Result<(), String> {
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (None, None) => return Ok(()),
            _ => return Err("one side has a number that the other one lacks".into()),
        };
        if self.pairs.iter().any(|(other, _)| *other == from) {
            return Err(format!("{from} is named twice"));
        }
        self.pairs.push((from, to));
        Ok(())
    }

    fn map(&self, id: u32) -> u32 {
        let pair = self.pairs.iter().find(|(from, _)| *from == id);
        pair.map(|(_, to)| *to).or(self.all).unwrap_or(id)
    }
}

/// `USER:GROUP`, either of which may be missing.
fn ids(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let id = |text: &str| match text {
        "" => Ok(None),
        "root" => Ok(Some(0)),
        _ => match text.parse() {
            // -1 means "nobody" to chown(2).
            Ok(u32::MAX) | Err(_) => Err(format!(
                "`{text}` is no number, and of names only `root` means the same everywhere"
            )),
            Ok(id) => Ok(Some(id)),
        },
    };
    Ok((id(user)?, id(group)?))
}

#[cfg(test)]
mod tests {
    use super::Owners;

    #[test]
    fn owners_are_set_for_all_or_mapped_one_by_one() {
        let map = |entries: &[&str], uid, gid| {
            Owners::parse(entries.iter().copied()).expect("entries").map(uid, gid)
        };
        assert_eq!(map(&[], 7, 8), (7, 8));
        assert_eq!(map(&["root:root"], 7, 8), (0, 0));
        assert_eq!(map(&[":50"], 7, 8), (7, 50));
        assert_eq!(map(&["5"], 7, 8), (5, 8));
        assert_eq!(map(&["1000:1000=0:0"], 1000, 8), (0, 8));
        assert_eq!(map(&["7:8=70:80", "0:0"], 7, 9), (70, 0));
    }

    #[test]
    fn what_names_nobody_or_two_is_refused() {
        for (entries, expected) in [
            (
                &["joe:joe"][..],
                "`joe:joe`: `joe` is no number, and of names only `root` means the same everywhere",
            ),
            (&[":"], "`:`: it names nobody"),
            (&["0:0", "1:1"], "`1:1`: all of it has an owner already"),
            (&["5=6", "5=7"], "`5=7`: 5 is named twice"),
            (&["5:5=6"], "`5:5=6`: one side has a number that the other one lacks"),
        ] {
            let outcome = Owners::parse(entries.iter().copied());
            assert_eq!(outcome.expect_err("refused"), expected);
        }
    }
}
