//! States up to relabelling: student permutations times automorphisms of the teacher.
//!
//! Overlap matrices are read as an edge-labelled graph on K + M vertices. Entries are first put into clusters (two entries
//! are equal when no gap separates them), then colour refinement splits the vertices; cells on which a full symmetric group
//! acts are ordered at once, anything else by individualising each candidate and keeping the smallest refinement. This
//! gives a canonical form: equal for relabelled states, and comparable entry by entry. (The refinement tells vertices
//! apart for every state met in these landscapes; two candidates that it cannot tell apart are taken as equivalent.)

use ndarray::Array2;

use super::{Overlaps, Teacher};
use crate::numerics::{linalg, tolerance};

/// A state in canonical order with its symmetry cells.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// Position to original student.
    pub students: Vec<usize>,
    /// Position to original teacher.
    pub teachers: Vec<usize>,
    /// Q in canonical order, K x K.
    pub q: Array2<f64>,
    /// R in canonical order, K x M.
    pub r: Array2<f64>,
    /// T in canonical order, M x M: equal to T when only interchangeable teachers were moved.
    pub t: Array2<f64>,
    /// Cells of equivalent students (original indices), and of equivalent teachers.
    pub student_cells: Vec<Vec<usize>>,
    pub teacher_cells: Vec<Vec<usize>>,
}

impl Canonical {
    /// Canonical form of one task's state.
    pub fn new(overlaps: &Overlaps, teacher: &Teacher, task: usize) -> Canonical {
        let graph = Graph::new(overlaps, teacher, task);
        let coarse = graph.refine(graph.initial.clone());
        let (k, m) = overlaps.r().dim();
        let cells = cells(&coarse);
        let order = graph.order(coarse);
        let students: Vec<usize> = order.iter().copied().filter(|&v| v < k).collect();
        let teachers: Vec<usize> = order.iter().filter(|&&v| v >= k).map(|v| v - k).collect();
        Canonical {
            q: Array2::from_shape_fn((k, k), |(i, j)| overlaps.q()[[students[i], students[j]]]),
            r: Array2::from_shape_fn((k, m), |(i, j)| overlaps.r()[[students[i], teachers[j]]]),
            t: Array2::from_shape_fn((m, m), |(i, j)| teacher.gram()[[teachers[i], teachers[j]]]),
            student_cells: cells.iter().filter(|cell| cell[0] < k).cloned().collect(),
            teacher_cells: cells
                .iter()
                .filter(|cell| cell[0] >= k)
                .map(|cell| cell.iter().map(|v| v - k).collect())
                .collect(),
            students,
            teachers,
        }
    }

    /// Largest difference of an entry of Q, R or T between two canonical forms; infinite for different shapes.
    pub fn distance(&self, other: &Canonical) -> f64 {
        if self.r.dim() != other.r.dim() {
            return f64::INFINITY;
        }
        let largest = |a: &Array2<f64>, b: &Array2<f64>| a.iter().zip(b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs()));
        largest(&self.q, &other.q).max(largest(&self.r, &other.r)).max(largest(&self.t, &other.t))
    }
}

/// Distance of two states of the same problem up to relabelling: that of their canonical forms.
pub fn distance(a: &Overlaps, b: &Overlaps, teacher: &Teacher, task: usize) -> f64 {
    Canonical::new(a, teacher, task).distance(&Canonical::new(b, teacher, task))
}

/// Labelled complete graph: vertices 0..K students, K..K+M teachers.
struct Graph {
    n: usize,
    labels: Vec<u32>,
    initial: Vec<u32>,
}

