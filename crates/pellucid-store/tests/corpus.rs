//! Corpora as a user meets them: files in, windows out, and what is said when something is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pellucid_core::{Seed, Split};
use pellucid_store::Document;
use pellucid_store::corpus::{
    Content, Corpus, CorpusError, Cut, InvalidUtf8, Options, Recipe, Slice, Source, Text, TokenCache,
    Tokenize, Tokens,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One token a byte; a turn is 1000, its role's length, 1001, what is said, 1002.
#[derive(Default)]
struct Bytes {
    calls: AtomicUsize,
}

impl Tokenize for Bytes {
    fn plain(&self, text: &str) -> Result<Vec<u32>, String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if text.contains("untokenisable") {
            return Err("no such word".into());
        }
        Ok(text.bytes().map(u32::from).collect())
    }

    fn chat(&self, messages: &[(String, String)]) -> Result<(Vec<u32>, Vec<bool>), String> {
        let (mut ids, mut counted) = (vec![], vec![]);
        for (role, said) in messages {
            ids.extend([1000, role.len() as u32, 1001]);
            counted.extend([false; 3]);
            ids.extend(said.bytes().map(u32::from));
            counted.extend(said.bytes().map(|_| true));
            ids.push(1002);
            counted.push(false);
        }
        Ok((ids, counted))
    }

    fn hash(&self) -> [u8; 32] {
        [7; 32]
    }
}

fn recipe(length: usize, overlap: usize) -> Recipe {
    Recipe { cut: Cut { length, overlap, prefix: vec![1] }, seed: Seed(3), tokens: None, slice: Slice::ALL }
}

fn plain<S: AsRef<str>>(name: &str, texts: &[S]) -> Source {
    let contents: Vec<_> = texts.iter().map(|t| Content::Plain(t.as_ref().to_owned())).collect();
    Source::texts_of(name, contents, &Options::default())
}

fn assemble(sources: Vec<Source>, recipe: &Recipe) -> Result<Corpus, CorpusError> {
    Corpus::assemble(sources, recipe, &Bytes::default(), None, &mut |_| ())
}

fn stream(bytes: &[u8], options: &Options) -> Source {
    Source::reader("-", Box::new(Cursor::new(bytes.to_vec())), options)
}

fn said(text: &Text) -> &str {
    match &text.content {
        Content::Plain(plain) => plain,
        Content::Chat(turns) => panic!("expected a plain text, found {turns:?}"),
    }
}

fn contents(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(said).collect()
}

/// Writes a file and reads it.
fn file(name: &str, bytes: &[u8], options: &Options) -> Result<Vec<Text>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    let source = Source::open(path.to_str().unwrap(), options);
    source.and_then(|source| source.texts().collect()).map_err(|error| error.to_string())
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn turn(role: &str, said: &str) -> (String, String) {
    (role.to_owned(), said.to_owned())
}

#[test]
fn a_text_file_is_one_document() {
    let o = Options::default();
    assert_eq!(contents(&file("a.txt", b"one\n\ntwo\n", &o).unwrap()), ["one\n\ntwo\n"]);
    assert_eq!(contents(&file("a.txt.gz", &gz(b"zipped"), &o).unwrap()), ["zipped"]);
    assert_eq!(contents(&file("a.txt", b"\xef\xbb\xbfmarked", &o).unwrap()), ["marked"]);
    assert_eq!(contents(&file("notes.rst", b"text all the same", &o).unwrap()), ["text all the same"]);
    assert!(file("a.txt", b"", &o).unwrap().is_empty());
}

#[test]
fn lines_hold_texts_or_conversations() {
    let lines = br#"{"text": "one", "source": "wiki"}

"bare"
{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"text": "yo"}]}]}
{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
"#;
    let texts = file("a.jsonl", lines, &Options::default()).unwrap();
    assert_eq!(texts.len(), 4);
    assert_eq!(texts[0].from, "wiki");
    assert!(texts[1].from.ends_with("a.jsonl") && texts[1].place.ends_with("a.jsonl, line 3"));
    assert_eq!(texts[2].content, Content::Chat(vec![turn("user", "hi"), turn("assistant", "yo")]));
    assert_eq!(texts[3].content, Content::Chat(vec![turn("user", "a"), turn("assistant", "b")]));
    let body = Options { field: "body".into(), ..Options::default() };
    assert_eq!(contents(&file("a.ndjson.gz", &gz(b"{\"body\":\"x\"}"), &body).unwrap()), ["x"]);
}

