//! Where a child was made and by which program: the one thing said in a statement that no record says.
//!
//! A child has the same bytes on every processor, so nothing of the processor is in its receipt: two machines
//! that make it write one record, and a cache may answer for either. Whoever looks for the cause when bytes do
//! differ, for all that, wants to know it. So the facts lie beside the result of the action, in no record and
//! no key, and go into the provenance, where SLSA has a place for them: the processor among the parameters
//! that nobody chose, the program among the dependencies.
//!
//! They cannot be derived again. A reader holds the rest of the statement against the records, these facts
//! against their form alone, and has them on the word of the producer whose key signed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::predicate::PROVENANCE;
use super::{AttestError, Statement};
use crate::base::canonical;
use crate::base::digest::Sha256;

/// The program's place among the dependencies, by which it is told from a parent of that name.
const PROGRAM: &str = "urn:studbook:program";
const PARAMETERS: &str = "/buildDefinition/internalParameters";
const DEPENDENCIES: &str = "/buildDefinition/resolvedDependencies";
/// Longest note of a build.
pub const MAX_NOTE: u64 = 4096;

/// What one execution ran on. No clock, no host's name, no path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildFacts {
    /// SHA-256 of the program's file.
    pub program: Sha256,
    /// Its version.
    pub version: String,
    /// What it ran on.
    pub machine: Machine,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's architecture: `x86_64`, `aarch64`.
    pub architecture: String,
    /// What of it the arithmetic could have been compiled for, by name.
    pub features: Vec<String>,
    /// The operating system: `linux`, `macos`.
    pub system: String,
    /// Which compilation of the hot loops ran: `avx2`, or `baseline`.
    pub vectors: String,
}

impl BuildFacts {
    /// The bytes of a note.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(self).expect("facts are made of texts")
    }

    /// Reads a note; none if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        canonical::from_slice(bytes).ok()
    }

    fn dependency(&self) -> Value {
        json!({
            "uri": PROGRAM,
            "name": "studbook",
            "digest": { "sha256": self.program },
            "annotations": { "version": self.version },
        })
    }

    /// The same provenance with these facts in it.
    pub fn told_in(&self, mut provenance: Statement) -> Statement {
        if let Some(parameters) = provenance.predicate.pointer_mut(PARAMETERS) {
            *parameters = json!(self.machine);
        }
        let dependencies = provenance.predicate.pointer_mut(DEPENDENCIES).and_then(Value::as_array_mut);
        if let Some(dependencies) = dependencies {
            dependencies.push(self.dependency());
        }
        provenance
    }

    /// What a provenance tells; none if nothing, or nothing of this form.
    pub fn told_by(provenance: &Statement) -> Option<Self> {
        let machine: Machine = Machine::deserialize(provenance.predicate.pointer(PARAMETERS)?).ok()?;
        let program = provenance.predicate.pointer(DEPENDENCIES)?.as_array()?.last()?;
        Some(Self {
            program: program.pointer("/digest/sha256")?.as_str()?.parse().ok()?,
            version: program.pointer("/annotations/version")?.as_str()?.to_owned(),
            machine,
        })
    }
}

impl std::fmt::Display for BuildFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { program, version, machine } = self;
        let Machine { architecture, system, vectors, .. } = machine;
        let program = program.short();
        write!(f, "made by studbook {version} ({program}) on {architecture} {system}, vectors {vectors}")
    }
}

/// Whether a statement is the one that follows from a record. What a provenance tells beyond that is given
/// back.
///
/// # Errors
///
/// [`AttestError::Differs`] if it is about another subject, or its predicate differs beyond what a build may
/// tell.
pub fn agree(follows: &Statement, found: &Statement) -> Result<Option<BuildFacts>, AttestError> {
    let facts = BuildFacts::told_by(found).filter(|_| follows.predicate_type == PROVENANCE);
    let expected = match &facts {
        Some(facts) => &facts.told_in(follows.clone()),
        None => follows,
    };
    if expected == found {
        return Ok(facts);
    }
    let what = match found.subject == follows.subject {
        true => "its predicate differs",
        false => "it is about another subject",
    };
    Err(AttestError::Differs(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::Descriptor;
    use super::*;

    fn facts() -> BuildFacts {
        BuildFacts {
            program: Sha256::of(b"a program"),
            version: "0.1.0".to_owned(),
            machine: Machine {
                architecture: "x86_64".to_owned(),
                features: vec!["sse3".to_owned(), "avx2".to_owned()],
                system: "linux".to_owned(),
                vectors: "avx2".to_owned(),
            },
        }
    }

    fn provenance(kind: &str) -> Statement {
        let parent = json!({ "name": "studbook", "digest": { "sha256": Sha256::of(b"a parent") } });
        let predicate = json!({ "buildDefinition": {
            "internalParameters": {},
            "resolvedDependencies": [parent],
        } });
        Statement::new(vec![Descriptor::new("child", Sha256::of(b"child"))], kind, predicate)
    }

    #[test]
    fn what_is_told_is_found_again_and_the_rest_must_follow() {
        let (plain, facts) = (provenance(PROVENANCE), facts());
        let told = facts.told_in(plain.clone());
        assert_eq!(told.predicate["buildDefinition"]["resolvedDependencies"].as_array().unwrap().len(), 2);
        assert_eq!(agree(&plain, &told).unwrap(), Some(facts.clone()));
        assert_eq!(agree(&plain, &plain).unwrap(), None);
        assert_eq!(BuildFacts::from_bytes(&facts.to_bytes()), Some(facts.clone()));
        // A parent that is called like the program is no program.
        assert_eq!(BuildFacts::told_by(&plain), None);
        for (path, value) in [
            ("/buildDefinition/internalParameters/vectors", json!(7)),
            ("/buildDefinition/internalParameters/host", json!("tower")),
            ("/buildDefinition/resolvedDependencies/0/name", json!("other")),
            ("/buildDefinition/resolvedDependencies/1/uri", json!("urn:other")),
            ("/buildDefinition/resolvedDependencies/1/digest/sha256", json!("00")),
            ("/buildDefinition/resolvedDependencies/1/path", json!("/bin")),
        ] {
            let mut other = told.clone();
            let (parent, name) = path.rsplit_once('/').unwrap();
            other.predicate.pointer_mut(parent).unwrap()[name] = value;
            let error = agree(&plain, &other).unwrap_err().to_string();
            assert!(error.ends_with("its predicate differs"), "{path}: {error}");
        }
        let mut other = told.clone();
        other.subject = vec![Descriptor::new("child", Sha256::of(b"changeling"))];
        assert!(agree(&plain, &other).unwrap_err().to_string().ends_with("it is about another subject"));
        // Facts are for provenance; elsewhere they are one member too many.
        let kind = "urn:studbook:other:v1";
        assert!(agree(&provenance(kind), &facts.told_in(provenance(kind))).is_err());
    }
}
