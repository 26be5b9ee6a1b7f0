//! The file format of design spaces (TOML) and its checks.

use serde::Deserialize;

use super::block::{Activation, Block};
use super::{DesignSpace, FixedLayer, Unit};

/// The built-in spaces: name and file.
const BUILTIN: [(&str, &str); 1] = [("ofa-mbv3", include_str!("../../spaces/ofa-mbv3.toml"))];

/// A design space that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// The name is none of the built-in ones.
    #[error("there is no design space `{name}`; the built-in ones are: {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The file is not what the format asks for (the text carries line and column).
    #[error("{source_name}: {message}")]
    Malformed {
        /// The file's name.
        source_name: String,
        /// What is wrong, where, and what would be right.
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
    widths
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    format: u32,
    name: String,
    title: String,
    classes: u32,
    widths: Vec<f64>,
    default_width: f64,
    resolutions: Resolutions,
    default_resolution: u32,
    stem: Vec<Layer>,
    unit: Vec<FileUnit>,
    head: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolutions {
    min: u32,
    max: u32,
    step: u32,
    usual: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileUnit {
    channels: u32,
    stride: u32,
    depth: [usize; 2],
    activation: Activation,
    squeeze_excite: bool,
    blocks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Layer {
    Conv {
        kernel: u32,
        #[serde(default = "one")]
        stride: u32,
        channels: u32,
        activation: Activation,
        #[serde(default = "yes", rename = "batch-norm")]
        batch_norm: bool,
    },
    MbConv {
        kernel: u32,
        #[serde(default = "one")]
        stride: u32,
        channels: u32,
        activation: Activation,
        expansion: u32,
        #[serde(default, rename = "squeeze-excite")]
        squeeze_excite: bool,
    },
    Pool,
    Classifier,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// Rounds to the nearest multiple of 8, never below 90 % of `v`: `make_divisible` of the
/// MobileNet papers and of the `ofa` package.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn make_divisible(v: f64) -> u32 {
    const DIVISOR: f64 = 8.0;
    let rounded = ((v + DIVISOR / 2.0) / DIVISOR).floor() * DIVISOR;
    let rounded = rounded.max(DIVISOR);
    if rounded < 0.9 * v {
        (rounded + DIVISOR) as u32
    } else {
        rounded as u32
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
        let (_, text) = BUILTIN
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| SpaceError::Unknown {
                name: name.to_owned(),
                known: Self::builtin_names().map(str::to_owned).collect(),
            })?;
        Self::from_toml(name, text, width)
    }

    /// The file of the built-in space `name`, as a readable table.
    #[must_use]
    pub fn builtin_source(name: &str) -> Option<&'static str> {
        BUILTIN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// Reads a space file. `source_name` is what errors call the file.
    ///
    /// # Errors
    /// [`SpaceError::Malformed`] with line and column for text that is not such a file,
    /// [`SpaceError::Width`] for a width that the file does not offer.
    pub fn from_toml(
        source_name: &str,
        text: &str,
        width: Option<f64>,
    ) -> Result<Self, SpaceError> {
        let malformed = |message: String| SpaceError::Malformed {
            source_name: source_name.to_owned(),
            message,
        };
        let file: File =
            toml::from_str(text).map_err(|e| malformed(e.to_string().trim_end().to_owned()))?;
        let width = width.unwrap_or(file.default_width);
        if !file.widths.contains(&width) {
            return Err(SpaceError::Width {
                space: file.name,
                width,
                widths: file.widths,
            });
        }
        file.check().map_err(malformed)?;
        let digest = digest(text, width);
        let mut space = file.into_space(width, digest).map_err(malformed)?;
        text.clone_into(&mut space.source);
        Ok(space)
    }
}

impl File {
    fn check(&self) -> Result<(), String> {
        if self.format != 1 {
            return Err(format!(
                "field `format`: {} is unknown; this version reads format 1",
                self.format
            ));
        }
        if self.classes == 0 {
            return Err("field `classes`: there must be at least one".into());
        }
        if self.widths.iter().any(|w| !(0.05..=20.0).contains(w)) {
            return Err("field `widths`: every width must be between 0.05 and 20".into());
        }
        let r = &self.resolutions;
        if r.min == 0 || r.step == 0 || r.min > r.max || r.max > 4096 {
            return Err(
                "field `resolutions`: needs 0 < min <= max <= 4096 and a step above 0".into(),
            );
        }
        if self.unit.is_empty() || self.unit.len() > 64 {
            return Err("field `unit`: a space has 1 to 64 units".into());
        }
        self.unit
            .iter()
            .enumerate()
            .try_for_each(|(i, unit)| unit.check(i))
    }

    fn into_space(self, width: f64, digest: String) -> Result<DesignSpace, String> {
        let r = &self.resolutions;
        let resolutions: Vec<u32> = (r.min..=r.max).step_by(r.step as usize).collect();
        for (field, value) in r
            .usual
            .iter()
            .map(|v| ("resolutions.usual", v))
            .chain([("default-resolution", &self.default_resolution)])
        {
            if !resolutions.contains(value) {
                return Err(format!(
                    "field `{field}`: {value} is not min, min + step, ..., max"
                ));
            }
        }
        let fixed = |layers: Vec<Layer>, field: &str| {
            layers
                .into_iter()
                .map(|l| l.into_fixed(width, self.classes))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| format!("field `{field}`: {e}"))
        };
        Ok(DesignSpace {
            stem: fixed(self.stem, "stem")?,
            head: fixed(self.head, "head")?,
            units: self
                .unit
                .into_iter()
                .enumerate()
                .map(|(i, unit)| unit.into_unit(i, width))
                .collect::<Result<_, _>>()?,
            name: self.name,
            title: self.title,
            width,
            widths: self.widths,
            usual_resolutions: self.resolutions.usual,
            default_resolution: self.default_resolution,
            resolutions,
            source: String::new(),
            digest,
        })
    }
}

impl FileUnit {
    fn check(&self, index: usize) -> Result<(), String> {
        let at = |what: &str| Err(format!("unit {}: {what}", index + 1));
        let [shallow, deep] = self.depth;
        if shallow == 0 || shallow > deep || deep > 64 {
            return at("field `depth`: needs 1 <= shallowest <= deepest <= 64");
        }
        if self.channels == 0 || self.channels > 1 << 16 {
            return at("field `channels`: needs 1 to 65536");
        }
        if !(1..=8).contains(&self.stride) {
            return at("field `stride`: needs 1 to 8");
        }
        if self.blocks.is_empty() || self.blocks.len() > 255 {
            return at("field `blocks`: needs 1 to 255 candidate blocks");
        }
        Ok(())
    }

    fn into_unit(self, index: usize, width: f64) -> Result<Unit, String> {
        let mut blocks: Vec<Block> = Vec::with_capacity(self.blocks.len());
        for name in &self.blocks {
            let block = name
                .parse()
                .map_err(|e| format!("unit {}: field `blocks`: {e}", index + 1))?;
            if blocks.contains(&block) {
                return Err(format!(
                    "unit {}: field `blocks`: {block} stands there twice",
                    index + 1
                ));
            }
            blocks.push(block);
        }
        Ok(Unit {
            channels: make_divisible(f64::from(self.channels) * width),
            stride: self.stride,
            min_depth: self.depth[0],
            max_depth: self.depth[1],
            activation: self.activation,
            squeeze_excite: self.squeeze_excite,
            blocks,
        })
    }
}

impl Layer {
    fn into_fixed(self, width: f64, classes: u32) -> Result<FixedLayer, String> {
        let check = |kernel: u32, stride: u32, channels: u32| {
            if kernel.is_multiple_of(2) || kernel > 63 || !(1..=8).contains(&stride) {
                return Err("kernels are odd and at most 63, strides 1 to 8".to_owned());
            }
            if channels == 0 || channels > 1 << 16 {
                return Err("channels must be 1 to 65536".to_owned());
            }
            Ok(make_divisible(f64::from(channels) * width))
        };
        Ok(match self {
            Layer::Conv {
                kernel,
                stride,
                channels,
                activation,
                batch_norm,
            } => FixedLayer::Conv {
                kernel,
                stride,
                channels: check(kernel, stride, channels)?,
                activation,
                batch_norm,
            },
            Layer::MbConv {
                kernel,
                stride,
                channels,
                activation,
                expansion,
                squeeze_excite,
            } => {
                if !(1..=64).contains(&expansion) {
                    return Err("expansions are 1 to 64".to_owned());
                }
                FixedLayer::MbConv {
                    block: Block { expansion, kernel },
                    stride,
                    channels: check(kernel, stride, channels)?,
                    activation,
                    squeeze_excite,
                }
            }
            Layer::Pool => FixedLayer::Pool,
            Layer::Classifier => FixedLayer::Classifier { classes },
        })
    }
}

/// A short name for (file, width): 64 bits of FNV-1a, enough to notice a changed file.
fn digest(text: &str, width: f64) -> String {
    let seed = crate::seed::Seed(width.to_bits()).stream(text);
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

    #[test]
    fn channels_follow_the_width() {
        let channels = |width| {
            let space = DesignSpace::builtin("ofa-mbv3", Some(width)).unwrap();
            space.units().iter().map(Unit::channels).collect::<Vec<_>>()
        };
        assert_eq!(channels(1.0), [24, 40, 80, 112, 160]);
        assert_eq!(channels(1.2), [32, 48, 96, 136, 192]);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let good = DesignSpace::builtin_source("ofa-mbv3").unwrap();
        let cases = [
            (good.replacen("stride = 2", "strid = 2", 2), "strid"),
            (
                good.replacen("mbconv3_e3_k5", "mbconv3_e3_k4", 1),
                "mbconv3_e3_k4",
            ),
            (
                good.replacen("depth = [2, 4]", "depth = [4, 2]", 1),
                "unit 1: field `depth`",
            ),
            (good.replacen("format = 1", "format = 9", 1), "format"),
            (good.replacen("mbconv3_e3_k5", "mbconv3_e3_k3", 1), "twice"),
            (
                good.replacen("default-resolution = 224", "default-resolution = 225", 1),
                "225",
            ),
        ];
        for (text, needle) in cases {
            let error = DesignSpace::from_toml("mine.toml", &text, None)
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("mine.toml: ") && error.contains(needle),
                "{error}"
            );
        }
        let error = DesignSpace::builtin("ofa-mbv3", Some(1.1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("1, 1.2"), "{error}");
        let error = DesignSpace::builtin("ofa-mbv4", None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ofa-mbv3"), "{error}");
    }

    #[test]
    fn the_published_counts() {
        let space = DesignSpace::builtin("ofa-mbv3", None).unwrap();
        assert_eq!(space.combinations(), 180);
        // (9^2 + 9^3 + 9^4)^5: about 2 x 10^19, as the Once-for-All paper says.
        assert_eq!(
            space.count_per_resolution().to_string(),
            "21758655492572485851"
        );
    }
}
