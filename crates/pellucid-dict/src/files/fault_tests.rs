//! What is said of archives, arrays and pickles that are not right.

use std::fs;
use std::path::{Path, PathBuf};

use super::torch::Item;
use super::zip::{archive, entries, inflate};
use super::*;
use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::encode::tests::random;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dictionaries").join(name)
}

fn said(path: &Path) -> String {
    open(path).unwrap_err().to_string()
}

/// A file with every occurrence of some bytes replaced by as many others.
fn replaced(from: &Path, to: &Path, old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(from).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[*at..][..new.len()].copy_from_slice(new));
    fs::write(to, bytes).unwrap();
}

#[test]
fn pickles_with_code_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("3.pt");
    let old = b"ccollections\nOrderedDict\n";
    for (new, name) in [
        (b"csubprocess\ncheck_output\n", "subprocess.check_output"),
        (b"cos\nsystem####@@@@@@@@@@\n", "os.system####@@@@@@@@@@"),
        (b"cbuiltins\nevalevalevalev\n", "builtins.evalevalevalev"),
    ] {
        replaced(&fixture("openai-v5/3.pt"), &file, old, new);
        let said = said(&file);
        assert!(said.contains(&format!("`{name}` in a pickle is not supported")), "{said}");
        assert!(said.contains("read here and never executed"), "{said}");
    }
    fs::write(&file, b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.").unwrap();
    assert!(said(&file).contains("by torch before 1.6"), "{}", said(&file));
    fs::write(&file, b"\x80\x02}.").unwrap();
    assert!(said(&file).contains("does not begin as an archive"), "{}", said(&file));
}

#[test]
fn pickled_tensors_that_lie_about_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("3.pt");
    let pickle = |code: &[u8], data: usize| {
        let files = [("a/data.pkl".to_owned(), code.to_vec()), ("a/data/0".to_owned(), vec![0; data])];
        fs::write(&file, archive(&files)).unwrap();
        said(&file)
    };
    // shape, stride, offset and storage length as one byte each
    let tensor = |offset: u8, shape: u8, stride: u8, count: u8| {
        let mut code = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK".to_vec();
        code.extend([count, b't', b'Q', b'K', offset, b'(', b'K', shape, b't', b'(', b'K', stride, b't']);
        code.extend(b"\x89NtRs.");
        code
    };
    assert!(pickle(&tensor(0, 4, 1, 4), 16).contains("no tensor `encoder.weight`"));
    for (offset, shape, stride, count, data) in [
        (1, 4, 1, 4, 16),
        (200, 0, 1, 4, 16),
        (0, 5, 1, 4, 16),
        (0, 4, 2, 4, 16),
        (0, 4, 0, 4, 16),
        (0, 4, 1, 9, 16),
        (0, 4, 1, 4, 12),
    ] {
        let said = pickle(&tensor(offset, shape, stride, count), data);
        assert!(said.contains("does not lie within its storage"), "{said}");
    }
    assert!(pickle(b"K\x01.", 0).contains("it holds no dictionary"));
    assert!(pickle(b"}", 0).contains("ends within an instruction"));
    // the same long text under many names: little to write, much to keep
    let mut code = b"}X\x00\x01\x00\x00".to_vec();
    code.extend([b'k'; 256]);
    code.extend(b"q\x00N");
    code.push(b's');
    for _ in 0..10_001 {
        code.extend(b"h\x00Ns");
    }
    code.push(b'.');
    assert!(pickle(&code, 0).contains("more than 10000 values"), "{}", pickle(&code, 0));
}

#[test]
fn archives_made_to_fill_memory_are_refused() {
    let zeros = miniz_oxide::deflate::compress_to_vec(&vec![0; 64 << 20], 6);
    let mut bytes = archive(&[("w_enc.npy".to_owned(), zeros.clone())]);
    let length = (zeros.len() as u32).to_le_bytes();
    // the directory says: deflated, 64 MiB
    let at = (0..bytes.len()).rev().find(|at| bytes[*at..].starts_with(b"PK\x01\x02")).unwrap();
    assert_eq!(bytes[at + 24..at + 28], length);
    bytes[at + 10] = 8;
    bytes[at + 24..at + 28].copy_from_slice(&(64u32 << 20).to_le_bytes());
    let mut found = entries(&bytes).unwrap();
    assert!(inflate(&mut bytes, &mut found).unwrap_err().contains("made to fill memory"));
    // a smaller claim than the truth is not believed either
    bytes[at + 24..at + 28].copy_from_slice(&(1u32 << 20).to_le_bytes());
    let mut found = entries(&bytes).unwrap();
    assert!(inflate(&mut bytes, &mut found).unwrap_err().contains("cannot be inflated"));
}

