//! The tool from outside, one file a capability: what is printed, what is written, and what other programs say of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod collect;
mod domain;
mod fixtures;
mod frugal;
mod image_archive;
mod image_archive_hostile;
mod image_build;
mod image_build_oci;
mod image_build_sources;
mod image_convert;
mod image_convert_refusals;
mod image_files;
mod image_grow;
mod image_guest;
mod image_info;
mod image_ls;
mod image_names;
mod image_no_sync;
mod image_qcow2;
mod image_recover;
mod image_twin;
mod image_walks;
mod in_place;
mod in_place_crash;
mod in_place_refusals;
mod interrupt;
mod jobs;
mod prepare;
mod prepare_many;
mod prepare_overlay;
mod progress;
mod read_back;
mod refusals;
mod site;
