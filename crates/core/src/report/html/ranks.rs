//! What is best in every unit, and what cannot be told apart.

use maud::{Markup, html};

use super::super::ranks::{rank_heading, rank_text};
use super::super::view::View;
use super::cell::{Cell, Weight, empty};
use super::{Page, absent, chip, scrolling};
use crate::profile::{RankOf, Ranked, Ranking};

pub(super) fn render(page: &Page<'_>) -> Markup {
    let ranked: Vec<&View<'_>> = page
        .views
        .iter()
        .filter(|v| !v.profile.ranks.is_empty())
        .collect();
    if ranked.is_empty() {
        return absent("The profile ranks nothing: no layer offers a choice.");
    }
    html! {
        p.lead {
            "Rank 1 is best. A range such as 1\u{2013}3 is what the data leave open: all pairs of a row are compared \
             at once, and with 95\u{a0}% \
             probability all its true ranks lie within. Where ranges overlap, the data cannot tell which is better; a \
             wide range is \
             small and grey."
        }
        div.pairs { @for view in ranked { div {
            h3 { (view.heading) (chip(view)) }
            @for of in [RankOf::Blocks, RankOf::Kernels, RankOf::Expansions, RankOf::Depths] { (table(view, of)) }
            (places(view))
        } } }
    }
}

fn of_kind<'a>(view: &View<'a>, of: RankOf) -> Vec<&'a Ranking> {
    view.profile.ranks.iter().filter(|r| r.of == of).collect()
}

/// One row for the network and for every unit, one column for everything that is ranked somewhere.
fn table(view: &View<'_>, of: RankOf) -> Markup {
    let rankings = of_kind(view, of);
    if rankings.is_empty() {
        return html! {};
    }
    let mut names: Vec<&str> = rankings
        .iter()
        .flat_map(|r| r.items.iter().map(|i| &*i.name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let shared = shared_beginning(&names);
    let caption = format!("{}: ranks by {}", rank_heading(of), view.heading);
    let table = html! {
        table.map.dense {
            caption { b { (caption) } }
            thead { tr {
                th scope="col" { "where" }
                @for name in &names { th scope="col" title=(name) { (name[shared..]) } }
            } }
            tbody { @for ranking in &rankings { tr {
                th scope="row" { @match ranking.unit { Some(unit) => { "unit " (unit) } None => "network" } }
                @for name in &names {
                    @match ranking.items.iter().find(|i| i.name == *name) {
                        Some(item) => (cell(view, item, ranking.items.len())),
                        None => (empty()),
                    }
                }
            } } }
        }
    };
    scrolling(&caption, &table)
}

/// Bytes of the longest beginning, up to an underscore, that all names have: nine blocks are too wide with it.
fn shared_beginning(names: &[&str]) -> usize {
    let [first, others @ ..] = names else {
        return 0;
    };
    let ends = first.match_indices('_').map(|(i, _)| i + 1).rev();
    let shared = |end: &usize| others.iter().all(|name| name.starts_with(&first[..*end]));
    ends.filter(|_| !others.is_empty())
        .find(shared)
        .unwrap_or(0)
}

#[allow(clippy::cast_precision_loss)]
fn cell(view: &View<'_>, item: &Ranked, of: usize) -> Cell {
    let middle = (item.best + item.worst) as f64 / 2.0;
    let open = item.worst - item.best;
    Cell {
        number: rank_text(item),
        small: None,
        title: Some(format!(
            "{}: rank {} of {of}, {}",
            item.name,
            rank_text(item),
            view.effect(&item.score)
        )),
        goodness: 1.0 - 2.0 * (middle - 1.0) / (of.max(2) - 1) as f64,
        weight: if open == 0 {
            Weight::Sure
        } else if 2 * open < of {
            Weight::Plain
        } else {
            Weight::Unsure
        },
    }
}

/// Placements, the most important first.
fn places(view: &View<'_>) -> Markup {
    let Some(ranking) = of_kind(view, RankOf::Placements).into_iter().next() else {
        return html! {};
    };
    let caption = rank_heading(ranking.of);
    let table = html! {
        table.list {
            caption { (caption) }
            thead { tr {
                th scope="col" { "where" }
                th.n scope="col" { "ranks" }
                th.n scope="col" { "standard deviation (" (view.in_unit()) ")" }
            } }
            tbody { @for item in &ranking.items { tr {
                th scope="row" { (item.name) }
                td.n { (rank_text(item)) " of " (ranking.items.len()) }
                td.n { (view.effect(&item.score)) }
            } } }
        }
    };
    scrolling(caption, &table)
}

#[cfg(test)]
mod tests {
    use super::shared_beginning;

    #[test]
    fn names_are_told_apart_by_what_is_left_of_them() {
        assert_eq!(shared_beginning(&["mbconv3_e3_k3", "mbconv3_e6_k3"]), 8);
        assert_eq!(shared_beginning(&["mbconv3_e3_k3", "mbconv3_e3_k5"]), 11);
        assert_eq!(shared_beginning(&["mbconv3_e3_k3", "skip"]), 0);
        assert_eq!(shared_beginning(&["mbconv3_e3_k3"]), 0);
        assert_eq!(shared_beginning(&[]), 0);
    }
}
