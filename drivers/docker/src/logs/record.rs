use bollard::container::LogOutput;
use bytes::Bytes;
use orch_host::logs::Stream;
use orch_model::Timestamp;

use crate::time;

/// The length of the time before each piece of output, with the space after it: always nine digits of a second.
const PREFIX: usize = "2026-01-02T03:04:05.123456789Z ".len();
/// The engine cuts lines longer than this into pieces.
const LONGEST: usize = 16 * 1024;

/// One piece of output: a line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) stream: Stream,
    /// When the engine got it. Pieces of one line have the same; `None` if the engine did not say.
    pub(super) time: Option<Timestamp>,
    pub(super) bytes: Bytes,
}

impl Record {
    pub(super) fn read(output: LogOutput) -> Vec<Self> {
        match output {
            LogOutput::StdErr { message } => vec![Self::cut(Stream::Stderr, message)],
            LogOutput::StdOut { message } | LogOutput::StdIn { message } => vec![Self::cut(Stream::Stdout, message)],
            LogOutput::Console { message } => Self::cut_console(message),
        }
    }

    fn cut(stream: Stream, message: Bytes) -> Self {
        match prefix(&message) {
            Some(time) => Self { stream, time: Some(time), bytes: message.slice(PREFIX..) },
            None => Self { stream, time: None, bytes: message },
        }
    }

    /// With a terminal nothing separates pieces: one that was cut is followed directly by the time of the next.
    fn cut_console(mut message: Bytes) -> Vec<Self> {
        let mut records = Vec::new();
        while prefix(&message).is_some() && message.len() > PREFIX + LONGEST {
            let rest = message.slice(PREFIX + LONGEST..);
            if prefix(&rest).is_none() {
                break;
            }
            records.push(Self::cut(Stream::Stdout, message.slice(..PREFIX + LONGEST)));
            message = rest;
        }
        records.push(Self::cut(Stream::Stdout, message));
        records
    }
}

fn prefix(message: &Bytes) -> Option<Timestamp> {
    let text = std::str::from_utf8(message.get(..PREFIX)?).ok()?;
    time::parse(text.strip_suffix(' ')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-22T10:46:46.868420698Z";

    fn read(output: impl Fn(Bytes) -> LogOutput, text: String) -> Vec<(Stream, bool, usize)> {
        let records = Record::read(output(Bytes::from(text)));
        records.into_iter().map(|record| (record.stream, record.time.is_some(), record.bytes.len())).collect()
    }

    #[test]
    fn the_time_is_taken_off() {
        let read_err = |text| read(|message| LogOutput::StdErr { message }, text);
        assert_eq!(read_err(format!("{TIME} \n")), [(Stream::Stderr, true, 1)]);
        assert_eq!(read_err("short".to_owned()), [(Stream::Stderr, false, 5)]);
        let record = Record::read(LogOutput::StdOut { message: format!("{TIME} {TIME} x\n").into() }).remove(0);
        assert_eq!(record.bytes, format!("{TIME} x\n"), "what looks like a time in the output stays");
        assert_eq!(record.time, Some(Timestamp(1_795_344_406_868_420_698)));
    }

    #[test]
    fn long_lines_of_a_terminal_are_taken_apart() {
        let console = |text| read(|message| LogOutput::Console { message }, text);
        let long = "x".repeat(LONGEST);
        let text = format!("{TIME} {long}{TIME} {long}{TIME} end\n");
        let piece = (Stream::Stdout, true, LONGEST);
        assert_eq!(console(text), [piece, piece, (Stream::Stdout, true, 4)]);
        assert_eq!(console(format!("{TIME} {long}y\n")), [(Stream::Stdout, true, LONGEST + 2)]);
    }
}
