//! `autoxen image grow`: the file, its last partition and the ext file system in it get larger.
//!
//! All of it is worked out first, over an image that ends in zeros that are not there yet. Then three steps, each of which
//! leaves an image that is sound: the file gets longer, the partition, the file system. Each of the last two is there whole
//! or not at all, whenever this is interrupted; the same command goes on.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use imgfmt::ext::{Fs, Growth};
use imgfmt::table::{self, Enlargement};
use imgfmt::{Error, Image, Storage, Volume, probe};
use serde_json::{Value, json};

use super::recover::check_writable;
use super::{open, select};
use crate::cli::{GrowTo, ImageGrowArgs};
use crate::epoch;
use crate::facts::choose::Candidates;
use crate::failure::{Failure, Result};
use crate::inside::address::ImageName;
use crate::interrupt;
use crate::report;
use crate::size::size;
use crate::visible::visible;

/// The file's length is a multiple of this, so that every block and sector fits.
const GRAIN: u64 = 4096;

/// An image as it will be: zeros follow what is there.
struct Longer<'a> {
    raw: &'a Image,
    len: u64,
}

impl Storage for Longer<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let held = self.raw.len().saturating_sub(offset);
        let held = usize::try_from(held).map_or(buf.len(), |held| held.min(buf.len()));
        let (there, beyond) = buf.split_at_mut(held);
        beyond.fill(0);
        if there.is_empty() { Ok(()) } else { self.raw.read_at(offset, there) }
    }
}

/// What is to be done.
struct Plan {
    /// As the user named it.
    image: String,
    /// Bytes of the file, before and after.
    bytes: (u64, u64),
    /// The partition in which the file system lies; its length before and after.
    partition: Option<(u32, u64, u64)>,
    table: Option<Enlargement>,
    kind: String,
    growth: Growth,
}

