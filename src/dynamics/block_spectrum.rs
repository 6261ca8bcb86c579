//! Stability of a block-symmetric state of SGD against all perturbations of the overlaps, sector by sector.
//!
//! The Jacobian commutes with the permutations inside the groups. A perturbation of one irreducible representation has
//! copies that keep some symmetry: in (n - 1, 1) all but one index stay equal, in (n - 2, 2) and (n - 2, 1, 1) all but two.
//! So each sector is a part of the Jacobian of the same equations on finer groups, in time independent of the sizes
//! (theory 08, the same reduction as for the Hessian; blocks are not symmetric here).

use ndarray::{Array1, Array2};

use super::block_sgd::BlockSgd;
use crate::error::Result;
use crate::model::Partition;
use crate::numerics::linalg;
use crate::population::Sector;

/// Eigenvalues of one sector, (real, imaginary), the largest real part first, each `multiplicity` times.
#[derive(Clone, Debug, PartialEq)]
pub struct SectorRates {
    pub sector: Sector,
    pub multiplicity: f64,
    pub values: Vec<[f64; 2]>,
}

/// A sector as a subspace of the overlaps of a finer system.
#[derive(Clone, Debug)]
struct Space {
    sector: Sector,
    /// Index of the finer system.
    system: usize,
    /// Orthonormal basis in overlaps times the square roots of their counts.
    basis: Array2<f64>,
}

/// All sectors of a system, for states of its symmetry.
#[derive(Clone, Debug)]
pub struct BlockSpectrum {
    partition: Partition,
    /// Finer systems with the class of the original system that each class is part of.
    systems: Vec<(BlockSgd, Vec<usize>)>,
    spaces: Vec<Space>,
}

/// Square roots of the counts of a system's classes.
fn scales(system: &BlockSgd) -> Array1<f64> {
    system.classes().iter().map(|class| class.count.sqrt()).collect()
}

/// States of a coarser symmetry as a subspace of a finer system: columns for the classes of the coarse one.
fn embedding(fine: &BlockSgd, map: &[usize], coarse: usize) -> Array2<f64> {
    let scales = scales(fine);
    Array2::from_shape_fn((map.len(), coarse), |(f, c)| if map[f] == c { scales[f] } else { 0.0 })
}

/// Orthonormal basis of what is orthogonal to all these columns.
fn complement(columns: &[Array2<f64>]) -> Result<Array2<f64>> {
    let rows = columns.first().map_or(0, Array2::nrows);
    let mut gram = Array2::<f64>::zeros((rows, rows));
    for part in columns {
        for column in part.columns() {
            let square = column.dot(&column);
            if square > 0.0 {
                for i in 0..rows {
                    for j in 0..rows {
                        gram[[i, j]] += column[i] * column[j] / square;
                    }
                }
            }
        }
    }
    let (values, vectors) = linalg::eigh(gram.view())?;
    let free = values.iter().filter(|&&x| x < 1e-9).count();
    Ok(vectors.slice(ndarray::s![.., ..free]).to_owned())
}

fn composed(first: &[usize], second: &[usize]) -> Vec<usize> {
    first.iter().map(|&at| second[at]).collect()
}

