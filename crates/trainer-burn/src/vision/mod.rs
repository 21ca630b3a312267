//! Training of image classifiers: networks, steps on selected samples, evaluation.

pub mod model;
pub mod step;
pub mod weights;
