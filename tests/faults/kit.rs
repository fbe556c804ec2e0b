//! What the faults need besides the rig: system calls of the running gateway that fail on order, file systems that fill up, and
//! questions to a gateway that may be gone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::gateway::{Gateway, Lines};
use crate::support::http::Answer;
use crate::support::wait::until_within;

/// How long anything may take on a machine that does much else besides.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until it is true, as long as a busy machine may need.
pub(crate) fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until_within(LONG, what, || ask().then_some(()));
}

/// Asserts that the gateway says that its store cannot be used, and when to come back.
#[track_caller]
pub(crate) fn expect_store_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"), "{}", answer.text());
    let after = answer.header("retry-after").and_then(|after| after.parse::<u64>().ok());
    assert!(after.is_some_and(|after| after > 0), "{answer:?}");
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("nothing was sent")), "{answer:?}");
}

/// The status of GET `target`; `None` when nobody answers there any more.
pub(crate) fn status_of(address: SocketAddr, target: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LONG)).ok()?;
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// The gateway's thread that writes the store.
fn writing_thread(gateway: &Gateway) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("a running process has threads");
    let mut found = tasks.flatten().filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "store-write")
    });
    let thread = found.next().expect("one thread writes the store");
    thread.file_name().into_string().expect("a number")
}

/// System calls of the gateway's writing thread on some files, which fail as ordered. Dropped, they work again.
pub(crate) struct Injection {
    strace: Child,
    said: Lines,
    seen: PathBuf,
}

impl Injection {
    /// From now on `faults` (`<calls>:error=<errno>:when=<which>`) befall the writes to `files`.
    pub(crate) fn into(gateway: &Gateway, files: &[&Path], faults: &str) -> Self {
        let seen = files[0].with_extension("seen");
        drop(std::fs::remove_file(&seen));
        let calls = faults.split(':').next().expect("calls stand before the error");
        let mut command = Command::new("strace");
        command.arg("-o").arg(&seen).args(["-p", &writing_thread(gateway)]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={faults}")]);
        for file in files {
            command.arg("-P").arg(std::fs::canonicalize(file).expect("the file is there"));
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("strace: {error}; run scripts/install-test-tools.sh"));
        let said = Lines::of(strace.stderr.take().expect("its standard error is piped"));
        until_true("strace has attached to the gateway", || {
            let text = said.text();
            let refused = text.contains("Operation not permitted") || strace.try_wait().is_ok_and(|end| end.is_some());
            assert!(!refused, "strace may not attach: run the tests as root, or allow ptrace here:\n{text}");
            text.contains("attached")
        });
        Self { strace, said, seen }
    }

    /// How many calls have failed so far.
    pub(crate) fn failed(&self) -> usize {
        std::fs::read_to_string(&self.seen).unwrap_or_default().matches("(INJECTED)").count()
    }

    /// From now on they work again.
    pub(crate) fn end(mut self) {
        self.detach();
        assert!(!self.said.text().contains("rror"), "{}", self.said.text());
    }

    fn detach(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            // SIGTERM: strace lets the thread go on by itself. After SIGKILL it might hang in the stop it was in.
            drop(Command::new("kill").arg(self.strace.id().to_string()).status());
        }
        drop(self.strace.wait());
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Runs the ignored test `name` of this binary in name spaces of its own, where it may mount: nothing that it mounts is left, however
/// it ends.
///
/// # Panics
/// When it fails, or name spaces are not to be had here: shows what it said.
pub(crate) fn in_own_namespace(name: &str) {
    let exe = std::env::current_exe().expect("this binary has a path");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = Command::new("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--map-root-user", "--mount"][..] }).arg(exe);
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    let output = command.output().expect("unshare can be run; see scripts/install-test-tools.sh");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("unshare failed"), "mounting needs root, or user name spaces: {said}");
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A small file system in memory. Only in name spaces of one's own.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many KiB on a new folder.
    pub(crate) fn mount(folder: &Path, kib: u32) -> Self {
        std::fs::create_dir(folder).expect("a new folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder).status();
        assert!(mounted.is_ok_and(|status| status.success()), "a tmpfs cannot be mounted on {}", folder.display());
        Self(folder.to_owned())
    }

    /// A path on it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut ballast = std::fs::File::create(self.path("ballast")).expect("a name is left");
        for size in [64 << 10, 4 << 10, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives the room back that [`Disk::fill`] took.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.path("ballast")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
