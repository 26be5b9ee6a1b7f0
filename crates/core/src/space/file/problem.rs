//! What is wrong with a space file, and where.

use std::ops::Range;

use toml::Spanned;

use super::SpaceError;
use crate::space::did_you_mean;

/// What is wrong, and the part of the text that is to blame.
pub(super) struct Problem {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn at<T>(spanned: &Spanned<T>, message: impl Into<String>) -> Self {
        Self {
            span: Some(spanned.span()).filter(|span| !span.is_empty()),
            message: message.into(),
        }
    }

    pub(super) fn within(self, place: &str) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }

    pub(super) fn into_error(self, source_name: &str, text: &str) -> SpaceError {
        let line_of = |offset: usize| {
            let before = text.as_bytes().get(..offset).unwrap_or_default();
            before.iter().filter(|b| **b == b'\n').count() + 1
        };
        SpaceError::Malformed {
            source_name: source_name.to_owned(),
            line: self.span.map(|span| line_of(span.start)),
            message: self.message,
        }
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        Self {
            span: error.span(),
            message: with_suggestion(error.message()),
        }
    }
}

/// Adds the nearest of the known fields to "unknown field `x`, expected one of `a`, `b`".
fn with_suggestion(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), words.next()) {
        (true, Some(unknown)) => {
            let hint = did_you_mean(unknown, words);
            message.replacen(&format!("`{unknown}`"), &format!("`{unknown}`{hint}"), 1)
        }
        _ => message.to_owned(),
    }
}
