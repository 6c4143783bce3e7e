//! `orch volume init`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::must_be_host;
use crate::commands::{DONE, Outcome};
use crate::terminal;

/// A volume that any node of a development agent can make.
pub(super) const EXAMPLE: &str = r#"# A host volume: a directory on one node that jobs ask for by name.
# Have it made with `orch volume create volume.hcl`.
name = "example"
type = "host"

# What makes the directory.
plugin_id = "mkdir"

# The node; without one, a node is chosen that fulfils the constraints.
# node_id = "5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a90"

# The pool of the node.
# node_pool = "default"

# How jobs can use it; they must name one of these ways exactly.
capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}

# What the node must fulfil.
constraint {
  attribute = "${attr.kernel.name}"
  value     = "linux"
}

# What the plugin is told.
parameters {
  mode = "0755"
}
"#;

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The file to write
    #[arg(default_value = "volume.hcl")]
    path: PathBuf,
    /// The type of volume
    #[arg(long = "type", value_name = "type", default_value = "host")]
    kind: String,
}

pub(super) fn run(args: &InitArgs) -> Outcome {
    must_be_host(&args.kind)?;
    let shown = args.path.display();
    let mut file = std::fs::File::create_new(&args.path).with_context(|| format!("cannot write {shown}"))?;
    file.write_all(EXAMPLE.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
    terminal::line(format!("Example volume specification written to {shown}"));
    Ok(DONE)
}
