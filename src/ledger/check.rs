//! Everything re-read, and if the chain does not hold, what was done to it.
//!
//! A broken link only says that something differs. A person needs to know what: so positions are
//! compared first (an entry knows its index: swapped, dropped, inserted, truncated), then the
//! chain (edited, and which side of the link), then the head, then what was remembered (rolled
//! back, replaced). Bytes after the last entry the head counts are what a crash leaves; they are
//! reported, and refused only if no writer of ours could have left them.

use std::collections::BTreeMap;
use std::path::Path;

use super::bundle::{self, BUNDLE, Bundle};
use super::head::Head;
use super::leaf::{EntryKind, Leaf, NO_LEAF};
use super::{LedgerError, Memory};
use crate::base::digest::Sha256;

/// What the checked head was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing was remembered: trust on first use. A rewritten log would look the same.
    FirstUse,
    /// The log extends a head accepted before, of this many entries.
    Extends {
        /// Entries remembered.
        size: u64,
    },
}

/// A ledger that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The head that was checked.
    pub head: Head,
    /// What it was compared with.
    pub trust: Trust,
    /// Entries of each kind.
    pub kinds: BTreeMap<EntryKind, u64>,
    /// Bytes after the last entry, left by an interrupted append; the next append removes them.
    pub unfinished_bytes: u64,
}

/// The part of a leaf the chain is about.
struct Link {
    index: u64,
    prev: Sha256,
    hash: Sha256,
}

/// Checks the log in `folder` against its head, and that against a remembered one.
pub(super) fn check(
    folder: &Path,
    head: &Head,
    remembered: Option<&Head>,
) -> Result<CheckReport, LedgerError> {
    let mut kinds = BTreeMap::new();
    let mut links = Vec::new();
    let mut unfinished_bytes = 0;
    let mut bundles = Vec::new();
    for number in 0.. {
        let Some(bundle) = Bundle::read(folder, number)? else { break };
        if bundles.last().is_some_and(|(_, partial)| *partial) {
            return Err(malformed(links.len() as u64, "ends in the middle, before the next bundle"));
        }
        let mut lines = 0;
        let mut whole_bytes = 0;
        for line in bundle.lines() {
            lines += 1;
            whole_bytes += line.len() + 1;
            let position = links.len() as u64;
            let leaf =
                Leaf::from_bytes(line).map_err(|why| LedgerError::Malformed { index: position, why })?;
            links.push(Link { index: leaf.index, prev: leaf.prev, hash: Sha256::of(line) });
            if position < head.size {
                *kinds.entry(leaf.kind).or_insert(0) += 1;
            } else {
                unfinished_bytes += line.len() as u64 + 1;
            }
        }
        let partial = bundle.bytes.len() - whole_bytes;
        unfinished_bytes += partial as u64;
        bundles.push((lines, partial > 0));
    }
    positions(&links, head.size)?;
    boundaries(folder, &bundles)?;
    chain(&links, head)?;
    let trust = compare(&links, head, remembered)?;
    Ok(CheckReport { head: head.clone(), trust, kinds, unfinished_bytes })
}

fn malformed(index: u64, why: &str) -> LedgerError {
    LedgerError::Malformed { index, why: why.to_owned() }
}

/// Every entry is where its index says.
fn positions(links: &[Link], size: u64) -> Result<(), LedgerError> {
    for (position, link) in links.iter().enumerate() {
        let (index, found) = (position as u64, link.index);
        if index == found {
            continue;
        }
        let later = |wanted: u64| links[position + 1..].iter().any(|link| link.index == wanted);
        return Err(match (found > index, later(index), later(found)) {
            (true, true, false) => LedgerError::Swapped { index, found },
            (true, false, _) => LedgerError::Dropped { index, found },
            _ => LedgerError::Inserted { index, found },
        });
    }
    let found = links.len() as u64;
    if found < size { Err(LedgerError::Truncated { size, found }) } else { Ok(()) }
}

