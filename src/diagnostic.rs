//! A finding in a text file: what, where, and a way out. Pure data; [`crate::snippet`] shows it.

use std::ops::Range;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document works, but perhaps not as meant.
    Warning,
    /// The document is refused.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What it is about, in bytes of the decoded source text.
    pub span: Range<usize>,
    /// What is wrong: lower case, no full stop, literals in backticks.
    pub message: String,
    /// What was expected there, shown beside the underline.
    pub expected: Option<String>,
    /// A way out, if one is known.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A finding that refuses the document.
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            expected: None,
            hint: None,
        }
    }

    /// A finding that lets the document pass.
    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// Say what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Show a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
