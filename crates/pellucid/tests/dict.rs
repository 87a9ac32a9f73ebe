//! Dictionaries of a tiny model, end to end: train, kill and go on, judge, refuse what does not belong together.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{Place, command, fails, json, ok, train};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Kills a training into `folder` as soon as it has saved a state, and says the same command again.
fn kill_and_go_on(command_line: &[&str], folder: &str) {
    let mut child = command(command_line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (state, begun) = (Path::new(folder).join("training.safetensors"), Instant::now());
    while !state.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no state was saved");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ok(command_line);
}

fn same_files(whole: &str, cut: &str) {
    for file in ["training.safetensors", "sae_weights.safetensors", "cfg.json"] {
        let read = |folder: &str| std::fs::read(Path::new(folder).join(file)).unwrap();
        assert!(read(whole) == read(cut), "{file} differs in {cut}");
    }
}

/// The arguments that name the model and the text of [`train`].
fn text(place: &Place) -> [&str; 8] {
    ["--model", &place.model, "--corpus", &place.corpus, "--tokens", "30000", "--window", "16"]
}

#[test]
fn a_killed_training_goes_on_to_the_same_dictionary() {
    let place = Place::new(300);
    let [whole, cut] = ["whole", "cut"].map(|name| place.path(name));
    let card = json(&train(&place, &whole, &[]));
    let judged = &card["judged"];
    assert!(judged["l0"].as_f64().unwrap() <= 4.0 && judged["l0"].as_f64().unwrap() > 3.0, "{judged}");
    let explained = judged["explained_variance"].as_f64().unwrap();
    assert!(explained > 0.5 && explained < 1.0, "{judged}");
    let loss = |key: &str| judged[key].as_f64().unwrap();
    assert!(
        (loss("loss_spliced") - loss("loss")).abs() < (loss("loss_zero") - loss("loss")).abs() + 1e-9,
        "{judged}"
    );
    assert!(0.0 < loss("kl_spliced") && loss("kl_spliced") < loss("kl_zero"), "{judged}");
    let cosine = |key: &str| judged["decoder_cosine"][key].as_f64().unwrap();
    assert!(
        0.0 < cosine("median") && cosine("median") <= cosine("upper") && cosine("upper") <= 1.0,
        "{judged}"
    );

    kill_and_go_on(&train(&place, &cut, &[]), &cut);
    same_files(&whole, &cut);

    // the same command again only judges; other settings are not mixed in
    ok(&train(&place, &whole, &[]));
    fails(&train(&place, &whole, &["--seed", "5"]), "holds another training");

    let of = text(&place);
    let again = json(&[&["dict", "eval", &whole, "--site", "resid_post.0"], &of[..]].concat());
    let close = |key: &str| (again[key].as_f64().unwrap() - judged[key].as_f64().unwrap()).abs() < 1e-6;
    assert!(close("explained_variance") && close("loss_spliced") && close("l0"), "{again} {judged}");
    let elsewhere = ["dict", "eval", &whole, "--site", "mlp_act.0"];
    fails(&[&elsewhere, &of[..]].concat(), "says that it reads resid_post.0");
    fails(&[&elsewhere, &of[..], &["--elsewhere"]].concat(), "another site or model");
    let none = place.path("none");
    fails(
        &[&["dict", "eval", &none, "--site", "resid_post.0"], &of[..]].concat(),
        "cannot open the dictionary",
    );
    other_formats(&place, &whole, &of, &again);
}

/// The same dictionary in another library's files is judged the same; one that says it belongs elsewhere is not judged here.
fn other_formats(place: &Place, whole: &str, of: &[&str], judged: &serde_json::Value) {
    let pickled = place.path("pickled");
    let dictionary = pellucid::dict::read_saelens(Path::new(whole)).unwrap();
    pellucid::dict::write_dictionary_learning(&dictionary, Path::new(&pickled)).unwrap();
    let eval = |more: &[&'static str]| {
        let mut all = vec!["dict", "eval", pickled.as_str(), "--site", "resid_post.0"];
        all.extend(of);
        all.extend(more);
        all
    };
    assert_eq!(&json(&eval(&[])), judged);
    let (config, weights) = (Path::new(&pickled).join("config.json"), Path::new(&pickled).join("ae.pt"));
    let text = std::fs::read_to_string(&config).unwrap();
    let named = |site: &str| {
        text.replace("{\"trainer\":{", &format!("{{\"trainer\":{{\"submodule_name\":\"{site}\","))
    };
    std::fs::write(&config, named("resid_post_layer_1")).unwrap();
    fails(&eval(&[]), "says that it reads resid_post.1");
    assert_eq!(&json(&eval(&["--elsewhere"])), judged);
    std::fs::write(&config, named("resid_post_layer_0")).unwrap();
    assert_eq!(&json(&eval(&[])), judged);
    // `torch` in front of a storage's name, and something else in its place
    let mut bytes = std::fs::read(&weights).unwrap();
    let at = bytes.windows(19).position(|part| part == b"ctorch\nFloatStorage").unwrap();
    bytes[at + 1..at + 6].copy_from_slice(b"posix");
    std::fs::write(&weights, bytes).unwrap();
    fails(&eval(&[]), "`posix.FloatStorage` in a pickle is not supported");
    let transcoder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dictionaries/circuit-tracer-relu");
    let transcoder = transcoder.to_string_lossy();
    fails(&[&["dict", "eval", &transcoder, "--site", "resid_post.0"], of].concat(), "is a transcoder from");
}

/// A trained dictionary's latents, wherever a neuron would stand on the command line.
#[test]
fn latents_are_units_on_the_command_line() {
    let place = Place::new(120);
    let (folder, atlas) = (place.path("d"), place.path("latents.atlas"));
    ok(&train(&place, &folder, &[]));
    let named = format!("d={folder}");
    let of = ["--model", place.model.as_str(), "--dictionary", named.as_str()];
    let text = "the cat sat on a mat";

    // the files say where it stands; effects add up
    let found =
        json(&[&["attribute", text, "--by", "latent", "--top", "5", "--verify", "3"], &of[..]].concat());
    assert_eq!(found["row"]["site"], "resid_post.0");
    assert!(found["row"]["incompleteness"].as_f64().unwrap() < 1e-4, "{}", found["row"]);
    let best = found["effects"][0]["unit"].as_str().unwrap().to_owned();
    assert!(best.starts_with("sae:d/"), "{best}");
    let tried = &found["verify"]["top"]["units"][0];
    assert_eq!(tried["unit"], best.as_str());
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert!((number(&tried["predicted"]) + number(&found["effects"][0]["effect"])).abs() < 1e-9, "{tried}");
    assert!(number(&tried["zero"]) != 0.0, "{tried}");

    // watching sees what an edit sets; without its error the site is the reconstruction
    let set = format!("{best}=2.5");
    let seen = json(&[&["run", text, "--watch", &best, "--edit", &set, "--generate", "2"], &of[..]].concat());
    assert!(seen.to_string().contains(&best), "{seen}");
    ok(&[&["run", text, "--edit", "sae:d/error=0", "--generate", "2"], &of[..]].concat());

    // an atlas of its own, which knows whose units it holds
    let build = [
        "atlas",
        "build",
        "--latents",
        "d",
        "--corpus",
        &place.corpus,
        "--tokens",
        "8000",
        "--window",
        "32",
        "--no-embed",
        "--atlas",
        &atlas,
    ];
    let built = json(&[&build[..], &of[..]].concat());
    assert_eq!(built["built"]["units"], 64);
    assert_eq!(built["described"]["units"], 64, "a latent has one side");
    let here = [&of[..], &["--atlas", &atlas]].concat();
    let shown = json(&[&["atlas", "show", &best], &here[..]].concat());
    assert_eq!(shown.as_array().unwrap().len(), 1);
    let units = json(&[&["find", "cat", "--words", "--top", "3"], &here[..]].concat());
    assert!(
        units.as_array().unwrap().iter().all(|u| u["unit"].as_str().unwrap().starts_with("sae:d/")),
        "{units}"
    );
    let index = best.rsplit_once('/').unwrap().1;
    let steered = json(
        &[&["dict", "steer", "--latent", index, "--tokens", "3", "--controls", "1"], &here[..]].concat(),
    );
    let trial = &steered["trials"][0];
    assert_eq!(
        (trial["unit"].as_str().unwrap(), trial["random"].as_array().unwrap().len()),
        (best.as_str(), 1)
    );

    // what does not fit says what would
    fails(&["run", text, "--edit", "sae:d/3=0", "--model", &place.model], "--dictionary d=PATH");
    fails(&[&["run", text, "--edit", "sae:d/64=0"], &of[..]].concat(), "there are 64 latents");
    fails(&[&["run", text, "--edit", "sae:d/3=0@0"], &of[..]].concat(), "first token");
    fails(&[&["run", text, "--watch", "sae:d/99"], &of[..]].concat(), "does not exist");
    fails(&["attribute", text, "--by", "latent", "--model", &place.model], "no dictionary is loaded");
    fails(&["run", text, "--dictionary", &folder, "--model", &place.model], "expected NAME=PATH");
    let elsewhere = format!("{named}@mlp_act.0");
    fails(&["run", text, "--dictionary", &elsewhere, "--model", &place.model], "mlp_act.0 has rows of");
    let own = place.path("own.atlas");
    let build = ["atlas", "build", "--corpus", &place.corpus, "--atlas", &own];
    fails(&[&build[..], &of[..]].concat(), "say --latents NAME");
}

#[test]
fn every_recipe_trains_goes_on_and_is_read_back() {
    let place = Place::new(300);
    let recipes: [(&str, &[&str]); 7] = [
        ("batch-topk", &["--k", "4"]),
        ("matryoshka", &["--k", "4", "--prefixes", "8,24"]),
        ("relu", &["--l1", "0.5"]),
        ("april", &["--l1", "0.5"]),
        ("gated", &["--l1", "0.5"]),
        ("jumprelu", &["--l0", "4"]),
        ("jumprelu", &["--l0-penalty", "0.01"]),
    ];
    for (i, (recipe, more)) in recipes.into_iter().enumerate() {
        let [whole, cut] = ["whole", "cut"].map(|name| place.path(&format!("{name}{i}")));
        let more = [&["--recipe", recipe], more].concat();
        let card = json(&train(&place, &whole, &more));
        let judged = &card["judged"];
        let explained = judged["explained_variance"].as_f64().unwrap();
        assert!(explained > 0.2 && explained < 1.0, "{recipe}: {judged}");
        assert!(judged["l0"].as_f64().unwrap() > 0.5, "{recipe}: {judged}");
        kill_and_go_on(&train(&place, &cut, &more), &cut);
        same_files(&whole, &cut);
        let again = json(&[&["dict", "eval", &whole, "--site", "resid_post.0"], &text(&place)[..]].concat());
        let close = |key: &str| (again[key].as_f64().unwrap() - judged[key].as_f64().unwrap()).abs() < 1e-6;
        assert!(close("explained_variance") && close("loss_spliced") && close("l0"), "{again} {judged}");
        // what dead latents begin anew at is written down
        assert_eq!(card["run"]["resample_at"].is_array(), recipe == "relu", "{}", card["run"]);
    }
}

#[test]
fn transcoders_are_trained_between_two_sites() {
    let place = Place::new(300);
    let from: &[&str] = &["--site", "mlp_in.0", "--to", "mlp_out.0"];
    for (name, more) in [
        ("topk", &[][..]),
        ("topk-skip", &["--skip"]),
        ("jumprelu", &["--recipe", "jumprelu", "--l0", "4", "--skip"]),
        ("relu", &["--recipe", "relu", "--l1", "0.5"]),
    ] {
        let folder = place.path(name);
        let card = json(&train(&place, &folder, &[from, more].concat()));
        let judged = &card["judged"];
        assert_eq!((judged["site"].as_str(), judged["to"].as_str()), (Some("mlp_in.0"), Some("mlp_out.0")));
        let explained = judged["explained_variance"].as_f64().unwrap();
        assert!(explained > 0.2 && explained < 1.0, "{name}: {judged}");
        let eval = [&["dict", "eval", &folder, "--site", "mlp_in.0"], &text(&place)[..]].concat();
        let again = json(&[&eval[..], &["--to", "mlp_out.0"]].concat());
        let close = |key: &str| (again[key].as_f64().unwrap() - judged[key].as_f64().unwrap()).abs() < 1e-6;
        assert!(close("explained_variance") && close("loss_spliced") && close("l0"), "{again} {judged}");
        // the files of sparsify name no sites, and say nothing of an output without a skip connection
        if name != "topk" {
            fails(&eval, "is a transcoder");
        }
        if name == "relu" {
            fails(&[&eval[..], &["--to", "mlp_out.1"]].concat(), "says that it writes");
        }
    }
    let folder = place.path("none");
    let backwards = ["--site", "mlp_out.0", "--to", "mlp_in.0"];
    fails(&train(&place, &folder, &backwards), "does not come after");
    fails(&train(&place, &folder, &["--skip"]), "--to");
    fails(&train(&place, &folder, &[from, &["--recipe", "gated"]].concat()), "no format holds");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let place = Place::new(20);
    let folder = place.path("d");
    fails(&train(&place, &folder, &["--k", "65"]), "k");
    fails(&train(&place, &folder, &["--recipe", "relu", "--k", "4"]), "--k says nothing to --recipe relu");
    fails(&train(&place, &folder, &["--l1", "4"]), "it belongs to relu, april, gated");
    fails(
        &train(&place, &folder, &["--recipe", "jumprelu", "--l0", "4", "--l0-penalty", "1"]),
        "--l0-penalty",
    );
    fails(&train(&place, &folder, &["--recipe", "jumprelu", "--l0", "65"]), "L0");
    fails(&train(&place, &folder, &["--recipe", "matryoshka", "--prefixes", "9,3"]), "prefixes");
    fails(&train(&place, &folder, &["--recipe", "lista"]), "lista");
    fails(&train(&place, &folder, &["--site", "resid_post.99"]), "resid_post.99");
    fails(&train(&place, &folder, &["--site", "attn_probs.0"]), "attn_probs.0");
    fails(&train(&place, &folder, &["--batch", "1000000"]), "--batch");
}

#[test]
fn dictionaries_learn_the_same_from_a_store_of_activations_found_as_made() {
    let place = Place::new(300);
    let [made, found, store] = ["made", "found", "store"].map(|name| place.path(name));
    let kept = ["--activations", store.as_str()];
    ok(&train(&place, &made, &kept));
    let shards = || {
        let mut all: Vec<_> = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all.into_iter()
            .map(|path| (std::fs::metadata(&path).unwrap().modified().unwrap(), path))
            .collect::<Vec<_>>()
    };
    let before = shards();
    assert!(
        before.len() > 2 && before.iter().all(|(_, path)| path.extension().unwrap() != "part"),
        "{before:?}"
    );
    kill_and_go_on(&train(&place, &found, &kept), &found);
    same_files(&made, &found);
    // another dictionary, and nothing was computed again
    ok(&train(&place, &place.path("narrow"), &[&kept[..], &["--latents", "32"]].concat()));
    assert_eq!(shards(), before);

    // rounded rows are another run than the model's own
    fails(&train(&place, &made, &[]), "holds another training");
    fails(
        &train(&place, &place.path("x"), &[&kept[..], &["--seed", "5"]].concat()),
        "another model, site, text, seed",
    );
    fails(&train(&place, &place.path("x"), &[&kept[..], &["--to", "mlp_out.1"]].concat()), "resid_post.0");
    let shard = &before[0].1;
    let bytes = std::fs::read(shard).unwrap();
    std::fs::write(shard, &bytes[..bytes.len() - 2]).unwrap();
    fails(&train(&place, &place.path("x"), &kept), "remove it, and it is made again");
    std::fs::remove_file(shard).unwrap();
    ok(&train(&place, &place.path("again"), &kept));
    assert_eq!(std::fs::read(shard).unwrap(), bytes);
    same_files(&made, &place.path("again"));
}

#[test]
fn kinds_of_text_are_told_by_few_latents() {
    let place = Place::new(300);
    let folder = place.path("dict");
    // two kinds that share no letter, and a third of which there is too little
    let line = |i: usize, kind: &str, letters: [char; 4]| {
        let mut state = i as u32;
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            letters[(state >> 24) as usize % 4]
        };
        let text: Vec<String> = (0..60).map(|_| (0..3).map(|_| letter()).collect()).collect();
        serde_json::json!({ "text": text.join(" "), "source": kind }).to_string()
    };
    let of = |i: usize| [line(i, "front", ['a', 'b', 'c', 'd']), line(i, "back", ['s', 't', 'u', 'v'])];
    let mut lines: Vec<String> = (0..60).flat_map(of).collect();
    lines.push(serde_json::json!({ "text": "m n o", "source": "rare" }).to_string());
    let corpus = place.path("kinds.jsonl");
    std::fs::write(&corpus, lines.join("\n")).unwrap();
    ok(&train(&place, &folder, &["--corpus", &corpus]));
    let asked = [
        "dict",
        "probe",
        &folder,
        "--site",
        "resid_post.0",
        "--model",
        &place.model,
        "--corpus",
        &corpus,
        "--tokens",
        "30000",
        "--window",
        "16",
        "--test-windows",
        "300",
        "--k",
        "1,4",
    ];
    let found = json(&asked);
    let kinds: Vec<&str> =
        found["kinds"].as_array().unwrap().iter().map(|k| k["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["back", "front"]);
    let [one, four] = [0, 1].map(|i| found["mean_latents"][i].as_f64().unwrap());
    assert!(one > 0.5 && four > 0.8 && found["mean_direction"].as_f64().unwrap() > 0.9, "{found}");
    assert_eq!(found["kinds"][0]["latents"][1]["units"].as_array().unwrap().len(), 4);
    fails(&[&asked[..], &["--k", "0"]].concat(), "--k needs numbers from 1 to 64");
    fails(&[&asked[..4], &["mlp_act.0"], &asked[5..]].concat(), "says that it reads resid_post.0");
}
