//! Programs in other languages that read bodies: started once, asked line by line, ended when they are dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::go;
use crate::properties::tree::Tree;

/// How long one answer may take; a body is read in a fraction of a millisecond.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A program that reads bodies.
#[derive(Debug)]
pub(crate) struct Other {
    child: Child,
    answers: Receiver<String>,
}

impl Other {
    /// Runs a script of this folder.
    pub(crate) fn script(program: &str, script: &str) -> Self {
        let mut command = Command::new(program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(script));
        Self::start(command)
    }

    /// Runs the one in Go.
    pub(crate) fn go() -> Self {
        Self::start(Command::new(go::built("readers/reader.go")))
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?} does not start: {error}; scripts/install-test-tools.sh installs what the tests need")
        });
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (sender, answers) = channel();
        // Ends with the program's output.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, answers }
    }

    /// Has every body read; `None` for those that the program refuses.
    pub(crate) fn read(&mut self, bodies: &[Vec<u8>]) -> Vec<Option<Tree>> {
        let mut input = self.child.stdin.take().expect("read once");
        let lines: Vec<String> = bodies.iter().map(|body| STANDARD.encode(body) + "\n").collect();
        // Beside the answers: either pipe may be full while the other one is waited for.
        let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| input.write_all(line.as_bytes())));
        let answers = bodies.iter().map(|body| {
            let line = self.answers.recv_timeout(ANSWER_MAX);
            let line = line.unwrap_or_else(|error| panic!("{error} for {:?}", String::from_utf8_lossy(body)));
            let answer = Tree::read(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
            (answer != Tree::Null).then_some(answer)
        });
        let answers = answers.collect();
        writer.join().expect("writing does not panic").expect("the program reads its input to the end");
        answers
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
