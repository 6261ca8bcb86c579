use super::*;
use crate::model::{Sgd, Teacher, Weights};
use ndarray::{Array2, array};

fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut x = vec![0.0; n];
    Normals::new(stream(seed, &[7])).fill(&mut x);
    x
}

/// One step of the frame against d-dimensional vectors, fed with the same inputs: Q and R to 1e-13, for every relation of
/// d, K and B.
#[test]
fn a_step_keeps_the_books_of_d_dimensional_vectors() {
    let teacher = Teacher::new(array![[1.44, 0.3], [0.3, 0.5]], Some(array![[1.2, -0.7]])).unwrap();
    let (k, r) = (3, 2);
    let width = r + k;
    for (case, (d, batch)) in [(5, 1), (5, 4), (6, 3), (7, 3), (8, 1), (8, 3), (20, 2), (20, 7)].into_iter().enumerate()
    {
        let start = Array2::from_shape_vec((k, width), noise(case as u64, k * width)).unwrap();
        let rule = Sgd { learning_rate: 1.5, batch, weight_decay: 0.5, ..Sgd::default() };
        let simulation = Simulation {
            dimension: d,
            rule,
            start: Weights::new(start, Some(array![[0.8, -1.1, 0.6]]), &teacher).unwrap(),
            teacher: teacher.clone(),
            times: vec![0.0],
            runs: 1,
            seed: 0,
            test_inputs: 0,
        };
        let problem = Problem::new(&simulation);
        let outside = d - width;
        let mut frame = Chain::start(&simulation, 0).frame;
        let mut vectors = Array2::<f64>::zeros((k, d));
        vectors.slice_mut(s![.., ..width]).assign(&Array2::from_shape_vec((k, width), frame.rows.clone()).unwrap());
        let inputs = Array2::from_shape_vec((batch, d), noise(100 + case as u64, batch * d)).unwrap();
        let (scale, decay) = (rule.learning_rate / (batch * d) as f64, 0.9);

        let mut moved = decay * &vectors;
        let mut far = Array2::<f64>::zeros((k, outside));
        let mut coefficients = Array2::<f64>::zeros((k, batch));
        frame.decay(decay);
        for (b, input) in inputs.rows().into_iter().enumerate() {
            let fields = vectors.dot(&input);
            let mut own = vec![0.0; k];
            frame.fields(&input.to_vec()[..width], &mut own);
            assert!(own.iter().zip(&fields).all(|(own, field)| (own - field).abs() < 1e-13));
            let error = problem.output(&own) - problem.target(&input.to_vec());
            problem.coefficients(&mut own, error, scale);
            frame.add(&own, &input.to_vec()[..width]);
            for i in 0..k {
                let active = f64::from(u8::from(fields[i] > 0.0));
                let c = -scale * error * [0.8, -1.1, 0.6][i] * active;
                coefficients[[i, b]] = c;
                moved.row_mut(i).scaled_add(c, &input);
                far.row_mut(i).scaled_add(c, &input.slice(s![width..]));
            }
        }
        // The factor of what lies outside, K x min(K, B, d - r - K): of the inputs' parts, or of what they add up to.
        let columns = frame.outside;
        assert_eq!(columns, k.min(batch).min(outside));
        let few = batch <= k;
        let rows = if few { batch } else { k };
        let parts = if few { inputs.slice(s![.., width..]).to_owned() } else { far };
        let mut factor: Vec<f64> = parts.iter().copied().collect();
        triangular(&mut factor, rows, outside);
        let factor =
            Array2::from_shape_fn((rows, columns), |(i, c)| if c <= i { factor[i * outside + c] } else { 0.0 });
        let cross = if few { coefficients.dot(&factor) } else { factor };
        let cross: Vec<f64> = cross.iter().copied().collect();
        assert!(frame.turn(&cross));

        let turned = Array2::from_shape_vec((k, width), frame.rows.clone()).unwrap();
        let q = moved.dot(&moved.t()) - turned.dot(&turned.t());
        let along = |w: &Array2<f64>| w.slice(s![.., ..r]).dot(&teacher.vectors().t());
        let worst = (&along(&moved) - &along(&turned)).iter().chain(&q).fold(0.0, |m: f64, x| m.max(x.abs()));
        assert!(worst < 1e-12, "d = {d}, B = {batch}: {worst:e}");
        assert!((0..k).all(|i| (i + 1..k).all(|j| turned[[i, r + j]] == 0.0)));
    }
}

#[test]
fn reflections_keep_the_gram_matrix() {
    for (rows, columns) in [(1, 1), (1, 4), (3, 3), (3, 7), (4, 2), (3, 0)] {
        let a = Array2::from_shape_vec((rows, columns), noise(rows as u64, rows * columns)).unwrap();
        let mut turned: Vec<f64> = a.iter().copied().collect();
        triangular(&mut turned, rows, columns);
        let mut turned = Array2::from_shape_vec((rows, columns), turned).unwrap();
        (0..rows).for_each(|i| (i + 1..columns).for_each(|j| turned[[i, j]] = 0.0));
        let error = a.dot(&a.t()) - turned.dot(&turned.t());
        assert!(error.iter().all(|x| x.abs() < 1e-14 * 10.0), "{rows} x {columns}");
    }
    let mut zero = vec![0.0; 6];
    triangular(&mut zero, 2, 3);
    assert_eq!(zero, [0.0; 6]);
}
