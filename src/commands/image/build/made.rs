//! What was made, as text and as JSON.

use std::path::Path;

use imgfmt::table::{self, Table};
use serde_json::{Value, json};

use crate::build::Type;
use crate::size::size;
use crate::visible::visible;

/// An image.
pub(super) struct Made {
    /// Bytes.
    pub(super) len: u64,
    /// Its partition table.
    pub(super) table: Option<Table>,
    /// Entries of all sources.
    pub(super) entries: u64,
    /// What it holds, in order.
    pub(super) volumes: Vec<VolumeMade>,
}

/// A volume of it.
pub(super) struct VolumeMade {
    pub(super) kind: Type,
    /// Its number, where there is a partition table.
    pub(super) partition: Option<u32>,
    /// Where it begins, in bytes.
    pub(super) start: u64,
    pub(super) len: u64,
    /// Empty where it has none.
    pub(super) uuid: String,
    pub(super) label: Option<String>,
    /// Of ext.
    pub(super) ext: Option<ExtMade>,
}

/// What is said of ext alone.
pub(super) struct ExtMade {
    pub(super) block_size: u64,
    pub(super) inodes: u32,
    pub(super) features: Vec<String>,
}

impl Made {
    /// One line a volume.
    pub(super) fn text(&self, image: &Path) -> String {
        let image = image.display().to_string();
        let name = visible(&image);
        let mut text = format!("{name}: {}, {} entries\n", size(self.len), self.entries);
        for volume in &self.volumes {
            let label = volume.label.as_ref().map(|label| format!(" `{}`", visible(label)));
            let number = volume.partition.map(|number| format!(" partition {number}:"));
            text += &format!(
                "{name}:{} {}{}, {}",
                number.unwrap_or_default(),
                volume.kind.name(),
                label.unwrap_or_default(),
                size(volume.len),
            );
            if !volume.uuid.is_empty() {
                text += &format!(", UUID {}", volume.uuid);
            }
            text.push('\n');
        }
        text
    }

    pub(super) fn json(&self, image: &Path, warnings: &[String]) -> Value {
        let volumes: Vec<Value> = self.volumes.iter().map(VolumeMade::json).collect();
        json!({
            "image": image.display().to_string(),
            "bytes": self.len,
            "table": self.table.as_ref().map(|table| json!({
                "kind": match table.kind { table::Kind::Mbr => "mbr", table::Kind::Gpt => "gpt" },
                "id": table.id,
            })),
            "entries": self.entries,
            "warnings": warnings,
            "volumes": volumes,
        })
    }
}

impl VolumeMade {
    fn json(&self) -> Value {
        let mut value = json!({
            "partition": self.partition,
            "type": self.kind.name(),
            "start": self.start,
            "bytes": self.len,
            "uuid": Some(&self.uuid).filter(|uuid| !uuid.is_empty()),
            "label": self.label,
        });
        if let (Some(ext), Some(fields)) = (&self.ext, value.as_object_mut()) {
            fields.insert("block_size".into(), ext.block_size.into());
            fields.insert("inodes".into(), ext.inodes.into());
            fields.insert("features".into(), json!(ext.features));
        }
        value
    }
}
