//! Credentials for registries: from the task, from a file as `docker login` writes it, or from a helper program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::config::Auth;
use crate::task_config::TaskAuth;

/// How long a helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// The address under which credentials of the default registry are kept.
const DEFAULT_SERVER: &str = "https://index.docker.io/v1/";
/// The name that a helper gives instead of a user to say that the password is a token.
const TOKEN_USER: &str = "<token>";

/// Credentials for one registry. They are not shown.
#[derive(Clone, PartialEq)]
pub(crate) struct Credentials(DockerCredentials);

impl Credentials {
    pub(crate) fn for_engine(&self) -> DockerCredentials {
        self.0.clone()
    }

    fn of_user(server: &str, username: String, password: String) -> Self {
        let token = username == TOKEN_USER;
        Self(DockerCredentials {
            identitytoken: token.then(|| password.clone()),
            username: (!token).then_some(username),
            password: (!token).then_some(password),
            serveraddress: Some(server.to_owned()),
            ..DockerCredentials::default()
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("server", &self.0.serveraddress).finish_non_exhaustive()
    }
}

/// Why credentials could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("cannot read the file with registry credentials, {path}: {cause}")]
    File { path: String, cause: String },
    #[error("the credentials for {server} in {path} cannot be read: {cause}")]
    Entry { server: String, path: String, cause: &'static str },
    #[error("credential helper {helper}: {cause}")]
    Helper { helper: String, cause: String },
}

/// The credentials for `registry`, from the first place that has some; `None` if none has.
pub(crate) async fn find(
    registry: &str,
    task: Option<&TaskAuth>,
    node: &Auth,
) -> Result<Option<Credentials>, AuthError> {
    if let Some(task) = task.filter(|task| !task.username.is_empty() || !task.password.reveal().is_empty()) {
        return Ok(Some(of_task(registry, task)));
    }
    if let Some(path) = &node.config
        && let Some(found) = from_file(registry, path).await?
    {
        return Ok(Some(found));
    }
    match &node.helper {
        Some(helper) => from_helper(registry, helper).await,
        None => Ok(None),
    }
}

fn of_task(registry: &str, task: &TaskAuth) -> Credentials {
    let server = task.server_address.as_deref().unwrap_or(registry);
    let mut credentials = Credentials::of_user(server, task.username.clone(), task.password.reveal().clone());
    credentials.0.email = task.email.clone();
    credentials
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credsStore")]
    store: String,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    #[serde(rename = "identitytoken")]
    token: String,
}

async fn from_file(registry: &str, path: &Path) -> Result<Option<Credentials>, AuthError> {
    let failed = |cause: String| AuthError::File { path: path.display().to_string(), cause };
    let text = tokio::fs::read(path).await.map_err(|error| failed(error.to_string()))?;
    let file: File = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let same = |server: &&String| host_of(server) == host_of(registry);
    if let Some(server) = file.helpers.keys().find(same) {
        let helper = file.helpers.get(server).map(String::as_str).unwrap_or_default();
        return from_helper(registry, helper).await;
    }
    if !file.store.is_empty() {
        return from_helper(registry, &file.store).await;
    }
    let Some((server, entry)) = file.auths.iter().find(|(server, _)| same(server)) else { return Ok(None) };
    let broken = |cause| AuthError::Entry { server: server.clone(), path: path.display().to_string(), cause };
    if !entry.token.is_empty() {
        return Ok(Some(Credentials::of_user(server, TOKEN_USER.to_owned(), entry.token.clone())));
    }
    if entry.auth.is_empty() {
        let named = !entry.username.is_empty();
        return Ok(named.then(|| Credentials::of_user(server, entry.username.clone(), entry.password.clone())));
    }
    let decoded = BASE64_STANDARD.decode(&entry.auth).map_err(|_| broken("auth is not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| broken("auth is not UTF-8"))?;
    let (username, password) = decoded.split_once(':').ok_or_else(|| broken("auth is not user:password"))?;
    Ok(Some(Credentials::of_user(server, username.to_owned(), password.trim_end_matches('\0').to_owned())))
}

/// The host of a server as credentials files spell it; the default registry has many names.
fn host_of(server: &str) -> &str {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Asks `docker-credential-<helper>`, or the program at that path, as the engine's own client does.
async fn from_helper(registry: &str, helper: &str) -> Result<Option<Credentials>, AuthError> {
    let failed = |cause: String| AuthError::Helper { helper: helper.to_owned(), cause };
    let program = if helper.contains('/') { helper.to_owned() } else { format!("docker-credential-{helper}") };
    let server = if registry == "docker.io" { DEFAULT_SERVER } else { registry };
    let ask = async {
        let mut child = Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(format!("{server}\n").as_bytes()).await {
                // It may answer without reading.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER_TIMEOUT, ask).await;
    let output = output
        .map_err(|_| failed(format!("no answer within {} s", HELPER_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
        // Helpers have these words to say that they know nothing of a server.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("{}: {}", output.status, said.trim().chars().take(200).collect::<String>())));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not {\"Username\": …, \"Secret\": …}".to_owned()))?;
    Ok(Some(Credentials::of_user(server, answer.username, answer.secret)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use orch_model::ids::Secret;

    use super::*;

    fn user(credentials: Option<Credentials>) -> Option<(String, String)> {
        let found = credentials?.for_engine();
        Some((found.username?, found.password?))
    }

    fn pair(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.to_owned(), password.to_owned()))
    }

    fn node(directory: &Path, file: &str, helper: Option<&str>) -> Auth {
        let config = directory.join("config.json");
        std::fs::write(&config, file).unwrap();
        Auth { config: Some(config), helper: helper.map(str::to_owned) }
    }

    fn script(directory: &Path, text: &str) -> String {
        let path = directory.join("helper");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn the_task_goes_before_the_file_and_the_file_before_the_helper() {
        let directory = tempfile::tempdir().unwrap();
        let helper = script(directory.path(), "read s; printf '{\"Username\":\"helped\",\"Secret\":\"%s\"}' \"$s\"");
        let auth = BASE64_STANDARD.encode("filed:p:w");
        let file = format!(
            "{{\"auths\": {{\"https://r.io/v2/\": {{\"auth\": \"{auth}\"}}, \"t.io\": {{\"identitytoken\": \"tok\"}}}}}}"
        );
        let node = node(directory.path(), &file, Some(&helper));
        let task =
            TaskAuth { username: "alice".to_owned(), password: Secret::new("x".to_owned()), ..TaskAuth::default() };
        assert_eq!(user(find("r.io", Some(&task), &node).await.unwrap()), pair("alice", "x"));
        assert_eq!(user(find("r.io", None, &node).await.unwrap()), pair("filed", "p:w"));
        assert_eq!(user(find("q.io", None, &node).await.unwrap()), pair("helped", "q.io"));
        assert_eq!(user(find("docker.io", None, &node).await.unwrap()), pair("helped", DEFAULT_SERVER));
        let token = find("t.io", None, &node).await.unwrap().unwrap().for_engine();
        assert_eq!((token.identitytoken.as_deref(), token.username), (Some("tok"), None));
        assert!(find("r.io", None, &Auth::default()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_may_name_helpers() {
        let directory = tempfile::tempdir().unwrap();
        let helper = script(directory.path(), "echo '{\"Username\":\"h\",\"Secret\":\"s\"}'");
        let node = node(directory.path(), &format!("{{\"credHelpers\": {{\"r.io\": \"{helper}\"}}}}"), None);
        assert_eq!(user(find("r.io", None, &node).await.unwrap()), pair("h", "s"));
        assert!(find("q.io", None, &node).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_broken_is_told_and_secrets_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (file, helper, part) in [
            ("{", None, "cannot read the file"),
            ("{\"auths\": {\"r.io\": {\"auth\": \"%\"}}}", None, "r.io in"),
            ("{}", Some("exit 3; echo denied >&2"), "exit status: 3"),
            ("{}", Some("echo denied >&2; exit 3"), "denied"),
            ("{}", Some("echo s3cret"), "its answer is not"),
        ] {
            let helper = helper.map(|text| script(path, text));
            let error = find("r.io", None, &node(path, file, helper.as_deref())).await.unwrap_err();
            let message = error.to_string();
            assert!(message.contains(part) && !message.contains("s3cret"), "{part}: {message}");
        }
        let error = find("r.io", None, &node(path, "{}", Some("no-such-helper"))).await.unwrap_err();
        assert!(error.to_string().contains("no-such-helper"), "{error}");
        let helper = script(path, "echo 'credentials not found in native keychain'; exit 1");
        let silent = Auth { config: None, helper: Some(helper) };
        assert!(find("r.io", None, &silent).await.unwrap().is_none());
        let shown = format!("{:?}", Credentials::of_user("r.io", "alice".to_owned(), "s3cret".to_owned()));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
