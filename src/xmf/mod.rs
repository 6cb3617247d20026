//! The Xen Metaconfiguration File: text → [`Document`](model::Document) and diagnostics. No files are opened here.

pub mod model;
