//! The Hessian of a block-symmetric state, sector by sector.
//!
//! Permutations inside the groups leave the state as it is, so the Hessian has one small block for each irreducible
//! representation that occurs among the perturbations; its eigenvalues come with the dimension of the representation as
//! multiplicity (theory 08, eq. 08-decomposition). Block sizes depend on the number of groups, not on their sizes, and every
//! entry is a polynomial in the sizes, so the spectrum has a meaning at real sizes.

use std::f64::consts::PI;

use ndarray::{Array2, s};

use super::blocks::{Geometry, multiply};
use crate::error::Result;
use crate::expectation::Angle;
use crate::model::{Blocks, Partition};
use crate::numerics::linalg;

/// An irreducible representation of the permutations inside the groups. Numbers name index sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sector {
    /// Keeps every symmetry of the state.
    Trivial,
    /// One index of the set differs from the others: (n - 1, 1).
    Standard(usize),
    /// A symmetric pattern over pairs of indices: (n - 2, 2).
    Symmetric(usize),
    /// An antisymmetric pattern over pairs of indices: (n - 2, 1, 1).
    Exterior(usize),
    /// One index of each of two sets differs: the product of their standard representations.
    Product(usize, usize),
}

impl Sector {
    /// All sectors that occur among the perturbations of a state with these groups, inside the span.
    pub fn all(partition: &Partition) -> Vec<Sector> {
        let sizes = partition.sizes();
        let matched = |set: usize| partition.student_sets().contains(&set) && set < partition.teacher_groups();
        let mut sectors = vec![Sector::Trivial];
        sectors.extend((0..sizes.len()).filter(|&set| sizes[set] > 1.0).map(Sector::Standard));
        for set in (0..partition.teacher_groups()).filter(|&set| matched(set)) {
            if sizes[set] > 3.0 {
                sectors.push(Sector::Symmetric(set));
            }
            if sizes[set] > 2.0 {
                sectors.push(Sector::Exterior(set));
            }
        }
        for a in 0..sizes.len() {
            for b in a + 1..sizes.len() {
                // Students of the one set on coordinates of the other.
                let occurs =
                    |x: usize, y: usize| y < partition.teacher_groups() && partition.student_sets().contains(&x);
                if sizes[a] > 1.0 && sizes[b] > 1.0 && (occurs(a, b) || occurs(b, a)) {
                    sectors.push(Sector::Product(a, b));
                }
            }
        }
        sectors
    }

    /// Dimension of the representation; real at real sizes.
    pub fn multiplicity(self, partition: &Partition) -> f64 {
        let n = |set: usize| partition.sizes()[set];
        match self {
            Sector::Trivial => 1.0,
            Sector::Standard(t) => n(t) - 1.0,
            Sector::Symmetric(t) => n(t) * (n(t) - 3.0) / 2.0,
            Sector::Exterior(t) => (n(t) - 1.0) * (n(t) - 2.0) / 2.0,
            Sector::Product(t, u) => (n(t) - 1.0) * (n(u) - 1.0),
        }
    }

    /// Name for tables; sets are numbered from 1.
    pub fn name(self) -> String {
        match self {
            Sector::Trivial => "trivial".into(),
            Sector::Standard(t) => format!("standard {}", t + 1),
            Sector::Symmetric(t) => format!("symmetric {}", t + 1),
            Sector::Exterior(t) => format!("exterior {}", t + 1),
            Sector::Product(t, u) => format!("product {} x {}", t + 1, u + 1),
        }
    }

