//! A folder on this machine's loopback address, for people without a web server and for tests.
//!
//! It reads what a request names and nothing else: plain names below the folder, no dot files, no links that
//! lead out, `GET` and `HEAD` only. Types and headers are those that a page needs to be strict about itself.

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use super::{RegistryError, SELECTOR_BUDGET};

/// Largest file that is served: a model, and what little a page has besides.
const MOST: u64 = SELECTOR_BUDGET;

/// Threads that answer: a browser asks for six things at a time.
const THREADS: usize = 4;

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
}

impl Folder {
    /// The folder as it is really called, so that links in its own path are no escape.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self { root: root.canonicalize()? })
    }
}

impl Content for Folder {
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
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
    server: Arc<Server>,
    address: SocketAddr,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Serving {
    /// Serves on 127.0.0.1; port 0 takes a free one.
    pub fn start(content: Arc<dyn Content>, port: u16) -> Result<Self, RegistryError> {
        let failed = |why: String| RegistryError::Serve { port, why };
        let server = Server::http((Ipv4Addr::LOCALHOST, port)).map_err(|error| failed(error.to_string()))?;
        let address = server.server_addr().to_ip().ok_or_else(|| failed("no address".to_owned()))?;
        let server = Arc::new(server);
        let threads = (0..THREADS)
            .map(|_| {
                let (server, content) = (server.clone(), content.clone());
                std::thread::spawn(move || {
                    while let Ok(request) = server.recv() {
                        answer(request, &*content, address);
                    }
                })
            })
            .collect();
        Ok(Self { server, address, threads })
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
        // Each call wakes one thread; more than enough is harmless.
        for _ in 0..=self.threads.len() {
            self.server.unblock();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has answered its last request; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, content: &dyn Content, address: SocketAddr) {
    let status = |code| Response::from_data(Vec::new()).with_status_code(StatusCode(code));
    let response = if !matches!(request.method(), Method::Get | Method::Head) {
        status(405)
    } else if !is_for(&request, address) {
        status(421)
    } else {
        match plain_path(request.url()).and_then(|path| Some((content.bytes(&path)?, path))) {
            Some((bytes, path)) => found(bytes, &path),
            None => status(404),
        }
    };
    // A browser that went away needs no answer.
    let _ = request.respond(response);
}

/// Whether the request names this server: a page elsewhere whose name leads here does not.
fn is_for(request: &Request, address: SocketAddr) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    let port = address.port();
    host.is_some_and(|host| {
        let host = host.value.as_str();
        host == format!("127.0.0.1:{port}") || host == format!("localhost:{port}")
    })
}

fn found(bytes: Vec<u8>, path: &str) -> Response<Cursor<Vec<u8>>> {
    let headers = [
        ("Content-Type", media_type(path)),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Content-Security-Policy", "frame-ancestors 'none'"),
    ];
    let headers = headers.iter().filter_map(|(name, value)| Header::from_bytes(*name, *value).ok());
    headers.fold(Response::from_data(bytes), Response::with_header)
}

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
    use std::io::{Read, Write};
    use std::net::TcpStream;

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
        assert!(got.contains("text/javascript") && got.contains("nosniff"), "{got}");
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
