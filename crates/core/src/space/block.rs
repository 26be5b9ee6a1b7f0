//! Blocks and their compact notation.
//!
//! `mbconv3_e6_k7_se0.25_nre`: the kind, then parameters and flags, each after an underscore, in the
//! manner of timm's architecture strings. `docs/space-format.md` specifies it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ratio::Ratio;
use super::suggest::did_you_mean;

/// A non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x * relu6(x + 3) / 6 (Howard et al., MobileNetV3, 2019).
    Hswish,
    /// x / (1 + exp(-x)), also called swish (Ramachandran et al. 2017).
    Silu,
    /// x * P(N(0, 1) <= x), with the error function and no approximation (Hendrycks and Gimpel 2016).
    Gelu,
    /// relu6(x + 3) / 6, the gate of MobileNetV3's squeeze-and-excitation.
    Hsigmoid,
    /// 1 / (1 + exp(-x)), the gate of the original squeeze-and-excitation (Hu et al. 2018).
    Sigmoid,
}

impl Activation {
    /// The non-linearities that a block can have, with their codes in the compact notation (timm's).
    const CODES: [(Activation, &'static str); 5] = [
        (Activation::Relu, "re"),
        (Activation::Relu6, "r6"),
        (Activation::Hswish, "hs"),
        (Activation::Silu, "sw"),
        (Activation::Gelu, "ge"),
    ];

    /// The name used in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Hswish => "hswish",
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::Hsigmoid => "hsigmoid",
            Activation::Sigmoid => "sigmoid",
        }
    }

    fn code(self) -> &'static str {
        let found = Self::CODES.iter().find(|(a, _)| *a == self);
        found.map_or("?", |(_, code)| code)
    }

    fn from_code(code: &str) -> Option<Self> {
        let found = Self::CODES.iter().find(|(_, c)| *c == code);
        found.map(|(activation, _)| *activation)
    }
}

/// What a block computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockKind {
    /// `mbconv3`: MobileNetV3's inverted bottleneck (Howard et al. 2019). Its squeeze-and-excitation works
    /// on the hidden channels, with a hard sigmoid as gate.
    MbConv3,
    /// `mbconv`: the inverted bottleneck of MobileNetV2 and EfficientNet (Sandler et al. 2018, Tan and Le
    /// 2019). Its squeeze-and-excitation is sized by the input channels, with a sigmoid as gate.
    MbConv,
    /// `fused`: Fused-MBConv (EfficientNetV2, Tan and Le 2021): one full convolution in place of the
    /// expansion and the depthwise convolution.
    FusedMbConv,
    /// `dwsep`: depthwise, then pointwise convolution (MobileNetV1, Howard et al. 2017).
    DepthwiseSeparable,
    /// `conv`: convolution, batch-norm, non-linearity.
    Conv,
    /// `bottleneck`: ResNet's bottleneck (He et al. 2016); the expansion is hidden over output channels.
    Bottleneck,
    /// `basic`: the block of ResNet-18 and ResNet-34 (He et al. 2016): two full convolutions.
    Basic,
    /// `skip`: nothing; the layer hands its input on.
    Skip,
    /// A block that the space's file brings as an ONNX fragment, by its name.
    Custom(Arc<str>),
}

/// What the parameters of a kind are.
struct KindRules {
    name: &'static str,
    kind: BlockKind,
    expansion: bool,
    kernel: bool,
    squeeze_excite: bool,
    flags: &'static [Flag],
    example: &'static str,
}

