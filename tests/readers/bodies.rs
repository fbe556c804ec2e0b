//! Bodies that nobody would send: calls with every kind of value in them, spelt in every way, and then bent a little. The same
//! seed makes the same bodies.

use crate::properties::tree::{Spelling, Tree};

/// Containers inside one another in generated arguments.
const DEPTH_MAX: usize = 4;
const KEYS: [&str; 22] = [
    "amount",
    "Amount",
    "to",
    "name",
    "params",
    "method",
    "arguments",
    "_meta",
    "id",
    "a",
    "A",
    "b",
    "0",
    "1",
    "10",
    "é",
    "e\u{301}",
    "__proto__",
    "constructor",
    "ﬁ",
    "❤\u{fe0f}",
    "",
];
const NUMBERS: [&str; 22] = [
    "0",
    "-0",
    "1",
    "-1",
    "100",
    "1e2",
    "1E+2",
    "1.0",
    "0.1",
    "-0.5e-3",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "18446744073709551616",
    "0.30000000000000004",
    "1e308",
    "1.7976931348623157e308",
    "4.9e-324",
    "5e-324",
    "123456789012345678901234567890.000000000000000000001",
    "2.5",
    "1e22",
];
const TEXTS: [&str; 12] = [
    "",
    "a",
    "delete_repo",
    "safe_read",
    "tools/call",
    "é",
    "\u{1F600}",
    "\u{0}\u{1f}\"\\/",
    "\u{2028}\u{feff}",
    "\u{7f}",
    "\u{ffff}",
    "line\nline",
];
const METHODS: [&str; 6] =
    ["tools/call", "tools/call", "tools/call", "tools/list", "notifications/cancelled", "Tools/Call"];
/// What is put into a body where it may not belong.
const PIECES: [&str; 20] = [
    ",",
    ":",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud83d",
    "null",
    "NaN",
    "-",
    "01",
    "1e400",
    "/**/",
    "\u{feff}",
    "\"name\":\"safe_read\",",
    "\"method\":\"tools/call\",",
    "\"NAME\":\"delete_repo\",",
];

fn one_of<'t>(choice: &mut Spelling, all: &[&'t str]) -> &'t str {
    all[below(choice, all.len())]
}

fn below(choice: &mut Spelling, end: usize) -> usize {
    (choice.next() % end.max(1) as u64) as usize
}

/// One body, as bytes.
pub(crate) fn body(choice: &mut Spelling) -> Vec<u8> {
    let mut tree = if below(choice, 4) == 0 { value(choice, 0) } else { message(choice) };
    if below(choice, 6) == 0 {
        twin(&mut tree, choice);
    }
    let mut text = String::new();
    tree.write(choice, &mut text);
    let mut body = text.into_bytes();
    if below(choice, 2) == 0 {
        for _ in 0..=below(choice, 2) {
            bend(&mut body, choice);
        }
    }
    body
}

fn message(choice: &mut Spelling) -> Tree {
    let text = |text: &str| Tree::Text(text.to_owned());
    let name = one_of(choice, &["delete_repo", "safe_read", "payments.refund", "a/b:c-d"]);
    let mut params = vec![("name".to_owned(), text(name)), ("arguments".to_owned(), object(choice, 1))];
    if below(choice, 3) == 0 {
        let meta = vec![("progressToken".to_owned(), Tree::Number(below(choice, 99).to_string()))];
        params.push(("_meta".to_owned(), Tree::Object(meta)));
    }
    if below(choice, 4) == 0 {
        params.push((one_of(choice, &KEYS).to_owned(), value(choice, 2)));
    }
    shuffle(&mut params, choice);
    let method = one_of(choice, &METHODS);
    let id = if below(choice, 2) == 0 { text("id-1") } else { Tree::Number("7".to_owned()) };
    let mut members: Vec<(String, Tree)> =
        vec![("jsonrpc".to_owned(), text("2.0")), ("id".to_owned(), id), ("method".to_owned(), text(method))];
    members.push(("params".to_owned(), Tree::Object(params)));
    shuffle(&mut members, choice);
    Tree::Object(members)
}

fn shuffle(members: &mut [(String, Tree)], choice: &mut Spelling) {
    for index in (1..members.len()).rev() {
        members.swap(index, below(choice, index + 1));
    }
}

fn object(choice: &mut Spelling, depth: usize) -> Tree {
    let mut members: Vec<(String, Tree)> = Vec::new();
    for _ in 0..below(choice, 5) {
        let key = one_of(choice, &KEYS);
        // Keys that are one to some reader are for `twin`: most documents should be accepted.
        if members.iter().all(|(other, _)| other.to_lowercase() != key.to_lowercase()) {
            members.push((key.to_owned(), value(choice, depth + 1)));
        }
    }
    Tree::Object(members)
}

fn value(choice: &mut Spelling, depth: usize) -> Tree {
    match below(choice, if depth < DEPTH_MAX { 8 } else { 6 }) {
        0 => Tree::Null,
        1 => Tree::Bool(below(choice, 2) == 0),
        2 | 3 => Tree::Number(number(choice)),
        4 | 5 => Tree::Text(TEXTS[below(choice, TEXTS.len())].to_owned() + one_of(choice, &TEXTS)),
        6 => Tree::Array((0..below(choice, 4)).map(|_| value(choice, depth + 1)).collect()),
        _ => object(choice, depth),
    }
}

fn number(choice: &mut Spelling) -> String {
    match below(choice, 3) {
        0 => (choice.next() as i64 >> below(choice, 63)).to_string(),
        1 => format!("{}.{}e{}", below(choice, 1000), choice.next(), below(choice, 600) as i64 - 300),
        _ => one_of(choice, &NUMBERS).to_owned(),
    }
}

/// Puts a second member with the same key, or with another spelling of it, into some object.
fn twin(tree: &mut Tree, choice: &mut Spelling) {
    let Tree::Object(members) = tree else { return };
    if members.is_empty() {
        return;
    }
    let place = below(choice, members.len());
    if below(choice, 2) == 0 && matches!(members[place].1, Tree::Object(_)) {
        return twin(&mut members[place].1, choice);
    }
    let (key, _) = &members[place];
    let key = match below(choice, 5) {
        0 => key.to_uppercase(),
        1 => key.replace('s', "\u{17f}").replace('k', "\u{212a}"),
        2 => format!("{key}\u{200b}"),
        3 => format!(" {key}"),
        _ => key.clone(),
    };
    members.insert(below(choice, place + 2), (key, value(choice, DEPTH_MAX)));
}

/// Changes some bytes.
fn bend(body: &mut Vec<u8>, choice: &mut Spelling) {
    let at = below(choice, body.len());
    let end = (at + 1 + below(choice, 12)).min(body.len());
    match below(choice, 5) {
        0 if !body.is_empty() => body[at] ^= 1 << below(choice, 8),
        1 => drop(body.drain(at..end)),
        2 => {
            let part = body[at..end].to_vec();
            body.splice(at..at, part);
        }
        3 => drop(body.splice(at..at, one_of(choice, &PIECES).bytes())),
        _ => body.truncate(end),
    }
}
