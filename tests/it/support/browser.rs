//! A real Chromium, driven over WebDriver: a session of its own, in a profile of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::people::Call;
use super::wait::until;

/// How WebDriver marks a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// The browser's own process id: it is no child of ours and outlives a driver that is killed.
    process: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts chromedriver on a free port and a headless Chromium behind it.
    pub(crate) fn start(width: u32) -> Self {
        let profile = TempDir::new().expect("a temporary folder can be made");
        let (driver, address) = until("chromedriver announces its port", driver);
        let arguments = [
            "--headless=new".to_owned(),
            // Tests may run as root, where the sandbox does not start; the pages are our own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            // A browser whose driver has gone ends by itself.
            "--remote-debugging-pipe".to_owned(),
            format!("--window-size={width},900"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { driver, address, session: String::new(), process: 0, _profile: profile };
        let session = browser.ask("POST", "/session", &capabilities);
        session["sessionId"].as_str().expect("a session has an id").clone_into(&mut browser.session);
        browser.process =
            session["capabilities"]["goog:processID"].as_u64().expect("the driver names the browser's process");
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let call = Call::new(self.address, method, path).header("host", &self.address.to_string());
        let answer = if method == "POST" { call.json(body) } else { call }.send();
        let value = answer.json()["value"].clone();
        if answer.status == 200 { Ok(value) } else { Err(value) }
    }

    fn within(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", &self.within("/url"), &json!({ "url": url }));
    }

    /// The page's title.
    pub(crate) fn title(&self) -> String {
        self.ask("GET", &self.within("/title"), &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// The elements that a CSS selector finds now.
    fn elements(&self, selector: &str) -> Vec<String> {
        let found = self.ask("POST", &self.within("/elements"), &json!({ "using": "css selector", "value": selector }));
        let list = found.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|element| element[ELEMENT].as_str().map(str::to_owned)).collect()
    }

    /// How many elements a CSS selector finds now.
    pub(crate) fn count(&self, selector: &str) -> usize {
        self.elements(selector).len()
    }

    /// The first element, once it is there.
    fn element(&self, selector: &str) -> String {
        until(&format!("`{selector}` is on the page"), || self.elements(selector).into_iter().next())
    }

    /// The visible text of an element, once it is there. A page that is being replaced is asked again.
    pub(crate) fn text(&self, selector: &str) -> String {
        until(&format!("`{selector}` has a text"), || {
            let element = self.element(selector);
            let text = self.try_ask("GET", &self.within(&format!("/element/{element}/text")), &Value::Null).ok()?;
            text.as_str().map(str::to_owned)
        })
    }

    /// Presses an element as a person would: it must be visible and not covered.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.ask("POST", &self.within(&format!("/element/{element}/click")), &json!({}));
    }

    /// Types into an element.
    pub(crate) fn enter(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.ask("POST", &self.within(&format!("/element/{element}/value")), &json!({ "text": text }));
    }

    /// What a script returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.ask("POST", &self.within("/execute/sync"), &json!({ "script": script, "args": [] }))
    }

    /// Gives the page a screen of this width.
    pub(crate) fn screen_width(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Tells the page which colours the person likes: `dark` or `light`.
    pub(crate) fn colour_scheme(&self, scheme: &str) {
        let feature = json!({ "features": [ { "name": "prefers-color-scheme", "value": scheme } ] });
        self.devtools("Emulation.setEmulatedMedia", &feature);
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        self.ask("POST", &self.within("/goog/cdp/execute"), &json!({ "cmd": command, "params": parameters }));
    }

    /// What the console has said since the last look: errors, warnings, refusals by the content security policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.ask("POST", &self.within("/se/log"), &json!({ "type": "browser" }));
        let list = entries.as_array().map_or(&[][..], Vec::as_slice);
        let bad = |entry: &&Value| ["SEVERE", "WARNING"].iter().any(|level| entry["level"] == *level);
        list.iter().filter(bad).map(|entry| entry["message"].to_string()).collect()
    }

    /// Keeps a picture of the page under `target/screenshots`.
    pub(crate) fn screenshot(&self, name: &str) -> PathBuf {
        let picture = self.ask("GET", &self.within("/screenshot"), &Value::Null);
        let bytes = STANDARD.decode(picture.as_str().unwrap_or_default()).expect("a picture is base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, bytes).expect("the picture can be written");
        path
    }
}

/// A chromedriver on a free port. None when it ended at once: it looks for a port that is free for one family of addresses
/// and gives up when another program has that port in the other.
fn driver() -> Option<(Child, SocketAddr)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // With the browser's processes in one group of their own, so that all of them can be ended.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("chromedriver: {error}; run scripts/install-test-tools.sh"));
    let said = BufReader::new(driver.stdout.take().expect("its standard output is piped"));
    let mut lines = said.lines().map_while(Result::ok);
    let port =
        lines.find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok());
    // What else it says is read, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    if port.is_none() {
        driver.wait().expect("it has ended its output and can be waited for");
    }
    Some((driver, SocketAddr::from(([127, 0, 0, 1], port?))))
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            drop(self.try_ask("DELETE", &self.within(""), &Value::Null));
        }
        let group = format!("-{}", self.driver.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(self.driver.kill());
        drop(self.driver.wait());
        // A page that lives on would go on asking for events, at a port that may be another test's by then.
        let alive = Path::new("/proc").join(self.process.to_string()).exists();
        if self.process != 0 && alive {
            drop(Command::new("kill").args(["-KILL", &self.process.to_string()]).stderr(Stdio::null()).status());
        }
    }
}
