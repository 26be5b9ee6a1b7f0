//! "Did you mean": the nearest of the words that would have been right.

/// `; did you mean ...?` for the candidate nearest to `word`, or nothing when none is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    // Jaro-Winkler finds typing slips; below this similarity a suggestion misleads more than it helps.
    const NEAR: f64 = 0.75;
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, found)| {
            format!(" (did you mean `{found}`?)")
        })
}
