//! The model: a tree of nodes, with the rules of POSIX for paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use imgfmt::Error;

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattrs: BTreeMap<&'static str, Vec<u8>>,
    pub(super) atime: i64,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
}

impl Node {
    fn new(content: Content, mode: u16, gid: u32, now: i64) -> Self {
        let xattrs = BTreeMap::new();
        Self { content, mode, uid: 0, gid, xattrs, atime: now, mtime: now, ctime: now }
    }
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Shared, since the model is copied for each operation.
    File(Arc<Vec<u8>>),
    Link(String),
    Dir(BTreeMap<String, Nr>),
}

/// Names a node.
pub(super) type Nr = usize;

/// Why an operation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    NotADirectory,
    IsADirectory,
    AlreadyExists,
    Loop,
    WrongKind,
    /// A directory would come to lie in itself.
    InItself,
    NoSuchXattr,
}

impl Refusal {
    /// Whether the engine means the same.
    pub(super) fn is(self, error: &Error) -> bool {
        match self {
            Self::NotFound => matches!(error, Error::NotFound(_)),
            Self::NotADirectory => matches!(error, Error::NotADirectory(_)),
            Self::IsADirectory => matches!(error, Error::IsADirectory(_)),
            Self::AlreadyExists => matches!(error, Error::AlreadyExists(_)),
            Self::Loop => matches!(error, Error::SymlinkLoop(_)),
            Self::WrongKind => matches!(error, Error::WrongKind { .. }),
            Self::InItself => matches!(error, Error::InvalidPath { .. }),
            Self::NoSuchXattr => matches!(error, Error::NoSuchXattr { .. }),
        }
    }
}

/// Where a path leads.
pub(super) enum Place {
    /// To a node, by a name in a directory; without one to the root or by `..`.
    There(Nr, Option<(Nr, String)>),
    /// To a name that is free.
    Free(Nr, String),
}

const ROOT: Nr = 0;
const LINKS_MAX: u32 = 40;
const SET_GID: u16 = 0o2000;

/// A tree.
#[derive(Clone, Debug)]
pub(super) struct Model {
    nodes: BTreeMap<Nr, Arc<Node>>,
    next: Nr,
}

impl Model {
    /// A root, and nothing in it.
    pub(super) fn new(now: i64) -> Self {
        let content = Content::Dir(BTreeMap::new());
        let root = Node::new(content, 0o755, 0, now);
        Self { nodes: BTreeMap::from([(ROOT, Arc::new(root))]), next: 1 }
    }

    /// A node that is there.
    pub(super) fn node(&self, nr: Nr) -> &Node {
        &self.nodes[&nr]
    }

    /// The same, to be changed.
    pub(super) fn node_mut(&mut self, nr: Nr) -> &mut Node {
        Arc::make_mut(self.nodes.get_mut(&nr).expect("it is there"))
    }

    /// The names of a directory.
    pub(super) fn names(&self, nr: Nr) -> Option<&BTreeMap<String, Nr>> {
        match &self.node(nr).content {
            Content::Dir(names) => Some(names),
            _ => None,
        }
    }

    /// Every path, the root first.
    pub(super) fn paths(&self) -> Vec<(String, Nr)> {
        let (mut paths, mut next) = (vec![("/".to_owned(), ROOT)], 0);
        while let Some((dir, nr)) = paths.get(next).cloned() {
            next += 1;
            for (name, &nr) in self.names(nr).into_iter().flatten() {
                paths.push((format!("{}/{name}", dir.trim_end_matches('/')), nr));
            }
        }
        paths
    }

    /// How many names lead to a node, `.` and `..` counted as on disk.
    pub(super) fn links(&self, nr: Nr) -> u16 {
        let count = match self.names(nr) {
            Some(names) => 2 + names.values().filter(|&&nr| self.names(nr).is_some()).count(),
            None => {
                let dirs = self.nodes.values().filter_map(|node| match &node.content {
                    Content::Dir(names) => Some(names),
                    _ => None,
                });
                dirs.flat_map(BTreeMap::values).filter(|&&other| other == nr).count()
            }
        };
        u16::try_from(count).expect("few")
    }

