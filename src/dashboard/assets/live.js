// Keeps an open page true: counts down by the server's clock, gathers new approvals under a line at the top, marks the ones
// that were decided meanwhile, and says when it can no longer know. Rows never move by themselves. The page works without it.

const root = document.documentElement;
const live = document.getElementById("live");
const count = document.getElementById("pending-count");
const skew = Number(root.dataset.now) - Date.now();
const now = () => Date.now() + skew;

const span = (ms) => {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
};
const relative = (at) => (at > now() ? `in ${span(at - now())}` : `${span(now() - at)} ago`);
const say = (element, text) => {
  if (element && element.textContent !== text) element.textContent = text;
};

const badge = (element) => {
  const { dueSoon, sla, expires } = element.dataset;
  const at = now();
  const deadline = sla && at < Number(sla) ? Number(sla) : Number(expires);
  const what = deadline === Number(sla) ? "due" : "expires";
  let [state, symbol, word] = ["ok", "●", "in time"];
  if (at >= Number(expires)) [state, symbol, word] = ["expired", "✕", "expired"];
  else if (sla && at >= Number(sla)) [state, symbol, word] = ["breached", "▲", "breached"];
  else if (dueSoon && at >= Number(dueSoon)) [state, symbol, word] = ["due-soon", "◐", "due soon"];
  element.className = `badge sla sla-${state}`;
  say(element.querySelector(".symbol"), symbol);
  say(element.querySelector(".word"), word);
  say(element.querySelector(".left"), state === "expired" ? "no longer open" : `${what} ${relative(deadline)}`);
};

const tick = () => {
  for (const element of document.querySelectorAll("[data-since]")) say(element, relative(Number(element.dataset.since)));
  for (const element of document.querySelectorAll(".sla[data-expires]")) badge(element);
};

if (root.dataset.seq && live && count) {
  const approving = () => document.querySelectorAll("button.approve");
  let source = null;
  let fresh = 0;
  let staleTimer = 0;
  let settleTimer = 0;
  let state = "live";
  let shown = "";

  const line = (...parts) => {
    const p = document.createElement("p");
    p.append(...parts);
    return p;
  };
  const button = (text, act) => {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = text;
    element.addEventListener("click", act);
    return element;
  };
  const show = () => {
    for (const element of approving()) element.disabled = state.startsWith("stale") || Boolean(element.closest("[data-closed]"));
    // Drawn anew only when it says something else: whoever stands on a button keeps it.
    if (shown === `${state} ${fresh}`) return;
    shown = `${state} ${fresh}`;
    const lines = [];
    if (fresh > 0) lines.push(line(button(`${fresh} new, show`, () => location.reload())));
    if (state.startsWith("stale")) lines.push(line(`${state}. Approve is off until the page is current again.`, button("Reload", () => location.reload())));
    lines.push(line(button(state === "paused" ? "Resume live updates" : "Pause live updates", state === "paused" ? resume : pause)));
    live.replaceChildren(...lines);
  };
  const stale = (why) => {
    state = why;
    show();
  };

  const refreshCount = async () => {
    const answer = await fetch("/v1/approvals/stats");
    if (answer.status === 401) return stale("signed out");
    if (!answer.ok) return;
    const { pending } = await answer.json();
    say(count, String(pending));
    document.title = document.title.replace(/^\(\d+\)/, `(${pending})`);
  };
  const close = (element, status) => {
    element.dataset.status = status;
    element.dataset.closed = "";
    for (const control of element.querySelectorAll("button, input")) control.disabled = true;
  };
  // The page of one approval, as the server draws it now. Whoever writes in its form keeps what is written.
  let redraws = 0;
  const redraw = async (article) => {
    redraws += 1;
    const turn = redraws;
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const drawn = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("article.detail");
    // What was asked for later has the last word.
    if (!drawn || turn !== redraws) return;
    const both = (selector) => [article.querySelector(selector), drawn.querySelector(selector)];
    const [decision, decisionNow] = both("[data-decision]");
    const [facts, factsNow] = both("dl.facts");
    const [outcome, outcomeNow] = both("[data-outcome]");
    const [timeline, timelineNow] = both("ol.timeline");
    const [settle, settleNow] = both("[data-settle]");
    if (drawn.dataset.status !== article.dataset.status) {
      close(article, drawn.dataset.status);
      decision.replaceChildren(...decisionNow.childNodes);
    }
    // The outcome stays the same element: what changes in it is announced.
    outcomeNow.replaceWith(outcome);
    facts.replaceChildren(...factsNow.children);
    if (outcome.dataset.outcome !== outcomeNow.dataset.outcome) {
      outcome.dataset.outcome = outcomeNow.dataset.outcome;
      outcome.replaceChildren(...outcomeNow.childNodes);
    }
    timeline.append(...[...timelineNow.children].slice(timeline.children.length));
    if (settle && !settleNow) settle.remove();
    if (!settle && settleNow) timeline.closest("section").before(settleNow);
  };
  const refreshRow = async (row) => {
    const answer = await fetch(`/v1/approvals/${row.dataset.approvalId}`);
    if (!answer.ok) return;
    const approval = await answer.json();
    const waiting = row.querySelector("[data-caller]");
    if (waiting && approval.kind === "call" && approval.status === "pending" && approval.release === "attached") {
      say(waiting, approval.caller.waiting > 0 ? "waiting" : "caller left; approving lets its retry through");
    }
    if (approval.status === row.dataset.status) return;
    close(row, approval.status);
    const by = approval.decided_by && approval.decided_by.id ? ` by ${approval.decided_by.id}` : "";
    say(row.querySelector("[data-decision]"), `${approval.status}${by}, just now`);
  };

  const changed = new Set();
  const settle = () => {
    settleTimer = 0;
    const ids = [...changed];
    changed.clear();
    refreshCount().catch(() => {});
    for (const id of ids) {
      const row = document.querySelector(`[data-approval-id="${CSS.escape(id)}"]`);
      if (!row || !row.dataset.status) continue;
      (row.matches("article") ? redraw(row) : refreshRow(row)).catch(() => {});
    }
    show();
  };
  const listen = (after) => {
    source = new EventSource(`/v1/events?after=${after}`);
    source.addEventListener("open", () => {
      clearTimeout(staleTimer);
      state = "live";
      show();
    });
    source.addEventListener("approval", (message) => {
      root.dataset.seq = message.lastEventId;
      const { event } = JSON.parse(message.data);
      if (event.kind === "approval_created") fresh += 1;
      if (event.approval) changed.add(event.approval);
      if (!settleTimer) settleTimer = setTimeout(settle, 250);
    });
    source.addEventListener("resync", () => stale("stale: too much has changed"));
    source.addEventListener("error", () => {
      // The server ends streams now and then; a browser is back within seconds.
      clearTimeout(staleTimer);
      const since = new Date().toLocaleTimeString();
      staleTimer = setTimeout(() => stale(`stale since ${since}`), 6000);
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => state !== "paused" && listen(root.dataset.seq), 5000);
      }
    });
  };
  const pause = () => {
    source.close();
    clearTimeout(staleTimer);
    state = "paused";
    show();
  };
  const resume = () => listen(root.dataset.seq);

  // One press, one decision: a second press while the first is on its way would only lose to it.
  addEventListener("submit", (submitted) => {
    const { target } = submitted;
    if (target.dataset.sent) submitted.preventDefault();
    target.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => {
    for (const form of document.forms) delete form.dataset.sent;
  });

  listen(root.dataset.seq);
  show();
}

tick();
setInterval(tick, 1000);
