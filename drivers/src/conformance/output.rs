//! What a task writes and what it sees.

use super::Program;
use super::bench::{Bench, Checked, Stop, ensure, eventually, log_file};
use crate::spec::TaskSpec;

pub(super) async fn output_goes_to_its_files(bench: &mut Bench<'_>) -> Checked {
    require_logs(bench)?;
    let program = Program::Prints { stdout: "to the one\n".to_owned(), stderr: "to the other\n".to_owned() };
    let (spec, _) = bench.run(&program).await?;
    bench.wait(&spec.id).await?;
    for (stream, text) in [("stdout", "to the one\n"), ("stderr", "to the other\n")] {
        ensure_log(&spec, stream, text).await?;
    }
    Ok(())
}

pub(super) async fn disabled_logs_leave_no_file(bench: &mut Bench<'_>) -> Checked {
    require_logs(bench)?;
    let program = Program::Prints { stdout: "to nobody\n".to_owned(), stderr: "to nobody\n".to_owned() };
    let mut spec = bench.spec(&program)?;
    spec.logs.disabled = true;
    bench.start(&spec).await?;
    let status = bench.wait(&spec.id).await?;
    ensure!(status.success(), "a task whose output goes nowhere ended with {status:?}");
    for stream in ["stdout", "stderr"] {
        let file = log_file(&spec, stream);
        ensure!(!file.exists(), "{} was written", file.display());
    }
    Ok(())
}

pub(super) async fn the_task_sees_its_environment_and_directory(bench: &mut Bench<'_>) -> Checked {
    let mut spec = bench.spec(&Program::ShowsSurroundings)?;
    spec.env.insert("ORCH_CHECK".to_owned(), "a value = with \"all\" kinds".to_owned());
    bench.start(&spec).await?;
    let status = bench.wait(&spec.id).await?;
    ensure!(status.success(), "it ended with {status:?}");
    let directory = bench.fixture().work_dir(&spec);
    ensure_log(&spec, "stdout", &format!("a value = with \"all\" kinds\n{}\n", directory.display())).await
}

fn require_logs(bench: &Bench<'_>) -> Checked {
    if bench.driver().capabilities().logs { Ok(()) } else { Err(Stop::NoProgram) }
}

/// What a task wrote may reach its file a moment after its end.
async fn ensure_log(spec: &TaskSpec, stream: &str, expected: &str) -> Checked {
    let file = log_file(spec, stream);
    let read = || std::fs::read_to_string(&file);
    let arrived = eventually("the output arrives", || read().is_ok_and(|text| text.len() >= expected.len())).await;
    let text = read();
    ensure!(
        arrived.is_ok() && text.as_ref().is_ok_and(|text| text == expected),
        "{} should hold {expected:?}, but gives {text:?}",
        file.display()
    );
    Ok(())
}
