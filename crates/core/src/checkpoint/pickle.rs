//! A machine for the pickles that PyTorch writes. It builds data and runs nothing.
//!
//! Objects live in one list and are named by their index, so that values are small, sharing costs nothing and
//! nothing is ever nested in memory; every opcode adds at most what its own bytes pay for, and the few that copy what
//! came before share an allowance of the pickle's length.

use std::collections::HashMap;
use std::sync::Arc;

use super::Problem;

/// The first opcode of every pickle since protocol 2.
pub(super) const PROTO: u8 = 0x80;
/// Newest protocol that is understood.
const NEWEST: u8 = 5;
/// What a pickle may have copied besides its own length: class names whose module is named once.
const COPIES: usize = 1 << 16;

/// A value: small, or the index of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Object(usize),
}

/// What a value can refer to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    Text(String),
    /// Numbers and bytes that state dicts have no use for.
    Ignored,
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// Something that Python would import.
    Global(Arc<str>),
    /// What `persistent_id` stands for: a storage, as the tuple that describes it.
    Persistent(Value),
    Tensor(TensorView),
    /// What calling a global that is not understood would give.
    Opaque(Arc<str>),
}

/// A tensor as a view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorView {
    /// Index of the storage's [`Object::Persistent`].
    pub storage: Value,
    pub offset: Value,
    pub shape: Value,
    pub strides: Value,
}

/// All objects of a pickle.
#[derive(Debug, Default)]
pub(super) struct Heap {
    pub objects: Vec<Object>,
}

impl Heap {
    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::Tuple(items) | Object::List(items) => Some(items),
            _ => None,
        }
    }

    /// The class in `('module', class, source file, source)`, by which files before torch 1.6 name modules.
    pub(super) fn module_class(&self, id: Value) -> Option<&Arc<str>> {
        let [kind, class, ..] = self.sequence(id)? else {
            return None;
        };
        match (self.text(*kind)?, self.object(*class)?) {
            ("module", Object::Global(class)) => Some(class),
            _ => None,
        }
    }

    fn add(&mut self, object: Object) -> Value {
        self.objects.push(object);
        Value::Object(self.objects.len() - 1)
    }
}

