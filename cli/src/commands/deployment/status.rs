//! `orch deployment status`.

use std::time::Duration;

use anyhow::bail;
use orch_api::client::QueryOptions;
use orch_model::Nanos;

use super::list;
use crate::commands::job::allocs;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::to_json;
use crate::terminal;
use crate::{monitor, resolve, rollout};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The deployment; without one, all are listed
    deployment: Option<String>,
    /// Follow it to its end; exits with 1 if it does not succeed
    #[arg(long, conflicts_with = "json")]
    monitor: bool,
    /// With -monitor: how long to wait for news before looking again
    #[arg(long, value_name = "duration", default_value = "2s", value_parser = wait)]
    wait: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

fn wait(text: &str) -> anyhow::Result<Duration> {
    let nanos: Nanos = text.parse()?;
    if nanos < Nanos::from_millis(1) {
        bail!("news cannot be waited for during {text}: write a longer time, such as 2s");
    }
    Ok(nanos.to_std())
}

impl StatusArgs {
    /// The status of one deployment as the other options are by default.
    pub(crate) fn of(deployment: &str, verbose: Verbose) -> Self {
        Self { deployment: Some(deployment.to_owned()), monitor: false, wait: monitor::WAIT, json: false, verbose }
    }
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    let Some(given) = &args.deployment else {
        if args.monitor {
            bail!("-monitor follows one deployment: name it");
        }
        return list::show(context, &QueryOptions::default(), args.json, args.verbose).await;
    };
    let found = resolve::deployment(context, given).await?;
    let context = context.in_namespace(&found.namespace);
    if args.monitor {
        return monitor::deployment(&context, &found.id, args.wait, args.verbose).await;
    }
    let (deployment, _) = context.client.deployment(&found.id, &QueryOptions::default()).await?;
    if args.json {
        terminal::out(to_json(&deployment)?);
        return Ok(DONE);
    }
    terminal::out(rollout::detail(&deployment, args.verbose, context.style));
    if args.verbose.verbose {
        let (allocs, _) = context.client.deployment_allocations(&found.id, &QueryOptions::default()).await?;
        if !allocs.is_empty() {
            let table = allocs::table(allocs, args.verbose).render(context.style);
            terminal::out(format!("\n{}\n{table}", context.style.bold("Allocations")));
        }
    }
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_of_some_length() {
        assert_eq!(wait("1m30s").unwrap(), Duration::from_secs(90));
        for wrong in ["0s", "-2s", "2 parsecs"] {
            assert!(wait(wrong).is_err(), "{wrong}");
        }
    }
}
