//! Which files make up a checkpoint, and what lies beside the weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::error::{LoadError, shown};
use super::map::Map;
use super::{Checkpoint, Format, WeightFile, gguf, safetensors};

/// Endings of the files that PyTorch pickles.
const PICKLES: [&str; 5] = ["bin", "pt", "pth", "ckpt", "pkl"];
/// No configuration is larger; a vocabulary of 256k tokens takes 35 MB.
const MAX_JSON: u64 = 64 << 20;
const MAX_TOKENIZER: u64 = 512 << 20;

const WEIGHTS: &str = "a .gguf file, a .safetensors file, or a directory with config.json and *.safetensors";

/// The files beside safetensors weights.
#[derive(Debug, Default)]
pub(super) struct SideFiles {
    pub(super) config: Option<Value>,
    pub(super) tokenizer: Option<Vec<u8>>,
    pub(super) tokenizer_config: Option<Value>,
    pub(super) generation_config: Option<Value>,
}

pub(super) fn open(path: &Path) -> Result<Checkpoint, LoadError> {
    let about = fs::metadata(path).map_err(LoadError::io("look for the model", path))?;
    if about.is_dir() {
        return open_directory(path);
    }
    match extension(path).as_str() {
        "gguf" => open_gguf(path, path),
        "safetensors" => open_safetensors(path, path.parent().unwrap_or(path), vec![path.to_owned()]),
        ending if PICKLES.contains(&ending) => Err(LoadError::Pickle { path: path.into() }),
        // Content-addressed stores keep models in files without an ending.
        _ if starts_with_magic(path)? => open_gguf(path, path),
        _ => Err(refused("a file of another kind", path)),
    }
}

fn refused(found: impl Into<Box<str>>, path: &Path) -> LoadError {
    LoadError::NotACheckpoint { expected: WEIGHTS, found: found.into(), path: path.into() }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn starts_with_magic(path: &Path) -> Result<bool, LoadError> {
    if !path.is_file() {
        return Ok(false);
    }
    let mut magic = Vec::new();
    let file = fs::File::open(path).map_err(LoadError::io("open the file", path))?;
    file.take(4).read_to_end(&mut magic).map_err(LoadError::io("read the file", path))?;
    Ok(magic == b"GGUF")
}

fn open_gguf(path: &Path, file: &Path) -> Result<Checkpoint, LoadError> {
    let map = Map::open(file)?;
    let gguf::Header { metadata, tensors, .. } = gguf::Header::parse(&map, file)?;
    if metadata.has("split.count") && metadata.u32("split.count")? > 1 {
        let expected = "a GGUF model in one file (join the parts with llama-gguf-split --merge)";
        let found = format!("one of {} parts", metadata.u32("split.count")?);
        return Err(LoadError::NotACheckpoint { expected, found: found.into(), path: file.into() });
    }
    let files = vec![WeightFile { path: file.to_owned(), map }];
    let mut checkpoint = Checkpoint::assemble(path, Format::Gguf, files, vec![tensors])?;
    checkpoint.gguf = Some(metadata);
    Ok(checkpoint)
}

fn open_directory(dir: &Path) -> Result<Checkpoint, LoadError> {
    let names = file_names(dir)?;
    let ending = |wanted: &str| -> Vec<PathBuf> {
        let paths = names.iter().map(|name| dir.join(name));
        paths.filter(|path| extension(path) == wanted).collect()
    };
    let indexes: Vec<_> = names.iter().filter(|name| name.ends_with(".safetensors.index.json")).collect();
    let preferred = dir.join("model.safetensors");
    let weights = ending("safetensors");
    if let [index] = indexes.as_slice() {
        return open_sharded(dir, &dir.join(index));
    }
    if names.contains("model.safetensors.index.json") {
        return open_sharded(dir, &dir.join("model.safetensors.index.json"));
    }
    if weights.contains(&preferred) {
        return open_safetensors(dir, dir, vec![preferred]);
    }
    let ggufs = ending("gguf");
    match (weights.as_slice(), ggufs.as_slice()) {
        ([_], _) => open_safetensors(dir, dir, weights),
        ([], [file]) => open_gguf(dir, file),
        ([], []) => match PICKLES.iter().flat_map(|pickle| ending(pickle)).next() {
            Some(path) => Err(LoadError::Pickle { path: path.into() }),
            None => Err(refused("a directory without weights", dir)),
        },
        (several, _) if several.len() > 1 => {
            Err(refused(format!("{} safetensors files and no index; name one of them", several.len()), dir))
        }
        (_, several) => Err(refused(format!("{} GGUF files; name one of them", several.len()), dir)),
    }
}

/// Names that are UTF-8, sorted; others cannot be part of a checkpoint.
fn file_names(dir: &Path) -> Result<BTreeSet<String>, LoadError> {
    let listed = || -> std::io::Result<BTreeSet<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default())).collect()
    };
    listed().map_err(LoadError::io("list the directory", dir))
}

