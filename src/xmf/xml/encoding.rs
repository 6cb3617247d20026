//! Bytes → text: which encoding a document is in, and whether its bytes keep to it.
//!
//! A byte order mark decides first, then the pattern of `<?` in UTF-16, then `encoding="…"` of the XML declaration,
//! then UTF-8:
//!
//! ```text
//! EF BB BF      UTF-8        FF FE / 3C 00 3F 00   UTF-16, little-endian
//! 3C 3F 78 6D   declared     FE FF / 00 3C 00 3F   UTF-16, big-endian
//! ```
//!
//! Served: UTF-8, UTF-16, US-ASCII, ISO-8859-1, -2 and -15, and windows-1250 to -1258. Any other name is refused by
//! that name. A byte that means nothing in its encoding refuses the document: no replacement characters.

use encoding_rs::Encoding;

use crate::diagnostic::Diagnostic;
use crate::xmf::suggest::shorten;

/// One of the two orders of bytes in UTF-16.
struct Order {
    name: &'static str,
    unit: fn([u8; 2]) -> u16,
}

const LITTLE: Order = Order { name: "UTF-16LE", unit: u16::from_le_bytes };
const BIG: Order = Order { name: "UTF-16BE", unit: u16::from_be_bytes };

/// Decode a document; the byte order mark is not part of the text.
///
/// # Errors
/// What is readable of the text up to the fault, and the diagnostic of the fault.
pub fn decode(bytes: &[u8]) -> Result<String, (String, Diagnostic)> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        let text = utf8(rest)?;
        return match declared(&text) {
            // Some readers believe the mark, some the declaration, and each reads another text.
            Some(name) if !is_utf8(&name) => Err(labelled(text, &name, "UTF-8")),
            _ => Ok(text),
        };
    }
    let utf16 = match bytes {
        [0xff, 0xfe, rest @ ..] => Some((rest, LITTLE)),
        [0xfe, 0xff, rest @ ..] => Some((rest, BIG)),
        [b'<', 0, b'?', 0, ..] => Some((bytes, LITTLE)),
        [0, b'<', 0, b'?', ..] => Some((bytes, BIG)),
        _ => None,
    };
    if let Some((rest, order)) = utf16 {
        let text = utf16_text(rest, order.unit)?;
        let agrees = |name: &str| {
            let ours =
                ["UTF-16", "UTF16", order.name].iter().any(|own| name.eq_ignore_ascii_case(own));
            // A document that was converted and kept its declaration: everybody reads it.
            ours || is_utf8(name)
        };
        return match declared(&text) {
            Some(name) if !agrees(&name) => Err(labelled(text, &name, "UTF-16")),
            _ => Ok(text),
        };
    }
    // The declaration itself is ASCII in every encoding that is left.
    let head: String = bytes.iter().take(256).map(|&byte| char::from(byte)).collect();
    match declared(&head) {
        None => utf8(bytes),
        Some(name) => named(bytes, &name),
    }
}

/// Decode bytes whose declaration names the encoding.
fn named(bytes: &[u8], name: &str) -> Result<String, (String, Diagnostic)> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        _ if is_utf8(name) => utf8(bytes),
        "us-ascii" | "ascii" => match bytes.iter().position(|byte| !byte.is_ascii()) {
            None => utf8(bytes),
            Some(at) => Err(bad_byte(&latin1(bytes), at, bytes.get(at), "US-ASCII")),
        },
        // encoding_rs reads this name as windows-1252, as browsers do; XML means the standard.
        "iso-8859-1" | "iso_8859-1" | "iso8859-1" | "latin1" => Ok(latin1(bytes)),
        _ if is_utf16(name) => Err(labelled(String::from_utf8_lossy(bytes).into(), name, "UTF-8")),
        _ => match single_byte(&lower) {
            Some(encoding) => code_page(bytes, encoding, name),
            None => {
                let text = latin1(bytes);
                let at = text.find(name).unwrap_or(0);
                let diagnostic = Diagnostic::error(
                    at..at + name.len(),
                    format!("encoding `{}` is not served", shorten(name)),
                )
                .expected("UTF-8, UTF-16, US-ASCII, ISO-8859-1 or a windows-125x code page")
                .hint(format!("convert the file: `iconv -f {name} -t UTF-8`, and declare UTF-8"));
                Err((text, diagnostic))
            }
        },
    }
}

fn single_byte(lower: &str) -> Option<&'static Encoding> {
    let code_page = lower.strip_prefix("windows-").or_else(|| lower.strip_prefix("cp"));
    let known = match code_page {
        Some(number) => (1250..=1258).any(|page| number == page.to_string()),
        None => matches!(lower, "iso-8859-2" | "iso-8859-15"),
    };
    let label = code_page.map_or(lower.to_owned(), |number| format!("windows-{number}"));
    if known { Encoding::for_label(label.as_bytes()) } else { None }
}

