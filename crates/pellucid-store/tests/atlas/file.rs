//! The file itself: written, killed, resumed, damaged.

use crate::made::{SITES, folder, harvest, provenance, site, small, windows, words};
use pellucid_core::{Polarity, Seed};
use pellucid_store::SiteHarvest;
use pellucid_store::atlas::{Atlas, AtlasError, Precision, rounded};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn what_is_put_in_comes_out() {
    let (_folder, path) = folder();
    let (atlas, windows) = small(&path);
    for name in SITES {
        let harvest = harvest(name, 12, 10, &windows);
        for (index, unit) in harvest.units.iter().enumerate() {
            assert_eq!(atlas.unit(harvest.site, index as u32).unwrap().as_ref(), Some(unit));
        }
    }
    let unit = atlas.unit(site(0), 3).unwrap().unwrap();
    let of = atlas.windows_of(site(0), 3).unwrap();
    for exemplar in &unit.exemplars {
        let window = of.iter().find(|w| (w.document, w.index) == (exemplar.document, exemplar.window));
        assert!(windows.contains(window.unwrap()));
    }
    assert_eq!(atlas.unit(site(0), 12).unwrap(), None);
    assert_eq!(atlas.unit("mlp_act.9".parse().unwrap(), 0).unwrap(), None);
    assert_eq!(atlas.token(6).unwrap(), Some(vec![0xff]));
    assert_eq!(atlas.provenance().unwrap(), [provenance(Precision::Exact)]);
    let summary = atlas.summary().unwrap();
    assert_eq!((summary.sites, summary.units, summary.windows), (3, 36, 60));
}

#[test]
fn rounded_activations_keep_the_peak_exact() {
    let (_folder, path) = folder();
    let windows = windows(20, Seed(2));
    let mut atlas = Atlas::create(&path, &provenance(Precision::Rounded)).unwrap();
    atlas.put_windows(&windows).unwrap();
    let mut harvest = harvest("mlp_act.0", 4, 12, &windows);
    // Statistics that are no numbers, and an activation beyond half precision, must survive too.
    harvest.units[0].statistics.variance = f64::INFINITY;
    harvest.units[0].exemplars[0].activations[0] = 0x7c00;
    atlas.put_site(&harvest).unwrap();
    for unit in &mut harvest.units {
        for exemplar in &mut unit.exemplars {
            exemplar.activations = rounded(&exemplar.activations, Precision::Rounded);
        }
    }
    for (index, unit) in harvest.units.iter().enumerate() {
        assert_eq!(atlas.unit(harvest.site, index as u32).unwrap().as_ref(), Some(unit));
    }
    harvest.units[1].statistics.mean = f64::NAN;
    atlas.put_site(&harvest).unwrap();
    assert!(atlas.unit(harvest.site, 1).unwrap().unwrap().statistics.mean.is_nan());
}

#[test]
fn writing_again_and_in_another_order_gives_the_same_rows() {
    let (_folder, path) = folder();
    let (mut atlas, windows) = small(&path);
    atlas.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    let before = atlas.content_hash().unwrap();
    atlas.put_windows(&windows).unwrap();
    atlas.put_site(&harvest(SITES[1], 12, 10, &windows)).unwrap();
    atlas.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    atlas.add_provenance(&provenance(Precision::Exact)).unwrap();
    assert_eq!(atlas.content_hash().unwrap(), before);

    let other = path.with_extension("other");
    let mut other = Atlas::create(&other, &provenance(Precision::Exact)).unwrap();
    other.put_windows(windows.iter().rev()).unwrap();
    for site in SITES.iter().rev() {
        other.put_site(&harvest(site, 12, 10, &windows)).unwrap();
    }
    other.put_tokens([(6, &b"\xff"[..]), (5, b" May")]).unwrap();
    assert_ne!(other.content_hash().unwrap(), before);
    other.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    assert_eq!(other.content_hash().unwrap(), before);
}

