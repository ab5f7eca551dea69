//! The engine: a plan becomes a graph, the graph becomes runs of stages.
//!
//! ```text
//! Plan --compile--> StageGraph --schedule--> ready stage --key--> hit, or miss --execute--> outcome
//! ```
//!
//! * [`graph`]: stages and how each needs the others.
//! * [`compile`]: derives the thirteen kinds from what a plan declares.
//! * [`schedule`]: which stage may run now; pure, no clock, no files.
//! * [`resolve`](mod@resolve): what a stage's inputs are this time, and so its action.
//! * [`execute`]: runs what is ready, one event loop, rayon for arithmetic.  `work`: one stage on its own thread.
//! * [`failure`]: whose fault it is.  `events`: the run log.  `view`: what people see of the results.
//! * [`interrupt`]: when to stop.
//! * `decided`: whether what is to be entered in the ledger follows from what it rests on.
//! * [`preview`]: the same walk without running: what would happen, and why.
//! * `attest`: signed statements about records, after a run.  `build`: what this process is, for them.
//! * [`gates`]: which gates are pending, and what would satisfy each.
//! * [`outcome`]: what became of every candidate.
//! * [`tried`]: which other plans were entered.  `upgraded`: what an earlier version of the program made of this one.
//! * [`verify`]: re-hashes everything a cycle binds, and recomputes its operators.

mod attest;
mod build;
pub mod compile;
mod decided;
mod entered;
mod events;
pub mod execute;
pub mod failure;
pub mod gates;
pub mod graph;
pub mod interrupt;
pub mod outcome;
pub mod preview;
pub mod resolve;
pub mod retired;
pub mod schedule;
pub mod tried;
mod upgraded;
pub mod verify;
mod view;
mod work;
