//! Values as JSON writes them and as Python prints them: `{"ks": [3, null]}`, `{'ks': (3, None)}`,
//! `OrderedDict([('ks', array([3, 5]))])`, `np.int64(3)`. What is read is only ever data: nothing is evaluated.

use serde_json::{Map, Number, Value};

/// Brackets within brackets; more is no value that anybody wrote.
const DEEPEST: usize = 64;

/// Text that is no value, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line}, column {column}")]
pub struct LiteralError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in it, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// The one value that a text is. Python's `None`, `True` and `False` become JSON's, tuples become lists, arrays and
/// numbers of numpy and PyTorch what they hold, and numbers that are not finite texts (`"nan"`).
///
/// # Errors
/// [`LiteralError`].
pub fn parse(text: &str) -> Result<Value, LiteralError> {
    let mut reader = Reader::new(text);
    let value = reader.value(0)?;
    reader.blank();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.error("the value is over here, and more follows")),
    }
}

/// The values that follow each other in a text, with the lines on which they begin; commas between them are skipped.
///
/// # Errors
/// [`LiteralError`].
pub fn parse_all(text: &str) -> Result<Vec<(usize, Value)>, LiteralError> {
    let mut reader = Reader::new(text);
    let mut values = Vec::new();
    loop {
        reader.blank();
        while reader.take(b',') {
            reader.blank();
        }
        if reader.peek().is_none() {
            return Ok(values);
        }
        let (line, _) = reader.place();
        values.push((line, reader.value(0)?));
    }
}

