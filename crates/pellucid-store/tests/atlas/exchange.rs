//! What goes out and comes in: between atlases, as features, as Parquet.

use crate::made::{folder, provenance, searched, site, small, words};
use pellucid_core::Polarity;
use pellucid_store::atlas::{Atlas, AtlasError, Description, Explainer, Export, Precision, Query};

#[test]
fn descriptions_move_between_files_of_one_model() {
    let (_folder, path) = folder();
    let mut from = searched(&path);
    let id = from.find(&Query::all(1)).unwrap()[0].id;
    from.vote(id, "a", true).unwrap();
    let target = path.with_extension("to");
    let (mut to, _) = small(&target);
    let kept = to.add_description(&Description {
        explainer: Explainer::default(),
        ..words(0, 0, Polarity::Positive, "kept")
    });
    let done = to.attach_descriptions_from(&from).unwrap();
    assert_eq!((done.descriptions, done.scores, done.embeddings, done.votes, done.skipped), (4, 4, 4, 1, 0));
    assert!(to.description(kept.unwrap()).unwrap().chosen, "a choice stays");
    let before = to.content_hash().unwrap();
    to.attach_descriptions_from(&from).unwrap();
    assert_eq!(to.content_hash().unwrap(), before);

    let other = path.with_extension("other");
    let mut other_model = provenance(Precision::Exact);
    other_model.model_hash = "cc".to_owned();
    let mut other = Atlas::create(&other, &other_model).unwrap();
    assert!(matches!(other.attach_descriptions_from(&from), Err(AtlasError::OtherModel { .. })));
    assert!(matches!(to.add_provenance(&other_model), Err(AtlasError::OtherModel { .. })));
}

#[test]
fn features_go_out_and_explanations_come_in() {
    let (_folder, path) = folder();
    let mut atlas = searched(&path);
    let bin = |bin: u16| (f32::from(bin), f32::from(bin) + 1.0);
    let options = Export { model: "small", polarities: &[Polarity::Positive], exemplars: 3, bin: &bin };
    let mut out = Vec::new();
    assert_eq!(atlas.export_neuronpedia(&options, &mut out).unwrap(), 36);
    let lines: Vec<serde_json::Value> = out
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let first = &lines[0];
    assert_eq!(first["layer"], "0-mlp_act");
    assert_eq!(first["description"], "months and dates");
    let heights = first["freq_hist_data_bar_heights"].as_array().unwrap().len();
    assert_eq!(first["freq_hist_data_bar_values"].as_array().unwrap().len(), heights);
    let top = &first["activations"][0];
    assert_eq!(top["tokens"].as_array().unwrap().len(), top["values"].as_array().unwrap().len());

    let lines = [
        r#"{"modelId":"small","layer":"0","index":"5","description":"dogs","typeName":"oai","scores":[{"value":0.4,"explanationScoreTypeName":"recall"}]}"#,
        r#"{"modelId":"small","layer":"0-mlp_act","index":5,"description":"cats","typeName":"oai"}"#,
        r#"{"modelId":"gpt2","layer":"0","index":5,"description":"x"}"#,
        "not json",
        r#"{"modelId":"small","layer":"0","index":5,"description":null}"#,
        "",
        r#"{"modelId":"small","layer":"6-res-jb","index":5,"description":"x"}"#,
        r#"{"layer":1,"index":4000,"description":"x"}"#,
        r#"{"layer":1,"index":-4,"description":"x"}"#,
        r#"{"layer":1,"index":4,"description":"no model named"}"#,
    ];
    let done = atlas.import_neuronpedia("small", lines.join("\n").as_bytes()).unwrap();
    assert_eq!((done.descriptions, done.scores, done.other_model, done.unknown), (3, 1, 1, 2));
    assert_eq!(done.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [4, 5, 9]);
    assert!(done.errors[1].to_string().contains("description"), "{}", done.errors[1]);
    let rows = atlas.descriptions(site(0), 5, Polarity::Positive).unwrap();
    assert_eq!(rows.iter().map(|row| row.1.candidate).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(atlas.scores(rows[0].0).unwrap()[0].split, None);
}

#[cfg(feature = "parquet")]
#[test]
fn tables_go_out_as_parquet() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let (folder, path) = folder();
    let atlas = searched(&path);
    let units = folder.path().join("units.parquet");
    assert_eq!(atlas.export_units_parquet(std::fs::File::create(&units).unwrap()).unwrap(), 36);
    let reader = SerializedFileReader::new(std::fs::File::open(&units).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 36);
    assert!(rows[0].to_string().contains("mlp_act.0"), "{}", rows[0]);
    let words = folder.path().join("words.parquet");
    assert_eq!(atlas.export_descriptions_parquet(std::fs::File::create(&words).unwrap()).unwrap(), 4);
    let reader = SerializedFileReader::new(std::fs::File::open(&words).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert!(rows[0].to_string().contains("months and dates"), "{}", rows[0]);
}
