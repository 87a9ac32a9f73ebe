//! Bounds on what a chat template may cost.
//!
//! A template is a program from a stranger. `minijinja` bounds its steps and its recursion, but one step may double a
//! string, so forty steps fill the memory. Two things close that: every value that is given a name passes a weighing
//! ([`weigh`]; the template's text is rewritten so that it does), and what can grow inside a single expression is
//! bounded or refused ([`bounded_filters`], the `*` operator). Growth that is left is linear in the template's length.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::TokenError;

/// Longest template. The longest published ones are about 30 kB.
pub(super) const MAX_SOURCE: usize = 128 << 10;
/// Bytes a value may unfold to.
const MAX_WEIGHT: usize = 16 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 32;
/// Bytes that all `{{ … }}` of one rendering may write, and that the result may have.
pub(super) const MAX_OUTPUT: usize = 32 << 20;

/// The name of the weighing function inside templates.
pub(super) const WEIGH: &str = "pellucid_weigh";

pub(super) fn too_big() -> Error {
    Error::new(ErrorKind::InvalidOperation, "a value or the output is too large")
}

/// Fails if a value, written out, would exceed the bounds.
pub(super) fn weigh(value: &Value) -> Result<usize, Error> {
    fn walk(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
        let own = value.as_str().map_or(8, |s| s.len() + 8);
        *left = left.checked_sub(own).filter(|_| depth <= MAX_DEPTH).ok_or_else(too_big)?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                for item in value.try_iter()? {
                    walk(&item, depth + 1, left)?;
                }
            }
            ValueKind::Map => {
                for key in value.try_iter()? {
                    walk(&key, depth + 1, left)?;
                    walk(&value.get_item(&key)?, depth + 1, left)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
    let mut left = MAX_WEIGHT;
    walk(value, 0, &mut left)?;
    Ok(MAX_WEIGHT - left)
}

/// Steps a template may take: fewer if it holds long stretches of text, since each step may write one.
pub(super) fn fuel(source: &str) -> u64 {
    let longest = source.split("{%").flat_map(|s| s.split("%}")).map(str::len).max().unwrap_or(0);
    ((256 << 20) / longest.max(1) as u64).clamp(50_000, 2_000_000)
}

/// Replaces or removes the filters and functions that can make much out of little.
pub(super) fn bounded_filters(env: &mut Environment<'_>) {
    for name in ["batch", "slice", "format", "indent", "wordwrap", "center", "pprint", "safe", "urlencode"] {
        env.remove_filter(name);
    }
    env.remove_global("debug");
    env.remove_global("lipsum");
    env.add_function(WEIGH, |value: Value| weigh(&value).map(|_| value));
    env.add_filter("replace", |s: String, from: String, to: String| replace(&s, &from, &to));
    env.add_filter("join", |items: Value, by: Option<String>| {
        join(&items, by.as_deref().unwrap_or_default())
    });
    env.add_filter("indent", indent);
}

/// `indent(s, width=4, first=false, blank=false)`, as Jinja2 has it.
fn indent(s: String, rest: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let positional = |i: usize| rest.get(i).cloned();
    let named = |key: &str| kwargs.get::<Option<Value>>(key).ok().flatten();
    let width = positional(0).or_else(|| named("width")).and_then(|v| v.as_usize()).unwrap_or(4);
    let first = positional(1).or_else(|| named("first")).is_some_and(|v| v.is_true());
    let blank = positional(2).or_else(|| named("blank")).is_some_and(|v| v.is_true());
    let lines = s.split('\n').count();
    if width.saturating_mul(lines).saturating_add(s.len()) > MAX_WEIGHT {
        return Err(too_big());
    }
    let pad = " ".repeat(width);
    let shifted = s.split('\n').enumerate().map(|(i, line)| {
        let skip = (i == 0 && !first) || (i > 0 && line.is_empty() && !blank);
        if skip { line.to_owned() } else { format!("{pad}{line}") }
    });
    Ok(shifted.collect::<Vec<_>>().join("\n"))
}

pub(super) fn replace(s: &str, from: &str, to: &str) -> Result<String, Error> {
    let grown = s.matches(from).count().saturating_mul(to.len()).saturating_add(s.len());
    if grown > MAX_WEIGHT { Err(too_big()) } else { Ok(s.replace(from, to)) }
}

pub(super) fn join(items: &Value, by: &str) -> Result<String, Error> {
    weigh(items)?;
    let mut out = String::new();
    for (i, item) in items.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(by);
        }
        match item.as_str() {
            Some(s) => out.push_str(s),
            None => out.push_str(&item.to_string()),
        }
        if out.len() > MAX_WEIGHT {
            return Err(too_big());
        }
    }
    Ok(out)
}