    /// Which coefficients a function on (set a) x (set b) has in this sector: on a set with itself the first belongs to
    /// equal indices, the others to different ones.
    fn components(self, a: usize, b: usize, sizes: &[f64]) -> &'static [usize] {
        match self {
            Sector::Trivial if a == b && sizes[a] > 1.0 => &[0, 1],
            Sector::Trivial => &[0],
            // phi(i) and phi(m) are opposite on the two different pairs of a set of two.
            Sector::Standard(t) if a == t && b == t => {
                if sizes[t] == 2.0 {
                    &[0, 1]
                } else {
                    &[0, 1, 2]
                }
            }
            Sector::Standard(t) if a == t || b == t => &[0],
            Sector::Symmetric(t) | Sector::Exterior(t) if a == t && b == t => &[0],
            Sector::Product(t, u) if (a, b) == (t, u) || (a, b) == (u, t) => &[0],
            _ => &[],
        }
    }

    /// Sum over all (i, m) of the product of two functions on (set a) x (set b).
    fn inner(self, a: usize, b: usize, sizes: &[f64], x: [f64; 3], y: [f64; 3]) -> f64 {
        match self {
            Sector::Trivial if a == b => sizes[a] * (x[0] * y[0] + (sizes[a] - 1.0) * x[1] * y[1]),
            Sector::Trivial => sizes[a] * sizes[b] * x[0] * y[0],
            Sector::Standard(t) if a == t && b == t => {
                let n = sizes[t] - 1.0;
                x[0] * y[0] + n * (x[1] * y[1] + x[2] * y[2]) - x[1] * y[2] - x[2] * y[1]
            }
            Sector::Standard(t) if a == t => sizes[b] * x[0] * y[0],
            Sector::Standard(_) => sizes[a] * x[0] * y[0],
            _ => x[0] * y[0],
        }
    }

    /// Function on (a) x (c) times a block-symmetric matrix on (c) x (b).
    fn product(self, sets: (usize, usize, usize), sizes: &[f64], x: [f64; 3], y: [f64; 2]) -> [f64; 3] {
        let (a, c, b) = sets;
        let difference = y[0] - y[1];
        match self {
            Sector::Trivial => {
                let x = if a == c { [x[0], x[1]] } else { [x[0]; 2] };
                let [same, other] = multiply(sets, sizes[c], x, y);
                [same, other, 0.0]
            }
            Sector::Standard(t) if a == t && c == t => {
                let row = x[0] + (sizes[t] - 1.0) * x[1] - x[2];
                if b == t {
                    [y[1] * row + difference * x[0], y[1] * row + difference * x[1], difference * x[2]]
                } else {
                    [y[1] * row, 0.0, 0.0]
                }
            }
            Sector::Standard(t) if a == t => {
                let column = if b == c { y[0] + (sizes[c] - 1.0) * y[1] } else { sizes[c] * y[1] };
                if b == t { [x[0] * column, x[0] * column, 0.0] } else { [x[0] * column, 0.0, 0.0] }
            }
            Sector::Standard(t) if c == t && b == t => [x[0] * difference, 0.0, 0.0],
            Sector::Symmetric(_) | Sector::Exterior(_) | Sector::Product(..) if b == c => [x[0] * difference, 0.0, 0.0],
            _ => [0.0; 3],
        }
    }

    /// From (a) x (b) to (b) x (a).
    fn transposed(self, a: usize, b: usize, x: [f64; 3]) -> [f64; 3] {
        match self {
            Sector::Standard(_) if a == b => [x[0], x[2], x[1]],
            Sector::Exterior(_) => [-x[0], 0.0, 0.0],
            _ => x,
        }
    }

    /// Multiplies the parts at equal and at different indices by their factors.
    fn scaled(self, a: usize, b: usize, x: [f64; 3], factors: [f64; 2]) -> [f64; 3] {
        let first = match self {
            Sector::Trivial | Sector::Standard(_) if a == b => factors[0],
            _ => factors[1],
        };
        [x[0] * first, x[1] * factors[1], x[2] * factors[1]]
    }

    /// The function (i, m) -> s(i) on (a) x (b).
    fn repeated(self, a: usize, b: usize, s: f64) -> [f64; 3] {
        match self {
            Sector::Trivial if a == b => [s, s, 0.0],
            Sector::Trivial => [s, 0.0, 0.0],
            Sector::Standard(t) if a == t && b == t => [s, s, 0.0],
            Sector::Standard(t) if a == t => [s, 0.0, 0.0],
            _ => [0.0; 3],
        }
    }
}

