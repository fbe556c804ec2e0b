//! The corpora through reverse proxies that stand in front of the gateway, configured to be as lenient as they can be. Whatever they
//! make of the bytes, no upstream ever acts on the gated tool.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::mcp::{self, Message};
use crate::spy::Language;
use crate::support::http::Wire;
use crate::support::people::{Call, token};
use crate::support::ports::lasting_port;
use crate::support::wait::until;
use crate::trap::{Body, Connection, Trap, index, read};

/// A front that says nothing for so long waits for more than a case has.
const SILENCE: Duration = Duration::from_millis(700);
/// How often a front is started anew when another program took its port first.
const TRIES: usize = 5;

/// A reverse proxy.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Hands targets on as they came.
    Nginx,
    /// Makes paths canonical before it hands them on.
    NginxThatRewrites,
    HaProxy,
}

impl Kind {
    /// The command that runs it in the foreground, with its configuration written to `folder`.
    fn command(self, folder: &Path, listen: SocketAddr, gateway: SocketAddr) -> Command {
        let (program, text) = match self {
            Kind::Nginx => ("nginx", nginx(folder, listen, gateway, "")),
            Kind::NginxThatRewrites => ("nginx", nginx(folder, listen, gateway, "/")),
            Kind::HaProxy => ("haproxy", haproxy(listen, gateway)),
        };
        let file = folder.join("front.conf");
        std::fs::write(&file, text).expect("a configuration can be written");
        let mut command = Command::new(program);
        match self {
            Kind::HaProxy => command.arg("-db").arg("-f").arg(file),
            _ => command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(folder.join("error.log")),
        };
        // Users' paths often leave out where servers are.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

fn nginx(folder: &Path, listen: SocketAddr, gateway: SocketAddr, target: &str) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{ worker_connections 512; }}\nhttp {{\n  access_log off;\n\
         {temporary}  client_max_body_size 0;\n  large_client_header_buffers 8 128k;\n  underscores_in_headers on;\n  \
         ignore_invalid_headers off;\n  merge_slashes off;\n  upstream gateway {{ server {gateway}; keepalive 8; }}\n  server {{\n    \
         listen {listen};\n    location / {{\n      proxy_pass http://gateway{target};\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    )
}

fn haproxy(listen: SocketAddr, gateway: SocketAddr) -> String {
    format!(
        "global\n  maxconn 512\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n  \
         http-reuse always\nfrontend agents\n  bind {listen}\n  option accept-invalid-http-request\n  default_backend gateway\n\
         backend gateway\n  server gateway {gateway}\n"
    )
}

/// A running reverse proxy. Killed when dropped.
struct Front {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Front {
    fn start(kind: Kind, gateway: SocketAddr) -> Self {
        for _ in 0..TRIES {
            let address = SocketAddr::from(([127, 0, 0, 1], lasting_port()));
            let folder = TempDir::new().expect("a folder can be made");
            let child = kind.command(folder.path(), address, gateway).spawn();
            let child = child.unwrap_or_else(|error| panic!("{kind:?}: {error}; run scripts/install-test-tools.sh"));
            let mut front = Self { child, address, _folder: folder };
            if front.is_up(kind) {
                return front;
            }
        }
        panic!("{kind:?} did not start {TRIES} times");
    }

    /// Waits until it listens; false when it has ended.
    fn is_up(&mut self, kind: Kind) -> bool {
        until(&format!("{kind:?} listens"), || match self.child.try_wait().expect("a child can be waited for") {
            Some(_) => Some(false),
            None => TcpStream::connect(self.address).is_ok().then_some(true),
        })
    }

    /// Sends these bytes on a connection of their own, and reads what comes of it: so many answers at most.
    fn exchange(&self, raw: &[u8], answers: usize) -> usize {
        let mut wire = Wire::connect(self.address);
        wire.closer().set_read_timeout(Some(SILENCE)).expect("a read time-out can be set");
        wire.send(raw);
        (0..answers).take_while(|_| wire.answer().is_ok()).count()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What was sent through a front, and how much of it came to the upstream.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    seen: usize,
}

impl Tally {
    /// One case: whatever the upstream has seen of it, it is harmless.
    fn case(&mut self, trap: &mut Trap, front: &Front, what: &str, raw: &[u8], answers: usize) {
        self.answered += front.exchange(raw, answers);
        self.look(trap, what);
    }

    fn look(&mut self, trap: &mut Trap, what: &str) {
        let sightings = trap.fresh_sightings();
        self.seen += sightings.len();
        sightings.iter().for_each(|sighting| trap.check_sighting(what, sighting));
    }
}

/// Sends all files of connections, and all bodies as calls.
fn send_calls(kind: Kind, language: Language) -> Tally {
    let mut trap = Trap::with(language, |home| home.key("limits: { pending_per_agent_max: 1000 }"));
    let front = Front::start(kind, trap.gateway.proxy);
    let mut tally = Tally::default();
    for case in index::<Connection>("raw").iter().filter(|case| !case.is_http2()) {
        let what = format!("{} through {kind:?} before {language:?}", case.file);
        tally.case(&mut trap, &front, &what, &read("raw", &case.file), case.answers.len().max(1));
    }
    for case in index::<Body>("hostile") {
        let what = format!("{} through {kind:?} before {language:?}", case.file);
        let call = Call::new(front.address, "POST", "/tools/call").bearer(&token("bot"));
        let call = call.header("content-type", "application/json").header("prefer", "wait=0");
        tally.case(&mut trap, &front, &what, &call.body(read("hostile", &case.file)).bytes(), 1);
    }
    finish(&mut trap, front, &mut tally, "/tools/safe_status");
    tally
}

/// Posts all messages.
fn send_messages(kind: Kind, language: Language) -> Tally {
    let mut trap = mcp::trap(language);
    let front = Front::start(kind, trap.gateway.proxy);
    let mut tally = Tally::default();
    for case in index::<Message>("mcp") {
        let what = format!("{} through {kind:?} before {language:?}", case.what);
        let call = mcp::post(&trap, &case.headers, case.body.as_bytes());
        tally.case(&mut trap, &front, &what, &call.bytes(), 1);
    }
    finish(&mut trap, front, &mut tally, "/mcp");
    tally
}

/// The front still serves, and nothing that it kept comes out when it ends.
fn finish(trap: &mut Trap, front: Front, tally: &mut Tally, probe: &str) {
    Call::new(front.address, "GET", probe).bearer(&token("bot")).send().expect(200, "");
    assert!(trap.rejected_in_all() > 20.0, "what the front passes on is refused by the gateway");
    drop(front);
    tally.look(trap, "when the front ended");
}

fn check(kind: Kind) {
    for language in Language::ALL {
        let (calls, messages) = (send_calls(kind, language), send_messages(kind, language));
        // Harmless ones pass through both: the gateway was really behind the front.
        assert!(calls.answered > 150 && calls.seen > 10, "{kind:?} before {language:?}: {calls:?}");
        assert!(messages.answered > 150 && messages.seen > 3, "{kind:?} before {language:?}: {messages:?}");
    }
}

#[test]
fn nothing_gets_through_behind_nginx() {
    check(Kind::Nginx);
}

#[test]
fn nothing_gets_through_behind_nginx_that_rewrites_paths() {
    check(Kind::NginxThatRewrites);
}

#[test]
fn nothing_gets_through_behind_haproxy() {
    check(Kind::HaProxy);
}
