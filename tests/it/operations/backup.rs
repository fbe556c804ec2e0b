//! A backup is one snapshot of a store that is being written to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use holdpoint::domain::audit::{Record, verify_to};
use holdpoint::store::sqlite::{Options, SqliteStore};
use holdpoint::store::{AuditFilter, Filter, Store};
use serde_json::json;

use super::{expect, on_store, text};
use crate::support::home::Home;
use crate::support::rig::{Rig, gate_delete};
use crate::support::wait::until_true;

/// How many backups are made under load.
const ROUNDS: usize = 4;

/// What a gateway has acknowledged so far: ids of approvals, and ids of decisions.
#[derive(Debug, Clone, Default)]
struct Acknowledged(Arc<std::sync::Mutex<(BTreeSet<String>, BTreeSet<String>)>>);

impl Acknowledged {
    fn all(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

/// Parks actions and decides every second of them, one after the other, until it is told to stop.
fn load(rig: &Rig, seen: &Acknowledged, stop: &Arc<AtomicBool>, worker: usize) -> JoinHandle<()> {
    let (bot, alice, seen, stop) = (rig.bot(), rig.alice(), seen.clone(), stop.clone());
    std::thread::spawn(move || {
        for number in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let body = json!({ "action": "deploy", "context": { "worker": worker, "number": number } });
            let made = bot.post("/_holdpoint/v1/approvals", &body).send().expect(201, "").json();
            let id = made["id"].as_str().expect("an id").to_owned();
            seen.0.lock().expect("nobody panics with it").0.insert(id.clone());
            if number % 2 == 0 {
                alice.reject(&id, "not now");
                seen.0.lock().expect("nobody panics with it").1.insert(id);
            }
        }
    })
}

fn read(path: &std::path::Path) -> (Vec<Record>, Vec<(String, String)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = SqliteStore::open_read_only(path, Options::default()).expect("a backup is a store");
    runtime.block_on(async {
        let (mut records, mut approvals, mut after) = (Vec::<Record>::new(), Vec::new(), None);
        loop {
            let last = records.last().map_or(0, |record| record.seq);
            let page = store.audit(AuditFilter { after: last, ..AuditFilter::default() }, 1000).await.expect("reads");
            if page.is_empty() {
                break;
            }
            records.extend(page);
        }
        let now = holdpoint::domain::time::Timestamp::from_millis(0);
        loop {
            let page = store.list(Filter::default(), after, 1000, now).await.expect("reads");
            approvals.extend(page.approvals.iter().map(|one| (one.id.to_string(), one.status().to_string())));
            after = page.next;
            if after.is_none() {
                return (records, approvals);
            }
        }
    })
}

#[test]
fn a_backup_under_load_is_a_prefix_of_the_history_with_every_decision_from_before_it() {
    let limits = "limits: { pending_per_agent_max: 100000, pending_total_max: 100000 }";
    let rig = Rig::with(|home| home.key(limits));
    let (seen, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..3).map(|worker| load(&rig, &seen, &stop, worker)).collect();
    let mut backups = Vec::new();
    for round in 0..ROUNDS {
        until_true("some more was decided", || seen.all().1.len() >= (round + 1) * 20);
        let before = seen.all();
        let file = rig.home.path(&format!("backup-{round}.db"));
        let said = expect(&on_store(&rig.home, &["backup"], &["--to", &text(&file)]), 0);
        assert!(said.contains("holdpoint.db.key"), "it says where the key is: {said}");
        backups.push((file, before));
    }
    let decided_during = seen.all().1.len();
    until_true("the load goes on after it", || seen.all().1.len() > decided_during);
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| worker.join().expect("the load ends well"));
    let home = &rig.home;
    let whole = read(&home.path("holdpoint.db")).0;
    let mut lengths = BTreeSet::new();
    for (file, (made, decided)) in &backups {
        let (records, approvals) = read(file);
        assert!(records.len() < whole.len(), "it is earlier than the end");
        assert_eq!(records[..], whole[..records.len()], "a prefix, record by record");
        verify_to(records.len() as u64, records.clone()).expect("its chain is intact");
        lengths.insert(records.len());
        let status = |id: &String| approvals.iter().find(|(known, _)| known == id).map(|(_, status)| status.as_str());
        assert!(made.iter().all(|id| status(id).is_some()), "every acknowledged approval is in it");
        assert!(decided.iter().all(|id| status(id) == Some("rejected")), "every acknowledged decision is in it");
        assert!(!decided.is_empty());
        let alone: Vec<_> = ["-wal", "-shm", ".partial"].map(|end| format!("{}{end}", text(file))).into();
        assert!(alone.iter().all(|name| !std::path::Path::new(name).exists()), "one file, complete");
    }
    assert_eq!(lengths.len(), ROUNDS, "each is of another moment");
    // Restored elsewhere it is that prefix, and what is written behind it.
    let (file, (_, decided)) = backups.last().expect("some were made");
    let other = Home::new(rig.origin.address);
    expect(&on_store(&other, &["restore"], &["--from", &text(file)]), 0);
    expect(&on_store(&other, &["audit", "verify"], &[]), 0);
    let (records, approvals) = read(&other.path("holdpoint.db"));
    let prefix = read(file).0.len();
    assert_eq!(records[..prefix], whole[..prefix]);
    assert!(records[prefix].event.contains("store_restored"), "{}", records[prefix].event);
    for (id, status) in &approvals {
        assert!(["rejected", "cancelled"].contains(&status.as_str()), "{id} is {status}: nothing stays open");
        assert!(!decided.contains(id) || status == "rejected", "{id}: a decision stands");
    }
}

#[test]
fn a_backup_is_private_and_overwrites_nothing() {
    let rig = Rig::with(|home| home.policy(&gate_delete("hold: 30s")));
    let (waiting, id) = rig.park();
    let file = rig.home.path("backup.db");
    expect(&on_store(&rig.home, &["backup"], &["--to", &text(&file)]), 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read(&file).expect("readable");
    let said = expect(&on_store(&rig.home, &["backup"], &["--to", &text(&file)]), 2);
    assert!(said.contains("backup.db") && said.contains("already"), "{said}");
    assert!(std::fs::read(&file).expect("readable") == kept);
    let nowhere = rig.home.path("no/such/folder/backup.db");
    expect(&on_store(&rig.home, &["backup"], &["--to", &text(&nowhere)]), 2);
    // The gateway is none the worse for it.
    rig.alice().approve(&id);
    waiting.answer().expect(200, "");
}

#[test]
fn a_backup_needs_the_store_of_the_configuration_and_nothing_else_of_it() {
    let rig = Rig::start();
    let Rig { gateway, mut home, .. } = rig;
    gateway.stop();
    home.settings.policy = "version: 1\nrules: [ { match: x, acton: allow } ]\n".to_owned();
    home.settings.upstream_keys.push("headers: { authorization: \"Bearer ${NOT_SET_HERE}\" }".to_owned());
    let file = home.path("backup.db");
    expect(&on_store(&home, &["backup"], &["--to", &text(&file)]), 0);
    assert!(file.exists());
    home.settings.store = "sqlite://nothing-here.db".to_owned();
    let said = expect(&on_store(&home, &["backup"], &["--to", &text(&home.path("other.db"))]), 2);
    assert!(said.contains("nothing-here.db"), "{said}");
    assert!(!home.path("other.db").exists() && !home.path("nothing-here.db").exists());
}