#[test]
fn arrays_that_are_not_right_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("params.npz");
    let from = fixture("gemma-scope/params.npz");
    let changed = |old: &[u8], new: &[u8]| {
        replaced(&from, &file, old, new);
        said(&file)
    };
    assert!(changed(b"'<f4'", b"'|O8'").contains("Python objects never are"));
    assert!(
        changed(b"'>f4'".map(|b| if b == b'>' { b'<' } else { b }).as_slice(), b"'>f4'")
            .contains("little-endian")
    );
    assert!(changed(b"(8, 24)", b"(9, 24)").contains("has another number of bytes"));
    assert!(changed(b"(8, 24)", b"(8,-24)").contains("no list of numbers"));
    assert!(changed(b"b_dec.npy", b"b_enc.npy").contains("two of its entries are named `b_enc.npy`"));
    assert!(changed(b"b_dec.npy", b"other.npy").contains("no tensor `b_dec`"));
    // columns first is another order of the same numbers
    let rows = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
    npz::write(&file, &[("x", vec![2, 3], &rows)]).unwrap();
    replaced(&file, &file, b"False,", b"True ,");
    let array = npz::open(&file, "test").unwrap().get("x", &[2, 3]).unwrap();
    assert_eq!(array, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

fn gemma(change: impl Fn(&mut Dictionary)) -> String {
    let shape = Shape { d_in: 4, latents: 7, d_out: 4 };
    let mut dictionary = random(shape, Activation::JumpReLU { thresholds: vec![0.1; 7] }, 3);
    dictionary.shift = vec![0.0; 4];
    change(&mut dictionary);
    let folder = tempfile::tempdir().unwrap();
    let d = &dictionary;
    let Activation::JumpReLU { thresholds } = &d.activation else { unreachable!() };
    let tensors = [
        ("W_enc", vec![d.shape.d_in, 7], &d.encoder[..]),
        ("W_dec", vec![7, 4], &d.decoder[..]),
        ("b_enc", vec![d.encoder_bias.len()], &d.encoder_bias[..]),
        ("b_dec", vec![4], &d.decoder_bias[..]),
        ("threshold", vec![thresholds.len()], &thresholds[..]),
    ];
    npz::write(&folder.path().join("params.npz"), &tensors).unwrap();
    open(folder.path()).map_or_else(|e| e.to_string(), |_| String::new())
}

#[test]
fn weights_that_are_not_right_are_refused() {
    assert_eq!(gemma(|_| ()), "");
    assert!(gemma(|d| d.encoder[3] = f32::NAN).contains("the encoder holds NaN"));
    assert!(
        gemma(|d| d.decoder_bias[2] = f32::INFINITY).contains("the decoder's bias holds inf at position 2")
    );
    assert!(gemma(|d| d.encoder_bias.truncate(6)).contains("tensor `b_enc` is [6] and must be [7]"));
    let short = gemma(|d| d.activation = Activation::JumpReLU { thresholds: vec![0.1; 6] });
    assert!(short.contains("tensor `threshold` is [6] and must be [7]"), "{short}");
}

#[test]
fn settings_that_mean_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let changed = |name: &str, config: &str, old: &str, new: &str| {
        for entry in fs::read_dir(fixture(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, at.join(path.file_name().unwrap())).unwrap();
            }
        }
        let text = fs::read_to_string(at.join(config)).unwrap();
        assert!(text.contains(old), "{text}");
        fs::write(at.join(config), text.replace(old, new)).unwrap();
        let said = said(at);
        fs::read_dir(at).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
        said
    };
    let lens = |old: &str, new: &str| changed("saelens-transcoder", "cfg.json", old, new);
    assert!(lens("\"transcoder\"", "\"temporal\"").contains("the architecture temporal"));
    assert!(lens("\"none\"", "\"covariance_whitening\"").contains("covariance_whitening"));
    assert!(
        lens("\"normalize_activations\": \"none\"", "\"normalize_activations\": \"layer_norm\"")
            .contains("a transcoder that normalises")
    );
    assert!(lens("\"d_out\": 6", "\"d_out\": 8").contains("`d_out` is 8, but the tensors say 6"));
    let learnt = |old: &str, new: &str| changed("dictionary-learning-topk", "config.json", old, new);
    assert!(learnt("\"AutoEncoderTopK\"", "\"CrossCoder\"").contains("the class CrossCoder"));
    assert!(learnt("\"dict_size\": 24", "\"dict_size\": 25").contains("`dict_size` is 25"));
    assert!(learnt("\"k\": 4", "\"k\": 5").contains("`k` is 5, but the tensors say 4"));
    assert!(learnt("dict_class", "dict_kind").contains("whose tensors are the same"));
    let scope = |old: &str, new: &str| changed("llamascopium-jumprelu", "config.json", old, new);
    assert!(scope("\"jumprelu\"", "\"batchtopk\"").contains("the activation batchtopk"));
    assert!(scope("\"dataset-wise\"", "\"token-wise\"").contains("`norm_activation: token-wise`"));
    assert!(scope("\"sae\"", "\"clt\"").contains("`sae_type: clt`"));
    assert!(scope("\"use_glu_encoder\": false", "\"use_glu_encoder\": true").contains("gated linear unit"));
    assert!(said(at).contains("found: nothing. Known are SAELens"), "{}", said(at));
    fs::write(at.join("notes.txt"), "").unwrap();
    assert!(said(at).contains("found: notes.txt"), "{}", said(at));
    assert!(said(&at.join("notes.txt")).contains("Known are"));
    assert!(said(&at.join("absent")).contains("cannot open the dictionary"));
    for layer in [3, 11] {
        fs::copy(
            fixture("circuit-tracer-relu/layer_0.safetensors"),
            at.join(format!("layer_{layer}.safetensors")),
        )
        .unwrap();
    }
    assert!(said(at).contains("a folder of 2 dictionaries"), "{}", said(at));
}