#[test]
fn tables_hold_a_document_a_row() {
    let o = Options::default();
    let texts = file("a.csv", b"id,text,source\n1,\"a, \"\"b\"\"\nc\",here\n2,plain,\n", &o).unwrap();
    assert_eq!(contents(&texts), ["a, \"b\"\nc", "plain"]);
    assert_eq!(texts[0].from, "here");
    assert!(texts[1].place.ends_with("line 4"), "{}", texts[1].place);
    let said = Options { field: "said".into(), ..o };
    assert_eq!(contents(&file("a.tsv", b"who\tsaid\nme\thi, you\n", &said).unwrap()), ["hi, you"]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let mut cases = vec![
        ("a.jsonl", &b"{\"text\":\"a\"}\nnot json\n"[..], &["one JSON value", "not json", "line 2"][..]),
        ("a.jsonl", b"{\"body\":\"a\"}", &["`text`", "the fields `body`", "line 1"]),
        ("a.jsonl", b"{\"text\":7}", &["text in the field `text`", "a number"]),
        ("a.jsonl", b"[1]", &["an object", "a list"]),
        ("a.jsonl", b"{\"messages\":[{\"content\":\"a\"}]}", &["a `role` in message 1", "none"]),
        ("a.jsonl", b"\"ok\"\n\"b\xffad\"", &["UTF-8", "offset 7", "line 2"]),
        ("a.txt", b"abc\xff", &["UTF-8", "offset 3"]),
        ("a.csv", b"id,body\n1,a\n", &["a column `text`", "id, body"]),
        ("a.csv", b"id,text\n1\n", &["at least 2 columns, found 1", "line 2"]),
        ("a.bin", b"a\0b", &["binary"]),
    ];
    if cfg!(feature = "parquet") {
        cases.push(("a.parquet", b"PAR1 nonsense PAR1", &["a parquet file"]));
    }
    for (name, bytes, parts) in cases {
        let error = file(name, bytes, &Options::default()).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{name}: {error} lacks one of {parts:?}");
    }
    assert!(Source::open("/nonexistent/x.txt", &Options::default()).is_err());
}

#[test]
fn bad_records_can_be_skipped_and_bytes_replaced() {
    let o = Options { skip_bad: true, invalid: InvalidUtf8::Replace, ..Options::default() };
    let mut texts = stream(b"{\"text\":\"a\"}\nnope\n{\"text\":1}\n\"b\xff\"\n\"\"\n", &o).texts();
    let read: Vec<_> = texts.by_ref().map(Result::unwrap).collect();
    assert_eq!(contents(&read), ["a", "b\u{fffd}"]);
    let counts = texts.counts();
    assert_eq!((counts.bad, counts.replaced, counts.empty), (2, 1, 1));
}

#[test]
fn standard_input_is_lines_if_it_begins_with_a_brace() {
    let read = |bytes: &[u8]| -> Vec<Text> {
        stream(bytes, &Options::default()).texts().map(Result::unwrap).collect()
    };
    assert_eq!(contents(&read(b" \n {\"text\":\"a\"}\n{\"text\":\"b\"}")), ["a", "b"]);
    assert_eq!(contents(&read(b" a\nb")), [" a\nb"]);
}

#[test]
fn a_directory_is_read_in_order_and_binary_files_counted() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put("b/c.txt", b"second-last");
    put("b.txt", b"third");
    put("a.jsonl", b"\"first\"\n\"second\"\n");
    put("image.png", b"\x89PNG\0\0");
    put(".hidden/x.txt", b"no");
    put("z.md", b"last");
    #[cfg(unix)]
    std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
    let mut texts = Source::open(dir.path().to_str().unwrap(), &Options::default()).unwrap().texts();
    let read: Vec<_> = texts.by_ref().map(Result::unwrap).collect();
    // Folder by folder: `b` comes before `b.txt`.
    assert_eq!(contents(&read), ["first", "second", "second-last", "third", "last"]);
    assert_eq!(texts.counts().binary, 1);
    assert!(read.iter().all(|text| text.from == dir.path().to_str().unwrap()));
}

