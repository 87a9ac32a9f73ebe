//! Chat templates, as Hugging Face's `apply_chat_template` runs them (Jinja with `trim_blocks` and `lstrip_blocks`,
//! `raise_exception`, `strftime_now`, Python's `tojson` and string methods), and conversations as tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use super::date::Date;
use super::error::contained;
use super::roles::{Rendered, RoleSpan, Slots, align, own_system, search, trimmed};
use super::{Encoding, TokenError, Tokenizer, guard};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or another word that the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A conversation as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatEncoding {
    /// The ids, in order.
    pub ids: Vec<u32>,
    /// One token for every id; spans are ranges in `rendered.text`.
    pub tokens: Vec<super::Token>,
    /// For every token the role whose content it belongs to; none for the template's own text.
    pub roles: Vec<Option<String>>,
    /// The text, and where the contents lie.
    pub rendered: Rendered,
}

/// A compiled chat template: immutable, `Send` and `Sync`.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    env: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
    date: Option<Date>,
}

const NAME: &str = "chat";
/// Compiling goes down as deep as an expression is long.
const COMPILE_STACK: usize = 256 << 20;
const RECURSION: usize = 64;

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are what `bos_token` and `eos_token` stand for in it; empty if there are
    /// none.
    ///
    /// Errors: [`TokenError::Template`] for a template that is malformed, too long, or uses what cannot be bounded.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TokenError> {
        let rewritten = guard::rewrite(source)?;
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|e| TokenError::Template(e.to_string()))?;
        env.set_syntax(syntax);
        env.set_recursion_limit(RECURSION);
        env.set_fuel(Some(guard::fuel(&rewritten)));
        guard::bounded_filters(&mut env);
        env.set_unknown_method_callback(method);
        env.add_filter("tojson", to_json);
        // Python's answers: none cannot be iterated; strings and maps have a length and items.
        let sequence = |v: &Value| matches!(v.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map);
        env.add_test("sequence", move |v: Value| sequence(&v) || v.is_undefined());
        env.add_test("iterable", move |v: Value| {
            sequence(&v) || v.is_undefined() || v.kind() == ValueKind::Iterable
        });
        env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("the template refuses: {message}")))
        });
        let env = compile(env, rewritten)?;
        Ok(Self { env, source: source.to_owned(), bos: bos.to_owned(), eos: eos.to_owned(), date: None })
    }

    /// Fixes what the template takes for today. Without this, it is the system clock's date (UTC).
    #[must_use]
    pub fn with_date(mut self, date: Date) -> Self {
        self.date = Some(date);
        self
    }

    /// Whether the template may write today's date, so that its prompt changes from day to day.
    pub fn uses_date(&self) -> bool {
        self.source.contains("strftime_now")
    }

    /// The template as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes a conversation as the prompt that the model was trained on, and finds the contents in it.
    /// `add_generation_prompt` opens the assistant's next turn.
    ///
    /// Errors: [`TokenError::Template`] if the template refuses the messages, fails, or exceeds its bounds.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Rendered, TokenError> {
        let text = self.run(messages, add_generation_prompt)?;
        let mut forbidden = vec![self.source.as_str(), &self.bos, &self.eos];
        forbidden.extend(messages.iter().flat_map(|m| [m.role.as_str(), &m.content]));
        let slots = Slots::new(&forbidden);
        let slotted = self.run(&slots.fill(messages), add_generation_prompt);
        let cut = slotted.as_ref().ok().map(|s| slots.cut(s));
        let aligned = cut.as_ref().and_then(|(gaps, tail)| align(&text, gaps, tail, messages));
        let exact = aligned.is_some();
        let found = aligned.unwrap_or_else(|| search(&text, messages));
        let mut roles: Vec<RoleSpan> = found
            .into_iter()
            .filter_map(|(i, range)| {
                let role = messages.get(i)?.role.clone();
                Some(RoleSpan { role, bytes: trimmed(&text, range)?, message: Some(i) })
            })
            .collect();
        let unlocated = (0..messages.len())
            .filter(|i| messages.get(*i).is_some_and(|m| !m.content.trim().is_empty()))
            .filter(|i| !roles.iter().any(|r| r.message == Some(*i)))
            .collect();
        if exact && let Some((gaps, tail)) = &cut {
            let opening = gaps.first().map_or(*tail, |(literal, _)| literal);
            let own = self.own_system(&slots, messages, opening, add_generation_prompt);
            let own = own.and_then(|range| trimmed(&text, range));
            roles.splice(0..0, own.map(|bytes| RoleSpan { role: "system".into(), bytes, message: None }));
        }
        Ok(Rendered { text, roles, unlocated, exact })
    }

    /// Where in the opening the template's own system prompt lies, found by giving it another one.
    fn own_system(
        &self,
        slots: &Slots,
        messages: &[Message],
        opening: &str,
        add_generation_prompt: bool,
    ) -> Option<std::ops::Range<usize>> {
        if messages.iter().any(|m| m.role == "system") {
            return None;
        }
        let system = Message { role: "system".into(), content: String::new() };
        let with: Vec<Message> = std::iter::once(system).chain(messages.iter().cloned()).collect();
        let text = self.run(&slots.fill(&with), add_generation_prompt).ok()?;
        let (gaps, tail) = slots.cut(&text);
        let (before, first) = gaps.first()?;
        let after = gaps.get(1).map_or(tail, |(literal, _)| literal);
        (*first == 0).then(|| own_system(opening, before, after)).flatten()
    }

    /// Runs the template.
    fn run(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TokenError> {
        let mut env = self.env.clone();
        let written = Arc::new(AtomicUsize::new(0));
        env.set_formatter(move |out, _, value| {
            let weight = guard::weigh(value)?;
            if written.fetch_add(weight, Ordering::Relaxed) + weight > guard::MAX_OUTPUT {
                return Err(guard::too_big());
            }
            // Python's spelling of what is not text.
            let spelled = match value.kind() {
                ValueKind::None => out.write_str("None"),
                ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }),
                _ => match value.as_str() {
                    Some(s) => out.write_str(s),
                    None => write!(out, "{value}"),
                },
            };
            spelled.map_err(Error::from)
        });
        let date = self.date.unwrap_or_else(Date::now);
        let turns: Vec<Value> = messages
            .iter()
            .map(|m| context! { role => m.role.as_str(), content => m.content.as_str() })
            .collect();
        let context = context! {
            messages => turns,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
            strftime_now => Value::from_function(move |pattern: String| date.format(&pattern)),
        };
        contained(
            || {
                let template = env.get_template(NAME).map_err(explain)?;
                let mut out = Capped(Vec::new());
                template.render_captured_to(context, &mut out).map_err(explain)?;
                String::from_utf8(out.0).map_err(|e| TokenError::Template(e.to_string()))
            },
            TokenError::Template,
        )
    }
}

