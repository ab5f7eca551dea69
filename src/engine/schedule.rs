//! Which stage may run now. Pure: no clock, no files, no threads.
//!
//! A stage waits until everything it needs has ended; then the ways in which those ended decide
//! what becomes of it:
//!
//! ```text
//!                      needed with Pass   with Verdict   with End
//! passed                    go on            go on         go on
//! rejected                  skipped          go on         go on
//! skipped                   skipped          go on         go on
//! waits for evidence        pending          pending       go on
//! pending                   pending          pending       go on
//! failed, blocked           blocked          blocked       go on
//! ```
//!
//! Blocked outranks skipped, skipped outranks pending.

use super::graph::{Need, StageGraph, StageIndex};
use crate::stage::{Weight, stage};
use crate::store::Verdict;

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It ran or was cached, and found nothing against going on.
    Passed,
    /// It found the candidate wanting.
    Rejected,
    /// It found evidence missing.
    Waits,
    /// Not run: something it needs waits for evidence.
    Pending,
    /// Not run: something it needs rejected the candidate.
    Skipped,
    /// Not run: something it needs failed.
    Blocked,
    /// It ran and failed.
    Failed,
}

impl End {
    /// The end that a verdict is.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Passed,
            Verdict::Reject(_) => Self::Rejected,
            Verdict::Wait(_) => Self::Waits,
        }
    }
}

/// What becomes of a stage, given how it needs others and how they ended; `None` is "go on".
pub fn fate(needs: impl IntoIterator<Item = (Need, End)>) -> Option<End> {
    needs.into_iter().filter_map(|(need, end)| effect(need, end)).max()
}

fn effect(need: Need, end: End) -> Option<End> {
    match (need, end) {
        (Need::End, _) | (_, End::Passed) | (Need::Verdict, End::Rejected | End::Skipped) => None,
        (Need::Pass, End::Rejected | End::Skipped) => Some(End::Skipped),
        (_, End::Waits | End::Pending) => Some(End::Pending),
        (_, End::Failed | End::Blocked) => Some(End::Blocked),
    }
}

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// This many of its needs have not ended.
    Waiting(u32),
    /// Handed out.
    Running,
    /// Over.
    Ended(End),
}

/// Light stages wait for disks: a few may overlap on each core.
const LIGHT_PER_CORE: usize = 4;

/// Shared stages read and write between their batches, and the last batch of one leaves cores without work:
/// twice as many as there are cores keep all of them busy.
const SHARED_PER_CORE: usize = 2;

/// The state of every stage of a graph.
#[derive(Debug)]
pub struct Schedule<'g> {
    graph: &'g StageGraph,
    states: Vec<State>,
    /// Stages whose needs have all ended, in graph order, latest last.
    ready: std::collections::BTreeSet<u32>,
    /// Place of each stage in the graph's order.
    places: Vec<u32>,
    running_light: usize,
    running_shared: usize,
    shared_limit: usize,
    running_heavy: usize,
    light_limit: usize,
    left: usize,
}

impl<'g> Schedule<'g> {
    /// Everything still to do, on this many cores.
    pub fn new(graph: &'g StageGraph, cores: usize) -> Self {
        let mut places = vec![0; graph.len()];
        for (place, index) in graph.order.iter().enumerate() {
            places[index.index()] = place as u32;
        }
        let mut schedule = Self {
            graph,
            states: vec![State::Waiting(0); graph.len()],
            ready: std::collections::BTreeSet::new(),
            places,
            running_light: 0,
            running_shared: 0,
            shared_limit: cores.max(1) * SHARED_PER_CORE,
            running_heavy: 0,
            light_limit: cores.max(1) * LIGHT_PER_CORE,
            left: graph.len(),
        };
        for index in &graph.order {
            let needs = graph.needs(*index).count() as u32;
            schedule.states[index.index()] = State::Waiting(needs);
            if needs == 0 {
                schedule.ready.insert(schedule.places[index.index()]);
            }
        }
        schedule
    }

    /// The next stage all of whose needs have ended, whatever that means for it.
    pub fn next_settled(&mut self) -> Option<StageIndex> {
        let place = self.ready.pop_first()?;
        let index = self.graph.order[place as usize];
        self.states[index.index()] = State::Running;
        Some(index)
    }

    /// Whether a stage of this kind may start beside what is running. Heavy stages use all cores by
    /// themselves, so one of them runs at a time; shared ones fill each other's pauses.
    pub fn has_room_for(&self, index: StageIndex) -> bool {
        match stage(self.graph.node(index).kind).weight() {
            Weight::Heavy => self.running_heavy == 0,
            Weight::Shared => self.running_shared < self.shared_limit,
            Weight::Light => self.running_light < self.light_limit,
        }
    }

