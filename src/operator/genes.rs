//! Which parent gives each unit of a tensor: found for any run of units, never stored as a whole.

use super::parameter::{Parameters, Value};
use super::source::PIECE;
use crate::base::digest::Digest;
use crate::base::rng::Philox;

/// Longest gene map that a receipt spells out, in runs of units from one parent.
const SPELLED_OUT: usize = 32;

/// Who gives the units of one tensor.
pub(super) struct Genes {
    elements: usize,
    length: usize,
    parents: usize,
    scheme: Scheme,
}

enum Scheme {
    /// A word of the stream for each unit; parent `i` has those below its threshold, if no parent
    /// before it has.
    Drawn { stream: Philox, thresholds: Vec<u64> },
    /// Parents take turns; the turn changes before each unit of the model listed here.
    Cut { first: u64, cuts: Vec<u64> },
}

impl Genes {
    /// How many units of so many elements there are.
    pub(super) fn units_in(elements: usize, length: usize) -> u64 {
        elements.div_ceil(length) as u64
    }

    /// Each unit drawn by itself.
    pub(super) fn drawn(elements: usize, length: usize, stream: Philox, shares: &[f64]) -> Self {
        let total: f64 = shares.iter().sum();
        let mut sum = 0.0;
        let mut threshold = |share: &f64| {
            sum += share;
            (sum / total * 4_294_967_296.0).round() as u64
        };
        let thresholds = shares.iter().map(&mut threshold).collect();
        Self { elements, length, parents: shares.len(), scheme: Scheme::Drawn { stream, thresholds } }
    }

    /// Parents take turns between cuts; `first` is the tensor's first unit in the whole model.
    pub(super) fn by_cuts(
        elements: usize,
        length: usize,
        parents: usize,
        first: u64,
        cuts: Vec<u64>,
    ) -> Self {
        Self { elements, length, parents, scheme: Scheme::Cut { first, cuts } }
    }

    /// Elements of a unit.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The parents of the units `first..first + genes.len()`.
    pub(super) fn read(&self, first: u64, genes: &mut [u32]) {
        match &self.scheme {
            Scheme::Drawn { stream, thresholds } => {
                stream.fill(first, genes);
                let [before_last @ .., _] = &thresholds[..] else { return };
                for gene in genes {
                    let word = u64::from(*gene);
                    *gene = before_last.iter().map(|threshold| u32::from(word >= *threshold)).sum();
                }
            }
            Scheme::Cut { first: tensor, cuts } => {
                for (unit, gene) in (tensor + first..).zip(genes) {
                    *gene = (cuts.partition_point(|cut| *cut <= unit) % self.parents) as u32;
                }
            }
        }
    }
}

/// Who gave what, of one tensor.
pub(super) struct GeneMap {
    /// Elements from each parent.
    pub(super) elements: Vec<u64>,
    /// Units from each parent.
    units: Vec<u64>,
    /// Parent and number of units, run by run; `None` where that would be long.
    runs: Option<Vec<(u32, u64)>>,
    digest: Digest,
}

impl GeneMap {
    /// Looks at every unit.
    pub(super) fn of(genes: &Genes) -> Self {
        let count = Genes::units_in(genes.elements, genes.length);
        let (mut elements, mut units) = (vec![0; genes.parents], vec![0; genes.parents]);
        let mut runs = Some(Vec::new());
        let mut hasher = blake3::Hasher::new();
        let mut read = [0; PIECE];
        for first in (0..count).step_by(PIECE) {
            let read = &mut read[..(count - first).min(PIECE as u64) as usize];
            genes.read(first, read);
            for (unit, parent) in (first..).zip(&*read) {
                let start = unit as usize * genes.length;
                elements[*parent as usize] += genes.length.min(genes.elements - start) as u64;
                units[*parent as usize] += 1;
                runs = runs.and_then(|runs| longer(runs, *parent));
            }
            let bytes: Vec<u8> = read.iter().flat_map(|parent| parent.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        Self { elements, units, runs, digest: Digest::from_bytes(*hasher.finalize().as_bytes()) }
    }

    /// What the receipt says.
    pub(super) fn realised(&self) -> Parameters {
        let genes = match &self.runs {
            Some(runs) => {
                let flat = runs.iter().flat_map(|(parent, units)| [f64::from(*parent), *units as f64]);
                ("genes".to_owned(), Value::PerParent(flat.collect()))
            }
            None => ("genes_blake3".to_owned(), Value::Choice(self.digest.to_string())),
        };
        let units = self.units.iter().map(|units| *units as f64).collect();
        Parameters::from([genes, ("taken".to_owned(), Value::PerParent(units))])
    }
}

/// The runs with one more unit, unless there are too many.
fn longer(mut runs: Vec<(u32, u64)>, parent: u32) -> Option<Vec<(u32, u64)>> {
    match runs.last_mut() {
        Some((last, units)) if *last == parent => *units += 1,
        _ => runs.push((parent, 1)),
    }
    (runs.len() <= SPELLED_OUT).then_some(runs)
}
