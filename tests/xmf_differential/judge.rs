//! What `xmllint` says.

use std::collections::HashMap;
use std::process::Command;

/// Its verdict on one document.
pub(crate) struct Verdict {
    /// Well-formed and valid.
    pub(crate) valid: bool,
    /// The first thing that it had to say.
    pub(crate) message: String,
}

/// Ask for many documents at once; a call takes a few hundred.
pub(crate) fn xmllint(schema: &str, documents: &[Vec<u8>]) -> Vec<Verdict> {
    let directory = tempfile::tempdir().expect("a directory for the documents");
    let mut verdicts = Vec::new();
    for (batch, documents) in documents.chunks(500).enumerate() {
        let names: Vec<String> =
            (0..documents.len()).map(|at| format!("{batch}-{at}.xml")).collect();
        for (name, document) in names.iter().zip(documents) {
            std::fs::write(directory.path().join(name), document).expect("room for the document");
        }
        let output = Command::new("xmllint")
            .args(["--nonet", "--noout", "--schema", schema])
            .args(&names)
            .current_dir(directory.path())
            .output()
            .expect("`xmllint` is needed: apt-get install libxml2-utils");
        // A crash would look like a document that is not well-formed.
        assert!(output.status.code().is_some(), "xmllint was killed: {}", output.status);
        let said = String::from_utf8_lossy(&output.stderr);
        let mut valid: HashMap<&str, bool> = HashMap::new();
        let mut first: HashMap<&str, &str> = HashMap::new();
        for line in said.lines() {
            if let Some(name) = line.strip_suffix(" validates") {
                valid.insert(name, true);
            } else if let Some(name) = line.strip_suffix(" fails to validate") {
                valid.insert(name, false);
            } else if let Some((name, message)) = line.split_once(':') {
                first.entry(name).or_insert(message);
            }
        }
        assert!(!valid.is_empty(), "xmllint said nothing that we know: {said:.500}");
        for name in &names {
            // What is not well-formed never gets as far as a verdict.
            let message = first.get(name.as_str()).copied().unwrap_or("valid").to_owned();
            verdicts.push(Verdict { valid: valid.get(name.as_str()) == Some(&true), message });
        }
    }
    verdicts
}