impl Graph {
    fn new(overlaps: &Overlaps, teacher: &Teacher, task: usize) -> Graph {
        let (k, m) = overlaps.r().dim();
        let n = k + m;
        let scale = linalg::max_abs(overlaps.q()).max(linalg::max_abs(teacher.gram()));
        let gap = tolerance::CLUSTER * scale;
        let [q, r, t] = [overlaps.q(), overlaps.r(), teacher.gram()]
            .map(|matrix| clusters(&matrix.iter().copied().collect::<Vec<_>>(), gap));
        let mut labels = vec![0u32; n * n];
        for i in 0..n {
            for j in 0..n {
                labels[i * n + j] = match (i < k, j < k) {
                    (true, true) => q[i * k + j],
                    (true, false) => r[i * m + j - k],
                    (false, true) => r[j * m + i - k],
                    (false, false) => t[(i - k) * m + j - k],
                };
            }
        }
        let a = clusters(&overlaps.readouts().row(task).to_vec(), tolerance::CLUSTER);
        let b = clusters(&teacher.readouts().row(task).to_vec(), tolerance::CLUSTER);
        let keys: Vec<Vec<u32>> =
            (0..n).map(|v| vec![u32::from(v >= k), if v < k { a[v] } else { b[v - k] }, labels[v * n + v]]).collect();
        Graph { n, labels, initial: ranks(&keys) }
    }

    /// Splits colours by the multiset of (label, colour) around each vertex until nothing changes. Colours are numbered
    /// from 0 without gaps, in an order that does not depend on the vertices' numbers.
    fn refine(&self, mut colour: Vec<u32>) -> Vec<u32> {
        let mut count = count(&colour);
        while count < self.n {
            let keys: Vec<Vec<u32>> = (0..self.n)
                .map(|v| {
                    let mut key: Vec<u32> = Vec::with_capacity(self.n + 1);
                    key.extend(
                        (0..self.n).filter(|&u| u != v).map(|u| (self.labels[v * self.n + u] << 10) | colour[u]),
                    );
                    key.sort_unstable();
                    key.insert(0, colour[v]);
                    key
                })
                .collect();
            let new = ranks(&keys);
            let new_count = new.iter().max().map_or(0, |c| *c as usize + 1);
            colour = new;
            if new_count == count {
                break;
            }
            count = new_count;
        }
        colour
    }

    /// Vertices in canonical order.
    fn order(&self, mut colour: Vec<u32>) -> Vec<usize> {
        loop {
            let cells = cells(&colour);
            let Some(open) = cells.iter().find(|cell| cell.len() > 1) else { break };
            let families = self.joined(&cells, open);
            let split: Vec<Vec<u32>> = match families {
                // All relabellings of the cell are symmetries: order it, and the cells tied to it, in one go.
                Some(tied) => vec![self.refine(spread(&colour, &tied))],
                None => open.iter().map(|&v| self.refine(spread(&colour, &[vec![v]]))).collect(),
            };
            let best = split.into_iter().min_by_key(|candidate| self.invariant(candidate));
            colour = best.unwrap_or(colour);
        }
        let mut order: Vec<usize> = (0..self.n).collect();
        order.sort_by_key(|&v| colour[v]);
        order
    }

    /// If the symmetric group of a cell acts by symmetries of the graph (fixing every other cell or permuting it in
    /// step): the cell and the cells in step with it, each in matching order.
    fn joined(&self, cells: &[Vec<usize>], cell: &[usize]) -> Option<Vec<Vec<usize>>> {
        let label = |u: usize, v: usize| self.labels[u * self.n + v];
        let uniform = |a: &[usize], b: &[usize]| {
            let first = label(a[0], b[0]);
            a.iter().all(|&u| b.iter().all(|&v| label(u, v) == first))
        };
        let inside = |a: &[usize]| {
            a.len() < 2
                || a.iter().enumerate().all(|(i, &u)| a.iter().skip(i + 1).all(|&v| label(u, v) == label(a[0], a[1])))
        };
        // In step: the diagonal label differs from the constant off-diagonal one.
        let in_step = |a: &[usize], b: &[usize]| {
            let (diagonal, off) = (label(a[0], b[0]), label(a[0], b[1]));
            a.iter()
                .enumerate()
                .all(|(i, &u)| b.iter().enumerate().all(|(j, &v)| label(u, v) == if i == j { diagonal } else { off }))
        };
        if !inside(cell) {
            return None;
        }
        let mut tied = vec![cell.to_vec()];
        for other in cells {
            if other[0] == cell[0] || uniform(cell, other) {
                continue;
            }
            if other.len() != cell.len() || !inside(other) {
                return None;
            }
            // Each vertex's partner is the one whose label occurs once in its row (the larger label for two by two).
            let first_row: Vec<u32> = other.iter().map(|&v| label(cell[0], v)).collect();
            let rare = first_row.iter().filter(|&&x| first_row.iter().filter(|&&y| y == x).count() == 1).max()?;
            let partners: Option<Vec<usize>> =
                cell.iter().map(|&u| other.iter().copied().find(|&v| label(u, v) == *rare)).collect();
            let partners = partners?;
            let mut sorted = partners.clone();
            sorted.sort_unstable();
            sorted.dedup();
            if sorted.len() != cell.len() || !in_step(cell, &partners) {
                return None;
            }
            tied.push(partners);
        }
        // Cells tied to this one must be uniform with every further cell and in step or uniform among themselves.
        for (i, a) in tied.iter().enumerate() {
            for b in &tied[i + 1..] {
                if !uniform(a, b) && !in_step(a, b) {
                    return None;
                }
            }
            for other in cells {
                let is_tied = tied.iter().any(|t| t.contains(&other[0]));
                if !is_tied && !uniform(a, other) {
                    return None;
                }
            }
        }
        Some(tied)
    }

