//! Python's pickle, read and never executed: an interpreter of the few instructions (pickletools.py of CPython lists all) that
//! build numbers, texts, lists, dictionaries and torch's tensors, and of the few names that a tensor needs. Whatever else a
//! pickle asks for, a class, a function, `os.system`, is an error that says its name; nothing here could call it.
//!
//! Values lie in one list and refer to each other by place, so a pickle that repeats itself costs no more than its length.

use std::collections::BTreeMap;

use crate::files::tensors::{Kind, Stored};

/// What is wrong with a pickle.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is damaged, or not of the kind that is read here.
    Damaged(String),
    /// It asks for something that only executing it could give.
    Asks(String),
}

type Result<T> = std::result::Result<T, Fault>;

/// A place in the list of values.
pub(crate) type Id = usize;

/// A value of a pickle.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Python's None.
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A tuple or a list.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Numbers in a file of the archive, named by a key.
    Storage {
        kind: Kind,
        /// Its key, a text.
        key: Id,
        count: usize,
    },
    /// Some of a storage's numbers; its place is counted in them.
    Tensor {
        storage: Id,
        stored: Stored,
    },
    /// One of the names that are known.
    Name(Name),
}

/// The names that a tensor needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …)`.
    Tensor,
    /// `torch._utils._rebuild_parameter(tensor, …)`, which is its tensor here.
    Parameter,
    Storage(Kind),
}

fn known(module: &str, name: &str) -> Result<Name> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Name::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Name::Tensor,
        ("torch._utils", "_rebuild_parameter") => Name::Parameter,
        ("torch", "DoubleStorage") => Name::Storage(Kind::F64),
        ("torch", "FloatStorage") => Name::Storage(Kind::F32),
        ("torch", "HalfStorage") => Name::Storage(Kind::F16),
        ("torch", "BFloat16Storage") => Name::Storage(Kind::Bf16),
        ("torch", "LongStorage") => Name::Storage(Kind::I64),
        ("torch", "IntStorage") => Name::Storage(Kind::I32),
        ("torch", "ShortStorage") => Name::Storage(Kind::I16),
        ("torch", "CharStorage") => Name::Storage(Kind::I8),
        ("torch", "ByteStorage" | "BoolStorage") => Name::Storage(Kind::U8),
        _ => return Err(Fault::Asks(format!("{module}.{name}"))),
    })
}

fn damaged<T>(why: impl Into<String>) -> Result<T> {
    Err(Fault::Damaged(why.into()))
}

