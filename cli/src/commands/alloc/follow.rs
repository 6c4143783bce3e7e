//! Files and logs as they grow, and their last lines.

use std::time::Duration;

use orch_api::StreamFrame;
use orch_api::client::Frames;

use crate::terminal;

/// How many bytes a line is guessed to have, when only the last lines are wanted.
const LINE_BYTES: u64 = 120;

/// What was there at first comes without a pause as long as this.
const PAUSE: Duration = Duration::from_millis(250);

/// How much of the end is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Everything from the beginning.
    All,
    /// So many lines.
    Lines(u64),
    /// So many bytes.
    Bytes(u64),
}

impl Tail {
    /// What the flags `-tail`, `-n` and `-c` ask for.
    pub(super) fn of(tail: bool, lines: Option<u64>, bytes: Option<u64>) -> anyhow::Result<Self> {
        match (lines, bytes) {
            (Some(_), Some(_)) => anyhow::bail!("-n counts lines and -c bytes: only one of them can be meant"),
            (Some(lines), None) => Ok(Self::Lines(lines)),
            (None, Some(bytes)) => Ok(Self::Bytes(bytes)),
            (None, None) if tail => Ok(Self::Lines(10)),
            (None, None) => Ok(Self::All),
        }
    }

    /// Where to begin: the origin and the offset from it.
    pub(super) fn position(self) -> (&'static str, u64) {
        match self {
            Self::All => ("start", 0),
            Self::Bytes(bytes) => ("end", bytes),
            Self::Lines(lines) => ("end", lines.saturating_mul(LINE_BYTES)),
        }
    }
}

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    Out,
    Err,
}

impl Sink {
    fn write(self, bytes: &[u8]) {
        match self {
            Self::Out => terminal::out(bytes),
            Self::Err => terminal::err_bytes(bytes),
        }
    }
}

/// Writes the frames until they end; of what was there at first, at most the lines that are wanted.
pub(super) async fn copy(mut frames: Frames, tail: Tail, follow: bool, sink: Sink) -> anyhow::Result<()> {
    let Tail::Lines(lines) = tail else {
        while let Some(frame) = frames.next().await? {
            tell(&frame, sink);
        }
        return Ok(());
    };
    let mut held = Some(Vec::new());
    loop {
        // What was there at first comes at once; the first pause, or a sign of life, says that it is complete.
        let next = frames.next();
        let frame = match (&held, follow) {
            (Some(_), true) => match tokio::time::timeout(PAUSE, next).await {
                Ok(frame) => frame?,
                Err(_) => {
                    flush(&mut held, lines, sink);
                    continue;
                }
            },
            _ => next.await?,
        };
        match (frame, &mut held) {
            (None, _) => {
                flush(&mut held, lines, sink);
                return Ok(());
            }
            (Some(frame), Some(bytes)) if !frame.is_heartbeat() => bytes.extend_from_slice(&frame.data.0),
            (Some(_), Some(_)) => flush(&mut held, lines, sink),
            (Some(frame), None) => tell(&frame, sink),
        }
    }
}

fn flush(held: &mut Option<Vec<u8>>, lines: u64, sink: Sink) {
    if let Some(bytes) = held.take() {
        sink.write(last_lines(&bytes, lines));
    }
}

fn tell(frame: &StreamFrame, sink: Sink) {
    if !frame.data.0.is_empty() {
        sink.write(&frame.data.0);
    } else if !frame.file_event.is_empty() {
        terminal::err(format!("orch: {:?}", frame.file_event));
    }
}

/// The last lines of a text that may begin inside of one.
fn last_lines(bytes: &[u8], lines: u64) -> &[u8] {
    let Ok(lines) = usize::try_from(lines) else { return bytes };
    if lines == 0 {
        return &[];
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match ends.map(|(at, _)| at).nth(lines - 1) {
        Some(end) => &bytes[end + 1..],
        None => bytes,
    }
}

/// Interrupted by the user, a follower ends well.
pub(super) async fn until_interrupted(copying: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        result = copying => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last_lines(text, 2), b"two\nthree\n");
        assert_eq!(last_lines(text, 9), text);
        assert_eq!(last_lines(text, 0), b"");
        assert_eq!(last_lines(b"a\nb", 1), b"b");
    }

    #[test]
    fn lines_and_bytes_exclude_each_other() {
        assert_eq!(Tail::of(true, None, None).unwrap(), Tail::Lines(10));
        assert_eq!(Tail::of(false, Some(3), None).unwrap(), Tail::Lines(3));
        assert_eq!(Tail::of(true, None, Some(64)).unwrap(), Tail::Bytes(64));
        assert!(Tail::of(true, Some(1), Some(1)).is_err());
    }
}