    /// What a colouring says about the graph, independent of the vertices' numbers: the labels in colour order.
    fn invariant(&self, colour: &[u32]) -> Vec<u32> {
        let mut order: Vec<usize> = (0..self.n).collect();
        order.sort_by_key(|&v| colour[v]);
        let mut key = Vec::with_capacity(self.n * (self.n + 1));
        for &u in &order {
            key.push(colour[u]);
            let mut row: Vec<(u32, u32)> =
                order.iter().filter(|&&v| v != u).map(|&v| (colour[v], self.labels[u * self.n + v])).collect();
            row.sort_unstable();
            key.extend(row.iter().map(|(_, label)| *label));
        }
        key
    }
}

/// Gives the vertices of each list distinct colours in list order, below the rest of their cell.
fn spread(colour: &[u32], lists: &[Vec<usize>]) -> Vec<u32> {
    let n = colour.len();
    let mut keys: Vec<Vec<u32>> = colour.iter().map(|&c| vec![c, n as u32]).collect();
    for list in lists {
        for (position, &v) in list.iter().enumerate() {
            keys[v][1] = position as u32;
        }
    }
    ranks(&keys)
}

fn count(colour: &[u32]) -> usize {
    colour.iter().max().map_or(0, |c| *c as usize + 1)
}

/// Vertices by colour, each cell ascending.
fn cells(colour: &[u32]) -> Vec<Vec<usize>> {
    let mut cells = vec![Vec::new(); count(colour)];
    for (v, &c) in colour.iter().enumerate() {
        cells[c as usize].push(v);
    }
    cells
}

/// Rank of each key among the distinct keys.
fn ranks<T: Ord>(keys: &[Vec<T>]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].cmp(&keys[b]));
    let mut rank = vec![0; keys.len()];
    let mut current = 0;
    for pair in 0..order.len() {
        if pair > 0 && keys[order[pair]] != keys[order[pair - 1]] {
            current += 1;
        }
        rank[order[pair]] = current;
    }
    rank
}