fn open_safetensors(path: &Path, dir: &Path, weights: Vec<PathBuf>) -> Result<Checkpoint, LoadError> {
    // The configuration is looked for first: without it the weights cannot be used, and it is the cheaper
    // check.
    let side = SideFiles::read(dir)?;
    let (mut files, mut headers) = (Vec::new(), Vec::new());
    for path in weights {
        let map = Map::open(&path)?;
        headers.push(safetensors::parse(&map, &path)?);
        files.push(WeightFile { path, map });
    }
    let mut checkpoint = Checkpoint::assemble(path, Format::Safetensors, files, headers)?;
    checkpoint.side = side;
    Ok(checkpoint)
}

fn open_sharded(dir: &Path, index: &Path) -> Result<Checkpoint, LoadError> {
    let json = read_json(index)?.unwrap_or_default();
    let shards = shards(&json, index)?;
    let missing: Vec<_> = shards.keys().filter(|name| !dir.join(name).is_file()).copied().collect();
    if let Some(first) = missing.first() {
        let expected = "every file that the index lists";
        let found = format!("{} missing of {}, such as {:?}", missing.len(), shards.len(), shown(first));
        return Err(LoadError::NotACheckpoint { expected, found: found.into(), path: index.into() });
    }
    let paths = shards.keys().map(|name| dir.join(name)).collect();
    let checkpoint = open_safetensors(dir, dir, paths)?;
    // The order of `files` is that of the sorted shard names.
    for (file, (shard, tensors)) in shards.iter().enumerate() {
        for tensor in tensors {
            let place: Option<&(usize, Range<usize>)> =
                checkpoint.index.get(*tensor).and_then(|at| checkpoint.places.get(*at));
            if place.map(|(file, _)| *file) != Some(file) {
                let found = format!("no such tensor in {:?}", shown(shard));
                return Err(LoadError::tensor(
                    tensor,
                    "the tensor in the shard that the index says",
                    found,
                    index,
                ));
            }
        }
    }
    Ok(checkpoint)
}

/// Shard name → the tensors that the index puts there.
pub(super) fn shards<'a>(
    index: &'a Value,
    path: &Path,
) -> Result<BTreeMap<&'a str, Vec<&'a str>>, LoadError> {
    let refuse = |expected, found: String| {
        Err(LoadError::NotACheckpoint { expected, found: found.into(), path: path.into() })
    };
    let Some(map) = index.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty()) else {
        return refuse("an object \"weight_map\" from tensors to files", "none".to_owned());
    };
    let mut shards = BTreeMap::<&str, Vec<&str>>::new();
    for (tensor, shard) in map {
        match shard.as_str() {
            Some(shard) if is_plain_name(shard) => shards.entry(shard).or_default().push(tensor),
            _ => {
                return refuse(
                    "file names without directories in \"weight_map\"",
                    shown(&shard.to_string()).to_owned(),
                );
            }
        }
    }
    Ok(shards)
}

/// Whether a name from a file stays inside the directory it is joined to, on every system.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    one && !name.contains(['/', '\\', ':', '\0']) && name.ends_with(".safetensors")
}

impl SideFiles {
    fn read(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join("config.json");
        let Some(config) = read_json(&path)? else {
            let expected = "config.json beside the safetensors weights";
            return Err(LoadError::NotACheckpoint { expected, found: "none".into(), path: dir.into() });
        };
        if !config.is_object() {
            let expected = "a JSON object as the model's configuration";
            return Err(LoadError::NotACheckpoint {
                expected,
                found: "another value".into(),
                path: path.into(),
            });
        }
        Ok(Self {
            config: Some(config),
            tokenizer: read_bounded(&dir.join("tokenizer.json"), MAX_TOKENIZER)?,
            tokenizer_config: tokenizer_config(dir)?,
            generation_config: read_json(&dir.join("generation_config.json"))?,
        })
    }
}

/// Newer exports keep the chat template in a file of its own, which then wins over the entry in the JSON.
fn tokenizer_config(dir: &Path) -> Result<Option<Value>, LoadError> {
    let config = read_json(&dir.join("tokenizer_config.json"))?;
    let path = dir.join("chat_template.jinja");
    let Some(template) = read_bounded(&path, MAX_JSON)? else { return Ok(config) };
    let template = String::from_utf8(template).map_err(|error| {
        LoadError::malformed(error.utf8_error().valid_up_to(), "UTF-8 text", error.to_string(), &path)
    })?;
    let mut config = config.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if let Value::Object(map) = &mut config {
        map.insert("chat_template".to_owned(), Value::String(template));
    }
    Ok(Some(config))
}

pub(super) fn read_json(path: &Path) -> Result<Option<Value>, LoadError> {
    let Some(bytes) = read_bounded(path, MAX_JSON)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| LoadError::Json { error, path: path.into() })
}

/// The content of a file; `None` if there is no such file.
fn read_bounded(path: &Path, most: u64) -> Result<Option<Vec<u8>>, LoadError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LoadError::io("open the file", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(LoadError::io("read the file", path))?;
    if bytes.len() as u64 > most {
        return Err(refused(format!("a text file of more than {most} bytes"), path));
    }
    Ok(Some(bytes))
}