/// A writer that fails when it has been given too much.
struct Capped(Vec<u8>);

impl std::io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > guard::MAX_OUTPUT {
            return Err(std::io::Error::other("the output is too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Compiles on a thread with a deep stack: a long chain of operators is a deep tree.
fn compile(mut env: Environment<'static>, source: String) -> Result<Environment<'static>, TokenError> {
    let build = move || env.add_template_owned(NAME, source).map(|()| env).map_err(explain);
    let thread = std::thread::Builder::new().stack_size(COMPILE_STACK).spawn(build);
    let thread = thread.map_err(|e| TokenError::Template(format!("no thread to compile it on: {e}")))?;
    thread.join().unwrap_or_else(|_| Err(TokenError::Template("the compiler panicked".into())))
}

/// An error with its line and its causes, without the template's name.
fn explain(error: Error) -> TokenError {
    let mut message = match error.kind() {
        ErrorKind::OutOfFuel => "takes too many steps".to_owned(),
        _ => error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
    };
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    if let Some(line) = error.line() {
        message.push_str(&format!(" (line {line})"));
    }
    TokenError::Template(message)
}

/// Python's methods on strings, maps and lists; those that can make much out of little are bounded.
fn method(
    state: &mut minijinja::State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let text = |i: usize| args.get(i).and_then(Value::as_str);
    match (value.as_str(), name) {
        (Some(_), "format") => {
            Err(Error::new(ErrorKind::UnknownMethod, "str.format is not supported in chat templates"))
        }
        (Some(s), "replace") if args.len() == 2 => {
            guard::replace(s, text(0).unwrap_or_default(), text(1).unwrap_or_default()).map(Value::from)
        }
        (Some(by), "join") => {
            let items = args.first().ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
            guard::join(items, by).map(Value::from)
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: Value, kwargs: Kwargs) -> Result<String, Error> {
    guard::weigh(&value)?;
    let indent: Option<usize> = kwargs.get("indent")?;
    let mut out = String::new();
    write_json(&value, indent.map(|n| n.min(16)), 0, &mut out)?;
    Ok(out)
}

fn write_json(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(width) = indent {
            out.push('\n');
            out.push_str(&" ".repeat(width * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    let quoted = |s: &str| serde_json::to_string(s).unwrap_or_default();
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::String => out.push_str(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            let mut n = 0;
            for item in value.try_iter()? {
                out.push_str(if n > 0 { comma } else { "" });
                line(out, depth + 1);
                write_json(&item, indent, depth + 1, out)?;
                n += 1;
            }
            if n > 0 {
                line(out, depth);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            let mut n = 0;
            for key in value.try_iter()? {
                out.push_str(if n > 0 { comma } else { "" });
                line(out, depth + 1);
                out.push_str(&quoted(&key.to_string()));
                out.push_str(": ");
                write_json(&value.get_item(&key)?, indent, depth + 1, out)?;
                n += 1;
            }
            if n > 0 {
                line(out, depth);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

impl Tokenizer {
    /// Writes a conversation with the model's template and tokenises it.
    ///
    /// Control tokens are recognised in the template's own text only: a message that holds `<|im_end|>` cannot end its
    /// turn. Messages without such text give the ids that `apply_chat_template` gives. The beginning-of-sequence token
    /// is added if the model expects one and the template did not write it.
    ///
    /// Errors: [`TokenError::NoTemplate`], [`TokenError::Template`], and [`TokenError::UnsafeMessage`] for a message with
    /// the text of a control token that the template rewrites, and for a role that is not a plain word.
    pub fn encode_chat(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<ChatEncoding, TokenError> {
        let template = self.usable_template()?;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
        if let Some(i) = messages.iter().position(|m| m.role.is_empty() || !m.role.chars().all(plain)) {
            let reason = "the role must be a plain word such as \"user\"".into();
            return Err(TokenError::UnsafeMessage { message: i, reason });
        }
        let rendered = template.render(messages, add_generation_prompt)?;
        if !rendered.exact {
            for (i, message) in messages.iter().enumerate() {
                if self.holds_control(&message.content)? {
                    let reason = "it holds the text of a control token, and the template rewrites it".into();
                    return Err(TokenError::UnsafeMessage { message: i, reason });
                }
            }
        }
        let contents = rendered.roles.iter().filter(|r| r.message.is_some());
        let protected: Vec<_> = contents.map(|r| r.bytes.clone()).collect();
        let raw = self.raw_guarded(&rendered.text, &protected)?;
        let has_before =
            raw.len() >= self.before.len() && raw.iter().zip(&self.before).all(|(r, id)| r.id == *id);
        let before: &[u32] = if has_before { &[] } else { &self.before };
        let Encoding { ids, tokens } = self.finish(&rendered.text, raw, before, &[])?;
        let role_of = |span: &std::ops::Range<usize>| {
            let held = rendered.roles.iter().find(|r| r.bytes.start < span.end && span.start < r.bytes.end);
            held.map(|r| r.role.clone())
        };
        let roles = tokens.iter().map(|t| role_of(&t.span)).collect();
        Ok(ChatEncoding { ids, tokens, roles, rendered })
    }
}
