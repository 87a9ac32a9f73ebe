//! Tests against the running program: a real browser drives the page, a real client library talks to the OpenAI-compatible
//! endpoints, generated requests look for crashes, and fifty clients ask at once; all on loopback, on the real model.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::python;
use crate::shell::{install, pellucid, program, step};
use crate::ui;

/// What the clients' environment holds.
const REQUIREMENTS: &str = include_str!("../clients/requirements.txt");

/// The atlas that the tests use: a few layers over few tokens, made once and kept in the cache.
const ATLAS: &str = "atlases/test-smollm2-1.atlas";
const DICTIONARY: &str = "dictionaries/test-smollm2-resid15";
const LAYERS: [usize; 8] = [3, 8, 14, 18, 22, 25, 27, 28];

/// A program's run that ends with us.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // one that has ended already needs no killing
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a model on a free port, and waits until it listens.
pub(crate) fn serve(arguments: &[&str]) -> Result<Server> {
    serve_with(pellucid()?, arguments)
}

/// The same with a program that is built already.
pub(crate) fn serve_with(mut command: Command, arguments: &[&str]) -> Result<Server> {
    command.args(["serve", "--port", "0"]).args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting the server")?;
    let stdout = child.stdout.take().context("the server has no output")?;
    let mut server = Server { child, url: String::new() };
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(at) = line.find("http://") {
            server.url =
                line[at..].split_whitespace().next().unwrap_or_default().trim_end_matches('/').to_owned();
            return Ok(server);
        }
    }
    bail!("the server ended before it listened")
}

/// The atlas of the tests.
pub(crate) fn atlas() -> Result<PathBuf> {
    let path = paths::cache()?.join(ATLAS);
    let sites: Vec<String> = LAYERS.iter().map(|l| format!("mlp_act.{l}")).collect();
    let mut command = pellucid()?;
    command.args(["atlas", "build", "--model", "smollm2", "--tokens", "30000", "--sites", &sites.join(",")]);
    step("atlas of the tests (made once)", command.arg("--atlas").arg(&path))?;
    Ok(path)
}

/// A dictionary of the tests with its atlas, as `--dictionary` takes it: few latents of few tokens, so that making it takes well
/// under a minute, once.
fn dictionary() -> Result<String> {
    let folder = paths::cache()?.join(DICTIONARY);
    let named = format!("stream15={}", folder.display());
    if !folder.join("card.json").exists() {
        let mut command = pellucid()?;
        command.args([
            "dict",
            "train",
            "--model",
            "smollm2",
            "--site",
            "resid_post.15",
            "--precision",
            "fast",
        ]);
        command.args([
            "--tokens",
            "40000",
            "--latents",
            "512",
            "--k",
            "16",
            "--batch",
            "256",
            "--test-windows",
            "8",
        ]);
        step("dictionary of the tests (made once)", command.arg("--out").arg(&folder))?;
    }
    let mut command = pellucid()?;
    command.args(["atlas", "build", "--model", "smollm2", "--dictionary", &named, "--latents", "stream15"]);
    step("atlas of its latents (made once)", command.args(["--tokens", "20000"]))?;
    Ok(named)
}

/// All of it.
pub(crate) fn all() -> Result<()> {
    let (atlas, dictionary) = (atlas()?.display().to_string(), dictionary()?);
    let server = serve(&["--model", "smollm2", "--atlas", &atlas, "--dictionary", &dictionary])?;
    let browser = chromium()?;
    let mut e2e = ui::npm(&["run", "--silent", "e2e"])?;
    step("the page in a browser", e2e.env("PELLUCID_URL", &server.url).env("PELLUCID_CHROMIUM", &browser))?;
    let python = python::environment("clients", REQUIREMENTS)?;
    let script = |name: &str| {
        let mut command = program(&python);
        command.arg(paths::root().join("xtask").join("clients").join(name)).arg(&server.url);
        command
    };
    step("OpenAI's client library", &mut script("openai_client.py"))?;
    step("generated requests", &mut script("schema.py"))?;
    step("fifty clients at once", script("load.py").arg(server.child.id().to_string()))?;
    drop(server);
    guarded(&browser)
}

/// The page of a server that asks for a token and has no atlas: it begins to build one, so it runs by itself.
fn guarded(browser: &Path) -> Result<()> {
    const TOKEN: &str = "token-of-the-tests-only";
    let none = std::env::temp_dir().join(format!("pellucid-none-{}.atlas", std::process::id()));
    let atlas = none.display().to_string();
    let server = serve(&["--model", "smollm2", "--atlas", &atlas, "--build-atlas", "--token", TOKEN])?;
    let mut e2e = ui::npm(&["run", "--silent", "e2e", "--", "token"])?;
    e2e.env("PELLUCID_TOKEN_URL", &server.url).env("PELLUCID_TOKEN", TOKEN).env("PELLUCID_CHROMIUM", browser);
    step("the page of a server with a token", &mut e2e)
}

/// A Chromium to drive; Debian's is installed where that can be done.
fn chromium() -> Result<PathBuf> {
    let named = std::env::var_os("PELLUCID_CHROMIUM").map(PathBuf::from);
    let candidates = named.into_iter().chain(
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from),
    );
    if let Some(found) = candidates.into_iter().find(|c| c.is_file()) {
        return Ok(found);
    }
    if install("chromium") {
        return Ok(PathBuf::from("/usr/bin/chromium"));
    }
    bail!("no Chromium to test the page with; install one, or name it in PELLUCID_CHROMIUM")
}
