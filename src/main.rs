//! The command line of AutoXen.

fn main() {}
