pub mod error;
pub mod expectation;
pub mod model;
pub mod numerics;
pub mod population;
pub mod report;