#[test]
fn a_file_that_is_no_atlas_is_a_clear_error() {
    let (folder, path) = folder();
    let wrong = provenance(Precision::Exact);
    assert!(matches!(Atlas::open_read(&path), Err(AtlasError::Missing { .. })));
    assert!(matches!(Atlas::open_write(&path), Err(AtlasError::Missing { .. })));
    assert!(!path.exists());

    fs::write(&path, "no database, but a text of some length that is not one").unwrap();
    assert!(matches!(Atlas::open_read(&path), Err(AtlasError::Foreign { .. })));
    assert!(matches!(Atlas::open_write(&path), Err(AtlasError::Foreign { .. })));
    assert!(matches!(Atlas::create(&path, &wrong), Err(AtlasError::Exists { .. })));

    let foreign = folder.path().join("foreign.db");
    let db = rusqlite::Connection::open(&foreign).unwrap();
    db.execute_batch("CREATE TABLE notes (text)").unwrap();
    assert!(matches!(Atlas::open_read(&foreign), Err(AtlasError::Foreign { .. })));
    assert!(matches!(Atlas::create(&foreign, &wrong), Err(AtlasError::Exists { .. })));

    let newer = folder.path().join("newer.atlas");
    drop(small(&newer));
    let db = rusqlite::Connection::open(&newer).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    for opened in [Atlas::open_read(&newer), Atlas::open_write(&newer)] {
        assert!(matches!(opened, Err(AtlasError::Newer { found: 99, .. })));
    }
    let nowhere = folder.path().join("missing folder").join("x.atlas");
    let error = Atlas::create(&nowhere, &wrong).err().unwrap();
    assert!(matches!(error, AtlasError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("missing folder"), "{error}");
}

#[test]
fn an_interrupted_creation_is_taken_over() {
    let (_folder, path) = folder();
    fs::write(&path, "").unwrap();
    let error = Atlas::open_read(&path).err().unwrap().to_string();
    assert!(error.contains("cut short"), "{error}");
    drop(Atlas::create(&path, &provenance(Precision::Exact)).unwrap());
    assert!(matches!(Atlas::create(&path, &provenance(Precision::Exact)), Err(AtlasError::Exists { .. })));
}

#[test]
fn a_writer_killed_in_the_middle_of_a_step_leaves_an_atlas_to_read() {
    let (_folder, path) = folder();
    let (atlas, _) = small(&path);
    let before = atlas.summary().unwrap();
    drop(atlas);
    // as a kill leaves it: pages of the step stand in the file, what they were in the journal
    let killed = path.with_file_name("killed.atlas");
    let journal = |path: &Path| PathBuf::from(format!("{}-journal", path.display()));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE tokens SET bytes = x'00'; DELETE FROM windows;")
        .unwrap();
    fs::copy(&path, &killed).unwrap();
    fs::copy(journal(&path), journal(&killed)).unwrap();
    assert!(fs::read(journal(&killed)).unwrap().iter().any(|byte| *byte != 0));

    let read = Atlas::open_read(&killed).unwrap();
    read.check().unwrap();
    assert_eq!(read.summary().unwrap(), before);
    assert!(!journal(&killed).exists());
}

#[test]
fn one_writes_and_many_read() {
    let (folder, path) = folder();
    let (mut writer, windows) = small(&path);
    assert!(matches!(Atlas::open_write(&path), Err(AtlasError::Busy { .. })));
    let readers: Vec<Atlas> = (0..4).map(|_| Atlas::open_read(&path).unwrap()).collect();
    writer.put_site(&harvest("mlp_act.2", 5, 4, &windows)).unwrap();
    for mut reader in readers {
        assert_eq!(reader.summary().unwrap().sites, 4);
        let refused = reader.put_windows(&windows);
        assert!(matches!(refused, Err(AtlasError::ReadOnly { .. })));
    }
    drop(writer);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["small.atlas"], "a closed atlas is one file");
    drop(Atlas::open_write(&path).unwrap());
}

#[test]
fn an_exemplar_needs_its_window_and_a_failed_site_leaves_nothing() {
    let (_folder, path) = folder();
    let (mut atlas, windows) = small(&path);
    let before = atlas.content_hash().unwrap();
    let mut wrong = harvest("mlp_act.2", 5, 4, &windows);
    wrong.units[4].exemplars[0].window = 77;
    let error = atlas.put_site(&wrong).unwrap_err();
    assert!(matches!(error, AtlasError::NoWindow { unit: 4, window: 77, .. }), "{error}");
    wrong.units.truncate(3);
    atlas.put_site(&wrong).unwrap();
    let narrower = SiteHarvest { site: wrong.site, units: wrong.units[..2].to_vec() };
    assert!(matches!(atlas.put_site(&narrower), Err(AtlasError::Invalid { .. })));
    assert_ne!(atlas.content_hash().unwrap(), before);
}