/// Whether a text breaks off inside a value that it begins, as the first line of a pretty-printed one does.
pub(super) fn breaks_off(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.value(0).is_err() && reader.at >= text.trim_end().len()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Skips white space.
    fn blank(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The part from `start` to here.
    fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    fn skip_while(&mut self, fits: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&fits) {
            self.at += 1;
        }
    }

    /// Line and column, counted from 1.
    fn place(&self) -> (usize, usize) {
        let before = &self.text[..self.at];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[start..].chars().count() + 1,
        )
    }

    fn error(&self, reason: impl Into<String>) -> LiteralError {
        let (line, column) = self.place();
        LiteralError {
            line,
            column,
            reason: reason.into(),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, LiteralError> {
        self.blank();
        if depth > DEEPEST {
            return Err(self.error(format!("more than {DEEPEST} brackets within each other")));
        }
        match self.peek() {
            None => Err(self.error("the text ends where a value is due")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(b']', depth).map(|(items, _)| items.into()),
            Some(b'(') => self.group(depth),
            Some(b'"' | b'\'') => self.string().map(Value::String),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.') => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == b'_' => self.word(depth),
            Some(_) => Err(self.error("no value begins here")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, LiteralError> {
        self.at += 1;
        let mut map = Map::new();
        loop {
            self.blank();
            if self.take(b'}') {
                return Ok(map.into());
            }
            let start = self.at;
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                key @ (Value::Number(_) | Value::Bool(_) | Value::Null) => key.to_string(),
                _ => return Err(self.error("a key is a text")),
            };
            self.blank();
            if !self.take(b':') {
                return Err(self.error("a key is followed by a colon"));
            }
            let value = self.value(depth + 1)?;
            self.put(&mut map, key, value, start)?;
            self.end_of_item(b'}')?;
        }
    }

    /// Of two values under one key neither is taken.
    fn put(
        &mut self,
        map: &mut Map<String, Value>,
        key: String,
        value: Value,
        start: usize,
    ) -> Result<(), LiteralError> {
        if map.contains_key(&key) {
            self.at = start;
            return Err(self.error(format!("the key `{key}` stands twice")));
        }
        map.insert(key, value);
        Ok(())
    }

    /// The items up to the bracket that ends them, and whether there was a comma.
    fn list(&mut self, end: u8, depth: usize) -> Result<(Vec<Value>, bool), LiteralError> {
        self.at += 1;
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            self.blank();
            if self.take(end) {
                return Ok((items, comma));
            }
            items.push(self.value(depth + 1)?);
            comma |= self.end_of_item(end)?;
        }
    }

    /// Takes the comma behind an item; without one the bracket that ends all must follow.
    fn end_of_item(&mut self, end: u8) -> Result<bool, LiteralError> {
        self.blank();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => Ok(false),
            Some(_) => Err(self.error(format!("`,` or `{}` is due", char::from(end)))),
            None => Err(self.error(format!("the text ends before `{}`", char::from(end)))),
        }
    }

    /// A tuple, or a value in brackets.
    fn group(&mut self, depth: usize) -> Result<Value, LiteralError> {
        let (mut items, comma) = self.list(b')', depth)?;
        Ok(match items.pop() {
            Some(only) if items.is_empty() && !comma => only,
            last => {
                items.extend(last);
                items.into()
            }
        })
    }

    fn string(&mut self) -> Result<String, LiteralError> {
        let start = self.at;
        let quote = self.text.as_bytes()[start];
        self.at += 1;
        let mut out = String::new();
        loop {
            let plain = self.at;
            self.skip_while(|byte| byte != quote && byte != b'\\');
            out.push_str(self.since(plain));
            if self.take(quote) {
                return Ok(out);
            }
            if self.peek().is_none() {
                return Err(self.error(format!("the text ends before {}", char::from(quote))));
            }
            self.at += 1;
            out.push_str(&self.escape()?);
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<String, LiteralError> {
        let Some(c) = self.text[self.at..].chars().next() else {
            return Err(self.error("the text ends behind a backslash"));
        };
        self.at += c.len_utf8();
        Ok(match c {
            'n' => "\n".into(),
            't' => "\t".into(),
            'r' => "\r".into(),
            'b' => "\u{8}".into(),
            'f' => "\u{c}".into(),
            '0' => "\0".into(),
            'x' => self.code_point(2)?.into(),
            'u' => self.code_point(4)?.into(),
            'U' => self.code_point(8)?.into(),
            '\\' | '\'' | '"' | '/' => c.into(),
            // As Python does.
            other => format!("\\{other}"),
        })
    }

    fn code_point(&mut self, digits: usize) -> Result<char, LiteralError> {
        let first = self.hex(digits)?;
        let pair = (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u");
        let code = if pair {
            self.at += 2;
            let second = self.hex(4)?;
            0x1_0000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff)
        } else {
            first
        };
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self, digits: usize) -> Result<u32, LiteralError> {
        let text = self.text.get(self.at..self.at + digits);
        let code = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        let code =
            code.ok_or_else(|| self.error(format!("{digits} hexadecimal digits are due")))?;
        self.at += digits;
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, LiteralError> {
        let start = self.at;
        if matches!(self.peek(), Some(b'-' | b'+')) {
            self.at += 1;
        }
        let sign = self.since(start);
        if self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            let word = self.at;
            self.skip_while(|c| c.is_ascii_alphanumeric());
            return match not_finite(self.since(word)) {
                Some(name) if sign == "-" => Ok(format!("-{name}").into()),
                Some(name) => Ok(name.into()),
                None => Err(self.error("a sign is followed by a number")),
            };
        }
        let digits = self.at;
        let mut last = b' ';
        while let Some(c) = self.peek() {
            let exponent = matches!(last, b'e' | b'E') && matches!(c, b'-' | b'+');
            if !(c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E') || exponent) {
                break;
            }
            (last, self.at) = (c, self.at + 1);
        }
        let (unsigned, signed) = (
            self.since(digits),
            self.since(start).trim_start_matches('+'),
        );
        if let Ok(whole) = signed.parse::<i64>() {
            return Ok(whole.into());
        }
        if let Ok(whole) = signed.parse::<u64>() {
            return Ok(whole.into());
        }
        let number = unsigned.parse::<f64>().ok();
        let number = number.map(|n| if sign == "-" { -n } else { n });
        match number.and_then(Number::from_f64) {
            Some(number) => Ok(number.into()),
            None => {
                self.at = start;
                Err(self.error("this is no number"))
            }
        }
    }

    /// A word of its own, or a call: what it was called with.
    fn word(&mut self, depth: usize) -> Result<Value, LiteralError> {
        let start = self.at;
        let name = self.name();
        match (name, self.peek()) {
            ("None" | "null", _) => Ok(Value::Null),
            ("True" | "true", _) => Ok(true.into()),
            ("False" | "false", _) => Ok(false.into()),
            (_, Some(b'(')) => self.call(name, depth),
            (_, Some(b'"' | b'\'')) if matches!(name, "u" | "r" | "U" | "R") => {
                self.string().map(Value::String)
            }
            _ => match not_finite(name) {
                Some(name) => Ok(name.into()),
                None => {
                    self.at = start;
                    Err(self.error(format!("`{name}` is no value")))
                }
            },
        }
    }

    /// A name with dots.
    fn name(&mut self) -> &'a str {
        let start = self.at;
        self.skip_while(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.'));
        self.since(start)
    }

    /// `np.int64(3)`, `array([3, 5], dtype=int64)`, `OrderedDict([('ks', ...)])`, `dict(ks=...)`.
    fn call(&mut self, name: &str, depth: usize) -> Result<Value, LiteralError> {
        let start = self.at;
        self.at += 1;
        let (mut first, mut named) = (None, Map::new());
        loop {
            self.blank();
            if self.take(b')') {
                break;
            }
            if let Some(key) = self.keyword() {
                let value = self.setting(depth + 1)?;
                self.put(&mut named, key, value, start)?;
            } else {
                let value = self.value(depth + 1)?;
                first.get_or_insert(value);
            }
            self.end_of_item(b')')?;
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        match first {
            Some(Value::Array(pairs)) if last.ends_with("Dict") || last == "dict" => {
                self.pairs(pairs, start)
            }
            Some(value) => Ok(value),
            None => Ok(named.into()),
        }
    }

    /// The name of an argument that is passed by name.
    fn keyword(&mut self) -> Option<String> {
        let start = self.at;
        let name = self.name();
        self.blank();
        if !name.is_empty() && self.take(b'=') {
            return Some(name.to_owned());
        }
        self.at = start;
        None
    }

    /// The value of such an argument, which may be a name of Python's (`dtype=torch.int64`).
    fn setting(&mut self, depth: usize) -> Result<Value, LiteralError> {
        self.blank();
        let start = self.at;
        match self.value(depth) {
            Err(error) => {
                self.at = start;
                let name = self.name();
                if name.is_empty() {
                    return Err(error);
                }
                Ok(name.into())
            }
            value => value,
        }
    }

    fn pairs(&mut self, pairs: Vec<Value>, start: usize) -> Result<Value, LiteralError> {
        let mut map = Map::new();
        for pair in pairs {
            let pair = match pair {
                Value::Array(pair) => <[Value; 2]>::try_from(pair).ok(),
                _ => None,
            };
            let Some([Value::String(key), value]) = pair else {
                self.at = start;
                return Err(self.error("pairs of a key and a value are due"));
            };
            self.put(&mut map, key, value, start)?;
        }
        Ok(map.into())
    }
}

fn not_finite(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "nan" => Some("nan"),
        "inf" | "infinity" => Some("inf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn python_and_json_say_the_same() {
        let expected = json!({"wid": null, "ks": [3, 5], "e": [0.25, 6], "ok": true, "r": [192]});
        for text in [
            r#"{"wid": null, "ks": [3, 5], "e": [0.25, 6], "ok": true, "r": [192]}"#,
            "{'wid': None, 'ks': (3, 5), 'e': [.25, 6,], 'ok': True, 'r': (192,),}",
            "OrderedDict([('wid', None), ('ks', array([3, 5], dtype=int64)), ('e', [0.25, 6]), \
             ('ok', True), ('r', [np.int64(192)])])",
            "dict(wid=None, ks=[3, 5], e=tensor([0.25, 6], device='cuda:0'), ok=True, r=[(192)])",
            "ArchConfig(wid=None, ks=[3, 5], e=[2.5e-1, +6], ok=True, r=[192])",
            "{\n  u'wid': None,\r\n  'ks': [\n 3,\n 5\n], 'e': [0.25, 6], 'ok': True, 'r': [192]\n}\n",
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(parse("-inf"), Ok(json!("-inf")));
        assert_eq!(
            parse(r#"'a\'b\x41\u00e9\ud83d\ude00\q'"#),
            Ok(json!("a'bA\u{e9}\u{1f600}\\q"))
        );
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_place() {
        for (text, line, column) in [
            ("", 1, 1),
            ("{'a': }", 1, 7),
            ("{\n 'a': 1\n 'b': 2}", 3, 2),
            ("{'a': 1} x", 1, 10),
            ("{'a': 1, 'a': 2}", 1, 10),
            ("__import__", 1, 1),
            ("[1.2.3]", 1, 2),
            ("'\\u12", 1, 4),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error}"
            );
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn values_follow_each_other() {
        let values = parse_all("{'a': 1}\n\n[2],\n3").unwrap();
        assert_eq!(
            values,
            [(1, json!({"a": 1})), (3, json!([2])), (4, json!(3))]
        );
        assert!(breaks_off("{") && breaks_off("{\"ks\": [3,  ") && breaks_off("OrderedDict([("));
        assert!(!breaks_off("{}") && !breaks_off("{]") && !breaks_off("r224/e3k3"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_an_error(text in "[\\[\\](){}'\"\\\\:,=a-fnu0-9.eE+ \u{e9}-]{0,24}") {
            let _ = parse(&text);
            let _ = parse_all(&text);
            let _ = breaks_off(&text);
        }

        #[test]
        fn json_reads_as_it_does_elsewhere(text in "[a-z'\u{e9}\u{1f600}\n\"\\\\]{0,12}", number: i64, real: f64) {
            let real = if real.is_finite() { real } else { 0.0 };
            let value = json!({"t": text, "n": [number, real], "z": null});
            prop_assert_eq!(parse(&value.to_string()), Ok(value));
        }
    }
}