/// Rewrites a template: every `set`, loop variable, macro argument and `with` is weighed; `{% generation %}` (a marker
/// for training, without meaning here) becomes `{% if true %}`. White space is untouched.
///
/// Errors: too long, `*`, or a namespace used as a value (it could then contain itself, and printing it never end).
pub(super) fn rewrite(source: &str) -> Result<String, TokenError> {
    if source.len() > MAX_SOURCE {
        return Err(TokenError::Template(format!("{} bytes long, more than {MAX_SOURCE}", source.len())));
    }
    if source.contains(WEIGH) {
        return Err(TokenError::Template(format!("uses the reserved name {WEIGH}")));
    }
    let parts = scan(source);
    let spaces: Vec<&str> = parts.iter().filter_map(|p| namespace_name(p)).collect();
    let mut out = String::with_capacity(source.len() * 2);
    let mut block_sets: Vec<&str> = Vec::new();
    for part in &parts {
        let Part::Code { whole, tag, open, body, close } = part else {
            if let Part::Text(text) = part {
                out.push_str(text);
            }
            continue;
        };
        check_code(body, &spaces)?;
        if !tag {
            out.push_str(whole);
            continue;
        }
        let (word, rest) = keyword(body);
        let weighed = |names: Vec<&str>| {
            if names.is_empty() {
                String::new()
            } else {
                format!("{{% do {WEIGH}([{}]) {close}%}}", names.join(", "))
            }
        };
        match word {
            "generation" => out.push_str(&format!("{{%{open} if true {close}%}}")),
            "endgeneration" => out.push_str(&format!("{{%{open} endif {close}%}}")),
            "set" => match top_level(rest, '=') {
                Some(at) => {
                    let (target, value) =
                        (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
                    out.push_str(&format!("{{%{open} set {target}= {WEIGH}(({value})) {close}%}}"));
                }
                None => {
                    block_sets.push(rest.split('|').next().unwrap_or_default().trim());
                    out.push_str(whole);
                }
            },
            "endset" => {
                out.push_str(whole);
                out.push_str(&weighed(block_sets.pop().into_iter().collect()));
            }
            "macro" | "call" => {
                out.push_str(whole);
                out.push_str(&weighed(parameters(word, rest)));
            }
            "for" => {
                out.push_str(whole);
                let targets = rest.split(" in ").next().unwrap_or_default();
                out.push_str(&weighed(names(targets.trim().trim_matches(['(', ')']))));
            }
            "with" => {
                out.push_str(whole);
                out.push_str(&weighed(names(rest)));
            }
            _ => out.push_str(whole),
        }
    }
    Ok(out)
}

/// A stretch of a template.
#[derive(Debug, PartialEq)]
enum Part<'s> {
    /// Text, comments and raw blocks.
    Text(&'s str),
    /// `{{ … }}` (`tag` false) or `{% … %}`; `open` and `close` are the `-` or `+` inside the delimiters.
    Code { whole: &'s str, tag: bool, open: &'s str, body: &'s str, close: &'s str },
}

fn scan(source: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        let tail = rest.get(at..).unwrap_or_default();
        let end = if tail.starts_with("{#") {
            tail.find("#}").map(|e| e + 2)
        } else if tail.starts_with("{%") {
            code_end(tail, "%}")
        } else if tail.starts_with("{{") {
            code_end(tail, "}}")
        } else {
            Some(1)
        };
        let end = end.unwrap_or(tail.len());
        let (before, whole) = (rest.get(..at).unwrap_or_default(), tail.get(..end).unwrap_or_default());
        rest = tail.get(end..).unwrap_or_default();
        parts.push(Part::Text(before));
        if end <= 3 || whole.starts_with("{#") {
            parts.push(Part::Text(whole));
            continue;
        }
        let inner = whole.get(2..end.saturating_sub(2)).unwrap_or_default();
        let open = inner.get(..1).filter(|c| ["-", "+"].contains(c)).unwrap_or_default();
        let inner = inner.get(open.len()..).unwrap_or_default();
        let close =
            inner.get(inner.len().wrapping_sub(1)..).filter(|c| ["-", "+"].contains(c)).unwrap_or_default();
        let body = inner.get(..inner.len() - close.len()).unwrap_or_default();
        let tag = whole.starts_with("{%");
        if tag && keyword(body).0 == "raw" {
            // Nothing inside a raw block is code.
            let stop = rest.find("endraw").and_then(|e| Some(e + rest.get(e..)?.find("%}")? + 2));
            let (raw, after) = rest.split_at_checked(stop.unwrap_or(rest.len())).unwrap_or((rest, ""));
            parts.push(Part::Text(whole));
            parts.push(Part::Text(raw));
            rest = after;
            continue;
        }
        parts.push(Part::Code { whole, tag, open, body, close });
    }
    parts.push(Part::Text(rest));
    parts
}

