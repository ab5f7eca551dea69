//! Runs what is ready: one event loop, stages on their own threads, arithmetic on rayon.
//!
//! The loop owns the schedule and is the only one to change it. A stage whose result is cached ends
//! right there; others are handed to a thread and come back as a message. Stopping (Ctrl-C, the
//! budget's time) starts nothing new and waits for what runs to notice; whatever was finished is in
//! the store, so the next run goes on from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::attest;
use super::decided::{Below, Decision};
use super::entered::entered_before;
use super::events::Log;
use super::failure::{Failure, Fault};
use super::graph::{StageGraph, StageIndex};
use super::interrupt::Interrupts;
use super::resolve::{Resolver, Results};
use super::schedule::{End, Schedule};
use super::view::view;
use super::work::{Done, work};
use crate::base::digest::ActionKey;
use crate::base::key::WriteKey;
use crate::stage::{Action, Context, Kind, stage};
use crate::store::{ActionResult, Happened, Store, StoreError};

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cores to plan for.
    pub cores: usize,
    /// Start nothing new after the first failure.
    pub fail_fast: bool,
    /// Longest run: the plan's budget.
    pub limit: Duration,
    /// RFC 3339 now.
    pub now: fn() -> String,
}

/// Told while it happens.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A stage started.
    Started(StageIndex),
    /// A stage of many steps is at this one.
    Step {
        /// Which.
        stage: StageIndex,
        /// Steps that are done.
        done: u64,
        /// All its steps.
        of: u64,
    },
    /// A stage ended; with its result if it has one, and how long it ran if it did.
    Ended {
        /// Which.
        stage: StageIndex,
        /// How.
        end: End,
        /// What it made.
        result: Option<&'a ActionResult>,
        /// How long it ran; none if cached or not run.
        took: Option<Duration>,
        /// Why it failed.
        failure: Option<&'a Failure>,
    },
}

/// Why a run stopped early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody asked.
    Interrupted,
    /// The budget's time is used up.
    OutOfTime,
}

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// Stages that ran to their end.
    pub executed: usize,
    /// Stages whose result was cached.
    pub cached: usize,
    /// How every stage ended; none if the run stopped before.
    pub ends: Vec<Option<End>>,
    /// What every stage made.
    pub results: Results,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Whether it stopped early.
    pub stopped: Option<Stopped>,
}

/// What a stage's thread tells the loop.
enum Message {
    Step { index: StageIndex, done: u64, of: u64 },
    Done(Done),
}

/// Runs a graph.
///
/// # Errors
///
/// If the store cannot be read or written by the run itself; what fails in a stage is in the report.
pub fn execute(
    graph: &StageGraph,
    store: &Arc<Store>,
    options: &Options,
    told: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event loop needs nothing but memory and file descriptors");
    let mut run = Run::new(graph, store, options)?;
    let outcome = runtime.block_on(run.go(told));
    // The memo is worth keeping however the run went.
    store.save_stamps()?;
    store.settle()?;
    outcome?;
    let mut report = run.report();
    if report.stopped.is_none() {
        let mut entries = view(graph, &report.results);
        match attest::attest(graph, store, &report.results) {
            Ok(bundles) => entries.extend(bundles),
            Err(error) => report.failures.push(Failure {
                stage: "attestations".to_owned(),
                message: error.to_string(),
                hint: None,
                fault: Fault::Environment,
            }),
        }
        store.show(&graph.cycle, entries)?;
    }
    Ok(report)
}

struct Run<'g> {
    graph: &'g StageGraph,
    store: &'g Arc<Store>,
    options: &'g Options,
    schedule: Schedule<'g>,
    resolver: Resolver<'g>,
    results: Results,
    /// Missed the cache, waiting for room.
    queue: VecDeque<(StageIndex, Action, ActionKey)>,
    /// On their threads.
    in_flight: BTreeMap<StageIndex, (Action, ActionKey)>,
    /// Ended in this run, with a result that was not there.
    made: BTreeSet<StageIndex>,
    log: Log<'g>,
    executed: usize,
    cached: usize,
    failures: Vec<Failure>,
    stopped: Option<Stopped>,
    cancelled: Arc<AtomicBool>,
}

