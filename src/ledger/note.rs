//! Signed notes (C2SP signed-note): a text, a blank line, and a line for every signature.
//!
//! ```text
//! studbook/ledger
//! 3
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — studbook/ledger Az3grlgtzPICa5OS8npVmf1Myq/5...     key id and signature in base64
//! ```
//!
//! The key id is four bytes and no proof of anything: a signature counts if a known key checks it. Where
//! no key is configured a note has no signature lines at all; whoever demands one refuses it.

#![expect(clippy::big_endian_bytes, reason = "the C2SP formats put the most significant byte first")]

use super::LedgerError;
use crate::base::base64;
use crate::base::digest::Sha256;
use crate::trust::{PublicKey, SIGNATURE_BYTES, SecretKey};

/// The longest note that is read.
pub const MAX_NOTE: usize = 32 << 10;
/// The most signatures read from one.
const MAX_SIGNATURES: usize = 32;
const DASH: &str = "\u{2014} ";

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, line break at its end included.
    pub text: String,
    /// Who signed it, as far as they say.
    pub signatures: Vec<NoteSignature>,
}

/// One line below a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The signer's name.
    pub name: String,
    /// The key id.
    pub key: [u8; 4],
    /// What the signature type says.
    pub bytes: Vec<u8>,
}

/// How a key signs notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// The text itself: signature type 1.
    Signature,
    /// The text as seen by a witness at a time (C2SP tlog-cosignature, version 1): signature type 4.
    Cosignature,
}

/// A name and a key that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    /// The signer's name: of a log, its origin.
    pub name: String,
    /// How it signs.
    pub kind: NoteKind,
    /// The key.
    pub public: PublicKey,
}

impl NoteKey {
    /// The four bytes before its signatures.
    pub fn id(&self) -> [u8; 4] {
        let text = [self.name.as_bytes(), b"\n", &self.encoded()].concat();
        let hash = Sha256::of(&text);
        std::array::from_fn(|at| hash.as_bytes()[at])
    }

    fn encoded(&self) -> Vec<u8> {
        let kind = match self.kind {
            NoteKind::Signature => 1,
            NoteKind::Cosignature => 4,
        };
        [&[kind][..], &self.public.to_bytes()[..]].concat()
    }

    /// The verifier key that other tools are configured with: `NAME+ID+KEY`.
    pub fn vkey(&self) -> String {
        let id = u32::from_be_bytes(self.id());
        format!("{}+{id:08x}+{}", self.name, base64::encode(&self.encoded()))
    }

    /// Checks this key's signature on a note: false if there is none. One that is there must hold.
    ///
    /// # Errors
    ///
    /// [`LedgerError::BadSignature`] if there is one that does not hold, or more than one.
    pub fn signed(&self, note: &Note) -> Result<bool, LedgerError> {
        let id = self.id();
        let mut lines = note.signatures.iter().filter(|line| line.key == id && line.name == self.name);
        let Some(line) = lines.next() else { return Ok(false) };
        let bad = || LedgerError::BadSignature { name: self.name.clone(), key: self.public.id() };
        if lines.next().is_some() {
            return Err(bad());
        }
        let checked = match self.kind {
            NoteKind::Signature => self.public.verify(note.text.as_bytes(), &line.bytes),
            NoteKind::Cosignature => {
                let Some((time, signature)) = line.bytes.split_first_chunk::<8>() else { return Err(bad()) };
                let message = cosigned(u64::from_be_bytes(*time), &note.text);
                self.public.verify(message.as_bytes(), signature)
            }
        };
        checked.map(|()| true).map_err(|_| bad())
    }
}

