//! Where inputs start: the corpora of hostile requests, the shipped policies, and every input that ever broke a property.
//! All are read where they are; nothing is copied.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A message of `tests/corpus/mcp/index.json`, as far as it is an input.
#[derive(Deserialize)]
struct Message {
    body: String,
    #[serde(default)]
    headers: Vec<(String, Option<String>)>,
}

/// The project's root, from that of the crate which is being built.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    if env!("CARGO_PKG_NAME") == "holdpoint-fuzz" { own.join("..") } else { own.to_owned() }
}

/// The files in a folder and below it, by path, with this ending.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.expect("a folder can be read").path()) {
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found.iter().map(|path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

fn messages() -> Vec<Message> {
    let path = root().join("tests/corpus/mcp/index.json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("the index of messages")
}

/// Every body of every corpus, hostile or not.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let mut all = files("tests/corpus/hostile", ".bin");
    all.extend(messages().into_iter().map(|message| message.body.into_bytes()));
    for connection in files("tests/corpus/raw", ".http") {
        let end = connection.windows(4).position(|window| window == b"\r\n\r\n");
        all.extend(end.map(|end| connection[end + 4..].to_vec()).filter(|body| !body.is_empty()));
    }
    all
}

/// The inputs that once broke this property.
pub(crate) fn regressions(property: &str) -> Vec<Vec<u8>> {
    files(&format!("tests/properties/regressions/{property}"), "")
}

/// What a property starts from.
pub(crate) fn of(property: &str) -> Vec<Vec<u8>> {
    let mut all = match property {
        "json" => bodies(),
        "mcp" => {
            let with_headers = messages().into_iter().map(|message| {
                let headers = message.headers.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
                headers.fold(message.body.clone(), |all, (name, value)| format!("{all}\0{name}:{value}")).into_bytes()
            });
            with_headers.chain(bodies()).collect()
        }
        "head" => files("tests/corpus/raw", ".http"),
        "target" => {
            let templates = "\nGET /users/{id}\nPOST /users/{id}\nDELETE /users/me\nPOST /tools/{name}\nGET /a/b/";
            let lines = files("tests/corpus/raw", ".http").into_iter().filter_map(|connection| {
                let target = String::from_utf8(connection).ok()?.split(' ').nth(1)?.to_owned();
                Some((target + templates).into_bytes())
            });
            let more = [
                "/users/Me",
                "/USERS/7?a=1&a=2",
                "/users/m%C3%A9/",
                "/a/b",
                "/?q=%F0%9F%92%A9+x&&=",
                "/a%40b@c/$&'()*+,=:!",
            ];
            lines.chain(more.map(|target| (target.to_owned() + templates).into_bytes())).collect()
        }
        "policy" => {
            ["policies", "examples", "benches/support", "src/cli/demo"].map(|folder| files(folder, ".yaml")).concat()
        }
        "sse" => [
            "data: {\"id\":1,\"result\":{}}\n\n",
            ": keepalive\n\nid: 7\r\nevent: message\r\ndata: a\r\ndata: b\r\n\r\n",
            "\u{feff}data:x\r\rdata\n\nretry: 5\n",
            "[1,\n2]",
        ]
        .map(|stream| [b"\x03".as_slice(), stream.as_bytes()].concat())
        .to_vec(),
        other => panic!("no property is called {other}"),
    };
    all.extend(regressions(property));
    all
}

/// Writes what a property starts from where its fuzz target looks for inputs.
pub(crate) fn lay_out(property: &str) {
    let folder = root().join("fuzz/corpus").join(property);
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for seed in of(property) {
        let file = folder.join(format!("seed-{:016x}", super::salt(&seed)));
        std::fs::write(&file, seed).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}