/// Reads one pickle at the beginning of `bytes`: its objects, its value, and how many bytes it takes.
pub(super) fn parse(bytes: &[u8]) -> Result<(Heap, Value, usize), Problem> {
    let mut machine = Machine {
        input: Input { bytes, at: 0 },
        heap: Heap::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copies: bytes.len().saturating_add(COPIES),
    };
    let value = machine.run()?;
    Ok((machine.heap, value, machine.input.at))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            Problem::damaged(format!(
                "the pickle ends early, at byte {}",
                self.bytes.len()
            ))
        })?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of `N` bytes, at most 8.
    fn number(&mut self, count: usize) -> Result<u64, Problem> {
        let bytes = self.take(count)?;
        Ok(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// As many bytes as a number of `count` bytes says.
    fn counted(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let length = usize::try_from(self.number(count)?).unwrap_or(usize::MAX);
        self.take(length)
    }

    /// The bytes up to the end of the line.
    fn line(&mut self) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = self.take(length)?;
        self.take(1)?;
        Ok(line)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Machine<'a> {
    input: Input<'a>,
    heap: Heap,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    /// Entries and letters that may still be copied.
    copies: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, Problem> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            PROTO => self.protocol(),
            0x95 => self.input.take(8).map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.since_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'I' | b'L' => self.integer(opcode),
            b'G' => self.ignored(8),
            b'F' => {
                self.input.line()?;
                self.push_object(Object::Ignored)
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'S' | b'V' => self.string(opcode),
            b'B' => self.ignored_counted(4),
            b'C' => self.ignored_counted(1),
            0x8e | 0x96 => self.ignored_counted(8),
            b')' => self.push_object(Object::Tuple(Vec::new())),
            0x85..=0x87 => self.small_tuple(usize::from(opcode - 0x84)),
            b't' => {
                let items = self.since_mark()?;
                self.push_object(Object::Tuple(items))
            }
            b']' | 0x8f => self.push_object(Object::List(Vec::new())),
            b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push_object(Object::List(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.extend(items)
            }
            b'}' => self.push_object(Object::Dict(Vec::new())),
            b'd' => {
                let items = pairs(&self.since_mark()?)?;
                self.push_object(Object::Dict(items))
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![(key, value)])
            }
            b'u' => {
                let items = pairs(&self.since_mark()?)?;
                self.insert(items)
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memory(opcode),
            b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'b' | b'i' | b'o' | b'P' | b'Q' => {
                self.object(opcode)
            }
            other => Err(Problem::unsupported(format!(
                "the pickle has the opcode {other:#04x} at byte {}, which state dicts do not have",
                self.input.at - 1
            ))),
        }
    }

    fn protocol(&mut self) -> Result<(), Problem> {
        let version = self.input.byte()?;
        if version > NEWEST {
            return Err(Problem::unsupported(format!(
                "the pickle has protocol {version}; up to {NEWEST} is read"
            )));
        }
        Ok(())
    }

    fn integer(&mut self, opcode: u8) -> Result<(), Problem> {
        let value =
            match opcode {
                b'J' => {
                    let bits = u32::try_from(self.input.number(4)?).unwrap_or(0);
                    Value::Int(i64::from(bits.cast_signed()))
                }
                b'K' => Value::Int(i64::from(self.input.byte()?)),
                b'M' => Value::Int(i64::try_from(self.input.number(2)?).unwrap_or(0)),
                0x8a | 0x8b => {
                    let bytes = self.input.counted(if opcode == 0x8a { 1 } else { 4 })?;
                    return match signed(bytes) {
                        Some(number) => self.push(Value::Int(number)),
                        None => self.push_object(Object::Ignored),
                    };
                }
                _ => {
                    let line = text(self.input.line()?);
                    match line.trim_end_matches('L') {
                        "00" => Value::Bool(false),
                        "01" => Value::Bool(true),
                        digits => Value::Int(digits.parse().map_err(|_| {
                            Problem::damaged("the pickle has a number without digits")
                        })?),
                    }
                }
            };
        self.push(value)
    }

    fn string(&mut self, opcode: u8) -> Result<(), Problem> {
        let bytes = match opcode {
            b'X' | b'T' => self.input.counted(4)?,
            0x8c | b'U' => self.input.counted(1)?,
            0x8d => self.input.counted(8)?,
            _ => self.input.line()?,
        };
        self.push_object(Object::Text(text(bytes)))
    }

    /// A tuple of the topmost values.
    fn small_tuple(&mut self, length: usize) -> Result<(), Problem> {
        let start = self.stack.len().checked_sub(length);
        let items = self.stack.split_off(start.ok_or_else(empty_stack)?);
        self.push_object(Object::Tuple(items))
    }

    fn ignored(&mut self, bytes: usize) -> Result<(), Problem> {
        self.input.take(bytes)?;
        self.push_object(Object::Ignored)
    }

    fn ignored_counted(&mut self, count: usize) -> Result<(), Problem> {
        self.input.counted(count)?;
        self.push_object(Object::Ignored)
    }

    fn memory(&mut self, opcode: u8) -> Result<(), Problem> {
        let key = match opcode {
            b'p' | b'g' => {
                let line = text(self.input.line()?);
                let key = line.parse();
                key.map_err(|_| Problem::damaged("the pickle's memory has a key without digits"))?
            }
            b'q' | b'h' => self.input.number(1)?,
            b'r' | b'j' => self.input.number(4)?,
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let value = self.memo.get(&key).copied();
            let value =
                value.ok_or_else(|| Problem::damaged("the pickle recalls what it never stored"))?;
            return self.push(value);
        }
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn object(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            b'c' => {
                let (module, name) = (text(self.input.line()?), text(self.input.line()?));
                self.push_object(Object::Global(format!("{module}.{name}").into()))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let words = self.heap.text(module).zip(self.heap.text(name));
                let (module, name) = words
                    .ok_or_else(|| Problem::damaged("the pickle names a global without a name"))?;
                let length = module.len().saturating_add(name.len());
                pay(&mut self.copies, length)?;
                self.push_object(Object::Global(format!("{module}.{name}").into()))
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            0x92 => {
                self.pop()?;
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            // The state of an object that is data here, such as the `_metadata` of a state dict.
            b'b' => self.pop().map(|_| ()),
            b'i' => {
                let (module, name) = (text(self.input.line()?), text(self.input.line()?));
                self.since_mark()?;
                self.push_object(Object::Opaque(format!("{module}.{name}").into()))
            }
            b'o' => {
                let items = self.since_mark()?;
                let class = items.first().and_then(|class| self.global(*class));
                self.push_object(Object::Opaque(class.unwrap_or_else(|| "an object".into())))
            }
            b'P' => {
                let line = text(self.input.line()?);
                let id = self.heap.add(Object::Text(line));
                self.push_object(Object::Persistent(id))
            }
            _ => {
                let id = self.pop()?;
                self.push_object(Object::Persistent(id))
            }
        }
    }

    fn global(&self, value: Value) -> Option<Arc<str>> {
        match self.heap.object(value)? {
            Object::Global(name) | Object::Opaque(name) => Some(Arc::clone(name)),
            Object::Persistent(id) => self.heap.module_class(*id).cloned(),
            _ => None,
        }
    }

    /// What calling a global with arguments gives, for the few that are data in disguise.
    fn call(&mut self, callable: Value, arguments: Value) -> Result<(), Problem> {
        let name = self.global(callable);
        let name = name.ok_or_else(|| Problem::damaged("the pickle calls what is no function"))?;
        let arguments = self.heap.sequence(arguments);
        let arguments = arguments.ok_or_else(|| {
            Problem::damaged(format!("the pickle calls `{name}` without arguments"))
        })?;
        let object = match (&*name, arguments) {
            (
                "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
                [storage, offset, shape, strides, ..],
            ) => Object::Tensor(TensorView {
                storage: *storage,
                offset: *offset,
                shape: *shape,
                strides: *strides,
            }),
            ("torch._utils._rebuild_parameter", [data, ..]) | ("torch.Size", [data]) => {
                let data = *data;
                return self.push(data);
            }
            ("collections.OrderedDict", []) => Object::Dict(Vec::new()),
            ("collections.OrderedDict", [list]) => {
                let entry = |pair: &Value| match self.heap.sequence(*pair) {
                    Some([key, value]) => Ok((*key, *value)),
                    _ => Err(Problem::damaged(
                        "the pickle makes a dictionary of what are no pairs",
                    )),
                };
                let list = self.heap.sequence(*list).unwrap_or_default();
                pay(&mut self.copies, list.len())?;
                Object::Dict(list.iter().map(entry).collect::<Result<_, _>>()?)
            }
            _ => Object::Opaque(name),
        };
        self.push_object(object)
    }

    fn push(&mut self, value: Value) -> Result<(), Problem> {
        self.stack.push(value);
        Ok(())
    }

    fn push_object(&mut self, object: Object) -> Result<(), Problem> {
        let value = self.heap.add(object);
        self.push(value)
    }

    fn top(&self) -> Result<Value, Problem> {
        self.stack.last().copied().ok_or_else(empty_stack)
    }

    fn pop(&mut self) -> Result<Value, Problem> {
        self.stack.pop().ok_or_else(empty_stack)
    }

    /// Everything above the last mark.
    fn since_mark(&mut self) -> Result<Vec<Value>, Problem> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or_else(empty_stack)?))
    }

    /// Appends to the list on top of the stack.
    fn extend(&mut self, items: Vec<Value>) -> Result<(), Problem> {
        if let Value::Object(index) = self.top()?
            && let Some(Object::List(list)) = self.heap.objects.get_mut(index)
        {
            list.extend(items);
        }
        Ok(())
    }

    /// Adds to the dictionary on top of the stack.
    fn insert(&mut self, items: Vec<(Value, Value)>) -> Result<(), Problem> {
        if let Value::Object(index) = self.top()?
            && let Some(Object::Dict(dict)) = self.heap.objects.get_mut(index)
        {
            dict.extend(items);
        }
        Ok(())
    }
}

/// Takes what is copied from the allowance.
fn pay(copies: &mut usize, count: usize) -> Result<(), Problem> {
    *copies = copies.checked_sub(count).ok_or_else(|| {
        Problem::unsupported(
            "its pickle copies the same things again and again, which state dicts do not",
        )
    })?;
    Ok(())
}

fn empty_stack() -> Problem {
    Problem::damaged("the pickle takes from an empty stack")
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, Problem> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Problem::damaged("the pickle has a key without a value"));
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

/// A little-endian two's complement number, if it fits.
fn signed(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}
