//! Commands inside tasks: the messages of their websocket, and the actions that jobs name.

use serde::{Deserialize, Serialize};

use crate::json::{Blob, shape};

/// The protocol that a connection is upgraded to for bytes to and from a port of an allocation.
pub const PORT_FORWARD: &str = "orch-port-forward";

/// The bytes of input or output that go in one message.
pub const PIECE_BYTES: usize = 16 * 1024;

/// The size that no message of either side exceeds, in bytes.
pub const MESSAGE_BYTES: usize = 1024 * 1024;

/// What the caller says first where it asked for a handshake.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecHandshake {
    /// The version of the protocol: [`ExecHandshake::VERSION`].
    pub version: i64,
    /// The caller's secret; empty for none.
    pub auth_token: String,
}

impl ExecHandshake {
    /// The only version there is.
    pub const VERSION: i64 = 1;
}

/// A message to the command; one without any field is a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecInput {
    /// What it is to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<ExecPiece>,
    /// The size of its terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty_size: Option<TtySize>,
}

/// A message from the command; one without any field is a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecOutput {
    /// What it wrote; with a terminal everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<ExecPiece>,
    /// What it wrote as errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<ExecPiece>,
    /// Whether it has ended; nothing follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exited: bool,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ExecResult>,
}

/// A piece of a stream, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecPiece {
    /// The bytes.
    #[serde(skip_serializing_if = "is_empty")]
    pub data: Blob,
    /// Whether nothing follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub close: bool,
}

fn is_empty(data: &Blob) -> bool {
    data.0.is_empty()
}

impl ExecPiece {
    /// These bytes.
    pub fn data(bytes: impl Into<bytes::Bytes>) -> Self {
        Self { data: Blob(bytes.into()), close: false }
    }

    /// The end.
    pub fn end() -> Self {
        Self { data: Blob::default(), close: true }
    }
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TtySize {
    /// Lines.
    pub height: i64,
    /// Characters in a line.
    pub width: i64,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecResult {
    /// As a shell would tell it.
    #[serde(skip_serializing_if = "is_zero")]
    pub exit_code: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(code: &i32) -> bool {
    *code == 0
}

shape! {
    /// An action of a job, and where it is run.
    pub struct JobAction {
        /// Its name.
        pub name: String,
        /// The program.
        pub command: String,
        /// Its arguments.
        pub args: Vec<String>,
        /// The task.
        pub task_name: String,
        /// The task's group.
        pub task_group_name: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_dialect_writes_them() {
        let output = |output: ExecOutput| serde_json::to_string(&output).unwrap();
        let piece = Some(ExecPiece::data(&b"hi\n"[..]));
        assert_eq!(output(ExecOutput { stdout: piece.clone(), ..Default::default() }), r#"{"stdout":{"data":"aGkK"}}"#);
        let end = Some(ExecPiece::end());
        assert_eq!(output(ExecOutput { stderr: end.clone(), ..Default::default() }), r#"{"stderr":{"close":true}}"#);
        for (exit_code, text) in
            [(0, r#"{"exited":true,"result":{}}"#), (3, r#"{"exited":true,"result":{"exit_code":3}}"#)]
        {
            let exited = ExecOutput { exited: true, result: Some(ExecResult { exit_code }), ..Default::default() };
            assert_eq!(output(exited.clone()), text);
            assert_eq!(serde_json::from_str::<ExecOutput>(text).unwrap(), exited);
        }
        for (text, input) in [
            ("{}", ExecInput::default()),
            (r#"{"stdin":{"data":"aGkK"}}"#, ExecInput { stdin: piece, ..Default::default() }),
            (r#"{"stdin":{"close":true}}"#, ExecInput { stdin: end, ..Default::default() }),
            (
                r#"{"tty_size":{"height":24,"width":80}}"#,
                ExecInput { tty_size: Some(TtySize { height: 24, width: 80 }), ..Default::default() },
            ),
        ] {
            assert_eq!(serde_json::from_str::<ExecInput>(text).unwrap(), input);
            assert_eq!(serde_json::to_string(&input).unwrap(), text);
        }
    }
}