/// Calls `f` for every byte of code that is not in a string, with the depth of brackets; stops when it returns true.
fn outside_strings(code: &str, mut f: impl FnMut(usize, u8, usize) -> bool) -> Option<usize> {
    let (mut quote, mut escaped, mut depth) = (None, false, 0_usize);
    for (i, b) in code.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if b == b'\\' => escaped = true,
            Some(q) if b == q => quote = None,
            Some(_) => {}
            None => {
                if matches!(b, b'"' | b'\'') {
                    quote = Some(b);
                    continue;
                }
                if f(i, b, depth) {
                    return Some(i);
                }
                match b {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }
    None
}

/// Where `{{ …` or `{% …` ends, after its closing delimiter.
fn code_end(code: &str, close: &str) -> Option<usize> {
    let inner = code.get(2..)?;
    let braces = close == "}}";
    let found = outside_strings(inner, |i, _, depth| {
        inner.get(i..).is_some_and(|s| s.starts_with(close)) && (!braces || depth == 0)
    });
    found.map(|i| i + 4)
}

/// The first top-level occurrence of `wanted`; an `=` that is part of a comparison does not count.
fn top_level(code: &str, wanted: char) -> Option<usize> {
    let bytes = code.as_bytes();
    outside_strings(code, |i, b, depth| {
        let part_of_comparison = b == b'='
            && (bytes.get(i + 1) == Some(&b'=')
                || i.checked_sub(1).and_then(|p| bytes.get(p)).is_some_and(|p| b"=!<>".contains(p)));
        depth == 0 && char::from(b) == wanted && !part_of_comparison
    })
}

fn keyword(body: &str) -> (&str, &str) {
    let body = body.trim();
    let end = body.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(body.len());
    body.split_at_checked(end).unwrap_or((body, ""))
}

/// The names in `a, b=1, c`: what stands before an `=` or by itself.
fn names(list: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = list;
    loop {
        let end = top_level(rest, ',').unwrap_or(rest.len());
        let item = rest.get(..end).unwrap_or_default();
        let name = item.split('=').next().unwrap_or_default().trim();
        if !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            found.push(name);
        }
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return found,
        }
    }
}

/// The parameters of `macro name(a, b=1)` or `call(a) f()`.
fn parameters<'s>(word: &str, rest: &'s str) -> Vec<&'s str> {
    let rest = rest.trim_start();
    let Some(open) = rest.find('(').filter(|&at| word == "macro" || at == 0) else { return Vec::new() };
    let inner = rest.get(open + 1..).unwrap_or_default();
    let close = outside_strings(inner, |_, b, depth| b == b')' && depth == 0).unwrap_or(inner.len());
    names(inner.get(..close).unwrap_or_default())
}

