//! TLS in a running gateway: on both listeners, with client certificates, to an upstream, and with a new certificate after a reload.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::support::certificates::{Ca, with_tls};
use crate::support::gateway::{Gateway, Lines, holdpoint, serve};
use crate::support::home::Home;
use crate::support::mcp_origin::McpOrigin;
use crate::support::origin::Origin;
use crate::support::people::token;
use crate::support::wait::{until, until_true};

/// A gateway whose listeners are found in its log, since the rig asks in clear text.
struct Served(Child, Lines);

impl Served {
    fn start(home: &Home) -> Self {
        let mut child = serve(home).spawn().expect("the binary can be started");
        let log = Lines::of(child.stderr.take().expect("its standard error is piped"));
        Self(child, log)
    }

    fn address(&self, surface: &str) -> SocketAddr {
        until(&format!("the {surface} listener is announced"), || {
            self.1.all().iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let is_it = line["message"] == "listening" && line["surface"] == surface && line["tls"] == true;
                is_it.then(|| line["address"].as_str()?.parse().ok())?
            })
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What `curl` says: the status, or nothing when there is no TLS session.
fn status(ca: &Path, arguments: &[&str], url: &str) -> Option<u16> {
    let output = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "--cacert"])
        .arg(ca)
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl can be run; see scripts/install-test-tools.sh");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).parse().expect("a status"))
}

#[test]
fn both_listeners_serve_tls_and_only_clients_with_a_certificate_reach_the_proxy() {
    let origin = Origin::start();
    let mut home = Home::new(origin.address);
    let ca = Ca::new(&home);
    for name in ["server", "client"] {
        ca.issue(&home, name);
    }
    let own = "cert: server.pem, key: server.key";
    home.settings.whole = Some(with_tls(
        &home,
        &format!("proxy: {{ listen: \"127.0.0.1:0\", tls: {{ {own}, client_ca: ca.pem, client_auth: required }} }}"),
        &format!("admin: {{ listen: \"127.0.0.1:0\", tls: {{ {own} }} }}"),
    ));
    let served = Served::start(&home);
    let (proxy, admin) = (served.address("proxy"), served.address("admin"));
    let root = home.path("ca.pem");
    until_true("the gateway is ready", || status(&root, &[], &format!("https://{admin}/readyz")) == Some(200));
    let bearer = format!("Authorization: Bearer {}", token("bot"));
    let url = format!("https://{proxy}/tools/safe_status");
    let (cert, key) = (home.path("client.pem"), home.path("client.key"));
    let shown = ["--cert", cert.to_str().expect("UTF-8"), "--key", key.to_str().expect("UTF-8"), "-H", &bearer];
    assert_eq!(status(&root, &shown, &url), Some(200));
    assert_eq!(status(&root, &["-H", &bearer], &url), None, "no certificate, no session");
    // The commands of reviewers trust the authority that they are given, and nobody else's.
    let list = |rest: &[&str]| {
        let mut command = holdpoint(&["approvals", "list", "--url", &format!("https://{admin}")]);
        command.args(rest).env("HOLDPOINT_TOKEN", token("alice")).output().expect("the binary can be run")
    };
    let trusted = list(&["--ca", root.to_str().expect("UTF-8")]);
    assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");
    assert_eq!(list(&[]).status.code(), Some(2), "the system does not know the test's authority");
    assert_eq!(origin.hits().len(), 1);

    // Another authority and a new certificate under the same names: taken over without a restart.
    let before = std::fs::read(&root).expect("the old authority");
    std::fs::write(home.path("old.pem"), before).expect("kept");
    Ca::new(&home).issue(&home, "server");
    until_true("the new certificate is shown", || status(&root, &[], &format!("https://{admin}/readyz")) == Some(200));
    assert_eq!(status(&home.path("old.pem"), &[], &format!("https://{admin}/readyz")), None);
}

#[test]
fn requests_without_a_body_reach_an_mcp_server_over_http_2_as_well() {
    let origin = McpOrigin::start();
    let mut home = Home::mcp(origin.address);
    let ca = Ca::new(&home);
    ca.issue(&home, "server");
    let own = "cert: server.pem, key: server.key";
    home.settings.whole = Some(with_tls(
        &home,
        &format!("proxy: {{ listen: \"127.0.0.1:0\", tls: {{ {own} }} }}"),
        &format!("admin: {{ listen: \"127.0.0.1:0\", tls: {{ {own} }} }}"),
    ));
    let served = Served::start(&home);
    let (root, url) = (home.path("ca.pem"), format!("https://{}/mcp", served.address("proxy")));
    let bearer = format!("Authorization: Bearer {}", token("bot"));
    for version in ["--http1.1", "--http2"] {
        let ask = |rest: &[&str]| status(&root, &[&[version, "-H", &bearer], rest].concat(), &url);
        for method in ["GET", "DELETE", "OPTIONS"] {
            let before = origin.hits().len();
            let told = ask(&["-X", method]);
            assert_eq!(origin.hits().len(), before + 1, "{version} {method}: {told:?}");
        }
        let before = origin.hits().len();
        assert_eq!(ask(&["-X", "DELETE", "-d", "x"]), Some(405), "{version}: a body is none of its business");
        assert_eq!(origin.hits().len(), before);
    }
}

#[test]
fn an_upstream_over_tls_is_trusted_by_the_configured_authority_alone() {
    let origin = Origin::start();
    let mut behind = Home::new(origin.address);
    let ca = Ca::new(&behind);
    ca.issue(&behind, "server");
    behind.settings.whole = Some(with_tls(
        &behind,
        "proxy: { listen: \"127.0.0.1:0\", tls: { cert: server.pem, key: server.key } }",
        "admin: { listen: \"127.0.0.1:0\" }",
    ));
    let behind_gateway = Gateway::start(&behind);
    let ask = |authority: Option<&Path>| {
        let mut front = Home::new(behind_gateway.proxy);
        let whole = front.configuration();
        let plain = format!("url: \"http://{}\"", behind_gateway.proxy);
        assert!(whole.contains(&plain), "the rig's configuration has another upstream by now");
        let trust = authority.map_or_else(String::new, |path| format!("\n    tls: {{ ca: \"{}\" }}", path.display()));
        let header = format!("\n    headers: {{ authorization: \"Bearer {}\" }}", token("bot"));
        let over_tls = format!("url: \"https://{}/tools\"{trust}{header}", behind_gateway.proxy);
        front.settings.whole = Some(whole.replacen(&plain, &over_tls, 1));
        let gateway = Gateway::start(&front);
        gateway.agent("bot").call("GET", "/tools/safe_status").send()
    };
    ask(Some(&behind.path("ca.pem"))).expect(200, "");
    ask(None).expect(502, "upstream_unreachable");
    assert_eq!(origin.hits().len(), 1);
}
