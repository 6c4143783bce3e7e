//! `orch operator metrics`.

use anyhow::Context as _;
use clap::ValueEnum;

use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::output::to_json;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    /// How they are written
    #[arg(long, value_name = "format", value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Indent the JSON
    #[arg(long)]
    pretty: bool,
    /// The same
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Prometheus,
}

pub(super) async fn run(context: &Context, args: MetricsArgs) -> Outcome {
    match args.format {
        Format::Prometheus => terminal::out(context.client.metrics_text().await?.0),
        Format::Json => {
            let metrics = context.client.metrics().await?;
            if args.pretty || args.json {
                terminal::out(to_json(&metrics)?);
            } else {
                terminal::line(serde_json::to_string(&metrics).context("cannot write the metrics as JSON")?);
            }
        }
    }
    Ok(DONE)
}
