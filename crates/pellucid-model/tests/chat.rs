//! Answers of a model in this process: the same as by the definition, whatever was asked before.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use pellucid_core::{Answer, Ask, Chat, Message};
use pellucid_model::sample::Sampling;
use pellucid_model::tokens::ChatTemplate;
use pellucid_model::{Error, Generating, LocalChat, Model, Row, Storage};
use std::ops::ControlFlow;
use std::path::Path;

fn tiny(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&folder, Storage::F32, &mut |_| ()).expect("fixture")
}

fn ask(text: &str) -> Ask {
    Ask {
        messages: vec![Message { role: "user", content: text.to_owned() }],
        prefill: String::new(),
        max_tokens: 6,
        temperature: 0.0,
        seed: 3,
        top_log_probs: 4,
    }
}

/// Questions of which some begin alike, of 7 to 100 tokens in the tiny vocabularies.
fn questions() -> Vec<Ask> {
    let same = "the cat sat on the mat and ran home and sat on the mat ".repeat(3);
    let same = same.trim();
    ["", " with", " with the hat", " in May", ""]
        .into_iter()
        .map(|end| ask(&format!("{same}{end}")))
        .chain([ask("a dog and"), ask(&same[..20])])
        .collect()
}

#[test]
fn an_answer_has_the_same_bits_whatever_was_asked_before() {
    for name in ["llama", "gemma3", "qwen3", "phi3-longrope", "olmo2"] {
        let fresh = |ask: &Ask| LocalChat::new(tiny(name), name).answer(ask).unwrap();
        let warm = LocalChat::new(tiny(name), name);
        let mut lengths = Vec::new();
        for ask in questions().iter().chain(questions().iter().rev()) {
            let (got, expected) = (warm.answer(ask).unwrap(), fresh(ask));
            assert_eq!(got, expected, "{name}");
            lengths.push(got.prompt_tokens);
        }
        assert!(lengths.iter().any(|n| *n > 64), "{name}: {lengths:?}: no prompt has a whole block to keep");
    }
}

/// The answer by the definition: the whole text again for every token.
fn plainly(model: &Model, prompt: &str, ask: &Ask) -> (String, Vec<Vec<(u32, f32)>>) {
    let row = Row::new(model.tokenizer().encode_plain(prompt, true).unwrap().ids);
    let how = Generating {
        max_tokens: ask.max_tokens,
        sampling: Sampling { temperature: ask.temperature, seed: ask.seed, ..Sampling::GREEDY },
        stop: vec!["\n\n".to_owned()],
        stop_at_end: true,
        alternatives: ask.top_log_probs,
        cached: false,
    };
    let made = model.generate(&row, &how, &mut (), &mut |_| ControlFlow::Continue(())).unwrap();
    (made.text, made.steps.into_iter().map(|s| s.alternatives).collect())
}

#[test]
fn an_answer_is_what_generating_without_a_cache_gives() {
    for name in ["llama", "gemma2", "gpt2", "gpt-neox", "phi3-longrope"] {
        let (chat, model) = (LocalChat::new(tiny(name), name), tiny(name));
        for temperature in [0.0, 1.0] {
            let ask = Ask { temperature, ..ask("the cat sat on a mat") };
            let answer = chat.answer(&ask).unwrap();
            let (text, steps) = plainly(&model, "the cat sat on a mat\n", &ask);
            assert_eq!(answer.text, text, "{name}");
            assert_eq!(answer.top_log_probs.len(), steps.len(), "{name}");
            for (ours, theirs) in answer.top_log_probs.iter().zip(&steps) {
                assert_eq!(ours.len(), 4);
                for ((_, p), (_, q)) in ours.iter().zip(theirs) {
                    assert!((p - q).abs() < 1e-3, "{name}: {p} and {q}");
                }
            }
        }
    }
}

#[test]
fn a_chat_template_and_a_begun_answer_are_used() {
    let source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}\
                  {% if add_generation_prompt %}[assistant] {% endif %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let chat = LocalChat::new(tiny("llama").with_chat_template(template), "tiny");
    let plain = LocalChat::new(tiny("llama"), "tiny");
    let begun = Ask { prefill: "words about".to_owned(), ..ask("the cat") };
    let (with, without) = (chat.answer(&ask("the cat")).unwrap(), plain.answer(&ask("the cat")).unwrap());
    assert!(with.prompt_tokens > without.prompt_tokens, "the template is part of the prompt");
    let goes_on = chat.answer(&begun).unwrap();
    assert!(goes_on.prompt_tokens > with.prompt_tokens);
    assert!(!goes_on.text.starts_with("words about"), "the beginning is not answered again");
    assert!(chat.name().starts_with("tiny@"), "{}", chat.name());
}

#[test]
fn draws_follow_the_seed_and_alternatives_are_only_given_when_asked_for() {
    let chat = LocalChat::new(tiny("llama"), "tiny");
    let drawn = |seed| chat.answer(&Ask { seed, temperature: 1.5, max_tokens: 12, ..ask("the") }).unwrap();
    assert_eq!(drawn(1), drawn(1));
    let different: Vec<Answer> = (1..6).map(drawn).collect();
    assert!(different.iter().any(|a| a.text != different[0].text));
    let silent = chat.answer(&Ask { top_log_probs: 0, ..ask("the") }).unwrap();
    assert!(silent.top_log_probs.is_empty());
    assert!(silent.answer_tokens <= 6);
}

#[test]
fn a_question_that_does_not_fit_is_an_error_and_the_next_one_is_answered() {
    let chat = LocalChat::new(tiny("llama"), "tiny");
    let before = chat.answer(&ask("the cat")).unwrap();
    let error = chat.answer(&ask(&"the cat sat ".repeat(80))).unwrap_err();
    assert!(matches!(error.downcast_ref::<Error>(), Some(Error::TooLong { context: 128, .. })), "{error}");
    let bad = chat.answer(&Ask { temperature: f32::NAN, ..ask("the cat") }).unwrap_err();
    assert!(bad.to_string().contains("temperature"), "{bad}");
    assert_eq!(chat.answer(&ask("the cat")).unwrap(), before);
}
