//! `autoxen domain`: the configuration of a bundle's domain, for xl or for libvirt.

use std::fs;

use crate::cli::{DomainArgs, DomainFormat};
use crate::domain::bundle::Manifest;
use crate::domain::libvirt;
use crate::failure::{Failure, Result};
use crate::report;

/// Print the configuration.
pub fn run(args: &DomainArgs) -> Result<()> {
    let manifest = Manifest::read(&args.bundle)?;
    let directory = fs::canonicalize(&args.bundle)
        .map_err(|e| Failure::host("cannot read", &args.bundle, &e))?;
    let config = manifest.domain.in_directory(&directory).map_err(|e| {
        Failure::new(format!("xl cannot be told this bundle's path: {e}"))
            .hint("move the bundle to another place")
    })?;
    match args.format {
        DomainFormat::Xl => report::print(&config.to_string()),
        DomainFormat::Libvirt => {
            let name = &manifest.domain.parts().name;
            let xml = libvirt::xml(&config, libvirt::uuid(name.as_str(), &manifest.id))
                .map_err(|e| Failure::new(format!("libvirt cannot be told this domain: {e}")))?;
            report::print(&xml)
        }
    }
}
