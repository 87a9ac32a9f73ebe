//! Small programs in several languages, from templates with changing names, numbers and parts.

use super::dice::{Dice, fill};
use super::words;

/// What changes from piece to piece.
struct Names {
    verb: &'static str,
    thing: &'static str,
    title: String,
    quality: &'static str,
    other: &'static str,
    n: i64,
}

impl Names {
    fn new(dice: &mut Dice) -> Self {
        let thing = dice.pick(&words::THINGS);
        Names {
            verb: dice.pick(&words::VERBS),
            thing,
            title: capital(thing),
            quality: dice.pick(&words::QUALITIES),
            other: dice.pick(&["total", "result", "index", "limit", "buffer", "left", "offset", "name"]),
            n: dice.number(3),
        }
    }

    /// Puts the names in the places of a template: `{verb}`, `{thing}`, `{Thing}`, `{Verb}`, `{quality}`, `{other}`,
    /// `{n}`.
    fn put(&self, template: &str) -> String {
        template
            .replace("{verb}", self.verb)
            .replace("{Verb}", &capital(self.verb))
            .replace("{thing}", self.thing)
            .replace("{Thing}", &self.title)
            .replace("{quality}", self.quality)
            .replace("{other}", self.other)
            .replace("{n}", &self.n.to_string())
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
    first.to_uppercase() + rest
}

/// A language: what a file begins with, and pieces to follow.
struct Language {
    head: &'static str,
    pieces: &'static [&'static str],
}

const LANGUAGES: [Language; 12] =
    [PYTHON, RUST, C, JAVASCRIPT, JAVA, GO, SQL, SHELL, HTML, CSS, HASKELL, CONFIG];

const PYTHON: Language = Language {
    head: "import os\nimport sys\nfrom collections import defaultdict\n\n",
    pieces: &[
        "def {verb}_{thing}({other}, {quality}=None):\n    \"\"\"{Verb} the {quality} {thing}.\"\"\"\n    if not {other}:\n        raise ValueError(f\"no {thing}: {{other}!r}\")\n    return [x * {n} for x in {other} if x is not None]\n\n\n",
        "class {Thing}:\n    def __init__(self, {other}: int = {n}) -> None:\n        self.{other} = {other}\n        self._{quality} = False\n\n    def {verb}(self):\n        self._{quality} = True\n        return self.{other} + 1\n\n\n",
        "{thing}s = {\"{quality}\": {n}, \"{other}\": []}\nfor key, value in {thing}s.items():\n    print(key, value)\n\n",
        "try:\n    with open(\"{thing}.txt\") as f:\n        lines = f.readlines()\nexcept FileNotFoundError as e:\n    print(\"could not {verb}\", e, file=sys.stderr)\n    sys.exit(1)\n\n",
        "@pytest.mark.parametrize(\"{other}\", [0, 1, {n}])\ndef test_{verb}_{thing}({other}):\n    assert {verb}_{thing}({other}) == {other} + {n}\n\n\n",
        "if __name__ == \"__main__\":\n    {verb}_{thing}(sys.argv[1:])\n",
    ],
};

const RUST: Language = Language {
    head: "use std::collections::HashMap;\nuse std::io;\n\n",
    pieces: &[
        "/// {Verb}s the {quality} {thing}.\npub fn {verb}_{thing}({other}: &str) -> Result<usize, io::Error> {\n    let count = {other}.lines().filter(|line| !line.is_empty()).count();\n    Ok(count + {n})\n}\n\n",
        "#[derive(Debug, Clone, PartialEq)]\npub struct {Thing} {\n    {other}: Vec<u32>,\n    {quality}: bool,\n}\n\nimpl {Thing} {\n    pub fn new() -> Self {\n        Self { {other}: Vec::with_capacity({n}), {quality}: false }\n    }\n}\n\n",
        "match {other} {\n    Some(x) if x > {n} => println!(\"{quality} {thing}: {}\", x),\n    Some(_) => {}\n    None => return Err(\"no {thing}\".into()),\n}\n\n",
        "#[test]\nfn {quality}_{thing}s_{verb}() {\n    let mut {other} = HashMap::new();\n    {other}.insert(\"{thing}\", {n});\n    assert_eq!({other}[\"{thing}\"], {n});\n}\n\n",
        "impl<'a> Iterator for {Thing}s<'a> {\n    type Item = &'a {Thing};\n\n    fn next(&mut self) -> Option<Self::Item> {\n        self.{other}.next()\n    }\n}\n\n",
    ],
};

