//! Why a file gives no table.

use super::{Account, LARGEST_FILE, LONGEST_LINE, column};
use crate::text::NotText;

/// Why a file is not a table of values for a space.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueTableError {
    /// Too many bytes.
    #[error("{file} is larger than {} MiB: split it, or keep only the columns that are needed", LARGEST_FILE >> 20)]
    TooLarge {
        /// The file.
        file: String,
    },
    /// A line, or a quoted field, that does not end.
    #[error(
        "{file}:{line}: the line is longer than {} KiB: a quotation mark may be missing, or this is another kind of \
         file",
        LONGEST_LINE >> 10
    )]
    LongLine {
        /// The file.
        file: String,
        /// Where it begins, counted from 1.
        line: u64,
    },
    /// Not a file of this format.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not text.
    #[error("{file} is no text: {problem}")]
    NotText {
        /// The file.
        file: String,
        /// Where it is none.
        problem: NotText,
    },
    /// This build does not read Parquet.
    #[error(
        "{file} is a Parquet file, which this build of blocklens does not read: build it with `--features parquet`, or \
         write the table as CSV or JSON lines"
    )]
    NoParquet {
        /// The file.
        file: String,
    },
    /// No architectures.
    #[error(
        "{file} has no column `{}`, which every table of values needs, with architectures such as r224/e4k3,e6k5/... \
         (in CSV in quotes{}): it has {columns}; rename the one that holds the architectures",
        column::ARCH,
        "; in JSON lines an OFA dictionary is read too"
    )]
    NoArch {
        /// The file.
        file: String,
        /// The columns that it has.
        columns: String,
    },
    /// The column asked for is not there.
    #[error(
        "{file} has no column `{column}`: it has {columns}; ask for one of these, as COLUMN@{file}, \
         and say its unit behind a colon where the header says none (latency:us@{file})"
    )]
    NoColumn {
        /// The file.
        file: String,
        /// The column asked for.
        column: String,
        /// The columns that it has.
        columns: String,
    },
    /// Several columns could be meant.
    #[error(
        "{file} has several columns that are called `{column}`: {columns}; rename all but one, or ask for one with its \
         unit"
    )]
    Ambiguous {
        /// The file.
        file: String,
        /// The column asked for.
        column: String,
        /// Those that could be meant.
        columns: String,
    },
    /// Whether smaller or larger is better does not follow from the name.
    #[error(
        "whether lower or higher values of `{column}` are better does not follow from its name: say it behind the \
         name, as \
         `{column}:higher@{file}` or `{column}:lower@{file}`, or rename the column so that it begins with latency, \
         energy, \
         memory, params, macs, error or loss (lower is better) or with accuracy, top1, top5 or score (higher is better)"
    )]
    NoDirection {
        /// The file.
        file: String,
        /// The column.
        column: String,
    },
    /// No row gives a value.
    #[error("no row gives a value for an architecture of the space: {account}")]
    Nothing {
        /// What became of the rows.
        account: Box<Account>,
    },
}
