//! `orch alloc fs`.

use anyhow::bail;
use orch_api::FileInfo;

use super::follow::{Sink, Tail, copy, until_interrupted};
use super::target;
use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::output::{Table, size, time};
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct FsArgs {
    /// The allocation; with -job, the job
    allocation: String,
    /// A file, whose content is shown, or a directory, which is listed
    #[arg(default_value = "/")]
    path: String,
    /// With -job: only allocations of this group
    #[arg(long, value_name = "group")]
    group: Option<String>,
    /// The argument is a job, of which one allocation is picked
    #[arg(long)]
    job: bool,
    /// Show what is known about the file instead of its content
    #[arg(long)]
    stat: bool,
    /// Sizes and times for programs
    #[arg(short = 'H')]
    machine: bool,
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
    /// Accepted as elsewhere
    #[arg(long, hide = true)]
    verbose: bool,
}

pub(crate) async fn run(context: &Context, args: FsArgs) -> Outcome {
    let tail = Tail::of(args.tail, args.lines, args.bytes)?;
    let (context, alloc) = target::allocation(context, &args.allocation, args.job, args.group.as_deref()).await?;
    let file = context.client.stat_file(&alloc.id, &args.path).await?;
    if args.stat {
        terminal::out(table(&[file], true, args.machine).render(context.style));
        return Ok(DONE);
    }
    if file.is_dir {
        if args.follow || tail != Tail::All {
            bail!("{:?} is a directory: -f, -tail, -n and -c are for files", args.path);
        }
        let files = context.client.list_files(&alloc.id, &args.path).await?;
        terminal::out(table(&files, false, args.machine).render(context.style));
        return Ok(DONE);
    }
    if !args.follow && tail == Tail::All {
        terminal::out(&context.client.cat_file(&alloc.id, &args.path).await?);
        return Ok(DONE);
    }
    let (origin, offset) = tail.position();
    let reading = async {
        let frames = context.client.stream_file(&alloc.id, &args.path, origin, offset, args.follow).await?;
        copy(frames, tail, args.follow, Sink::Out).await
    };
    until_interrupted(reading).await?;
    Ok(DONE)
}

fn table(files: &[FileInfo], with_type: bool, machine: bool) -> Table {
    let mut heading = vec!["Mode", "Size", "Modified Time", "Name"];
    if with_type {
        heading.insert(3, "Content Type");
    }
    let mut table = Table::new(heading);
    for file in files {
        let bytes = u64::try_from(file.size).unwrap_or(0);
        let name = if file.is_dir { format!("{}/", file.name.trim_end_matches('/')) } else { file.name.clone() };
        let mut row = vec![
            file.file_mode.clone(),
            if machine { bytes.to_string() } else { size(bytes) },
            if machine { file.mod_time.text().unwrap_or_default() } else { time(file.mod_time) },
            name,
        ];
        if with_type {
            row.insert(3, file.content_type.clone());
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;

    #[test]
    fn directories_end_with_a_slash() {
        let file = FileInfo {
            name: "alloc".into(),
            is_dir: true,
            size: 4096,
            file_mode: "drwxr-xr-x".into(),
            ..FileInfo::default()
        };
        let shown = table(&[file], false, false).render(Style::Plain);
        assert_eq!(shown, "Mode        Size   Modified Time  Name\ndrwxr-xr-x  4 KiB  <none>         alloc/\n");
    }
}
