//! Families under another training rule: Newton's method on the rule's constraint from each family of gradient flow, with
//! all units written out.

use rayon::prelude::*;

use super::{DENSE, FamiliesSpec, named_families};
use crate::error::{Error, Result};
use crate::landscape::Point;
use crate::landscape::branches::Named;
use crate::landscape::ruled::critical_by_rule;
use crate::model::Training;
use crate::model::symmetry::Canonical;
use crate::numerics::tolerance;
use crate::report::{Report, Table, Value};
use crate::study::groups;

const ACTION: &str = "find the families under a rule";

/// A point and its distance from the family of gradient flow, or why there is none.
type Solved = std::result::Result<(Point, f64), String>;

/// Refuses what has no families under the spec's rule.
pub(super) fn checked(spec: &FamiliesSpec) -> Result<()> {
    // Its numbers; the size is that of each family.
    spec.rule.checked(1, usize::MAX)?;
    let refuse = |problem: String| Err(Error::Spec { action: ACTION, problem });
    match spec.rule {
        Training::Descent(_) | Training::Sgd(_) => {
            return refuse(format!(
                "{} has finite steps; its resting points are those of gradient-flow, weight-decay, sphere or stiefel",
                spec.rule
            ));
        }
        Training::GradientFlow | Training::TwoLayer(_) => return Ok(()),
        _ => {}
    }
    if spec.starts > 0 {
        return refuse(format!(
            "random starts have no rule {}; `landscape --rule {}` takes them",
            spec.rule, spec.rule
        ));
    }
    Ok(())
}

/// Whether the spec's rule has critical points of its own; those of both layers are those of one (theory 10, eq.
/// 10-equivalent).
pub(super) fn applies(rule: Training) -> bool {
    !matches!(rule, Training::GradientFlow | Training::TwoLayer(_))
}

/// Table `families`, a row for each family of gradient flow from which Newton's method arrives; notes for the others.
pub(super) fn families(spec: &FamiliesSpec, mut report: Report) -> Result<Report> {
    let mut table = Table::new(
        "families",
        &[
            ("k1", "", "number of flipped units"),
            ("groups", "", "sizes of the groups of teachers, groups of students if they differ"),
            ("branch", "", "family of gradient flow from which Newton's method started"),
            ("loss", "", "population loss L, without the decay"),
            ("min_eigenvalue", "", "smallest Hessian eigenvalue on the constraint inside span(W, V)"),
            ("min_transverse_eigenvalue", "", "the same across the span"),
            ("unstable", "", "number of negative eigenvalues inside the span"),
            ("verdict", "", "what kind of critical point, in any input dimension above the span's"),
            ("residual", "", "largest entry of the gradient on the constraint"),
            ("isotropy", "", "relabellings that leave the point unchanged"),
            ("moved", "", "Euclidean distance from the family of gradient flow"),
        ],
    );
    let found: Vec<(Named, Solved)> = named_families(spec)?
        .into_par_iter()
        .map(|family| {
            let point = solve(spec, &family);
            (family, point)
        })
        .collect();
    let mut listed: Vec<(String, Canonical)> = Vec::new();
    for (family, point) in found {
        let known = |point: &Point| {
            let same = |(_, form): &&(String, Canonical)| form.distance(&point.canonical) < tolerance::SAME_POINT;
            listed.iter().find(same).map(|(name, _)| format!("it leads to the same point as {name}"))
        };
        let (point, distance) = match point.and_then(|found| known(&found.0).map_or(Ok(found), Err)) {
            Ok(found) => found,
            Err(reason) => {
                report.notes.push(format!("Not listed: {}; {reason}.", family.name));
                continue;
            }
        };
        listed.push((family.name.clone(), point.canonical.clone()));
        table.push(vec![
            family.k1.map_or_else(|| Value::Missing("other groups".into()), Value::real),
            groups::name(&family.shape).into(),
            family.name.into(),
            point.loss.into(),
            point.spectrum.min_span().into(),
            point.spectrum.min_transverse().into(),
            point.spectrum.span_index.unstable.into(),
            point.verdict.name().into(),
            point.residual.into(),
            point.family.isotropy.clone().into(),
            distance.into(),
        ]);
    }
    report.notes.push(format!("Rule {}: solved with all units written out.", spec.rule));
    report.results.insert(table.name.clone(), table.to_json());
    report.tables.push(table);
    Ok(report)
}