const C: Language = Language {
    head: "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n",
    pieces: &[
        "#define MAX_{thing} {n}\n\nstatic int {verb}_{thing}(const char *{other}, size_t len)\n{\n\tif ({other} == NULL)\n\t\treturn -1;\n\tfor (size_t i = 0; i < len; i++) {\n\t\tif ({other}[i] == '\\0')\n\t\t\tbreak;\n\t}\n\treturn 0;\n}\n\n",
        "struct {thing} {\n\tint {other};\n\tchar name[{n}];\n\tstruct {thing} *next;\n};\n\n",
        "struct {thing} *p = malloc(sizeof(*p));\nif (!p) {\n\tfprintf(stderr, \"out of memory: %d\\n\", {n});\n\texit(1);\n}\nmemset(p, 0, sizeof(*p));\nfree(p);\n\n",
        "/* {Verb} every {quality} {thing}. */\nint main(int argc, char **argv)\n{\n\tint {other} = argc > 1 ? atoi(argv[1]) : {n};\n\twhile ({other}-- > 0)\n\t\tprintf(\"%d\\n\", {other});\n\treturn 0;\n}\n\n",
    ],
};

const JAVASCRIPT: Language = Language {
    head: "'use strict';\n\nconst fs = require('fs');\n\n",
    pieces: &[
        "async function {verb}{Thing}({other}, { {quality} = true } = {}) {\n  const response = await fetch(`/api/{thing}s/${{other}}`);\n  if (!response.ok) {\n    throw new Error('{thing} not found');\n  }\n  return response.json();\n}\n\n",
        "const {thing}s = [1, 2, {n}].map((x) => x * 2).filter(Boolean);\nconsole.log({thing}s.length);\n\n",
        "export default class {Thing} extends Component {\n  state = { {other}: {n} };\n\n  render() {\n    return <div className=\"{quality}\">{this.state.{other}}</div>;\n  }\n}\n\n",
        "document.querySelector('#{thing}').addEventListener('click', (event) => {\n  event.preventDefault();\n  {verb}({n});\n});\n\n",
        "interface {Thing} {\n  id: number;\n  {other}?: string;\n  readonly {quality}: boolean;\n}\n\n",
    ],
};

const JAVA: Language = Language {
    head: "package com.example.app;\n\nimport java.util.ArrayList;\nimport java.util.List;\n\n",
    pieces: &[
        "public class {Thing} implements Comparable<{Thing}> {\n    private final int {other};\n\n    public {Thing}(int {other}) {\n        this.{other} = {other};\n    }\n\n    @Override\n    public int compareTo({Thing} o) {\n        return Integer.compare({other}, o.{other});\n    }\n}\n\n",
        "    public List<String> {verb}{Thing}s(List<String> {other}) {\n        List<String> out = new ArrayList<>();\n        for (String s : {other}) {\n            if (s.length() > {n}) {\n                out.add(s.trim());\n            }\n        }\n        return out;\n    }\n\n",
        "    @Test\n    void {verb}s{Thing}() {\n        assertEquals({n}, new {Thing}({n}).get());\n    }\n\n",
        "try {\n    {thing}.{verb}();\n} catch (IOException e) {\n    logger.error(\"{quality} {thing} failed\", e);\n} finally {\n    {thing}.close();\n}\n\n",
    ],
};

const GO: Language = Language {
    head: "package main\n\nimport (\n\t\"errors\"\n\t\"fmt\"\n)\n\n",
    pieces: &[
        "// {Verb}{Thing} returns an error if the {thing} is not {quality}.\nfunc {Verb}{Thing}({other} []int) (int, error) {\n\tif len({other}) == 0 {\n\t\treturn 0, errors.New(\"empty {thing}\")\n\t}\n\tsum := {n}\n\tfor _, v := range {other} {\n\t\tsum += v\n\t}\n\treturn sum, nil\n}\n\n",
        "type {Thing} struct {\n\tID   int    `json:\"id\"`\n\tName string `json:\"{other}\"`\n}\n\n",
        "go func() {\n\tdefer close(ch)\n\tfor i := 0; i < {n}; i++ {\n\t\tch <- i\n\t}\n}()\n\n",
        "if err := {verb}({other}); err != nil {\n\treturn fmt.Errorf(\"{verb} {thing}: %w\", err)\n}\n\n",
    ],
};