    /// Follow `path`, and a link at its end if `follow`.
    pub(super) fn resolve(&self, path: &str, follow: bool) -> Result<Place, Refusal> {
        let split = |path: &str| -> Vec<String> {
            path.rsplit('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let (mut dirs, mut rest, mut links) = (vec![ROOT], split(path), 0);
        let mut place = Place::There(ROOT, None);
        while let Some(name) = rest.pop() {
            let here = dirs[dirs.len() - 1];
            if name == ".." {
                dirs.truncate((dirs.len() - 1).max(1));
                place = Place::There(dirs[dirs.len() - 1], None);
                continue;
            }
            let Some(&nr) = self.names(here).expect("a directory").get(&name) else {
                return match rest.is_empty() {
                    true => Ok(Place::Free(here, name)),
                    false => Err(Refusal::NotFound),
                };
            };
            place = Place::There(nr, Some((here, name)));
            match &self.node(nr).content {
                Content::Dir(_) => dirs.push(nr),
                Content::Link(target) if follow || !rest.is_empty() => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Refusal::Loop);
                    }
                    if target.starts_with('/') {
                        dirs.truncate(1);
                    }
                    rest.extend(split(target));
                }
                _ if !rest.is_empty() => return Err(Refusal::NotADirectory),
                _ => {}
            }
        }
        Ok(place)
    }

    /// The node that `path` leads to.
    pub(super) fn find(&self, path: &str, follow: bool) -> Result<Nr, Refusal> {
        match self.resolve(path, follow)? {
            Place::There(nr, _) => Ok(nr),
            Place::Free(..) => Err(Refusal::NotFound),
        }
    }

    /// The node of which `path` is a name, and where that stands.
    pub(super) fn named(&self, path: &str) -> Result<(Nr, Nr, String), Refusal> {
        match self.resolve(path, false)? {
            Place::There(nr, Some((dir, name))) => Ok((nr, dir, name)),
            Place::There(_, None) => Err(Refusal::WrongKind),
            Place::Free(..) => Err(Refusal::NotFound),
        }
    }

    /// Make a node of that name; what it inherits is what a directory with set-group-ID gives.
    pub(super) fn make(&mut self, dir: Nr, name: String, content: Content, now: i64) -> Nr {
        let parent = self.node(dir);
        let mut mode = match content {
            Content::File(_) => 0o644,
            Content::Link(_) => 0o777,
            Content::Dir(_) => 0o755,
        };
        let mut gid = 0;
        if parent.mode & SET_GID != 0 {
            gid = parent.gid;
            if matches!(content, Content::Dir(_)) {
                mode |= SET_GID;
            }
        }
        let node = Node::new(content, mode, gid, now);
        let nr = self.next;
        self.next += 1;
        self.nodes.insert(nr, Arc::new(node));
        self.enter(dir, name, nr, now);
        nr
    }

    /// Give a node a name.
    pub(super) fn enter(&mut self, dir: Nr, name: String, nr: Nr, now: i64) {
        self.change_names(dir, now, |names| {
            names.insert(name, nr);
        });
    }

    /// Take a name away, and the node with its last one: of a directory, all that is below it first.
    pub(super) fn leave(&mut self, dir: Nr, name: &str, now: i64) {
        let nr = self.take(dir, name, now);
        let below: Vec<String> =
            self.names(nr).into_iter().flatten().map(|(n, _)| n.clone()).collect();
        for name in below {
            self.leave(nr, &name, now);
        }
        if self.names(nr).is_some() || self.links(nr) == 0 {
            self.nodes.remove(&nr);
        } else {
            self.node_mut(nr).ctime = now;
        }
    }

    /// Take a name away, and leave the node.
    pub(super) fn take(&mut self, dir: Nr, name: &str, now: i64) -> Nr {
        let mut nr = None;
        self.change_names(dir, now, |names| nr = names.remove(name));
        nr.expect("it has that name")
    }

    /// Whether `inner` is `outer`, or lies below it.
    pub(super) fn is_within(&self, inner: Nr, outer: Nr) -> bool {
        inner == outer
            || self
                .names(outer)
                .into_iter()
                .flatten()
                .any(|(_, &nr)| self.names(nr).is_some() && self.is_within(inner, nr))
    }

    fn change_names(&mut self, dir: Nr, now: i64, f: impl FnOnce(&mut BTreeMap<String, Nr>)) {
        let node = self.node_mut(dir);
        (node.mtime, node.ctime) = (now, now);
        match &mut node.content {
            Content::Dir(names) => f(names),
            _ => panic!("only directories have names"),
        }
    }
}
