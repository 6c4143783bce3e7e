use std::collections::BTreeMap;
use std::time::Duration;

use orch_driver::{ConfigReader, Error};

use crate::command::Command;

/// The keys that the `config` of a task may have.
pub const OPTIONS: &[&str] = &[
    "run_for",
    "exit_code",
    "exit_signal",
    "exit_err_msg",
    "start_error",
    "start_error_recoverable",
    "start_block_for",
    "kill_after",
    "signal_error",
    "stdout_string",
    "stdout_repeat",
    "stdout_repeat_duration",
    "stderr_string",
    "stderr_repeat",
    "stderr_repeat_duration",
    "exec_command",
];

const COMMAND_KEYS: &[&str] = &[
    "run_for",
    "exit_code",
    "exit_signal",
    "exit_err_msg",
    "stdout_string",
    "stdout_repeat",
    "stdout_repeat_duration",
    "stderr_string",
    "stderr_repeat",
    "stderr_repeat_duration",
];

/// What a task of this driver should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) start: Start,
    /// How long it runs; `None` is until it is ended.
    pub(crate) run_for: Option<Duration>,
    pub(crate) exit: Exit,
    /// How long it goes on after the first stop signal.
    pub(crate) kill_after: Duration,
    /// What sending a signal fails with.
    pub(crate) signal_error: Option<String>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    /// What commands do that are run inside it; boxed, as few tasks have one.
    pub(crate) command: Option<Box<Command>>,
}

/// How it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// How long it takes.
    pub(crate) block_for: Duration,
    /// What it fails with.
    pub(crate) error: Option<String>,
    /// Whether starting it again may help.
    pub(crate) recoverable: bool,
}

/// How it ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) message: String,
}

/// What it writes to one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Output {
    /// Written once when it starts, exactly as it stands.
    pub(crate) text: String,
    /// How often it is written again.
    pub(crate) repeat: u64,
    /// How long after the time before.
    pub(crate) every: Duration,
}

impl Config {
    pub(crate) fn read(config: &BTreeMap<String, serde_json::Value>) -> Result<Self, Error> {
        let mut reader = ConfigReader::new(config, OPTIONS);
        let read = Self {
            start: Start {
                block_for: reader.duration("start_block_for").unwrap_or_default(),
                error: reader.text("start_error").filter(|error| !error.is_empty()),
                recoverable: reader.boolean("start_error_recoverable"),
            },
            run_for: reader.duration("run_for"),
            exit: exit(&mut reader),
            kill_after: reader.duration("kill_after").unwrap_or_default(),
            signal_error: reader.text("signal_error").filter(|error| !error.is_empty()),
            stdout: output(&mut reader, ["stdout_string", "stdout_repeat", "stdout_repeat_duration"]),
            stderr: output(&mut reader, ["stderr_string", "stderr_repeat", "stderr_repeat_duration"]),
            command: reader.block("exec_command", COMMAND_KEYS, |reader| Box::new(command(reader))),
        };
        reader.finish(read)
    }
}

fn command(reader: &mut ConfigReader<'_>) -> Command {
    Command {
        run_for: reader.duration("run_for").unwrap_or_default(),
        exit: exit(reader),
        stdout: output(reader, ["stdout_string", "stdout_repeat", "stdout_repeat_duration"]),
        stderr: output(reader, ["stderr_string", "stderr_repeat", "stderr_repeat_duration"]),
    }
}

fn exit(reader: &mut ConfigReader<'_>) -> Exit {
    Exit {
        code: reader.small_integer("exit_code").unwrap_or(0),
        signal: reader.small_integer("exit_signal").filter(|signal| *signal != 0),
        message: reader.text("exit_err_msg").unwrap_or_default(),
    }
}

fn output(reader: &mut ConfigReader<'_>, [text, repeat, every]: [&str; 3]) -> Output {
    let times = reader.integer(repeat).unwrap_or(0);
    if times < 0 {
        reader.refuse(repeat, format_args!("must not be negative: {times}"));
    }
    Output {
        text: reader.text(text).unwrap_or_default(),
        repeat: u64::try_from(times).unwrap_or(0),
        every: reader.duration(every).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_is_a_task_that_runs_for_ever() {
        let config = Config::read(&BTreeMap::new()).unwrap();
        assert_eq!(config.run_for, None);
        assert_eq!(config.exit, Exit { code: 0, signal: None, message: String::new() });
        assert_eq!(config.start.error, None);
    }

    #[test]
    fn durations_are_texts_or_nanoseconds() {
        let config = serde_json::from_value(serde_json::json!({"run_for": "1m", "kill_after": 5})).unwrap();
        let config = Config::read(&config).unwrap();
        assert_eq!((config.run_for, config.kill_after), (Some(Duration::from_secs(60)), Duration::from_nanos(5)));
    }
}