/// `x` in `{% set x = namespace(…) %}`.
fn namespace_name<'s>(part: &Part<'s>) -> Option<&'s str> {
    let Part::Code { tag: true, body, .. } = part else { return None };
    let (word, rest) = keyword(body);
    let at = (word == "set").then(|| top_level(rest, '=')).flatten()?;
    rest.get(at + 1..)?.trim_start().starts_with("namespace").then(|| rest.get(..at))?.map(str::trim)
}

/// Refuses what the weighing cannot bound.
fn check_code(body: &str, spaces: &[&str]) -> Result<(), TokenError> {
    if outside_strings(body, |_, b, _| b == b'*').is_some() {
        return Err(TokenError::Template("the operators * and ** are not supported".into()));
    }
    let word_byte =
        |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii());
    let bytes = body.as_bytes();
    let (word, rest) = keyword(body);
    let creates = word == "set"
        && top_level(rest, '=').is_some_and(|at| {
            let value = rest.get(at + 1..).unwrap_or_default().trim();
            value.strip_prefix("namespace").is_some_and(|v| v.trim_start().starts_with('('))
        });
    let mut creations = 0;
    let bad = outside_strings(body, |i, _, _| {
        let before = i.checked_sub(1).and_then(|p| bytes.get(p));
        if word_byte(before) || before == Some(&b'.') {
            return false;
        }
        let starts = |name: &str| {
            body.get(i..).is_some_and(|s| s.starts_with(name)) && !word_byte(bytes.get(i + name.len()))
        };
        if starts("namespace") {
            creations += 1;
            return !creates || creations > 1;
        }
        let Some(name) = spaces.iter().find(|name| !name.is_empty() && starts(name)) else { return false };
        let next = body.get(i + name.len()..).unwrap_or_default().trim_start();
        let target = creates && creations == 0;
        let field = next.starts_with('.');
        let argument = next.starts_with('=') && !next.starts_with("==");
        !(field || target || argument)
    });
    match bad {
        Some(at) => {
            let near: String = body.get(at..).unwrap_or_default().chars().take(30).collect();
            Err(TokenError::Template(format!(
                "a namespace may only be used through its fields, near {near:?}"
            )))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_gets_a_name_is_weighed() {
        let out =
            rewrite("a{%- set x = y == 'q=%}' -%}\n{% for k, v in d.items() %}{{ k }}{% endfor %}").unwrap();
        assert_eq!(
            out,
            "a{%- set  x = pellucid_weigh(( y == 'q=%}')) -%}\n\
             {% for k, v in d.items() %}{% do pellucid_weigh([k, v]) %}{{ k }}{% endfor %}"
        );
        let out =
            rewrite("{% macro f(a, b=[1, 2]) -%} x{% endmacro %}{% set q %}{{ '{%' }}{% endset %}").unwrap();
        assert!(out.contains("{% macro f(a, b=[1, 2]) -%}{% do pellucid_weigh([a, b]) -%} x"), "{out}");
        assert!(out.ends_with("{{ '{%' }}{% endset %}{% do pellucid_weigh([q]) %}"), "{out}");
        assert_eq!(rewrite("{%- generation -%}a{% endgeneration %}").unwrap(), "{%- if true -%}a{% endif %}");
        assert_eq!(
            rewrite("{% raw %}{% set x = 1 %}{% endraw %}").unwrap(),
            "{% raw %}{% set x = 1 %}{% endraw %}"
        );
    }

    #[test]
    fn unbounded_growth_is_refused() {
        assert!(rewrite("{{ 'a' * 10 }}").is_err());
        assert!(rewrite("{{ 'a * 10' }}").is_ok());
        assert!(rewrite("{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}").is_ok());
        assert!(rewrite("{% set ns = namespace(a=1) %}{% set ns.a = ns %}").is_err());
        assert!(rewrite("{% set ns = namespace(a=1) %}{% set ns.a = [ns] %}").is_err());
        assert!(rewrite("{{ [namespace()] }}").is_err());
        assert!(rewrite(&" ".repeat(MAX_SOURCE + 1)).is_err());
    }
}
