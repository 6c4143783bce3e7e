//! With the `git` program, which is told to touch nothing but what it clones.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use reqwest::Url;
use tokio::process::Command;

use crate::order::{Failure, FailureKind, OUT, Order};
use crate::source::Git;

/// What git says when trying again may help.
const TRANSIENT: [&str; 12] = [
    "Could not resolve host",
    "Couldn't connect",
    "Failed to connect",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Operation timed out",
    "early EOF",
    "unexpected disconnect",
    "The requested URL returned error: 5",
    "The requested URL returned error: 429",
    "Temporary failure",
];

/// Clones into [`OUT`].
pub(super) async fn fetch(order: &Order, git: &Git) -> Result<(), Failure> {
    // An earlier attempt may have left something.
    fs::remove_dir_all(OUT).and_then(|()| fs::create_dir(OUT)).map_err(Failure::local("cannot empty its directory"))?;
    prepare(order, git)?;
    let depth = git.depth.map(|depth| format!("--depth={depth}"));
    let exact = git.reference.as_deref().filter(|text| matches!(text.len(), 40 | 64) && is_hex(text));
    match (&depth, exact) {
        (Some(depth), Some(commit)) => {
            run(order, &["init", "--quiet", "--template=", OUT]).await?;
            run(order, &["-C", OUT, "remote", "add", "origin", &git.url]).await?;
            run(order, &["-C", OUT, "fetch", "--quiet", depth, "origin", commit]).await?;
            run(order, &["-C", OUT, "checkout", "--quiet", "--detach", "FETCH_HEAD"]).await?;
        }
        (Some(depth), None) => {
            let branch = git.reference.as_ref().map(|reference| format!("--branch={reference}"));
            let mut clone = vec!["clone", "--quiet", "--template=", "--no-hardlinks", depth];
            clone.extend(branch.as_deref());
            clone.extend(["--", &git.url, OUT]);
            run(order, &clone).await?;
        }
        (None, _) => {
            run(order, &["clone", "--quiet", "--template=", "--no-hardlinks", "--", &git.url, OUT]).await?;
            if let Some(reference) = &git.reference {
                run(order, &["-C", OUT, "checkout", "--quiet", reference, "--"]).await?;
            }
        }
    }
    if Path::new(OUT).join(".gitmodules").is_file() {
        let mut update = vec!["-C", OUT, "submodule", "--quiet", "update", "--init", "--recursive"];
        update.extend(depth.as_deref());
        run(order, &update).await?;
    }
    Ok(())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Writes what git is to know: its configuration, the login and the key; no argument ever has a secret.
fn prepare(order: &Order, git: &Git) -> Result<(), Failure> {
    let mut config = String::from(
        "[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tpager = cat\n[gc]\n\tauto = 0\n\
         [maintenance]\n\tauto = false\n[advice]\n\tdetachedHead = false\n[credential]\n\thelper =\n[protocol]\n\tallow = never\n",
    );
    let mut allowed = vec!["https", "http", "ssh", "git"];
    if order.allow_file {
        allowed.push("file");
        config.push_str("[safe]\n\tdirectory = *\n");
    }
    for protocol in allowed {
        config.push_str(&format!("[protocol \"{protocol}\"]\n\tallow = always\n"));
    }
    if order.insecure {
        config.push_str("[http]\n\tsslVerify = false\n");
    }
    let url = Url::parse(&git.url).map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))?;
    if !order.headers.is_empty() {
        // Only for the host that the source names.
        write_line(&mut config, &format!("[http {}]", quoted(&url.origin().ascii_serialization())));
        for (name, value) in &order.headers {
            if format!("{name}{value}").contains(char::is_control) {
                return Err(Failure::new(
                    FailureKind::Malformed,
                    format!("the header {name:?} has control characters"),
                ));
            }
            write_line(&mut config, &format!("\textraHeader = {}", quoted(&format!("{name}: {value}"))));
        }
    }
    secret("home/.gitconfig", &config)?;
    if let (Some(login), Some(host)) = (&order.source.login, url.host_str()) {
        if [&login.user, &login.password].iter().any(|text| text.contains(char::is_whitespace)) {
            return Err(Failure::new(FailureKind::Malformed, "its user and password must not contain spaces"));
        }
        secret("home/.netrc", &format!("machine {host} login {} password {}\n", login.user, login.password))?;
    }
    git.sshkey.as_ref().map_or(Ok(()), |key| secret("home/key", key))
}

fn write_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A value of git's configuration.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes a file that nobody else can read.
fn secret(path: &str, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Failure::local("cannot write what git is to know"))
}

async fn run(order: &Order, arguments: &[&str]) -> Result<(), Failure> {
    let home = order.scratch.join("home");
    let output = Command::new("git")
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", home.join(".gitconfig"))
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "")
        .env("SSH_ASKPASS_REQUIRE", "never")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("GIT_SSH_COMMAND", ssh(&home, order))
        .env("GIT_SSH_VARIANT", "ssh")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await;
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::new(FailureKind::Local, "git is not installed on this node"));
        }
        Err(error) => return Err(Failure::local("cannot start git")(error)),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let kind =
        if TRANSIENT.iter().any(|text| said.contains(text)) { FailureKind::Transient } else { FailureKind::Fetch };
    Err(Failure::new(kind, format!("git: {}", told(&said, &output.status.to_string()))))
}

/// The last of what git said, in one line.
fn told(said: &str, status: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    let text: String = last.join("; ").chars().filter(|c| !c.is_control()).take(500).collect();
    if text.is_empty() { status.to_owned() } else { text }
}

/// Unknown hosts are taken at their first word, unless the machine's own list knows them otherwise.
fn ssh(home: &Path, order: &Order) -> String {
    let home = home.display();
    let check = if order.insecure { "no" } else { "accept-new" };
    let mut command = format!(
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking={check} -o 'UserKnownHostsFile=\"{home}/known_hosts\"'"
    );
    if home_has_key(order) {
        command.push_str(&format!(" -o IdentitiesOnly=yes -i '{home}/key'"));
    }
    command
}

fn home_has_key(order: &Order) -> bool {
    order.scratch.join("home/key").is_file()
}