/// Every bundle but the last is full.
fn boundaries(folder: &Path, bundles: &[(u64, bool)]) -> Result<(), LedgerError> {
    for (number, (lines, _)) in bundles.iter().enumerate() {
        let last = number + 1 == bundles.len();
        if *lines > BUNDLE || (*lines < BUNDLE && !last) {
            let why = format!("holds {lines} entries, expected {BUNDLE}");
            return Err(LedgerError::BadBundle { path: bundle::path(folder, number as u64), why });
        }
    }
    Ok(())
}

/// Every entry hashes to what its successor, or the head, says.
fn chain(links: &[Link], head: &Head) -> Result<(), LedgerError> {
    let mut before = NO_LEAF;
    for (position, link) in links.iter().enumerate() {
        let index = position as u64;
        if link.prev != before {
            let successor = match links.get(position + 1) {
                _ if index + 1 == head.size => Some(head.head),
                next => next.map(|next| next.prev),
            };
            return Err(match successor {
                _ if index >= head.size => LedgerError::Inserted { index, found: link.index },
                // Nobody vouches for this entry; where its successor does, the one before changed.
                Some(expected) if expected != link.hash => {
                    LedgerError::Edited { index, expected, found: link.hash }
                }
                _ if index == 0 => LedgerError::Edited { index, expected: NO_LEAF, found: link.prev },
                _ => LedgerError::Edited { index: index - 1, expected: link.prev, found: before },
            });
        }
        if index + 1 == head.size && link.hash != head.head {
            return Err(LedgerError::HeadDisagrees { index, expected: head.head, found: link.hash });
        }
        before = link.hash;
    }
    Ok(())
}

/// The log has only grown since `remembered`.
fn compare(links: &[Link], head: &Head, remembered: Option<&Head>) -> Result<Trust, LedgerError> {
    let Some(known) = remembered else { return Ok(Trust::FirstUse) };
    if known.origin != head.origin {
        return Err(LedgerError::Origin { expected: known.origin.clone(), found: head.origin.clone() });
    }
    if head.size < known.size {
        return Err(LedgerError::RolledBack { remembered: known.size, found: head.size });
    }
    if let Some(index) = known.size.checked_sub(1) {
        // In range: known.size <= head.size <= links.len().
        let found = links[index as usize].hash;
        if found != known.head {
            return Err(LedgerError::Replaced { index, expected: known.head, found });
        }
    }
    Ok(Trust::Extends { size: known.size })
}

