//! Our validation and libxml2's, on thousands of mutated job descriptions: the verdicts are equal on every one.
//!
//! Left out is what we refuse on our own although libxml2 accepts it, each of which has a test of its own beside the
//! code: a DOCTYPE, elements nested more than 32 deep, files of more than 1 MiB, encodings that we do not serve, a byte
//! order mark of UTF-8 that the declaration contradicts. And a zero byte, which ends the document for libxml2, whatever
//! follows.

mod judge;
mod mutate;
mod words;

use autoxen::xmf::{self, xsd::Schema};
use judge::xmllint;
use mutate::{Mutator, Seed};

/// Documents a run. All come from one seed: a failure is there again in the next run.
const COUNT: usize = 6000;

struct Corpus {
    documents: Vec<Vec<u8>>,
    /// What was done to each.
    stories: Vec<String>,
}

fn corpus() -> Corpus {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/examples");
    let mut examples: Vec<_> = std::fs::read_dir(directory)
        .expect("the examples are part of the project")
        .map(|entry| entry.expect("a directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    examples.sort();
    let texts: Vec<(String, String)> = examples
        .iter()
        .map(|path| {
            let name = path.file_name().expect("it is a file").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("examples are UTF-8"))
        })
        .collect();
    let plain = texts.iter().find(|(name, _)| name == "report-2007.xml").expect("it is there");
    let mut corpus = Corpus { documents: Vec::new(), stories: Vec::new() };
    for number in 0..COUNT {
        let mut seed = Seed::new(number as u64);
        // Two of three begin as version 1.0, so that its schema sees valid ones too.
        let (name, text) = if number % 3 != 0 { plain } else { seed.pick(&texts) };
        let mut mutator = Mutator::new(text, seed);
        let document = mutator.run();
        corpus.stories.push(format!("{number} from {name}: {}", mutator.story.join(", ")));
        corpus.documents.push(document);
    }
    corpus
}

fn compare(xsd: &str) {
    let path = format!("{}/schema/{xsd}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the schema is part of the project");
    let schema: Schema = xmf::read_schema(&text).expect("our own schema");
    let corpus = corpus();
    let theirs = xmllint(&path, &corpus.documents);
    let mut differences = Vec::new();
    let mut valid = 0;
    for (index, document) in corpus.documents.iter().enumerate() {
        let ours = xmf::validate_schema(&schema, document);
        valid += usize::from(theirs[index].valid);
        if ours.is_ok() != theirs[index].valid {
            let ours = match ours {
                Ok(()) => "valid".to_owned(),
                Err(findings) => findings[0].message.clone(),
            };
            differences.push(format!(
                "{}\n  ours:   {ours}\n  theirs: {}\n  {}",
                corpus.stories[index],
                theirs[index].message,
                document.escape_ascii()
            ));
        }
    }
    let shown = differences.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {COUNT} differ\n{shown}", differences.len());
    // A corpus of one kind would prove nothing.
    let share = valid * 100 / COUNT;
    assert!((25..=75).contains(&share), "{share}% of the documents are valid");
}

#[test]
fn today_s_schema_gives_the_verdict_of_libxml2() {
    compare("xmf.xsd");
}

#[test]
fn the_schema_of_2007_gives_the_verdict_of_libxml2() {
    compare("xmf-1.0.xsd");
}

#[test]
fn what_is_valid_in_2007_is_valid_today() {
    let old = xmf::read_schema(xmf::XMF_1_0_XSD).expect("our own schema");
    let new = xmf::read_schema(xmf::XMF_XSD).expect("our own schema");
    let corpus = corpus();
    let mut valid = 0;
    for (document, story) in corpus.documents.iter().zip(&corpus.stories) {
        if xmf::validate_schema(&old, document).is_ok() {
            valid += 1;
            assert!(xmf::validate_schema(&new, document).is_ok(), "{story}");
        }
    }
    assert!(valid * 4 >= COUNT, "only {valid} of {COUNT} are valid in 2007");
}
