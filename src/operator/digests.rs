//! The digests of a child's tensors, on a thread of their own.
//!
//! The bytes of a tensor are hashed in order, once for the tensor and once for the file. Both on the
//! thread that writes would make all cores wait for that one; so blocks are lent to two threads, and
//! whoever is done last gives their buffers back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::block::{Buffers, Made};
use crate::base::digest::Digest;

/// Blocks that may wait for the thread.
const DEPTH: usize = 4;

/// BLAKE3 of the stored bytes of each tensor, payload before scales.
pub(super) struct Digests<'scope>(Where<'scope>);

enum Where<'scope> {
    /// The machine has no thread to give.
    Here(Box<Hashing>),
    Beside(SyncSender<Arc<Made>>, ScopedJoinHandle<'scope, Vec<Digest>>),
}

impl<'scope> Digests<'scope> {
    /// Starts.
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>, buffers: &'env Buffers) -> Self {
        let (blocks, lent) = sync_channel(DEPTH);
        let thread =
            Builder::new().name("tensor-digests".to_owned()).spawn_scoped(scope, || run(lent, buffers));
        Self(match thread {
            Ok(thread) => Where::Beside(blocks, thread),
            Err(_) => Where::Here(Box::default()),
        })
    }

    /// The next block.
    pub(super) fn take(&mut self, made: &Arc<Made>) {
        match &mut self.0 {
            Where::Here(hashing) => hashing.take(made),
            // A thread that panicked listens no more; the panic comes out when it is joined.
            Where::Beside(blocks, _) => drop(blocks.send(made.clone())),
        }
    }

    /// The digests, in order.
    pub(super) fn finish(self) -> Vec<Digest> {
        match self.0 {
            Where::Here(hashing) => hashing.done,
            Where::Beside(blocks, thread) => {
                drop(blocks);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }
}

fn run(lent: Receiver<Arc<Made>>, buffers: &Buffers) -> Vec<Digest> {
    let mut hashing = Hashing::default();
    for made in lent {
        hashing.take(&made);
        buffers.give_back(made);
    }
    hashing.done
}

#[derive(Default)]
struct Hashing {
    /// Of the current tensor: its bytes so far, and its scales, which come last.
    digest: blake3::Hasher,
    scales: Vec<u8>,
    done: Vec<Digest>,
}

impl Hashing {
    fn take(&mut self, made: &Made) {
        self.digest.update(made.payload());
        self.scales.extend_from_slice(&made.scales);
        if made.last {
            self.digest.update(&self.scales);
            self.done.push(Digest::from_bytes(*self.digest.finalize().as_bytes()));
            self.digest.reset();
            self.scales.clear();
        }
    }
}
