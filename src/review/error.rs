//! Why a population cannot be reviewed.

/// What is wrong with a population, or with what was asked of it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReviewError {
    /// Nobody to review.
    #[error("there is nothing to review: the population is empty")]
    Empty,
    /// Nothing to reach.
    #[error("there are no objectives to rank by")]
    NoObjectives,
    /// Two objectives of one name.
    #[error("the objective {0:?} is given twice")]
    DuplicateObjective(String),
    /// An entry without an id.
    #[error("an entry of the population has an empty id")]
    EmptyId,
    /// Two entries of one id.
    #[error("the id {0:?} is in the population twice")]
    DuplicateId(String),
    /// A vector of the wrong length.
    #[error("{id:?} has {found} objective values, expected {expected}")]
    Length {
        /// Whose.
        id: String,
        /// Number of objectives.
        expected: usize,
        /// Number of values.
        found: usize,
    },
    /// NaN or infinity.
    #[error("{id:?} has the value {value} for {objective:?}, expected a finite number")]
    NotFinite {
        /// Whose.
        id: String,
        /// For which objective.
        objective: String,
        /// NaN or an infinity.
        value: f64,
    },
    /// A reference point that is no point of the objective space.
    #[error("the reference point has {found}, expected {expected} finite numbers")]
    Reference {
        /// Number of objectives.
        expected: usize,
        /// What it has.
        found: String,
    },
    /// More than the exact algorithm is meant for.
    #[error(
        "an exact hypervolume of {points} points in {objectives} objectives would take too long (at most {most_points} points in {most_objectives} objectives)"
    )]
    TooLarge {
        /// Points.
        points: usize,
        /// Objectives.
        objectives: usize,
        /// Limit on points.
        most_points: usize,
        /// Limit on objectives.
        most_objectives: usize,
    },
    /// Behaviours that cannot be compared.
    #[error("{id:?} answered {found} probes, expected {expected}: behaviours are compared on one probe set")]
    Probes {
        /// Whose.
        id: String,
        /// Answers of the first.
        expected: usize,
        /// Answers of this one.
        found: usize,
    },
    /// A number of neighbours or parents that is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Allowed, but not in the population.
    #[error("{0:?} may be selected, but is not in the reviewed population")]
    Unknown(String),
    /// Nobody shows any fitness.
    #[error(
        "every objective value of every candidate that may be selected is zero: there is no fitness to select by"
    )]
    AllZero,
    /// Not enough to choose from.
    #[error(
        "{asked} parents were asked for, {found} can be selected; admit more candidates, ask for fewer, or demand less distinctness"
    )]
    TooFew {
        /// Asked for.
        asked: usize,
        /// Available.
        found: usize,
    },
}
