//! The part of XML Schema 1.0 that our schemas are written in: a reader of schemas, and a validator.
//!
//! ```text
//! schema       element+
//! element      name, type | simpleType | complexType, minOccurs, maxOccurs
//! complexType  sequence of elements | simpleContent/extension | nothing; then attribute*
//! attribute    name, type | simpleType, use
//! simpleType   restriction of a built-in type by enumeration, minInclusive, maxInclusive
//! ```
//!
//! `annotation` is skipped. Every other construct is refused by its name, with its place: a schema is never understood
//! by half. Verdicts equal libxml2's; where XML Schema leaves a choice, libxml2's is taken and the comment says so.

mod compile;
mod datatype;
mod validate;

pub use compile::compile;
pub use datatype::{BadValue, BuiltIn, SimpleType, integer};
pub use validate::validate;

/// A schema: the elements that a document may begin with.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The global elements.
    pub roots: Vec<ElementDecl>,
}

/// An element that a schema declares.
#[derive(Clone, Debug)]
pub struct ElementDecl {
    /// Its name, in no namespace.
    pub name: String,
    /// How often it stands there at least.
    pub min: u32,
    /// How often it stands there at most; `None` is unbounded.
    pub max: Option<u32>,
    /// What it holds.
    pub content: Content,
    /// The attributes it may have.
    pub attributes: Vec<AttributeDecl>,
}

/// What an element holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing at all, not even white space.
    Empty,
    /// A value.
    Simple(SimpleType),
    /// These elements, in this order.
    Sequence(Vec<ElementDecl>),
}

/// An attribute that a schema declares.
#[derive(Clone, Debug)]
pub struct AttributeDecl {
    /// Its name, in no namespace.
    pub name: String,
    /// Whether it must be there.
    pub required: bool,
    /// Its value.
    pub simple_type: SimpleType,
}