impl<'g> Run<'g> {
    fn new(graph: &'g StageGraph, store: &'g Arc<Store>, options: &'g Options) -> Result<Self, StoreError> {
        Ok(Self {
            graph,
            store,
            options,
            schedule: Schedule::new(graph, options.cores),
            resolver: Resolver::new(graph, store),
            results: vec![None; graph.len()],
            queue: VecDeque::new(),
            in_flight: BTreeMap::new(),
            made: BTreeSet::new(),
            log: Log::open(graph, store, options.now)?,
            executed: 0,
            cached: 0,
            failures: Vec::new(),
            stopped: None,
            cancelled: Arc::new(AtomicBool::new(false)),
        })
    }

    async fn go(&mut self, told: &mut dyn FnMut(Progress<'_>)) -> Result<(), StoreError> {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Message>();
        let stop = CancellationToken::new();
        // Without signals to listen to, never.
        let interrupt = Interrupts::listen().ok().map(|interrupts| {
            let stop = stop.clone();
            tokio::spawn(interrupts.tell(move || stop.cancel()))
        });
        let deadline = tokio::time::sleep(self.options.limit);
        tokio::pin!(deadline);
        loop {
            self.settle(told)?;
            self.start(&sender, told);
            if self.in_flight.is_empty() {
                break;
            }
            tokio::select! {
                message = receiver.recv() => match message.expect("the loop holds a sender") {
                    Message::Step { index, done, of } => told(Progress::Step { stage: index, done, of }),
                    Message::Done(done) => self.finish(done, told)?,
                },
                () = stop.cancelled(), if self.stopped.is_none() => self.stop(Stopped::Interrupted),
                () = &mut deadline, if self.stopped.is_none() => self.stop(Stopped::OutOfTime),
            }
        }
        if let Some(interrupt) = interrupt {
            interrupt.abort();
        }
        Ok(())
    }

    fn stop(&mut self, why: Stopped) {
        self.stopped = Some(why);
        self.queue.clear();
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Ends every stage that can end without running.
    fn settle(&mut self, told: &mut dyn FnMut(Progress<'_>)) -> Result<(), StoreError> {
        while self.stopped.is_none()
            && let Some(index) = self.schedule.next_settled()
        {
            if let Some(end) = self.schedule.fate(index) {
                self.end(index, end, None, None, told);
                continue;
            }
            let action = match self.resolver.action(index, &self.results) {
                Ok(action) => action,
                Err(error) => {
                    let hint = error.hint();
                    self.fail(
                        index,
                        Failure {
                            stage: String::new(),
                            message: error.to_string(),
                            hint,
                            fault: Fault::Environment,
                        },
                        told,
                    );
                    continue;
                }
            };
            let end_of = |stage| self.schedule.end_of(stage);
            if let Some(result) = entered_before(self.graph, self.store, index, &action, &end_of)? {
                self.cached += 1;
                self.pass(index, result, None, told);
                continue;
            }
            let key = action.action_key();
            match self.cached_result(&action, &key)? {
                Some(result) => {
                    self.log.hit(self.graph.node(index).id.as_str(), &key, &action, self.store)?;
                    self.cached += 1;
                    self.pass(index, result, None, told);
                }
                None => self.queue.push_back((index, action, key)),
            }
        }
        Ok(())
    }

    fn cached_result(&self, action: &Action, key: &ActionKey) -> Result<Option<ActionResult>, StoreError> {
        let Some(result) = self.store.lookup(key)? else { return Ok(None) };
        let kind = Kind::from_name(&action.kind).expect("graphs hold known kinds");
        let context = Context { now: &self.options.now, ..Context::looking(self.store, action) };
        // What cannot be told to hold does not: the stage runs and reports what is wrong.
        Ok(stage(kind).still_holds(&context, &result).unwrap_or(false).then_some(result))
    }

    /// Whether nothing new is to start. Other candidates go on after one whose inputs are unusable;
    /// but a full disk is nobody's result, and must not enter the ledger as if it were one.
    fn gives_up(&self) -> bool {
        let failures = || self.failures.iter();
        failures().any(|failure| self.options.fail_fast || failure.fault >= Fault::Environment)
    }

    /// What a stage is about to enter in the ledger.
    fn decisions(&self, index: StageIndex) -> Result<Vec<Decision>, StoreError> {
        if self.graph.node(index).kind != Kind::Ledger {
            return Ok(Vec::new());
        }
        let Self { graph, resolver, results, made, .. } = self;
        Below { graph, resolver, results, made }.decisions(index)
    }

    fn start(&mut self, sender: &mpsc::UnboundedSender<Message>, told: &mut dyn FnMut(Progress<'_>)) {
        let mut waiting = VecDeque::new();
        while let Some((index, action, key)) = self.queue.pop_front() {
            if self.gives_up() {
                continue;
            }
            if !self.schedule.has_room_for(index) {
                waiting.push_back((index, action, key));
                continue;
            }
            let decisions = self.decisions(index);
            self.schedule.started(index);
            self.in_flight.insert(index, (action.clone(), key));
            told(Progress::Started(index));
            let (store, now, cancelled) =
                (Arc::clone(self.store), self.options.now, Arc::clone(&self.cancelled));
            let sender = sender.clone();
            let id = self.graph.node(index).id.clone();
            tokio::task::spawn_blocking(move || {
                // Nobody listens only if the run was given up; the result is in the store all the same.
                let step = |done, of| drop(sender.send(Message::Step { index, done, of }));
                let stop = || cancelled.load(Ordering::Relaxed);
                let context = Context {
                    store: &store,
                    action: &action,
                    now: &now,
                    cancelled: &stop,
                    progress: &step,
                    fresh: false,
                    past: None,
                };
                let done = work(index, &id, &context, &key, decisions);
                let _ = sender.send(Message::Done(done));
            });
        }
        self.queue = waiting;
    }

    fn finish(&mut self, done: Done, told: &mut dyn FnMut(Progress<'_>)) -> Result<(), StoreError> {
        self.schedule.stopped(done.index);
        let (action, key) = self.in_flight.remove(&done.index).expect("only started stages finish");
        if done.cancelled {
            return Ok(());
        }
        let id = self.graph.node(done.index).id.clone();
        match done.outcome {
            Ok(result) => {
                self.log.note(&id, Happened::Executed, &key, &action, done.took, self.store)?;
                self.executed += 1;
                self.made.insert(done.index);
                self.pass(done.index, result, Some(done.took), told);
            }
            Err(failure) => {
                let happened = Happened::Failed(failure.message.clone());
                self.log.note(&id, happened, &key, &action, done.took, self.store)?;
                self.fail(done.index, failure, told);
            }
        }
        Ok(())
    }

    fn pass(
        &mut self,
        index: StageIndex,
        result: ActionResult,
        took: Option<Duration>,
        told: &mut dyn FnMut(Progress<'_>),
    ) {
        let end = End::of(&result.verdict);
        self.results[index.index()] = Some(result);
        self.end(index, end, took, None, told);
    }

    fn fail(&mut self, index: StageIndex, mut failure: Failure, told: &mut dyn FnMut(Progress<'_>)) {
        failure.stage.clone_from(&self.graph.node(index).id);
        self.end(index, End::Failed, None, Some(&failure), told);
        self.failures.push(failure);
    }

    fn end(
        &mut self,
        index: StageIndex,
        end: End,
        took: Option<Duration>,
        failure: Option<&Failure>,
        told: &mut dyn FnMut(Progress<'_>),
    ) {
        self.schedule.ended(index, end);
        let result = self.results[index.index()].as_ref();
        told(Progress::Ended { stage: index, end, result, took, failure });
    }

    fn report(self) -> Report {
        let indices = self.graph.graph.node_indices();
        Report {
            executed: self.executed,
            cached: self.cached,
            ends: indices.map(|index| self.schedule.end_of(index)).collect(),
            results: self.results,
            failures: self.failures,
            stopped: self.stopped,
        }
    }
}
