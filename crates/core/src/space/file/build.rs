//! From what is written to a design space, with its checks.

use std::collections::BTreeMap;

use toml::Spanned;

use super::format::{Depth, File, FileBlock, FileBlocks, FileUnit, Resolutions, SqueezeExcite};
use super::problem::Problem;
use crate::fragment::{Declaration, Formula, Fragment};
use crate::shape::scaled_channels;
use crate::space::block::{Block, expand_braces, is_builtin_kind};
use crate::space::fixed::FixedLayer;
use crate::space::places::Instances;
use crate::space::ratio::Ratio;
use crate::space::unit::{Candidates, Multiplier, Unit, UnitWidth};
use crate::space::{DesignSpace, SpaceSource, did_you_mean};

/// The version of the format that is read.
const FORMAT: u32 = 2;
/// Most units of a space, layers of a unit, and layers of stem or head.
const MOST_LAYERS: usize = 64;
/// Most candidate blocks of a layer.
const MOST_CHOICES: usize = 255;
/// Most widths of a unit.
const MOST_WIDTHS: usize = 32;
/// Most resolutions of a space.
const MOST_RESOLUTIONS: usize = 4096;
/// Largest number of channels.
const MOST_CHANNELS: u32 = 1 << 16;
/// Squeeze-and-excitation of `squeeze-excite = true`.
const USUAL_SQUEEZE: f64 = 0.25;

impl File {
    pub(super) fn default_width(&self) -> f64 {
        let first = self.widths.get_ref().first().copied();
        let named = self.default_width.as_ref().map(|w| *w.get_ref());
        named.or(first).unwrap_or(1.0)
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        let format = *self.format.get_ref();
        if format != FORMAT {
            let message =
                format!("field `format`: {format} is unknown; this version reads {FORMAT}");
            return Err(Problem::at(&self.format, message));
        }
        let name = self.name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
            let message = "field `name`: needs 1 to 100 letters, digits, `-`, `_` or `.`";
            return Err(Problem::at(&self.name, message));
        }
        if !(1..=MOST_CHANNELS).contains(self.classes.get_ref()) {
            let message = format!("field `classes`: needs 1 to {MOST_CHANNELS}");
            return Err(Problem::at(&self.classes, message));
        }
        let epsilon = *self.batch_norm_epsilon.get_ref();
        if !(1e-12..=1.0).contains(&epsilon) {
            let message = "field `batch-norm-epsilon`: needs 1e-12 to 1";
            return Err(Problem::at(&self.batch_norm_epsilon, message));
        }
        check_multipliers(&self.widths, "widths")?;
        if let Some(default) = &self.default_width
            && !self.widths.get_ref().contains(default.get_ref())
        {
            let message = format!(
                "field `default-width`: {} is not among `widths`",
                default.get_ref()
            );
            return Err(Problem::at(default, message));
        }
        if self.unit.is_empty() || self.unit.len() > MOST_LAYERS {
            return Err(Problem {
                span: self.unit.get(MOST_LAYERS).map(Spanned::span),
                message: format!("a space has 1 to {MOST_LAYERS} units ([[unit]] tables)"),
            });
        }
        for (field, layers) in [("stem", &self.stem), ("head", &self.head)] {
            check_count(layers, field)?;
        }
        Ok(())
    }

    /// The blocks that the file brings, by name.
    pub(super) fn fragments(&self, source: &SpaceSource) -> Result<Fragments, Problem> {
        let read = |(name, block): (&String, &Spanned<FileBlock>)| {
            let fragment = block.get_ref().read(name, source);
            match fragment {
                Ok(fragment) => Ok((name.clone(), fragment)),
                Err(message) => Err(Problem::at(block, message)),
            }
        };
        self.block.iter().map(read).collect()
    }

    pub(super) fn into_space(
        self,
        width: f64,
        fragments: &Fragments,
    ) -> Result<DesignSpace, Problem> {
        let (resolutions, usual) = self.resolutions()?;
        let stem = fixed_layers(&self.stem, "stem", width, fragments)?;
        let head = fixed_layers(&self.head, "head", width, fragments)?;
        check_head(&self.head, &head)?;
        let default_resolution = match &self.default_resolution {
            None => *usual.last().or(resolutions.last()).unwrap_or(&0),
            Some(spanned) if resolutions.contains(spanned.get_ref()) => *spanned.get_ref(),
            Some(spanned) => {
                let found = spanned.get_ref();
                let message =
                    format!("field `default-resolution`: {found} is not among the resolutions");
                return Err(Problem::at(spanned, message));
            }
        };
        let units = self.unit.iter().enumerate();
        let units: Vec<Unit> = units
            .map(|(i, unit)| {
                let read = unit.get_ref().to_unit(unit, width, fragments);
                read.map_err(|problem| problem.within(&format!("unit {}", i + 1)))
            })
            .collect::<Result<_, _>>()?;
        if let Some(ofa) = &self.ofa {
            let fits = ofa.get_ref().check(&units);
            fits.map_err(|message| Problem::at(ofa, format!("table `ofa`: {message}")))?;
        }
        let name = self.name.into_inner();
        Ok(DesignSpace {
            title: self.title.unwrap_or_else(|| name.clone()),
            name,
            classes: self.classes.into_inner(),
            width,
            widths: self.widths.into_inner(),
            usual_resolutions: usual,
            default_resolution,
            resolutions,
            batch_norm_epsilon: self.batch_norm_epsilon.into_inner(),
            stem,
            units,
            head,
            ofa: self.ofa.map(Spanned::into_inner),
            instances: Instances::default(),
            source: SpaceSource::default(),
            digest: String::new(),
        })
    }

    /// All resolutions, ascending, and the usual ones.
    pub(super) fn resolutions(&self) -> Result<(Vec<u32>, Vec<u32>), Problem> {
        let problem = |message: String| {
            Err(Problem::at(
                &self.resolutions,
                format!("field `resolutions`: {message}"),
            ))
        };
        let (all, usual) = match self.resolutions.get_ref() {
            Resolutions::List(list) => {
                let mut sorted = list.clone();
                sorted.sort_unstable();
                sorted.dedup();
                (sorted.clone(), sorted)
            }
            Resolutions::Range(r) => {
                if r.step == 0 || r.min > r.max || r.max > 4096 {
                    return problem("needs min <= max <= 4096 and a step above 0".into());
                }
                let all: Vec<u32> = (r.min..=r.max).step_by(r.step as usize).collect();
                (all, r.usual.clone())
            }
        };
        if all.is_empty()
            || all.len() > MOST_RESOLUTIONS
            || all.iter().any(|r| !(1..=4096).contains(r))
        {
            return problem(
                "every resolution is 1 to 4096 pixels, and there is at least one".into(),
            );
        }
        match usual.iter().find(|value| !all.contains(value)) {
            Some(value) => problem(format!(
                "{value} in `usual` is not min, min + step, ..., max"
            )),
            None => Ok((all, usual)),
        }
    }
}

