//! Opening checkpoints: what good files give, what bad files are told, and that no file makes the loader
//! panic or allocate what its own length does not justify.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use peak_alloc::PeakAlloc;
use pellucid_model::load::{Checkpoint, Format, LoadError, gguf, safetensors};
use proptest::prelude::*;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn open_bytes(name: &str, bytes: &[u8]) -> Result<Checkpoint, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    fs::write(dir.path().join(name), bytes).unwrap();
    // The map outlives the directory entry.
    Checkpoint::open(&dir.path().join(name))
}

fn message(result: Result<impl Sized, LoadError>) -> String {
    result.err().map(|error| error.to_string()).expect("an error")
}

/// A GGUF file put together by hand, field by field, so that every field can also be wrong.
#[derive(Clone)]
struct Gguf {
    magic: [u8; 4],
    version: u32,
    pairs: Vec<Vec<u8>>,
    entries: Vec<Vec<u8>>,
    pair_count: Option<u64>,
    entry_count: Option<u64>,
    alignment: usize,
    data: Vec<u8>,
}

impl Gguf {
    fn new() -> Self {
        let (pairs, entries, data) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            magic: *b"GGUF",
            version: 3,
            pairs,
            entries,
            pair_count: None,
            entry_count: None,
            alignment: 32,
            data,
        }
    }

    fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs.push([&text(key), &kind.to_le_bytes()[..], value].concat());
        self
    }

    fn string(self, key: &str, value: &str) -> Self {
        self.pair(key, 8, &text(value))
    }

    fn array(self, key: &str, kind: u32, count: u64, items: &[u8]) -> Self {
        self.pair(key, 9, &[&kind.to_le_bytes()[..], &count.to_le_bytes(), items].concat())
    }

    fn entry(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        let count = u32::try_from(dims.len()).unwrap().to_le_bytes();
        self.entries.push(
            [&text(name), &count[..], &dims_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat(),
        );
        self
    }

    fn tensor(mut self, name: &str, dims: &[u64], kind: u32, bytes: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(self.alignment), 0);
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.entry(name, dims, kind, offset)
    }

    fn build(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.entry_count.unwrap_or(self.entries.len() as u64).to_le_bytes());
        out.extend(self.pair_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        out.extend(self.pairs.concat());
        out.extend(self.entries.concat());
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }

    fn open(&self) -> Result<Checkpoint, LoadError> {
        open_bytes("model.gguf", &self.build())
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn small_gguf() -> Gguf {
    let halves: Vec<u8> =
        [1.0f32, -2.5, 0.0, 65504.0].iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
    Gguf::new()
        .string("general.architecture", "llama")
        .pair("llama.block_count", 4, &7u32.to_le_bytes())
        .pair("wide", 10, &(1u64 << 40).to_le_bytes())
        .pair("negative", 5, &(-3i32).to_le_bytes())
        .pair("eps", 6, &1e-5f32.to_le_bytes())
        .pair("double", 12, &0.5f64.to_le_bytes())
        .pair("flag", 7, &[1])
        .array("scores", 6, 2, &le(&[0.5, -1.0]))
        .array("tokens", 8, 2, &[text("a"), text("é")].concat())
        .array("types", 5, 3, &[1i32, -1, 2].map(i32::to_le_bytes).concat())
        .array("pattern", 7, 2, &[0, 1])
        .tensor("a.weight", &[3, 2], 0, &le(&[1., 2., 3., 4., 5., 6.]))
        .tensor("b.weight", &[4], 1, &halves)
}

#[test]
fn a_gguf_file_gives_its_keys_and_tensors() {
    for version in [2, 3] {
        let file = Gguf { version, ..small_gguf() };
        let checkpoint = file.open().unwrap();
        assert_eq!(checkpoint.format(), Format::Gguf);
        assert!(checkpoint.config().is_none() && checkpoint.tokenizer_json().is_none());
        let keys = checkpoint.gguf().unwrap();
        assert_eq!(keys.architecture().unwrap(), "llama");
        assert_eq!(keys.u32("llama.block_count").unwrap(), 7);
        assert!((keys.f32("eps").unwrap() - 1e-5).abs() < f32::EPSILON);
        assert!((keys.f32("double").unwrap() - 0.5).abs() < f32::EPSILON);
        assert!(keys.bool("flag").unwrap());
        assert_eq!(keys.array_f32("scores").unwrap(), [0.5, -1.0]);
        assert_eq!(keys.array_str("tokens").unwrap(), ["a", "é"]);
        assert_eq!(keys.array_i32("types").unwrap(), [1, -1, 2]);
        assert_eq!(keys.array_bool("pattern").unwrap(), [false, true]);

        // The file's dimensions are fastest first; ours are row-major.
        let info = checkpoint.info("a.weight").unwrap();
        assert_eq!((info.shape.as_slice(), info.bytes, info.dtype.name()), (&[2, 3][..], 24, "F32"));
        let a = checkpoint.tensor("a.weight", DType::F32).unwrap();
        assert_eq!(a.to_vec2::<f32>().unwrap(), [[1., 2., 3.], [4., 5., 6.]]);
        let b = checkpoint.tensor("b.weight", DType::BF16).unwrap();
        assert_eq!((b.dtype(), floats(&b)), (DType::BF16, vec![1.0, -2.5, 0.0, 65536.0]));
        assert_eq!(checkpoint.raw("b.weight").unwrap().len(), 8);
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b.weight"]);
        assert_eq!((checkpoint.parameter_count(), checkpoint.bytes_as(DType::BF16)), (10, 20));
    }
}

#[test]
fn wrong_requests_name_what_is_wrong() {
    let checkpoint = small_gguf().open().unwrap();
    let keys = checkpoint.gguf().unwrap();
    assert!(matches!(keys.u32("absent"), Err(LoadError::MissingKey { .. })));
    let wide = message(keys.u32("wide"));
    assert!(wide.contains("\"wide\"") && wide.contains("1099511627776"), "{wide}");
    assert!(message(keys.u32("negative")).contains("-3"));
    assert!(message(keys.f32("flag")).contains("expected a float, found a bool"));
    assert!(message(keys.array_i32("tokens")).contains("an array of strings"));
    let missing = message(checkpoint.tensor("a.bias", DType::F32));
    assert!(missing.contains("a.bias") && missing.contains("nearest: \"a.weight\""), "{missing}");
    assert!(message(checkpoint.tensor("a.weight", DType::I64)).contains("I64"));
}

#[test]
fn q8_k_and_types_without_a_decoder() {
    let mut block = 0.5f32.to_le_bytes().to_vec();
    block.extend((0..=255u8).map(|q| q.wrapping_sub(128)));
    block.extend([7; 32]);
    let checkpoint = Gguf::new()
        .tensor("q", &[256], 15, &block)
        .tensor("iq", &[256], 23, &[0; 136])
        .tensor("mx", &[32], 39, &[0; 17])
        .open()
        .unwrap();
    let values = floats(&checkpoint.tensor("q", DType::F32).unwrap());
    assert_eq!((values[0], values[128], values[255]), (-64.0, 0.0, 63.5));
    assert!(message(checkpoint.tensor("iq", DType::F32)).contains("found IQ4_XS"));
    assert!(message(checkpoint.tensor("mx", DType::F32)).contains("found MXFP4"));
}

#[test]
fn hostile_gguf_files_are_refused_by_name() {
    let good = small_gguf();
    let huge = u64::MAX / 2;
    let (a, f) = (&le(&[0.; 8])[..], 0);
    let cases: Vec<(&str, Gguf)> = vec![
        ("the letters GGUF", Gguf { magic: *b"ggml", ..good.clone() }),
        ("current llama.cpp", Gguf { version: 1, ..good.clone() }),
        ("big-endian", Gguf { version: 3u32.swap_bytes(), ..good.clone() }),
        ("version 9", Gguf { version: 9, ..good.clone() }),
        ("tensor count of at most", Gguf { entry_count: Some(huge), ..good.clone() }),
        ("key count of at most", Gguf { pair_count: Some(huge), ..good.clone() }),
        ("array length of at most", good.clone().array("x", 4, huge, &[])),
        ("array length of at most", good.clone().array("x", 8, huge, &[])),
        ("string of at most", good.clone().pair("x", 8, &huge.to_le_bytes())),
        ("UTF-8", good.clone().pair("x", 8, &[&1u64.to_le_bytes()[..], &[0xff]].concat())),
        ("value type from 0 to 12, found 13", good.clone().pair("x", 13, &[])),
        ("bool of 0 or 1, found 2", good.clone().pair("x", 7, &[2])),
        ("every key once", good.clone().string("wide", "again")),
        ("key of 1 to", good.clone().string("", "x")),
        ("power of two", good.clone().pair("general.alignment", 4, &48u32.to_le_bytes())),
        ("power of two", good.clone().pair("general.alignment", 4, &4u32.to_le_bytes())),
        ("power of two", good.clone().pair("general.alignment", 4, &0u32.to_le_bytes())),
        ("expected an integer", good.clone().string("general.alignment", "32")),
        ("every tensor once", good.clone().tensor("a.weight", &[8], f, a)),
        ("at most 4 dimensions", good.clone().tensor("x", &[1; 5], f, a)),
        ("dimensions of at least 1", good.clone().tensor("x", &[8, 0], f, a)),
        ("type number 4", good.clone().tensor("x", &[32], 4, a)),
        ("Q4_0 blocks of 32", good.clone().tensor("x", &[8], 2, a)),
        // 2^32 by 2^32 elements: the product overflows.
        ("fit the address space", good.clone().tensor("x", &[1 << 32, 1 << 32], f, a)),
        ("an aligned offset", good.clone().entry("x", &[1], f, 4)),
        ("data inside the file", good.clone().entry("x", &[1], f, 1 << 62)),
        ("data inside the file", good.clone().entry("x", &[1 << 40], f, 0)),
        ("data inside the file", good.clone().entry("x", &[1], f, u64::MAX - 31)),
        ("data of its own", good.clone().entry("x", &[1], f, 0)),
        ("one of 3 parts", good.clone().pair("split.count", 2, &3u16.to_le_bytes())),
    ];
    for (expected, file) in cases {
        let found = message(file.open());
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        assert!(found.ends_with("model.gguf"), "the path comes last: {found}");
    }
    // Arrays of arrays of arrays …: an error long before the stack ends.
    let nested = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat().repeat(100_000);
    assert!(message(good.clone().pair("x", 9, &nested).open()).contains("nested at most"));
    let bytes = good.build();
    for length in 0..bytes.len() {
        let result = gguf::Header::parse(&bytes[..length], Path::new("x"));
        assert!(result.is_err(), "cut at {length}");
    }
}

/// A safetensors file from a header text and data.
fn st(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn hostile_safetensors_files_are_refused_by_name() {
    let entry = |from: u64, to: u64| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{from},{to}]}}"#);
    let (a, b) = (entry(0, 4), entry(4, 8));
    let part = 1u64 << 60;
    // Sixteen tensors of 2^60 bytes end just short of 2^64, where the length check of the format's library
    // wraps around.
    let wrapping: Vec<_> = (0..16u64)
        .map(|i| {
            let (from, size) = (i * part, if i == 15 { part - 200 } else { part });
            format!(r#""t{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{from},{}]}}"#, from + size)
        })
        .collect();
    let cases = [
        ("header inside the file", b"abc".to_vec()),
        ("header inside the file", u64::MAX.to_le_bytes().to_vec()),
        ("JSON header", st("[]", &[])),
        ("JSON header", st("{", &[])),
        ("JSON header", st(r#"{"a":{"dtype":"F32"}}"#, &[])),
        ("ending at 8 of 4", st(&format!(r#"{{"a":{b}}}"#), &[0; 4])),
        ("\"a\" twice", st(&format!(r#"{{"a":{a},"a":{a}}}"#), &[0; 4])),
        ("safetensors header", st(&format!(r#"{{"a":{b}}}"#), &[0; 8])),
        ("safetensors header", st(&format!(r#"{{"a":{a},"b":{a}}}"#), &[0; 4])),
        ("safetensors header", st(&format!(r#"{{"a":{a}}}"#), &[0; 9])),
        ("safetensors header", st(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4])),
        ("safetensors header", st(r#"{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4])),
        ("ending at", st(&format!("{{{}}}", wrapping.join(",")), &[0; 64])),
        (
            "dimensions that fit",
            st(r#"{"a":{"dtype":"F32","shape":[0,9223372036854775808,4],"data_offsets":[0,0]}}"#, &[]),
        ),
    ];
    for (expected, bytes) in cases {
        let found = message(open_bytes("model.safetensors", &bytes));
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
    let bytes = st(
        r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]}}"#,
        &[0; 8],
    );
    let checkpoint = open_bytes("model.safetensors", &bytes).unwrap();
    assert!(message(checkpoint.tensor("a", DType::F32)).contains("found F64"));
    assert_eq!(checkpoint.tensor("e", DType::F16).unwrap().dims(), [0, 3]);
}

#[test]
fn every_block_format_decodes_as_the_reference_says() {
    let expected =
        candle_core::safetensors::load(fixture("quant/expected.safetensors"), &Device::Cpu).unwrap();
    let checkpoint = Checkpoint::open(&fixture("quant/all.gguf")).unwrap();
    assert_eq!(checkpoint.names().count(), expected.len());
    for name in checkpoint.names() {
        let reference = floats(&expected[name]);
        let tensor = checkpoint.tensor(name, DType::F32).unwrap();
        assert_eq!(tensor.dims(), expected[name].dims(), "{name}");
        let values = floats(&tensor);
        let scale = reference.iter().fold(0f32, |most, value| most.max(value.abs()));
        for (at, (value, wanted)) in values.iter().zip(&reference).enumerate() {
            // The reference multiplies in another order; the rounding of one product is all that may differ.
            assert!((value - wanted).abs() <= scale * 1e-6, "{name}[{at}]: {value} for {wanted}");
        }
        // The 16-bit types are the nearest neighbours of the f32 values.
        let half = floats(&checkpoint.tensor(name, DType::F16).unwrap());
        let brain = floats(&checkpoint.tensor(name, DType::BF16).unwrap());
        for (at, value) in values.iter().enumerate() {
            assert_eq!(half[at].to_bits(), f16::from_f32(*value).to_f32().to_bits(), "{name}[{at}]");
            assert_eq!(brain[at].to_bits(), bf16::from_f32(*value).to_f32().to_bits(), "{name}[{at}]");
        }
    }
}

#[test]
fn a_tensor_of_many_chunks_is_in_order() {
    // More than one task per tensor, and a last task that is not full.
    let values: Vec<f32> = (0..134_003usize).map(|at| at as f32).collect();
    let dims = [values.len() as u64];
    let checkpoint = Gguf::new().tensor("x", &dims, 0, &le(&values)).open().unwrap();
    assert_eq!(floats(&checkpoint.tensor("x", DType::F32).unwrap()), values);
    let blocks = 3 * 1024 + 5;
    let mut bytes = Vec::new();
    for block in 0..blocks {
        bytes.extend(f16::from_f32(1.0).to_le_bytes());
        bytes.extend([(block % 127) as u8; 32]);
    }
    let checkpoint = Gguf::new().tensor("x", &[32, blocks], 8, &bytes).open().unwrap();
    let rows = checkpoint.tensor("x", DType::BF16).unwrap();
    assert_eq!(rows.dims(), [usize::try_from(blocks).unwrap(), 32]);
    for (at, value) in floats(&rows).iter().enumerate() {
        assert_eq!(*value, ((at / 32) % 127) as f32);
    }
}

#[test]
fn a_safetensors_directory_gives_what_the_library_reads() {
    let dir = fixture("tiny/llama");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    assert_eq!(checkpoint.format(), Format::Safetensors);
    assert_eq!(checkpoint.config().unwrap()["model_type"], "llama");
    assert!(checkpoint.tokenizer_json().unwrap().starts_with(b"{"));
    assert!(checkpoint.tokenizer_config().is_some() && checkpoint.gguf().is_none());
    let reference = candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(checkpoint.names().count(), reference.len());
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name, DType::F32).unwrap();
        assert_eq!(tensor.dims(), reference[name].dims());
        assert_eq!(floats(&tensor), floats(&reference[name]), "{name}");
    }
    let file = Checkpoint::open(&dir.join("model.safetensors")).unwrap();
    assert_eq!(file.tensors(), checkpoint.tensors());
}

#[test]
fn every_tiny_model_opens_and_reads() {
    let mut opened = 0;
    for entry in fs::read_dir(fixture("tiny")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let checkpoint = Checkpoint::open(&path).unwrap_or_else(|error| panic!("{error}"));
            for name in checkpoint.names() {
                assert_eq!(checkpoint.tensor(name, DType::BF16).unwrap().dtype(), DType::BF16);
            }
            opened += 1;
        }
    }
    assert!(opened > 0);
}

#[test]
fn shards_are_one_checkpoint() {
    let whole = Checkpoint::open(&fixture("tiny/llama")).unwrap();
    let sharded = Checkpoint::open(&fixture("tiny/sharded")).unwrap();
    let mut names: Vec<_> = sharded.names().collect();
    names.sort_unstable();
    let mut expected: Vec<_> = whole.names().collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for name in names {
        assert_eq!(sharded.info(name).unwrap().shape, whole.info(name).unwrap().shape, "{name}");
        assert!(sharded.tensor(name, DType::F32).is_ok());
    }
}

/// A directory of two shards, `one` with tensor `a` and `two` with tensor `b`, and the given index.
fn two_shards(index: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let shard = |name: &str| {
        st(
            &format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#),
            &1f32.to_le_bytes(),
        )
    };
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("config.json", b"{}");
    write("one.safetensors", &shard("a"));
    write("two.safetensors", &shard("b"));
    write("again.safetensors", &shard("a"));
    write("model.safetensors.index.json", index.as_bytes());
    dir
}

#[test]
fn an_index_is_checked_against_its_shards() {
    let open = |index: &str| Checkpoint::open(two_shards(index).path());
    let good = open(r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#).unwrap();
    assert_eq!(good.parameter_count(), 2);
    let cases = [
        ("weight_map", "{}"),
        ("weight_map", r#"{"weight_map":{}}"#),
        ("expected JSON", "{"),
        ("without directories", r#"{"weight_map":{"a":"../one.safetensors"}}"#),
        ("without directories", r#"{"weight_map":{"a":"/etc/one.safetensors"}}"#),
        ("without directories", r#"{"weight_map":{"a":"..\\one.safetensors"}}"#),
        ("without directories", r#"{"weight_map":{"a":"config.json"}}"#),
        ("without directories", r#"{"weight_map":{"a":7}}"#),
        ("1 missing of 2", r#"{"weight_map":{"a":"one.safetensors","b":"three.safetensors"}}"#),
        ("the index says", r#"{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}"#),
        ("the index says", r#"{"weight_map":{"a":"one.safetensors","c":"one.safetensors"}}"#),
        ("one tensor of that name", r#"{"weight_map":{"a":"one.safetensors","x":"again.safetensors"}}"#),
    ];
    for (expected, index) in cases {
        let found = message(open(index));
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
}

#[test]
fn what_is_no_checkpoint_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let refused = |name: &str| message(Checkpoint::open(&path(name)));
    assert!(refused("absent").contains("cannot look for the model"));
    assert!(refused("").contains("a directory without weights"));
    fs::write(path("pytorch_model.bin"), b"PK").unwrap();
    assert!(refused("").contains("pickle") && refused("pytorch_model.bin").contains("convert"));
    fs::write(path("empty.gguf"), b"").unwrap();
    assert!(refused("empty.gguf").contains("an empty file"));
    fs::write(path("notes.txt"), b"hello").unwrap();
    assert!(refused("notes.txt").contains("a file of another kind"));
    fs::write(path("blob"), small_gguf().build()).unwrap();
    assert!(Checkpoint::open(&path("blob")).is_ok());
    fs::write(path("one.gguf"), small_gguf().build()).unwrap();
    assert!(refused("").contains("2 GGUF files; name one"));
    fs::remove_file(path("empty.gguf")).unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().format(), Format::Gguf);
    fs::write(path("x.safetensors"), st("{}", &[])).unwrap();
    assert!(refused("").contains("config.json beside"));
    fs::write(path("config.json"), b"[]").unwrap();
    assert!(refused("").contains("a JSON object"));
    fs::write(path("config.json"), b"{}").unwrap();
    assert!(Checkpoint::open(dir.path()).is_ok());
    fs::write(path("y.safetensors"), st("{}", &[])).unwrap();
    assert!(refused("").contains("name one of them"));
}

#[test]
fn a_chat_template_file_wins_over_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("config.json", b"{}");
    write("model.safetensors", &st("{}", &[]));
    write("chat_template.jinja", b"{{ new }}");
    let open = || Checkpoint::open(dir.path()).unwrap();
    assert_eq!(open().tokenizer_config().unwrap()["chat_template"], "{{ new }}");
    write("tokenizer_config.json", br#"{"chat_template":"{{ old }}","bos_token":"<s>"}"#);
    let checkpoint = open();
    let config = checkpoint.tokenizer_config().unwrap();
    assert_eq!((&config["chat_template"], &config["bos_token"]), (&"{{ new }}".into(), &"<s>".into()));
}

#[test]
fn a_checkpoint_is_shared_between_threads() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Checkpoint>();
    shareable::<LoadError>();
}

/// Whatever parses must be consistent: every range inside the file, of the stated size, apart from every
/// other.
fn check_ranges(tensors: &[(pellucid_model::load::TensorInfo, std::ops::Range<usize>)], length: usize) {
    let mut ranges: Vec<_> = tensors
        .iter()
        .map(|(info, range)| {
            assert!(range.start <= range.end && range.end <= length);
            assert_eq!(range.len() as u64, info.bytes);
            range.clone()
        })
        .collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
}

/// Opens the bytes as both formats and reads every tensor that survives.
fn survive(bytes: &[u8]) {
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    if let Ok(header) = gguf::Header::parse(bytes, Path::new("x")) {
        check_ranges(&header.tensors, bytes.len());
    }
    if let Ok(tensors) = safetensors::parse(bytes, Path::new("x")) {
        check_ranges(&tensors, bytes.len());
    }
    for name in ["model.gguf", "model.safetensors"] {
        if let Ok(checkpoint) = open_bytes(name, bytes) {
            for name in checkpoint.names() {
                let _ = checkpoint.tensor(name, DType::BF16);
            }
        }
    }
    // Other tests of this binary may run meanwhile, so the bound is loose; a claimed count that is believed
    // takes gigabytes.
    let taken = PEAK.peak_usage().saturating_sub(before);
    assert!(taken < 256 << 20, "{taken} bytes for a file of {}", bytes.len());
}

/// One change of a file: at a place given as a fraction of its header, so that small numbers shrink well.
#[derive(Debug, Clone)]
enum Change {
    Flip(u16, u8),
    Word(u16, u64),
    Cut(u16),
    Remove(u16, u8),
    Insert(u16, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        // Mostly the header: flipped weights are merely other weights.
        let place = |at: u16| usize::from(at) % bytes.len().clamp(1, 2048);
        match self {
            Self::Flip(at, bits) => {
                let at = place(*at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
            }
            Self::Word(at, word) => {
                let at = place(*at);
                bytes.iter_mut().skip(at).zip(word.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            }
            Self::Cut(at) => bytes.truncate(usize::from(*at) % (bytes.len() + 1)),
            Self::Remove(at, count) => {
                let at = place(*at).min(bytes.len());
                let end = (at + usize::from(*count)).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Insert(at, new) => {
                let at = place(*at).min(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let extreme = prop_oneof![
        Just(0u64),
        Just(u64::MAX),
        Just(u64::MAX / 2),
        Just(1 << 32),
        Just(1 << 40),
        Just(u64::MAX - 31),
        any::<u8>().prop_map(u64::from),
        any::<u64>(),
    ];
    prop_oneof![
        4 => (any::<u16>(), 1..=255u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        4 => (any::<u16>(), extreme).prop_map(|(at, word)| Change::Word(at, word)),
        1 => any::<u16>().prop_map(Change::Cut),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..32)).prop_map(|(at, new)| Change::Insert(at, new)),
    ]
}

fn seeds() -> Vec<Vec<u8>> {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}}"#;
    vec![
        small_gguf().build(),
        Gguf::new().tensor("q", &[256, 1], 12, &[1; 144]).tensor("r", &[32, 2], 3, &[2; 40]).build(),
        st(header, &[7; 14]),
        fs::read(fixture("quant/all.gguf")).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_neither_panic_nor_allocate(seed in 0..4usize, changes in proptest::collection::vec(change(), 1..6)) {
        let mut bytes = seeds().swap_remove(seed);
        for change in &changes {
            change.apply(&mut bytes);
        }
        survive(&bytes);
    }

    #[test]
    fn any_bytes_after_the_magic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        survive(&[b"GGUF\x03\0\0\0", tail.as_slice()].concat());
        survive(&[&(tail.len() as u64).to_le_bytes()[..], &tail].concat());
    }

    #[test]
    fn a_written_file_reads_back(
        rows in 1..5u64,
        values in proptest::collection::vec(-1e3f32..1e3, 20),
        key in "[a-z.]{1,20}",
        number in any::<u32>(),
        alignment in prop_oneof![Just(8usize), Just(32), Just(128)],
    ) {
        let mut file = Gguf { alignment, ..Gguf::new() };
        file = file.pair("general.alignment", 4, &u32::try_from(alignment).unwrap().to_le_bytes());
        let key = format!("k.{key}");
        file = file.pair(&key, 4, &number.to_le_bytes());
        let values = &values[..usize::try_from(rows * 4).unwrap()];
        file = file.tensor("first", &[4, rows], 0, &le(values)).tensor("second", &[1], 0, &le(&[9.0]));
        let checkpoint = file.open().unwrap();
        prop_assert_eq!(checkpoint.gguf().unwrap().u32(&key).unwrap(), number);
        prop_assert_eq!(floats(&checkpoint.tensor("first", DType::F32).unwrap()), values);
        prop_assert_eq!(floats(&checkpoint.tensor("second", DType::F32).unwrap()), [9.0]);
    }
}
