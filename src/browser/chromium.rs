//! A headless Chromium and what it shows: started, driven over WebDriver (W3C), ended.
//!
//! The driver is asked over plain HTTP on the loopback address; the few commands needed here do not pay for a
//! client library with an asynchronous HTTP stack under it. The browser gets an empty profile that is
//! removed with it, so that no run knows of another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The variable that names another driver.
pub const DRIVER_VARIABLE: &str = "STUDBOOK_CHROMEDRIVER";

/// How to get what is missing.
pub const HOW_TO_GET: &str = "install Chromium and its driver (Debian: apt-get install chromium chromium-driver), or name a driver in STUDBOOK_CHROMEDRIVER";

/// How long a single command may take: a browser on a busy machine starts slowly.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest answer that is read: a screenshot.
const MAX_ANSWER: u64 = 64 << 20;

/// Why a browser cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// There is none.
    #[error("no browser can be driven here: {0}; {HOW_TO_GET}")]
    Missing(String),
    /// It, or its driver, does not answer as it should.
    #[error("the browser's driver {0}")]
    Driver(String),
    /// Nothing came of what was waited for.
    #[error("the page did not finish in {0} s")]
    TooSlow(u64),
}

/// A browser with one window. It ends when it is dropped.
pub struct Chromium {
    driver: Child,
    port: u16,
    session: String,
    version: String,
    profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Missing`] if there is no driver, or no browser that it starts; [`BrowserError::Driver`]
    /// if no temporary folder can be made, or the driver does not say its port in five starts.
    pub fn start() -> Result<Self, BrowserError> {
        let profile = tempfile::tempdir().map_err(|error| BrowserError::Driver(error.to_string()))?;
        let (driver, port) = drive()?;
        let version = String::new();
        let mut browser = Self { driver, port, session: String::new(), version, profile };
        browser.open()?;
        Ok(browser)
    }

    /// Opens the window.
    fn open(&mut self) -> Result<(), BrowserError> {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
            &profile,
        ];
        let options = json!({ "args": arguments });
        let body = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let opened = self.ask("POST", "/session", Some(&body)).map_err(|error| match error {
            BrowserError::Driver(why) => BrowserError::Missing(why),
            other => other,
        })?;
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        self.session = format!("/session/{}", text(&opened["sessionId"]));
        let name = text(&opened["capabilities"]["browserName"]);
        self.version = format!("{name} {}", text(&opened["capabilities"]["browserVersion"]));
        Ok(())
    }

    /// Its name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Goes to a page and waits until it is loaded.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Driver`] if the page cannot be loaded, or the driver does not answer.
    pub fn go(&self, url: &str) -> Result<(), BrowserError> {
        self.ask("POST", &format!("{}/url", self.session), Some(&json!({ "url": url }))).map(drop)
    }

    /// What a script returns: the body of a function of `arguments`.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Driver`] if the script throws, or the driver does not answer.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Result<Value, BrowserError> {
        let body = json!({ "script": script, "args": arguments });
        self.ask("POST", &format!("{}/execute/sync", self.session), Some(&body))
    }

    /// Runs a script again and again until what it returns is true in JavaScript's sense, and gives that.
    ///
    /// # Errors
    ///
    /// [`BrowserError::TooSlow`] if it is not true after `most`; else as [`Self::run`].
    pub fn wait_for(&self, script: &str, most: Duration) -> Result<Value, BrowserError> {
        let began = Instant::now();
        loop {
            let found = self.run(script, &[])?;
            let empty = matches!(&found, Value::Null | Value::Bool(false)) || found.as_str() == Some("");
            if !empty {
                return Ok(found);
            }
            if began.elapsed() > most {
                return Err(BrowserError::TooSlow(most.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the window this large.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Driver`] if it cannot be, or the driver does not answer.
    pub fn resize(&self, width: u32, height: u32) -> Result<(), BrowserError> {
        let body = json!({ "width": width, "height": height });
        self.ask("POST", &format!("{}/window/rect", self.session), Some(&body)).map(drop)
    }

    /// Sends a command of the DevTools protocol.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Driver`] if the browser refuses the command, or the driver does not answer.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Result<Value, BrowserError> {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", &format!("{}/goog/cdp/execute", self.session), Some(&body))
    }

    /// What the window shows: a PNG, spelled in base64 as the driver sends it.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Driver`] if the driver does not answer, or sends no picture.
    pub fn screenshot(&self) -> Result<String, BrowserError> {
        let shot = self.ask("GET", &format!("{}/screenshot", self.session), None)?;
        shot.as_str().map(str::to_owned).ok_or_else(|| BrowserError::Driver("sent no picture".to_owned()))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, BrowserError> {
        let unclear = |why: String| BrowserError::Driver(why);
        let (status, answer) = exchange(self.port, method, path, body)
            .map_err(|error| unclear(format!("does not answer: {error}")))?;
        let mut answer: Value =
            serde_json::from_slice(&answer).map_err(|_| unclear("answered with no JSON".to_owned()))?;
        let value = answer["value"].take();
        if status == 200 {
            return Ok(value);
        }
        let message = value["message"].as_str().unwrap_or("gave no reason");
        Err(unclear(format!("refused: {}", message.lines().next().unwrap_or(message))))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Closing the session ends the browser; if it fails, there is nothing left to try but the next line.
            let _ = self.ask("DELETE", &self.session, None);
        }
        end(&mut self.driver);
    }
}

/// So many times a driver is started that ends before it says its port: it looks for a free one and then takes it
/// for IPv4 and for IPv6, and gives up if somebody was quicker.
const STARTS: usize = 5;

/// A driver that listens, and its port.
fn drive() -> Result<(Child, u16), BrowserError> {
    let program = std::env::var(DRIVER_VARIABLE).unwrap_or_else(|_| "chromedriver".to_owned());
    for _ in 0..STARTS {
        let mut driver = Command::new(&program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| BrowserError::Missing(format!("`{program}`: {error}")))?;
        match driver.stdout.take().and_then(port_in) {
            Some(port) => return Ok((driver, port)),
            None => end(&mut driver),
        }
    }
    Err(BrowserError::Driver("did not say its port".to_owned()))
}

fn end(driver: &mut Child) {
    let _ = driver.kill();
    let _ = driver.wait();
}

/// The port in the driver's own words. What it says afterwards is read on, so that it never waits for us.
fn port_in(said: std::process::ChildStdout) -> Option<u16> {
    let mut lines = BufReader::new(said);
    let mut line = String::new();
    let port = loop {
        line.clear();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let number = line.trim_end().trim_end_matches('.').rsplit(' ').next().and_then(|n| n.parse().ok());
        // It repeats the 0 it was started with before it says which port it found.
        if line.contains("on port") && number.is_some_and(|port| port != 0) {
            break number;
        }
    };
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    port
}

/// One request, one answer: its status and body.
fn exchange(port: u16, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = BufReader::new(stream.take(MAX_ANSWER));
    let wrong = || std::io::Error::other("no HTTP");
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(wrong)?;
    let mut expected = None;
    loop {
        line.clear();
        if answer.read_line(&mut line)? == 0 {
            return Err(wrong());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            expected = value.trim().parse::<u64>().ok();
        }
    }
    let mut bytes = Vec::new();
    match expected {
        Some(length) => answer.take(length).read_to_end(&mut bytes)?,
        None => answer.read_to_end(&mut bytes)?,
    };
    Ok((status, bytes))
}