const SQL: Language = Language {
    head: "",
    pieces: &[
        "SELECT t.id, t.{other}, COUNT(*) AS {thing}_count\nFROM {thing}s t\nLEFT JOIN users u ON u.id = t.user_id\nWHERE t.{quality} = TRUE AND t.created_at > '2020-01-01'\nGROUP BY t.id\nORDER BY {thing}_count DESC\nLIMIT {n};\n\n",
        "CREATE TABLE {thing}s (\n    id INTEGER PRIMARY KEY,\n    {other} VARCHAR({n}) NOT NULL,\n    {quality} BOOLEAN DEFAULT FALSE\n);\n\n",
        "INSERT INTO {thing}s (id, {other}) VALUES ({n}, '{quality}');\n",
        "UPDATE {thing}s SET {quality} = NULL WHERE id IN (1, 2, {n});\n",
    ],
};

const SHELL: Language = Language {
    head: "#!/usr/bin/env bash\nset -euo pipefail\n\n",
    pieces: &[
        "for f in *.{thing}; do\n  echo \"{verb} $f\"\n  mv \"$f\" \"${f%.{thing}}.{n}\"\ndone\n\n",
        "if [ ! -d \"$HOME/{thing}s\" ]; then\n  mkdir -p \"$HOME/{thing}s\"\nfi\n\n",
        "{verb}_{thing}() {\n  local {other}=\"$1\"\n  grep -c '{quality}' \"${other}\" | awk '{print $1 + {n}}'\n}\n\n",
        "$ git commit -m \"{Verb} the {quality} {thing}\"\n[main {n}abc] {Verb} the {quality} {thing}\n 2 files changed, {n} insertions(+)\n",
        "curl -sS https://example.org/{thing}.tar.gz | tar xz --strip-components=1\n",
    ],
};

const HTML: Language = Language {
    head: "<!DOCTYPE html>\n<html lang=\"en\">\n",
    pieces: &[
        "<div class=\"{quality} {thing}\" id=\"{other}-{n}\">\n  <h2>{Verb} the {thing}</h2>\n  <p>A {quality} {thing}.</p>\n</div>\n",
        "<form action=\"/{verb}\" method=\"post\">\n  <label for=\"{other}\">{Thing}</label>\n  <input type=\"text\" name=\"{other}\" maxlength=\"{n}\" required>\n  <button type=\"submit\">{Verb}</button>\n</form>\n",
        "<ul>\n  <li><a href=\"#{thing}\">{Thing}</a></li>\n  <li>{quality} &amp; {other}</li>\n</ul>\n",
        "<!-- {verb} {thing} -->\n<table><tr><th>{other}</th><td>{n}</td></tr></table>\n",
    ],
};

const CSS: Language = Language {
    head: "/* generated */\n",
    pieces: &[
        ".{thing}-{quality} {\n  display: flex;\n  margin: 0 auto;\n  padding: {n}px;\n  color: #333;\n}\n\n",
        "@media (max-width: {n}px) {\n  #{thing} { display: none; }\n}\n\n",
        "{thing}:hover > .{other}::before {\n  content: \"{quality}\";\n  transition: opacity 0.3s ease-in-out;\n}\n\n",
    ],
};

const HASKELL: Language = Language {
    head: "module Main where\n\nimport qualified Data.Map as Map\nimport Data.Maybe (fromMaybe)\n\n",
    pieces: &[
        "{verb}{Thing} :: [Int] -> Maybe Int\n{verb}{Thing} [] = Nothing\n{verb}{Thing} (x:xs)\n  | x > {n} = Just x\n  | otherwise = {verb}{Thing} xs\n\n",
        "data {Thing} = {Thing}\n  { {other} :: Int\n  , {quality} :: Bool\n  } deriving (Show, Eq)\n\n",
        "main :: IO ()\nmain = do\n  let {other} = foldr (+) {n} [1..10]\n  putStrLn $ \"{thing}: \" ++ show {other}\n\n",
    ],
};

const CONFIG: Language = Language {
    head: "",
    pieces: &[
        "[{thing}]\n{other} = {n}\n{quality} = true\npath = \"/var/lib/{thing}s\"\n\n",
        "{thing}:\n  - name: {quality}-{other}\n    image: \"{thing}:{n}\"\n    ports:\n      - \"8080:80\"\n",
        "server {\n    listen {n};\n    server_name {thing}.example.org;\n    location /{verb} {\n        proxy_pass http://{other};\n    }\n}\n\n",
        "FROM debian:{n}\nRUN apt-get update && apt-get install -y {thing}\nCOPY {other} /srv/{quality}\nCMD [\"{verb}\"]\n\n",
    ],
};

pub(super) fn program(dice: &mut Dice, size: usize) -> String {
    let Some(language) = LANGUAGES.get(dice.below(LANGUAGES.len())) else { return String::new() };
    let body = fill(dice, size, |dice, _| Names::new(dice).put(dice.pick(language.pieces)));
    if dice.once_in(3) { body } else { format!("{}{body}", language.head) }
}
