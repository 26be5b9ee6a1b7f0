//! Functions that a file defines, written out where they are called.

use std::collections::HashMap;

use super::decode::{MAX_NODES, default_domain, short, unsupported};
use super::error::Problem;
use crate::onnx::proto::{
    AttributeProto, FunctionProto, ModelProto, NodeProto, OperatorSetIdProto,
};

/// Most calls inside each other.
const MAX_DEPTH: usize = 16;

/// Replaces every call of one of the model's functions by the operators of the function.
///
/// # Errors
/// [`Problem`] for functions that call themselves, become too many operators, or are of another operator set.
pub(super) fn write_out(model: &mut ModelProto, opset: i64) -> Result<(), Problem> {
    let functions = std::mem::take(&mut model.functions);
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    if functions.is_empty() {
        return Ok(());
    }
    let mut writer = Writer {
        functions: functions.iter().map(|f| (key_of(f), f)).collect(),
        opset,
        calls: 0,
        nodes: Vec::with_capacity(graph.node.len()),
    };
    for node in std::mem::take(&mut graph.node) {
        writer.push(node, 0)?;
    }
    graph.node = writer.nodes;
    Ok(())
}

/// Domain, name and overload.
type Key<'a> = (&'a str, &'a str, &'a str);

fn key_of(function: &FunctionProto) -> Key<'_> {
    (function.domain(), function.name(), function.overload())
}

struct Writer<'a> {
    functions: HashMap<Key<'a>, &'a FunctionProto>,
    opset: i64,
    /// How many calls were written out: their tensors must not have the same names.
    calls: usize,
    nodes: Vec<NodeProto>,
}

impl<'a> Writer<'a> {
    fn push(&mut self, node: NodeProto, depth: usize) -> Result<(), Problem> {
        let key = (node.domain(), node.op_type(), node.overload());
        let function = self.functions.get(&key).copied();
        let Some(function) = function.filter(|_| !default_domain(node.domain())) else {
            self.nodes.push(node);
            return match self.nodes.len() {
                0..=MAX_NODES => Ok(()),
                _ => Err(Problem::too_large(
                    "the number of operators",
                    MAX_NODES as u64,
                )),
            };
        };
        if depth == MAX_DEPTH {
            let what = format!("the function {}, which calls itself,", short(key.1));
            return Err(unsupported(what, "write it out"));
        }
        self.check_opset(function)?;
        self.calls += 1;
        let call = Call::new(function, &node, self.calls);
        for inner in &function.node {
            self.push(call.inner(inner), depth + 1)?;
        }
        self.nodes.extend(call.handed_on());
        Ok(())
    }

    /// Operators of a function mean what the function's operator set says.
    fn check_opset(&self, function: &FunctionProto) -> Result<(), Problem> {
        let default = |f: &FunctionProto| {
            let mut sets = f.opset_import.iter();
            sets.find(|set| default_domain(set.domain()))
                .map(OperatorSetIdProto::version)
        };
        match default(function) {
            Some(version) if version != self.opset => Err(unsupported(
                format!(
                    "the function {}, which is of operator set {version} in a file of {},",
                    short(function.name()),
                    self.opset
                ),
                "convert it (`onnx.version_converter`) or export with functions written out",
            )),
            _ => Ok(()),
        }
    }
}

/// One call of a function.
struct Call<'a> {
    function: &'a FunctionProto,
    node: &'a NodeProto,
    /// What the names inside begin with.
    scope: String,
}

impl<'a> Call<'a> {
    fn new(function: &'a FunctionProto, node: &'a NodeProto, number: usize) -> Self {
        let name = match node.name() {
            "" => function.name(),
            name => name,
        };
        Self {
            function,
            node,
            scope: format!("{}#{number}", short(name)),
        }
    }

    /// What a tensor of the function is called outside.
    fn name(&self, inner: &str) -> String {
        let place = |names: &[String]| names.iter().position(|name| name == inner);
        let outside = match (place(&self.function.input), place(&self.function.output)) {
            // An input that the call leaves out is left out inside, too.
            (Some(input), _) => {
                return self.node.input.get(input).cloned().unwrap_or_default();
            }
            (None, Some(output)) => self.node.output.get(output),
            (None, None) => None,
        };
        match outside.filter(|name| !name.is_empty()) {
            Some(name) => name.clone(),
            None if inner.is_empty() => String::new(),
            None => format!("{}/{inner}", self.scope),
        }
    }

    /// An operator of the function, as it stands outside.
    fn inner(&self, inner: &NodeProto) -> NodeProto {
        let names = |list: &[String]| list.iter().map(|name| self.name(name)).collect();
        NodeProto {
            name: Some(match inner.name() {
                "" => String::new(),
                name => format!("{}/{name}", self.scope),
            }),
            input: names(&inner.input),
            output: names(&inner.output),
            attribute: inner
                .attribute
                .iter()
                .filter_map(|attribute| self.attribute(attribute))
                .collect(),
            ..inner.clone()
        }
    }

    /// An attribute; one that refers to an attribute of the function is that of the call, or its default.
    fn attribute(&self, attribute: &AttributeProto) -> Option<AttributeProto> {
        let Some(wanted) = attribute.ref_attr_name.as_deref() else {
            return Some(attribute.clone());
        };
        let given = self.node.attribute.iter();
        let mut all = given.chain(&self.function.attribute_proto);
        let value = all.find(|a| a.name() == wanted)?;
        Some(AttributeProto {
            name: attribute.name.clone(),
            ..value.clone()
        })
    }

    /// Outputs of the function that are its inputs.
    fn handed_on(&self) -> Vec<NodeProto> {
        let outputs = self.function.output.iter().zip(&self.node.output);
        outputs
            .filter(|(inner, outer)| self.function.input.contains(inner) && !outer.is_empty())
            .map(|(inner, outer)| NodeProto {
                op_type: Some("Identity".to_owned()),
                input: vec![self.name(inner)],
                output: vec![outer.clone()],
                ..NodeProto::default()
            })
            .collect()
    }
}
