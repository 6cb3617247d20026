//! Job descriptions from strangers: whatever the bytes, a check ends with findings, soon and without a panic.

use autoxen::diagnostic::Severity;
use autoxen::{snippet, xmf};
use proptest::prelude::*;

fn errors(bytes: &[u8]) -> Vec<String> {
    let checked = xmf::check(bytes);
    for found in &checked.diagnostics {
        // Whoever shows a finding must not stumble over its place.
        assert!(!snippet::render("job.xml", &checked.text, found, true).is_empty());
        assert!(snippet::to_json("job.xml", &checked.text, found).is_object());
    }
    let errors = checked.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let errors: Vec<String> = errors.map(|found| found.message.clone()).collect();
    assert_eq!(checked.document.is_none(), !errors.is_empty());
    errors
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_not_read() {
    let mut bytes = include_bytes!("../schema/examples/hello.xml").to_vec();
    bytes.resize(xmf::MAX_LEN, b'\n');
    assert_eq!(errors(&bytes), [""; 0]);
    bytes.push(b'\n');
    assert_eq!(errors(&bytes), ["the file is too long"]);
}

#[test]
fn a_billion_laughs_are_one_refusal() {
    let mut text = String::from("<!DOCTYPE x [<!ENTITY a0 'ha'>");
    for level in 1..30 {
        let inner = format!("&a{};", level - 1).repeat(10);
        text.push_str(&format!("<!ENTITY a{level} '{inner}'>"));
    }
    text.push_str("]><xenmetaconfig/>");
    assert_eq!(errors(text.as_bytes())[0], "a DOCTYPE is not served");
}

#[test]
fn no_file_and_no_host_is_asked_for() {
    let text = "<!DOCTYPE xenmetaconfig SYSTEM 'http://127.0.0.1:1/x.dtd' [<!ENTITY p SYSTEM \
        'file:///etc/passwd'>]><xenmetaconfig><general><memory>&p;</memory></general></xenmetaconfig>";
    let errors = errors(text.as_bytes());
    for message in ["a DOCTYPE is not served", "unknown entity `p`"] {
        assert!(errors.iter().any(|error| error == message), "{errors:?}");
    }
}

#[test]
fn a_mebibyte_of_trouble_has_a_bounded_number_of_findings() {
    for piece in [
        "<x>",
        "</x>",
        "&",
        "<",
        "<a b='1' ",
        "&#0;",
        "<x/>",
        "\u{1}",
        "<!--",
        "]]>",
        "<?",
        "é",
        "<x a='1'>",
    ] {
        let whole = piece.repeat(xmf::MAX_LEN / piece.len());
        assert!(errors(whole.as_bytes()).len() <= 201, "{piece}");
        let room = xmf::MAX_LEN / piece.len() - 20;
        let inside = format!("<xenmetaconfig>{}</xenmetaconfig>", piece.repeat(room));
        assert!((1..=201).contains(&errors(inside.as_bytes()).len()), "{piece}");
    }
    let files: String =
        (0..30_000).map(|number| format!("<file path='/{number}/../x'/>")).collect();
    assert!(
        errors(format!("<xenmetaconfig><imagefile>{files}</imagefile></xenmetaconfig>").as_bytes())
            .len()
            <= 201
    );
    let names: String = (0..50_000).map(|number| format!(" a{number}=''")).collect();
    assert!(errors(format!("<xenmetaconfig{names}/>").as_bytes()).len() <= 201);
    let prefixes: String = (0..30_000).map(|number| format!(" xmlns:a{number}='u'")).collect();
    let children = "<a1:x/>".repeat(20_000);
    let text = format!("<xenmetaconfig{prefixes}>{children}</xenmetaconfig>");
    assert!(errors(text.as_bytes()).len() <= 201);
}

#[test]
fn the_reason_of_a_refusal_is_never_cut_off() {
    let user =
        "<job user='grid' timeout='1'><command>x</command><output path='/x'/></job>".repeat(80);
    let text = format!(
        "<xenmetaconfig><general><memory>1</memory></general><imagefile><filesystemtype>ext4</filesystemtype>\
         <mountpoint>/</mountpoint><blockdevice>xvda</blockdevice><url>x</url></imagefile>{user}\
         <whendone>never</whendone></xenmetaconfig>"
    );
    assert_eq!(
        errors(text.as_bytes()),
        ["`output`: there is no disk that carries it home", "`whendone`: unknown value `never`"]
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        errors(&bytes);
    }

    #[test]
    fn arbitrary_markup_does_not_panic(
        pieces in proptest::collection::vec(
            prop::sample::select(vec![
                "<", ">", "/", "=", "'", "\"", "&", ";", "#", "x", "!", "--", "[", "]", "?", "xml", " ", "\n", "\r",
                "é", "\u{1f600}", "\u{feff}", "<a", "</a>", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "&lt;",
                "xmlns", ":", "<xenmetaconfig>", "</xenmetaconfig>", "<general>", "<memory>1</memory>", "</general>",
                "<imagefile size='1M'>", "<blockdevice>xvda</blockdevice>", "</imagefile>", "<job>", "</job>",
            ]),
            0..60,
        )
    ) {
        errors(pieces.concat().as_bytes());
    }

    #[test]
    fn an_example_with_arbitrary_bytes_in_it_does_not_panic(
        at in 0usize..2000,
        patch in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = include_bytes!("../schema/examples/full.xml").to_vec();
        let at = at.min(bytes.len());
        let end = (at + patch.len()).min(bytes.len());
        bytes.splice(at..end, patch);
        errors(&bytes);
    }
}