/// The blocks that a file brings, by name.
type Fragments = BTreeMap<String, Fragment>;

impl FileBlock {
    fn read(&self, name: &str, source: &SpaceSource) -> Result<Fragment, String> {
        let (bytes, declaration) = self
            .declared(name, source)
            .map_err(|message| format!("block `{name}`: {message}"))?;
        Fragment::parse(name, &self.onnx, bytes, declaration).map_err(|e| e.to_string())
    }

    /// The ONNX file's bytes, and what the sizes in it stand for.
    fn declared<'a>(
        &self,
        name: &str,
        source: &'a SpaceSource,
    ) -> Result<(&'a [u8], Declaration), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || name.len() > 40 || !name.chars().all(plain) {
            return Err(
                "a name begins with a letter and has at most 40 letters, digits and `_`".into(),
            );
        }
        if name.parse::<Block>().is_ok() || is_builtin_kind(name) {
            return Err("a built-in kind of block has that name".into());
        }
        let bytes = source
            .files
            .get(&self.onnx)
            .ok_or_else(|| format!("field `onnx`: the file {} is not at hand", self.onnx))?;
        let size = |(text, formula): (&String, &Formula)| match text.parse::<u32>() {
            Ok(number) => Ok((number, formula.clone())),
            Err(_) => Err(format!("field `sizes`: {text} is not a number")),
        };
        let declaration = Declaration {
            in_channels: self.in_channels,
            out_channels: self.out_channels.unwrap_or(self.in_channels),
            stride: self.stride,
            sizes: self.sizes.iter().map(size).collect::<Result<_, _>>()?,
            skip: self.skip,
        };
        Ok((bytes, declaration))
    }
}