const KINDS: [KindRules; 8] = [
    KindRules {
        name: "mbconv3",
        kind: BlockKind::MbConv3,
        expansion: true,
        kernel: true,
        squeeze_excite: true,
        flags: &[Flag::NoSkip],
        example: "mbconv3_e6_k7",
    },
    KindRules {
        name: "mbconv",
        kind: BlockKind::MbConv,
        expansion: true,
        kernel: true,
        squeeze_excite: true,
        flags: &[Flag::NoSkip],
        example: "mbconv_e6_k3_se0.25",
    },
    KindRules {
        name: "fused",
        kind: BlockKind::FusedMbConv,
        expansion: true,
        kernel: true,
        squeeze_excite: true,
        flags: &[Flag::NoSkip],
        example: "fused_e4_k3",
    },
    KindRules {
        name: "dwsep",
        kind: BlockKind::DepthwiseSeparable,
        expansion: false,
        kernel: true,
        squeeze_excite: true,
        flags: &[Flag::NoSkip, Flag::PointwiseActivation],
        example: "dwsep_k3",
    },
    KindRules {
        name: "conv",
        kind: BlockKind::Conv,
        expansion: false,
        kernel: true,
        squeeze_excite: false,
        flags: &[Flag::Skip, Flag::NoBatchNorm],
        example: "conv_k3",
    },
    KindRules {
        name: "bottleneck",
        kind: BlockKind::Bottleneck,
        expansion: true,
        kernel: true,
        squeeze_excite: false,
        flags: &[Flag::AverageDown],
        example: "bottleneck_e0.25_k3",
    },
    KindRules {
        name: "basic",
        kind: BlockKind::Basic,
        expansion: false,
        kernel: true,
        squeeze_excite: false,
        flags: &[Flag::AverageDown],
        example: "basic_k3",
    },
    KindRules {
        name: "skip",
        kind: BlockKind::Skip,
        expansion: false,
        kernel: false,
        squeeze_excite: false,
        flags: &[],
        example: "skip",
    },
];

/// A switch of the compact notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// `skip`: adds the input to the output where both have one shape; for kinds that do not by themselves.
    Skip,
    /// `noskip`: never adds the input to the output.
    NoSkip,
    /// `nobn`: no batch-norm.
    NoBatchNorm,
    /// `pa`: a non-linearity after the pointwise convolution too, as in MobileNetV1.
    PointwiseActivation,
    /// `avgdown`: the shortcut of a bottleneck or basic block that changes shape is average pooling and a 1x1
    /// convolution (ResNet-D, He et al. 2019, and the `ofa` package) in place of a strided 1x1 convolution.
    AverageDown,
}

impl Flag {
    const ALL: [Flag; 5] = [
        Flag::Skip,
        Flag::NoSkip,
        Flag::NoBatchNorm,
        Flag::PointwiseActivation,
        Flag::AverageDown,
    ];

    fn name(self) -> &'static str {
        match self {
            Flag::Skip => "skip",
            Flag::NoSkip => "noskip",
            Flag::NoBatchNorm => "nobn",
            Flag::PointwiseActivation => "pa",
            Flag::AverageDown => "avgdown",
        }
    }
}

/// What can stand at a layer.
///
/// The unit decides what the block leaves open: channels, stride and, unless the block says otherwise,
/// non-linearity and squeeze-and-excitation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    pub(crate) kind: BlockKind,
    pub(crate) expansion: Option<Ratio>,
    pub(crate) kernel: Option<u32>,
    pub(crate) squeeze_excite: Option<Ratio>,
    pub(crate) activation: Option<Activation>,
    pub(crate) flags: Vec<Flag>,
}

impl Block {
    /// What the block computes.
    #[must_use]
    pub fn kind(&self) -> &BlockKind {
        &self.kind
    }

    /// Ratio of the hidden channels to the input channels (bottleneck: to the output channels), for kinds
    /// that have one.
    #[must_use]
    pub fn expansion(&self) -> Option<Ratio> {
        self.expansion
    }

    /// Width and height of the (depthwise) kernel, for kinds that have one.
    #[must_use]
    pub fn kernel(&self) -> Option<u32> {
        self.kernel
    }

    /// Ratio of squeeze-and-excitation, where the block itself sets one.
    #[must_use]
    pub fn squeeze_excite(&self) -> Option<Ratio> {
        self.squeeze_excite
    }

    /// The non-linearity, where the block itself sets one.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// Whether the block has a flag.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// The block with another expansion and kernel, or with none.
    pub(crate) fn with_sizes(&self, expansion: Option<Ratio>, kernel: Option<u32>) -> Self {
        Self {
            expansion,
            kernel,
            ..self.clone()
        }
    }

