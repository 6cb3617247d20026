//! A small reader of xl's configuration, strict: it knows what our writer may write and nothing else.
//!
//! It shares no code with the writer, and is no judge of what xl does: that is libxlutil (`tests/xl_reads_back.rs`). Here it
//! stands for it where each input must be cheap.

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// In quotes.
    Text(String),
    /// Digits.
    Number(u64),
    /// Strings in brackets.
    List(Vec<String>),
}

/// What a configuration holds, in its order.
///
/// # Errors
/// The byte from where on it is none.
pub fn read(text: &str) -> Result<Vec<(String, Value)>, usize> {
    let mut rest = Rest { text, at: 0 };
    let mut all = Vec::new();
    while rest.at < text.len() {
        let key = rest.while_in(|byte| byte.is_ascii_lowercase() || byte == b'_');
        rest.expect(" = ")?;
        let value = match rest.peek() {
            Some(b'"') => Value::Text(rest.string()?),
            Some(b'[') => {
                rest.expect("[\n")?;
                let mut items = Vec::new();
                while rest.peek() == Some(b' ') {
                    rest.expect("    ")?;
                    items.push(rest.string()?);
                    rest.expect(",\n")?;
                }
                rest.expect("]")?;
                Value::List(items)
            }
            _ => {
                let digits = rest.while_in(|byte| byte.is_ascii_digit());
                Value::Number(digits.parse().map_err(|_| rest.at)?)
            }
        };
        rest.expect("\n")?;
        if key.is_empty() || all.iter().any(|(other, _)| *other == key) {
            return Err(rest.at);
        }
        all.push((key, value));
    }
    Ok(all)
}

struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn while_in(&mut self, fits: impl Fn(u8) -> bool) -> String {
        let from = self.at;
        while self.peek().is_some_and(&fits) {
            self.at += 1;
        }
        self.text[from..self.at].to_owned()
    }

    fn expect(&mut self, what: &str) -> Result<(), usize> {
        if !self.text[self.at..].starts_with(what) {
            return Err(self.at);
        }
        self.at += what.len();
        Ok(())
    }

    /// A string in quotes, with `\"` and `\\` and no control character.
    fn string(&mut self) -> Result<String, usize> {
        self.expect("\"")?;
        let mut string = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += offset + 1;
                    return Ok(string);
                }
                '\\' => match chars.next() {
                    Some((_, char @ ('"' | '\\'))) => string.push(char),
                    _ => return Err(self.at + offset),
                },
                _ if char.is_control() => return Err(self.at + offset),
                _ => string.push(char),
            }
        }
        Err(self.text.len())
    }
}
