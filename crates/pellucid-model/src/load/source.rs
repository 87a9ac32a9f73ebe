//! Which of the three kinds of name the user gave: a named model, a path, or a hub repository.

use std::path::{Path, PathBuf};

use super::error::LoadError;
use super::{cache, named};

/// One step of a fetch, reported several times a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// The file or package it is done to.
    pub item: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; `None` if unknown.
    pub total: Option<u64>,
}

/// What a fetch is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Another process is fetching the same model.
    Wait,
    /// Bytes come over the network.
    Download,
    /// Packages are being unpacked.
    Unpack,
    /// A file that was found in the cache is being hashed.
    Verify,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wait => "waiting for another process",
            Self::Download => "downloading",
            Self::Unpack => "unpacking",
            Self::Verify => "verifying",
        })
    }
}

pub(super) fn resolve(asked: &str, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, LoadError> {
    if let Some(model) = named::find(asked) {
        return named::fetch(model, &cache::cache_dir(), progress);
    }
    let path = Path::new(asked);
    if !asked.is_empty() && path.exists() {
        return Ok(path.to_owned());
    }
    match HubName::parse(asked) {
        Some(name) => from_hub(&name, progress),
        None => {
            let known: Vec<_> = named::MODELS.iter().map(|model| model.name).collect();
            Err(LoadError::Unknown { asked: asked.into(), known: known.join(", ").into() })
        }
    }
}

#[cfg(feature = "hub")]
fn from_hub(name: &HubName, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, LoadError> {
    super::hub::fetch(name, &super::hub::Settings::from_env(), progress)
}

#[cfg(not(feature = "hub"))]
fn from_hub(name: &HubName, _: &mut dyn FnMut(Progress)) -> Result<PathBuf, LoadError> {
    Err(LoadError::Hub {
        repo: name.repo.as_str().into(),
        expected: "a path, or a program built with the feature `hub`".into(),
        found: "a program built without it, and no such path".into(),
    })
}

/// `org/name`, `org/name@revision`, `org/name:file.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubName {
    pub(super) repo: String,
    pub(super) revision: String,
    pub(super) file: Option<String>,
}

impl HubName {
    /// `None` for anything that cannot be a hub name, so that a mistyped path is reported as a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, file) = match text.split_once(':') {
            Some((rest, file)) => (rest, Some(file)),
            None => (text, None),
        };
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (org, name) = repo.split_once('/')?;
        let looks_like_file =
            [".gguf", ".safetensors", ".json", ".bin"].iter().any(|end| name.ends_with(end));
        let good = is_word(org)
            && is_word(name)
            && !looks_like_file
            && revision.split('/').all(is_word)
            && file.is_none_or(|file| file.ends_with(".gguf") && file.split('/').all(is_word));
        good.then(|| Self {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        })
    }
}

/// Letters, digits, `-`, `_` and `.`, but neither a path step nor a URL's special character.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty()
        && text.len() <= 128
        && text.chars().all(plain)
        && !text.starts_with('.')
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_names_are_told_from_paths() {
        let name = HubName::parse("org/name@v1:sub/model-Q4.gguf").unwrap();
        assert_eq!(
            (name.repo.as_str(), name.revision.as_str(), name.file.as_deref()),
            ("org/name", "v1", Some("sub/model-Q4.gguf"))
        );
        assert_eq!(HubName::parse("org/name").unwrap().revision, "main");
        for path in [
            "",
            "name",
            "./name",
            "a/b/c",
            "/etc/passwd",
            "../x",
            "models/x.gguf",
            "C:/x",
            "o/n:../x.gguf",
            "o/n@../x",
        ] {
            assert_eq!(HubName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn an_unknown_name_lists_what_is_known() {
        let error = resolve("no-such-model", &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("smollm2") && error.contains("no-such-model"), "{error}");
    }
}