#[test]
fn a_full_disk_loses_nothing_that_was_written() {
    let (_folder, path) = folder();
    let (mut atlas, windows) = small(&path);
    let before = atlas.content_hash().unwrap();
    atlas.limit_size(atlas.summary().unwrap().bytes + 8192).unwrap();
    let error = atlas.put_site(&harvest("mlp_act.2", 400, 20, &windows)).unwrap_err();
    assert!(matches!(error, AtlasError::Full { .. }), "{error}");
    assert!(error.to_string().contains("small.atlas") && error.to_string().contains("make room"), "{error}");
    assert_eq!(atlas.content_hash().unwrap(), before);
    atlas.check().unwrap();
    atlas.limit_size(u64::MAX).unwrap();
    atlas.put_site(&harvest("mlp_act.2", 400, 20, &windows)).unwrap();
}

#[test]
fn damaged_blobs_name_the_table_and_the_unit() {
    let (_folder, path) = folder();
    drop(small(&path));
    let db = rusqlite::Connection::open(&path).unwrap();
    let whole: Vec<u8> =
        db.query_row("SELECT rows FROM exemplars WHERE unit = (1 << 32) | 3", [], |r| r.get(0)).unwrap();
    let mut seed = Seed(3);
    let mut refused = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        let at = seed.below(bytes.len());
        bytes[at] ^= 1 << seed.below(8);
        db.execute("UPDATE exemplars SET rows = ?1 WHERE unit = (1 << 32) | 3", [&bytes]).unwrap();
        match Atlas::open_read(&path).unwrap().unit(site(0), 3) {
            Err(error @ AtlasError::Corrupt { table: "exemplars", .. }) => {
                assert!(error.to_string().contains("mlp_act.0/3"), "{error}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
            Ok(_) => {}
        }
    }
    assert!(refused >= 55, "only {refused} of 60 found");
    for (table, column) in [("sketches", "positive"), ("windows", "tokens")] {
        db.execute(&format!("UPDATE {table} SET {column} = x'01ffffffffffffffff7f'"), []).unwrap();
        let atlas = Atlas::open_read(&path).unwrap();
        let error = if table == "windows" {
            atlas.windows_of(site(1), 2).unwrap_err()
        } else {
            atlas.unit(site(1), 2).unwrap_err()
        };
        assert!(matches!(&error, AtlasError::Corrupt { table: t, .. } if *t == table), "{error}");
    }
}

/// Writes in another process, which is killed while it does; see [`a_kill_loses_no_site`].
#[test]
fn a_writer_to_be_killed() {
    let Ok(path) = std::env::var("PELLUCID_TEST_ATLAS") else { return };
    write_all(Path::new(&path));
}

fn write_all(path: &Path) {
    let windows = windows(60, Seed(1));
    let mut atlas = match Atlas::open_write(path) {
        Err(AtlasError::Missing { .. } | AtlasError::Foreign { .. }) => {
            Atlas::create(path, &provenance(Precision::Exact)).unwrap()
        }
        other => other.unwrap(),
    };
    if atlas.provenance().unwrap().is_empty() {
        atlas.add_provenance(&provenance(Precision::Exact)).unwrap();
    }
    atlas.put_windows(&windows).unwrap();
    for layer in 0..12 {
        let site = format!("mlp_act.{layer}");
        atlas.put_site(&harvest(&site, 60, 20, &windows)).unwrap();
        for index in 0..20 {
            let mut row = words(0, index, Polarity::Positive, &format!("unit {index}"));
            row.site = site.parse().unwrap();
            atlas.add_description(&row).unwrap();
        }
    }
}

#[test]
fn a_kill_loses_no_site() {
    let (_folder, path) = folder();
    let plain = path.with_extension("plain");
    write_all(&plain);
    let expected = Atlas::open_read(&plain).unwrap().content_hash().unwrap();
    let mut seed = Seed(11);
    for _ in 0..10 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "file::a_writer_to_be_killed", "--nocapture"])
            .env("PELLUCID_TEST_ATLAS", &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5 + seed.below(140) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        if let Ok(atlas) = Atlas::open_read(&path) {
            atlas.check().unwrap();
            atlas.content_hash().unwrap();
        }
    }
    write_all(&path);
    let atlas = Atlas::open_read(&path).unwrap();
    atlas.check().unwrap();
    assert_eq!(atlas.content_hash().unwrap(), expected);
}
