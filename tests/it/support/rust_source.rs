//! Just enough reading of Rust sources to see what a file names: comments, strings and characters are left out.

use std::fmt;

/// Something that a file should not do.
pub(crate) struct Finding {
    file: String,
    rule: &'static str,
    what: String,
    line: usize,
    note: String,
}

impl Finding {
    pub(crate) fn new(file: &str, rule: &'static str, what: &str, line: usize, note: String) -> Self {
        Self { file: file.to_owned(), rule, what: what.to_owned(), line, note }
    }

    /// What an exception names: without the line, which moves.
    pub(crate) fn key(&self) -> String {
        format!("{} {} {}", self.file, self.rule, self.what)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} {}: {}", self.file, self.line, self.rule, self.what, self.note)
    }
}

/// A word or a single punctuation character, and its line. `::` is one token.
struct Token {
    text: String,
    line: usize,
    /// How many inline modules are around it.
    inline: usize,
    /// Whether one of them is a test module.
    test: bool,
}

/// A source file and its tokens.
pub(crate) struct SourceFile {
    /// Its path from the project's root.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    tokens: Vec<Token>,
}

impl SourceFile {
    pub(crate) fn new(name: String, text: String) -> Self {
        let test_file = name.ends_with("tests.rs") || name.contains("/tests/");
        let tokens = nested(words(&text), test_file);
        Self { name, text, tokens }
    }

    /// The crate's module that the file belongs to.
    pub(crate) fn module(&self) -> &str {
        let inside = self.name.strip_prefix("src/").unwrap_or(&self.name);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// How many modules deep the file is: `src/gate.rs` and `src/gate/mod.rs` are 1, `src/gate/x.rs` is 2.
    fn depth(&self) -> usize {
        let inside = self.name.trim_start_matches("src/").trim_end_matches(".rs");
        inside.trim_end_matches("/mod").split('/').count()
    }

    /// The first names of every path that begins at the crate's root, with their lines.
    pub(crate) fn imports_from_root(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        let mut at = 0;
        while at < self.tokens.len() {
            let token = &self.tokens[at];
            let begins = at == 0 || text(at - 1) != "::";
            let mut next = at + 1;
            let from_root = match token.text.as_str() {
                "crate" | "holdpoint" if begins && text(next) == "::" => true,
                "super" if begins => {
                    let mut climbed = 1;
                    while text(next) == "::" && text(next + 1) == "super" {
                        climbed += 1;
                        next += 2;
                    }
                    climbed >= self.depth() + token.inline && text(next) == "::"
                }
                _ => false,
            };
            if from_root {
                self.first_names(next + 1, &mut found);
            }
            at = next;
        }
        found
    }

    /// The name at `at`, or the first name of each path in the braces there.
    fn first_names(&self, at: usize, found: &mut Vec<(usize, String)>) {
        let Some(token) = self.tokens.get(at) else { return };
        if token.text != "{" {
            found.push((token.line, token.text.clone()));
            return;
        }
        let mut depth = 0;
        let mut expected = true;
        for token in &self.tokens[at..] {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," if depth == 1 => expected = true,
                name if depth == 1 && expected => {
                    found.push((token.line, name.to_owned()));
                    expected = false;
                }
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Where the file names `path` outside its tests, as whole words.
    pub(crate) fn names_outside_tests(&self, path: &str) -> Option<usize> {
        let wanted: Vec<&str> = path.split("::").collect();
        (0..self.tokens.len()).find_map(|at| {
            let matches = wanted.iter().enumerate().all(|(index, word)| {
                let place = at + 2 * index;
                self.tokens.get(place).is_some_and(|token| token.text == *word)
                    && (index == 0 || self.tokens[place - 1].text == "::")
            });
            (matches && !self.tokens[at].test).then(|| self.tokens[at].line)
        })
    }
}

/// Adds to each token which inline modules are around it.
fn nested(words: Vec<(String, usize)>, test_file: bool) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    // For each open brace: whether it opened a module, and whether that is a test module.
    let mut open: Vec<(bool, bool)> = Vec::new();
    let mut cfg_test = false;
    for (text, line) in words {
        match text.as_str() {
            "{" => {
                let last = |back: usize| tokens.len().checked_sub(back).map_or("", |at| tokens[at].text.as_str());
                let module = last(2) == "mod";
                open.push((module, module && (cfg_test || last(1) == "tests")));
                cfg_test = false;
            }
            "}" => drop(open.pop()),
            "test" if tokens.len() >= 2 && tokens[tokens.len() - 2].text == "cfg" => cfg_test = true,
            ";" => cfg_test = false,
            _ => {}
        }
        let inline = open.iter().filter(|(module, _)| *module).count();
        let test = test_file || cfg_test || open.iter().any(|(_, test)| *test);
        tokens.push(Token { text, line, inline, test });
    }
    tokens
}

/// The words and punctuation of a source, without comments, strings and characters.
fn words(source: &str) -> Vec<(String, usize)> {
    let bytes = source.as_bytes();
    let mut words = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &source[at..];
        let length = match bytes[at] {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => block_comment(rest),
            b'"' => quoted(rest),
            b'r' | b'b' | b'c' if string_prefix(rest).is_some() => string_prefix(rest).unwrap_or(1),
            b'\'' => character_or_lifetime(rest),
            byte if byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii() => {
                let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                let end = end.max(rest.chars().next().map_or(1, char::len_utf8));
                if &rest[..end] == "r" && rest[end..].starts_with('#') {
                    end + 1
                } else {
                    words.push((rest[..end].to_owned(), line));
                    end
                }
            }
            b':' if rest.starts_with("::") => {
                words.push(("::".to_owned(), line));
                2
            }
            byte if byte.is_ascii_whitespace() => 1,
            byte => {
                words.push((char::from(byte).to_string(), line));
                1
            }
        };
        line += rest[..length].matches('\n').count();
        at += length;
    }
    words
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the string that begins with `"`.
fn quoted(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a string with a prefix (`r"…"`, `br#"…"#`, `b"…"`, `c"…"`, `b'…'`), if one begins here.
fn string_prefix(rest: &str) -> Option<usize> {
    let letters = rest.find(|c: char| !c.is_ascii_lowercase())?;
    let after = &rest[letters..];
    let prefix = &rest[..letters];
    if !["r", "b", "br", "c", "cr"].contains(&prefix) {
        return None;
    }
    if prefix == "b" && after.starts_with('\'') {
        return Some(letters + character_or_lifetime(after));
    }
    if !prefix.contains('r') {
        return after.starts_with('"').then(|| letters + quoted(after));
    }
    let hashes = after.find(|c| c != '#')?;
    if !after[hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = letters + hashes + 1;
    Some(rest[body..].find(&end).map_or(rest.len(), |found| body + found + end.len()))
}

/// The length of a character literal, or of the quote of a lifetime.
fn character_or_lifetime(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            rest[from..].find('\'').map_or(rest.len(), |found| from + found + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
