//! A configuration is taken over whole: what it routes is judged by its own policy, and by no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdpoint::config::load::{Reviewers, load};
use holdpoint::config::secrets::ProcessEnv;
use holdpoint::domain::policy::CompiledPolicy;
use holdpoint::gate::{self, Gate};
use holdpoint::runtime::{self, Running, start};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::http::Wire;
use crate::support::origin::Origin;
use crate::support::people::{Agent, Reviewer};
use crate::support::rig::{Rig, gate_delete, repository};
use crate::support::wait::until_true;

/// How often one configuration takes the other's place under load.
const SWAPS: usize = 30;
/// How many calls are on their way on one connection.
const AT_ONCE: usize = 16;

/// A gateway in this process, whose gate can be given another policy than its surface has: what a reload is for a moment.
pub(super) struct Inside {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    pub(super) home: Home,
    origin: Origin,
}

impl Inside {
    pub(super) fn start(policy: &str) -> Self {
        let origin = Origin::start();
        let home = Home::new(origin.address).policy(policy);
        home.write();
        let path = home.path("holdpoint.yaml");
        let config = load(&path, &ProcessEnv, Reviewers::Required).config.expect("the configuration loads");
        let from = runtime::Origin { path, files_read: Vec::new(), reviewers: Reviewers::Required };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let running = Some(runtime.block_on(start(config, from)).expect("it starts"));
        Self { runtime, running, home, origin }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    fn gate(&self) -> &Gate {
        &self.running().gate
    }

    pub(super) fn bot(&self) -> Agent {
        Agent { proxy: self.running().proxy, id: "bot".to_owned() }
    }

    pub(super) fn alice(&self) -> Reviewer {
        Reviewer { admin: self.running().admin, id: "alice".to_owned() }
    }

    fn compiled(&self, policy: &str) -> Arc<CompiledPolicy> {
        std::fs::write(self.home.path("policy.yaml"), policy).expect("the policy can be written");
        let config = load(&self.home.path("holdpoint.yaml"), &ProcessEnv, Reviewers::Required).config.expect("loads");
        config.policies.compiled().clone()
    }

    /// Gives the gate, and the gate alone, another policy.
    fn only_the_gate_judges_by(&self, policy: &str) {
        self.gate().put_in_force(self.compiled(policy), self.gate().limits());
    }

    /// The same, and judges what is pending by it.
    pub(super) fn reload_gate(&self, policy: &str) -> Result<(), gate::Error> {
        self.runtime.block_on(self.gate().reload(self.compiled(policy), self.gate().limits()))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shut_down());
        }
    }
}

#[test]
fn a_call_is_judged_by_the_policy_of_the_configuration_that_routes_it() {
    let inside = Inside::start("version: 1\ndefault: block\n");
    inside.only_the_gate_judges_by("version: 1\ndefault: allow\n");
    inside.bot().call("GET", "/tools/safe_status").send().expect(403, "blocked");
    inside.bot().post("/tools/call", &repository()).send().expect(403, "blocked");
    assert!(inside.origin.hits().is_empty(), "{:?}", inside.origin.hits());
}

#[test]
fn a_detached_call_is_not_sent_where_the_policy_that_judged_it_does_not_belong() {
    let inside = Inside::start(&gate_delete("release: detached"));
    let parked = inside.bot().post("/tools/delete_repo", &repository()).header("prefer", "respond-async").send();
    let id = parked.expect(202, "").approval();
    inside.only_the_gate_judges_by("version: 1\ndefault: allow\n");
    let alice = inside.alice();
    alice.approve(&id);
    until_true("it was not sent", || alice.approval(&id)["outcome"]["state"] == "failed");
    let outcome = alice.approval(&id)["outcome"].to_string();
    assert!(outcome.contains("loaded anew"), "{outcome}");
    assert!(inside.origin.hits().is_empty(), "{:?}", inside.origin.hits());
}

/// Takes the place of the configuration in one step.
fn swap(rig: &Rig, text: &str) {
    std::fs::write(rig.home.path("holdpoint.yaml.new"), text).expect("it can be written");
    std::fs::rename(rig.home.path("holdpoint.yaml.new"), rig.home.path("holdpoint.yaml")).expect("it can be renamed");
    rig.gateway.signal("HUP");
}

#[test]
fn no_call_slips_between_two_configurations_that_both_refuse_it() {
    let (origin, gated) = (Origin::start(), Origin::start());
    let mut home = Home::new(origin.address).policy("version: 1\ndefault: allow\n");
    let without = home.configuration();
    let with = without
        .replace("policy.yaml", "policy-prod.yaml")
        .replace("upstreams:\n", &format!("upstreams:\n  prod: {{ url: \"http://{}\" }}\n", gated.address))
        .replace("routes:\n", "routes:\n  - { path: /prod/, upstream: prod }\n");
    home.settings.whole = Some(without.clone());
    let blocks = "version: 1\ndefault: allow\nrules: [ { id: prod, match: { upstream: prod }, action: block } ]\n";
    std::fs::write(home.path("policy-prod.yaml"), blocks).expect("the policy can be written");
    let rig = Rig { gateway: Gateway::start(&home), home, origin };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let calls = rig.bot().call("GET", "/prod/x").bytes().repeat(AT_ONCE);
                let mut wire = Wire::connect(rig.gateway.proxy);
                while !stop.load(Ordering::SeqCst) {
                    wire.send(&calls);
                    for _ in 0..AT_ONCE {
                        let answer = wire.answer().expect("every call is answered");
                        assert!([403, 404].contains(&answer.status), "{} {}", answer.status, answer.text());
                    }
                }
            });
        }
        for round in 0..SWAPS {
            let before = rig.revision();
            swap(&rig, if round % 2 == 0 { &with } else { &without });
            until_true("the other configuration is in force", || rig.revision() != before);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(gated.hits().is_empty(), "something was sent: {:?}", gated.hits());
}

#[test]
fn a_mode_that_is_changed_alone_is_taken_over() {
    let rig = Rig::with(|home| home.policy("version: 1\ndefault: block\n").key("mode: shadow"));
    rig.bot().call("GET", "/tools/safe_status").send().expect(200, "");
    let shadow = rig.home.configuration();
    for (mode, status) in [("enforce", 403), ("shadow", 200)] {
        swap(&rig, &shadow.replace("mode: shadow", &format!("mode: {mode}")));
        until_true(mode, || rig.bot().call("GET", "/tools/safe_status").send().status == status);
    }
}