impl FileUnit {
    fn to_unit(
        &self,
        whole: &Spanned<Self>,
        width: f64,
        fragments: &Fragments,
    ) -> Result<Unit, Problem> {
        check_count(&self.before, "before")?;
        let stride = *self.stride.get_ref();
        if !(1..=8).contains(&stride) {
            return Err(Problem::at(&self.stride, "field `stride`: needs 1 to 8"));
        }
        let (min_depth, max_depth) = self.depths()?;
        let (widths, multipliers) = self.widths(width)?;
        if min_depth == 0 && (stride != 1 || !widths.is_empty()) {
            let message = "field `depth`: a unit that can be empty keeps the shape: leave out `stride` and `channels`";
            return Err(Problem::at(&self.depth, message));
        }
        let squeeze_excite = match self.squeeze_excite {
            SqueezeExcite::Switch(false) => None,
            SqueezeExcite::Switch(true) => Ratio::exactly(USUAL_SQUEEZE),
            SqueezeExcite::Ratio(ratio) => Some(ratio),
        };
        let unit = Unit {
            name: self.name.clone(),
            before: fixed_layers(&self.before, "before", width, fragments)?,
            widths,
            multipliers,
            names_width: self.width_choices.is_some(),
            stride,
            min_depth,
            max_depth,
            activation: self.activation,
            squeeze_excite,
            layers: self.layers(max_depth, fragments)?,
        };
        match unit.indistinguishable() {
            None => Ok(unit),
            Some((a, b)) => {
                let message = format!("field `blocks`: {a} and {b} are the same block here");
                Err(Problem::at(&self.blocks, message))
            }
        }
        .map_err(|problem| Problem {
            span: problem.span.or_else(|| Some(whole.span())),
            ..problem
        })
    }

    fn depths(&self) -> Result<(usize, usize), Problem> {
        let (shallow, deep) = match *self.depth.get_ref() {
            Depth::Fixed(depth) => (depth, depth),
            Depth::Range([shallow, deep]) => (shallow, deep),
        };
        if shallow > deep || deep == 0 || deep > MOST_LAYERS {
            let message = format!(
                "field `depth`: needs 0 <= shallowest <= deepest <= {MOST_LAYERS}, and a deepest above 0"
            );
            return Err(Problem::at(&self.depth, message));
        }
        Ok((shallow, deep))
    }

    /// The multipliers of the unit's channels; none where it has no channels of its own.
    fn multipliers(&self) -> Result<Vec<f64>, Problem> {
        match (&self.channels, &self.width_choices) {
            (None, None) => Ok(Vec::new()),
            (None, Some(choices)) => {
                let message = "field `width-choices`: needs `channels` to multiply";
                Err(Problem::at(choices, message))
            }
            (Some(_), None) => Ok(vec![1.0]),
            (Some(_), Some(choices)) => {
                check_multipliers(choices, "width-choices")?;
                Ok(choices.get_ref().clone())
            }
        }
    }

    /// Every number of channels once, and every multiplier with the index of its width.
    fn widths(&self, width: f64) -> Result<(Vec<UnitWidth>, Vec<Multiplier>), Problem> {
        let (mut widths, mut multipliers) = (Vec::<UnitWidth>::new(), Vec::new());
        for multiplier in self.multipliers()? {
            let Some(base) = &self.channels else {
                continue;
            };
            let channels = scaled_channels(*base.get_ref(), width * multiplier);
            if *base.get_ref() == 0 || channels > MOST_CHANNELS {
                let message =
                    format!("field `channels`: needs 1 to {MOST_CHANNELS}, widths multiplied");
                return Err(Problem::at(base, message));
            }
            let known = widths.iter().position(|w| w.channels == channels);
            multipliers.push(Multiplier {
                value: multiplier,
                width: known.unwrap_or(widths.len()),
            });
            if known.is_none() {
                widths.push(UnitWidth {
                    multiplier,
                    channels,
                });
            }
        }
        Ok((widths, multipliers))
    }