/// Enlarge the image.
pub(super) fn run(args: &ImageGrowArgs) -> Result<ExitCode> {
    let now = epoch::now()?;
    let name = select::named(&args.image, args.partition.as_deref())?;
    let path = &name.file;
    let fail = |e| open::failure(path, &e);
    let raw = Image::open(path).map_err(fail)?;
    open::refuse_packed(path, &raw, "grow", "grow that")?;
    let plan = plan(&name, args.to(), &raw, now)?;
    if !args.dry_run && !plan.is_nothing() {
        check_writable(path, "enlarge")?;
        interrupt::check()?;
        write(path, raw, &plan)?;
    }
    match args.json {
        true => report::print_json(&plan.json(args.dry_run))?,
        false => report::print(&plan.text(args.dry_run))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The file's length afterwards.
fn target(path: &Path, len: u64, to: GrowTo) -> Result<u64> {
    let shown = path.display();
    let wanted = match to {
        GrowTo::Fill => return Ok(len),
        GrowTo::Size(wanted) => Some(wanted),
        GrowTo::By(more) => len.checked_add(more),
    };
    let wanted = wanted.and_then(|wanted| wanted.checked_next_multiple_of(GRAIN));
    let wanted = wanted.filter(|&wanted| i64::try_from(wanted).is_ok()).ok_or_else(|| {
        Failure::new(format!("image `{shown}` cannot be enlarged: no file is that large"))
    })?;
    if wanted < len {
        let what = format!("image `{shown}` has {} already: it is not made smaller", size(len));
        return Err(Failure::new(what).hint("`--fill` takes the room that there is"));
    }
    Ok(wanted)
}

fn plan(name: &ImageName, to: GrowTo, raw: &Image, now: i64) -> Result<Plan> {
    let path = &name.file;
    let fail = |e| open::failure(path, &e);
    let len = target(path, raw.len(), to)?;
    let longer = Longer { raw, len };
    let (volume, partition, table) = window(name, &longer)?;
    let place = match partition {
        Some((number, ..)) => format!("image `{}`: partition {number}", path.display()),
        None => format!("image `{}`", path.display()),
    };
    let found = probe::probe(&volume).map_err(fail)?;
    let Some(found) = found.filter(|found| found.kind.is_ext()) else {
        let holds = probe::probe(&volume).map_err(fail)?;
        let holds = holds.map_or("nothing known", |found| found.kind.name());
        let what = format!("{place} holds {holds}; only ext2, ext3 and ext4 are enlarged");
        return Err(Failure::new(what));
    };
    let grow = || {
        let fs = Fs::open(volume)?;
        let blocks = volume.len() / u64::from(fs.info().block_size);
        let zeros_from = raw.len().saturating_sub(volume.start());
        fs.grow(blocks, zeros_from, now)
    };
    let growth = grow().map_err(|e| refused(path, &e))?;
    let image = path.display().to_string();
    let kind = found.kind.name().to_owned();
    Ok(Plan { image, bytes: (raw.len(), len), partition, table, kind, growth })
}

/// Number of a partition, its length before and after.
type Lengths = (u32, u64, u64);

/// The volume that grows, as long as it will be.
fn window<'a>(
    name: &ImageName,
    longer: &'a Longer<'_>,
) -> Result<(Volume<'a>, Option<Lengths>, Option<Enlargement>)> {
    let path = &name.file;
    let fail = |e| open::failure(path, &e);
    let Some(table) = table::read(longer).map_err(fail)? else {
        if name.partition.is_some() {
            return Err(select::no_table(path));
        }
        return Ok((Volume::whole(longer), None, None));
    };
    let partition = match &name.partition {
        Some(wanted) => {
            let all = Candidates::new(&table, longer).map_err(fail)?;
            all.named(wanted).map_err(|doubt| doubt.of(path))?.partition.clone()
        }
        None => table.last().cloned().ok_or_else(|| {
            Failure::new(format!("image `{}`: the partition table is empty", path.display()))
        })?,
    };
    let enlarged = table::enlarge(longer, partition.number).map_err(fail)?;
    let len = enlarged.as_ref().map_or(partition.len, |enlarged| enlarged.len);
    let volume = Volume::new(longer, partition.start, len).map_err(fail)?;
    Ok((volume, Some((partition.number, partition.len, len)), enlarged))
}

fn write(path: &Path, raw: Image, plan: &Plan) -> Result<()> {
    let fail = |e: Error| refused(path, &e);
    let mut image = raw.into_mut().map_err(fail)?;
    let (before, after) = plan.bytes;
    if after > before {
        image.lengthen(after).map_err(fail)?;
    }
    let goes_on = |e: Error| match e {
        Error::HostFull(_) => refused(path, &e).hint("make room there; then `--fill` goes on"),
        _ => refused(path, &e).hint("once the cause is gone, `--fill` goes on"),
    };
    if let Some(table) = &plan.table {
        image.commit_in_place(&table.in_place()).map_err(goes_on)?;
    }
    image.commit_in_place(plan.growth.in_place()).map_err(goes_on)
}

/// Why an image does not grow, and the way out.
fn refused(path: &Path, error: &Error) -> Failure {
    let failure = open::failure(path, error);
    match error {
        Error::NeedsRecovery(_) => failure.hint("`autoxen image recover` does that"),
        Error::HostFull(_) => failure.hint("make room there"),
        _ => failure,
    }
}

impl Plan {
    fn is_nothing(&self) -> bool {
        self.bytes.0 == self.bytes.1 && self.table.is_none() && self.growth.is_nothing()
    }

    fn text(&self, is_dry: bool) -> String {
        let name = visible(&self.image);
        if self.is_nothing() {
            return format!("{name}: nothing to do\n");
        }
        let would = if is_dry { "would grow" } else { "grew" };
        let mut text = String::new();
        if self.bytes.0 < self.bytes.1 {
            let (before, after) = (size(self.bytes.0), size(self.bytes.1));
            text += &format!("{name} {would} from {before} to {after}\n");
        }
        if let (Some((number, before, after)), Some(_)) = (self.partition, &self.table) {
            let (before, after) = (size(before), size(after));
            text += &format!("{name}: partition {number} {would} from {before} to {after}\n");
        }
        let (before, after) = (self.growth.before(), self.growth.after());
        text += &match self.growth.is_nothing() {
            true => format!("{name}: {} stays as it is: too little for a group\n", self.kind),
            false => format!(
                "{name}: {} {would} from {} to {}, with {} inodes\n",
                self.kind,
                size(before.len),
                size(after.len),
                after.inodes
            ),
        };
        if self.growth.switches_to_meta_bg() {
            text += &format!("{name}: {}: `meta_bg` is turned on for it\n", self.kind);
        }
        text
    }

    fn json(&self, is_dry: bool) -> Value {
        let (before, after) = (self.growth.before(), self.growth.after());
        let partition = self.partition.map(|(number, before, after)| {
            json!({ "number": number, "bytes": { "before": before, "after": after } })
        });
        json!({
            "image": self.image,
            "dry_run": is_dry,
            "bytes": { "before": self.bytes.0, "after": self.bytes.1 },
            "partition": partition,
            "ext": {
                "kind": self.kind,
                "block_size": before.len / before.blocks,
                "blocks": { "before": before.blocks, "after": after.blocks },
                "inodes": { "before": before.inodes, "after": after.inodes },
                "groups": { "before": before.groups, "after": after.groups },
                "turns_on_meta_bg": self.growth.switches_to_meta_bg(),
            },
        })
    }
}
