//! `orch alloc logs`.

use anyhow::bail;
use orch_api::Allocation;
use orch_api::client::LogOptions;

use super::follow::{Sink, Tail, copy, until_interrupted};
use super::target;
use crate::commands::{DONE, Outcome};
use crate::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// The allocation; with -job, the job
    allocation: String,
    /// The task; may be left out if there is only one
    task: Option<String>,
    /// The task
    #[arg(long = "task", value_name = "task", conflicts_with = "task")]
    named_task: Option<String>,
    /// With -job: only allocations of this group
    #[arg(long, value_name = "group")]
    group: Option<String>,
    /// The argument is a job, of which one allocation is picked
    #[arg(long)]
    job: bool,
    /// Wait for more
    #[arg(short = 'f')]
    follow: bool,
    /// Only the last 10 lines
    #[arg(long)]
    tail: bool,
    /// Only the last so many lines
    #[arg(short = 'n', value_name = "lines")]
    lines: Option<u64>,
    /// Only the last so many bytes
    #[arg(short = 'c', value_name = "bytes")]
    bytes: Option<u64>,
    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Standard output alone, also with -f
    #[arg(long)]
    stdout: bool,
    /// Accepted as elsewhere
    #[arg(long, hide = true)]
    verbose: bool,
}

pub(crate) async fn run(context: &Context, args: LogsArgs) -> Outcome {
    let tail = Tail::of(args.tail, args.lines, args.bytes)?;
    if args.stderr && args.stdout && (!args.follow || tail != Tail::All) {
        bail!("-stderr and -stdout show both outputs only with -f alone");
    }
    let (context, alloc) = target::allocation(context, &args.allocation, args.job, args.group.as_deref()).await?;
    let task = target::task(&alloc, args.task.as_deref().or(args.named_task.as_deref()))?;
    let shown = Shown { context: &context, alloc: &alloc, task: &task, tail, follow: args.follow };
    let both = args.follow && args.stderr == args.stdout && tail == Tail::All;
    let reading = async {
        if both {
            tokio::try_join!(shown.copy("stdout", Sink::Out), shown.copy("stderr", Sink::Err)).map(|_| ())
        } else {
            let kind = if args.stderr { "stderr" } else { "stdout" };
            shown.copy(kind, Sink::Out).await
        }
    };
    until_interrupted(reading).await?;
    Ok(DONE)
}

struct Shown<'a> {
    context: &'a Context,
    alloc: &'a Allocation,
    task: &'a str,
    tail: Tail,
    follow: bool,
}

impl Shown<'_> {
    async fn copy(&self, kind: &str, sink: Sink) -> anyhow::Result<()> {
        let (origin, offset) = self.tail.position();
        let options = LogOptions {
            task: self.task.to_owned(),
            kind: kind.to_owned(),
            origin: origin.to_owned(),
            offset,
            follow: self.follow,
        };
        let frames = self.context.client.logs(&self.alloc.id, &options).await?;
        copy(frames, self.tail, self.follow, sink).await
    }
}