#[test]
fn long_documents_are_cut_between_characters_and_counted() {
    let text = "ab\u{20ac}\u{20ac}";
    for (longest, expected) in [(4, "ab"), (5, "ab\u{20ac}"), (8, text)] {
        let o = Options { longest, ..Options::default() };
        for input in [text.to_owned(), format!("{{\"text\":\"{text}\"}}")] {
            let mut texts = stream(input.as_bytes(), &o).texts();
            let read: Vec<_> = texts.by_ref().map(Result::unwrap).collect();
            assert_eq!(contents(&read), [expected]);
            assert_eq!(texts.counts().cut, u64::from(longest < 8), "{input}");
        }
    }
    let o = Options { longest: 5, ..Options::default() };
    let chat = Content::Chat(vec![turn("user", "abc"), turn("user", "def"), turn("user", "ghi")]);
    let texts: Vec<_> = Source::texts_of("chat", [chat], &o).texts().map(Result::unwrap).collect();
    assert_eq!(texts[0].content, Content::Chat(vec![turn("user", "abc"), turn("user", "de")]));
}

#[test]
fn copies_are_counted_and_left_out() {
    let sources = vec![plain("a", &["x1", "x2", "x1"]), plain("b", &["x2", "x3"])];
    let corpus = assemble(sources, &recipe(8, 2)).unwrap();
    let report = corpus.report();
    assert_eq!((report.seen, report.duplicates), (3, 2));
    assert_eq!((report.taken.documents, report.taken.tokens), (3, 6));
    assert_eq!((report.sources["a"].documents, report.sources["b"].documents), (2, 1));
    // A conversation is not the text of the same words.
    assert_ne!(Content::Chat(vec![turn("user", "x1")]).document(), Content::Plain("x1".into()).document());
}

#[test]
fn an_empty_corpus_is_an_error_and_one_token_is_not() {
    for sources in [vec![], vec![plain("a", &[] as &[&str])], vec![plain("a", &[""])]] {
        let error = assemble(sources, &recipe(8, 2)).unwrap_err();
        assert!(error.to_string().contains("the corpus is empty"), "{error}");
    }
    let corpus = assemble(vec![plain("a", &["x"])], &recipe(8, 2)).unwrap();
    let windows: Vec<_> = corpus.windows().collect();
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0].tokens, [1, 120]);
    assert_eq!(windows[0].counted, [false, true]);
    assert!(assemble(vec![plain("a", &["x"])], &recipe(3, 2)).unwrap_err().to_string().contains("2 tokens"));
    let error = assemble(vec![plain("a", &["fine", "untokenisable"])], &recipe(8, 2)).unwrap_err();
    assert!(error.to_string().contains("no such word: a, document 2"), "{error}");
}

#[test]
fn conversations_are_covered_to_their_last_turn() {
    let said: Vec<String> = (0..40).map(|i| format!("turn {i}!")).collect();
    let turns = said.iter().enumerate().map(|(i, s)| turn(["user", "assistant"][i % 2], s));
    let source = Source::texts_of("chat", [Content::Chat(turns.collect())], &Options::default());
    let corpus = assemble(vec![source], &recipe(16, 4)).unwrap();
    let mut seen = String::new();
    for window in corpus.windows() {
        assert_eq!(window.tokens[0], 1);
        let counted = window.tokens.iter().zip(&window.counted).filter(|(_, c)| **c);
        seen.extend(counted.map(|(&t, _)| char::from_u32(t).unwrap()));
    }
    assert_eq!(seen, said.concat());
}

#[test]
fn a_conversation_with_its_own_prefix_does_not_get_it_twice() {
    let cut = Cut { length: 4, overlap: 1, prefix: vec![1] };
    let counted = Some(vec![false, true, true, true, false]);
    let tokens = Tokens { ids: vec![1, 5, 6, 7, 8], counted };
    let windows: Vec<_> = cut.windows(Document([0; 16]), &tokens).map(|w| w.tokens).collect();
    // The second window would count only the template's last token.
    assert_eq!(windows, [vec![1, 5, 6, 7]]);
    assert_eq!(cut.count(&tokens), 1);
    // In a plain text the same number is a token of the text.
    let text = Tokens { ids: vec![1, 5], counted: None };
    assert_eq!(cut.windows(Document([0; 16]), &text).next().unwrap().tokens, [1, 1, 5]);
}

