//! A folder on this machine's loopback address, for people without a web server and for tests.
//!
//! It reads what a request names and nothing else: plain names below the folder, no dot files, no links that
//! lead out, of a registry only its own files, `GET` and `HEAD` only. Types and headers are those that a page needs to be strict about itself.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::snapshot::MAX_ENTRIES;
use super::{RegistryError, SELECTOR_BUDGET};
use crate::disk::IoContext;

/// Largest file that is served: a model, or the ledger's entries.
const MOST: u64 = if SELECTOR_BUDGET > MAX_ENTRIES { SELECTOR_BUDGET } else { MAX_ENTRIES };

/// Most requests at a time: a browser asks for six things at once.
const MAX_OPEN: usize = 64;

/// How long nothing is accepted after nothing could be: what is missing, descriptors mostly, is missing still
/// when the next is asked for at once, and the listener would spend a whole core on asking.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest head of a request.
const MAX_HEAD: u64 = 16 << 10;

/// How long a sender may pause.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest path in a request.
const MAX_PATH: usize = 512;

/// What is served: a folder, or files that are in no folder.
pub trait Content: Send + Sync {
    /// The bytes at a plain path such as `models/ab.slm`; none if there are none.
    fn bytes(&self, path: &str) -> Option<Vec<u8>>;
}

/// The files of a folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// What is served of it; everything if nothing is said.
    listed: Option<Mutex<BTreeSet<String>>>,
}

impl Folder {
    /// The folder as it is really called, so that links in its own path are no escape.
    ///
    /// # Errors
    ///
    /// If it is not there, or may not be read.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self { root: root.canonicalize()?, listed: None })
    }

    /// A registry: whatever lies beside its files is nobody's promise and is not served.
    ///
    /// # Errors
    ///
    /// As [`files`](super::files), and if the folder is not there.
    pub fn of_registry(root: &Path) -> Result<Self, RegistryError> {
        let root = root.canonicalize().at("open the folder", root)?;
        let listed = Some(Mutex::new(super::files(&root)?));
        Ok(Self { root, listed })
    }

    fn lists(&self, path: &str) -> bool {
        let Some(listed) = &self.listed else { return true };
        let mut listed = listed.lock().unwrap_or_else(PoisonError::into_inner);
        if !listed.contains(path) {
            // Perhaps it was built again since.
            let Ok(now) = super::files(&self.root) else { return false };
            *listed = now;
        }
        listed.contains(path)
    }
}

impl Content for Folder {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        if !self.lists(path) {
            return None;
        }
        let path = self.root.join(path).canonicalize().ok()?;
        let metadata = std::fs::metadata(&path).ok()?;
        if !path.starts_with(&self.root) || !metadata.is_file() || metadata.len() > MOST {
            return None;
        }
        std::fs::read(path).ok()
    }
}

