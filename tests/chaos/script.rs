//! Scripted runs, and what is done with what a crash left of them. A step that gets no answer ends a script: the gateway is gone.

use std::collections::{BTreeMap, HashSet};
use std::io;

use crate::actors::{Call, Client, Reviewer};
use crate::death::Death;
use crate::history::{History, View, What};
use crate::spy::{Manner, Spy};
use crate::story::Verdict;
use crate::support::gateway::Gateway;
use crate::support::http::Answer;
use crate::support::wait::until_within;
use crate::world::{SOON, World, verdict};

/// Everybody who plays a part.
pub(crate) struct Cast {
    bot: Client,
    alice: Reviewer,
    bob: Reviewer,
    carol: Reviewer,
}

/// A scripted run.
pub(crate) type Script = fn(&mut Cast) -> io::Result<()>;

impl Cast {
    /// At this gateway.
    pub(crate) fn new(gateway: &Gateway, history: &History) -> Self {
        let reviewer = |id| Reviewer::new(gateway.admin, id, history);
        Self {
            bot: Client::new(gateway.proxy, history),
            alice: reviewer("alice"),
            bob: reviewer("bob"),
            carol: reviewer("carol"),
        }
    }

    /// Waits until the call of an approval stands there.
    fn until_outcome(&mut self, agent: &str, id: &str, outcome: &str) -> io::Result<()> {
        until_within(SOON, &format!("{id} is {outcome}"), || match self.bot.look(agent, id) {
            Ok(state) => (state.outcome == outcome).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        })
    }
}

/// Nothing but starting.
pub(crate) fn idle(_: &mut Cast) -> io::Result<()> {
    Ok(())
}

/// One call of each kind that is answered when something is on disk, and not before.
pub(crate) fn answered(cast: &mut Cast) -> io::Result<()> {
    let Cast { bot, alice, .. } = cast;
    let waiting = bot.begin(&Call::new("pay", "waits"), None)?;
    let id = alice.parked(waiting.name())?;
    alice.decide(&id, "approved")?.expect(200, "");
    waiting.finish()?.expect(200, "");
    let empty = bot.begin(&Call::new("pay", "waits-for-nothing").manner(Manner::Empty), None)?;
    let id = alice.parked(empty.name())?;
    alice.decide(&id, "approved")?.expect(200, "");
    empty.finish()?.expect(204, "");
    let id = bot.call(&Call::new("wire", "asks"), Some("respond-async"))?.expect(202, "").approval();
    bot.withdraw("bot", &id)?.expect(200, "");
    bot.call(&Call::new("note", "noted"), None)?.expect(200, "");
    let waiting = bot.begin(&Call::new("pay", "upstream-lost").manner(Manner::Close), None)?;
    let id = alice.parked(waiting.name())?;
    alice.decide(&id, "approved")?.expect(200, "");
    waiting.finish()?.expect(502, "outcome_unknown");
    alice.resolve(&id, "committed")?.expect(200, "");
    Ok(())
}

/// Calls whose callers wait: approved, rejected, withdrawn, expired, granted, voted on, left, lost, and those that policy decides.
pub(crate) fn attached(cast: &mut Cast) -> io::Result<()> {
    waited_for(cast, |tool, name| Call::new(tool, name))
}

/// The same over MCP.
pub(crate) fn attached_over_mcp(cast: &mut Cast) -> io::Result<()> {
    waited_for(cast, Call::over_mcp)
}