#[test]
fn a_limit_takes_a_spread_out_part_that_grows() {
    let texts: Vec<String> = (0..2000).map(|i| format!("document {i:04}")).collect();
    let limited = |tokens| {
        let sources = vec![plain("a", &texts[..1000]), plain("b", &texts[1000..])];
        assemble(sources, &Recipe { tokens, ..recipe(64, 8) }).unwrap()
    };
    let (small, large, all) = (limited(Some(1_305)), limited(Some(13_000)), limited(None));
    assert_eq!((small.report().taken.tokens, small.report().taken.documents), (1_305, 101));
    let names = |corpus: &Corpus| corpus.documents().iter().map(|(d, _)| *d).collect::<Vec<_>>();
    assert_eq!(names(&small), names(&large)[..101]);
    assert_eq!(names(&large), names(&all)[..1000]);
    let from_a = large.report().sources["a"].documents;
    assert!((430..570).contains(&from_a), "{from_a} of 1000 documents from the first half");
    for (found, expected) in all.report().splits.iter().zip([1000.0, 500.0, 500.0]) {
        assert!((found.documents as f64 - expected).abs() < 100.0, "{found:?}");
    }
    assert!(all.windows().all(|window| window.split == Split::of(&window.document.0)));
    assert_eq!(all.windows().count() as u64, all.report().windows);
    assert_ne!(small.id(), large.id());
}

#[test]
fn the_name_of_a_corpus_depends_on_what_decides_it() {
    let texts = ["aa", "bb", "cc"];
    let id = |texts: &[&str], recipe: &Recipe| assemble(vec![plain("s", texts)], recipe).unwrap().id();
    let base = recipe(8, 2);
    let mut ids = BTreeSet::from([id(&texts, &base)]);
    assert!(!ids.insert(id(&["cc", "aa", "bb", "aa"], &base)), "order and copies change nothing");
    let slice = Recipe { slice: Slice::new(2, 3).unwrap(), ..base.clone() };
    assert!(!ids.insert(id(&texts, &slice)), "slices of a corpus share its name");
    for other in [
        recipe(9, 2),
        recipe(8, 3),
        Recipe { seed: Seed(4), ..base.clone() },
        Recipe { tokens: Some(4), ..base.clone() },
        Recipe { cut: Cut { prefix: vec![2], ..base.cut.clone() }, ..base.clone() },
    ] {
        assert!(ids.insert(id(&texts, &other)), "{other:?}");
    }
    assert!(ids.insert(id(&["aa", "bb"], &base)));
}

#[test]
fn slices_are_spelled_and_checked() {
    assert_eq!("2/4".parse::<Slice>().unwrap().to_string(), "2/4");
    for wrong in ["0/4", "5/4", "1", "a/b", "1/0", "", "-1/2"] {
        assert!(wrong.parse::<Slice>().unwrap_err().to_string().contains("such as 1/4"), "{wrong}");
    }
}

#[test]
fn the_cache_spares_the_tokenizer_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sources = || vec![plain("a", &["one", "two", "three"])];
    let tokenizer = Bytes::default();
    let with = |cache: &mut TokenCache| {
        Corpus::assemble(sources(), &recipe(8, 2), &tokenizer, Some(cache), &mut |_| ()).unwrap()
    };
    let first = with(&mut TokenCache::open(dir.path(), tokenizer.hash()).unwrap());
    assert_eq!(tokenizer.calls.load(Ordering::Relaxed), 3);
    let second = with(&mut TokenCache::open(dir.path(), tokenizer.hash()).unwrap());
    assert_eq!(tokenizer.calls.load(Ordering::Relaxed), 3);
    assert_eq!(first, second);
    assert_eq!(first, assemble(sources(), &recipe(8, 2)).unwrap());
}

