//! Candidate blocks and their compact names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// relu6(x + 3) / 6, the gate of MobileNetV3's squeeze-and-excitation.
    Hsigmoid,
    /// 1 / (1 + exp(-x)), the gate of the original squeeze-and-excitation (Hu et al. 2018).
    Sigmoid,
}

impl Activation {
    /// The name used in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Hswish => "hswish",
            Activation::Silu => "silu",
            Activation::Hsigmoid => "hsigmoid",
            Activation::Sigmoid => "sigmoid",
        }
    }
}

/// What can stand at a layer: an inverted bottleneck with an expansion and a kernel.
///
/// The unit decides the rest (channels, stride, activation, squeeze-and-excitation).
/// Written `mbconv3_e6_k7` in files and reports, `e6k7` inside an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// Ratio of the hidden channels to the input channels.
    pub expansion: u32,
    /// Width and height of the depthwise kernel (odd).
    pub kernel: u32,
}

impl Block {
    /// The short form used inside an architecture: `e6k7`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("e{}k{}", self.expansion, self.kernel)
    }

    fn from_parts(expansion: &str, kernel: &str) -> Option<Self> {
        // Digits only: `u32::from_str` alone would also take a plus sign.
        let number = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| s.parse::<u32>().ok())?
        };
        let block = Self {
            expansion: number(expansion)?,
            kernel: number(kernel)?,
        };
        let fits =
            (1..=64).contains(&block.expansion) && block.kernel <= 63 && block.kernel % 2 == 1;
        fits.then_some(block)
    }

    /// Reads the short form `e6k7`.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        let (expansion, kernel) = code.strip_prefix('e')?.split_once('k')?;
        Self::from_parts(expansion, kernel)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mbconv3_e{}_k{}", self.expansion, self.kernel)
    }
}

/// A block name that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a block: write mbconv3_e<expansion>_k<kernel> with an expansion of 1 to 64 and an odd kernel, such as mbconv3_e6_k7"
)]
pub struct BlockError(pub String);

impl FromStr for Block {
    type Err = BlockError;
    fn from_str(s: &str) -> Result<Self, BlockError> {
        s.strip_prefix("mbconv3_e")
            .and_then(|rest| rest.split_once("_k"))
            .and_then(|(e, k)| Self::from_parts(e, k))
            .ok_or_else(|| BlockError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_round_trip(expansion in 1u32..=64, half in 0u32..=31) {
            let block = Block { expansion, kernel: 2 * half + 1 };
            prop_assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
            prop_assert_eq!(Block::from_code(&block.code()), Some(block));
        }

        #[test]
        fn any_text_is_refused_or_prints_back(text in "\\PC*") {
            if let Ok(block) = text.parse::<Block>() {
                // Leading zeros are the only spelling that two texts share.
                prop_assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
            }
        }
    }

    #[test]
    fn wrong_names_say_what_would_be_right() {
        let error = "mbconv_e6_k4".parse::<Block>().unwrap_err().to_string();
        assert!(
            error.contains("mbconv_e6_k4") && error.contains("mbconv3_e6_k7"),
            "{error}"
        );
        assert!(
            "mbconv3_e6_k4".parse::<Block>().is_err(),
            "even kernels have no centre"
        );
        assert!(Block::from_code("e+6k3").is_none());
    }
}
