//! A sweep collects what a record of the same run holds, in every arithmetic and whether activations are handed over whole or in pieces.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Point, Seed, Site, Split};
use pellucid_interp::{sweep, sweep_sites};
use pellucid_model::{Batch, Model, Plan, Precision, Record, Storage};
use pellucid_store::collect::{Block, Collector, Keep, SiteCollector};
use pellucid_store::{Document, Sweep, Window};
use std::ops::ControlFlow;
use std::path::Path;

/// Windows of such lengths, whose first token is not counted.
fn windows(lengths: &[usize]) -> Vec<Window> {
    let mut seed = Seed(3);
    let window = |(at, &length): (usize, &usize)| {
        let document = [at as u8; 16];
        Window {
            document: Document(document),
            split: Split::of(&document),
            index: 0,
            tokens: (0..length).map(|_| seed.below(300) as u32).collect(),
            counted: (0..length).map(|token| token > 0).collect(),
        }
    };
    lengths.iter().enumerate().map(window).collect()
}

/// Short texts that go through an MLP together, one that is long, and so few that they are not handed over in pieces.
const LENGTHS: [&[usize]; 4] =
    [&[33, 64, 1, 50, 64, 64, 2, 40], &[300, 300, 200, 290], &[700, 700, 700, 700], &[70, 60]];

#[test]
fn a_sweep_collects_what_a_record_holds() {
    for name in ["llama", "gemma3", "gpt2", "gpt-neox", "olmo2", "phi3", "qwen3"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
        for (storage, precision) in [
            (Storage::F32, Precision::Exact),
            (Storage::F32, Precision::Fast),
            (Storage::Bf16, Precision::Fast),
        ] {
            let model = Model::open(&path, storage, &mut |_| ()).unwrap().with_precision(precision);
            let longest = model.spec().context;
            for lengths in LENGTHS.iter().filter(|lengths| lengths.iter().all(|&l| l <= longest)) {
                check(&model, &windows(lengths), &format!("{name} {storage:?} {precision:?} {lengths:?}"));
            }
        }
    }
}

fn check(model: &Model, windows: &[Window], what: &str) {
    let sites: Vec<Site> = (0..model.spec().n_layers)
        .flat_map(|layer| [Point::MlpAct, Point::ResidPost].map(|point| Site::new(point, layer)))
        .collect();
    let keep = Keep::for_sweep(Seed(1));
    let sites = sweep_sites(model, &sites).unwrap();
    let mut record = Record::new(sites.iter().map(|(site, _)| *site));
    let batch = Batch::new(windows.iter().map(|window| window.tokens.clone()));
    model.run(&batch, &Plan::LAST, None, &mut record).unwrap();
    // the neurons alone, and beside the stream, which changes what a run may join
    for sites in [
        &sites[..],
        &sites.iter().copied().filter(|(site, _)| site.point == Point::MlpAct).collect::<Vec<_>>(),
    ] {
        let mut state = Sweep::new("test", sites, &keep).unwrap();
        let tokens = windows.iter().map(|window| window.tokens.len()).sum();
        sweep(model, None, windows, &mut state, tokens, &mut |_, _| ControlFlow::Continue(())).unwrap();
        for (found, (site, width)) in state.harvest().1.zip(sites) {
            let values: Vec<f32> = record.value(*site).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let mut plain = SiteCollector::new(*site, *width, &keep).unwrap();
            plain.collect(&Block { values: &values, width: *width, windows }).unwrap();
            assert!(format!("{found:?}") == format!("{:?}", plain.harvest()), "{what}: {site}");
        }
    }
}

/// The same in a process that takes the ways of matrix tiles, whatever the processor has.
#[test]
fn and_so_it_does_on_tiles() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_sweep_collects_what_a_record_holds", "--nocapture"])
        .env("PELLUCID_PLAIN_TILES", "1")
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
