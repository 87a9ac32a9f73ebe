//! How well scores find a known circuit, by the convention of the ACDC paper (Conmy et al. 2023, arXiv 2304.14997).
//!
//! Points of false and true positive rate, with (0, 0) and (1, 1) added and those that another point beats left out, are joined by
//! stairs that rise as late as they can: a pessimistic area, below the trapezoids' that other benchmarks take.

/// The area below the stairs through points (false positive rate, true positive rate), in any order.
pub fn pessimistic_auc(points: &[(f64, f64)]) -> f64 {
    let mut points: Vec<(f64, f64)> = points.iter().copied().chain([(0.0, 0.0), (1.0, 1.0)]).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut area, mut height) = (0.0, 0.0);
    // in order of false positives, only a point above all before it is not beaten
    for (x, y) in points {
        if y > height {
            area += (1.0 - x) * (y - height);
            height = y;
        }
    }
    area
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    #[test]
    fn stairs_rise_as_late_as_they_can() {
        let auc = |p: &[(f64, f64)]| pessimistic_auc(p);
        assert!(auc(&[]).abs() < 1e-12 && (auc(&[(0.0, 1.0)]) - 1.0).abs() < 1e-12);
        assert!((auc(&[(0.25, 0.25)]) - 0.25 * 0.75).abs() < 1e-12);
        assert!((auc(&[(0.5, 0.5), (0.25, 0.25)]) - 5.0 / 16.0).abs() < 1e-12);
        assert!((auc(&[(0.25, 0.25), (0.75, 0.5), (0.9, 0.4)]) - 0.25).abs() < 1e-12);
    }

    /// Curves that were published with the ACDC paper, and the areas in its table (three decimals).
    #[test]
    fn the_areas_of_the_paper_come_out() {
        let text = include_str!("../../../../fixtures/published/roc.json");
        let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert_eq!(rows.len(), 12);
        for row in rows {
            let points: Vec<(f64, f64)> = serde_json::from_value(row["points"].clone()).unwrap();
            let (found, published) = (pessimistic_auc(&points), row["published"].as_f64().unwrap());
            assert!(
                (found - published).abs() <= 0.0005 + 1e-9,
                "{} {}: {found} {published}",
                row["file"],
                row["of"]
            );
        }
    }
}