#[test]
fn another_tokenizers_cache_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(TokenCache::open(dir.path(), [1; 32]).unwrap());
    let name = |hash: u8| dir.path().join(format!("{}.tokens", format!("{hash:02x}").repeat(32)));
    fs::rename(name(1), name(2)).unwrap();
    let refused = || TokenCache::open(dir.path(), [2; 32]).unwrap_err().to_string();
    assert!(refused().contains("that of 0101"));
    fs::write(name(2), "something else altogether, and longer than the head of a cache").unwrap();
    assert!(refused().contains("another kind"));
}

fn tokens() -> impl Strategy<Value = Tokens> {
    (prop::collection::vec(2u32..50_000, 0..120), any::<bool>(), any::<u64>()).prop_map(
        |(ids, chat, bits)| {
            let counted = chat.then(|| (0..ids.len()).map(|i| bits >> (i % 64) & 1 == 1).collect());
            Tokens { ids, counted }
        },
    )
}

/// A cache with these documents, named 0, 1, …; where each record ends in its file.
fn filled(dir: &Path, all: &[Tokens]) -> Vec<u64> {
    let mut cache = TokenCache::open(dir, [5; 32]).unwrap();
    let size = || fs::metadata(cache_file(dir)).unwrap().len();
    let mut ends = vec![size()];
    for (i, tokens) in all.iter().enumerate() {
        cache.put(&Document([i as u8; 16]), tokens).unwrap();
        ends.push(size());
    }
    ends
}

fn cache_file(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("{}.tokens", "05".repeat(32)))
}

