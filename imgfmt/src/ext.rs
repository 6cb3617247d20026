//! The ext family.
