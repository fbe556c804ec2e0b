//! What must be seen by nobody: redacted values, the upstreams' credentials, the agents' tokens. And the trail, which must be whole.

use serde_json::{Map, Value};

use super::Gated;
use super::sending::sent;
use crate::cli::verify::report::{Check, DEFECT, Finding, Report};
use crate::cli::verify::sample::{How, Sample};
use crate::cli::verify::scratch::AUDITOR;
use crate::cli::verify::values::put;
use crate::cli::verify::wire::Request;
use crate::cli::verify::world::World;
use crate::config::files::read_bounded;
use crate::domain::policy::Rule;
use crate::gate::random_token;
use crate::store::sqlite::{Options, SqliteStore};

const REDACTED: Check =
    Check { id: "gate.redacted", claim: "what `redact` names reaches the upstream and nothing else" };
const TOKENS: Check = Check { id: "secrets.tokens", claim: "no agent's token reaches an upstream, a page or a log" };
const UPSTREAM: Check = Check { id: "secrets.upstream", claim: "an upstream's headers reach it, and nobody else" };
const TRAIL: Check = Check { id: "audit.intact", claim: "the audit trail of all this is whole" };

/// The most of one file that is looked through.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A place where something can be seen, and what is there.
type Place = (String, String);

/// Everything that somebody could read: API, page, metrics, log, trail, and the store's own bytes.
fn places(world: &World<'_>, id: Option<&str>) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    let api = ["/v1/approvals?limit=200", "/v1/audit?limit=1000", "/v1/audit/export", "/metrics"].map(str::to_owned);
    let of_one = id.map(|id| [format!("/v1/approvals/{id}"), format!("/v1/approvals/{id}/timeline")]);
    for target in api.into_iter().chain(of_one.into_iter().flatten()) {
        places.push((target.clone(), world.look(&target)?.text()));
    }
    let cookie = sign_in(world)?;
    let pages = ["/dashboard/approvals".to_owned(), "/dashboard/approvals?view=history".to_owned()];
    for target in pages.into_iter().chain(id.map(|id| format!("/dashboard/approvals/{id}"))) {
        let answer = Request::new("GET", &target).header("cookie", &cookie).send(world.gateway.admin)?;
        anyhow::ensure!(answer.status == 200, "GET {target}: {}", answer.shown());
        places.push((target, answer.text()));
    }
    places.push(("the log".to_owned(), world.gateway.log()));
    for ending in ["", "-wal"] {
        let path = world.spec.store().with_file_name(format!("holdpoint.db{ending}"));
        if let Ok(bytes) = read_bounded(&path, FILE_BYTES_MAX) {
            places.push((
                format!("the store's file (holdpoint.db{ending})"),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    Ok(places)
}

fn sign_in(world: &World<'_>) -> anyhow::Result<String> {
    let mut request = Request::new("POST", "/dashboard/sign-in")
        .header("origin", &format!("http://{}", world.gateway.admin))
        .header("content-type", "application/x-www-form-urlencoded");
    request.body = Some(format!("token={}", world.reviewer_token(AUDITOR)?).into_bytes());
    let answer = request.send(world.gateway.admin)?;
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    cookie.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no session began on the page: {}", answer.shown()))
}

/// A canary in every value that the rule redacts.
pub(super) fn redacted(
    world: &World<'_>,
    rule: &Rule,
    sample: &Sample,
    subject: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let file = world.config.policies.files.iter().find(|file| file.name == rule.file());
    let model = file.and_then(|file| file.model.rules.get(rule.position()));
    let pointers = model.and_then(|rule| rule.approval.as_ref()).map_or(&[][..], |approval| &approval.redact);
    let canary = format!("canary-{}", random_token());
    let finding = if pointers.is_empty() {
        Finding::not_applicable("the rule redacts nothing")
    } else {
        // As many of them as leave the call to this rule: a text where a condition wants a number makes it another call.
        let is_ours = |with: &Sample| with.judge(world.config, world.policy).is_some_and(|judged| judged.is_of(rule));
        let mut with = None;
        for pointer in pointers {
            let base = with.clone().unwrap_or_else(|| sample.marked(world.mark()));
            with = with_canary(&base, pointer, &canary).filter(is_ours).or(with);
        }
        match with {
            Some(with) => seen(world, rule, &with, &canary)?,
            None => Finding::not_applicable("a text in place of what it redacts is another rule's call"),
        }
    };
    report.add(REDACTED, Some(subject), finding);
    world.clear()
}

fn with_canary(sample: &Sample, pointer: &str, canary: &str) -> Option<Sample> {
    let mut with = sample.clone();
    let segments: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let (root, path) = segments.split_first()?;
    match (root.as_str(), path, &mut with.how) {
        ("args", path, _) => {
            let args = sample.args.as_deref().unwrap_or("{}");
            let mut args: Map<String, Value> = serde_json::from_str(args).ok()?;
            if !put(&mut args, path, Value::from(canary)) {
                return None;
            }
            with.args = Some(Value::Object(args).to_string());
        }
        ("query", [name], How::Http { target, .. }) => {
            let joint = if target.contains('?') { '&' } else { '?' };
            *target = format!("{target}{joint}{name}={canary}");
        }
        ("headers", [name], How::Http { headers, .. }) => headers.push((name.clone(), canary.to_owned())),
        _ => return None,
    }
    Some(with)
}

fn seen(world: &World<'_>, rule: &Rule, sample: &Sample, canary: &str) -> anyhow::Result<Finding> {
    let before = world.recorder.count();
    let parked = match world.park(sample)? {
        Ok(parked) => parked,
        Err(happened) => return Ok(Finding::fail("the call is parked", happened, DEFECT)),
    };
    let shows = |when: &str| -> anyhow::Result<Option<Finding>> {
        let found = places(world, Some(&parked.id))?.into_iter().find(|(_, text)| text.contains(canary));
        Ok(found.map(|(place, _)| {
            Finding::fail("the value is seen nowhere", format!("{when} it stands in {place}"), DEFECT)
        }))
    };
    if let Some(finding) = shows("while pending")? {
        return Ok(finding);
    }
    if let Err(why) = world.decided(&parked.id, "approved")? {
        return Ok(Finding::fail("the configured reviewers can approve it", why, "add reviewers to its groups"));
    }
    let (_, arrivals) = sent(world, rule, parked.id.clone(), before)?;
    if let Some(finding) = shows("after its release")? {
        return Ok(finding);
    }
    parked.caller.answer()?;
    let reached = arrivals.iter().any(|one| {
        let headers = one.headers.iter().any(|(_, value)| value.contains(canary));
        headers || one.target.contains(canary) || String::from_utf8_lossy(&one.body).contains(canary)
    });
    if reached {
        return Ok(Finding::pass("a canary, while pending and after its release"));
    }
    Ok(Finding::fail("the value reaches the upstream", "it did not arrive", DEFECT))
}

/// What arrived over all checks so far, and what can be read now.
pub(super) fn run(world: &World<'_>, gated: &[Gated<'_>], report: &mut Report) -> anyhow::Result<()> {
    let arrivals = world.recorder.since(0);
    if arrivals.is_empty() {
        let reason = "no call reached an upstream in these checks";
        report.add(TOKENS, None, Finding::not_applicable(reason));
        report.add(UPSTREAM, None, Finding::not_applicable(reason));
        return Ok(());
    }
    let places = places(world, None)?;
    let token_in = |text: &str| world.spec.agents.iter().find(|(_, token)| text.contains(token.as_str()));
    let forwarded = arrivals.iter().find_map(|one| {
        let (whose, _) = one.headers.iter().find_map(|(_, value)| token_in(value))?;
        Some(format!("the token of `{whose}` arrived at `{}`", one.upstream))
    });
    let shown = places
        .iter()
        .find_map(|(place, text)| token_in(text).map(|(whose, _)| format!("the token of `{whose}` stands in {place}")));
    report.add(
        TOKENS,
        None,
        match forwarded.or(shown) {
            None => Finding::pass(format!("{} requests, {} places", arrivals.len(), places.len())),
            Some(happened) => Finding::fail("it stays with the gateway", happened, DEFECT),
        },
    );
    let secret = world.spec.upstream_secret.as_str();
    let with_headers: Vec<&str> = world
        .config
        .upstreams
        .values()
        .filter(|one| !one.headers.is_empty())
        .map(|one| one.name.as_str())
        .filter(|name| arrivals.iter().any(|one| one.upstream == *name))
        .collect();
    let lacking = arrivals.iter().find(|one| {
        with_headers.contains(&one.upstream.as_str()) && !one.headers.iter().any(|(_, value)| value == secret)
    });
    let shown = places.iter().find(|(_, text)| text.contains(secret));
    report.add(
        UPSTREAM,
        None,
        match (with_headers.is_empty(), lacking, shown) {
            (true, _, _) => Finding::not_applicable("no upstream that a call reached has `headers`"),
            (_, Some(one), _) => {
                let happened = format!("a request to `{}` came without them", one.upstream);
                Finding::fail("every request has them", happened, DEFECT)
            }
            (_, _, Some((place, _))) => {
                Finding::fail("they are seen nowhere", format!("one stands in {place}"), DEFECT)
            }
            _ => Finding::pass(format!("{} requests, {} rules", arrivals.len(), gated.len())),
        },
    );
    Ok(())
}

/// The chain in the scratch store, as `audit verify` checks it.
pub(super) fn trail(world: &World<'_>, report: &mut Report) -> anyhow::Result<()> {
    let store = SqliteStore::open_read_only(&world.spec.store(), Options { readers: 1, ..Options::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let finding = match runtime.block_on(store.verify_trail(None))? {
        Ok(head) => Finding::pass(format!("{} records", head.seq)),
        Err(bad) => Finding::fail("every record follows the one before it", bad.to_string(), DEFECT),
    };
    report.add(TRAIL, None, finding);
    Ok(())
}