    /// A stage was started.
    pub fn started(&mut self, index: StageIndex) {
        match stage(self.graph.node(index).kind).weight() {
            Weight::Heavy => self.running_heavy += 1,
            Weight::Shared => self.running_shared += 1,
            Weight::Light => self.running_light += 1,
        }
    }

    /// A started stage stopped running; [`Schedule::ended`] says how.
    pub fn stopped(&mut self, index: StageIndex) {
        match stage(self.graph.node(index).kind).weight() {
            Weight::Heavy => self.running_heavy -= 1,
            Weight::Shared => self.running_shared -= 1,
            Weight::Light => self.running_light -= 1,
        }
    }

    /// What the needs of a stage make of it; `None` is "run it".
    pub fn fate(&self, index: StageIndex) -> Option<End> {
        fate(self.graph.needs(index).map(|(needed, need)| match self.states[needed.index()] {
            State::Ended(end) => (need, end),
            State::Waiting(_) | State::Running => unreachable!("a settled stage's needs have ended"),
        }))
    }

    /// A stage is over.
    pub fn ended(&mut self, index: StageIndex, end: End) {
        debug_assert_eq!(self.states[index.index()], State::Running, "a stage ends once");
        self.states[index.index()] = State::Ended(end);
        self.left -= 1;
        for later in self.graph.graph.neighbors_directed(index, petgraph::Outgoing) {
            let State::Waiting(needs) = &mut self.states[later.index()] else {
                unreachable!("a stage does not start before what it needs has ended")
            };
            *needs -= 1;
            if *needs == 0 {
                self.ready.insert(self.places[later.index()]);
            }
        }
    }

    /// How a stage ended, if it has.
    pub fn end_of(&self, index: StageIndex) -> Option<End> {
        match self.states[index.index()] {
            State::Ended(end) => Some(end),
            State::Waiting(_) | State::Running => None,
        }
    }

    /// Whether everything has ended.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::Node;
    use crate::stage::Kind;
    use petgraph::graph::DiGraph;
    use proptest::prelude::*;

    #[test]
    fn the_table() {
        use End::{Blocked, Failed, Passed, Pending, Rejected, Skipped, Waits};
        let all = [Passed, Rejected, Skipped, Waits, Pending, Failed, Blocked];
        let row = |need| all.map(|end| fate([(need, end)]));
        assert_eq!(
            row(Need::Pass),
            [None, Some(Skipped), Some(Skipped), Some(Pending), Some(Pending), Some(Blocked), Some(Blocked)]
        );
        assert_eq!(
            row(Need::Verdict),
            [None, None, None, Some(Pending), Some(Pending), Some(Blocked), Some(Blocked)]
        );
        assert_eq!(row(Need::End), [None; 7]);
        assert_eq!(fate([(Need::Pass, Rejected), (Need::Pass, Failed)]), Some(Blocked));
        assert_eq!(fate([(Need::Pass, Rejected), (Need::Pass, Waits)]), Some(Skipped));
    }

    fn graph(edges: &[(u32, u32, Need)], stages: u32) -> StageGraph {
        let mut graph = DiGraph::default();
        for i in 0..stages {
            graph.add_node(Node {
                id: format!("compat:{i}"),
                kind: Kind::Compat,
                label: i.to_string(),
                candidate: None,
                params: serde_json::Value::Null,
                inputs: vec![],
            });
        }
        for (a, b, need) in edges {
            graph.update_edge((*a).into(), (*b).into(), *need);
        }
        StageGraph::new("c".parse().unwrap(), graph)
    }

    proptest! {
        /// On any graph, with any ends, in any order of completion: every stage ends exactly once,
        /// none before what it needs, and its fate is the one the table gives.
        #[test]
        fn every_stage_ends_once_and_in_order(
            edges in proptest::collection::vec((0_u32..20, 0_u32..20, 0_u8..3), 0..60),
            ends in proptest::collection::vec(0_u8..4, 20),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let needs = [Need::Pass, Need::Verdict, Need::End];
            let edges: Vec<_> = edges
                .into_iter()
                .filter(|(a, b, _)| a != b)
                .map(|(a, b, need)| (a.min(b), a.max(b), needs[usize::from(need)]))
                .collect();
            let graph = graph(&edges, 20);
            let mut schedule = Schedule::new(&graph, 2);
            let mut open: Vec<StageIndex> = Vec::new();
            let mut finished = 0;
            while !schedule.is_done() {
                open.extend(std::iter::from_fn(|| schedule.next_settled()));
                prop_assert!(!open.is_empty(), "something can always go on");
                let index = open.swap_remove(picks[finished].index(open.len()));
                for (needed, _) in graph.needs(index) {
                    prop_assert!(schedule.end_of(needed).is_some());
                }
                let own = [End::Passed, End::Rejected, End::Waits, End::Failed][usize::from(ends[index.index()])];
                schedule.ended(index, schedule.fate(index).unwrap_or(own));
                finished += 1;
            }
            prop_assert_eq!(finished, 20);
        }
    }
}
