//! The file format of design spaces (TOML) and its checks; `docs/space-format.md` specifies it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::block::{Activation, Block, expand_braces, is_builtin_kind};
use super::fixed::FixedLayer;
use super::places::Instances;
use super::ratio::Ratio;
use super::unit::{Candidates, Multiplier, Unit, UnitWidth};
use super::{DesignSpace, SpaceSource, did_you_mean};
use crate::fragment::{Declaration, Formula, Fragment};
use crate::ofa::OfaLayout;
use crate::shape::make_divisible;

/// The built-in spaces: name and file.
const BUILTIN: [(&str, &str); 3] = [
    ("ofa-mbv3", include_str!("../../spaces/ofa-mbv3.toml")),
    (
        "ofa-proxyless",
        include_str!("../../spaces/ofa-proxyless.toml"),
    ),
    (
        "ofa-resnet50",
        include_str!("../../spaces/ofa-resnet50.toml"),
    ),
];

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

/// A design space that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// The name is none of the built-in ones.
    #[error("there is no design space `{name}`{}; the built-in ones are: {}", did_you_mean(name, known.iter().map(String::as_str)), known.join(", "))]
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

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    format: Spanned<u32>,
    name: Spanned<String>,
    title: Option<String>,
    #[serde(default = "thousand")]
    classes: Spanned<u32>,
    #[serde(default = "only_one")]
    widths: Spanned<Vec<f64>>,
    default_width: Option<Spanned<f64>>,
    resolutions: Spanned<Resolutions>,
    default_resolution: Option<Spanned<u32>>,
    #[serde(default = "usual_epsilon")]
    batch_norm_epsilon: Spanned<f64>,
    #[serde(default)]
    stem: Vec<Spanned<String>>,
    #[serde(default)]
    unit: Vec<Spanned<FileUnit>>,
    #[serde(default)]
    head: Vec<Spanned<String>>,
    #[serde(default)]
    block: BTreeMap<String, Spanned<FileBlock>>,
    ofa: Option<Spanned<OfaLayout>>,
}

