//! Types of numbers, and how they become f32.

/// A type of number, little-endian in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// The type of a storage class of PyTorch, such as `torch.FloatStorage`.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        let (module, name) = class.rsplit_once('.')?;
        if module != "torch" && module != "torch.cuda" {
            return None;
        }
        Some(match name {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The numbers that `bytes` hold; bytes left over are ignored.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let numbers = bytes.chunks_exact(self.size());
        numbers.map(|number| self.number(number)).collect()
    }

    /// One number from its bytes; 0 when they are not [`Self::size`].
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // f32 is what engines take
    pub(super) fn number(self, bytes: &[u8]) -> f32 {
        match self {
            Self::F64 => number(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => number(bytes, f32::from_le_bytes),
            Self::F16 => number(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::BF16 => number(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
            Self::I64 => number(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => number(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => number(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => number(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::U8 => number(bytes, |[b]: [u8; 1]| f32::from(b)),
            Self::Bool => number(bytes, |[b]: [u8; 1]| f32::from(u8::from(b != 0))),
        }
    }
}

fn number<const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> f32) -> f32 {
    bytes.try_into().map_or(0.0, from)
}
