//! What kind of point it is: anti-aligned units, isotropy blocks, extra, split and dead units, and a name.

use serde::{Deserialize, Serialize};

use crate::model::symmetry::Canonical;
use crate::model::{Activation, Overlaps, Teacher};
use crate::numerics::tolerance;

/// Students of one cell of equivalent units that stand one-to-one to a cell of teachers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// (student, teacher) pairs, original indices.
    pub pairs: Vec<(usize, usize)>,
    /// Whether the students are anti-aligned.
    pub flipped: bool,
    /// Mean overlap with the own teacher, with the other teachers of the block, with all further teachers.
    pub own: f64,
    pub inside: f64,
    pub outside: f64,
}

/// The structure of a critical point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// Name for tables, for example `k1 = 2`, `block 7`, `k1 = 4, 1 extra`: k1 counts the anti-aligned students.
    pub name: String,
    /// Students whose most negative teacher overlap beats their largest positive one.
    pub anti_aligned: usize,
    /// Isotropy group as a product of diagonal symmetric groups, for example `S_2 x S_15`.
    pub isotropy: String,
    /// Flipped blocks first, then by size.
    pub blocks: Vec<Block>,
    /// Students in no block with non-zero norm, when K > M.
    pub extra: usize,
    /// Students that share another student's direction.
    pub split: usize,
    /// Students of norm zero.
    pub dead: usize,
}

impl Family {
    /// Determines the family of a point from its overlaps and canonical form.
    pub fn new(overlaps: &Overlaps, canonical: &Canonical, teacher: &Teacher, split: usize, is_zero: bool) -> Family {
        let r = overlaps.r();
        let (k, m) = r.dim();
        let is_flipped = |i: usize| is_anti_aligned(overlaps, teacher, i);
        // Newton's method reaches zero units of a smooth activation to rounding only.
        let least = if teacher.activation().is_smooth() { tolerance::SAME_POINT.powi(2) } else { 0.0 };
        let is_dead = |i: usize| overlaps.q()[[i, i]] <= least;
        let dead = (0..k).filter(|&i| is_dead(i)).count();
        let mut blocks = matched_blocks(overlaps, canonical);
        for block in &mut blocks {
            block.flipped = is_flipped(block.pairs[0].0);
        }
        blocks.sort_by_key(|block| (!block.flipped, block.pairs.len(), block.pairs[0]));
        let matched: Vec<usize> = blocks.iter().flat_map(|block| block.pairs.iter().map(|pair| pair.0)).collect();
        // At an exact zero a unit of norm near 0 has no direction to speak of.
        let anti_aligned = if is_zero { 0 } else { (0..k).filter(|&i| is_flipped(i)).count() };
        let loose: Vec<usize> = (0..k).filter(|&i| !matched.contains(&i) && !is_dead(i)).collect();
        let isotropy = if blocks.is_empty() {
            "trivial".to_string()
        } else {
            let groups: Vec<String> = blocks.iter().map(|block| format!("S_{}", block.pairs.len())).collect();
            groups.join(" x ")
        };
        let extra = if k > m { loose.len() } else { 0 };
        let mut name = if is_zero {
            "global".to_string()
        } else if teacher.is_orthonormal() && matched.len() == k {
            matched_name(&blocks)
        } else {
            let mut name = format!("k1 = {anti_aligned}");
            if k < m {
                let sizes: Vec<String> = canonical.teacher_cells.iter().map(|cell| cell.len().to_string()).collect();
                name = match sizes.len() {
                    ..=4 => format!("{name}, teachers {}", sizes.join("+")),
                    n => format!("{name}, {n} teacher cells"),
                };
            }
            let flipped = loose.iter().filter(|&&i| is_flipped(i)).count();
            for (count, word) in [(extra.saturating_sub(flipped), "extra"), (flipped.min(extra), "extra flipped")] {
                if count > 0 {
                    name.push_str(&format!(", {count} {word}"));
                }
            }
            name
        };
        for (count, word) in [(split, "split"), (dead, "dead")] {
            if count > 0 {
                name.push_str(&format!(", {count} {word}"));
            }
        }
        Family { name, anti_aligned, isotropy, blocks, extra, split, dead }
    }

    /// Sizes of the blocks, in order.
    pub fn block_sizes(&self) -> Vec<usize> {
        self.blocks.iter().map(|block| block.pairs.len()).collect()
    }

    /// Students and teachers in block order, then what is in no block: puts matched pairs on the diagonal of R.
    pub fn display_order(&self, k: usize, m: usize) -> (Vec<usize>, Vec<usize>) {
        let pairs = || self.blocks.iter().flat_map(|block| block.pairs.iter());
        let mut students: Vec<usize> = pairs().map(|pair| pair.0).collect();
        let mut teachers: Vec<usize> = pairs().map(|pair| pair.1).collect();
        let rest = |order: &[usize], n: usize| (0..n).filter(|i| !order.contains(i)).collect::<Vec<_>>();
        students.extend(rest(&students, k));
        teachers.extend(rest(&teachers, m));
        (students, teachers)
    }
}

