//! The documents under `schema/`: the examples are valid, the invalid ones say what is wrong with them, word for word.
//!
//! `UPDATE_EXPECTED=1` writes the expected texts anew, to be read as text in review.

use std::path::{Path, PathBuf};
use std::process::Command;

use autoxen::diagnostic::Diagnostic;
use autoxen::{snippet, xmf};

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(directory);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory is part of the project")
        .map(|entry| entry.expect("a directory can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing under schema/ ends in .{extension}");
    files
}

fn rendered(path: &Path, text: &str, diagnostics: &[Diagnostic]) -> String {
    let name = path.file_name().expect("it is a file").to_string_lossy();
    let shown: Vec<String> =
        diagnostics.iter().map(|found| snippet::render(&name, text, found, false)).collect();
    shown.join("\n")
}

fn compare(path: &Path, found: &str) {
    let expected = path.with_extension("expected");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&expected, found).expect("the expected text can be written");
    }
    let text = std::fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(found, text, "{}", expected.display());
}

/// Whether xmllint finds the document valid.
fn xmllint(schema: &str, path: &Path) -> bool {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(schema);
    let output = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .args([schema.as_path(), path])
        .output()
        .expect("`xmllint` is needed: apt-get install libxml2-utils");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("Schemas parser error"), "{said}");
    output.status.success()
}

#[test]
fn every_example_is_valid() {
    for path in files("examples", "xml") {
        let checked = xmf::check(&std::fs::read(&path).expect("it was listed"));
        let shown = rendered(&path, &checked.text, &checked.diagnostics);
        assert!(checked.document.is_some() && checked.diagnostics.is_empty(), "{shown}");
        assert!(xmllint("xmf.xsd", &path), "{}", path.display());
    }
}

#[test]
fn the_document_of_2007_is_valid_in_both_schemas() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/examples/report-2007.xml");
    assert!(xmllint("xmf-1.0.xsd", &path));
    let old = xmf::read_schema(xmf::XMF_1_0_XSD).expect("our own schema");
    let bytes = std::fs::read(&path).expect("it is there");
    assert!(xmf::validate_schema(&old, &bytes).is_ok());
}

#[test]
fn every_invalid_document_says_what_is_wrong_with_it() {
    for path in files("invalid", "xml") {
        let checked = xmf::check(&std::fs::read(&path).expect("it was listed"));
        compare(&path, &rendered(&path, &checked.text, &checked.diagnostics));
        assert!(checked.document.is_none(), "{}", path.display());
    }
}

#[test]
fn every_invalid_schema_says_what_is_wrong_with_it() {
    for path in files("invalid", "xsd") {
        let text = std::fs::read_to_string(&path).expect("it was listed");
        let findings = xmf::read_schema(&text).expect_err("it is invalid");
        compare(&path, &rendered(&path, &text, &findings));
    }
}

#[test]
fn the_schema_as_the_report_prints_it_is_refused_for_its_misprint() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/invalid/report-2007.xsd");
    let text = std::fs::read_to_string(path).expect("it is there");
    let findings = xmf::read_schema(&text).expect_err("it has misprints");
    let lines: Vec<usize> =
        findings.iter().map(|found| snippet::position(&text, found.span.start).line).collect();
    assert_eq!(lines, [16, 17, 18, 19]);
    for found in findings {
        assert_eq!(found.message, "`string` is no type");
        assert_eq!(found.hint.as_deref(), Some("did you mean `xs:string`?"));
    }
}
