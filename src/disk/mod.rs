//! Files: mapped to read, written so that a crash leaves the old bytes or the new ones.
//!
//! * [`mmap`]: read-only maps; `unsafe` with a contract.
//! * [`hashed`]: an artifact hashed while it is written, never read again for it.
//! * [`tree`]: the digest of large files on all cores. [`along`]: of those that are read anyway.
//!   [`stamps`]: those that need not be hashed again.
//! * [`atomic`]: a small file, replaced whole or not at all.
//! * [`small`]: small files that people write, read whole.
//! * [`fresh`]: new files and folders for people; `swap`: a folder in the place of another; `leftovers`: what
//!   the killed left of one; [`strangers`]: what is in a folder and does not belong there. [`space`]: whether there is room.
//! * [`links`]: links in a folder that somebody else made. [`plain`]: folders of ours that are none.
//! * [`lock`]: advisory locks between processes, with a bounded wait. [`presence`]: who is at work in a folder.
//! * [`fault`]: places where tests stop the process or refuse a write.  `damage`: every small damage to a file.
//!
//! Every error carries the path and what was being done to it.

pub mod along;
pub mod atomic;
#[cfg(test)]
pub(crate) mod damage;
mod error;
pub mod fault;
pub mod fresh;
pub mod hashed;
mod leftovers;
pub mod links;
pub mod lock;
pub mod mmap;
pub mod plain;
pub mod presence;
pub mod small;
pub mod space;
pub mod stamps;
pub mod strangers;
mod swap;
pub mod tree;

pub use error::{DiskError, IoContext, hint_of_writing};