/// Eigenvalues of one sector, ascending, each `multiplicity` times.
#[derive(Clone, Debug, PartialEq)]
pub struct SectorValues {
    pub sector: Sector,
    pub multiplicity: f64,
    pub values: Vec<f64>,
}

/// Second derivatives of the loss at a block-symmetric state, in sectors.
pub struct BlockHessian {
    partition: Partition,
    geometry: Geometry<f64>,
    /// Unit vectors of all groups of units: at the own index and elsewhere, on each coordinate set.
    directions: Array2<[f64; 2]>,
}

/// A perturbation: coefficients for each student group and coordinate set.
type Tensor = Array2<[f64; 3]>;

/// A perturbation with its projections on all units.
struct Projected {
    own: Tensor,
    /// A times the perturbation.
    spread: Tensor,
    /// delta_i . o^ for each student group and group of units.
    along: Tensor,
    /// delta_i . w_i^ for each student group.
    radial: Vec<f64>,
}

impl BlockHessian {
    /// At a state without units of norm zero.
    pub fn new(blocks: &Blocks) -> BlockHessian {
        let geometry = Geometry::<f64>::new(blocks);
        let directions = Array2::from_shape_fn(blocks.rows().dim(), |(g, set)| {
            blocks.rows()[[g, set]].map(|x| x / geometry.norms[g])
        });
        BlockHessian { partition: blocks.partition().clone(), geometry, directions }
    }

    /// The block of one sector as a quadratic form on its coefficients, and their Gram matrix.
    fn forms(&self, sector: Sector) -> (Array2<f64>, Array2<f64>) {
        let (sizes, sets) = (&self.geometry.sizes, &self.geometry.sets);
        let coordinates = self.partition.teacher_groups();
        let mut places = Vec::new();
        for g in 0..self.geometry.students {
            for set in 0..coordinates {
                places.extend(sector.components(sets[g], set, sizes).iter().map(|&c| (g, set, c)));
            }
        }
        let projected: Vec<Projected> = places.iter().map(|&place| self.project(sector, place)).collect();
        let n = places.len();
        let (mut form, mut gram) = (Array2::zeros((n, n)), Array2::zeros((n, n)));
        for i in 0..n {
            for j in 0..=i {
                let value = self.bilinear(sector, &projected[i], &projected[j]);
                (form[[i, j]], form[[j, i]]) = (value, value);
                let ((g, set, _), (h, other, _)) = (places[i], places[j]);
                if (g, set) == (h, other) {
                    let size =
                        sector.inner(sets[g], set, sizes, projected[i].own[[g, set]], projected[j].own[[g, set]]);
                    (gram[[i, j]], gram[[j, i]]) = (size, size);
                }
            }
        }
        (form, gram)
    }

    fn project(&self, sector: Sector, place: (usize, usize, usize)) -> Projected {
        let (sizes, sets) = (&self.geometry.sizes, &self.geometry.sets);
        let (students, units) = (self.geometry.students, sets.len());
        let coordinates = self.partition.teacher_groups();
        let (group, set, component) = place;
        let mut own = Array2::from_elem((students, coordinates), [0.0; 3]);
        own[[group, set]][component] = 1.0;
        let x = own[[group, set]];
        let mut along = Array2::from_elem((students, units), [0.0; 3]);
        for h in 0..units {
            let direction = self.directions[[h, set]];
            along[[group, h]] = sector.product((sets[group], set, sets[h]), sizes, x, direction);
        }
        // (A delta)^T = delta^T A, A symmetric.
        let mut spread = Array2::from_elem((students, coordinates), [0.0; 3]);
        let turned = sector.transposed(sets[group], set, x);
        for h in 0..students {
            let back =
                sector.product((set, sets[group], sets[h]), sizes, turned, self.geometry.coefficients[[group, h]]);
            spread[[h, set]] = sector.transposed(set, sets[h], back);
        }
        let radial = (0..students).map(|g| along[[g, g]][0]).collect();
        Projected { own, spread, along, radial }
    }

