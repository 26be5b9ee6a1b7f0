//! Ranks in words.

use crate::profile::{RankOf, Ranked};

/// The ranks that the data leave open: `2`, or `1\u{2013}3`.
pub(super) fn rank_text(item: &Ranked) -> String {
    if item.best == item.worst {
        item.best.to_string()
    } else {
        format!("{}\u{2013}{}", item.best, item.worst)
    }
}

/// What is ranked, for headings.
pub(super) fn rank_heading(of: RankOf) -> &'static str {
    match of {
        RankOf::Blocks => "Blocks",
        RankOf::Kernels => "Kernels",
        RankOf::Expansions => "Expansions",
        RankOf::Depths => "Depths",
        RankOf::Placements => "Places, by how much the block there matters",
    }
}