    /// A block that the space's file brings, by its name.
    pub(crate) fn custom(name: &str) -> Self {
        Self {
            kind: BlockKind::Custom(name.into()),
            expansion: None,
            kernel: None,
            squeeze_excite: None,
            activation: None,
            flags: Vec::new(),
        }
    }

    /// The short form used inside an architecture where it is unique among the candidates: expansion and
    /// kernel, such as `e6k7` or `k3`; the name where there is neither.
    #[must_use]
    pub fn code(&self) -> String {
        let expansion = self.expansion.map(|e| format!("e{e}"));
        let kernel = self.kernel.map(|k| format!("k{k}"));
        match (expansion, kernel) {
            (None, None) => self.to_string(),
            (e, k) => e.unwrap_or_default() + &k.unwrap_or_default(),
        }
    }

    fn rules(&self) -> Option<&'static KindRules> {
        KINDS.iter().find(|rules| rules.kind == self.kind)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.rules()) {
            (BlockKind::Custom(name), _) => f.write_str(name)?,
            (_, Some(rules)) => f.write_str(rules.name)?,
            _ => {}
        }
        if let Some(e) = self.expansion {
            write!(f, "_e{e}")?;
        }
        if let Some(k) = self.kernel {
            write!(f, "_k{k}")?;
        }
        if let Some(se) = self.squeeze_excite {
            write!(f, "_se{se}")?;
        }
        if let Some(activation) = self.activation {
            write!(f, "_n{}", activation.code())?;
        }
        self.flags
            .iter()
            .try_for_each(|flag| write!(f, "_{}", flag.name()))
    }
}

/// A block's text that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a block: {reason}")]
pub struct BlockError {
    /// The text.
    pub text: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl FromStr for Block {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let placed = PlacedBlock::from_str(text)?;
        if placed.placing != Placing::default() {
            return Err(error(
                text,
                "stride (s) and channels (c) belong to the unit, not to its candidate blocks, and nowidth to \
                 fixed layers",
            ));
        }
        Ok(placed.block)
    }
}

/// A block with the stride and channels that fixed layers of stem and head carry themselves:
/// `conv_k3_nhs_s2_c16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedBlock {
    pub block: Block,
    pub placing: Placing,
}

/// What a fixed layer says of its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placing {
    pub stride: Option<u32>,
    pub channels: Option<u32>,
    /// `nowidth`: the width of the space does not multiply its channels.
    pub nowidth: bool,
}

