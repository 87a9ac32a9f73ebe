//! The hub client against a small local server.

use super::*;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// As much of the hub as a download uses: the list of files, and files with ranges and entity tags.
struct Hub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn serve(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(name, body)| ((*name).to_owned(), body.to_vec())).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        // Ends with the test process; one request a connection.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files, &log);
            }
        });
        Self { url, asked }
    }

    fn settings(&self, cache: &Path) -> Settings {
        Settings {
            cache: cache.join("hub"),
            endpoint: Some(self.url.clone()),
            token: Some("secret".to_owned()),
            offline: false,
        }
    }
}

fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, log: &Mutex<Vec<String>>) {
    let (mut path, mut range, mut authorised) = (String::new(), None, false);
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap().to_owned();
        }
        let lower = line.to_ascii_lowercase();
        authorised |= lower == "authorization: bearer secret";
        if let Some(bytes) = lower.strip_prefix("range: bytes=") {
            let (from, to) = bytes.split_once('-').unwrap();
            range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().ok()));
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(path.clone());
    let (status, headers, body) = if !authorised {
        ("401 Unauthorized", String::new(), Vec::new())
    } else if path.starts_with("/api/models/org/name") {
        let names: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let json = serde_json::json!({ "sha": COMMIT, "siblings": names }).to_string();
        ("200 OK", String::new(), json.into_bytes())
    } else if let Some(body) = path.strip_prefix("/org/name/resolve/main/").and_then(|name| files.get(name)) {
        let (from, to) = range.unwrap_or((0, None));
        let to = to.unwrap_or(usize::MAX).min(body.len() - 1);
        // The last file of the list lies about its hash if its content says so.
        let hash = if body.starts_with(b"CORRUPT") { cache::sha256(b"else") } else { cache::sha256(body) };
        let headers = format!(
            "etag: \"{hash}\"\r\nx-repo-commit: {COMMIT}\r\ncontent-range: bytes {from}-{to}/{}\r\n",
            body.len()
        );
        ("206 Partial Content", headers, body[from..=to].to_vec())
    } else {
        ("404 Not Found", String::new(), Vec::new())
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(&body).unwrap();
}

fn name(text: &str) -> HubName {
    HubName::parse(text).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_is_fetched_once_and_then_needs_no_network() {
    let cache = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#;
    let hub = Hub::serve(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("chat_template.jinja", b"{{ x }}"),
        (INDEX, index),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
        ("pytorch_model.bin", b"never"),
        ("README.md", b"never"),
    ]);
    let settings = hub.settings(cache.path());
    let mut seen = BTreeMap::new();
    let dir = fetch(&name("org/name"), &settings, &mut |p| drop(seen.insert(p.item.clone(), p))).unwrap();
    let expected = [
        "chat_template.jinja",
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        INDEX,
        "tokenizer.json",
    ];
    assert_eq!(names(&dir), expected);
    assert_eq!(fs::read(dir.join("model-2.safetensors")).unwrap(), b"two");
    assert_eq!((seen["model-2.safetensors"].done, seen["model-2.safetensors"].total), (3, Some(3)));

    let asked = hub.asked.lock().unwrap().len();
    assert_eq!(fetch(&name("org/name"), &settings, &mut |_| ()).unwrap(), dir);
    let offline = Settings { offline: true, endpoint: Some("http://127.0.0.1:9".to_owned()), ..settings };
    assert_eq!(fetch(&name("org/name"), &offline, &mut |_| ()).unwrap(), dir);
    assert_eq!(hub.asked.lock().unwrap().len(), asked);
}

#[test]
fn one_gguf_file_is_fetched_by_name() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::serve(&[("a-Q4.gguf", b"GGUF"), ("b.gguf", b"GGUF other")]);
    let settings = hub.settings(cache.path());
    let path = fetch(&name("org/name:a-Q4.gguf"), &settings, &mut |_| ()).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"GGUF");
    let error = fetch(&name("org/name"), &settings, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("a-Q4.gguf, b.gguf"), "{error}");
    let error = fetch(&name("org/name:c.gguf"), &settings, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("c.gguf") && error.contains("b.gguf"), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::serve(&[("config.json", b"{}"), ("pytorch_model.bin", b"x")]);
    let settings = hub.settings(cache.path());
    let fails =
        |text: &str, settings: &Settings| fetch(&name(text), settings, &mut |_| ()).unwrap_err().to_string();
    assert!(fails("org/name", &settings).contains("pickle"));
    assert!(fails("org/other", &settings).contains("no such repository"));
    let stranger = Settings { token: None, ..settings.clone() };
    assert!(fails("org/name", &stranger).contains("HF_TOKEN"));
    let offline = Settings { offline: true, ..settings.clone() };
    assert!(fails("org/name", &offline).contains("HF_HUB_OFFLINE"));
    // Nothing listens on the discard port.
    let unplugged = Settings { endpoint: Some("http://127.0.0.1:9".to_owned()), ..settings };
    assert!(fails("org/name", &unplugged).contains("give the path"));
}

#[test]
fn a_large_file_with_another_hash_is_removed() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::serve(&[("x.gguf", b"CORRUPT")]);
    let settings = hub.settings(cache.path());
    let error = fetch(&name("org/name:x.gguf"), &settings, &mut |_| ()).unwrap_err();
    assert!(matches!(error, LoadError::Digest { .. }), "{error}");
    assert!(
        in_cache(
            &Cache::new(settings.cache.clone()).repo(Repo::model("org/name".to_owned())),
            &name("org/name:x.gguf")
        )
        .is_none()
    );
}

#[test]
fn without_a_network_a_cache_without_tokenizer_still_serves() {
    let cache = tempfile::tempdir().unwrap();
    let repo = cache.path().join("hub/models--org--name");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    fs::write(snapshot.join("model.safetensors"), "x").unwrap();
    let settings = Settings {
        cache: cache.path().join("hub"),
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        token: None,
        offline: false,
    };
    assert_eq!(fetch(&name("org/name"), &settings, &mut |_| ()).unwrap(), snapshot);
}