/// Cluster number of each value, ascending; a new cluster begins where the sorted values leave a gap.
fn clusters(values: &[f64], gap: f64) -> Vec<u32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut cluster = vec![0; values.len()];
    let mut current = 0;
    for pair in 0..order.len() {
        if pair > 0 && values[order[pair]] - values[order[pair - 1]] > gap {
            current += 1;
        }
        cluster[order[pair]] = current;
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Weights;
    use crate::numerics::random;
    use rand::Rng;
    use rand::seq::SliceRandom;

    fn shuffled(w: &Array2<f64>, seed: u64) -> Array2<f64> {
        let mut rng = random::stream(seed, &[77]);
        let mut rows: Vec<usize> = (0..w.nrows()).collect();
        let mut columns: Vec<usize> = (0..w.ncols()).collect();
        rows.shuffle(&mut rng);
        columns.shuffle(&mut rng);
        Array2::from_shape_fn(w.dim(), |(i, j)| w[[rows[i], columns[j]]] + 1e-13 * rng.random_range(-1.0..1.0))
    }

    /// Flipped families, a split unit, an extra unit, two blocks of equal size, random states: shuffled copies (with noise
    /// of 1e-13) agree, and a change of one entry by 1e-6 is seen.
    #[test]
    fn shuffled_states_are_equal_and_changed_ones_are_not() {
        let flipped = |k: usize, m: usize, k1: usize| {
            Array2::from_shape_fn((k, m), |(i, j)| match (i < k1, j < k1, i == j) {
                (true, _, true) => -0.8,
                (true, true, _) => 0.1,
                (true, false, _) => 0.07,
                (false, _, true) => 1.0,
                (false, true, _) => 0.11,
                (false, false, _) => -0.01,
            })
        };
        let mut rng = random::stream(4, &[]);
        let mut states =
            vec![flipped(17, 17, 0), flipped(17, 17, 1), flipped(17, 17, 5), flipped(12, 12, 6), flipped(9, 8, 3)];
        states.push(Array2::from_shape_fn((6, 5), |_| rng.random_range(-1.0..1.0)));
        let mut split = Array2::zeros((4, 3));
        (split[[0, 0]], split[[1, 0]], split[[2, 1]], split[[3, 2]]) = (0.25, 0.75, 1.0, 1.0);
        states.push(split);
        // A cycle: cells that no symmetric group permutes.
        states.push(Array2::from_shape_fn((6, 6), |(i, j)| match (j + 6 - i) % 6 {
            0 => 1.0,
            1 => 0.5,
            _ => 0.0,
        }));
        for (s, w) in states.iter().enumerate() {
            let teacher = Teacher::orthonormal(w.ncols()).unwrap();
            let overlaps = |w: Array2<f64>| Weights::new(w, None, &teacher).unwrap().overlaps(&teacher);
            let original = overlaps(w.clone());
            for seed in 0..10 {
                let close = distance(&original, &overlaps(shuffled(w, seed)), &teacher, 0);
                assert!(close < 1e-11, "state {s}, seed {seed}: {close:e}");
                let mut changed = shuffled(w, seed);
                changed[[0, 0]] += 1e-6;
                let far = distance(&original, &overlaps(changed), &teacher, 0);
                assert!(far > 4e-7, "state {s}, seed {seed}: {far:e}");
            }
        }
    }

    #[test]
    fn only_automorphisms_of_the_teacher_move_teachers() {
        let teacher = Teacher::graded(3, 0.5).unwrap();
        let overlaps = |w: Array2<f64>| Weights::new(w, None, &teacher).unwrap().overlaps(&teacher);
        let one = overlaps(ndarray::array![[1.0, 0.0, 0.0], [0.0, 0.3, 0.0]]);
        let swapped_students = overlaps(ndarray::array![[0.0, 0.3, 0.0], [1.0, 0.0, 0.0]]);
        let swapped_teachers = overlaps(ndarray::array![[0.0, 1.0, 0.0], [0.3, 0.0, 0.0]]);
        assert!(distance(&one, &swapped_students, &teacher, 0) < 1e-15);
        assert!(distance(&one, &swapped_teachers, &teacher, 0) > 1e-2);
    }

    #[test]
    fn cells_are_the_isotropy_blocks() {
        let teacher = Teacher::orthonormal(5).unwrap();
        let mut w = Array2::eye(5);
        w.row_mut(3).fill(0.2);
        w[[3, 3]] = -0.7;
        let state = Weights::new(w, None, &teacher).unwrap().overlaps(&teacher);
        let canonical = Canonical::new(&state, &teacher, 0);
        let mut sizes: Vec<usize> = canonical.student_cells.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 4]);
        assert!(canonical.student_cells.contains(&vec![3]) && canonical.teacher_cells.contains(&vec![3]));
        assert_eq!(canonical.t, *teacher.gram());
    }
}