/// A block that the file brings.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileBlock {
    onnx: String,
    in_channels: u32,
    out_channels: u32,
    stride: Option<u32>,
    #[serde(default)]
    sizes: BTreeMap<String, Formula>,
    #[serde(default)]
    skip: bool,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of resolutions, or { min, max, step } with the usual ones as `usual`"
)]
enum Resolutions {
    List(Vec<u32>),
    Range(ResolutionRange),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolutionRange {
    min: u32,
    max: u32,
    step: u32,
    #[serde(default)]
    usual: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileUnit {
    name: Option<String>,
    #[serde(default)]
    before: Vec<Spanned<String>>,
    channels: Option<Spanned<u32>>,
    width_choices: Option<Spanned<Vec<f64>>>,
    #[serde(default = "one")]
    stride: Spanned<u32>,
    depth: Spanned<Depth>,
    #[serde(default = "relu")]
    activation: Activation,
    #[serde(default)]
    squeeze_excite: SqueezeExcite,
    blocks: Spanned<FileBlocks>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a depth, or [shallowest, deepest]")]
enum Depth {
    Fixed(usize),
    Range([usize; 2]),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or a ratio such as 0.25")]
enum SqueezeExcite {
    Switch(bool),
    Ratio(Ratio),
}

impl Default for SqueezeExcite {
    fn default() -> Self {
        Self::Switch(false)
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of blocks, or a list with one list of blocks for every layer"
)]
enum FileBlocks {
    EveryLayer(Vec<String>),
    ByLayer(Vec<Vec<String>>),
}

fn default_at<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn thousand() -> Spanned<u32> {
    default_at(1000)
}

fn only_one() -> Spanned<Vec<f64>> {
    default_at(vec![1.0])
}

fn usual_epsilon() -> Spanned<f64> {
    default_at(1e-5)
}

fn one() -> Spanned<u32> {
    default_at(1)
}

fn relu() -> Activation {
    Activation::Relu
}

/// What is wrong, and the part of the text that is to blame.
struct Problem {
    span: Option<Range<usize>>,
    message: String,
}

impl Problem {
    fn at<T>(spanned: &Spanned<T>, message: impl Into<String>) -> Self {
        Self {
            span: Some(spanned.span()).filter(|span| !span.is_empty()),
            message: message.into(),
        }
    }

    fn within(self, place: &str) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }

    fn into_error(self, source_name: &str, text: &str) -> SpaceError {
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
        space.digest = digest(source, width);
        Ok(space)
    }
}

impl File {
    fn default_width(&self) -> f64 {
        let first = self.widths.get_ref().first().copied();
        let named = self.default_width.as_ref().map(|w| *w.get_ref());
        named.or(first).unwrap_or(1.0)
    }

    fn check(&self) -> Result<(), Problem> {
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
    fn fragments(&self, source: &SpaceSource) -> Result<Fragments, Problem> {
        let read = |(name, block): (&String, &Spanned<FileBlock>)| {
            let fragment = block.get_ref().read(name, source);
            match fragment {
                Ok(fragment) => Ok((name.clone(), fragment)),
                Err(message) => Err(Problem::at(block, format!("block `{name}`: {message}"))),
            }
        };
        self.block.iter().map(read).collect()
    }

    fn into_space(self, width: f64, fragments: &Fragments) -> Result<DesignSpace, Problem> {
        let (resolutions, usual) = self.resolutions()?;
        let stem = fixed_layers(&self.stem, "stem", width)?;
        let head = fixed_layers(&self.head, "head", width)?;
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
    fn resolutions(&self) -> Result<(Vec<u32>, Vec<u32>), Problem> {
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
            out_channels: self.out_channels,
            stride: self.stride,
            sizes: self.sizes.iter().map(size).collect::<Result<_, _>>()?,
            skip: self.skip,
        };
        Fragment::parse(name, bytes.clone(), declaration).map_err(|e| e.to_string())
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
            before: fixed_layers(&self.before, "before", width)?,
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
            let channels = make_divisible(f64::from(*base.get_ref()) * width * multiplier);
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
            .map(|list| candidates(list, fragments).map_err(problem))
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
) -> Result<Vec<FixedLayer>, Problem> {
    let read = |text: &Spanned<String>| {
        let layer = FixedLayer::parse(text.get_ref(), width);
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

/// A short name for (files, width): 64 bits of FNV-1a, enough to notice a changed file.
fn digest(source: &SpaceSource, width: f64) -> String {
    let seed = crate::seed::Seed(width.to_bits()).stream(&source.text);
    let seed = source.files.iter().fold(seed, |seed, (name, bytes)| {
        seed.stream(name).stream_bytes(bytes)
    });
    format!("{:016x}", seed.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_spaces_load_at_every_width() {
        for name in DesignSpace::builtin_names() {
            let space = DesignSpace::builtin(name, None).unwrap();
            for &width in space.widths() {
                let scaled = DesignSpace::builtin(name, Some(width)).unwrap();
                assert_eq!(scaled.width(), width);
            }
        }
    }

    fn channels(name: &str, width: f64) -> Vec<Vec<u32>> {
        let space = DesignSpace::builtin(name, Some(width)).unwrap();
        let of_unit = |u: &Unit| u.widths().iter().map(|w| w.channels).collect();
        space.units().iter().map(of_unit).collect()
    }

    #[test]
    fn channels_follow_the_width() {
        assert_eq!(channels("ofa-mbv3", 1.0).concat(), [24, 40, 80, 112, 160]);
        assert_eq!(channels("ofa-mbv3", 1.2).concat(), [32, 48, 96, 136, 192]);
        assert_eq!(
            channels("ofa-proxyless", 1.3).concat(),
            [32, 56, 104, 128, 248, 416]
        );
        let resnet = channels("ofa-resnet50", 1.0);
        assert_eq!(resnet[..3], [vec![24, 32], vec![], vec![40, 48, 64]]);
        assert_eq!(resnet[6], [1328, 1640, 2048]);
    }

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        let good = DesignSpace::builtin_source("ofa-mbv3").unwrap();
        let resnet = DesignSpace::builtin_source("ofa-resnet50").unwrap();
        let cases = [
            (
                good.replacen("stride = 2", "strid = 2", 1),
                "16: ",
                "did you mean `stride`",
            ),
            (
                good.replacen("_k{3,5,7}", "_k{3,4}", 1),
                "19: ",
                "mbconv3_e3_k4",
            ),
            (
                good.replacen("depth = [2, 4]", "depth = [4, 2]", 1),
                "17: ",
                "unit 1: field `depth`",
            ),
            (
                good.replacen("format = 2", "format = 9", 1),
                "5: ",
                "format",
            ),
            (
                good.replacen("_k{3,5,7}", "_k{3,3}", 1),
                "19: ",
                "the same block",
            ),
            (
                good.replacen("_k{3,5,7}\"", "_k3\", \"mbconv3_e3_k3_nre\"", 1),
                "19: ",
                "the same block",
            ),
            (
                good.replacen("min = 128", "min = 130", 1),
                "10: ",
                "160 in `usual`",
            ),
            (
                good.replacen("conv_k3_nhs_s2_c16", "conv_k3_nhs_s2", 1),
                "11: ",
                "how many channels",
            ),
            (
                good.replacen("\"pool\"", "\"pol\"", 1),
                "12: ",
                "also pool, maxpool",
            ),
            (
                good.replacen("\"pool\", ", "\"classifier\", ", 1),
                "12: ",
                "last layer",
            ),
            (
                good.replacen("channels = 24", "channels = 0", 1),
                "15: ",
                "field `channels`",
            ),
            (
                good.replacen("layers = [4, 4", "layers = [3, 4", 1),
                "",
                "unit 1 can be deeper",
            ),
            (
                resnet.replacen("depth = [0, 1]", "depth = [0, 1]\nstride = 2", 1),
                "24: ",
                "keeps the shape",
            ),
            (
                resnet.replacen(
                    "widths = [0.65, 0.8, 1.0]\nextra",
                    "widths = [0.65, 1.0]\nextra",
                    1,
                ),
                "",
                "lacks 0.8",
            ),
        ];
        for (text, line, needle) in cases {
            let error = DesignSpace::from_toml("mine.toml", &text, None)
                .unwrap_err()
                .to_string();
            let start = format!("mine.toml:{line}");
            assert!(
                error.starts_with(&start) && error.contains(needle),
                "{start}: {error}"
            );
        }
        let error = DesignSpace::builtin("ofa-mbv3", Some(1.1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("1, 1.2"), "{error}");
        let error = DesignSpace::builtin("ofa-mbv4", None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean `ofa-mbv3`"), "{error}");
    }

    #[test]
    fn the_published_counts() {
        let count = |name| {
            let space = DesignSpace::builtin(name, None).unwrap();
            (
                space.combinations(),
                space.count_per_resolution().to_string(),
            )
        };
        // (9^2 + 9^3 + 9^4)^5: about 2 x 10^19, as the Once-for-All paper says.
        assert_eq!(count("ofa-mbv3"), (180, "21758655492572485851".to_owned()));
        // The same, times 9 for the last unit.
        assert_eq!(
            count("ofa-proxyless"),
            (189, "195827899433152372659".to_owned())
        );
        // 2 x 2 x 3 in the stem; 3 widths of each stage, three of 3^2 + 3^3 + 3^4 and one of 3^4 + 3^5 + 3^6
        // expansions. Dictionaries of the package count half as many again, because two widths of the
        // first convolution are one.
        assert_eq!(
            count("ofa-resnet50"),
            (57, (12_u128 * 81 * 117_u128.pow(3) * 1053).to_string())
        );
    }
}
