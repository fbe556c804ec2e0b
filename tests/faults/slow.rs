//! Clients that are slow on purpose: slow heads, slow bodies, slow readers. The others are served meanwhile, and the slow are ended.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{LONG, until_true};
use crate::support::gateway::Lines;
use crate::support::http::Wire;
use crate::support::origin::Manner;
use crate::support::people::token;
use crate::support::rig::{Rig, gate_delete};
use crate::support::wait::until_within;

/// How many slow connections there are at once.
const SLOW: usize = 200;

/// A rig whose time-outs are short enough for a test.
fn rig() -> Rig {
    Rig::with(|mut home| {
        home = home.policy(&gate_delete("hold: 60s, expires_in: 1h"));
        let listen = "proxy: { listen: \"127.0.0.1:0\"";
        let whole = home.configuration();
        let short = whole.replace(listen, &format!("{listen}, header_timeout: 3s, body_timeout: 3s"));
        assert_ne!(whole, short, "the rig's configuration has another listener by now");
        home.settings.whole = Some(short);
        home
    })
}

/// A running slowhttptest. Killed when dropped.
struct Attack {
    child: Child,
    said: Lines,
}

impl Attack {
    /// Attacks `target` for at most 30 seconds.
    fn start(address: SocketAddr, mode: &[&str], path: &str) -> Self {
        let connections = SLOW.to_string();
        let mut command = Command::new("slowhttptest");
        command.args(mode).args(["-c", &connections, "-r", &connections, "-l", "30", "-p", "3", "-v", "1"]);
        command.args(["-u", &format!("http://{address}{path}")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("slowhttptest: {error}; run scripts/install-test-tools.sh"));
        let said = Lines::of(child.stdout.take().expect("its standard output is piped"));
        Self { child, said }
    }

    fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn open(rig: &Rig, listener: &str) -> f64 {
    rig.gateway.metric("holdpoint_connections_open", &[("listener", listener)])
}

/// One of everything that others want: a call, a held call with its decision, the page's API.
fn serve_the_others(rig: &Rig) -> Duration {
    let begin = Instant::now();
    rig.bot().post("/tools/safe_read", &json!({})).send().expect(200, "");
    let (waiting, id) = rig.park();
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
    assert_eq!(rig.gateway.get("/readyz").status, 200);
    begin.elapsed()
}

/// Attacks a listener, serves the others meanwhile, and sees the attack ended by the gateway; what it saw.
fn outlast(rig: &Rig, listener: &str, mode: &[&str], path: &str) -> String {
    let address = if listener == "proxy" { rig.gateway.proxy } else { rig.gateway.admin };
    let mut attack = Attack::start(address, mode, path);
    let most = until_within(LONG, "the attack is under way", || {
        assert!(!attack.is_over(), "{mode:?}: {}", attack.said.text());
        let open = open(rig, listener);
        (open >= SLOW as f64 * 0.9).then_some(open)
    });
    let mut longest = Duration::ZERO;
    let begin = Instant::now();
    while !attack.is_over() {
        assert!(begin.elapsed() < LONG, "{mode:?}: {}", attack.said.text());
        longest = longest.max(serve_the_others(rig));
    }
    let said = attack.said.text();
    assert!(said.contains("No open connections left"), "{mode:?} on {listener} was not ended by the gateway: {said}");
    until_true("the slow connections are gone", || open(rig, listener) <= 2.0);
    format!(
        "R9: {mode:?} on the {listener} listener: {most} slow connections at once, gone after {:.1} s; the others took at most {longest:?}",
        begin.elapsed().as_secs_f64()
    )
}

#[test]
fn slow_heads_are_ended_on_both_listeners_and_the_others_are_served_meanwhile() {
    let rig = rig();
    for listener in ["proxy", "admin"] {
        println!("{}", outlast(&rig, listener, &["-H", "-i", "1"], "/tools/safe_status"));
    }
}

/// Half a body that never goes on, on so many connections.
fn half_bodies(address: SocketAddr, target: &str, token: &str) -> Vec<TcpStream> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{\"half\": "
    );
    let connect = |_| {
        let mut stream = TcpStream::connect(address).expect("the gateway answers");
        stream.set_read_timeout(Some(LONG)).expect("a read time-out can be set");
        stream.write_all(head.as_bytes()).expect("the gateway reads");
        stream
    };
    (0..SLOW).map(connect).collect()
}

#[test]
fn slow_bodies_are_ended_and_the_others_are_served_meanwhile() {
    let rig = rig();
    // Without a credential, nobody's body is waited for.
    for listener in ["proxy", "admin"] {
        let address = if listener == "proxy" { rig.gateway.proxy } else { rig.gateway.admin };
        let mut attack = Attack::start(address, &["-B", "-i", "1"], "/tools/delete_repo");
        until_true("the attack is over", || {
            serve_the_others(&rig);
            attack.is_over()
        });
        let said = attack.said.text();
        assert!(said.contains("No open connections left"), "{said}");
    }
    // With one: a call that is held is judged by its body; a body that need not be judged passes as it comes.
    for target in ["/tools/delete_repo", "/tools/safe_read"] {
        let slow = half_bodies(rig.gateway.proxy, target, &token("bot"));
        until_true("all are there", || open(&rig, "proxy") >= SLOW as f64);
        let longest = serve_the_others(&rig);
        for mut stream in slow {
            let mut answer = Vec::new();
            // A connection with an unread body is reset once the answer is out, which may overtake the answer.
            if stream.read_to_end(&mut answer).is_ok() {
                let text = String::from_utf8_lossy(&answer);
                let told = ["HTTP/1.1 408", "HTTP/1.1 502", "HTTP/1.1 400"].iter().any(|start| text.starts_with(start));
                assert!(told, "{target}: {text}");
            }
        }
        until_true("the slow connections are gone", || open(&rig, "proxy") <= 2.0);
        println!("R9: {SLOW} half bodies to {target}; the others took {longest:?} meanwhile");
    }
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
}

#[test]
fn a_slow_body_to_the_admin_listener_holds_up_nobody() {
    let rig = rig();
    let id =
        rig.bot().post("/tools/delete_repo", &json!({ "slow": true })).header("prefer", "wait=0").send().approval();
    let slow = half_bodies(rig.gateway.admin, &format!("/v1/approvals/{id}"), &token("alice"));
    until_true("all are there", || open(&rig, "admin") >= SLOW as f64);
    let waiting = rig.bot().post("/tools/delete_repo", &json!({ "slow": true })).start();
    until_true("the call has joined", || rig.alice().approval(&id)["caller"]["waiting"] == 1);
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
    drop(slow);
    until_true("the slow connections are gone", || open(&rig, "admin") <= 2.0);
}

#[test]
fn slow_readers_hold_up_nobody_and_take_bounded_memory() {
    let rig = rig();
    let body = "x".repeat(4 << 20);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
    rig.origin.behave(Manner::Bytes([head.as_bytes(), body.as_bytes()].concat()));
    let before = rig.gateway.resident_bytes();
    let readers: Vec<Wire> = (0..SLOW)
        .map(|_| {
            let mut wire = Wire::connect(rig.gateway.proxy);
            wire.send(&rig.bot().call("GET", "/tools/safe_status").bytes());
            wire
        })
        .collect();
    until_true("all are being answered", || rig.origin.count("/safe_status") == SLOW);
    // slowhttptest has no credential; on the admin listener there is something to read without one.
    let mut attack = Attack::start(
        rig.gateway.admin,
        &["-X", "-n", "1", "-w", "256", "-y", "512", "-z", "64", "-k", "20"],
        "/openapi.json",
    );
    until_true("the attack is under way", || open(&rig, "admin") >= SLOW as f64 * 0.9 || attack.is_over());
    rig.origin.behave(Manner::Count);
    let longest = (0..5).map(|_| serve_the_others(&rig)).max();
    let grown = rig.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes for {SLOW} answers of 4 MiB that nobody reads");
    println!("R9: {} slow readers; the others took at most {longest:?}; {} KiB more memory", 2 * SLOW, grown >> 10);
    drop((readers, attack));
    until_true("the slow connections are gone", || open(&rig, "proxy") <= 2.0 && open(&rig, "admin") <= 2.0);
    assert_eq!(rig.gateway.metric("holdpoint_calls_abandoned_total", &[]), 0.0);
}
