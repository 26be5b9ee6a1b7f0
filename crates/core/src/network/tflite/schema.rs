//! Writing a graph as a TFLite flatbuffer: tables, fields and codes of the TensorFlow Lite schema, version 3.
//!
//! flatc's generated code cannot stand in a workspace that forbids `unsafe`, and most of the schema is of no use
//! here, so that the few tables are written by the numbers of their fields.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, VOffsetT, WIPOffset};

use super::graph::{
    Builtin, Content, Data, Element, Fused, Graph, Operator, Options, Quantization, Tensor,
};

/// `Model.version`.
const VERSION: u32 = 3;
const IDENTIFIER: &str = "TFL3";
/// Bytes of the root's offset and the identifier, which are written last.
const HEADER: usize = 8;
/// `force_align` of `Buffer.data`.
const ALIGNMENT: usize = 16;

/// `TensorType`.
const FLOAT32: i8 = 0;
const INT32: i8 = 2;
const INT8: i8 = 9;

/// `BuiltinOptions`: which table the options are.
const CONV_2D_OPTIONS: u8 = 1;
const DEPTHWISE_CONV_2D_OPTIONS: u8 = 2;
const POOL_2D_OPTIONS: u8 = 5;
const FULLY_CONNECTED_OPTIONS: u8 = 8;
const ADD_OPTIONS: u8 = 11;
const RESHAPE_OPTIONS: u8 = 17;
const MUL_OPTIONS: u8 = 21;
const REDUCER_OPTIONS: u8 = 27;

type Table = WIPOffset<TableFinishedWIPOffset>;

/// The offset in a vtable of the field with this number in the schema.
const fn field(number: u16) -> VOffsetT {
    4 + 2 * number
}

/// The bytes of the file.
pub(super) fn write(graph: &Graph, name: &str) -> Vec<u8> {
    let mut writer = Writer {
        fbb: FlatBufferBuilder::new(),
        codes: operator_codes(graph),
    };
    writer.model(graph, name);
    writer.fbb.finished_data().to_vec()
}

/// Every operator that occurs, with the version of it that is needed.
fn operator_codes(graph: &Graph) -> Vec<(Builtin, i32)> {
    let version = |operator: &Operator| {
        let integer = |index: &usize| graph.tensors[*index].quantization.is_some();
        let quantized = operator.inputs.iter().any(integer);
        if quantized {
            operator.code.int8_version()
        } else {
            1
        }
    };
    let mut codes: Vec<(Builtin, i32)> = graph
        .operators
        .iter()
        .map(|o| (o.code, version(o)))
        .collect();
    codes.sort_unstable();
    codes.dedup_by_key(|(code, _)| *code);
    codes
}

struct Writer<'a> {
    fbb: FlatBufferBuilder<'a>,
    codes: Vec<(Builtin, i32)>,
}