/// What a witness signs.
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl Note {
    /// A note that nobody signed.
    pub fn unsigned(text: String) -> Self {
        Self { text, signatures: Vec::new() }
    }

    /// Adds a signature under `name`, in place of an earlier one by the same key.
    pub fn sign(&mut self, name: &str, key: &SecretKey) {
        let bytes = key.sign(self.text.as_bytes());
        self.put(&NoteKey { name: name.to_owned(), kind: NoteKind::Signature, public: key.public() }, bytes);
    }

    /// Adds a witness's cosignature at a time in seconds since 1970, in place of an earlier one.
    pub fn cosign(&mut self, name: &str, key: &SecretKey, time: u64) {
        let signature = key.sign(cosigned(time, &self.text).as_bytes());
        let bytes = [&time.to_be_bytes()[..], &signature[..]].concat();
        let key = NoteKey { name: name.to_owned(), kind: NoteKind::Cosignature, public: key.public() };
        self.put(&key, bytes);
    }

    fn put(&mut self, key: &NoteKey, bytes: Vec<u8>) {
        let id = key.id();
        self.signatures.retain(|line| line.key != id || line.name != key.name);
        self.signatures.push(NoteSignature { name: key.name.clone(), key: id, bytes });
    }

    /// The note as a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.text);
        for line in &self.signatures {
            let bytes = [&line.key[..], &line.bytes[..]].concat();
            text += &format!("{DASH}{} {}\n", line.name, base64::encode(&bytes));
        }
        text
    }

    /// Reads a note; the reason is a phrase.
    ///
    /// # Errors
    ///
    /// If it is too long, has control characters, or has no text, blank line and signatures in that order.
    pub fn parse(file: &str) -> Result<Self, String> {
        if file.len() > MAX_NOTE {
            return Err(format!("has more than {MAX_NOTE} bytes"));
        }
        if file.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err("has a control character".to_owned());
        }
        let (text, lines) = match file.rfind("\n\n") {
            Some(at) if at > 0 => (&file[..=at], &file[at + 2..]),
            _ => return Err("has no blank line below a text".to_owned()),
        };
        let mut signatures = Vec::new();
        for line in lines.split_inclusive('\n') {
            let signature = line.strip_suffix('\n').and_then(parse_line);
            signatures.push(signature.ok_or_else(|| "has a line that is no signature".to_owned())?);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(format!("has more than {MAX_SIGNATURES} signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
    if !is_key_name(name) {
        return None;
    }
    let bytes = base64::decode(bytes)?;
    let (key, bytes) = bytes.split_first_chunk::<4>()?;
    if bytes.len() < SIGNATURE_BYTES {
        return None;
    }
    Some(NoteSignature { name: name.to_owned(), key: *key, bytes: bytes.to_vec() })
}

/// A name is shown on one line, between spaces, and before a plus sign.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn note_key(seed: u8, name: &str, kind: NoteKind) -> NoteKey {
        NoteKey { name: name.to_owned(), kind, public: key(seed).public() }
    }

    fn signed() -> Note {
        let mut note = Note::unsigned("example.com/log\n3\nAAAA\n".to_owned());
        note.sign("example.com/log", &key(1));
        note.cosign("example.com/witness", &key(2), 1_679_315_147);
        note
    }

    #[test]
    fn somebody_elses_code_reads_and_checks_it() {
        let note = signed();
        let file = note.to_text();
        assert_eq!(Note::parse(&file).unwrap(), note);
        let log = note_key(1, "example.com/log", NoteKind::Signature);
        let theirs = signed_note::Note::from_bytes(file.as_bytes()).unwrap();
        assert_eq!(theirs.text(), note.text.as_bytes());
        assert_eq!(theirs.to_bytes(), file.as_bytes());
        let verifier = signed_note::StandardVerifier::new(&log.vkey()).unwrap();
        let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        let (verified, unverified) = theirs.verify(&known).unwrap();
        assert_eq!((verified.len(), unverified.len()), (1, 1));
        assert_eq!(verified[0].name(), "example.com/log");
        let other = note_key(3, "example.com/log", NoteKind::Signature);
        let verifier = signed_note::StandardVerifier::new(&other.vkey()).unwrap();
        assert!(theirs.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).is_err());
    }

    #[test]
    fn a_signature_counts_for_its_key_name_kind_and_text() {
        let note = signed();
        let log = note_key(1, "example.com/log", NoteKind::Signature);
        let witness = note_key(2, "example.com/witness", NoteKind::Cosignature);
        assert!(log.signed(&note).unwrap() && witness.signed(&note).unwrap());
        for stranger in [
            note_key(3, "example.com/log", NoteKind::Signature),
            note_key(1, "example.com/lag", NoteKind::Signature),
            note_key(1, "example.com/log", NoteKind::Cosignature),
            note_key(2, "example.com/witness", NoteKind::Signature),
        ] {
            assert!(!stranger.signed(&note).unwrap());
        }
        let changed = Note { text: note.text.replace('3', "4"), ..note.clone() };
        assert!(matches!(log.signed(&changed), Err(LedgerError::BadSignature { .. })));
        assert!(matches!(witness.signed(&changed), Err(LedgerError::BadSignature { .. })));
        let mut later = note.clone();
        later.signatures[1].bytes[7] ^= 1;
        assert!(matches!(witness.signed(&later), Err(LedgerError::BadSignature { .. })));
        let mut twice = note.clone();
        twice.signatures.push(note.signatures[0].clone());
        assert!(matches!(log.signed(&twice), Err(LedgerError::BadSignature { .. })));
        let mut again = note.clone();
        again.sign("example.com/log", &key(1));
        assert_eq!(again.signatures.len(), 2);
    }

    #[test]
    fn damaged_notes_are_refused() {
        let good = signed().to_text();
        for bad in [
            String::new(),
            "\n\n".to_owned(),
            good.replace("\n\n", "\n"),
            good.trim_end().to_owned(),
            good.replace(DASH, "- "),
            good.replace("example.com/log ", "example.com/log  "),
            good.replace("\n3\n", "\n3\r\n"),
            format!("{good}\u{2014} x AAAA\n"),
            "a".repeat(MAX_NOTE + 1),
        ] {
            assert!(Note::parse(&bad).is_err(), "{bad}");
        }
    }
}
