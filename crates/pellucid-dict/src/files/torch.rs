//! What `torch.save` writes: a zip archive with a pickle (`data.pkl`) that says which tensors there are, and a file for each
//! storage of numbers (`data/KEY`). Read without executing anything; written for a dictionary of tensors and plain numbers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result, setting};
use crate::files::pickle::{self, Fault, Id, Value};
use crate::files::tensors::{Fields, Stored, Tensors, malformed, put, read};
use crate::files::zip::{self, Entry};

/// A pickle's own length: it lists tensors and holds none, so a few kilobytes are many.
const LONGEST: usize = 1 << 20;
/// Values of a dictionary, with those of dictionaries in it, and bytes of a name: what is recalled often costs its reader
/// more than its writer.
const MOST: usize = 10_000;
const LONGEST_TEXT: usize = 512;

/// The tensors of a file, and its plain values. What lies in a dictionary in the dictionary has the names `OUTER/INNER`.
pub(crate) fn open(path: &Path, format: &'static str) -> Result<(Tensors, Fields)> {
    let bytes = read(path)?;
    let fault = |why: String| malformed(format, path, why);
    if !zip::is_zip(&bytes) {
        return Err(match bytes.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
            true => Error::Unsupported {
                what: "a file by torch before 1.6".to_owned(),
                instead: "load it with a newer torch and save it again".to_owned(),
                path: path.to_owned(),
            },
            false => fault("it does not begin as an archive of torch".to_owned()),
        });
    }
    let archive = Archive::of(&bytes).map_err(fault)?;
    if let Some(order) = archive.file("byteorder").map_err(fault)?
        && &bytes[order.clone()] != b"little"
    {
        let order = String::from_utf8_lossy(&bytes[order]);
        return Err(fault(format!("its numbers are in the byte order {order:?}, not little")));
    }
    let (values, whole) = pickle::read(&bytes[archive.pickle.clone()]).map_err(|e| match e {
        Fault::Damaged(why) => fault(format!("its data.pkl: {why}")),
        Fault::Asks(what) => Error::Unsupported {
            what: format!("`{what}` in a pickle"),
            instead: "pickles are read here and never executed, so a file may hold tensors, numbers and texts alone; \
                      save the state dict"
                .to_owned(),
            path: path.to_owned(),
        },
    })?;
    let mut found = Found::default();
    found.walk(&values, whole, "").map_err(fault)?;
    let mut tensors = BTreeMap::new();
    for (name, tensor, storage) in found.tensors {
        let placed = archive.place(&values, &name, tensor, storage).map_err(fault)?;
        tensors.insert(name, placed);
    }
    Ok((Tensors::new(bytes, tensors, path, format)?, Fields::new(found.plain, path, format)))
}

/// The files of torch's archive. All lie in one folder, whose name is anything.
struct Archive {
    files: Vec<Entry>,
    root: String,
    /// Where the pickle is.
    pickle: Range<usize>,
}

impl Archive {
    fn of(bytes: &[u8]) -> std::result::Result<Self, String> {
        let files = zip::entries(bytes)?;
        let pickle = files.iter().find(|e| e.name == "data.pkl" || e.name.ends_with("/data.pkl"));
        let pickle = pickle.ok_or("the archive has no data.pkl")?;
        let root = pickle.name.strip_suffix("data.pkl").unwrap_or("").to_owned();
        let pickle = stored(pickle)?;
        if pickle.len() > LONGEST {
            return Err(format!("its data.pkl has {} bytes, more than any list of tensors", pickle.len()));
        }
        Ok(Archive { files, root, pickle })
    }

    /// Where a file is, if there is one of this name.
    fn file(&self, name: &str) -> std::result::Result<Option<Range<usize>>, String> {
        self.files.iter().find(|e| e.name.strip_prefix(&self.root) == Some(name)).map(stored).transpose()
    }

    /// A tensor with its place in the archive, which must hold its whole storage.
    fn place(
        &self,
        values: &[Value],
        name: &str,
        mut tensor: Stored,
        storage: Id,
    ) -> std::result::Result<Stored, String> {
        let Value::Storage { kind, key, count } = &values[storage] else {
            return Err(format!("tensor `{name}` has no storage"));
        };
        let Value::Text(key) = &values[*key] else {
            return Err(format!("tensor `{name}` has a storage without a name"));
        };
        let file = self.file(&format!("data/{key}"))?;
        let file = file.ok_or_else(|| format!("tensor `{name}` lies in data/{key}, which is missing"))?;
        tensor.at = tensor.at.saturating_mul(kind.bytes());
        if count.checked_mul(kind.bytes()) != Some(file.len()) || !tensor.fits(file.len()) {
            return Err(format!(
                "tensor `{name}` of shape {:?} does not lie within its storage",
                tensor.shape
            ));
        }
        tensor.at += file.start;
        Ok(tensor)
    }
}

