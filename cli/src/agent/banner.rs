//! What an agent says when it starts.

use std::fmt::Write as _;

use super::parts::Parts;
use crate::commands::VERSION;
use crate::terminal;

/// Which files were read.
pub(super) fn loaded(config: &orch_config::Agent) {
    if config.files.is_empty() {
        terminal::say("==> No configuration files loaded\n");
    } else {
        let files: Vec<String> = config.files.iter().map(|file| file.display().to_string()).collect();
        terminal::say(format!("==> Loaded configuration from {}\n", files.join(", ")));
    }
    terminal::say("==> Starting orch agent...\n");
}

/// What the agent is, and that it runs.
pub(super) fn started(config: &orch_config::Agent, parts: &Parts) {
    let yes_or_no = |part: bool| part.to_string();
    let mut lines = vec![
        ("Version", VERSION.to_owned()),
        ("Region", format!("{} (DC: {})", config.region, config.datacenter)),
        ("Name", config.name.clone()),
        ("Server", yes_or_no(parts.rpc_addr().is_some())),
        ("Client", yes_or_no(parts.node_id().is_some())),
        ("HTTP", parts.http_addrs().iter().map(|addr| format!("http://{addr}")).collect::<Vec<_>>().join(", ")),
        ("Log Level", config.logging.level.as_str().to_uppercase()),
        ("Data Dir", config.data_dir.display().to_string()),
    ];
    if let Some(rpc) = parts.rpc_addr() {
        lines.push(("RPC", rpc.to_string()));
    }
    if let Some(node) = parts.node_id() {
        lines.push(("Node ID", node.to_string()));
    }
    lines.sort_unstable();
    terminal::say(render(&lines));
}

fn render(lines: &[(&str, String)]) -> String {
    let mut text = "==> orch agent configuration:\n\n".to_owned();
    for (key, value) in lines {
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "{key:>20}: {value}");
    }
    text.push_str("\n==> orch agent started! Log data will stream in below:\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_aligned_at_their_colon() {
        let text = render(&[("HTTP", "http://127.0.0.1:4646".into()), ("Log Level", "INFO".into())]);
        assert_eq!(
            text,
            "==> orch agent configuration:\n\n                HTTP: http://127.0.0.1:4646\n           Log Level: INFO\n\n\
             ==> orch agent started! Log data will stream in below:\n\n"
        );
    }
}
