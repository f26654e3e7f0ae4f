//! Real daemons: `tools/sdk_daemon.py`, while a test runs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

pub struct Daemons {
    child: Child,
    told: Value,
}

impl Daemons {
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let own = root.join(".venv/bin/python");
        let python = std::env::var("LLM_POOL_PYTHON")
            .map_or_else(|_| if own.exists() { own } else { PathBuf::from("python3") }, PathBuf::from);
        let mut command = Command::new(python);
        command.arg(root.join("tools/sdk_daemon.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a Python with llm-pool");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        Self { child, told: serde_json::from_str(&line).expect("the daemons' addresses") }
    }

    /// An address of the daemon that asks nobody who they are, or of the one that is closed.
    pub fn url(&self, daemon: &str, scheme: &str) -> &str {
        self.told[daemon][scheme].as_str().expect("an address")
    }

    pub fn word(&self, name: &str) -> &str {
        self.told[name].as_str().expect("a word")
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // they end with their input
        let _ = self.child.wait();
    }
}