impl BlockSpectrum {
    /// The sectors of a system whose sizes are not varied.
    ///
    /// # Errors
    /// Those of the eigenvalue solver.
    pub fn new(system: &BlockSgd) -> Result<BlockSpectrum> {
        let sizes = system.partition().sizes().to_vec();
        let n = system.classes().len();
        let mut out = BlockSpectrum {
            partition: system.partition().clone(),
            systems: vec![(system.clone(), (0..n).collect())],
            spaces: vec![Space { sector: Sector::Trivial, system: 0, basis: Array2::eye(n) }],
        };
        for set in (0..sizes.len()).filter(|&set| sizes[set] >= 2.0) {
            let (fine, map) = system.refined(set, 1.0)?;
            let basis = complement(&[embedding(&fine, &map, n)])?;
            out.push(&fine, &map, vec![(Sector::Standard(set), basis)]);
            if sizes[set] < 3.0 {
                continue;
            }
            // Sets of 1, 1 and n - 2: standard perturbations single out the first or the second index.
            let (finer, onto) = fine.refined(set + 1, 1.0)?;
            let swap = exchange(&finer, set);
            let first = embedding(&finer, &onto, map.len());
            let second = Array2::from_shape_fn(first.dim(), |(f, c)| first[[swap[f], c]]);
            let rest = complement(&[first, second])?;
            let turned = Array2::from_shape_fn(rest.dim(), |(f, c)| rest[[swap[f], c]]);
            let (signs, vectors) = linalg::eigh(rest.t().dot(&turned).view())?;
            let odd = signs.iter().filter(|&&x| x < 0.0).count();
            let basis = rest.dot(&vectors);
            let [odd, even] = [basis.slice(ndarray::s![.., ..odd]), basis.slice(ndarray::s![.., odd..])];
            let spaces = vec![(Sector::Symmetric(set), even.to_owned()), (Sector::Exterior(set), odd.to_owned())];
            out.push(&finer, &composed(&onto, &map), spaces);
        }
        for a in (0..sizes.len()).filter(|&set| sizes[set] >= 2.0) {
            for b in (a + 1..sizes.len()).filter(|&set| sizes[set] >= 2.0) {
                let (of_a, from_a) = system.refined(a, 1.0)?;
                let (of_b, from_b) = system.refined(b, 1.0)?;
                // Both orders give the same finer system.
                let (finer, onto_a) = of_a.refined(b + 1, 1.0)?;
                let (_, onto_b) = of_b.refined(a, 1.0)?;
                let known = [embedding(&finer, &onto_a, from_a.len()), embedding(&finer, &onto_b, from_b.len())];
                let basis = complement(&known)?;
                out.push(&finer, &composed(&onto_a, &from_a), vec![(Sector::Product(a, b), basis)]);
            }
        }
        Ok(out)
    }

    fn push(&mut self, fine: &BlockSgd, map: &[usize], spaces: Vec<(Sector, Array2<f64>)>) {
        let system = self.systems.len();
        let spaces = spaces.into_iter().filter(|(_, basis)| basis.ncols() > 0);
        let known = self.spaces.len();
        self.spaces.extend(spaces.map(|(sector, basis)| Space { sector, system, basis }));
        if self.spaces.len() > known {
            self.systems.push((fine.clone(), map.to_vec()));
        }
    }

    /// The sectors, in the order of [`BlockSpectrum::rates`].
    pub fn sectors(&self) -> Vec<Sector> {
        self.spaces.iter().map(|space| space.sector).collect()
    }

    /// Dimension of a sector's block; 0 for a sector that does not occur.
    pub fn size(&self, sector: Sector) -> usize {
        self.spaces.iter().find(|space| space.sector == sector).map_or(0, |space| space.basis.ncols())
    }

    /// The block of one sector of the Jacobian of [`BlockSpectrum::rates`]; empty for a sector that does not occur.
    ///
    /// # Errors
    /// Those of [`BlockSgd::at`].
    pub fn block(&self, sector: Sector, x: &[f64], p: f64) -> Result<Array2<f64>> {
        match self.spaces.iter().find(|space| space.sector == sector) {
            Some(space) => Ok(space.basis.t().dot(&self.jacobian(space.system, x, p)?).dot(&space.basis)),
            None => Ok(Array2::zeros((0, 0))),
        }
    }

    /// Jacobian of a finer system in overlaps times the square roots of their counts.
    fn jacobian(&self, system: usize, x: &[f64], p: f64) -> Result<Array2<f64>> {
        let (system, map) = &self.systems[system];
        let system = system.at(p)?;
        let carried: Vec<f64> = map.iter().map(|&at| x[at]).collect();
        let (mut jacobian, scales) = (system.velocity_derivatives(&carried), scales(&system));
        for ((row, column), slope) in jacobian.indexed_iter_mut() {
            *slope *= scales[row] / scales[column];
        }
        Ok(jacobian)
    }

    /// Eigenvalues of the Jacobian of the velocity divided by the learning rate at x (unknowns of the original system) and
    /// the value p of its parameter, by sector. With their multiplicities they are those of the dense Jacobian divided by
    /// the learning rate.
    ///
    /// # Errors
    /// Those of the eigenvalue solver; of [`BlockSgd::at`].
    pub fn rates(&self, x: &[f64], p: f64) -> Result<Vec<SectorRates>> {
        let jacobians =
            (0..self.systems.len()).map(|system| self.jacobian(system, x, p)).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::with_capacity(self.spaces.len());
        for space in &self.spaces {
            let block = space.basis.t().dot(&jacobians[space.system]).dot(&space.basis);
            let multiplicity = space.sector.multiplicity(&self.partition);
            out.push(SectorRates { sector: space.sector, multiplicity, values: linalg::eigenvalues(block.view())? });
        }
        Ok(out)
    }
}

