//! `pellucid serve`: the live page on this machine, over one model and its atlas.

use crate::atlas::default_path;
use crate::embedded;
use crate::models::ModelArgs;
use crate::show::{BOLD, DIM, LINES, Out};
use anyhow::{Context, Result, bail};
use clap::Args;
use pellucid::core::Chat;
use pellucid::describe::llm::{Endpoint, EndpointConfig};
use pellucid::server::{App, Build, Limits, Setup, serve};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// A jinja chat template in place of the model's own.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The model's atlas, if it is not the one in the cache.
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    /// Where to listen. Beyond this machine's own addresses an access token is needed.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    bind: IpAddr,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 7171)]
    port: u16,
    /// A file with the access token (16 characters or more); better than --token, which other users can see.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The access token.
    #[arg(long, value_name = "TOKEN", env = "PELLUCID_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A name by which browsers may call this server, besides its loopback ones. Repeatable.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Without an atlas: build one in the background, a small one first.
    #[arg(long)]
    build_atlas: bool,
    /// The longest text, in tokens.
    #[arg(long, default_value_t = 2048, value_name = "N")]
    prompt_tokens: usize,
    /// The longest answer, in tokens.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    answer_tokens: usize,
    /// Seconds that one run may take.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    run_seconds: u64,
    /// Requests that may wait for their turn.
    #[arg(long, default_value_t = 64, value_name = "N")]
    waiting: usize,
    /// An OpenAI-compatible server that the guide may ask; its key is read from OPENAI_API_KEY if that is set.
    #[arg(long, value_name = "URL", requires = "llm_model")]
    llm: Option<String>,
    /// The model's name there.
    #[arg(long, value_name = "NAME")]
    llm_model: Option<String>,
}

/// Tokens of the first, small atlas of a model that has none, and of the whole one.
const SMALL: u64 = 20_000;
const WHOLE: u64 = 500_000;

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let token = self.token()?;
        let llm = self.llm()?;
        let mut loaded = self.model.load()?;
        if self.model.model == embedded::NAME && self.model.dictionary.is_empty() {
            let folder = embedded::dictionary_beside(loaded.model.path());
            crate::dictionaries::attach(
                &mut loaded,
                &format!("{}={}", embedded::DICTIONARY, folder.display()),
            )?;
        }
        let loaded = crate::models::with_template(loaded, self.template.as_ref())?;
        let whole = self.atlas.clone().unwrap_or_else(|| default_path(&loaded));
        let small = whole.with_extension("small.atlas");
        let atlases = match &self.atlas {
            Some(path) if !path.exists() && !self.build_atlas => {
                bail!("there is no atlas at {}; build it, or add --build-atlas", path.display())
            }
            Some(path) if path.exists() => vec![path.clone()],
            _ => vec![whole.clone(), small.clone()],
        };
        let lacking = !whole.exists();
        let building = Building { model: self.model.model.clone(), dtype: self.dtype(), whole, small };
        let setup = Setup {
            loaded,
            atlases,
            runs: pellucid::model::load::cache_dir().join("runs"),
            maps: pellucid::model::load::cache_dir().join("maps"),
            token: token.clone(),
            names: self.names(),
            limits: self.limits(),
            build: Some(building.build()),
            llm,
        };
        let app = App::new(setup);
        if self.build_atlas && lacking {
            app.build_atlases(&[SMALL, WHOLE]).map_err(anyhow::Error::msg)?;
        }
        app.warm_up();
        serve(&app, SocketAddr::new(self.bind, self.port), token.as_deref(), |serving| {
            // the one line that a script waits for
            let address = format!("http://{}/", serving.address);
            let _ = out.line(format!("{BOLD}{address}{BOLD:#}  {DIM}(ctrl-c stops it){DIM:#}"));
        })?;
        // a build tells how far it is every second, and is stopped then
        app.wait_for_jobs(Duration::from_secs(5));
        Ok(())
    }

    fn dtype(&self) -> &'static str {
        pellucid::model::Storage::from(self.model.storage.dtype).name()
    }

    fn token(&self) -> Result<Option<String>> {
        match &self.token_file {
            Some(file) => Ok(Some(crate::models::read(file)?.trim().to_owned())),
            None => Ok(self.token.clone()),
        }
    }

    /// An address that is bound by name is one that the server is called by.
    fn names(&self) -> Vec<String> {
        let mut names = self.allow_host.clone();
        if !self.bind.is_unspecified() {
            names.push(self.bind.to_string());
        }
        names
    }

    fn limits(&self) -> Limits {
        Limits {
            prompt_tokens: self.prompt_tokens,
            generated_tokens: self.answer_tokens,
            run: Duration::from_secs(self.run_seconds.max(1)),
            waiting: self.waiting,
            ..Limits::default()
        }
    }

    fn llm(&self) -> Result<Option<Arc<dyn Chat>>> {
        let (Some(base), Some(model)) = (&self.llm, &self.llm_model) else { return Ok(None) };
        let mut config = EndpointConfig::new(base, model);
        const KEY: &str = "OPENAI_API_KEY";
        config.key_variable = std::env::var_os(KEY).map(|_| KEY.to_owned());
        Ok(Some(Arc::new(Endpoint::new(config).context("--llm")?)))
    }
}

/// How atlases are built: by this program as a process of its own, which can be killed at any moment and goes on later.
struct Building {
    model: String,
    dtype: &'static str,
    whole: PathBuf,
    small: PathBuf,
}

impl Building {
    fn build(self) -> Build {
        Arc::new(move |tokens, tell, stop| {
            let atlas = if tokens < WHOLE { &self.small } else { &self.whole };
            let mut child = self.start(tokens, atlas).map_err(|e| format!("{e:#}"))?;
            let result = follow(&mut child, tell, stop);
            if result.is_err() || stop.load(Ordering::Relaxed) {
                // one that has ended by itself cannot be killed, and need not be
                let _ = child.kill();
            }
            let ended = child.wait().map_err(|e| e.to_string())?;
            match result {
                Ok(_) if ended.success() => Ok(()),
                Ok(said) => Err(if said.is_empty() { format!("the build ended with {ended}") } else { said }),
                Err(why) => Err(why),
            }
        })
    }

    fn start(&self, tokens: u64, atlas: &Path) -> Result<Child> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let make = |nice: bool| {
            let mut command = if nice { Command::new("nice") } else { Command::new(&program) };
            if nice {
                // whoever uses the page comes first
                command.args(["-n", "10"]).arg(&program);
            }
            command.args(["atlas", "build", "--json", "--model", &self.model, "--dtype", self.dtype]);
            command.args(["--tokens", &tokens.to_string(), "--checkpoint", "60", "--atlas"]).arg(atlas);
            command.env(LINES.0, LINES.1).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command
        };
        make(true).spawn().or_else(|_| make(false).spawn()).context("cannot start the build")
    }
}

/// Passes on how far the build is; gives its last word.
fn follow(
    child: &mut Child,
    tell: &mut dyn FnMut(&str, u64, u64),
    stop: &AtomicBool,
) -> Result<String, String> {
    let Some(stderr) = child.stderr.take() else { return Ok(String::new()) };
    let mut last = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.map_err(|e| format!("the build cannot be heard: {e}"))?;
        if stop.load(Ordering::Relaxed) {
            return Ok(last);
        }
        let mut parts = line.split('\t');
        if let (Some("progress"), Some(what), Some(done), Some(total)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            tell(what, done.parse().unwrap_or(0), total.parse().unwrap_or(0));
        } else if !line.trim().is_empty() {
            last = line;
        }
    }
    Ok(last)
}