    fn layers(&self, max_depth: usize, fragments: &Fragments) -> Result<Vec<Candidates>, Problem> {
        let problem =
            |message: String| Problem::at(&self.blocks, format!("field `blocks`: {message}"));
        let lists: Vec<&Vec<String>> = match self.blocks.get_ref() {
            FileBlocks::EveryLayer(list) => vec![list; max_depth],
            FileBlocks::ByLayer(lists) if lists.len() == max_depth => lists.iter().collect(),
            FileBlocks::ByLayer(lists) => {
                let (found, needed) = (lists.len(), max_depth);
                return Err(problem(format!(
                    "{found} lists where the unit has {needed} layers"
                )));
            }
        };
        lists
            .into_iter()
            .map(|list| {
                let found = candidates(list, fragments).map_err(problem)?;
                Ok(if self.full_names {
                    found.in_full()
                } else {
                    found
                })
            })
            .collect()
    }
}

impl Unit {
    /// Two candidates of one layer that make the same network, if there are any.
    fn indistinguishable(&self) -> Option<(String, String)> {
        let resolved = |block: &Block| Block {
            activation: block.activation.or(Some(self.activation)),
            squeeze_excite: block.squeeze_excite.or(self.squeeze_excite),
            ..block.clone()
        };
        self.layers.iter().find_map(|layer| {
            let pairs = layer.blocks.iter().enumerate();
            let mut same = pairs.flat_map(|(i, a)| layer.blocks[..i].iter().map(move |b| (b, a)));
            let (a, b) = same.find(|(a, b)| resolved(a) == resolved(b))?;
            Some((a.to_string(), b.to_string()))
        })
    }
}

fn candidates(list: &[String], fragments: &Fragments) -> Result<Candidates, String> {
    let mut blocks: Vec<Block> = Vec::new();
    for name in list {
        for text in expand_braces(name)? {
            blocks.push(candidate(&text, fragments)?);
            if blocks.len() > MOST_CHOICES {
                return Err(format!("more than {MOST_CHOICES} candidate blocks"));
            }
        }
    }
    if blocks.is_empty() {
        return Err("needs at least one candidate block".into());
    }
    Ok(Candidates::new(blocks))
}

/// A block by its name in the file, or by the compact notation.
fn candidate(text: &str, fragments: &Fragments) -> Result<Block, String> {
    if fragments.contains_key(text) {
        return Ok(Block::custom(text));
    }
    text.parse::<Block>().map_err(|error| {
        let hint = did_you_mean(text, fragments.keys().map(String::as_str));
        let own: Vec<&str> = fragments.keys().map(String::as_str).collect();
        match own.as_slice() {
            [] => error.to_string(),
            _ => format!(
                "{error}; the file's own blocks are {}{hint}",
                own.join(", ")
            ),
        }
    })
}

fn fixed_layers(
    texts: &[Spanned<String>],
    field: &str,
    width: f64,
    fragments: &Fragments,
) -> Result<Vec<FixedLayer>, Problem> {
    let read = |text: &Spanned<String>| {
        let layer = FixedLayer::parse(text.get_ref(), width, fragments);
        layer.map_err(|message| Problem::at(text, format!("field `{field}`: {message}")))
    };
    texts.iter().map(read).collect()
}

/// Nothing but a classifier can follow pooling to a vector, and nothing follows the classifier.
fn check_head(texts: &[Spanned<String>], head: &[FixedLayer]) -> Result<(), Problem> {
    let last = head.len().saturating_sub(1);
    let early = head
        .iter()
        .position(|layer| *layer == FixedLayer::Classifier);
    match early.filter(|index| *index != last) {
        Some(index) => Err(Problem::at(
            &texts[index],
            "field `head`: the classifier must be the last layer",
        )),
        None => Ok(()),
    }
}

fn check_count(layers: &[Spanned<String>], field: &str) -> Result<(), Problem> {
    match layers.get(MOST_LAYERS) {
        Some(one_too_many) => {
            let message = format!("field `{field}`: has at most {MOST_LAYERS} layers");
            Err(Problem::at(one_too_many, message))
        }
        None => Ok(()),
    }
}

fn check_multipliers(values: &Spanned<Vec<f64>>, field: &str) -> Result<(), Problem> {
    let list = values.get_ref();
    let fits = |w: &f64| (0.01..=20.0).contains(w);
    let ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
    if list.is_empty() || list.len() > MOST_WIDTHS || !ascending || !list.iter().all(fits) {
        let message = format!(
            "field `{field}`: needs 1 to {MOST_WIDTHS} ascending numbers between 0.01 and 20"
        );
        return Err(Problem::at(values, message));
    }
    Ok(())
}
