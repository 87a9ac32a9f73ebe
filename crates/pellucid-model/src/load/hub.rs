//! Models from the Hugging Face hub, through `hf-hub`, into the cache that Python's tools share.
//!
//! What is cached is used without asking the network, so a model stays the same until its cache is removed;
//! only missing files are fetched. `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they
//! mean to `huggingface_hub`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::Progress as HubProgress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::cache;
use super::directory::{read_json, shards};
use super::error::LoadError;
use super::map::Map;
use super::source::{HubName, Progress, Stage};

const INDEX: &str = "model.safetensors.index.json";
/// What a language model has beside its weights; the first is required.
const SIDE: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// What the environment says about the hub.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    cache: PathBuf,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
}

impl Settings {
    pub(super) fn from_env() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let yes = |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes");
        Self {
            cache: Cache::from_env().path().clone(),
            endpoint: set("HF_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned()),
            token: set("HF_TOKEN").map(|token| token.trim().to_owned()),
            offline: set("HF_HUB_OFFLINE").is_some_and(yes),
        }
    }
}

/// The snapshot directory of a repository, or the one file that `name` asks for, fetched as far as it is not
/// cached.
pub(super) fn fetch(
    name: &HubName,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, LoadError> {
    let repo = Repo::with_revision(name.repo.clone(), RepoType::Model, name.revision.clone());
    let cached = Cache::new(settings.cache.clone()).repo(repo.clone());
    let found = in_cache(&cached, name);
    match found {
        Some(Cached { path, whole: true }) => return Ok(path),
        Some(Cached { path, .. }) if settings.offline => return Ok(path),
        _ if settings.offline => {
            let found = format!("no cached copy in {} while HF_HUB_OFFLINE is set", settings.cache.display());
            return Err(refused(name, "the model in the cache", found));
        }
        _ => {}
    }
    match download(name, repo, settings, progress) {
        // No network, but all that is needed to run: only an optional file could not be looked for.
        Err(_) if found.is_some() => {
            found.map(|cached| cached.path).ok_or_else(|| refused(name, "a cached copy", "none"))
        }
        other => other,
    }
}

fn refused(name: &HubName, expected: impl Into<Box<str>>, found: impl Into<Box<str>>) -> LoadError {
    LoadError::Hub { repo: name.repo.as_str().into(), expected: expected.into(), found: found.into() }
}

struct Cached {
    path: PathBuf,
    /// Whether `tokenizer.json` is there too, without which the hub is asked once more.
    whole: bool,
}

/// The cached snapshot, if configuration and all weights are in it.
fn in_cache(cached: &CacheRepo, name: &HubName) -> Option<Cached> {
    if let Some(file) = &name.file {
        return cached.get(file).map(|path| Cached { path, whole: true });
    }
    let dir = cached.get(SIDE[0])?.parent()?.to_owned();
    let weights = match cached.get(INDEX) {
        Some(index) => {
            let json = read_json(&index).ok()??;
            shards(&json, &index).ok()?.keys().all(|shard| dir.join(shard).exists())
        }
        None => lone_safetensors(&dir)?,
    };
    weights.then(|| Cached { whole: dir.join("tokenizer.json").exists(), path: dir })
}

fn lone_safetensors(dir: &Path) -> Option<bool> {
    let mut entries = fs::read_dir(dir).ok()?.flatten();
    Some(entries.any(|entry| entry.path().extension().is_some_and(|ending| ending == "safetensors")))
}

fn download(
    name: &HubName,
    repo: Repo,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, LoadError> {
    let mut builder =
        ApiBuilder::from_cache(Cache::new(settings.cache.clone())).with_progress(false).with_retries(3);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if settings.token.is_some() {
        builder = builder.with_token(settings.token.clone());
    }
    let api = builder.build().map_err(|error| failed(name, "a client for the hub", &error))?;
    let cached = Cache::new(settings.cache.clone()).repo(repo.clone());
    let mut fetch = Fetch { name, api: api.repo(repo), cached, progress };
    let info = fetch.api.info().map_err(|error| failed(name, "its list of files", &error))?;
    let files: BTreeSet<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    if let Some(file) = &name.file {
        return if files.contains(file) {
            fetch.get(file)
        } else {
            Err(refused(name, file.as_str(), listing(&files)))
        };
    }
    fetch.snapshot(&files)
}

/// An error of the client, with the usual remedy.
fn failed(name: &HubName, expected: impl Into<Box<str>>, error: &ApiError) -> LoadError {
    let said = error.to_string();
    let hint = if said.contains("401") || said.contains("403") {
        "; it may be gated: accept its terms on the hub and set HF_TOKEN"
    } else if said.contains("404") {
        "; no such repository, revision or path"
    } else {
        "; without a network, give the path of a model file"
    };
    refused(name, expected, said + hint)
}

fn listing(files: &BTreeSet<String>) -> String {
    let ggufs: Vec<_> =
        files.iter().filter(|file| file.ends_with(".gguf")).take(8).map(String::as_str).collect();
    if ggufs.is_empty() {
        return format!("none among its {} files", files.len());
    }
    format!("GGUF files; write org/name:FILE with one of {}", ggufs.join(", "))
}

struct Fetch<'a> {
    name: &'a HubName,
    api: ApiRepo,
    cached: CacheRepo,
    progress: &'a mut dyn FnMut(Progress),
}

impl Fetch<'_> {
    fn snapshot(&mut self, files: &BTreeSet<String>) -> Result<PathBuf, LoadError> {
        let [config, optional @ ..] = SIDE;
        if !files.contains(config) {
            return Err(refused(self.name, config, listing(files)));
        }
        let weights = self.weights(files)?;
        let config = self.get(config)?;
        for file in optional.iter().filter(|file| files.contains(**file)) {
            self.get(file)?;
        }
        for file in &weights {
            self.get(file)?;
        }
        Ok(config.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// The weight files to fetch; fetches the index to learn the shards.
    fn weights(&mut self, files: &BTreeSet<String>) -> Result<Vec<String>, LoadError> {
        if files.contains(INDEX) {
            let index = self.get(INDEX)?;
            let json = read_json(&index)?.unwrap_or_default();
            let shards = shards(&json, &index)?;
            return Ok(shards.into_keys().map(str::to_owned).collect());
        }
        let top: Vec<_> =
            files.iter().filter(|file| file.ends_with(".safetensors") && !file.contains('/')).collect();
        if let Some(file) = top.iter().find(|file| file.as_str() == "model.safetensors") {
            return Ok(vec![(*file).clone()]);
        }
        match top.as_slice() {
            [file] => Ok(vec![(*file).clone()]),
            [] if files.iter().any(|file| file.ends_with(".bin") || file.ends_with(".pth")) => {
                let found =
                    "PyTorch pickles only, which can run code when they are read; convert the model first";
                Err(refused(self.name, "safetensors weights", found))
            }
            [] => Err(refused(self.name, "safetensors weights", listing(files))),
            several => Err(refused(self.name, "model.safetensors", format!("{} others", several.len()))),
        }
    }

    /// One file, from the cache or the network. A large file's entry in the cache is named by its sha256,
    /// which is checked once, after the transfer.
    fn get(&mut self, file: &str) -> Result<PathBuf, LoadError> {
        if let Some(path) = self.cached.get(file) {
            return Ok(path);
        }
        let bridge = Bridge { progress: &mut *self.progress, item: file.to_owned(), done: 0, total: None };
        let path =
            self.api.download_with_progress(file, bridge).map_err(|error| failed(self.name, file, &error))?;
        let blob = fs::canonicalize(&path).map_err(LoadError::io("look at the cached file", &path))?;
        let etag = blob.file_name().unwrap_or_default().to_string_lossy();
        if etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let found = cache::sha256(&Map::open(&blob)?);
            if found != *etag {
                // Both the entry and its name in the snapshot, so that the next attempt starts clean.
                let _ = (fs::remove_file(&path), fs::remove_file(&blob));
                let (expected, found) = (etag.as_ref().into(), found.into());
                return Err(LoadError::Digest { expected, found, path: path.into() });
            }
        }
        Ok(path)
    }
}

struct Bridge<'a> {
    progress: &'a mut dyn FnMut(Progress),
    item: String,
    done: u64,
    total: Option<u64>,
}

impl Bridge<'_> {
    fn report(&mut self) {
        let (item, done, total) = (self.item.clone(), self.done, self.total);
        (self.progress)(Progress { stage: Stage::Download, item, done, total });
    }
}

impl HubProgress for Bridge<'_> {
    fn init(&mut self, size: usize, _: &str) {
        self.total = Some(size as u64);
        self.report();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.report();
    }

    fn finish(&mut self) {
        self.report();
    }
}

#[cfg(test)]
mod tests;