/// A server that runs until it is dropped.
pub struct Serving {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Serving {
    /// Serves on 127.0.0.1; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Serve`] if the port is taken, or may not be had.
    pub fn start(content: Arc<dyn Content>, port: u16) -> Result<Self, RegistryError> {
        let failed = |error: std::io::Error| RegistryError::Serve { port, why: error.to_string() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let ended = Arc::new(AtomicBool::new(false));
        let (over, open) = (ended.clone(), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            let accepted = accepted(listener.incoming(), &|| std::thread::sleep(PAUSE));
            for stream in accepted.take_while(|_| !over.load(Ordering::Acquire)).flatten() {
                let (content, open) = (content.clone(), open.clone());
                if open.fetch_add(1, Ordering::AcqRel) >= MAX_OPEN {
                    open.fetch_sub(1, Ordering::AcqRel);
                    continue;
                }
                std::thread::spawn(move || {
                    // A browser that went away needs no answer.
                    let _ = answer(&stream, &*content, address);
                    open.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Ok(Self { address, ended })
    }

    /// Where it can be reached.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits while it serves, until `stop` says so.
    pub fn wait(&self, stop: &dyn Fn() -> bool) {
        while !stop() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Connections as they come; none, after a pause, where one could not be accepted.
fn accepted<T>(
    incoming: impl Iterator<Item = std::io::Result<T>>,
    pause: &dyn Fn(),
) -> impl Iterator<Item = Option<T>> {
    incoming.map(move |stream| {
        let stream = stream.ok();
        if stream.is_none() {
            pause();
        }
        stream
    })
}

/// One request, one answer, and the connection is closed: nothing waits for its turn behind another.
fn answer(stream: &TcpStream, content: &dyn Content, address: SocketAddr) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(stream.take(MAX_HEAD));
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut host = None;
    loop {
        let mut line = String::new();
        // A head that is cut, by the sender or by its length, is no request.
        if head.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("host") {
            host = Some(value.trim().to_owned());
        }
    }
    let mut words = first.split_whitespace();
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let port = address.port();
    // A page elsewhere whose name leads here does not name this server.
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let (status, kind, bytes) = if !matches!(method, "GET" | "HEAD") {
        ("405 Method Not Allowed", "", Vec::new())
    } else if !host.is_some_and(|host| ours.contains(&host)) {
        ("421 Misdirected Request", "", Vec::new())
    } else {
        match plain_path(url).and_then(|path| Some((content.bytes(&path)?, path))) {
            Some((bytes, path)) => ("200 OK", media_type(&path), bytes),
            None => ("404 Not Found", "", Vec::new()),
        }
    };
    let kind = if kind.is_empty() { "text/plain" } else { kind };
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\nContent-Type: {kind}\r\n{HEADERS}\r\n",
        bytes.len()
    )?;
    if method == "GET" {
        out.write_all(&bytes)?;
    }
    out.flush()
}

/// What a page needs to be strict about itself.
const HEADERS: &str = "Cache-Control: no-cache\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Embedder-Policy: require-corp\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Content-Security-Policy: frame-ancestors 'none'\r\n";

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The path a request is for: names of letters, digits, `.`, `_` and `-`, none beginning with a dot. Nothing
/// is decoded, so nothing can hide.
fn plain_path(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = if path.is_empty() { "index.html" } else { path };
    let plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    (path.len() <= MAX_PATH && path.split('/').all(plain)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_looked_at() {
        assert_eq!(plain_path("/").as_deref(), Some("index.html"));
        assert_eq!(plain_path("/models/ab.slm?x=1").as_deref(), Some("models/ab.slm"));
        for bad in
            ["", "x", "//x", "/../x", "/a/../b", "/%2e%2e/x", "/a\\b", "/.git/config", "/a//b", "/a:b", "/a/"]
        {
            assert_eq!(plain_path(bad), None, "{bad}");
        }
    }

    fn ask(serving: &Serving, request: &str) -> String {
        let mut stream = TcpStream::connect(serving.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn where_nothing_can_be_accepted_the_listener_pauses() {
        let none = || Err(std::io::Error::other("too many open files"));
        let pauses = std::cell::Cell::new(0);
        let pause = || pauses.set(pauses.get() + 1);
        let incoming = [Ok(1), none(), none(), Ok(2)].into_iter();
        assert_eq!(accepted(incoming, &pause).collect::<Vec<_>>(), [Some(1), None, None, Some(2)]);
        assert_eq!(pauses.get(), 2, "one for each that could not be, none for others");
    }

    #[test]
    fn a_folder_is_served_and_nothing_beside_it() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("registry");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("a.js"), "export {};").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link.js")).unwrap();
        let serving = Serving::start(Arc::new(Folder::new(&root).unwrap()), 0).unwrap();
        let host = format!("Host: 127.0.0.1:{}\r\nConnection: close", serving.address.port());
        let got = ask(&serving, &format!("GET /a.js HTTP/1.1\r\n{host}\r\n\r\n"));
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("export {};"), "{got}");
        assert!(
            got.contains("text/javascript") && HEADERS.lines().all(|header| got.contains(header)),
            "{got}"
        );
        for header in ["nosniff", "frame-ancestors 'none'", "no-referrer", "same-origin"] {
            assert!(HEADERS.contains(header), "{header}");
        }
        for (name, kind) in [
            ("index.html", "text/html; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("selector.json", "application/json"),
            ("studbook.wasm", "application/wasm"),
            ("models/ab.slm", "application/octet-stream"),
        ] {
            std::fs::create_dir_all(root.join("models")).unwrap();
            std::fs::write(root.join(name), "x").unwrap();
            let got = ask(&serving, &format!("HEAD /{name} HTTP/1.1\r\n{host}\r\n\r\n"));
            assert!(got.contains(&format!("Content-Type: {kind}\r\n")) && got.ends_with("\r\n\r\n"), "{got}");
        }
        for (line, code) in [
            ("GET /link.js", "404"),
            ("GET /../secret", "404"),
            ("GET /%2e%2e/secret", "404"),
            ("GET /none", "404"),
            ("POST /a.js", "405"),
        ] {
            let got = ask(&serving, &format!("{line} HTTP/1.1\r\n{host}\r\nContent-Length: 0\r\n\r\n"));
            assert!(got.starts_with(&format!("HTTP/1.1 {code}")), "{line}: {got}");
        }
        let got = ask(&serving, "GET /a.js HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n");
        assert!(got.starts_with("HTTP/1.1 421"), "{got}");
    }
}
