//! Keeps one child: writes to it, reads from it, and ends it when its time has come.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lines::{Line, Lines};
use super::link::{Job, Link};
use super::process::{Pipes, Process};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// What is kept of a line that is too long: enough to see whose answer it was.
const BEGINNING_BYTES: usize = 4096;
/// The longest line of a child's standard error that is logged whole.
const STDERR_LINE_BYTES_MAX: usize = 1024;
/// Lines of a child's standard error that are logged in one second.
const STDERR_LINES_PER_SECOND: u32 = 20;
/// How long a child that is to end must have had nothing to do.
const RETIRED_IDLE: Duration = Duration::from_millis(300);
/// How often it is looked at whether somebody still waits or listens.
const BUSY_POLL: Duration = Duration::from_secs(1);
/// How long the last words of a child are waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long output of a child that has ended is still read.
const LAST_OUTPUT: Duration = Duration::from_millis(250);

/// How long a child is kept.
pub(super) struct Terms {
    /// How long nobody may have been waiting or listening.
    pub(super) idle_timeout: Duration,
    /// Cancelled when the child is to end once nobody waits; also here, when it takes no more requests.
    pub(super) retired: CancellationToken,
    /// The longest line that is read.
    pub(super) line_bytes_max: usize,
}

/// Runs the link until the child ends or is to end; returns when neither it nor anything that it started is left.
pub(super) async fn keep(
    upstream: Arc<str>,
    mut process: Process,
    pipes: Pipes,
    link: Arc<Link>,
    jobs: mpsc::Receiver<Job>,
    terms: Terms,
    on_close: impl FnOnce(),
) {
    let child = process.id();
    tracing::debug!(%upstream, child, "started");
    // Fused: it may end long before it is asked for the last time.
    let mut complaints = Box::pin(log(pipes.stderr, upstream.clone(), child).fuse());
    let wanted = {
        let mut reading = Box::pin(read(pipes.stdout, &link, terms.line_bytes_max));
        let mut writing = Box::pin(write(pipes.stdin, jobs));
        let mut idle = Box::pin(until_idle(&link, &terms));
        let mut writable = true;
        loop {
            tokio::select! {
                () = link.end.cancelled() => break true,
                () = &mut idle => break true,
                () = &mut reading => break false,
                // It takes no more requests, and may still answer what it has read.
                () = &mut writing, if writable => {
                    writable = false;
                    terms.retired.cancel();
                }
                () = process.ended() => {
                    _ = tokio::time::timeout(LAST_OUTPUT, &mut reading).await;
                    break false;
                }
                () = &mut complaints, if !complaints.is_terminated() => {}
            }
        }
        // Its input and output are closed here; nothing is written from now on.
    };
    let over = link.close(wanted);
    on_close();
    let mut ending = Box::pin(process.end());
    let status = tokio::select! {
        status = &mut ending => status,
        () = &mut complaints, if !complaints.is_terminated() => ending.await,
    };
    if !complaints.is_terminated() {
        _ = tokio::time::timeout(LAST_WORDS, complaints).await;
    }
    let lived_ms = u64::try_from(over.lived.as_millis()).unwrap_or(u64::MAX);
    match (status, wanted) {
        (Ok(status), true) => tracing::debug!(%upstream, child, %status, lived_ms, "ended"),
        (Ok(status), false) => tracing::warn!(%upstream, child, %status, lived_ms, "the child ended by itself"),
        (Err(error), _) => tracing::error!(%upstream, child, %error, lived_ms, "the end of the child cannot be seen"),
    }
}

/// Writes lines until the child closes its input.
async fn write(mut stdin: impl AsyncWrite + Unpin, mut jobs: mpsc::Receiver<Job>) {
    while let Some(mut job) = jobs.recv().await {
        let Some(line) = job.begin() else { continue };
        let written = match stdin.write(&line).await {
            Ok(0) | Err(_) => {
                job.not_begun();
                break;
            }
            Ok(written) => written,
        };
        if stdin.write_all(&line[written..]).await.is_err() || stdin.flush().await.is_err() {
            break;
        }
    }
}

