//! libvirt and a reader of XML as judges of domain XML.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// libvirt's schema, which `virt-xml-validate` holds a document against.
const SCHEMA: &str = "/usr/share/libvirt/schemas/domain.rng";

/// Prints each file as a list of its elements: path, attributes, text where there are no elements below.
const READER: &str = r#"
import json, sys, xml.etree.ElementTree as tree
def walk(element, above, out):
    path = above + element.tag
    text = "" if len(element) or element.text is None else element.text
    out.append({"path": path, "attributes": element.attrib, "text": text})
    for child in element:
        walk(child, path + "/", out)
    return out
json.dump([walk(tree.parse(name).getroot(), "", []) for name in sys.argv[1:]], sys.stdout)
"#;

/// An element of a document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Element {
    /// Names from the root down, with `/` between them.
    pub(crate) path: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Its text; empty where it holds elements.
    pub(crate) text: String,
}

/// A directory for documents.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test"))
    }

    /// Write each text into a file of its own.
    pub(crate) fn write_all(
        &self,
        texts: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Vec<PathBuf> {
        let directory = tempfile::tempdir_in(self.0.path()).expect("a directory").keep();
        let each = texts.into_iter().enumerate().map(|(index, text)| {
            let path = directory.join(format!("{index}.xml"));
            std::fs::write(&path, text.as_ref()).expect("the document is written");
            path
        });
        each.collect()
    }
}

fn run(command: &mut Command, package: &str) -> String {
    let program = command.get_program().display().to_string();
    let output = command
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|e| panic!("{program} (Debian: {package}) cannot be run: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program}: {}",
        errors.chars().take(4000).collect::<String>()
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// libvirt's schema takes all the files.
pub(crate) fn schema(files: &[PathBuf]) {
    // The program reads the schema anew for each file, which takes a while: it gets some, xmllint gets all.
    for file in files.iter().take(12) {
        run(Command::new("virt-xml-validate").arg(file).arg("domain"), "libvirt-clients");
    }
    let mut xmllint = Command::new("xmllint");
    run(xmllint.args(["--noout", "--nonet", "--relaxng", SCHEMA]).args(files), "libxml2-utils");
}

/// The elements of each file.
pub(crate) fn read(files: &[PathBuf]) -> Vec<Vec<Element>> {
    let text = run(Command::new("python3").args(["-c", READER]).args(files), "python3");
    serde_json::from_str(&text).expect("the reader prints JSON")
}

/// The same domain for the driver that libvirt has for tests. It needs no hypervisor and has the same parser, but knows
/// neither the type `xen`, nor PVH, nor 64 bits.
pub(crate) fn for_test_driver(xml: &str) -> String {
    let changed = xml
        .replacen("<domain type=\"xen\">", "<domain type=\"test\">", 1)
        .replacen("<type arch=\"x86_64\"", "<type arch=\"i686\"", 1)
        .replacen(">xenpvh</type>", ">xen</type>", 1);
    assert!(changed.contains("\"test\"") && changed.contains("\"i686\""), "{changed}");
    changed
}

/// Define each domain, and have libvirt write down what it then holds.
pub(crate) fn virsh<'a>(files: &[PathBuf], names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let each = files
        .iter()
        .zip(names)
        .map(|(file, name)| format!("define '{}'; dumpxml --inactive '{name}';", file.display()));
    let commands: Vec<String> = each.collect();
    let mut dumps = Vec::new();
    // One argument holds 128 KiB at most. Each run begins with the driver's one domain.
    for some in commands.chunks(100) {
        let mut virsh = Command::new("virsh");
        let text =
            run(virsh.args(["-q", "-c", "test:///default", &some.concat()]), "libvirt-clients");
        for part in text.split_inclusive("</domain>\n") {
            if let Some(start) = part.find("<domain ") {
                dumps.push(part[start..].to_owned());
            }
        }
    }
    dumps
}