    /// The second variation (theory 08, eq. 08-second-variation).
    fn bilinear(&self, sector: Sector, x: &Projected, y: &Projected) -> f64 {
        let (sizes, sets) = (&self.geometry.sizes, &self.geometry.sets);
        let students = self.geometry.students;
        let mut sum = 0.0;
        for ((g, set), &value) in x.spread.indexed_iter() {
            sum += sector.inner(sets[g], set, sizes, value, y.own[[g, set]]);
        }
        // The rest belongs to the kinked part of the activation alone: a linear field has no second derivative.
        let [kinked, _] = self.geometry.mixture();
        for g in 0..students {
            for h in 0..sets.len() {
                let (a, b) = (sets[g], sets[h]);
                let others = self.geometry.others(g, h).map(|n| f64::from(u8::from(n != 0.0)));
                let angles = &self.geometry.angles[[g, h]];
                let strength = kinked * self.geometry.readouts[g] * self.geometry.readouts[h];
                // (1 / sin) (D - cos s)(D' - cos s') - sin s s', weighted by a strength / (2 pi |w|).
                let weight = |k: usize, f: fn(&Angle<f64>) -> f64| others[k] * f(&angles[k]);
                let norm_ratio = strength * self.geometry.norms[h] / (2.0 * PI * self.geometry.norms[g]);
                let cosines = [angles[0].cosine, angles[1].cosine];
                let repeated = |p: &Projected| sector.repeated(a, b, p.radial[g]);
                let across = |p: &Projected| {
                    let (d, s) = (p.along[[g, h]], sector.scaled(a, b, repeated(p), cosines));
                    [d[0] - s[0], d[1] - s[1], d[2] - s[2]]
                };
                let inverse = [weight(0, inverse_sine), weight(1, inverse_sine)];
                let sine = [weight(0, |angle| angle.sine), weight(1, |angle| angle.sine)];
                let first = sector.inner(a, b, sizes, sector.scaled(a, b, across(x), inverse), across(y));
                let second = sector.inner(a, b, sizes, sector.scaled(a, b, repeated(x), sine), repeated(y));
                sum += norm_ratio * (first - second);
                if h < students {
                    // tan (s_i + D_ij)(s_j + D_ji) + cot (s_i - D_ij)(s_j - D_ji), weighted by a a / 4 pi.
                    let mixed = |p: &Projected, sign: f64| {
                        let (d, s) = (p.along[[g, h]], repeated(p));
                        [s[0] + sign * d[0], s[1] + sign * d[1], s[2] + sign * d[2]]
                    };
                    let back = |p: &Projected, sign: f64| {
                        let (d, s) = (p.along[[h, g]], sector.repeated(b, a, p.radial[h]));
                        sector.transposed(b, a, [s[0] + sign * d[0], s[1] + sign * d[1], s[2] + sign * d[2]])
                    };
                    let tangent = [weight(0, half_tangent), weight(1, half_tangent)];
                    let cotangent = [weight(0, half_cotangent), weight(1, half_cotangent)];
                    let plus = sector.inner(a, b, sizes, sector.scaled(a, b, mixed(x, 1.0), tangent), back(y, 1.0));
                    let minus =
                        sector.inner(a, b, sizes, sector.scaled(a, b, mixed(x, -1.0), cotangent), back(y, -1.0));
                    sum += strength / (4.0 * PI) * (plus + minus);
                }
            }
        }
        sum
    }

    /// The block of a sector in coordinates in which its Gram matrix is the identity: symmetric. `None` where that has no
    /// real form (sets of real size between 1 and 2).
    pub fn block(&self, sector: Sector) -> Option<Array2<f64>> {
        let (form, gram) = self.forms(sector);
        let root = inverse_root(&gram)?;
        Some(root.t().dot(&form).dot(&root))
    }

    /// Eigenvalues of one sector inside the span, ascending.
    ///
    /// # Errors
    /// Those of the eigenvalue solver.
    pub fn sector(&self, sector: Sector) -> Result<SectorValues> {
        let multiplicity = sector.multiplicity(&self.partition);
        let values = match self.block(sector) {
            Some(block) => linalg::eigvalsh(block.view())?.to_vec(),
            None => {
                let (form, gram) = self.forms(sector);
                let (sizes, vectors) = linalg::eigh(gram.view())?;
                let inverse = vectors.dot(&Array2::from_diag(&sizes.mapv(|x| 1.0 / x))).dot(&vectors.t());
                let quotient = inverse.dot(&form);
                let mut values: Vec<f64> = linalg::eigenvalues(quotient.view())?.iter().map(|z| z[0]).collect();
                values.sort_by(f64::total_cmp);
                values
            }
        };
        Ok(SectorValues { sector, multiplicity, values })
    }

