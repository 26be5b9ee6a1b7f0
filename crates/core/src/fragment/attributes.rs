//! Attributes of an operator.

use crate::onnx::proto::AttributeProto;
use crate::onnx::proto::attribute_proto::AttributeType;

/// The attributes of one operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<AttributeProto>);

impl Attributes {
    pub fn new(attributes: &[AttributeProto]) -> Self {
        let plain = |attribute: &AttributeProto| AttributeProto {
            doc_string: None,
            ..attribute.clone()
        };
        Self(attributes.iter().map(plain).collect())
    }

    fn get(&self, name: &str) -> Option<&AttributeProto> {
        self.0.iter().find(|attribute| attribute.name() == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, AttributeProto::i)
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.get(name).map(|a| a.ints.as_slice())
    }

    pub fn string(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?.s()).ok()
    }

    /// Data type of an attribute that holds a tensor, as ONNX numbers it.
    pub fn tensor_type(&self, name: &str) -> Option<i64> {
        Some(self.get(name)?.t.as_ref()?.data_type().into())
    }

    /// The first integer of an attribute that holds a tensor of them.
    pub fn tensor_int(&self, name: &str) -> Option<i64> {
        let tensor = self.get(name)?.t.as_ref()?;
        let raw = || tensor.raw_data.as_deref()?.first_chunk().copied();
        tensor
            .int64_data
            .first()
            .copied()
            .or_else(|| raw().map(i64::from_le_bytes))
    }

    pub fn set_int(&mut self, name: &str, value: i64) {
        self.set(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(AttributeType::Int.into()),
            i: Some(value),
            ..AttributeProto::default()
        });
    }

    pub fn set_ints(&mut self, name: &str, values: &[i64]) {
        self.set(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(AttributeType::Ints.into()),
            ints: values.to_vec(),
            ..AttributeProto::default()
        });
    }

    fn set(&mut self, attribute: AttributeProto) {
        self.0.retain(|other| other.name() != attribute.name());
        self.0.push(attribute);
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|attribute| attribute.name() != name);
    }

    pub fn into_protos(self) -> Vec<AttributeProto> {
        self.0
    }
}
