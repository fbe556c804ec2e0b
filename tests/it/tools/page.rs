//! Tool definitions on the page, as a browser without script uses it.

use super::Tools;
use crate::support::browser::Browser;
use crate::support::http::Answer;
use crate::support::people::{Call, token};
use crate::support::wait::until_true;

const HOSTILE: &str = "</pre><script>document.title='owned'</script>\u{202e}gnp.exe\u{200b}";

struct Visitor<'t> {
    tools: &'t Tools,
    cookie: String,
}

impl<'t> Visitor<'t> {
    fn sign_in(tools: &'t Tools, reviewer: &str) -> Self {
        let mut visitor = Self { tools, cookie: String::new() };
        let answer = visitor.post("/dashboard/sign-in", &[("token", &token(reviewer)), ("next", "/dashboard/tools")]);
        assert_eq!(answer.header("location"), Some("/dashboard/tools"));
        let cookie = answer.header("set-cookie").expect("a session");
        visitor.cookie = cookie.split(';').next().expect("a pair").to_owned();
        visitor
    }

    fn get(&self, target: &str) -> String {
        let call = Call::new(self.tools.running().admin, "GET", target).header("cookie", &self.cookie);
        call.send().expect(200, "").text()
    }

    fn post(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", value.replace('/', "%2F"))).collect();
        let call = Call::new(self.tools.running().admin, "POST", target).header("origin", "http://localhost");
        let call = call.header("content-type", "application/x-www-form-urlencoded").header("cookie", &self.cookie);
        call.body(body.join("&")).send()
    }
}

fn hidden<'p>(page: &'p str, name: &str) -> &'p str {
    let field = format!("name=\"{name}\" value=\"");
    let rest = page.rsplit_once(&field).unwrap_or_else(|| panic!("no field `{name}`: {page}")).1;
    rest.split('"').next().expect("an end")
}

#[test]
fn changed_tools_are_shown_with_inert_text_and_accepted_by_an_admin() {
    let tools = Tools::start();
    tools.list("mail", &[("send", "Sends a mail."), ("kept", "x")]);
    let alice = Visitor::sign_in(&tools, "alice");
    let page = alice.get("/dashboard/tools");
    assert!(page.contains("Nothing has changed") && !page.contains("Definitions that nobody has accepted"), "{page}");

    tools.list("mail", &[("send", HOSTILE), ("kept", "x")]);
    let page = alice.get("/dashboard/tools");
    assert!(!page.contains("<script>document") && !page.contains('\u{202e}') && !page.contains('\u{200b}'), "{page}");
    for shown in ["/description", "Sends a mail.", "&lt;script&gt;", "\\u{202e}gnp.exe\\u{200b}", "as listed first"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("data-tool=\"kept\""), "{page}");
    assert!(alice.get("/dashboard/tools?view=all").contains("data-tool=\"kept\""));
    // Every page says how many there are.
    let home = alice.get("/dashboard/approvals");
    assert!(home.contains("title=\"Definitions that nobody has accepted\">1<"), "{home}");

    // A reviewer who is no admin sees it and has no button; the form alone does not help.
    let bob = Visitor::sign_in(&tools, "bob");
    let seen = bob.get("/dashboard/tools");
    assert!(seen.contains("/description") && !seen.contains("Accept this definition"), "{seen}");
    let digest = hidden(&page, "digest");
    let forged = [("csrf", hidden(&seen, "csrf")), ("upstream", "mail"), ("name", "send"), ("digest", digest)];
    assert_eq!(bob.post("/dashboard/tools/accept", &forged).status, 403);
    assert_eq!(tools.standing("mail", "send"), "changed");

    // What was on the page is no longer what stands.
    tools.list("mail", &[("send", "Another one.")]);
    let form = |page: &str| {
        ["csrf", "upstream", "name", "digest"].map(|name| (name.to_owned(), hidden(page, name).to_owned()))
    };
    let accept = |fields: &[(String, String)]| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        alice.post("/dashboard/tools/accept", &fields)
    };
    let late = accept(&form(&page));
    assert!(late.status == 409 && late.text().contains("nothing was accepted"), "{}", late.text());
    assert_eq!(tools.standing("mail", "send"), "changed");

    let fields = form(&alice.get("/dashboard/tools"));
    let mut foreign = fields.clone();
    foreign[0].1 = "guess".to_owned();
    assert_eq!(accept(&foreign).status, 403, "a form of another session");
    let accepted = accept(&fields);
    assert_eq!(accepted.status, 303, "{}", accepted.text());
    let page = alice.get(accepted.header("location").expect("a way on"));
    assert!(page.contains("The definition is accepted.") && page.contains("Nothing has changed"), "{page}");
    assert_eq!(tools.tool("mail", "send")["accepted_by"]["id"], "alice");
}

#[test]
fn what_is_not_shown_whole_says_how_much_is_missing() {
    let tools = Tools::start();
    let (long, longer) = ("x".repeat(50_000), "y".repeat(70_000));
    tools.list("mail", &[("cut", "x"), ("large", "x")]);
    tools.list("mail", &[("cut", &long), ("large", &longer)]);
    let page = Visitor::sign_in(&tools, "alice").get("/dashboard/tools");
    assert_eq!(page.matches("more characters are not shown.").count(), 2, "{}", page.len());
    assert!(page.contains("more bytes are not kept; the digest covers them."));
    assert!(page.contains(&long), "the definition itself can be read whole");
}

#[test]
fn in_a_browser_the_text_stays_text_and_the_button_accepts() {
    let tools = Tools::start();
    tools.list("mail", &[("send", "Sends a mail.")]);
    tools.list("mail", &[("send", HOSTILE)]);
    let browser = Browser::start(390);
    browser.open(&format!("http://{}/dashboard/tools", tools.running().admin));
    browser.enter("input[name=token]", &token("alice"));
    browser.click("main button[type=submit]");
    until_true("the tool is shown", || browser.count("[data-tool=\"send\"]") == 1);
    browser.complaints();
    assert!(browser.title().contains("Changed tools"), "{}", browser.title());
    let shown = browser.text("[data-tool=\"send\"]");
    assert!(shown.contains("</pre><script>") && shown.contains("\\u{202e}gnp.exe"), "{shown}");
    assert_eq!(browser.count("[data-tool=\"send\"] script"), 0);
    let overflows =
        browser.script("return document.documentElement.scrollWidth > document.documentElement.clientWidth");
    assert_eq!(overflows, false, "it fits a phone");
    browser.screenshot("tools");
    browser.click("button.approve");
    until_true("it is accepted", || browser.count("[data-tool]") == 0 && browser.count(".notice") == 1);
    assert_eq!(tools.standing("mail", "send"), "accepted");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