impl Writer<'_> {
    fn model(&mut self, graph: &Graph, name: &str) {
        // Buffer 0 is empty, for tensors without data.
        let mut buffers = vec![self.buffer(&[])];
        let mut tensors = Vec::with_capacity(graph.tensors.len());
        for tensor in &graph.tensors {
            let mut buffer = 0;
            if let Content::Constant { data, .. } = &tensor.content {
                buffer = u32::try_from(buffers.len()).unwrap_or(0);
                buffers.push(self.buffer(&bytes(data)));
            }
            tensors.push(self.tensor(tensor, buffer));
        }
        let operators: Vec<Table> = graph.operators.iter().map(|o| self.operator(o)).collect();
        let subgraph = self.subgraph(graph, name, &tensors, &operators);
        let codes: Vec<Table> = self
            .codes
            .clone()
            .into_iter()
            .map(|c| self.code(c))
            .collect();
        let codes = self.fbb.create_vector(&codes);
        let subgraphs = self.fbb.create_vector(&[subgraph]);
        let description = self
            .fbb
            .create_string(concat!("blocklens ", env!("CARGO_PKG_VERSION")));
        let buffers = self.fbb.create_vector(&buffers);
        let start = self.fbb.start_table();
        self.fbb.push_slot(field(0), VERSION, 0);
        self.fbb.push_slot_always(field(1), codes);
        self.fbb.push_slot_always(field(2), subgraphs);
        self.fbb.push_slot_always(field(3), description);
        self.fbb.push_slot_always(field(4), buffers);
        let model = self.fbb.end_table(start);
        self.align(HEADER);
        self.fbb.finish(model, Some(IDENTIFIER));
    }

    /// Pads so that after `upcoming` more bytes the file, which is written from its end, is long a multiple of
    /// the alignment: what starts there is aligned, since the whole file is.
    fn align(&mut self, upcoming: usize) {
        while !(self.fbb.unfinished_data().len() + upcoming).is_multiple_of(ALIGNMENT) {
            self.fbb.push(0_u8);
        }
    }

    /// `Buffer`, whose data the schema aligns to 16 bytes.
    fn buffer(&mut self, data: &[u8]) -> Table {
        let data = (!data.is_empty()).then(|| {
            self.align(data.len());
            self.fbb.create_vector(data)
        });
        let start = self.fbb.start_table();
        if let Some(data) = data {
            self.fbb.push_slot_always(field(0), data);
        }
        self.end(start)
    }

    /// `Tensor`.
    fn tensor(&mut self, tensor: &Tensor, buffer: u32) -> Table {
        let shape = self.fbb.create_vector(&tensor.shape);
        let name = self.fbb.create_string(&tensor.name);
        let quantization = tensor.quantization.as_ref().map(|q| self.quantization(q));
        let start = self.fbb.start_table();
        self.fbb.push_slot_always(field(0), shape);
        self.fbb.push_slot(field(1), element(&tensor.content), 0);
        self.fbb.push_slot(field(2), buffer, 0);
        self.fbb.push_slot_always(field(3), name);
        if let Some(quantization) = quantization {
            self.fbb.push_slot_always(field(4), quantization);
        }
        // A shape of no dimensions is a scalar, not an unknown shape.
        self.fbb.push_slot(field(8), true, false);
        self.end(start)
    }

    /// `QuantizationParameters`.
    fn quantization(&mut self, quantization: &Quantization) -> Table {
        let scales = self.fbb.create_vector(&quantization.scales);
        let zero_points = self.fbb.create_vector(&quantization.zero_points);
        let start = self.fbb.start_table();
        self.fbb.push_slot_always(field(2), scales);
        self.fbb.push_slot_always(field(3), zero_points);
        self.fbb.push_slot(field(6), quantization.dimension, 0);
        self.end(start)
    }

    /// `OperatorCode`.
    fn code(&mut self, (code, version): (Builtin, i32)) -> Table {
        let number = code as u8;
        let start = self.fbb.start_table();
        // Readers older than the second field look at the first, which holds up to 127.
        self.fbb.push_slot(field(0), number.cast_signed(), 0);
        self.fbb.push_slot(field(2), version, 1);
        self.fbb.push_slot(field(3), i32::from(number), 0);
        self.end(start)
    }

    /// `SubGraph`.
    fn subgraph(
        &mut self,
        graph: &Graph,
        name: &str,
        tensors: &[Table],
        operators: &[Table],
    ) -> Table {
        let tensors = self.fbb.create_vector(tensors);
        let inputs = self.fbb.create_vector(&[index(graph.input)]);
        let outputs = self.fbb.create_vector(&[index(graph.output)]);
        let operators = self.fbb.create_vector(operators);
        let name = self.fbb.create_string(name);
        let start = self.fbb.start_table();
        self.fbb.push_slot_always(field(0), tensors);
        self.fbb.push_slot_always(field(1), inputs);
        self.fbb.push_slot_always(field(2), outputs);
        self.fbb.push_slot_always(field(3), operators);
        self.fbb.push_slot_always(field(4), name);
        self.end(start)
    }

    /// `Operator`.
    fn operator(&mut self, operator: &Operator) -> Table {
        let inputs: Vec<i32> = operator.inputs.iter().map(|i| index(*i)).collect();
        let inputs = self.fbb.create_vector(&inputs);
        let outputs = self.fbb.create_vector(&[index(operator.output)]);
        let options = self.options(operator);
        let code = self
            .codes
            .iter()
            .position(|(code, _)| *code == operator.code);
        let start = self.fbb.start_table();
        self.fbb.push_slot(
            field(0),
            code.and_then(|c| u32::try_from(c).ok()).unwrap_or(0),
            0,
        );
        self.fbb.push_slot_always(field(1), inputs);
        self.fbb.push_slot_always(field(2), outputs);
        if let Some((kind, table)) = options {
            self.fbb.push_slot(field(3), kind, 0);
            self.fbb.push_slot_always(field(4), table);
        }
        self.end(start)
    }

    fn options(&mut self, operator: &Operator) -> Option<(u8, Table)> {
        Some(match (&operator.options, operator.code) {
            (Options::None, _) => return None,
            (
                Options::Conv {
                    padding,
                    stride,
                    fused,
                },
                code,
            ) => {
                let depthwise = code == Builtin::DepthwiseConv2d;
                let start = self.fbb.start_table();
                self.fbb.push_slot(field(0), *padding as i8, 0);
                self.fbb.push_slot(field(1), *stride, 0);
                self.fbb.push_slot(field(2), *stride, 0);
                if depthwise {
                    self.fbb.push_slot(field(3), 1_i32, 0);
                }
                self.fbb
                    .push_slot(field(3 + u16::from(depthwise)), *fused as i8, 0);
                let kind = if depthwise {
                    DEPTHWISE_CONV_2D_OPTIONS
                } else {
                    CONV_2D_OPTIONS
                };
                (kind, self.end(start))
            }
            (
                Options::Pool {
                    padding,
                    stride,
                    filter,
                },
                _,
            ) => {
                let start = self.fbb.start_table();
                self.fbb.push_slot(field(0), *padding as i8, 0);
                for (number, value) in [(1, stride), (2, stride), (3, filter), (4, filter)] {
                    self.fbb.push_slot(field(number), *value, 0);
                }
                (POOL_2D_OPTIONS, self.end(start))
            }
            (Options::Fused(fused), code) => {
                let kind = match code {
                    Builtin::Add => ADD_OPTIONS,
                    Builtin::Mul => MUL_OPTIONS,
                    _ => FULLY_CONNECTED_OPTIONS,
                };
                let start = self.fbb.start_table();
                self.fbb
                    .push_slot(field(0), *fused as i8, Fused::None as i8);
                (kind, self.end(start))
            }
            (Options::KeepDims, _) => {
                let start = self.fbb.start_table();
                self.fbb.push_slot(field(0), true, false);
                (REDUCER_OPTIONS, self.end(start))
            }
            (Options::Reshape(shape), _) => {
                let shape = self.fbb.create_vector(shape);
                let start = self.fbb.start_table();
                self.fbb.push_slot_always(field(0), shape);
                (RESHAPE_OPTIONS, self.end(start))
            }
        })
    }

    fn end(&mut self, start: WIPOffset<flatbuffers::TableUnfinishedWIPOffset>) -> Table {
        self.fbb.end_table(start)
    }
}

fn index(tensor: usize) -> i32 {
    i32::try_from(tensor).unwrap_or(-1)
}

fn element(content: &Content) -> i8 {
    match content {
        Content::Activation {
            element: Element::F32,
            ..
        } => FLOAT32,
        Content::Activation {
            element: Element::I8,
            ..
        } => INT8,
        Content::Constant { data, .. } => match data {
            Data::F32(_) => FLOAT32,
            Data::I32(_) => INT32,
            Data::I8(_) => INT8,
        },
    }
}

fn bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Data::I32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Data::I8(values) => values.iter().map(|v| v.cast_unsigned()).collect(),
    }
}
