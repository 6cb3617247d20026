//! `autoxen list`: the domains that the caller has created.

use indicatif::BinaryBytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::ListArgs;
use crate::commands::create::site;
use crate::create::Listed;
use crate::create::state::{Record, State};
use crate::failure::Result;
use crate::report::{self, Talk};
use crate::visible::visible;

/// A line of the list.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    record: &'a Record,
    state: State,
}

/// Show them.
pub fn run(args: &ListArgs, talk: Talk) -> Result<()> {
    let site = site(&args.site)?;
    let Listed { domains, broken } = site.list()?;
    broken.iter().for_each(|what| talk.warning(what));
    if args.json {
        let lines: Vec<Line<'_>> =
            domains.iter().map(|(record, state)| Line { record, state: *state }).collect();
        return report::print_json(&lines);
    }
    let mut text = String::new();
    if !domains.is_empty() {
        text.push_str(&line([
            "NAME", "STATE", "USER", "MEMORY", "VCPUS", "DISKS", "CREATED", "BUNDLE",
        ]));
    }
    for (record, state) in &domains {
        let state = match state {
            State::Starting => "starting",
            State::Running => "running",
            State::Ended => "ended",
        };
        let created = Timestamp::from_second(record.created).unwrap_or_default().to_string();
        text.push_str(&line([
            record.name.as_str(),
            state,
            &visible(&record.user),
            &BinaryBytes(record.memory).to_string(),
            &record.vcpus.to_string(),
            &BinaryBytes(record.disk).to_string(),
            &created,
            &visible(&record.bundle.to_string_lossy()),
        ]));
    }
    report::print(&text)
}

fn line(cells: [&str; 8]) -> String {
    let [name, state, user, memory, vcpus, disks, created, bundle] = cells;
    format!(
        "{name:<24} {state:<8} {user:<10} {memory:>10} {vcpus:>5} {disks:>10} {created:<20} {bundle}\n"
    )
}