/// Whether a student is anti-aligned: its most negative teacher overlap beats its largest positive one. Overlaps are taken
/// with the unit vectors of the teachers, so that short teachers count as long ones do. With erf, which is odd, a unit with
/// negative overlap and readout is the same as one with both positive: overlaps are taken times the signs of both readouts.
pub fn is_anti_aligned(overlaps: &Overlaps, teacher: &Teacher, student: usize) -> bool {
    let odd = teacher.activation() == Activation::Erf;
    let sign = |m: usize| {
        let product = overlaps.readouts()[[0, student]] * teacher.readouts()[[0, m]];
        if odd && product < 0.0 { -1.0 } else { 1.0 }
    };
    let along = overlaps.r().row(student).into_iter().zip(teacher.gram().diag()).map(|(r, t)| r / t.sqrt());
    let along = along.enumerate().map(|(m, r)| sign(m) * r);
    let (low, high) = along.fold((0.0f64, 0.0f64), |(l, h), x| (l.min(x), h.max(x)));
    -low > high
}

/// When every student has its teacher: `k1 = ...` for flipped units on the branch that continues the single flipped unit,
/// `block m` for a type-A block of m units beside almost exact ones, whose off-diagonal entries carry the compensation
/// that the k1 branch spreads over all teachers (theory 04, eq. 04-branches).
fn matched_name(blocks: &[Block]) -> String {
    let is_block = |block: &&Block| block.pairs.len() > 1 && block.outside < 0.5 * block.inside;
    let (types, plain): (Vec<&Block>, Vec<&Block>) = blocks.iter().filter(|block| block.flipped).partition(is_block);
    let mut parts: Vec<String> = types.iter().map(|block| format!("block {}", block.pairs.len())).collect();
    let k1: usize = plain.iter().map(|block| block.pairs.len()).sum();
    if k1 > 0 || parts.is_empty() {
        parts.push(format!("k1 = {k1}"));
    }
    if plain.len() > 1 {
        parts.push("asymmetric".to_string());
    }
    parts.join(", ")
}

/// Student cells that stand one-to-one to teacher cells of the same size; single units by largest overlap.
fn matched_blocks(overlaps: &Overlaps, canonical: &Canonical) -> Vec<Block> {
    let r = overlaps.r();
    let mut candidates = Vec::new();
    for (s, students) in canonical.student_cells.iter().enumerate() {
        if students.iter().any(|&i| overlaps.q()[[i, i]] == 0.0) {
            continue;
        }
        for (t, teachers) in canonical.teacher_cells.iter().enumerate() {
            if teachers.len() != students.len() {
                continue;
            }
            let pairs: Vec<(usize, usize)> = students
                .iter()
                .filter_map(|&i| {
                    let own = teachers.iter().copied().max_by(|&x, &y| r[[i, x]].abs().total_cmp(&r[[i, y]].abs()))?;
                    Some((i, own))
                })
                .collect();
            let mut used: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
            used.sort_unstable();
            used.dedup();
            let (own, inside) = own_and_inside(overlaps, &pairs);
            if used.len() == pairs.len() && (pairs.len() == 1 || (own - inside).abs() > tolerance::CLUSTER) {
                candidates.push((own.abs(), s, t, pairs));
            }
        }
    }
    candidates.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let (mut used_students, mut used_teachers) = (Vec::new(), Vec::new());
    let mut blocks = Vec::new();
    for (_, s, t, pairs) in candidates {
        if used_students.contains(&s) || used_teachers.contains(&t) {
            continue;
        }
        used_students.push(s);
        used_teachers.push(t);
        let (own, inside) = own_and_inside(overlaps, &pairs);
        let members: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
        let others: Vec<f64> = (0..r.ncols()).filter(|m| !members.contains(m)).map(|m| r[[pairs[0].0, m]]).collect();
        let outside = if others.is_empty() { 0.0 } else { others.iter().sum::<f64>() / others.len() as f64 };
        blocks.push(Block { pairs, flipped: false, own, inside, outside });
    }
    blocks
}

fn own_and_inside(overlaps: &Overlaps, pairs: &[(usize, usize)]) -> (f64, f64) {
    let r = overlaps.r();
    let n = pairs.len() as f64;
    let own = pairs.iter().map(|&(i, m)| r[[i, m]]).sum::<f64>() / n;
    let i = pairs[0].0;
    let inside: f64 = pairs[1..].iter().map(|&(_, m)| r[[i, m]]).sum();
    (own, if pairs.len() > 1 { inside / (n - 1.0) } else { 0.0 })
}