fn solve(spec: &FamiliesSpec, family: &Named) -> Solved {
    let state = family.state.as_ref().map_err(|reason| format!("the branch {reason}"))?;
    let partition = state.partition();
    if partition.sizes().iter().any(|n| n.fract() != 0.0) {
        return Err(format!("a group has a size that is not whole, which the rule {} needs", spec.rule));
    }
    let (k, m) = (partition.student_count(), partition.teacher_count());
    if k * m > DENSE {
        return Err(format!("K M is {}, needs at most {DENSE} to be written out", k * m));
    }
    let solved = || -> Result<Option<(Point, f64)>> {
        let (weights, teacher) = state.expand()?;
        let rule = spec.rule.checked(weights.students(), weights.coordinates())?;
        let Some((end, distance)) = critical_by_rule(rule, &weights, &teacher, 0)? else { return Ok(None) };
        Ok(Some((Point::by_rule(rule, &end, &teacher, 0, None)?, distance)))
    };
    match solved() {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("Newton's method under the rule {} does not arrive from it", spec.rule)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::settle_by_rule;
    use crate::study::families;

    fn report(flipped: &str, rule: &str) -> Result<Report> {
        let spec = FamiliesSpec { flipped: flipped.into(), rule: rule.parse()?, ..FamiliesSpec::default() };
        families(&spec, &|_| true)
    }

    /// Newton's method from the family, and the flow of the rule from there with Newton's method at its end, meet.
    #[test]
    fn a_flipped_unit_under_each_rule_is_where_its_flow_ends() {
        for rule in ["sphere", "stiefel", "weight-decay:0.01"] {
            let found = report("1", rule).unwrap();
            let table = found.table("families").unwrap();
            let loss = table.numbers("loss")[0].unwrap();
            assert_eq!(table.texts("isotropy"), ["S_1 x S_7"], "{rule}");
            assert_eq!(table.texts("verdict"), ["local minimum"], "{rule}");
            let spec = FamiliesSpec { flipped: "1".into(), ..FamiliesSpec::default() };
            let (weights, teacher) = named_families(&spec).unwrap()[0].state.as_ref().unwrap().expand().unwrap();
            let end = settle_by_rule(rule.parse().unwrap(), &weights, &teacher, 0).unwrap();
            let by_flow = crate::population::risk_exact(&end.weights, &teacher, 0);
            assert!((loss - by_flow).abs() < 1e-13, "{rule}: {loss} against {by_flow}");
        }
    }

    #[test]
    fn equal_points_are_listed_once_and_what_has_no_meaning_is_refused() {
        let found = report("2", "sphere").unwrap();
        let names = found.table("families").unwrap().texts("branch");
        assert!(names.contains(&"k1 = 2".to_string()), "{names:?}");
        let all = report("all", "sphere").unwrap();
        assert!(all.notes.iter().any(|note| note.contains("block 2; it leads to the same point as global")));
        assert!(report("1", "weight-decay:-1").unwrap_err().to_string().contains("weight decay is -1"));
        assert!(report("1", "descent:0.1").unwrap_err().to_string().contains("finite steps"));
        let spec =
            FamiliesSpec { teachers: 8.5, flipped: "1".into(), rule: Training::Sphere, ..FamiliesSpec::default() };
        let note = &families(&spec, &|_| true).unwrap().notes[0];
        assert!(note.contains("not whole"), "{note}");
    }
}