    /// All sectors inside the span: together the K s eigenvalues with their multiplicities.
    ///
    /// # Errors
    /// As [`BlockHessian::sector`].
    pub fn span(&self) -> Result<Vec<SectorValues>> {
        Sector::all(&self.partition).into_iter().map(|sector| self.sector(sector)).collect()
    }

    /// The block of a sector across the span, per further dimension (trivial and standard sectors; empty for others).
    pub fn transverse_block(&self, sector: Sector) -> Option<Array2<f64>> {
        let (sizes, sets) = (&self.geometry.sizes, &self.geometry.sets);
        let students = self.geometry.students;
        let a = self.geometry.coefficients.slice(s![.., ..students]);
        match sector {
            Sector::Trivial => Some(Array2::from_shape_fn((students, students), |(g, h)| {
                let [same, other] = a[[g, h]];
                if sets[g] == sets[h] {
                    same + (sizes[sets[g]] - 1.0) * other
                } else {
                    other * (sizes[sets[g]] * sizes[sets[h]]).sqrt()
                }
            })),
            Sector::Standard(set) => {
                let groups: Vec<usize> = (0..students).filter(|&g| sets[g] == set).collect();
                Some(Array2::from_shape_fn((groups.len(), groups.len()), |(i, j)| {
                    let [same, other] = a[[groups[i], groups[j]]];
                    same - other
                }))
            }
            _ => None,
        }
    }

    /// All sectors across the span: together the K eigenvalues of every further dimension.
    ///
    /// # Errors
    /// As [`BlockHessian::sector`].
    pub fn transverse(&self) -> Result<Vec<SectorValues>> {
        let sectors = Sector::all(&self.partition).into_iter();
        let mut out = Vec::new();
        for sector in sectors.filter(|sector| matches!(sector, Sector::Trivial | Sector::Standard(_))) {
            let Some(block) = self.transverse_block(sector).filter(|block| !block.is_empty()) else { continue };
            let values = linalg::eigvalsh(block.view())?.to_vec();
            out.push(SectorValues { sector, multiplicity: sector.multiplicity(&self.partition), values });
        }
        Ok(out)
    }
}

fn inverse_sine(angle: &Angle<f64>) -> f64 {
    if angle.sine > 0.0 { 1.0 / angle.sine } else { 0.0 }
}

/// tan(theta / 2); 0 for opposite units, whose mixed second derivative has no such part.
fn half_tangent(angle: &Angle<f64>) -> f64 {
    if angle.sine == 0.0 {
        0.0
    } else if angle.cosine >= 0.0 {
        angle.sine / (1.0 + angle.cosine)
    } else {
        (1.0 - angle.cosine) / angle.sine
    }
}

fn half_cotangent(angle: &Angle<f64>) -> f64 {
    let tangent = half_tangent(angle);
    if tangent > 0.0 { 1.0 / tangent } else { 0.0 }
}

