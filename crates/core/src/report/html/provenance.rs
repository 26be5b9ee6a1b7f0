//! What the figures were made from, how to make them again, and what the words mean.

use maud::{Markup, html};

use super::{Page, scrolling};
use crate::metric::Origin;

pub(super) fn render(page: &Page<'_>) -> Markup {
    html! {
        (facts(page))
        (inputs(page))
        (again(page))
        (words())
    }
}

fn facts(page: &Page<'_>) -> Markup {
    let p = &page.report.provenance;
    html! {
        dl.facts {
            dt { "Program" } dd { "blocklens " (p.blocklens) }
            @if let Some(engine) = &p.engine { dt { "Engine" } dd { (engine) } }
            dt { "Seed" } dd { (p.seed) }
            dt { "Design space" } dd { (page.report.profile.space) ", digest " code { (p.space_digest) } }
            @if let Some(store) = &p.store { dt { "Measurements" } dd { code { (store) } } }
            @if let Some(campaign) = &p.campaign { dt { "Campaign" } dd { code { (campaign) } } }
            dt { "Made" } dd { (p.created) }
        }
    }
}

fn inputs(page: &Page<'_>) -> Markup {
    let inputs = &page.report.provenance.inputs;
    if inputs.is_empty() {
        return html! {};
    }
    let table = html! {
        table.list {
            caption { "Inputs" }
            thead { tr { th scope="col" { "file" } th scope="col" { "hash" } } }
            tbody { @for input in inputs { tr { th scope="row" { (input.name) } td { code { (input.hash) } } } } }
        }
    };
    scrolling("Inputs", &table)
}

fn again(page: &Page<'_>) -> Markup {
    let timed = page
        .report
        .profile
        .metrics
        .iter()
        .any(|m| m.metric.origin == Origin::Measured);
    html! {
        h3 { "To compute this again" }
        pre { (page.report.command) }
        p {
            "The same seed draws the same architectures and gives the same figures from the same measurements."
            @if page.report.provenance.store.is_some() {
                " The store keeps every raw sample, so whatever is printed here can be computed from it again."
            }
            @if timed {
                " Measuring anew gives new times, which agree within the noise floor where the device is the same."
            }
        }
    }
}

/// The words of this page, each with its one meaning.
const WORDS: [(&str, &str); 13] = [
    (
        "Unit, layer, block",
        "A unit is a run of layers with one output shape; a layer is a position in it, here counted from 1; a block is \
         what stands there, \
         such as mbconv3_e6_k7: MBConv with expansion 6 and a 7\u{d7}7 kernel. A layer marked \u{201c}opt.\u{201d} is \
         left out by \
         architectures whose unit is shallower.",
    ),
    (
        "Effect",
        "The mean of a metric over architectures that hold the block at that place, minus the mean of those means over \
         all blocks \
         that can stand there. Everything else in the architecture is random.",
    ),
    (
        "Interval",
        "A 95\u{a0}% interval for each effect on its own. With many effects on a page, some intervals miss the truth: \
         about one in twenty.",
    ),
    (
        "Simultaneous interval",
        "Wider, so that with 95\u{a0}% probability all intervals of a family (all blocks, all depths, all averages of \
         a metric) hold \
         their truths together. The factor follows from how the errors depend on each other.",
    ),
    (
        "Bold",
        "The effect differs from zero even after correction for all effects of its metric (step-down maximum of their \
         joint \
         distribution); the chance of a single wrongly bold figure in a table is about 5\u{a0}% at most. Averages, \
         depths and rates carry \
         no such mark.",
    ),
    (
        "Ranks",
        "The ranks that the data leave open to a block, such as 1\u{2013}3: with 95\u{a0}% probability all true ranks \
         of its row lie within. \
         Blocks whose ranks overlap cannot all be told apart.",
    ),
    (
        "Excess time",
        "The latency effect of a block minus what its MAC effect costs at the device's average rate, in ms.",
    ),
    (
        "Relative rate",
        "The MACs per second of a block relative to the device's average; it can be known only where a layer is \
         optional.",
    ),
    (
        "Noise floor",
        "The relative spread of one network, the sentinel, measured again and again during the campaign, after drift \
         was removed.",
    ),
    (
        "Drift",
        "A slow change of the device's speed during a campaign, estimated from the sentinel and divided out.",
    ),
    (
        "Surrogate, estimated, simulated",
        "A surrogate is a model fitted to something else that stands in for a measurement and has an error of its own. \
         What is estimated comes from a model of the device, such as the cost model of its compiler. A simulated \
         metric \
         is a formula that imitates a device. None of them is a measurement.",
    ),
    (
        "MACs",
        "Multiply-accumulates of convolutions and linear layers at batch 1. One MAC is two floating-point operations.",
    ),
    (
        "pp",
        "Percentage points: the difference of two percentages.",
    ),
];

fn words() -> Markup {
    html! {
        h3 { "Words" }
        dl.words { @for (word, meaning) in WORDS { dt { (word) } dd { (meaning) } } }
    }
}