fn code_page(
    bytes: &[u8],
    encoding: &'static Encoding,
    name: &str,
) -> Result<String, (String, Diagnostic)> {
    let mut text = String::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        let one = [*byte];
        let decoded = encoding.decode_without_bom_handling_and_without_replacement(&one);
        // The web's tables put a C1 control where a code page has a gap; a gap is a fault here.
        let gap = encoding.name().starts_with("windows");
        match decoded {
            Some(c) if !(gap && c.contains(|c| matches!(c, '\u{80}'..='\u{9f}'))) => {
                text.push_str(&c)
            }
            _ => return Err(bad_byte(&text, text.len(), bytes.get(at), name)),
        }
    }
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<String, (String, Diagnostic)> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let text = String::from_utf8_lossy(bytes).into_owned();
            let (text, diagnostic) = bad_byte(&text, at, bytes.get(at), "UTF-8");
            let hint = "save the file as UTF-8, or name its encoding: <?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>";
            Err((text, diagnostic.hint(hint)))
        }
    }
}

fn utf16_text(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, (String, Diagnostic)> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    for c in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match c {
            Ok(c) => text.push(c),
            Err(error) => {
                let at = text.len();
                let message = format!(
                    "half a surrogate pair, {:#06x}, is no UTF-16",
                    error.unpaired_surrogate()
                );
                return Err((text, Diagnostic::error(at..at, message)));
            }
        }
    }
    if odd.is_empty() {
        return Ok(text);
    }
    let at = text.len();
    Err((text, Diagnostic::error(at..at, "the file ends in half a UTF-16 character")))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn bad_byte(text: &str, at: usize, byte: Option<&u8>, name: &str) -> (String, Diagnostic) {
    let byte = byte.copied().unwrap_or_default();
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
    (text.to_owned(), Diagnostic::error(at..end, format!("byte {byte:#04x} is no {name}")))
}

fn labelled(text: String, name: &str, really: &str) -> (String, Diagnostic) {
    let at = text.find(name).unwrap_or(0);
    let message = format!("the document says it is `{}`, but it is {really}", shorten(name));
    let end = (at + name.len()).min(text.len());
    (text, Diagnostic::error(at..end, message).hint(format!("declare encoding=\"{really}\"")))
}

fn is_utf8(name: &str) -> bool {
    name.eq_ignore_ascii_case("UTF-8") || name.eq_ignore_ascii_case("UTF8")
}

fn is_utf16(name: &str) -> bool {
    name.to_ascii_uppercase().starts_with("UTF-16") || name.eq_ignore_ascii_case("UTF16")
}

/// The value of `encoding` in the XML declaration that the text begins with.
fn declared(text: &str) -> Option<String> {
    let rest = text.strip_prefix("<?xml")?;
    let declaration = rest.split_once("?>").map_or(rest, |(declaration, _)| declaration);
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (name, _) = value[1..].split_once(quote)?;
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    // A name that is none is the declaration's fault, and reported there.
    valid.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        decode(bytes).expect_err("must be refused").1.message
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        assert_eq!(decode(b"\xef\xbb\xbf<a/>").unwrap(), "<a/>");
        assert_eq!(decode(b"\xff\xfe<\0a\0/\0>\0").unwrap(), "<a/>");
        assert_eq!(decode(b"\xfe\xff\0<\0a\0/\0>").unwrap(), "<a/>");
    }

    #[test]
    fn latin_1_is_the_standard_and_not_the_code_page() {
        let text = decode(b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\x80\xe9</a>").unwrap();
        assert!(text.ends_with("<a>\u{80}é</a>"));
        let text = decode(b"<?xml version='1.0' encoding='windows-1252'?><a>\x80</a>").unwrap();
        assert!(text.ends_with("<a>€</a>"));
    }

    #[test]
    fn a_byte_outside_its_encoding_refuses_the_document() {
        assert_eq!(message(b"<a>\xff</a>"), "byte 0xff is no UTF-8");
        assert_eq!(
            message(b"<?xml version='1.0' encoding='US-ASCII'?><a>\xe9</a>"),
            "byte 0xe9 is no US-ASCII"
        );
        // 0x81 is a gap in windows-1252.
        assert_eq!(
            message(b"<?xml version='1.0' encoding='windows-1252'?><a>\x81</a>"),
            "byte 0x81 is no windows-1252"
        );
        assert_eq!(message(b"\xff\xfe<\0\0\xd8"), "half a surrogate pair, 0xd800, is no UTF-16");
        assert_eq!(message(b"\xff\xfe<\0a"), "the file ends in half a UTF-16 character");
    }

    #[test]
    fn an_encoding_that_is_not_served_is_refused_by_name() {
        assert_eq!(
            message(b"<?xml version='1.0' encoding='EBCDIC-CP-US'?><a/>"),
            "encoding `EBCDIC-CP-US` is not served"
        );
        assert_eq!(
            message(b"<?xml version='1.0' encoding='UTF-16'?><a/>"),
            "the document says it is `UTF-16`, but it is UTF-8"
        );
        assert_eq!(
            message(b"\xef\xbb\xbf<?xml version='1.0' encoding='windows-1252'?><a/>"),
            "the document says it is `windows-1252`, but it is UTF-8"
        );
    }
}
