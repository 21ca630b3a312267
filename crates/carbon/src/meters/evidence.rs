//! How certain a figure is, and the source of that.

/// The uncertainty of one way of obtaining energy, and its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// Where its constants and its interval come from.
    pub source: &'static str,
    /// Year of the source.
    pub year: Option<u16>,
    /// The true value lies between the figure times the first and the figure times the second.
    pub factors: [f64; 2],
}

/// Uncertainty of a process's share of a whole: equally busy threads and kernels may draw twice as much as others, and
/// the idle power is divided too.
const SHARE_FACTORS: [f64; 2] = [0.5, 2.0];

impl Evidence {
    /// The interval of a process's share of what this evidence is about.
    pub fn factors_of_share(&self) -> [f64; 2] {
        [self.factors[0] * SHARE_FACTORS[0], self.factors[1] * SHARE_FACTORS[1]]
    }
}