/// What a format cannot hold is refused before anything is written.
#[test]
fn nothing_is_written_that_would_mean_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("new");
    let shape = Shape { d_in: 4, latents: 7, d_out: 4 };
    let relu = random(shape, Activation::ReLU, 5);
    let mut scaled = relu.clone();
    scaled.shift = vec![0.0; 4];
    scaled.normalisation = Normalisation::Scale { input: 2.0, output: 2.0 };
    let mut several = relu.clone();
    several.shift = vec![0.0; 4];
    several.activation = Activation::JumpReLU { thresholds: (0..7).map(|i| i as f32 - 1.0).collect() };
    // an input shift that is neither zero nor the decoder's bias
    let saelens = |d: &Dictionary, at: &Path| write_saelens(d, None, at);
    let writers: [fn(&Dictionary, &Path) -> crate::Result<()>; 6] = [
        saelens,
        write_sparsify,
        write_gemma_scope,
        write_llama_scope,
        write_dictionary_learning,
        write_circuit_tracer,
    ];
    for write in writers {
        assert!(write(&relu, &at).is_err());
        assert!(write(&scaled, &at).is_err());
    }
    assert!(write_llama_scope(&several, &at).unwrap_err().to_string().contains("one and the same"));
    assert!(write_circuit_tracer(&several, &at).unwrap_err().to_string().contains("thresholds of 0 or more"));
    let mut tied = relu;
    tied.shift = tied.decoder_bias.clone();
    assert!(write_dictionary_learning(&tied, &at).unwrap_err().to_string().contains("rows of norm 1"));
    assert!(!at.exists());
}

#[test]
fn what_torch_would_read_is_read_here() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.pt");
    let numbers = [1.0f32, -2.0, 3.5, 0.0, 7.0, 9.0];
    let items = [("a", Item::Floats(vec![2, 3], &numbers)), ("b", Item::Float(0.25)), ("c", Item::Int(-7))];
    torch::write(&file, &items).unwrap();
    let (tensors, _) = torch::open(&file, "test").unwrap();
    assert_eq!(tensors.get("a", &[2, 3]).unwrap(), numbers);
    assert_eq!((tensors.number("b").unwrap(), tensors.number("c").unwrap()), (0.25, -7.0));
}