/// Reads messages until the child closes its output.
async fn read(mut stdout: impl AsyncRead + Unpin, link: &Link, line_bytes_max: usize) {
    let mut lines = Lines::new(line_bytes_max, BEGINNING_BYTES);
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
        lines.push(&buffer[..count]);
        while let Some(line) = lines.next() {
            match line {
                Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                Line::Whole(line) => link.deliver(&line),
                Line::TooLong(beginning) => link.deliver_too_long(&beginning),
            }
        }
    }
}

/// Logs what a child complains about, a bounded part of it; reads all of it.
async fn log(mut stderr: impl AsyncRead + Unpin, upstream: Arc<str>, child: i32) {
    let mut lines = Lines::new(STDERR_LINE_BYTES_MAX, STDERR_LINE_BYTES_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut budget = Budget::default();
    let mut tell = |line: &[u8], cut: bool| {
        if let Some(left_out) = budget.take(Instant::now()) {
            let line = String::from_utf8_lossy(line);
            tracing::debug!(%upstream, child, line = line.trim_end(), cut, left_out, "said on standard error");
        }
    };
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        lines.push(&buffer[..count]);
        while let Some(line) = lines.next() {
            match line {
                Line::Whole(line) => tell(&line, false),
                Line::TooLong(beginning) => tell(&beginning, true),
            }
        }
    }
    if let Some(rest) = lines.rest() {
        tell(&rest, false);
    }
}

/// So many lines a second.
#[derive(Debug, Default)]
struct Budget {
    second: Option<Instant>,
    used: u32,
    left_out: u64,
}

impl Budget {
    /// Whether one more line may be logged, and how many were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.used) = (Some(now), 0);
        }
        if self.used < STDERR_LINES_PER_SECOND {
            self.used += 1;
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

/// Returns when nobody has been waiting or listening for as long as the terms say.
async fn until_idle(link: &Link, terms: &Terms) {
    loop {
        let retired = terms.retired.is_cancelled();
        let limit = if retired { RETIRED_IDLE } else { terms.idle_timeout };
        // Who only listens does not hold up the end of a child that is no longer wanted.
        let pause = match link.idle_for(!retired) {
            Some(idle) if idle >= limit => return,
            Some(idle) => limit - idle,
            None => limit.min(BUSY_POLL),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = terms.retired.cancelled(), if !retired => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::matching::Naming;
    use super::super::process::CommandLine;
    use super::*;

    /// Awaited here and not in a task of its own, where a panic would go unseen.
    #[tokio::test]
    async fn a_child_is_kept_to_its_end_whichever_of_its_pipes_it_closes_first() {
        for (script, wanted) in [
            ("exit 3", false),
            ("exec 2>&-; sleep 0.2", false),
            ("exec 1>&-; exec cat >/dev/null", false),
            ("exec 0<&-; sleep 0.2", false),
            ("echo last words >&2; exec cat", true),
            ("exec 2>&-; exec cat", true),
        ] {
            let line = CommandLine {
                program: "/bin/sh".into(),
                arguments: vec!["-c".to_owned(), script.to_owned()],
                environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
                folder: "/".into(),
            };
            let (process, pipes) = Process::start(&line).expect("a shell");
            let (link, jobs) = Link::new("tools".into(), Naming::Kept);
            let retired = CancellationToken::new();
            let terms = Terms { idle_timeout: Duration::from_secs(20), retired, line_bytes_max: 1024 };
            let mut closed = false;
            let kept = keep("tools".into(), process, pipes, link.clone(), jobs, terms, || closed = true);
            let end = async {
                if wanted {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    link.end.cancel();
                }
            };
            let both = async { tokio::join!(kept, end) };
            tokio::time::timeout(Duration::from_secs(20), both).await.expect("it ends");
            assert_eq!(link.over().map(|over| over.wanted), Some(wanted), "{script}");
            assert!(closed, "{script}");
        }
    }

    #[test]
    fn complaints_beyond_the_rate_are_counted_and_left_out() {
        let mut budget = Budget::default();
        let start = Instant::now();
        let logged = (0..1000).filter(|_| budget.take(start).is_some()).count();
        assert_eq!(logged, STDERR_LINES_PER_SECOND as usize);
        assert_eq!(budget.take(start + Duration::from_millis(999)), None);
        assert_eq!(budget.take(start + Duration::from_secs(1)), Some(981));
        assert_eq!(budget.take(start + Duration::from_secs(1)), Some(0));
    }
}