/// The values of a pickle, and which of them is the whole.
pub(crate) fn read(bytes: &[u8]) -> Result<(Vec<Value>, Id)> {
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        if let Some(whole) = machine.step()? {
            return Ok((machine.values, whole));
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// How high the stack was at every mark.
    marks: Vec<usize>,
    memo: BTreeMap<usize, Id>,
}

impl Machine<'_> {
    fn take(&mut self, n: usize) -> Result<&[u8]> {
        let part = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end));
        let Some(part) = part else { return damaged("it ends within an instruction") };
        self.at += n;
        Ok(part)
    }

    /// The next n bytes, at most 8, as a number.
    fn number(&mut self, n: usize) -> Result<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)))
    }

    fn text(&mut self, n: usize) -> Result<String> {
        match String::from_utf8(self.take(n)?.to_vec()) {
            Ok(text) => Ok(text),
            Err(_) => damaged("one of its texts is no UTF-8"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let length = self.bytes[self.at..].iter().position(|b| *b == b'\n');
        let Some(length) = length else { return damaged("it ends within a name") };
        let text = self.text(length)?;
        self.at += 1;
        Ok(text)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id> {
        // what lies below a mark belongs to somebody else
        if self.marks.last().is_some_and(|mark| self.stack.len() <= *mark) {
            return damaged("it takes more than it has put down");
        }
        self.stack.pop().ok_or_else(|| Fault::Damaged("it takes more than it has put down".to_owned()))
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(top) => Ok(*top),
            None => damaged("it takes more than it has put down"),
        }
    }

    /// Everything above the last mark, which is gone.
    fn since_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => damaged("it goes back to a mark that it has not set"),
        }
    }

    fn last(&mut self, n: usize) -> Result<Vec<Id>> {
        let mut all = (0..n).map(|_| self.pop()).collect::<Result<Vec<Id>>>()?;
        all.reverse();
        Ok(all)
    }

    fn remember(&mut self, place: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(place as usize, top);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<()> {
        match self.memo.get(&(place as usize)) {
            Some(id) => {
                self.stack.push(*id);
                Ok(())
            }
            None => damaged("it recalls what it has not kept"),
        }
    }

    /// One instruction; the whole, if it was the last.
    fn step(&mut self) -> Result<Option<Id>> {
        let code = self.number(1)? as u8;
        match code {
            b'.' => return self.pop().map(Some),
            // protocol, and the length of a frame: nothing to do
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'q' => self.number(1).and_then(|place| self.remember(place))?,
            b'r' => self.number(4).and_then(|place| self.remember(place))?,
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => self.number(1).and_then(|place| self.recall(place))?,
            b'j' => self.number(4).and_then(|place| self.recall(place))?,
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'G' | b'X' | 0x8c => self.plain(code)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Name(known(&module, &name)?));
            }
            0x93 => self.named()?,
            b']' | b')' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'l' | b't' => {
                let all = self.since_mark()?;
                self.push(Value::List(all));
            }
            0x85..=0x87 => {
                let all = self.last(usize::from(code - 0x84))?;
                self.push(Value::List(all));
            }
            b'a' => {
                let one = self.pop()?;
                self.append(&[one])?;
            }
            b'e' => {
                let all = self.since_mark()?;
                self.append(&all)?;
            }
            b's' => {
                let pair = self.last(2)?;
                self.insert(&pair)?;
            }
            b'u' => {
                let all = self.since_mark()?;
                self.insert(&all)?;
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            other => {
                return Err(Fault::Asks(format!("an object by the pickle instruction {other:#04x}")));
            }
        }
        Ok(None)
    }

    /// None, truths, numbers and texts.
    fn plain(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'N' => Value::Nothing,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            b'G' => Value::Float(f64::from_bits(self.number(8)?.swap_bytes())),
            0x8a => {
                let n = self.number(1)? as usize;
                if n > 8 {
                    return damaged("one of its numbers is too large");
                }
                let value = self.number(n)?;
                // the highest bit of the highest byte is the sign
                let unused = 64 - 8 * n as u32;
                Value::Int(if n == 0 { 0 } else { ((value << unused) as i64) >> unused })
            }
            b'X' => {
                let n = self.number(4)? as usize;
                Value::Text(self.text(n)?)
            }
            _ => {
                let n = self.number(1)? as usize;
                Value::Text(self.text(n)?)
            }
        };
        self.push(value);
        Ok(())
    }

    /// A name whose parts were put down as texts.
    fn named(&mut self) -> Result<()> {
        let parts = self.last(2)?;
        let [Value::Text(module), Value::Text(name)] = [&self.values[parts[0]], &self.values[parts[1]]]
        else {
            return damaged("it asks for a name that is no text");
        };
        let name = known(module, name)?;
        self.push(Value::Name(name));
        Ok(())
    }

    fn append(&mut self, all: &[Id]) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(all),
            _ => return damaged("it appends to what is no list"),
        }
        Ok(())
    }

    fn insert(&mut self, all: &[Id]) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(dict) if all.len().is_multiple_of(2) => {
                dict.extend(all.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => damaged("it sets items of what is no dictionary"),
        }
    }

    /// ('storage', its type, its key, a device, its length), kept outside the pickle.
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let parts = match &self.values[id] {
            Value::List(list) => <[Id; 5]>::try_from(&list[..]).ok(),
            _ => None,
        };
        let Some([what, kind, key, device, count]) = parts else {
            return damaged("it refers to something that is no storage of numbers");
        };
        let (
            Value::Text(what),
            Value::Name(Name::Storage(kind)),
            Value::Text(_),
            Value::Text(_),
            Value::Int(count),
        ) = (
            &self.values[what],
            &self.values[kind],
            &self.values[key],
            &self.values[device],
            &self.values[count],
        )
        else {
            return damaged("it refers to something that is no storage of numbers");
        };
        let count = usize::try_from(*count).ok().filter(|_| what == "storage");
        let Some(count) = count else { return damaged("it refers to a storage without a length") };
        let value = Value::Storage { kind: *kind, key, count };
        self.push(value);
        Ok(())
    }

    /// What a known name makes of its arguments.
    fn call(&mut self) -> Result<()> {
        let (arguments, name) = (self.pop()?, self.pop()?);
        let Value::List(arguments) = &self.values[arguments] else {
            return damaged("it calls something without arguments");
        };
        // arguments are looked at where they are: a pickle can recall the same long list as often as it likes
        let value = match (&self.values[name], &arguments[..]) {
            (Value::Name(Name::OrderedDict), []) => Value::Dict(Vec::new()),
            (Value::Name(Name::Parameter), [tensor, ..]) => match &self.values[*tensor] {
                tensor @ Value::Tensor { .. } => tensor.clone(),
                _ => return damaged("it makes a parameter of what is no tensor"),
            },
            (Value::Name(Name::Tensor), [storage, offset, shape, strides, ..]) => {
                self.tensor(*storage, *offset, *shape, *strides)?
            }
            _ => return damaged("it calls something with arguments that do not fit"),
        };
        self.push(value);
        Ok(())
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Value> {
        let size = |id: &Id| match &self.values[*id] {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        let sizes = |id: Id| match &self.values[id] {
            Value::List(list) if list.len() <= 8 => list.iter().map(size).collect::<Option<Vec<usize>>>(),
            _ => None,
        };
        let parts = (&self.values[storage], size(&offset), sizes(shape), sizes(strides));
        let (Value::Storage { kind, .. }, Some(at), Some(shape), Some(strides)) = parts else {
            return damaged("it builds a tensor from what is none");
        };
        if shape.len() != strides.len() {
            return damaged("it builds a tensor with as many dimensions as it has no strides");
        }
        Ok(Value::Tensor { storage, stored: Stored { kind: *kind, shape, strides, at } })
    }

    /// The attributes of an object: torch gives an ordered dictionary some that nobody needs; others have none to get.
    fn build(&mut self) -> Result<()> {
        let _attributes = self.pop()?;
        let top = self.top()?;
        match self.values[top] {
            Value::Dict(_) => Ok(()),
            _ => Err(Fault::Asks("an object with attributes".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        format!("{:?}", read(bytes).unwrap_err())
    }

    #[test]
    fn nothing_is_executed() {
        // what pickle.loads would take as `os.system("echo hello")`, by the three ways there are
        assert!(said(b"cposix\nsystem\n(X\x05\x00\x00\x00helloltR.").contains("Asks(\"posix.system\")"));
        assert!(said(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x05hello\x85R.").contains("posix.system"));
        assert!(said(b"(S'hello'\nios\nsystem\n.").contains("0x53"));
        assert!(said(b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.").contains("builtins.eval"));
        assert!(said(b"}}\x81.").contains("0x81"));
        assert!(said(b"K\x01}b.").contains("an object with attributes"));
    }

    #[test]
    fn plain_values_are_read() {
        let (values, whole) = read(b"\x80\x02}q\x00(X\x01\x00\x00\x00kK\x04X\x01\x00\x00\x00nJ\xff\xff\xff\xffX\x01\x00\x00\x00lh\x00u.")
            .unwrap();
        let Value::Dict(items) = &values[whole] else { unreachable!() };
        assert!(matches!(values[items[0].1], Value::Int(4)));
        assert!(matches!(values[items[1].1], Value::Int(-1)));
        assert_eq!(items[2].1, whole, "a dictionary may hold itself, and costs nothing by that");
        let (values, whole) = read(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.").unwrap();
        assert!(matches!(values[whole], Value::Float(v) if v == 1.5));
        let (values, whole) = read(b"\x8a\x02\xff\xff.").unwrap();
        assert!(matches!(values[whole], Value::Int(-1)));
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [
            &b""[..],
            b".",
            b"u.",
            b"(",
            b"}a.",
            b"X\xff\xff\xff\xffabc",
            b"h\x07.",
            b"}(K\x01u.",
            b"(R.",
            b"Q.",
        ] {
            assert!(matches!(read(bytes), Err(Fault::Damaged(_))), "{bytes:?}");
        }
    }
}
