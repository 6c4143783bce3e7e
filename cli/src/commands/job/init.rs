//! `orch job init`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::commands::{DONE, Outcome};
use crate::terminal;

/// A job that runs on any node of a development agent.
const EXAMPLE: &str = r#"# A job: what is to run, and how often. Run it with `orch job run example.nomad.hcl`.
job "example" {
  type = "service"

  # Allocations of a group run together, on one node; `count` says how many of them there are.
  group "web" {
    count = 1

    network {
      # A free port of the node; tasks find it in NOMAD_PORT_http.
      port "http" {}
    }

    # What happens to a task that ends by itself.
    restart {
      attempts = 3
      interval = "5m"
      delay    = "2s"
      mode     = "delay"
    }

    task "server" {
      # Any program of the node.
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "while true; do echo \"this is $NOMAD_ALLOC_NAME\"; sleep 10; done"]
      }

      resources {
        cpu    = 100 # MHz
        memory = 64  # MiB
      }
    }
  }
}
"#;

const SHORT: &str = r#"job "example" {
  group "web" {
    task "server" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "while true; do date; sleep 10; done"]
      }
    }
  }
}
"#;

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The file to write; it must not exist
    #[arg(default_value = "example.nomad.hcl")]
    file: PathBuf,
    /// Without comments
    #[arg(long)]
    short: bool,
}

pub(crate) fn run(args: &InitArgs) -> Outcome {
    let path = &args.file;
    let mut file = std::fs::File::create_new(path).with_context(|| format!("cannot write {}", path.display()))?;
    let text = if args.short { SHORT } else { EXAMPLE };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    terminal::line(format!("Example job file written to {}", path.display()));
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use orch_jobspec::{ParseOptions, Source, check};
    use orch_model::admission::AdmissionContext;

    use super::*;

    #[test]
    fn the_examples_are_accepted_without_a_warning() {
        for text in [EXAMPLE, SHORT] {
            let context = AdmissionContext::new(crate::agent::DRIVERS);
            let checked = check(Source::new("example.nomad.hcl", text), &ParseOptions::default(), &context);
            assert!(checked.diagnostics.is_empty(), "{}", checked.diagnostics);
        }
    }
}
