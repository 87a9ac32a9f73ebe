//! A dictionary as the page sees it: a tiny one is trained, watched and served, and what the server says of all its latents is
//! held against what it says of one.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{Place, command};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A program that keeps everything it makes in this cache.
fn pellucid(cache: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = command(arguments);
    command.env("PELLUCID_CACHE", cache);
    command
}

fn serve(cache: &Path, model: &str, dictionaries: &[&str]) -> Server {
    let mut arguments = vec!["serve", "--model", model, "--port", "0"];
    dictionaries.iter().for_each(|named| arguments.extend(["--dictionary", named]));
    let mut child = pellucid(cache, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|l| l.contains("http://")).expect("an address");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    Server { child, address }
}

impl Server {
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).expect("JSON"))
    }

    fn get(&self, path: &str) -> Value {
        let (status, reply) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {reply}");
        reply
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, reply) = self.ask("POST", path, &body.to_string());
        assert_eq!(status, 200, "{path}: {reply}");
        reply
    }

    /// The map, once it is made.
    fn map(&self, name: &str) -> Value {
        let begun = Instant::now();
        loop {
            let reply = self.post("/api/dictionary/map", &json!({ "name": name }));
            if !reply["map"].is_null() {
                return reply["map"].clone();
            }
            assert_eq!((&reply["job"]["kind"], &reply["job"]["dictionary"]), (&json!("map"), &json!(name)));
            assert!(begun.elapsed() < Duration::from_secs(120), "{reply}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Why it refuses.
    fn refuses(&self, (method, path, body): (&str, &str, &str), status: u16, naming: &str) {
        let (found, reply) = self.ask(method, path, body);
        let said = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(found == status && said.contains(naming), "{path}: {found} {reply}, not {naming:?}");
    }
}

/// Trains 64 latents.
fn train(place: &Place, cache: &Path, folder: &str, seed: &str) {
    let arguments =
        ["dict", "train", "--model", &place.model, "--corpus", &place.corpus, "--site", "resid_post.0"];
    let more = ["--tokens", "8000", "--window", "16", "--latents", "64", "--k", "4", "--batch", "64"];
    let all = [&arguments[..], &more, &["--out", folder, "--seed", seed]].concat();
    let made = pellucid(cache, &all).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn all_latents_at_a_glance_are_what_each_is_alone() {
    let place = Place::new(120);
    let (cache, first, second) = (place.dir.path().join("cache"), place.path("first"), place.path("second"));
    train(&place, &cache, &first, "0");
    train(&place, &cache, &second, "1");
    let named = format!("d={first}");
    let build =
        ["atlas", "build", "--model", &place.model, "--dictionary", &named, "--latents", "d", "--no-embed"];
    let more = ["--corpus", &place.corpus, "--tokens", "8000", "--window", "32"];
    let built = pellucid(&cache, &[&build[..], &more].concat()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    // under another name than the atlas was made with: the hash is what counts
    let of = [format!("mine={first}"), format!("other={second}")];
    let server = serve(&cache, &place.model, &[&of[0], &of[1]]);
    let whole = server.get("/api/dictionary?name=mine");
    assert_eq!((&whole["latents"], &whole["site"]), (&json!(64), &json!("resid_post.0")));
    assert_eq!((&whole["format"], &whole["activation"]), (&json!("SAELens"), &json!("TopK, k = 4")));
    let card = &whole["card"];
    assert!((number(&card["l0"]) - 4.0).abs() < 0.5 && number(&card["explained_variance"]) < 1.0, "{card}");
    assert_eq!(whole["card_of_model"], json!(true));

    let columns = server.get("/api/dictionary/latents?name=mine");
    let tokens = number(&columns["tokens"]);
    for column in ["active", "most", "score", "null"] {
        assert_eq!(list(&columns[column]).len(), 64, "{column}");
    }
    let active: Vec<f64> = list(&columns["active"]).iter().map(number).collect();
    // every token but the first of a window has at most four active latents
    assert!(active.iter().sum::<f64>() <= 4.0 * tokens && active.iter().any(|n| *n > 0.0));
    let dead = active.iter().filter(|n| **n == 0.0).count() as f64;
    let dense = active.iter().filter(|n| **n > 0.1 * tokens).count() as f64;
    let atlas = &whole["atlas"];
    let scored = list(&columns["score"]).iter().filter(|s| !s.is_null()).count() as f64;
    assert_eq!(
        [&atlas["dead"], &atlas["dense"], &atlas["scored"], &atlas["tokens"]].map(number),
        [dead, dense, scored, tokens]
    );
    assert!(scored > 0.0, "{columns}");

    let every: Vec<u32> = (0..64).collect();
    let words = server.post("/api/dictionary/words", &json!({ "name": "mine", "latents": every }));
    let described = list(&words["words"]).iter().filter(|w| !w.is_null()).count() as f64;
    assert_eq!(described, number(&atlas["described"]));
    for latent in [0, 7, 63] {
        let alone = server.get(&format!("/api/unit?unit=sae:mine/{latent}"));
        let most = number(&columns["most"][latent]);
        assert!((most - number(&alone["statistics"]["max"]).max(0.0)).abs() <= 1e-3 * most, "{latent}");
        let tokens_active: f64 =
            list(&alone["sides"][0]["histogram"]).iter().map(|bin| number(&bin["count"])).sum();
        assert_eq!(tokens_active, active[latent]);
        let chosen = list(&alone["sides"][0]["descriptions"]).iter().find(|d| d["chosen"] == json!(true));
        assert_eq!(words["words"][latent]["text"], chosen.map_or(Value::Null, |d| d["text"].clone()));
    }

    // made once: another server finds it
    let map = server.map("mine");
    assert_eq!((list(&map["x"]).len(), list(&map["y"]).len()), (64, 64));
    let ends = |axis: &str| {
        let all = list(&map[axis]).iter().map(number);
        all.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let widest = [ends("x"), ends("y")].iter().map(|(low, high)| high - low).fold(0.0, f64::max);
    assert_eq!(widest, 65_535.0);
    let again = serve(&cache, &place.model, &[&of[0]]);
    let kept = again.post("/api/dictionary/map", &json!({ "name": "mine" }));
    assert_eq!((&kept["map"], &kept["job"]), (&map, &Value::Null));
    // the only one need not be named
    assert_eq!(again.get("/api/dictionary")["name"], json!("mine"));
    let maps = std::fs::read_dir(cache.join("maps")).unwrap().map(|e| e.unwrap().path());
    let maps: Vec<PathBuf> = maps.collect();
    assert_eq!(maps.len(), 1, "{maps:?}");
    // a file that does not fit is made anew
    let mut bytes = std::fs::read(&maps[0]).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&maps[0], bytes).unwrap();
    assert_eq!(again.map("mine"), map);

    refusals(&server, &cache, &whole);
}

/// What is missing or wrong is said.
fn refusals(server: &Server, cache: &Path, whole: &Value) {
    server.refuses(("GET", "/api/dictionary", ""), 404, "name one of mine, other");
    server.refuses(("GET", "/api/dictionary?name=nobody", ""), 404, "loaded are mine, other");
    let past = json!({ "name": "mine", "latents": [64] }).to_string();
    server.refuses(("POST", "/api/dictionary/words", &past), 404, "there are 64 latents");
    let many = json!({ "name": "mine", "latents": vec![0; 1001] }).to_string();
    server.refuses(("POST", "/api/dictionary/words", &many), 413, "at most");

    // no atlas yet: facts and map stand without it, and the command is told
    let bare = server.get("/api/dictionary?name=other");
    assert!(bare["atlas"].is_null() && bare["atlas_fault"].is_null() && !bare["card"].is_null());
    let build = bare["build"].as_str().unwrap();
    assert!(build.starts_with("pellucid atlas build ") && build.ends_with("--latents other"), "{build}");
    server.refuses(("GET", "/api/dictionary/latents?name=other", ""), 404, build);
    server.map("other");

    // an atlas that is in its place and of another dictionary
    let short = |hash: &Value| hash.as_str().unwrap()[..16].to_owned();
    let model = short(&server.get("/api/status")["model"]["sha256"]);
    let file = |of: &Value| cache.join("atlases").join(format!("{model}-{}.atlas", short(&of["hash"])));
    std::fs::copy(file(whole), file(&bare)).unwrap();
    let fault = server.get("/api/dictionary?name=other");
    let said = fault["atlas_fault"].as_str().unwrap();
    assert!(
        fault["atlas"].is_null() && said.contains("the atlas of another dictionary (d, sha256"),
        "{said}"
    );
    server.refuses(("GET", "/api/dictionary/latents?name=other", ""), 400, "another dictionary");
}