/// An entry's place: torch compresses nothing, and what is compressed would be read as something else.
fn stored(entry: &Entry) -> std::result::Result<Range<usize>, String> {
    match entry.is_stored() {
        true => Ok(entry.at..entry.at + entry.size),
        false => Err(format!("its entry `{}` is compressed, which torch does not do", entry.name)),
    }
}

/// What a pickle's dictionary holds.
#[derive(Default)]
struct Found {
    count: usize,
    tensors: Vec<(String, Stored, Id)>,
    plain: Map<String, Json>,
}

impl Found {
    fn walk(&mut self, values: &[Value], at: Id, outer: &str) -> std::result::Result<(), String> {
        let Value::Dict(items) = &values[at] else {
            return Err("it holds no dictionary of tensors".to_owned());
        };
        for (key, value) in items {
            self.count += 1;
            if self.count > MOST {
                return Err(format!("it holds more than {MOST} values, more than any dictionary"));
            }
            let key = match &values[*key] {
                Value::Text(key) if key.len() <= LONGEST_TEXT => key,
                _ => return Err("its dictionary has keys that are no names".to_owned()),
            };
            let name = format!("{outer}{key}");
            let plain = match &values[*value] {
                Value::Tensor { storage, stored } => {
                    self.tensors.push((name, stored.clone(), *storage));
                    continue;
                }
                // deeper dictionaries than one in another are nobody's
                Value::Dict(_) if outer.is_empty() => {
                    self.walk(values, *value, &format!("{name}/"))?;
                    continue;
                }
                Value::Bool(v) => Json::from(*v),
                Value::Int(v) => Json::from(*v),
                Value::Float(v) => Json::from(*v),
                Value::Text(v) if v.len() <= LONGEST_TEXT => Json::from(v.clone()),
                _ => continue,
            };
            self.plain.insert(name, plain);
        }
        Ok(())
    }
}

/// What a written dictionary holds.
pub(crate) enum Item<'a> {
    /// f32 numbers and their shape.
    Floats(Vec<usize>, &'a [f32]),
    /// One number without dimensions.
    Float(f32),
    /// One 32-bit integer without dimensions.
    Int(i32),
}

/// Writes a dictionary of tensors as `torch.save` does; the file is complete or the old one.
pub(crate) fn write(path: &Path, items: &[(&str, Item<'_>)]) -> Result<()> {
    let mut files = Vec::new();
    let mut code = b"\x80\x02}(".to_vec();
    for (key, (name, item)) in items.iter().enumerate() {
        let (storage, shape, data) = match item {
            Item::Floats(shape, values) => {
                ("FloatStorage", shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Item::Float(v) => ("FloatStorage", Vec::new(), v.to_le_bytes().to_vec()),
            Item::Int(v) => ("IntStorage", Vec::new(), v.to_le_bytes().to_vec()),
        };
        text(&mut code, name);
        tensor(&mut code, storage, key, &shape);
        files.push((format!("archive/data/{key}"), data));
    }
    code.extend(b"u.");
    let bytes = files.iter().map(|(_, data): &(String, Vec<u8>)| data.len()).sum();
    if !zip::writable(bytes) {
        return Err(setting("the size of a .pt file", "below 4 GiB; another format can hold more", bytes));
    }
    files.insert(0, ("archive/data.pkl".to_owned(), code));
    files.insert(1, ("archive/byteorder".to_owned(), b"little".to_vec()));
    files.push(("archive/version".to_owned(), b"3\n".to_vec()));
    put(path, &zip::archive(&files))
}

fn text(code: &mut Vec<u8>, text: &str) {
    code.push(b'X');
    code.extend((text.len() as u32).to_le_bytes());
    code.extend(text.as_bytes());
}

fn integer(code: &mut Vec<u8>, n: usize) {
    code.extend(b"\x8a\x08");
    code.extend((n as u64).to_le_bytes());
}

/// The instructions for `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
fn tensor(code: &mut Vec<u8>, storage: &str, key: usize, shape: &[usize]) {
    let rows = Stored::in_rows(crate::files::tensors::Kind::F32, shape.to_vec(), 0);
    code.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(code, "storage");
    code.extend(format!("ctorch\n{storage}\n").as_bytes());
    text(code, &key.to_string());
    text(code, "cpu");
    integer(code, rows.count().unwrap_or(0));
    code.extend(b"tQK\x00");
    for sizes in [&rows.shape, &rows.strides] {
        code.push(b'(');
        sizes.iter().for_each(|n| integer(code, *n));
        code.push(b't');
    }
    code.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}