impl Placing {
    /// Reads one word; `false` where it is none of these.
    pub fn take(&mut self, word: &str) -> Result<bool, String> {
        let (key, value) = key_and_value(word);
        match key {
            "s" => set(&mut self.stride, number(word, key, value, 8)?, word)?,
            "c" => set(&mut self.channels, number(word, key, value, 1 << 16)?, word)?,
            "nowidth" if value.is_empty() && !self.nowidth => self.nowidth = true,
            "nowidth" if value.is_empty() => return Err(format!("`{word}` stands there twice")),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The letters that a word begins with, and the rest.
fn key_and_value(word: &str) -> (&str, &str) {
    let split = word.find(|c: char| !c.is_ascii_lowercase());
    word.split_at(split.unwrap_or(word.len()))
}

fn number(word: &str, key: &str, value: &str, most: u32) -> Result<u32, String> {
    let digits = value.len() <= 6 && value.bytes().all(|b| b.is_ascii_digit());
    let parsed = value.parse::<u32>().ok();
    let parsed = parsed.filter(|n| digits && (1..=most).contains(n));
    parsed.ok_or_else(|| format!("`{word}`: {key} needs a whole number of 1 to {most}"))
}

impl FromStr for PlacedBlock {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let mut words = text.split('_');
        let name = words.next().unwrap_or_default();
        let rules = KINDS.iter().find(|k| k.name == name).ok_or_else(|| {
            let kinds: Vec<&str> = KINDS.iter().map(|k| k.name).collect();
            let hint = did_you_mean(name, kinds.iter().copied());
            error(
                text,
                &format!(
                    "there is no kind `{name}`{hint}; the kinds are {}",
                    kinds.join(", ")
                ),
            )
        })?;
        let mut placed = Self {
            block: Block {
                kind: rules.kind.clone(),
                expansion: None,
                kernel: None,
                squeeze_excite: None,
                activation: None,
                flags: Vec::new(),
            },
            placing: Placing::default(),
        };
        for word in words {
            placed
                .take(word, rules)
                .map_err(|reason| error(text, &reason))?;
        }
        placed.block.flags.sort_unstable();
        placed
            .complete(rules)
            .map_err(|reason| error(text, &reason))?;
        Ok(placed)
    }
}

impl PlacedBlock {
    /// Reads one parameter or flag.
    fn take(&mut self, word: &str, rules: &KindRules) -> Result<(), String> {
        let block = &mut self.block;
        if let Some(&flag) = rules.flags.iter().find(|flag| flag.name() == word) {
            let twice = block.flags.contains(&flag);
            block.flags.push(flag);
            return if twice {
                Err(format!("`{word}` stands there twice"))
            } else {
                Ok(())
            };
        }
        if self.placing.take(word)? {
            return Ok(());
        }
        let (key, value) = key_and_value(word);
        let ratio = || {
            let parsed = value.parse::<Ratio>().ok();
            parsed.ok_or_else(|| {
                format!("`{word}`: {key} needs a decimal of 0.001 to 64 with at most three places")
            })
        };
        match key {
            "e" if rules.expansion => set(&mut block.expansion, ratio()?, word),
            "k" if rules.kernel => set(&mut block.kernel, number(word, key, value, 63)?, word),
            "se" if rules.squeeze_excite => set(&mut block.squeeze_excite, ratio()?, word),
            // The codes of non-linearities are letters and may end in a digit: `nre`, `nr6`.
            _ if word.starts_with('n') && Activation::from_code(&word[1..]).is_some() => {
                let activation = Activation::from_code(&word[1..]).unwrap_or(Activation::Relu);
                set(&mut block.activation, activation, word)
            }
            _ => Err(unknown_word(word, rules)),
        }
    }

    /// Checks that everything that the kind needs is there.
    fn complete(&self, rules: &KindRules) -> Result<(), String> {
        let missing = [
            (
                "an expansion (e)",
                rules.expansion && self.block.expansion.is_none(),
            ),
            ("a kernel (k)", rules.kernel && self.block.kernel.is_none()),
        ];
        match missing.iter().find(|(_, missing)| *missing) {
            Some((what, _)) => Err(format!(
                "{} needs {what}, such as {}",
                rules.name, rules.example
            )),
            None => Ok(()),
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T, word: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{word}` sets a second time what was set before")),
    }
}

fn unknown_word(word: &str, rules: &KindRules) -> String {
    let mut known: Vec<String> = Vec::new();
    known.extend(rules.expansion.then(|| "e<expansion>".to_owned()));
    known.extend(rules.kernel.then(|| "k<kernel>".to_owned()));
    known.extend(rules.squeeze_excite.then(|| "se<ratio>".to_owned()));
    known.push("n<re, r6, hs, sw or ge>".to_owned());
    known.extend(rules.flags.iter().map(|flag| flag.name().to_owned()));
    let hint = did_you_mean(
        word,
        Flag::ALL
            .iter()
            .map(|f| f.name())
            .filter(|n| known.iter().any(|k| k == n)),
    );
    format!(
        "`{word}` means nothing to {}{hint}; it takes {}",
        rules.name,
        known.join(", ")
    )
}

fn error(text: &str, reason: &str) -> BlockError {
    BlockError {
        text: text.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The names of the built-in kinds, which a block of the user's own cannot take.
pub(super) fn is_builtin_kind(name: &str) -> bool {
    KINDS.iter().any(|rules| rules.name == name)
}

/// Multiplies out sets in braces as a shell does: `mbconv_e{3,6}_k{3,5}` stands for four blocks, the last
/// set changing fastest.
///
/// # Errors
/// A sentence when braces do not match or more than 255 texts would come out.
pub(super) fn expand_braces(text: &str) -> Result<Vec<String>, String> {
    const MOST: usize = 255;
    let mut expanded = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, tail) = (&rest[..open], &rest[open + 1..]);
        let close = tail
            .find('}')
            .ok_or_else(|| format!("`{text}`: a `{{` without its `}}`"))?;
        let choices: Vec<&str> = tail[..close].split(',').map(str::trim).collect();
        if before.contains('}') || tail[..close].contains('{') {
            return Err(format!(
                "`{text}`: braces do not match; sets cannot stand inside sets"
            ));
        }
        if expanded.len() * choices.len() > MOST {
            return Err(format!("`{text}` stands for more than {MOST} blocks"));
        }
        expanded = expanded
            .iter()
            .flat_map(|head| {
                choices
                    .iter()
                    .map(move |choice| format!("{head}{before}{choice}"))
            })
            .collect();
        rest = &tail[close + 1..];
    }
    if rest.contains('}') {
        return Err(format!("`{text}`: a `}}` without its `{{`"));
    }
    expanded.iter_mut().for_each(|head| head.push_str(rest));
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any block that the notation can write.
    pub(crate) fn any_block() -> impl Strategy<Value = Block> {
        let parts = (
            0..KINDS.len(),
            1u32..=64_000,
            1u32..=63,
            any::<[bool; 8]>(),
            0..5usize,
            1u32..=1000,
        );
        parts.prop_map(|(kind, e, k, on, activation, se)| {
            let rules = &KINDS[kind];
            let ratio = |thousandths: u32| Ratio::exactly(f64::from(thousandths) / 1000.0);
            let flags = rules
                .flags
                .iter()
                .zip(on)
                .filter(|(_, on)| *on)
                .map(|(f, _)| *f);
            Block {
                kind: rules.kind.clone(),
                expansion: rules.expansion.then(|| ratio(e)).flatten(),
                kernel: rules.kernel.then_some(k),
                squeeze_excite: (rules.squeeze_excite && on[6]).then(|| ratio(se)).flatten(),
                activation: on[7].then_some(Activation::CODES[activation].0),
                flags: {
                    let mut f: Vec<Flag> = flags.collect();
                    f.sort_unstable();
                    f
                },
            }
        })
    }

    proptest! {
        #[test]
        fn names_round_trip(block in any_block()) {
            prop_assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
        }

        #[test]
        fn any_text_is_refused_or_prints_back(
            text in "(mbconv|mbconv3|fused|dwsep|conv|bottleneck|basic|skip|\\PC{0,3})\
                     (_(e|k|se|n|s|c|skip|noskip|pa|nowidth)[0-9.a-z]{0,4}){0,4}",
        ) {
            if let Ok(block) = text.parse::<Block>() {
                prop_assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
            }
        }
    }

    #[test]
    fn wrong_names_say_what_would_be_right() {
        let reason = |text: &str| text.parse::<Block>().unwrap_err().to_string();
        for (text, needle) in [
            ("mbcnv3_e6_k3", "did you mean `mbconv3`"),
            ("mbconv3_e6_k64", "whole number of 1 to 63"),
            ("mbconv3_e6_k3_nowidth", "nowidth to fixed layers"),
            ("basic_e2_k3", "means nothing to basic"),
            ("mbconv3_e6", "needs a kernel (k), such as mbconv3_e6_k7"),
            ("mbconv3_e6_k3_k5", "second time"),
            ("mbconv3_e6_k3_nskip", "did you mean `noskip`"),
            ("mbconv3_e6_k3_c16", "belong to the unit"),
            ("conv_k3_e4", "means nothing to conv"),
            ("mbconv3_e+6_k3", "decimal"),
            ("skip_k3", "means nothing to skip"),
            ("", "there is no kind"),
        ] {
            assert!(reason(text).contains(needle), "{text}: {}", reason(text));
        }
    }

    #[test]
    fn braces_multiply_out() {
        assert_eq!(
            expand_braces("a{1,2}b{3,4}").unwrap(),
            ["a1b3", "a1b4", "a2b3", "a2b4"]
        );
        assert_eq!(expand_braces("plain").unwrap(), ["plain"]);
        for text in ["a{1", "a1}", "a{{1}}", "a}{1}"] {
            assert!(expand_braces(text).is_err(), "{text}");
        }
        assert!(expand_braces(&"{1,2,3,4,5,6,7,8,9}".repeat(3)).is_err());
    }
}