proptest! {
    #[test]
    fn every_token_is_counted_exactly_once(
        tokens in tokens(),
        overlap in 0usize..20,
        prefix in prop::collection::vec(0u32..2, 0..4),
        own in 1usize..30,
    ) {
        let cut = Cut { length: prefix.len() + overlap + own, overlap, prefix: prefix.clone() };
        let windows: Vec<_> = cut.windows(Document([9; 16]), &tokens).collect();
        prop_assert_eq!(windows.len(), cut.count(&tokens));
        let counted = |i: usize| tokens.counted.as_ref().is_none_or(|c| c[i]);
        let all = 0..tokens.ids.len();
        let expected: Vec<u32> = all.filter(|&i| counted(i)).map(|i| tokens.ids[i]).collect();
        let mut found = vec![];
        for window in &windows {
            prop_assert!(window.tokens.len() <= cut.length);
            prop_assert_eq!(window.tokens.len(), window.counted.len());
            prop_assert!(window.tokens.starts_with(&prefix));
            let counted = window.tokens.iter().zip(&window.counted).filter(|(_, c)| **c);
            found.extend(counted.map(|(token, _)| *token));
            // Each later window continues the document, from `overlap` tokens before its own.
            let (first, k) = (cut.length - prefix.len(), window.index as usize);
            let (from, end) = if k == 0 { (0, first) } else { (first + (k - 1) * own - overlap, first + k * own) };
            prop_assert_eq!(&window.tokens[prefix.len()..], &tokens.ids[from..end.min(tokens.ids.len())]);
            let uncounted = prefix.len() + if k == 0 { 0 } else { overlap };
            prop_assert!(window.counted[..uncounted].iter().all(|c| !c));
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn slices_are_disjoint_and_together_all(
        texts in prop::collection::btree_set("[a-z]{1,12}", 1..60),
        of in 1u64..7,
        limit in prop::option::of(1u64..200),
    ) {
        let texts: Vec<_> = texts.into_iter().collect();
        let base = Recipe { tokens: limit, ..recipe(6, 1) };
        let whole = assemble(vec![plain("s", &texts)], &base).unwrap();
        let mut parts = BTreeMap::new();
        for part in 1..=of {
            let slice = Recipe { slice: Slice::new(part, of).unwrap(), ..base.clone() };
            let corpus = assemble(vec![plain("s", &texts)], &slice).unwrap();
            prop_assert_eq!(corpus.id(), whole.id());
            for (document, tokens) in corpus.documents() {
                prop_assert!(parts.insert(*document, tokens.clone()).is_none());
            }
        }
        let all: BTreeMap<_, _> = whole.documents().iter().cloned().collect();
        prop_assert_eq!(parts, all);
        let total: usize = texts.iter().map(String::len).sum();
        let expected = limit.unwrap_or(u64::MAX).min(total as u64);
        prop_assert_eq!(whole.report().taken.tokens, expected);
    }

    #[test]
    fn the_order_of_files_changes_nothing(
        texts in prop::collection::vec("[a-c]{1,4}", 1..40),
        limit in prop::option::of(1u64..60),
        at in 0usize..40,
    ) {
        let base = Recipe { tokens: limit, ..recipe(6, 1) };
        let (left, right) = texts.split_at(at.min(texts.len()));
        let one = assemble(vec![plain("x", left), plain("y", right)], &base).unwrap();
        let other = assemble(vec![plain("y", right), plain("x", left)], &base).unwrap();
        prop_assert_eq!(one.documents(), other.documents());
        prop_assert_eq!(one.id(), other.id());
    }

    #[test]
    fn any_bytes_are_documents_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        name in prop::sample::select(vec!["a.txt", "a.jsonl", "a.csv", "a.parquet", "a.txt.gz", "a"]),
    ) {
        let _ = file(name, &bytes, &Options::default());
        let lenient = Options { skip_bad: true, invalid: InvalidUtf8::Replace, ..Options::default() };
        let _ = file(name, &bytes, &lenient);
    }

    /// Whatever byte a killed process stopped at, what was written whole is there and the rest is not.
    #[test]
    fn a_torn_cache_keeps_its_whole_records(
        all in prop::collection::vec(tokens(), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let name = |i: usize| Document([i as u8; 16]);
        let ends = filled(dir.path(), &all);
        let size = cut.index(*ends.last().unwrap() as usize + 1) as u64;
        fs::File::options().write(true).open(cache_file(dir.path())).unwrap().set_len(size).unwrap();
        let mut cache = TokenCache::open(dir.path(), [5; 32]).unwrap();
        for (i, tokens) in all.iter().enumerate() {
            let whole = ends[i + 1] <= size;
            prop_assert_eq!(cache.get(&name(i)).unwrap(), whole.then(|| tokens.clone()));
            if !whole {
                cache.put(&name(i), tokens).unwrap();
            }
        }
        drop(cache);
        let mut cache = TokenCache::open(dir.path(), [5; 32]).unwrap();
        for (i, tokens) in all.iter().enumerate() {
            prop_assert_eq!(cache.get(&name(i)).unwrap(), Some(tokens.clone()));
        }
    }

    /// A wrong byte anywhere behind the head is noticed, and nothing wrong is ever given.
    #[test]
    fn a_damaged_cache_never_gives_wrong_tokens(
        all in prop::collection::vec(tokens(), 1..6),
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), &all);
        let mut bytes = fs::read(cache_file(dir.path())).unwrap();
        let at = 48 + at.index(bytes.len() - 48);
        bytes[at] ^= flip;
        fs::write(cache_file(dir.path()), bytes).unwrap();
        let mut cache = TokenCache::open(dir.path(), [5; 32]).unwrap();
        prop_assert!(cache.len() < all.len());
        for (i, tokens) in all.iter().enumerate() {
            if let Some(found) = cache.get(&Document([i as u8; 16])).unwrap() {
                prop_assert_eq!(&found, tokens);
            }
        }
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use super::*;
    use ::parquet::basic::Compression;
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    /// A file with an unread column and a text column.
    fn write(texts: &[&str], compression: Compression) -> Vec<u8> {
        let schema = "message m { required binary id (UTF8); required binary text (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut bytes = vec![];
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            let values: Vec<_> = texts.iter().map(|text| ByteArray::from(*text)).collect();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn rows_are_documents() {
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
            let bytes = write(&["one", "two \u{5d0}"], compression);
            let texts = file("a.parquet", &bytes, &Options::default()).unwrap();
            assert_eq!(contents(&texts), ["one", "two \u{5d0}"]);
            let body = Options { field: "body".into(), ..Options::default() };
            let error = file("a.parquet", &bytes, &body).unwrap_err();
            assert!(error.contains("a column `body`") && error.contains("id, text"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn damaged_files_are_errors(at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<bool>()) {
            let mut bytes = write(&["one", "two", "three"], Compression::SNAPPY);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            let _ = file("a.parquet", &bytes, &Options::default());
        }
    }
}
