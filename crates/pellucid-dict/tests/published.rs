//! Dictionaries that the libraries wrote which publish them (`fixtures/dictionary_files.py`) are read, and encode and decode as
//! those libraries do; what is written again is read as the same bits; damage to any of these files is an error.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pellucid_dict::{
    Activation, Dictionary, Format, Result, Sparse, open, read_circuit_tracer, read_dictionary_learning,
    read_gemma_scope, read_llama_scope, read_saelens, read_sparsify, write_circuit_tracer,
    write_dictionary_learning, write_gemma_scope, write_llama_scope, write_saelens, write_sparsify,
};
use safetensors::SafeTensors;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dictionaries")
}

/// The fixtures' names, sorted.
fn names() -> Vec<String> {
    let folders = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = folders
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What the origin computed: tensors by name, with their shapes.
fn dump(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(fixtures().join(format!("{name}.dump.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors().into_iter().map(|(name, t)| (name, (t.shape().to_vec(), values(t.data())))).collect()
}

fn dense(sparse: &Sparse, latents: usize) -> Vec<f32> {
    let mut all = vec![0f32; sparse.rows() * latents];
    for row in 0..sparse.rows() {
        sparse.row(row).for_each(|(latent, value)| all[row * latents + latent as usize] = value);
    }
    all
}

/// Both within 1e-5 of the larger of a value and the tensor's size, and zero where the origin has zero.
fn same(what: &str, ours: &[f32], theirs: &[f32], exact_zeros: bool) {
    within(1e-5, what, ours, theirs, exact_zeros);
}

fn within(tolerance: f64, what: &str, ours: &[f32], theirs: &[f32], exact_zeros: bool) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let size = (theirs.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / theirs.len() as f64).sqrt();
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let far = f64::from((a - b).abs()) > tolerance * size.max(f64::from(b.abs()));
        let active = exact_zeros && (*a == 0.0) != (*b == 0.0);
        assert!(!far && !active, "{what} at {i}: {a} here, {b} by its origin");
    }
}

#[test]
fn published_dictionaries_compute_what_their_origins_do() {
    let names = names();
    assert!(names.len() >= 37, "{names:?}");
    for name in &names {
        let opened = open(&fixtures().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let dictionary = &opened.dictionary;
        let dump = dump(name);
        let (x, latents, output) = (&dump["x"].1, &dump["latents"].1, &dump["output"].1);
        let sparse = dictionary.encode(x).unwrap();
        same(&format!("{name}: latents"), &dense(&sparse, dictionary.shape.latents), latents, true);
        let reconstruction = dictionary.decode(&sparse, Some(x)).unwrap();
        within(1e-5, &format!("{name}: output"), &reconstruction, output, false);
        assert_eq!(dump["output"].0[1], dictionary.shape.d_out, "{name}");
    }
}

#[test]
fn formats_and_hooks_are_told_by_the_files() {
    let begins = [
        ("saelens", Format::SaeLens),
        ("sparsify", Format::Sparsify),
        ("gemma-scope", Format::GemmaScope),
        ("llama", Format::LlamaScope),
        ("dictionary-learning", Format::DictionaryLearning),
        ("openai", Format::OpenAi),
        ("circuit-tracer", Format::CircuitTracer),
    ];
    for name in names() {
        let format = begins.iter().find(|(begin, _)| name.starts_with(begin)).unwrap().1;
        let opened = open(&fixtures().join(&name)).unwrap();
        assert_eq!(opened.format, format, "{name}");
        // and the file that holds the weights is as good as its folder
        for entry in fs::read_dir(fixtures().join(&name)).unwrap() {
            let path = entry.unwrap().path();
            if ["npz", "pt", "safetensors"].iter().any(|e| path.extension().is_some_and(|found| found == *e))
                && !name.starts_with("llamascopium")
            {
                assert_eq!(open(&path).unwrap().dictionary, opened.dictionary, "{}", path.display());
            }
        }
    }
    let hooks = |name: &str| {
        let opened = open(&fixtures().join(name)).unwrap();
        (opened.input.unwrap_or_default(), opened.output.unwrap_or_default())
    };
    let word = str::to_owned;
    assert_eq!(hooks("saelens-gated"), (word("blocks.3.hook_resid_post"), word("")));
    assert_eq!(hooks("saelens-older-topk"), (word("blocks.3.hook_resid_post"), word("")));
    assert_eq!(
        hooks("llama-scope-transcoder"),
        (word("blocks.3.ln2.hook_normalized"), word("blocks.3.hook_mlp_out"))
    );
    assert_eq!(hooks("circuit-tracer-relu"), (word("blocks.0.mlp.hook_in"), word("blocks.0.hook_mlp_out")));
    assert_eq!(hooks("dictionary-learning-topk"), (word("resid_post.3"), word("")));
}

type Write = fn(&Dictionary, &Path) -> Result<()>;
type Read = fn(&Path) -> Result<Dictionary>;

/// Where `PELLUCID_WRITTEN` names a folder, what is written stays there for the origins to read
/// (`fixtures/dictionary_files.py check`).
fn place(format: &str, fixture: &str) -> (PathBuf, Option<tempfile::TempDir>) {
    match std::env::var_os("PELLUCID_WRITTEN") {
        Some(kept) => (PathBuf::from(kept).join(format!("{format}--{fixture}")), None),
        None => {
            let folder = tempfile::tempdir().unwrap();
            (folder.path().to_owned(), Some(folder))
        }
    }
}

/// What every writer writes is read as the same dictionary to the last bit, whichever published one it is, or the writer says that
/// its format cannot hold it.
#[test]
fn what_is_written_is_read_as_the_same_bits() {
    let formats: [(&str, Write, Read, usize); 6] = [
        ("saelens", |d, f| write_saelens(d, None, f), read_saelens, 30),
        ("sparsify", write_sparsify, read_sparsify, 6),
        ("gemma_scope", write_gemma_scope, read_gemma_scope, 10),
        ("llama_scope", write_llama_scope, read_llama_scope, 8),
        ("dictionary_learning", write_dictionary_learning, read_dictionary_learning, 14),
        (
            "circuit_tracer",
            |d, folder| write_circuit_tracer(d, &folder.join("layer_0.safetensors")),
            |folder| read_circuit_tracer(&folder.join("layer_0.safetensors")),
            10,
        ),
    ];
    for (name, write, read, least) in formats {
        let mut written = 0;
        for fixture in names() {
            let before = open(&fixtures().join(&fixture)).unwrap().dictionary;
            let (folder, _kept) = place(name, &fixture);
            if write(&before, &folder).is_err() {
                continue;
            }
            written += 1;
            let mut after = read(&folder).unwrap_or_else(|e| panic!("{fixture} as {name}: {e}"));
            let opened = open(&folder).unwrap_or_else(|e| panic!("{fixture} as {name}: {e}"));
            assert_eq!(opened.dictionary, after, "{fixture} as {name}");
            // BatchTopK and ReLU mean the same as the JumpReLU that some formats have in their place
            let x = &dump(&fixture)["x"].1;
            assert_eq!(before.encode(x).unwrap(), after.encode(x).unwrap(), "{fixture} as {name}");
            if let Activation::JumpReLU { .. } = after.activation {
                after.activation = before.activation.clone();
            }
            assert_eq!(before, after, "{fixture} as {name}");
        }
        assert!(written >= least, "{name}: only {written} could be written");
    }
}

/// Every file of every fixture, cut off anywhere and with any byte changed: an answer or an error, never a panic.
#[test]
fn damage_is_an_error_and_no_panic() {
    for name in names() {
        let mut files = Vec::new();
        let folder = tempfile::tempdir().unwrap();
        copy(&fixtures().join(&name), folder.path(), &mut files);
        for file in files {
            let whole = fs::read(&file).unwrap();
            let step = (whole.len() / 24).max(1);
            for length in (0..whole.len()).step_by(step) {
                fs::write(&file, &whole[..length]).unwrap();
                let opened = open(folder.path());
                // what may be missing altogether: hooks, and a last line's end
                let hint = file.extension().is_some_and(|e| e == "yaml") || name.starts_with("gemma-scope-2");
                let hint = hint && !file.ends_with("params.safetensors");
                let whole = file.extension().is_some_and(|e| e == "json") && length + 1 == whole.len();
                assert!(hint || whole || opened.is_err(), "{} of {length} bytes", file.display());
            }
            for at in (0..whole.len()).step_by(step) {
                let mut changed = whole.clone();
                changed[at] ^= 0x91;
                fs::write(&file, &changed).unwrap();
                let _ = open(folder.path());
            }
            fs::write(&file, &whole).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path, files: &mut Vec<PathBuf>) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target, files);
        } else {
            fs::copy(&path, &target).unwrap();
            files.push(target);
        }
    }
}
