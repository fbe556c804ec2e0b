//! `holdpoint audit verify`: whether the trail, or an export of it, is what was written.
//!
//! A chain shows edits, deletions and swaps by itself, and a store also writes down where its trail ends. What it cannot show
//! is a trail that somebody rewrote from a record on, to its end: for that, give a record that you know (`--expect`), or an
//! export that was kept elsewhere together with the store.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;

use crate::cli::stores::look;
use crate::cli::{complain, runtime, say};
use crate::config::load::load_store;
use crate::config::secrets::{Env as _, ProcessEnv};
use crate::domain::audit::{BadRecord, ChainHash, Fault, Head, LINE_BYTES_MAX, Record, verify_from};
use crate::domain::call::from_hex;

/// Arguments of `holdpoint audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The configuration file: check the trail in its store. Left out without `--file`: what `HOLDPOINT_CONFIG` names
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check an export; with `-c` as well, also that the store still holds it
    #[arg(long, value_name = "NDJSON")]
    file: Option<PathBuf>,
    /// A record known from elsewhere, which must be in the trail: its number and its hash
    #[arg(long, value_name = "SEQ:HASH")]
    expect: Option<Expected>,
}

/// A record known from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected(Head);

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (seq, hash) = text.split_once(':').ok_or("write the record's number, a colon, and its hash")?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or("the number of a record counts from 1")?;
        let hash = from_hex(hash).map_err(|error| error.to_string())?;
        Ok(Self(Head { seq, hash: ChainHash(hash) }))
    }
}

/// Why the answer is not yes.
#[derive(Debug, thiserror::Error)]
enum No {
    #[error("{place}: {bad}")]
    Bad { place: String, bad: BadRecord },
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    CannotTell(String),
}

/// Checks.
pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    match check(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Outcome::Said(code)) => code,
        Err(Outcome::No(no)) => {
            complain(&match no {
                No::CannotTell(_) => format!("error: {no}"),
                No::Bad { .. } | No::Unreadable(_) => format!("NOT INTACT: {no}"),
            });
            match no {
                No::CannotTell(_) => ExitCode::from(2),
                No::Bad { .. } | No::Unreadable(_) => ExitCode::FAILURE,
            }
        }
    }
}

enum Outcome {
    No(No),
    Said(ExitCode),
}

impl From<No> for Outcome {
    fn from(no: No) -> Self {
        Self::No(no)
    }
}

fn check(args: &VerifyArgs) -> Result<(), Outcome> {
    let mut known = args.expect.map(|Expected(head)| head);
    if let Some(path) = &args.file {
        let (first, head) = export(path, known)?;
        say(&format!(
            "intact: {}, records {first} to {}; the last is {}:{}\n",
            path.display(),
            head.seq,
            head.seq,
            head.hash
        ));
        // The end of an export fixes all before it. It is looked for in the store in place of the record that was given,
        // which is in the export.
        known = known.filter(|known| known.seq > head.seq).or(Some(head));
    }
    // With `--file` the store is looked at only where that is asked for in so many words.
    let named = || ProcessEnv.variable("HOLDPOINT_CONFIG").map(PathBuf::from).filter(|_| args.file.is_none());
    let config = args.config.clone().or_else(named);
    if config.is_none() && args.file.is_none() {
        return Err(No::CannotTell("name the configuration with `-c`, or an export with `--file`".to_owned()).into());
    }
    if let Some(config) = &config {
        let settings = load_store(config, &ProcessEnv).map_err(|problems| {
            problems.iter().for_each(|found| complain(&found.to_string()));
            Outcome::Said(ExitCode::from(2))
        })?;
        let head = store(&settings.path, known)?;
        let place = settings.path.display();
        say(&format!("intact: {place}, {} records; the last is {}:{}\n", head.seq, head.seq, head.hash));
    }
    Ok(())
}

fn store(path: &Path, known: Option<Head>) -> Result<Head, Outcome> {
    let store = look(path).map_err(Outcome::Said)?;
    let mut found = None;
    runtime(async {
        found = Some(store.verify_trail(known).await);
        ExitCode::SUCCESS
    });
    match found {
        Some(Ok(Ok(head))) => Ok(head),
        Some(Ok(Err(bad))) => Err(No::Bad { place: path.display().to_string(), bad }.into()),
        Some(Err(error)) => Err(No::CannotTell(error.to_string()).into()),
        None => Err(No::CannotTell("the trail could not be read".to_owned()).into()),
    }
}

/// Checks an export, line by line: the first record's number, and where it ends.
fn export(path: &Path, known: Option<Head>) -> Result<(u64, Head), No> {
    let shown = path.display().to_string();
    let cannot = |error: std::io::Error| No::CannotTell(format!("`{shown}`: {error}"));
    let mut reader = BufReader::new(File::open(path).map_err(cannot)?);
    let (mut first, mut head) = (None, None);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).map_err(cannot)?;
        if length == 0 {
            break;
        }
        let record = record(&line).map_err(|why| {
            let after = head.map_or_else(String::new, |head: Head| format!(", behind record {}", head.seq));
            No::Unreadable(format!("{shown}, line {number}{after}: {why}"))
        })?;
        // An export may begin in the middle: its first record says what it follows.
        let before = head.unwrap_or(Head { seq: record.seq.saturating_sub(1), hash: record.previous });
        let bad = |bad| No::Bad { place: format!("{shown}, line {number}"), bad };
        if before.seq == 0 && before.hash != ChainHash::GENESIS {
            return Err(bad(BadRecord { seq: record.seq, fault: Fault::Unlinked }));
        }
        first.get_or_insert(record.seq);
        let next = verify_from(before, [record]).map_err(bad)?;
        if known.is_some_and(|known| known.seq == next.seq && known.hash != next.hash) {
            return Err(bad(BadRecord { seq: next.seq, fault: Fault::Replaced }));
        }
        head = Some(next);
    }
    let (Some(first), Some(head)) = (first, head) else {
        return Err(No::Unreadable(format!("{shown}: it holds no record")));
    };
    match known {
        Some(known) if known.seq > head.seq => {
            let bad = BadRecord { seq: head.seq + 1, fault: Fault::CutOff };
            Err(No::Bad { place: shown, bad })
        }
        Some(known) if known.seq < first => {
            Err(No::CannotTell(format!("`{shown}` begins with record {first}: record {} is not in it", known.seq)))
        }
        Some(_) | None => Ok((first, head)),
    }
}

fn record(line: &[u8]) -> Result<Record, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let line = line.strip_suffix(b"\n").ok_or("it breaks off: there is no line break at its end")?;
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8 text".to_owned())?;
    let record = Record::from_line(text).map_err(|error| error.to_string())?;
    if record.seq == 0 { Err("records count from 1".to_owned()) } else { Ok(record) }
}
