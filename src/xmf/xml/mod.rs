//! XML 1.0 with namespaces: bytes → text → a tree in which everything knows its place.
//!
//! `quick-xml` cuts the text into tags, references, comments and the like; it is lax on purpose, so every rule of
//! well-formedness is checked here, on the raw text of each piece. Nothing here knows what an XMF or a schema is.
//!
//! There is no DTD: a DOCTYPE is refused, only the five predefined entities exist, nothing is fetched or expanded.

pub mod chars;
pub mod encoding;
mod parse;
mod pieces;
mod tag;
pub mod tree;

pub use encoding::decode;
pub use parse::{Parsed, parse};
pub use tree::{Attribute, Element, Name, Node};
