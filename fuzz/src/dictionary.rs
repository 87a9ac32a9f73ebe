//! Dictionaries that a stranger published: they open and run, or are refused.

use pellucid_dict::open;
use std::fs;
use std::path::{Path, PathBuf};

/// A tiny dictionary of the fixtures, and the file of it that the input is or damages.
const FILES: [(&str, &str); 12] = [
    ("openai-v5", "3.pt"),
    ("dictionary-learning-topk", "ae.pt"),
    ("dictionary-learning-topk", "config.json"),
    ("gemma-scope", "params.npz"),
    ("gemma-scope-compressed", "params.npz"),
    ("saelens-gated", "cfg.json"),
    ("saelens-gated", "sae_weights.safetensors"),
    ("sparsify-skip-transcoder", "cfg.json"),
    ("llama-scope", "hyperparams.json"),
    ("llamascopium-jumprelu", "config.json"),
    ("llamascopium-jumprelu", "sae_weights.safetensors"),
    ("circuit-tracer-jumprelu-skip", "layer_0.safetensors"),
];

/// The first byte chooses a file of a sound dictionary. If it is even, the rest stands in that file's place; else the rest
/// changes it: again and again two bytes of offset, one of length and so many bytes to put there.
pub fn dictionary(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let (name, file) = FILES[usize::from(kind / 2) % FILES.len()];
    let folder = tempfile::tempdir().expect("a temporary directory");
    copy(&fixtures().join(name), folder.path());
    let path = folder.path().join(file);
    if kind % 2 == 0 {
        fs::write(&path, rest).expect("a file");
    } else {
        let mut whole = fs::read(&path).expect("a file");
        let mut rest = rest;
        while let [a, b, length, more @ ..] = rest {
            let at = usize::from(u16::from_le_bytes([*a, *b])) % whole.len();
            let (new, after) = more.split_at(usize::from(*length).min(more.len()));
            whole.iter_mut().skip(at).zip(new).for_each(|(old, new)| *old = *new);
            rest = after;
        }
        fs::write(&path, whole).expect("a file");
    }
    let Ok(opened) = open(folder.path()) else { return };
    let shape = opened.dictionary.shape;
    let x: Vec<f32> = (0..2 * shape.d_in).map(|i| i as f32 - 3.0).collect();
    let sparse = opened.dictionary.encode(&x).expect("finite rows of the dictionary's width");
    let output = opened.dictionary.decode(&sparse, Some(&x)).expect("what was encoded");
    assert_eq!(output.len(), 2 * shape.d_out);
}

fn fixtures() -> PathBuf {
    super::fixtures().with_file_name("dictionaries")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file");
        }
    }
}
