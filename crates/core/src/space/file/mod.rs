//! The file format of design spaces (TOML) and its checks; `docs/space-format.md` specifies it.

mod build;
mod format;
mod problem;
#[cfg(test)]
mod tests;

use super::{DesignSpace, SpaceSource, did_you_mean};
use format::File;
use problem::Problem;

/// The built-in spaces: name and file.
const BUILTIN: [(&str, &str); 3] = [
    ("ofa-mbv3", include_str!("../../../spaces/ofa-mbv3.toml")),
    (
        "ofa-proxyless",
        include_str!("../../../spaces/ofa-proxyless.toml"),
    ),
    (
        "ofa-resnet50",
        include_str!("../../../spaces/ofa-resnet50.toml"),
    ),
];

/// A design space that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// The name is none of the built-in ones.
    #[error("there is no design space `{name}`{}; the built-in ones are: \
        {}", did_you_mean(name, known.iter().map(String::as_str)), known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The file is not what the format asks for.
    #[error("{source_name}{}: {message}", line.map_or_else(String::new, |n| format!(":{n}")))]
    Malformed {
        /// The file's name.
        source_name: String,
        /// The line, counted from 1, where one line is to blame.
        line: Option<usize>,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The space does not offer this width multiplier.
    #[error("the space `{space}` has no width {width}; it has: {}", list(widths))]
    Width {
        /// The space's name.
        space: String,
        /// What was asked for.
        width: f64,
        /// What there is.
        widths: Vec<f64>,
    },
}

fn list(widths: &[f64]) -> String {
    let widths: Vec<String> = widths.iter().map(ToString::to_string).collect();
    widths.join(", ")
}

impl DesignSpace {
    /// Names of the built-in spaces.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The built-in space `name` at `width` (its default width when `None`).
    ///
    /// # Errors
    /// [`SpaceError::Unknown`] or [`SpaceError::Width`].
    pub fn builtin(name: &str, width: Option<f64>) -> Result<Self, SpaceError> {
        let text = Self::builtin_source(name).ok_or_else(|| SpaceError::Unknown {
            name: name.to_owned(),
            known: Self::builtin_names().map(str::to_owned).collect(),
        })?;
        Self::from_toml(name, text, width)
    }

    /// The file of the built-in space `name`, as a readable table.
    #[must_use]
    pub fn builtin_source(name: &str) -> Option<&'static str> {
        let found = BUILTIN.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text)
    }

    /// Reads a space file that names no further files. `source_name` is what errors call the file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_toml(
        source_name: &str,
        text: &str,
        width: Option<f64>,
    ) -> Result<Self, SpaceError> {
        Self::read(source_name, &SpaceSource::text(text), width)
    }

    /// Reads a space file and the blocks that it brings, at `width` (its default width when `None`).
    /// `source_name` is what errors call the file.
    ///
    /// # Errors
    /// [`SpaceError::Malformed`] with the line for text that is not such a file,
    /// [`SpaceError::Width`] for a width that the file does not offer.
    pub fn read(
        source_name: &str,
        source: &SpaceSource,
        width: Option<f64>,
    ) -> Result<Self, SpaceError> {
        let text = source.text.as_str();
        let malformed = |problem: Problem| problem.into_error(source_name, text);
        let file: File = toml::from_str(text).map_err(|e| malformed(e.into()))?;
        file.check().map_err(malformed)?;
        let width = width.unwrap_or_else(|| file.default_width());
        let widths = file.widths.get_ref();
        if !widths.contains(&width) {
            return Err(SpaceError::Width {
                space: file.name.into_inner(),
                width,
                widths: widths.clone(),
            });
        }
        let fragments = file.fragments(source).map_err(malformed)?;
        let mut space = file.into_space(width, &fragments).map_err(malformed)?;
        let check = space.check_places(&fragments);
        space.instances = check.map_err(|message| {
            malformed(Problem {
                span: None,
                message,
            })
        })?;
        space.source = source.clone();
        space.digest = digest(source, width, space.all_in_eights());
        Ok(space)
    }
}

/// A short name for (files, width): 64 bits of FNV-1a, enough to notice a changed file. Versions of before built all
/// channels in multiples of 8, so a space with other channels has other networks than the same file had there.
fn digest(source: &SpaceSource, width: f64, in_eights: bool) -> String {
    let seed = crate::seed::Seed(width.to_bits()).stream(&source.text);
    let seed = source.files.iter().fold(seed, |seed, (name, bytes)| {
        seed.stream(name).stream_bytes(bytes)
    });
    let seed = match in_eights {
        true => seed,
        false => seed.stream("channels as they are written"),
    };
    format!("{:016x}", seed.0)
}
