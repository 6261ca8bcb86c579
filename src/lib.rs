//! Exact loss landscape and learning dynamics of two-layer networks that learn from a teacher.
//!
//! A student f(x) = sum_k a_k g(w_k.x) learns a teacher f*(x) = sum_m b_m g(v_m.x) of the same form, g(u) = max(u, 0)
//! (or leaky ReLU, linear, erf: [`model::Activation`]),
//! on inputs x ~ N(0, I) in d dimensions: the *soft committee machine*. Its population loss L = E[(f - f*)^2] / 2
//! depends on the weights only through the overlaps Q = W W^T, R = W V^T and T = V V^T, in closed form. So this crate
//! computes losses, gradients and Hessians without sampling, finds critical points to machine precision, and gives
//! their spectra at any d.
//!
//! The program `committee` does the same from a terminal: `committee --help`.
//!
//! # Tour by task
//!
//! Matrices are those of `ndarray` 0.16. The last argument of many functions is the *task*: the row of the readouts a
//! and b whose loss is meant, 0 when there is one.
//!
//! **Loss and gradient of a state.** The gradient comes as coefficients: grad_i L = sum_j A_ij w_j + sum_m B_im v_m.
//!
//! ```
//! use committee::model::{Teacher, Weights};
//! use committee::population::{coefficients, risk};
//! use ndarray::array;
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(2)?;
//! let weights = Weights::new(array![[0.9, 0.1], [-0.2, 0.7]], None, &teacher)?;
//! let loss = risk(&weights, &teacher, 0);
//! let c = coefficients(&weights, &teacher, 0);
//! let gradient = c.a.dot(weights.rows()) + c.b.dot(teacher.vectors());
//! assert!(loss > 0.0 && gradient.dim() == (2, 2));
//! # Ok(())
//! # }
//! ```
//!
//! **Another teacher.** [`model::Teacher`] also takes a Gram matrix with readouts, or vectors; a state given by
//! overlaps is lifted to weights.
//!
//! ```
//! use committee::model::{Overlaps, Teacher};
//! use committee::population::risk_exact;
//! use ndarray::{Array2, array};
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::new(array![[1.0, 0.3], [0.3, 2.0]], Some(array![[1.0, -1.0]]))?;
//! let (q, r) = (array![[1.5]], array![[0.4, 0.9]]);
//! let weights = Overlaps::new(q, r, Array2::ones((1, 1)), &teacher)?.lift(&teacher)?;
//! assert_eq!(weights.coordinates(), 3);
//! assert!(risk_exact(&weights, &teacher, 0) > 0.0);
//! # Ok(())
//! # }
//! ```
//!
//! **One run**: random start, gradient flow, verified critical point, what kind of point it is.
//!
//! ```
//! use committee::landscape::{Point, Verdict, settle};
//! use committee::model::{InitialLaw, Teacher};
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(10)?;
//! let law = InitialLaw::new(20, 1.0, &teacher)?; // d = 20, w ~ N(0, I/d)
//! let start = law.draw(10, &teacher, 1, 3)?; // 10 students, seed 1, run 3
//! let end = settle(&start, &teacher, 0)?;
//! let point = Point::new(&end.weights, &teacher, 0)?;
//! assert_eq!(point.verdict, Verdict::LocalMinimum);
//! assert_eq!(point.family.name, "k1 = 1");
//! assert!(end.residual < 1e-13 && (point.loss - 0.0187021946).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```
//!
//! **Many runs**, as the program does them, with tables and files. With a path instead of `None` the search is kept in
//! a database and can be continued.
//!
//! ```
//! # #[cfg(feature = "cli")]
//! # fn main() -> committee::error::Result<()> {
//! use committee::study::{LandscapeSpec, landscape};
//!
//! let spec = LandscapeSpec { students: 6, teachers: 5, runs: 20, ..LandscapeSpec::default() };
//! let report = landscape(&spec, None, &|_finished, _total, _unresolved| true)?;
//! let minima = report.table("minima").expect("every search has this table");
//! for (family, loss) in minima.texts("family").iter().zip(minima.numbers("loss")) {
//!     println!("{family}: {loss:?}");
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cli"))]
//! # fn main() {}
//! ```
//!
//! **A spectrum at any input dimension.** Inside span(W, V) the Hessian is one finite matrix; every further dimension
//! adds the K eigenvalues of another. The verdict of [`landscape::Point::new`] holds for every d above the span's
//! dimension; [`landscape::Point::in_dimension`] gives that of one d.
//!
//! ```
//! use committee::landscape::Point;
//! use committee::model::{Teacher, Weights};
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(6)?;
//! let global = Weights::new(ndarray::Array2::eye(6), None, &teacher)?;
//! let spectrum = Point::new(&global, &teacher, 0)?.spectrum;
//! let levels = spectrum.in_dimension(1_000_000);
//! assert_eq!(levels.iter().map(|level| level.multiplicity).sum::<usize>(), 6_000_000);
//! assert!((levels[0].value - (0.25 - 0.5 / std::f64::consts::PI)).abs() < 1e-12);
//! # Ok(())
//! # }
//! ```
//!
//! **A point that no run needs to find**: the family with k1 flipped units, solved from its symmetric form, minimum or
//! saddle.
//!
//! ```
//! use committee::landscape::ansatz::{Guess, solve};
//! use committee::landscape::{Point, Verdict};
//! use committee::model::Teacher;
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(8)?;
//! let point = Point::new(&solve(&Guess::flipped(8), 1, &teacher)?, &teacher, 0)?;
//! assert_eq!(point.verdict, Verdict::LocalMinimum);
//! assert!((point.loss - 0.0215080365).abs() < 1e-9);
//! # Ok(())
//! # }
//! ```
//!
//! **A family at any size**, real ones included: loss, gradient and Hessian on groups of equal units cost the same at any M.
//! Followed in M, it shows where it stops being a minimum and which symmetry breaks there.
//!
//! ```
//! use committee::landscape::branch::{options, trace};
//! use committee::landscape::known;
//! use committee::landscape::reduced::BlockPoint;
//!
//! # fn main() -> committee::error::Result<()> {
//! let (shape, state) = known::flipped(1.0, 1e6)?; // one flipped unit, M = 10^6
//! let point = BlockPoint::new(&shape, state)?;
//! assert!((1e6 * point.loss - 0.297246752).abs() < 1e-8);
//! let (shape, state) = known::flipped(1.0, 12.0)?;
//! let down = trace(&shape, &state, -1.0, &options((4.0, 12.0)))?;
//! let event = down.threshold().expect("it becomes a saddle");
//! assert!((event.p - 5.585505247).abs() < 1e-8 && event.mode.name() == "standard 2");
//! # Ok(())
//! # }
//! ```
//!
//! **A trajectory**: overlaps, loss and gradient at the times asked for.
//!
//! ```
//! use committee::dynamics::{Integrator, evolve};
//! use committee::model::{InitialLaw, Teacher};
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(3)?;
//! let start = InitialLaw::new(100, 1.0, &teacher)?.draw(3, &teacher, 1, 0)?;
//! let trajectory = evolve(&start, &teacher, 0, &[0.0, 10.0, 100.0], 1e-8, Integrator::Rkc)?;
//! let losses: Vec<f64> = trajectory.frames.iter().map(|frame| frame.loss).collect();
//! assert!(losses[0] > losses[1] && losses[1] > losses[2]);
//! # Ok(())
//! # }
//! ```
//!
//! **The equations of one-pass SGD** at a finite learning rate, in the limit of large d: a divergence is an answer, and
//! [`dynamics::mean_path`] gives mean and covariance at finite d.
//!
//! ```
//! use committee::dynamics::{Equations, Outcome, evolve_sgd, local_threshold};
//! use committee::model::{InitialLaw, Sgd, Teacher};
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(2)?;
//! let start = InitialLaw::new(1000, 1.0, &teacher)?.draw(2, &teacher, 1, 0)?.overlaps(&teacher);
//! let rule = Sgd { learning_rate: 0.5, label_noise: 0.1, ..Sgd::default() };
//! let evolution = evolve_sgd(&start, &Equations::new(&start, &teacher, rule)?, &[0.0, 10.0], 1e-8)?;
//! assert!(evolution.trajectory.frames[1].loss < evolution.trajectory.frames[0].loss);
//! let large = Sgd { learning_rate: 1.5, ..rule };
//! let evolution = evolve_sgd(&start, &Equations::new(&start, &teacher, large)?, &[100.0], 1e-8)?;
//! assert!(matches!(evolution.outcome, Outcome::Diverged { .. }) && local_threshold(&teacher, 1)? < 1.5);
//! # Ok(())
//! # }
//! ```
//!
//! **SGD itself**, not its limit: many runs in 10^6 dimensions, drawn from their exact law at a cost that does not depend
//! on d; [`simulation::explicit`] trains the d-dimensional networks.
//!
//! ```
//! use committee::model::{InitialLaw, Sgd, Teacher};
//! use committee::simulation::{Simulation, chain};
//!
//! # fn main() -> committee::error::Result<()> {
//! let teacher = Teacher::orthonormal(2)?;
//! let dimension = 1_000_000;
//! let start = InitialLaw::new(dimension, 1.0, &teacher)?.draw(2, &teacher, 1, 0)?;
//! let rule = Sgd { learning_rate: 0.5, batch: 10, label_noise: 0.1, ..Sgd::default() };
//! let times = vec![0.0, 0.001];
//! let simulation = Simulation { dimension, rule, teacher, start, times, runs: 8, seed: 1, test_inputs: 0 };
//! let recording = chain::simulate(&simulation, &|_finished| true)?;
//! let (variance, entry) = (recording.moments().variance, recording.q_entry(0, 0));
//! assert!(variance[[0, entry]] < 1e-30 && variance[[1, entry]] > 0.0);
//! # Ok(())
//! # }
//! ```
//!
//! **A network you trained** (rows of W in the teacher's coordinates): [`study::stability()`] with a file, or
//! [`landscape::fixed_point::relax`] and [`landscape::Point::new`] on its weights.
//!
//! # Notation
//!
//! | symbol | meaning | in code | shape |
//! |---|---|---|---|
//! | K, M | number of students, of teachers | `students`, `teachers`; `k`, `m` in formulas | |
//! | d | input dimension | `dimension` | |
//! | r | rank of T | `teacher.rank()` | |
//! | D | coordinates of a state, between r and min(d, K + r) | `weights.coordinates()` | |
//! | n | size of a group of equal units, real | `Partition::sizes` | |
//! | s | dimension of span(W, V); scale of the initial law | `span_dimension`; `scale` | |
//! | W, w_i | students, one a row; the first r coordinates span the teacher | `weights.rows()` | K x D |
//! | V, v_m | teachers in reduced coordinates | `teacher.vectors()` | M x r |
//! | a, b | readouts of students, of teachers | `readouts()` | tasks x K, tasks x M |
//! | Q = W W^T | student-student overlaps | `overlaps.q()` | K x K |
//! | R = W V^T | student-teacher overlaps | `overlaps.r()` | K x M |
//! | T = V V^T | teacher-teacher overlaps | `teacher.gram()` | M x M |
//! | L | population loss E[(f - f*)^2] / 2, label noise not included | `risk`, `loss` | |
//! | A, B | coefficients of the gradient | `Coefficients { a, b }` | K x K, K x M |
//! | theta | angle between two units, kept as (sin theta, pi - theta) | `sine`, `supplement` | |
//! | Hess L | inside span(W, V); across it, per dimension | `Hessian { span, transverse }` | K s x K s, K x K |
//! | k1 | students that point away from their teacher | `family.anti_aligned` | |
//! | t | time: learning rate x steps / d under gradient flow, steps / d under SGD | `time` | |
//! | eta, B, sigma | learning rate, batch size, standard deviation of the label noise | `learning_rate`, `batch`, `label_noise` | |
//! | N | E[e^2 g'_i g'_k], e = f - f* | `error_moments` | K x K |
//!
//! Weights have norms of order 1 and inputs are not divided by sqrt(d). A network with f(x) = sum_k g(w_k.x / sqrt d)
//! has weights sqrt(d) times as long.
//!
//! # Map of the rooms
//!
//! Each module uses only some of those before it; a test holds the lines.
//!
//! | module | what is in it |
//! |---|---|
//! | [`error`] | one error type; its fields name the value and what is needed |
//! | [`report`] | tables and reports, written as CSV, JSON and NPZ |
//! | [`numerics`] | linear algebra, integrators, solvers, statistics, random streams: nothing about networks |
//! | `store` | a ledger of finished runs and critical points in one SQLite file (feature `cli`) |
//! | [`model`] | the problem as data: teacher, weights, overlaps, symmetry, initial law |
//! | [`expectation`] | Gaussian averages in closed form, and nothing else writes one |
//! | [`population`] | sums of averages at one state: risk, gradient, Hessian, one-sided slopes, second moments of SGD |
//! | [`dynamics`] | gradient flow; SGD in the overlaps, its mean at finite d, its fixed points and thresholds |
//! | [`landscape`] | search, fixed points, spectra, verdicts, catalogue; families on groups, branches, phase diagrams |
//! | [`simulation`] | one-pass SGD and descent on a finite sample, by drawing inputs; uses no formula of the rooms above |
//! | [`study`] | one function per verb of the program, from spec to report |
//! | `figure` | pictures from reports, SVG and PNG (feature `cli`) |
//! | `cli` | the program (feature `cli`) |
//!
//! Features: `cli` (default) brings the program, figures and database; `openblas` replaces the linear algebra. Without
//! features the crate is the mathematics alone.
//!
//! # Why it is built so
//!
//! **Why does the state have several coordinates?** Overlaps are what the loss depends on, but minima sit where the
//! joint Gram matrix of students and teachers is singular, and there overlaps are no good coordinates: their domain has
//! its edge at the solution. Weights in D = min(d, K + r) reduced coordinates are the same state without an edge, so
//! descent, Newton and Hessians work on weights, and overlaps are what is recorded and compared.
//!
//! **Why coefficients (A, B) instead of a gradient?** They depend on overlaps only, so one computation serves every
//! dimension. A is also the Hessian across span(W, V), the same block for every further dimension: two finite matrices
//! give the spectrum at any d.
//!
//! **Why half-chords?** arccos loses half the digits near parallel units, which is where minima lie (student =
//! teacher). The angle is therefore kept as (sin theta, pi - theta), taken from the lengths of u^ - v^ and u^ + v^ (u^,
//! v^ unit vectors), and from the cross components where these are short. This is accurate relative to the result at
//! parallel and antiparallel units too. The fast gradient takes all angles from correlations at once and repeats the
//! nearly parallel pairs from vectors.
//!
//! **Why is the loss computed twice?** Near f = f* the terms of L are of order 1 and cancel to the last digit.
//! [`population::risk`] groups them into parts that are each small there, which is enough for a search.
//! [`population::risk_exact`] uses double-double arithmetic, about 1e-30 absolute, so that an exact zero is told from a
//! loss of 1e-20. The crate `twofloat` supplies the sums and products (good to 1e-32); in version 0.8.4 its division is
//! good to 5e-17 and its trigonometry to 1e-17 only, so division and arctangent are our own.
//!
//! **Why faer, with OpenBLAS as an option?** A fresh machine has no BLAS, and the ways to bring one need a download, a
//! Fortran compiler or a system package. faer is Rust, agrees with LAPACK to rounding, and was the faster one for
//! symmetric eigenvalues at n = 600 to 1000. It runs on one thread per call: parallelism is over runs. The feature
//! `openblas` (package `libopenblas-dev`) is the cross-check; the tests pass on both. `ndarray-linalg` 0.17.0 does not
//! compile with its own `openblas-system` feature, so it is used without a backend and the build script links the
//! library.
//!
//! **Why a stabilised integrator and then Newton?** Gradient flow near a minimum is stiff: an explicit method is held
//! to the fastest rate while the slowest decides the end. Runge-Kutta-Chebyshev stays explicit and takes steps that
//! grow with the square of its stages. Newton's method finishes, but only on the run's own ground: the Hessian must be
//! positive definite, the first step short, and the loss must fall as the quadratic model says; otherwise the flow goes
//! on. A minimum found by Newton from a plateau would belong to another basin, and shares would be wrong. A small
//! velocity alone never counts as an end. The test `basins` of the evidence tier compares the ends with those of the
//! reference integrator.
//!
//! **Why groups with real sizes?** Every sum over equal units is a number times one term, so a family is five or six
//! equations at any M, and M may be real: then a family can be followed through the M at which it loses stability. The
//! Hessian falls into one small block for each irreducible representation of the permutations. Each block is followed
//! separately, so an event names the symmetry that breaks, and is seen although the branch itself is smooth there (two
//! sign changes of one eigenvalue within one step cancel: steps are short). Points with entries of order 1/M^2 are finished with the gradient in double-double arithmetic.
//!
//! **Why is the orthant probability of four fields one integral?** It has no closed form, and everything else in the
//! four-field average is elementary. One correlation is moved from the value at which the fields become dependent; the
//! nearest singularity of the integrand is known, so the path and the number of nodes are chosen for each quadruple, and
//! all angles come from one set of normals, so that dependent, parallel and equal fields need no cases of their own.
//!
//! **Why does N run over sets of units?** A set of four distinct units enters up to six of the sums E[e^2 g'_i g'_k] with
//! the same orthant probability and the same six angles. Sets go through a kernel eight at a time; those with nearly
//! independent fields, where every path is long, have a kernel of their own.
//!
//! **Why is time an unknown of the reference integrator?** In `ode_solvers` 0.6.2 the stages of Dop853 get a wrong time:
//! a right-hand side with a schedule would lose its order.
//!
//! **Why is the covariance of one step sampled?** It holds fourth powers of e, and orthants of six fields, which have no
//! closed form. It enters at order 1/d only.
//!
//! **Why are exact zeros constructed?** With K > M the zeros of the loss lie in a valley with cubic growth to its
//! sides, where the flow is only algebraic and Newton's matrix is singular. When a zero is near and the loss falls all
//! the way to it, it is taken as the end.
//!
//! **Why canonical forms?** The same minimum appears in up to K! M! labellings. Equal losses do not prove equal points
//! and nearly equal ones do not exclude it, so points are polished first and compared by a canonical form of (Q, R, T)
//! under relabelling of students and the symmetries of the teacher. The same refinement gives the isotropy group and
//! the family's name.
//!
//! **Why does the order of runs not matter?** Each run draws from its own random stream, keyed by seed, purpose and run
//! number. In the store a class of equal points is represented by its lowest run. The content of a database is
//! therefore a function of the set of finished runs: a search may be killed, continued, or shared by processes, and its
//! export does not change by a byte.
//!
//! **Why are the same bits computed on every processor level?** The gradient's kernel is compiled for SSE2, AVX2 and
//! AVX-512 and chosen at run time, with the same operations in the same order and no fused multiply-add. A default
//! build is fast, and a result does not depend on the machine's vector width.
//!
//! **Why is `statrs` kept out of formulas?** Its erf is good to 6e-11 in this release. It serves intervals and tests.

#[cfg(feature = "cli")]
pub mod cli;
pub mod dynamics;
pub mod error;
pub mod expectation;
#[cfg(feature = "cli")]
pub mod figure;
pub mod landscape;
pub mod model;
pub mod numerics;
pub mod population;
pub mod report;
pub mod simulation;
#[cfg(feature = "cli")]
pub mod store;
pub mod study;
