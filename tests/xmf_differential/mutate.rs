//! Job descriptions, changed at random but by one seed: elements dropped, doubled, swapped, renamed; values broken;
//! blanks, comments, CDATA sections, instructions put in; attributes, namespaces, references; encodings; raw bytes.

use crate::words::{
    ATTRIBUTES, BAD_ATTRIBUTES, BAD_TEXT, DECLARATIONS, HARMLESS, NAMES, STRAY, VALUES,
};

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// One document on its way.
pub(crate) struct Mutator {
    text: String,
    seed: Seed,
    pub(crate) story: Vec<String>,
}

impl Mutator {
    pub(crate) fn new(text: &str, seed: Seed) -> Self {
        Self { text: text.to_owned(), seed, story: Vec::new() }
    }

    /// Change the document; its bytes.
    pub(crate) fn run(&mut self) -> Vec<u8> {
        // Most documents get harmless changes alone, so that about half of all stay valid.
        for _ in 0..self.seed.below(4) {
            self.harmless();
        }
        if self.seed.below(100) < 52 {
            for _ in 0..=self.seed.below(2) {
                self.serious();
            }
        }
        self.encode()
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    fn insert(&mut self, at: usize, what: &str) {
        self.text.insert_str(at, what);
    }

    /// Changes that most often leave the verdict as it is.
    fn harmless(&mut self) {
        match self.seed.below(8) {
            0..=2 => {
                let what = *self.seed.pick(&HARMLESS);
                let at = self.boundary();
                self.tell(format!("{what:?} at {at}"));
                self.insert(at, what);
            }
            3 => self.double(&[
                "<imagefile",
                "<job",
                "<environment",
                "<authorizedkey",
                "<network",
                "<output",
            ]),
            4 => self.drop_one(&[
                "<name",
                "<vcpus",
                "<hostname",
                "<file",
                "<environment",
                "<network",
                "<input",
            ]),
            5 => self.refer(),
            6 => {
                let what = *self.seed.pick(&["\u{feff}", "\n", "<!-- end -->", "<?end?>", "  "]);
                self.tell(format!("{what:?} after the end"));
                if what != "\u{feff}" {
                    self.text.push_str(what);
                }
            }
            _ => {
                let what =
                    *self.seed.pick(&["é", "日本", "\u{1f600}", "'", "\"", ">", "]]", "\u{85}"]);
                self.value(what);
            }
        }
    }

    /// Changes that may well make the document invalid, or no XML at all.
    fn serious(&mut self) {
        match self.seed.below(22) {
            0 => self.drop_one(&["<"]),
            1 => self.double(&["<"]),
            2 => self.swap(),
            3 | 4 => self.rename(),
            5..=7 => {
                let what = *self.seed.pick(&VALUES);
                self.value(what);
            }
            8 => {
                let what = *self.seed.pick(&BAD_TEXT);
                self.value(what);
            }
            9 => {
                let what = *self.seed.pick(&STRAY);
                let at = self.boundary();
                self.tell(format!("stray {what:?} at {at}"));
                self.insert(at, what);
            }
            10..=13 => {
                let what = *self.seed.pick(&ATTRIBUTES);
                self.attribute(what);
            }
            14 => {
                let what = *self.seed.pick(&BAD_ATTRIBUTES);
                self.attribute(what);
            }
            15 => self.drop_attribute(),
            16 => {
                let what = *self.seed.pick(&DECLARATIONS);
                self.tell(format!("declaration {what:?}"));
                let end = self.text.find("?>").map_or(0, |at| at + 2);
                self.text.replace_range(..end, what);
            }
            17 => {
                let at = self.any_place();
                self.tell(format!("cut at {at}"));
                self.text.truncate(at);
            }
            18 => self.one_character(),
            19 => {
                let name = *self.seed.pick(&NAMES);
                let value = *self.seed.pick(&VALUES);
                let at = self.boundary();
                self.tell(format!("element {name} {value:?} at {at}"));
                self.insert(at, &format!("<{name}>{value}</{name}>"));
            }
            20 => {
                let prefix = *self.seed.pick(&["p:", "xs:", "xml:", ":"]);
                self.tell(format!("prefix {prefix}"));
                if let Some(at) = self.start_tag() {
                    self.insert(at + 1, prefix);
                }
            }
            _ => self.one_end_tag(),
        }
    }

    /// The place of a tag boundary: just before a `<` or just behind a `>`.
    fn boundary(&mut self) -> usize {
        let places: Vec<usize> = self
            .text
            .match_indices(['<', '>'])
            .map(|(at, found)| if found == ">" { at + 1 } else { at })
            .collect();
        if places.is_empty() { 0 } else { *self.seed.pick(&places) }
    }

    fn any_place(&mut self) -> usize {
        let at = self.seed.below(self.text.len() + 1);
        self.text.floor_char_boundary(at)
    }

    fn start_tags(&self, openings: &[&str]) -> Vec<usize> {
        let is_name = |c: char| c.is_alphabetic();
        self.text
            .match_indices('<')
            .map(|(at, _)| at)
            .filter(|at| self.text[at + 1..].starts_with(is_name))
            .filter(|at| openings.iter().any(|opening| self.text[*at..].starts_with(opening)))
            .collect()
    }

    fn start_tag(&mut self) -> Option<usize> {
        let tags = self.start_tags(&["<"]);
        (!tags.is_empty()).then(|| *self.seed.pick(&tags))
    }

    /// The element whose start tag begins at `at`, as far as its end tag can be found.
    fn element(&self, at: usize) -> std::ops::Range<usize> {
        let rest = &self.text[at..];
        let name_end =
            rest[1..].find(|c: char| !c.is_alphanumeric()).map_or(rest.len(), |end| end + 1);
        let tag_end = rest.find('>').map_or(rest.len(), |end| end + 1);
        if rest[..tag_end].ends_with("/>") {
            return at..at + tag_end;
        }
        let close = format!("</{}>", &rest[1..name_end]);
        at..rest.find(&close).map_or(at + tag_end, |end| at + end + close.len())
    }

    fn drop_one(&mut self, openings: &[&str]) {
        let tags = self.start_tags(openings);
        if tags.is_empty() {
            return;
        }
        let at = *self.seed.pick(&tags);
        let range = self.element(at);
        self.tell(format!("drop {:.30?}", &self.text[range.clone()]));
        self.text.replace_range(range, "");
    }

    fn double(&mut self, openings: &[&str]) {
        let tags = self.start_tags(openings);
        if tags.is_empty() {
            return;
        }
        let at = *self.seed.pick(&tags);
        let range = self.element(at);
        let copy = self.text[range.clone()].to_owned();
        self.tell(format!("double {copy:.30?}"));
        self.insert(range.end, &copy);
    }

    fn swap(&mut self) {
        let Some(at) = self.start_tag() else { return };
        let first = self.element(at);
        let Some(next) = self.text[first.end..].find('<').map(|next| first.end + next) else {
            return;
        };
        if self.text[next..].starts_with("</") {
            return;
        }
        let second = self.element(next);
        self.tell(format!("swap {:.20?}", &self.text[first.clone()]));
        let swapped = format!(
            "{}{}{}",
            &self.text[second.clone()],
            &self.text[first.end..second.start],
            &self.text[first.clone()]
        );
        self.text.replace_range(first.start..second.end, &swapped);
    }

    fn rename(&mut self) {
        let Some(at) = self.start_tag() else { return };
        let range = self.element(at);
        let rest = &self.text[at + 1..];
        let len = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let old = rest[..len].to_owned();
        let new = *self.seed.pick(&NAMES);
        self.tell(format!("rename {old} to {new}"));
        let close = format!("</{old}>");
        if self.text[range.clone()].ends_with(&close) {
            self.text.replace_range(range.end - close.len()..range.end, &format!("</{new}>"));
        }
        self.text.replace_range(at + 1..at + 1 + len, new);
    }

    /// Put a value into some element that holds text.
    fn value(&mut self, what: &str) {
        let places: Vec<(usize, usize)> = self
            .text
            .match_indices('>')
            .filter_map(|(at, _)| {
                let rest = &self.text[at + 1..];
                let end = rest.find('<')?;
                rest[end..].starts_with("</").then_some((at + 1, at + 1 + end))
            })
            .filter(|(start, end)| !self.text[*start..*end].trim().is_empty())
            .collect();
        if places.is_empty() {
            return;
        }
        let (start, end) = *self.seed.pick(&places);
        let replace = self.seed.below(2) == 0;
        self.tell(format!("value {what:?} for {:.20?}", &self.text[start..end]));
        self.text.replace_range(if replace { start..end } else { start..start }, what);
    }

    /// Write one character of some value as a reference, or as CDATA.
    fn refer(&mut self) {
        let at = self.any_place();
        let Some(c) = self.text[at..].chars().next().filter(|c| c.is_alphanumeric()) else {
            return;
        };
        let written = match self.seed.below(4) {
            0 => format!("&#{};", u32::from(c)),
            1 => format!("&#x{:x};", u32::from(c)),
            2 => format!("<![CDATA[{c}]]>"),
            _ => format!("{c}<!-- -->"),
        };
        let before = &self.text[..at];
        let in_tag = before.rfind('<') > before.rfind('>');
        // In a tag it would be no reference at all; half the time that is wanted.
        if in_tag && self.seed.below(8) > 0 {
            return;
        }
        self.tell(format!("{c} as {written} at {at}"));
        self.text.replace_range(at..at + c.len_utf8(), &written);
    }

    fn attribute(&mut self, what: &str) {
        // Some belong to one element: try that one first.
        let home = match what.split_once('=').map_or(what, |(name, _)| name) {
            "access" | "partition" | "identify" | "options" | "size" | "label" => "<imagefile",
            "timeout" | "user" => "<job",
            "bridge" | "mac" => "<network",
            "from" => "<kernel",
            "path" | "type" | "mode" => "<file ",
            _ if what.contains("s:int") || what.contains("s:byte") => "<memory",
            _ if what.contains("s:token") || what.contains("s:string") => "<command",
            _ => "<",
        };
        let mut tags = self.start_tags(&[home]);
        if tags.is_empty() || self.seed.below(4) == 0 {
            tags = self.start_tags(&["<"]);
        }
        if tags.is_empty() {
            return;
        }
        let at = *self.seed.pick(&tags);
        let rest = &self.text[at + 1..];
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        self.tell(format!("attribute {what} at {at}"));
        let blank = *self.seed.pick(&[" ", " ", "\n", "\t", "  "]);
        self.insert(at + 1 + end, &format!("{blank}{what}"));
    }

    fn drop_attribute(&mut self) {
        let places: Vec<usize> = self.text.match_indices("=\"").map(|(at, _)| at).collect();
        if places.is_empty() {
            return;
        }
        let equals = *self.seed.pick(&places);
        let start = self.text[..equals].rfind(char::is_whitespace).unwrap_or(0);
        let end = self.text[equals + 2..].find('"').map_or(self.text.len(), |end| equals + 3 + end);
        self.tell(format!("drop {:?}", &self.text[start..end]));
        self.text.replace_range(start..end, "");
    }

    fn one_character(&mut self) {
        let at = self.any_place();
        let new = *self.seed.pick(&[
            "<", ">", "&", "\"", "'", "/", "!", "?", "-", "[", "]", "=", ":", " ", "x", "",
        ]);
        let len = self.text[at..].chars().next().map_or(0, char::len_utf8);
        let replace = self.seed.below(2) == 0;
        self.tell(format!("{new:?} at {at}"));
        self.text.replace_range(if replace { at..at + len } else { at..at }, new);
    }

    fn one_end_tag(&mut self) {
        let places: Vec<usize> = self.text.match_indices("</").map(|(at, _)| at).collect();
        if places.is_empty() {
            return;
        }
        let at = *self.seed.pick(&places);
        let end = self.text[at..].find('>').map_or(self.text.len(), |end| at + end + 1);
        let new =
            *self.seed.pick(&["", "</x>", "</ job>", "</job x='1'>", "</job", "</>", "</job\n>"]);
        self.tell(format!("{new:?} for {:?}", &self.text[at..end]));
        self.text.replace_range(at..end, new);
    }

    /// Text to bytes: most often UTF-8, now and then something else, and now and then a broken byte.
    fn encode(&mut self) -> Vec<u8> {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        let declared = |text: &str, name: &str| {
            let end =
                if text.starts_with("<?xml") { text.find("?>").map_or(0, |at| at + 2) } else { 0 };
            format!("<?xml version=\"1.0\" encoding=\"{name}\"?>{}", &text[end..])
        };
        let latin1 = |text: &str| -> Vec<u8> {
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
        };
        let kind = self.seed.below(40);
        let mut bytes = match kind {
            0 => [b"\xff\xfe".to_vec(), utf16(&declared(&self.text, "UTF-16"), u16::to_le_bytes)]
                .concat(),
            1 => [b"\xfe\xff".to_vec(), utf16(&declared(&self.text, "UTF-16"), u16::to_be_bytes)]
                .concat(),
            2 => [b"\xff\xfe".to_vec(), utf16(&declared(&self.text, "utf-8"), u16::to_le_bytes)]
                .concat(),
            3 => utf16(&declared(&self.text, "UTF-16"), u16::to_le_bytes),
            4 => utf16(&declared(&self.text, "UTF-16"), u16::to_be_bytes),
            5 | 6 => latin1(&declared(&self.text, "ISO-8859-1")),
            7 => latin1(&self.text),
            8 => latin1(&declared(&self.text, "windows-1252")),
            9 => latin1(&declared(&self.text, "US-ASCII")),
            10 => declared(&self.text, "ISO-8859-15").into_bytes(),
            11 => declared(&self.text, "windows-1251").into_bytes(),
            12 => declared(&self.text, "UTF-16").into_bytes(),
            13..=15 => {
                [b"\xef\xbb\xbf".to_vec(), declared(&self.text, "UTF-8").into_bytes()].concat()
            }
            16 => {
                let wrong = *self.seed.pick(&["UTF-16LE", "utf-16be", "ISO-8859-1", "klingon"]);
                [b"\xff\xfe".to_vec(), utf16(&declared(&self.text, wrong), u16::to_le_bytes)]
                    .concat()
            }
            _ => self.text.clone().into_bytes(),
        };
        if kind < 17 {
            self.tell(format!("encoding {kind}"));
        } else if kind == 17 && !bytes.is_empty() {
            for _ in 0..=self.seed.below(3) {
                let at = self.seed.below(bytes.len());
                // Zero ends the document for libxml2: it is left out.
                bytes[at] = u8::try_from(1 + self.seed.below(255)).unwrap_or(1);
            }
            self.tell("bytes");
        }
        bytes
    }
}
