//! Public data sets that metrics use by name: latency tables, accuracy predictors.
//!
//! A [`Catalogue`] says which there are, where they are published and how their files are recognised; a [`DataFolder`]
//! holds those that the user fetched or added.

mod catalogue;
mod curl;
mod error;
mod fetch;
mod folder;

pub use catalogue::{Catalogue, DataSet, FileSpec};
pub use error::DataError;
pub use fetch::{Fetch, Origin};
pub use folder::{Added, DataFile, DataFolder, State};