impl Memory {
    /// Checks `ledger` against what is remembered of its origin, and remembers its head if it holds.
    pub fn check(&self, ledger: &super::Ledger) -> Result<CheckReport, LedgerError> {
        let remembered = self.recall(&ledger.head()?.origin)?;
        let report = ledger.check(remembered.as_ref())?;
        self.remember(&report.head)?;
        Ok(report)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::super::{EntryKind, Ledger, NewEntry};
    use super::*;

    /// A ledger of `count` entries.
    pub(in crate::ledger) fn ledger(folder: &Path, count: usize) -> Ledger {
        let ledger = Ledger::open(folder).unwrap();
        ledger.append((0..count).map(entry).collect(), &|| "2026-01-31T12:00:00Z".to_owned()).unwrap();
        ledger
    }

    pub(in crate::ledger) fn entry(number: usize) -> NewEntry {
        NewEntry {
            kind: EntryKind::ALL[number % 6],
            cycle: "spring".parse().unwrap(),
            candidate: Some(format!("c{number}").parse().unwrap()),
            subject: Some(Sha256::of(format!("manifest {number}").as_bytes())),
            record: Sha256::of(format!("record {number}").as_bytes()),
            predicate_type: "https://slsa.dev/verification_summary/v1".to_owned(),
        }
    }

    /// Changes the lines of bundle 0 and checks the ledger again.
    fn tampered(count: usize, change: impl Fn(&mut Vec<String>)) -> Result<CheckReport, LedgerError> {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), count);
        let path = bundle::path(folder.path(), 0);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        std::fs::write(&path, lines.concat()).unwrap();
        let result = ledger.check(None);
        let beyond_the_head = matches!(result, Err(LedgerError::Inserted { index: 10, .. }));
        if result.is_err() && !beyond_the_head {
            // What a check refuses, no reader returns and no writer extends.
            let fresh = Ledger::open(folder.path()).unwrap();
            assert!(fresh.append(vec![entry(9999)], &|| "2026-02-01T00:00:00Z".to_owned()).is_err());
            assert!(fresh.find_record(entry(0).record).is_err());
            assert!(fresh.iter().unwrap().any(|leaf| leaf.is_err()));
        }
        result
    }

    /// The same leaf, chained anew after the one before it.
    fn rechain(lines: &mut [String], from: usize) {
        for at in from..lines.len() {
            let mut leaf = Leaf::from_bytes(lines[at].trim_end().as_bytes()).unwrap();
            leaf.index = at as u64;
            leaf.prev = if at == 0 { NO_LEAF } else { Sha256::of(lines[at - 1].trim_end().as_bytes()) };
            lines[at] = String::from_utf8(leaf.to_bytes().unwrap()).unwrap() + "\n";
        }
    }

    #[test]
    fn a_good_ledger_is_counted_and_trusted_on_first_use() {
        let folder = tempfile::tempdir().unwrap();
        let report = ledger(folder.path(), 600).check(None).unwrap();
        assert_eq!((report.head.size, report.trust, report.unfinished_bytes), (600, Trust::FirstUse, 0));
        assert_eq!(report.kinds.len(), 6);
        assert!(report.kinds.values().all(|count| *count == 100));
        for number in 0..3 {
            assert!(bundle::path(folder.path(), number).is_file());
        }
    }

    #[test]
    fn an_edit_names_its_entry_wherever_it_is() {
        for at in [0, 1, 5, 8] {
            let result = tampered(10, |lines| lines[at] = lines[at].replace("12:00:00", "12:00:01"));
            assert!(
                matches!(&result, Err(LedgerError::Edited { index, .. }) if *index == at as u64),
                "{result:?}"
            );
            let result = tampered(10, |lines| {
                let prev = Leaf::from_bytes(lines[at].trim_end().as_bytes()).unwrap().prev;
                lines[at] = lines[at].replace(&prev.to_hex(), &Sha256::of(b"else").to_hex());
            });
            assert!(
                matches!(&result, Err(LedgerError::Edited { index, .. }) if *index == at as u64),
                "{result:?}"
            );
        }
        let result = tampered(10, |lines| lines[9] = lines[9].replace("12:00:00", "12:00:01"));
        assert!(matches!(result, Err(LedgerError::HeadDisagrees { index: 9, .. })), "{result:?}");
        let result = tampered(10, |lines| lines[4] = lines[4].replace("\"spring\"", "\"Spring\""));
        assert!(matches!(result, Err(LedgerError::Malformed { index: 4, .. })), "{result:?}");
    }

    #[test]
    fn swapped_dropped_inserted_truncated_are_told_apart() {
        let result = tampered(10, |lines| lines.swap(3, 7));
        assert!(matches!(result, Err(LedgerError::Swapped { index: 3, found: 7 })), "{result:?}");
        let result = tampered(10, |lines| drop(lines.remove(4)));
        assert!(matches!(result, Err(LedgerError::Dropped { index: 4, found: 5 })), "{result:?}");
        let result = tampered(10, |lines| lines.insert(4, lines[2].clone()));
        assert!(matches!(result, Err(LedgerError::Inserted { index: 4, found: 2 })), "{result:?}");
        let result = tampered(10, |lines| lines.insert(4, lines[6].clone()));
        assert!(matches!(result, Err(LedgerError::Inserted { index: 4, found: 6 })), "{result:?}");
        let result = tampered(10, |lines| lines.push(lines[9].clone()));
        assert!(matches!(result, Err(LedgerError::Inserted { index: 10, found: 9 })), "{result:?}");
        let result = tampered(10, |lines| drop(lines.pop()));
        assert!(matches!(result, Err(LedgerError::Truncated { size: 10, found: 9 })), "{result:?}");
        let result = tampered(10, Vec::clear);
        assert!(matches!(result, Err(LedgerError::Truncated { size: 10, found: 0 })), "{result:?}");
        // The last of a full bundle, with another bundle behind it.
        let result = tampered(300, |lines| drop(lines.pop()));
        assert!(matches!(result, Err(LedgerError::Dropped { index: 255, found: 256 })), "{result:?}");
    }

    #[test]
    fn a_forger_who_renumbers_is_caught_at_the_head() {
        let result = tampered(10, |lines| {
            lines.remove(4);
            rechain(lines, 4);
        });
        assert!(matches!(result, Err(LedgerError::Truncated { size: 10, found: 9 })), "{result:?}");
        let result = tampered(10, |lines| {
            lines[4] = lines[4].replace("\"c4\"", "\"c5\"");
            rechain(lines, 4);
        });
        assert!(matches!(result, Err(LedgerError::HeadDisagrees { index: 9, .. })), "{result:?}");
        let result = tampered(10, |lines| {
            lines.insert(4, lines[4].clone());
            rechain(lines, 4);
        });
        assert!(matches!(result, Err(LedgerError::HeadDisagrees { index: 9, .. })), "{result:?}");
    }

    #[test]
    fn an_entry_moved_to_another_bundle_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), 300);
        let [first, second] = [0, 1].map(|number| bundle::path(folder.path(), number));
        let (mut a, b) = (std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        let end = b.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        a.extend_from_slice(&b[..end]);
        std::fs::write(&first, a).unwrap();
        std::fs::write(&second, &b[end..]).unwrap();
        let error = ledger.check(None).unwrap_err();
        assert!(matches!(&error, LedgerError::BadBundle { why, .. } if why.contains("257")), "{error}");
    }

    /// No byte of the log or its head can be changed, removed or doubled unnoticed.
    #[test]
    fn no_mutant_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), 5);
        let head = ledger.head().unwrap();
        let mut accepted = Vec::new();
        let files: [PathBuf; 2] = [bundle::path(folder.path(), 0), folder.path().join("head")];
        for path in files {
            let good = std::fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut flipped = good.clone();
                flipped[at] ^= 1;
                let mut shorter = good.clone();
                shorter.remove(at);
                let mut longer = good.clone();
                longer.insert(at, good[at]);
                for (how, bytes) in [("flipped", flipped), ("removed", shorter), ("doubled", longer)] {
                    std::fs::write(&path, bytes).unwrap();
                    if let Ok(report) = ledger.check(Some(&head))
                        && report.unfinished_bytes == 0
                    {
                        accepted.push((path.clone(), at, how));
                    }
                }
            }
            std::fs::write(&path, good).unwrap();
        }
        assert_eq!(accepted, []);
        assert_eq!(ledger.check(Some(&head)).unwrap().trust, Trust::Extends { size: 5 });
    }

    #[test]
    fn what_was_remembered_stops_rollback_replacement_and_another_log() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().join("memory/heads"));
        let good = ledger(&folder.path().join("good"), 10);
        assert_eq!(memory.check(&good).unwrap().trust, Trust::FirstUse);
        assert_eq!(memory.check(&good).unwrap().trust, Trust::Extends { size: 10 });

        let shorter = ledger(&folder.path().join("shorter"), 8);
        let error = memory.check(&shorter).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 10, found: 8 }), "{error}");

        let fork = Ledger::open(folder.path().join("fork")).unwrap();
        fork.append((1..20).map(entry).collect(), &|| "2026-01-31T12:00:00Z".to_owned()).unwrap();
        fork.check(None).expect("it holds in itself");
        let error = memory.check(&fork).unwrap_err();
        assert!(matches!(error, LedgerError::Replaced { index: 9, .. }), "{error}");

        let other = Ledger::open_as(folder.path().join("other"), "example.org/ledger").unwrap();
        let error = other.check(Some(&good.head().unwrap())).unwrap_err();
        assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
        assert_eq!(memory.check(&other).unwrap().trust, Trust::FirstUse);

        std::fs::remove_dir_all(good.folder()).unwrap();
        let error = memory.check(&good).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 10, found: 0 }), "{error}");
    }
}