/// The exchange of the sets `set` and `set + 1`, both of one index, as a permutation of the classes.
fn exchange(system: &BlockSgd, set: usize) -> Vec<usize> {
    let sets = system.partition().unit_sets();
    let students = system.partition().student_sets().len();
    let place = |group: usize, own: usize| {
        let range = if group < students { 0..students } else { students..sets.len() };
        let rank = range.clone().filter(|&g| g < group && sets[g] == sets[group]).count();
        range.filter(|&g| sets[g] == own).nth(rank).unwrap_or(group)
    };
    let turned = |group: usize| match sets[group] {
        own if own == set => place(group, set + 1),
        own if own == set + 1 => place(group, set),
        _ => group,
    };
    let classes = system.classes();
    let image = |at: usize| {
        let (g, h) = (turned(classes[at].first), turned(classes[at].second));
        let found = classes
            .iter()
            .position(|class| (class.first, class.second, class.same) == (g.min(h), g.max(h), classes[at].same));
        found.unwrap_or(at)
    };
    (0..classes.len()).map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::{BlockParameter, Equations};
    use crate::model::{BlockTeacher, Blocks, Partition, Sgd};

    /// All sectors with their multiplicities give the eigenvalues of the dense Jacobian, complex ones included.
    #[test]
    fn sectors_make_up_the_dense_spectrum() {
        let mut complex = 0;
        for (number, (teachers, matched, free, rho)) in [
            (&[6.0][..], &[0][..], &[][..], 0.0),
            (&[1.0, 5.0], &[0, 1], &[], 0.1),
            (&[2.0, 4.0], &[0, 1], &[1.0], 0.0),
            (&[3.0, 3.0], &[0, 1, 1], &[], 0.1),
            (&[4.0, 2.0], &[0], &[4.0], 0.0),
        ]
        .into_iter()
        .enumerate()
        {
            let partition = Partition::new(teachers, matched, free).unwrap();
            let entries: Vec<f64> = (0..partition.entries().len())
                .map(|i| 0.4 * (1.7 * i as f64).sin() + if i % 3 == 0 { 0.6 } else { 0.0 })
                .collect();
            let readouts = (0..matched.len() + free.len()).map(|g| [1.0, 0.6, -1.3][g % 3]).collect();
            let teacher = BlockTeacher::correlated(teachers.len(), rho);
            let blocks = Blocks::new(partition, teacher, &entries, Some(readouts)).unwrap();
            let rule = Sgd { learning_rate: 0.9, label_noise: 0.2, ..Sgd::default() };
            let system = BlockSgd::new(&blocks, rule, BlockParameter::LearningRate).unwrap();
            let mut x = system.pack(&blocks);
            for (x, class) in x.iter_mut().zip(system.classes()) {
                *x *= if class.first == class.second && class.same { 1.2 } else { 1.0 };
            }
            let (overlaps, teacher) = system.expand(&x).unwrap();
            let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
            let jacobian = equations.jacobian(0.0, &equations.pack(&overlaps)) / 0.9;
            let mut expected = linalg::eigenvalues(jacobian.view()).unwrap();
            let rates = BlockSpectrum::new(&system).unwrap().rates(&x, 0.9).unwrap();
            let scale = linalg::max_abs(&jacobian);
            for level in &rates {
                for value in &level.values {
                    complex += usize::from(value[1] != 0.0);
                    for _ in 0..level.multiplicity as usize {
                        let distance = |z: &[f64; 2]| (z[0] - value[0]).hypot(z[1] - value[1]);
                        let nearest = (0..expected.len())
                            .min_by(|&i, &j| distance(&expected[i]).total_cmp(&distance(&expected[j])))
                            .unwrap();
                        let found = expected.swap_remove(nearest);
                        assert!(distance(&found) < 1e-9 * scale, "{number} {:?}: {value:?} {found:?}", level.sector);
                    }
                }
            }
            assert!(expected.is_empty(), "{number}: {} eigenvalues are missing", expected.len());
        }
        assert!(complex > 0);
    }
}
