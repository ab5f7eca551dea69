//! Things a page has open, each under a number.
//!
//! A list, not a map: there are at most [`MAX_HANDLES`] of them, and the code of an ordered map would be
//! a twentieth of what a page has to load.

use super::host::HostError;

/// Most things of one kind at a time.
pub const MAX_HANDLES: usize = 64;

/// What is open of one kind.
#[derive(Debug)]
pub(super) struct Handles<T> {
    /// What the things are called in errors.
    kind: &'static str,
    open: Vec<(u32, T)>,
}

impl<T> Handles<T> {
    /// None open yet.
    pub(super) const fn new(kind: &'static str) -> Self {
        Self { kind, open: Vec::new() }
    }

    /// Refuses one more than may be open.
    pub(super) fn room(&self) -> Result<(), HostError> {
        if self.open.len() < MAX_HANDLES { Ok(()) } else { Err(HostError::Full { kind: self.kind }) }
    }

    /// Keeps a thing under a number that no other has.
    pub(super) fn insert(&mut self, handle: u32, thing: T) {
        self.open.push((handle, thing));
    }

    /// The thing under a number.
    pub(super) fn get(&self, handle: u32) -> Result<&T, HostError> {
        Ok(&self.open[self.place(handle)?].1)
    }

    /// The thing under a number, to change it.
    pub(super) fn get_mut(&mut self, handle: u32) -> Result<&mut T, HostError> {
        let place = self.place(handle)?;
        Ok(&mut self.open[place].1)
    }

    /// Forgets the thing under a number.
    pub(super) fn close(&mut self, handle: u32) -> Result<(), HostError> {
        let place = self.place(handle)?;
        self.open.swap_remove(place);
        Ok(())
    }

    fn place(&self, handle: u32) -> Result<usize, HostError> {
        let unknown = HostError::Unknown { kind: self.kind, handle };
        self.open.iter().position(|(number, _)| *number == handle).ok_or(unknown)
    }
}