fn waited_for(cast: &mut Cast, call: fn(&'static str, &str) -> Call) -> io::Result<()> {
    let Cast { bot, alice, bob, carol } = cast;
    let decided_late = call("pay", "decided-late");
    let late = bot.begin(&decided_late, None)?;
    let brief = bot.begin(&call("brief", "nobody-decides"), None)?;
    alice.parked(brief.name())?;

    let approved = call("pay", "approved");
    let waiting = bot.begin(&approved, None)?;
    let id = alice.parked(waiting.name())?;
    alice.decide(&id, "approved")?.expect(200, "");
    waiting.finish()?.expect(200, "");
    if !approved.mcp {
        // There is no key over MCP: the same call again is asked for again.
        bot.call(&approved, None)?.expect(409, "already_released");
    }
    bob.decide(&id, "rejected")?.expect(409, "already_decided");

    let rejected = call("pay", "rejected").of("other-bot");
    let waiting = bot.begin(&rejected, None)?;
    let id = bob.parked(waiting.name())?;
    bob.decide(&id, "rejected")?.expect(200, "");
    waiting.finish()?.expect(403, "rejected");
    bot.call(&rejected, None)?.expect(403, "rejected");

    let id = bot.call(&call("pay", "withdrawn"), Some("wait=0"))?.expect(503, "approval_pending").approval();
    bot.withdraw("bot", &id)?.expect(200, "");

    let granted = call("pay", "granted");
    let id = bot.call(&granted, Some("wait=0"))?.expect(503, "approval_pending").approval();
    alice.decide(&id, "approved")?.expect(200, "");
    bot.look("bot", &id)?;
    assert_eq!(bot.call(&granted, None)?.expect(200, "").approval(), id);

    let waiting = bot.begin(&call("erase", "quorum"), None)?;
    let id = alice.parked(waiting.name())?;
    alice.decide(&id, "approved")?.expect(200, "");
    alice.decide(&id, "approved")?.expect(200, "");
    carol.decide(&id, "approved")?.expect(200, "");
    waiting.finish()?.expect(200, "");

    let waiting = bot.begin(&call("pay", "caller-left"), None)?;
    let id = alice.parked(waiting.name())?;
    waiting.hang_up();
    alice.decide(&id, "rejected")?.expect(200, "");

    bot.call(&call("note", "noted"), None)?.expect(200, "");
    bot.call(&call("look", "looked"), None)?.expect(200, "");
    bot.call(&call("drop", "dropped"), None)?.expect(403, "blocked");

    let waiting = bot.begin(&call("pay", "upstream-lost").manner(Manner::Close), None)?;
    let id = alice.parked(waiting.name())?;
    alice.decide(&id, "approved")?.expect(200, "");
    waiting.finish()?.expect(502, "outcome_unknown");
    bob.resolve(&id, "committed")?.expect(200, "");
    bob.resolve(&id, "committed")?.expect(200, "");

    brief.finish()?.expect(403, "expired");
    let id = alice.parked(late.name())?;
    if decided_late.mcp {
        // Whoever has waited for a second gets an event stream, on which the answer comes.
        late.until_begun()?;
    }
    alice.decide(&id, "approved")?.expect(200, "");
    let answer = late.finish()?.expect(200, "");
    assert_eq!(answer.header("x-accel-buffering"), decided_late.mcp.then_some("no"));
    bot.call(&call("pay", "undecided"), Some("wait=0"))?.expect(503, "approval_pending");
    Ok(())
}

/// Calls that the gateway sends by itself: approved, rejected, withdrawn, asked for twice, lost, slow, voted on, left pending.
pub(crate) fn detached(cast: &mut Cast) -> io::Result<()> {
    let respond = Some("respond-async");
    let ask =
        |cast: &mut Cast, call: &Call| Ok::<_, io::Error>(cast.bot.call(call, respond)?.expect(202, "").approval());

    let approved = ask(cast, &Call::new("pay", "own-approved"))?;
    cast.alice.decide(&approved, "approved")?.expect(200, "");
    cast.until_outcome("bot", &approved, "succeeded")?;
    cast.bot.result("bot", &approved)?.expect(200, "");
    cast.bot.call(&Call::new("pay", "own-approved"), respond)?.expect(200, "");

    let id = ask(cast, &Call::new("pay", "own-rejected"))?;
    cast.bob.decide(&id, "rejected")?.expect(200, "");
    let id = ask(cast, &Call::new("wire", "own-withdrawn").of("other-bot"))?;
    cast.bot.withdraw("other-bot", &id)?.expect(200, "");
    cast.alice.decide(&id, "approved")?.expect(409, "already_decided");

    let twice = Call::new("wire", "own-asked-twice");
    let id = ask(cast, &twice)?;
    assert_eq!(ask(cast, &twice)?, id);
    let slow = ask(cast, &Call::new("wire", "own-slow").manner(Manner::After(150)))?;
    for id in [&id, &slow] {
        cast.bob.decide(id, "approved")?.expect(200, "");
    }
    cast.until_outcome("bot", &id, "succeeded")?;

    let waiting = cast.bot.begin(&Call::new("wire", "own-caller-waits"), None)?;
    let id = cast.alice.parked(waiting.name())?;
    cast.alice.decide(&id, "approved")?.expect(200, "");
    waiting.finish()?.expect(200, "");

    let id = ask(cast, &Call::new("pay", "own-upstream-lost").manner(Manner::Close))?;
    cast.alice.decide(&id, "approved")?.expect(200, "");
    cast.until_outcome("bot", &id, "unknown")?;
    cast.bob.resolve(&id, "not_committed")?.expect(200, "");

    let id = ask(cast, &Call::new("erase", "own-quorum"))?;
    cast.carol.decide(&id, "approved")?.expect(200, "");
    cast.alice.decide(&id, "approved")?.expect(200, "");
    cast.until_outcome("bot", &id, "succeeded")?;
    cast.until_outcome("bot", &slow, "succeeded")?;
    ask(cast, &Call::new("wire", "own-undecided"))?;
    Ok(())
}

/// A little of everything, with whatever answers come: parked and approved with and without a caller, rejected, left, voted on, noted.
/// Each round has calls of its own.
pub(crate) fn errand(cast: &mut Cast, round: usize) -> io::Result<()> {
    let Cast { bot, alice, bob, .. } = cast;
    // Every second round over MCP, but for what the gateway sends by itself.
    let call = |tool, what: &str| {
        let mcp = round % 2 == 1 && tool != "wire";
        Call { mcp, ..Call::new(tool, format!("{what}-{round}")) }
    };
    let id = |answer: &Answer| answer.header("holdpoint-approval").map(str::to_owned);
    for (tool, prefer) in [("pay", "wait=0"), ("wire", "respond-async")] {
        let asked = call(tool, tool);
        if let Some(id) = id(&bot.call(&asked, Some(prefer))?) {
            alice.decide(&id, "approved")?;
            bot.call(&asked, Some(prefer))?;
        }
    }
    if let Some(id) = id(&bot.call(&call("pay", "refused"), Some("wait=0"))?) {
        bob.decide(&id, "rejected")?;
    }
    if let Some(id) = id(&bot.call(&call("erase", "voted-on"), Some("wait=0"))?) {
        alice.decide(&id, "approved")?;
    }
    bot.begin(&call("pay", "left"), None)?.hang_up();
    bot.call(&call("note", "noted"), None)?;
    Ok(())
}

/// Calls of every kind while the upstream dies so: the caller waits, the gateway sends by itself, policy lets it through.
pub(crate) fn lose(cast: &mut Cast, spy: &Spy, death: Death) -> io::Result<()> {
    let Cast { bot, alice, .. } = cast;
    let waits = Call::new("pay", format!("lost-{death:?}"));
    let waiting = bot.begin(&waits, None)?;
    let attached = alice.parked(waiting.name())?;
    let own = Call::new("wire", format!("own-lost-{death:?}"));
    let detached = bot.call(&own, Some("respond-async"))?.expect(202, "").approval();
    let before = spy.arrived();
    spy.will(death);
    for id in [&attached, &detached] {
        alice.decide(id, "approved")?.expect(200, "");
    }
    if death == Death::SilentBody {
        // A caller may have all the patience of the world for an answer that has begun; this one has none.
        until_within(SOON, "both arrived", || (spy.arrived() == before + 2).then_some(()));
        waiting.hang_up();
        spy.will(Death::None);
    } else {
        // Half an answer is none: the connection may end in the middle of it.
        drop(waiting.finish());
        for tool in ["note", "look"] {
            drop(bot.call(&Call::new(tool, format!("{tool}-lost-{death:?}")), None));
        }
    }
    for id in [&attached, &detached] {
        until_within(SOON, &format!("the release of {id} ended"), || match bot.look("bot", id) {
            Ok(state) => (!["held", "releasing"].contains(&state.outcome.as_str())).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        })?;
    }
    spy.will(Death::None);
    // The same call again: a new question, or the permit that came back.
    bot.call(&waits, Some("wait=0"))?;
    Ok(())
}

/// Calls that are approved while nothing listens where they go; they are sent once it does.
pub(crate) fn find_nobody(cast: &mut Cast, spy: &mut Spy) -> io::Result<()> {
    let Cast { bot, alice, .. } = cast;
    let waits = Call::new("pay", "finds-nobody");
    let waiting = bot.begin(&waits, None)?;
    let attached = alice.parked(waiting.name())?;
    let detached = bot.call(&Call::new("wire", "own-finds-nobody"), Some("respond-async"))?.expect(202, "").approval();
    spy.close();
    for id in [&attached, &detached] {
        alice.decide(id, "approved")?.expect(200, "");
    }
    waiting.finish()?.expect(502, "upstream_unreachable");
    cast.until_outcome("bot", &detached, "failed")?;
    spy.open();
    assert_eq!(cast.bot.call(&waits, None)?.expect(200, "").approval(), attached);
    cast.until_outcome("bot", &detached, "succeeded")
}

/// So many callers that hang up at once.
pub(crate) fn leave(cast: &Cast, callers: usize) -> io::Result<()> {
    for caller in 0..callers {
        cast.bot.begin(&Call::new("pay", format!("gone-{caller}")), None)?.hang_up();
    }
    Ok(())
}

/// After a crash: everything that was left open is decided, sent again by its clients and settled, until nothing is open.
pub(crate) fn settle(world: &World, gateway: &Gateway) -> io::Result<()> {
    let mut cast = Cast::new(gateway, &world.history);
    for (call, prefer) in unanswered(world) {
        drive(&mut cast, &call, prefer.as_deref())?;
    }
    for view in views(&mut cast.alice)? {
        match (view.state.status.as_str(), view.state.outcome.as_str()) {
            // Another may be the last that its client heard of, and expires meanwhile.
            ("pending", _) => drop(cast.bob.decide(&view.id, "rejected")?),
            ("approved", "unknown") => drop(cast.bob.resolve(&view.id, "committed")?.expect(200, "")),
            ("approved", "releasing") => cast.until_outcome(&view.call.agent, &view.id, "succeeded")?,
            _ => {}
        }
    }
    Ok(())
}

fn views(reviewer: &mut Reviewer) -> io::Result<Vec<View>> {
    reviewer.page("limit=200")
}

/// The calls that need approval, and whose client has not heard the end of it.
fn unanswered(world: &World) -> Vec<(Call, Option<String>)> {
    let mut open = BTreeMap::new();
    let mut ended = HashSet::new();
    for line in &world.story.lines {
        match &line.what {
            What::CallSent { name, call, body, prefer, .. } if matches!(verdict(&call.tool), Verdict::Parked(_)) => {
                open.entry(name.clone()).or_insert_with(|| (Call::again(call, body), prefer.clone()));
            }
            What::CallAnswered { name, status: 200 | 204 | 403 | 409 | 502, .. } => drop(ended.insert(name.clone())),
            _ => {}
        }
    }
    // What was to expire is left to.
    open.retain(|name, (call, _)| !ended.contains(name) && call.tool != "brief");
    open.into_values().collect()
}

/// A client sends its call until it hears the end of it; whatever is asked is approved.
fn drive(cast: &mut Cast, call: &Call, prefer: Option<&str>) -> io::Result<()> {
    let detached = prefer == Some("respond-async") || call.tool == "wire";
    for _ in 0..10 {
        let answer = cast.bot.call(call, if detached { Some("respond-async") } else { Some("wait=0") })?;
        match answer.status {
            202 | 503 => {
                let id = answer.approval();
                let decided = cast.alice.decide(&id, "approved")?;
                if verdict(call.tool) == Verdict::Parked(2) && decided.status == 200 {
                    cast.carol.decide(&id, "approved")?.expect(200, "");
                }
                if detached {
                    let over = |outcome: &str| matches!(outcome, "succeeded" | "unknown" | "resolved");
                    until_within(SOON, &format!("{id} was sent"), || match cast.bot.look(call.agent, &id) {
                        Ok(state) => over(&state.outcome).then_some(Ok(())),
                        Err(error) => Some(Err(error)),
                    })?;
                    cast.bot.result(call.agent, &id)?;
                    return Ok(());
                }
            }
            200 | 204 | 403 | 409 | 502 => return Ok(()),
            _ => panic!("an answer that nobody expects: {answer:?}"),
        }
    }
    panic!("{} does not come to an end", call.name);
}