/// X with X^T G X = I by Cholesky factors; `None` unless G is positive definite.
fn inverse_root(gram: &Array2<f64>) -> Option<Array2<f64>> {
    let n = gram.nrows();
    // G = L L^T, X = L^-T.
    let mut l = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let rest = gram[[i, j]] - (0..j).map(|k| l[[i, k]] * l[[j, k]]).sum::<f64>();
            if i == j {
                if rest <= 1e-14 * gram[[i, i]] {
                    return None;
                }
                l[[i, i]] = rest.sqrt();
            } else {
                l[[i, j]] = rest / l[[j, j]];
            }
        }
    }
    let mut x = Array2::<f64>::zeros((n, n));
    for c in 0..n {
        // Column c of L^-T: solve L^T x = e_c upwards.
        for i in (0..=c).rev() {
            let known: f64 = (i + 1..=c).map(|k| l[[k, i]] * x[[k, c]]).sum();
            x[[i, c]] = (f64::from(u8::from(i == c)) - known) / l[[i, i]];
        }
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BlockTeacher;
    use crate::population::{block_gradient, block_risk, coefficients, hessian, risk_exact};
    use twofloat::TwoFloat;

    /// States away from critical points, with equal sets, sets of one and two, several student groups on a set, free
    /// groups of equal students, readouts of both signs, correlated teachers and leaky ReLU.
    fn examples() -> Vec<Blocks> {
        let make = |teachers: &[f64], matched: &[usize], free: &[f64], rho: f64, slope: f64| {
            let partition = Partition::new(teachers, matched, free).unwrap();
            let entry = |i: usize| 0.3 * (1.3 * i as f64).sin() + if i.is_multiple_of(4) { 0.7 } else { 0.0 };
            let entries: Vec<f64> = (0..partition.entries().len()).map(entry).collect();
            let readouts = (0..matched.len() + free.len()).map(|g| [1.0, 0.5, -1.5][g % 3]).collect();
            let teacher = BlockTeacher { slope, ..BlockTeacher::correlated(teachers.len(), rho) };
            Blocks::new(partition, teacher, &entries, Some(readouts)).unwrap()
        };
        vec![
            make(&[6.0], &[0], &[], 0.0, 0.0),
            make(&[1.0, 5.0], &[0, 1], &[], 0.0, 0.1),
            make(&[2.0, 3.0], &[0, 1], &[1.0], 0.2, 0.0),
            make(&[4.0, 3.0], &[0, 1, 1], &[2.0], -0.1, 0.0),
            make(&[1.0, 2.0, 4.0], &[0, 2, 0], &[3.0, 1.0], 0.3, -0.6),
            make(&[4.0, 5.0], &[1], &[1.0], 0.0, 0.5),
        ]
    }

    fn listed(levels: &[SectorValues]) -> Vec<f64> {
        let mut values: Vec<f64> = levels
            .iter()
            .flat_map(|level| level.values.iter().flat_map(|&x| std::iter::repeat_n(x, level.multiplicity as usize)))
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }

    #[test]
    fn blocks_agree_with_the_dense_state() {
        for (number, blocks) in examples().iter().enumerate() {
            let (weights, teacher) = blocks.expand().unwrap();
            let loss = risk_exact(&weights, &teacher, 0);
            assert!((block_risk(blocks) / loss - 1.0).abs() < 1e-12, "{number}: loss");
            let c = coefficients(&weights, &teacher, 0);
            let gradient = c.a.dot(weights.rows()) + c.b.dot(teacher.vectors());
            // The gradient as a block-symmetric state of its own has the dense gradient's length.
            let squares = |values: Vec<f64>| -> f64 {
                blocks.partition().entries().iter().zip(values).map(|(entry, g)| entry.count * g * g).sum()
            };
            let size: f64 = gradient.iter().map(|g| g * g).sum();
            assert!((squares(block_gradient::<f64>(blocks)) / size - 1.0).abs() < 1e-12, "{number}: gradient");
            assert!(
                (squares(block_gradient::<TwoFloat>(blocks)) / size - 1.0).abs() < 1e-12,
                "{number}: exact gradient"
            );
            let dense = hessian(&weights, &teacher, 0).unwrap();
            let sectors = BlockHessian::new(blocks);
            for (name, matrix, levels) in [
                ("span", &dense.span, sectors.span().unwrap()),
                ("transverse", &dense.transverse, sectors.transverse().unwrap()),
            ] {
                let (values, expected) = (listed(&levels), linalg::eigvalsh(matrix.view()).unwrap());
                assert_eq!(values.len(), expected.len(), "{number}: {name} {levels:?}");
                for (x, y) in values.iter().zip(&expected) {
                    assert!((x - y).abs() < 1e-12 * linalg::max_abs(&expected), "{number}: {name} {x} {y}");
                }
            }
        }
    }
}
