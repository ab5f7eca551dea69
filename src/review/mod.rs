//! Reviewing a population: who is better at what, who is different, who goes on.
//!
//! Fitness here is a vector, one number for each objective, and nobody adds up what cannot be
//! compared: candidates are sorted into fronts that no member of the same front beats, and within
//! a front those in emptier regions come first (Deb et al., "A fast and elitist multiobjective
//! genetic algorithm: NSGA-II", 2002). Being different is measured on what a model does (novelty),
//! not on what it is made of.
//!
//! Everything is a pure function of its arguments and independent of their order: ties are broken
//! by the bytes of the ids, sums run in sorted order.
//!
//! * [`objective`]: what is to be reached, and the checked population.
//! * [`pareto`]: fronts, crowding distance, hypervolume.
//! * [`mod@novelty`]: distance to the nearest others by behaviour.
//! * [`mod@select`]: parents for a later cycle.

mod error;
pub mod novelty;
pub mod objective;
pub mod pareto;
pub mod select;

pub use error::ReviewError;
pub use novelty::{Descriptor, Novelty, novelty};
pub use objective::{Direction, Entry, Objective};
pub use pareto::{Crowding, Ranked, hypervolume, rank};
pub use select::{Distinct, select};
