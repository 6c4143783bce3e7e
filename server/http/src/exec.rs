//! One command inside a task and the websocket of whoever started it.

use std::sync::Arc;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use orch_api::exec::{ExecHandshake, ExecInput, ExecOutput, ExecPiece, ExecResult, PIECE_BYTES};
use orch_model::AllocId;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tracing::debug;

use crate::error::{Error, Kind};
use crate::limits;
use crate::local::{ExecControl, ExecRequest, ExecSession, LocalNode, TerminalSize};
use crate::upgrade::Socket;

/// Messages that wait to be sent; when full, the command waits to write.
const QUEUE: usize = 8;
/// The longest reason that the close of a websocket can carry, in bytes.
const REASON_BYTES: usize = 123;

/// A command to start once its caller's websocket is there.
pub(crate) struct Start {
    pub(crate) local: Arc<dyn LocalNode>,
    pub(crate) alloc: AllocId,
    pub(crate) request: ExecRequest,
    /// Whether the caller says who it is before anything else.
    pub(crate) handshake: bool,
}

/// Why a session ended.
enum End {
    /// The command has ended, and the caller was told.
    Exited,
    /// Nobody listens any more.
    Left,
    /// It could not start or go on.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Sink = SplitSink<Socket, Message>;
type Source = SplitStream<Socket>;

/// Runs a command for the caller at the other end of `socket`, until either ends.
pub(crate) async fn serve(socket: Socket, start: Start) {
    let (mut sink, mut source) = socket.split();
    let close = match session(&mut sink, &mut source, start).await {
        End::Left => return,
        End::Exited => CloseFrame { code: CloseCode::Normal, reason: "".into() },
        End::Failed(error) => {
            debug!(%error, "a command inside a task failed");
            close_frame(&error)
        }
    };
    // What was sent last would be lost if the connection ended before it was read.
    let closing = async {
        if sink.send(Message::Close(Some(close))).await.is_ok() {
            while let Some(Ok(_)) = source.next().await {}
        }
    };
    drop(timeout(limits::CLOSE_WITHIN, closing).await);
}

/// What a websocket says when it is closed for an error.
fn close_frame(error: &Error) -> CloseFrame {
    let code = if error.status().as_u16() == 500 { CloseCode::Error } else { CloseCode::Policy };
    let message = error.to_string();
    let mut end = message.len().min(REASON_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code, reason: message.get(..end).unwrap_or_default().into() }
}

async fn session(sink: &mut Sink, source: &mut Source, start: Start) -> End {
    if start.handshake
        && let Err(end) = shake_hands(source).await
    {
        return end;
    }
    let started = timeout(limits::START_WITHIN, start.local.exec(start.alloc, start.request)).await;
    let ExecSession { stdin, stdout, stderr, control } = match started {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return End::Failed(error),
        Err(_late) => return End::Failed(Error::new(Kind::Unavailable, "the command did not start in time")),
    };
    let (messages, queue) = mpsc::channel(QUEUE);
    let (sizes, wanted) = watch::channel(None);
    let (exited, has_exited) = watch::channel(false);
    let out = pump(stdout, messages.clone(), has_exited.clone(), |piece| ExecOutput {
        stdout: Some(piece),
        ..ExecOutput::default()
    });
    let err = pump(stderr, messages, has_exited, |piece| ExecOutput { stderr: Some(piece), ..ExecOutput::default() });
    let commanding = async {
        let code = command(control, wanted).await;
        exited.send_replace(true);
        code
    };
    let working = async {
        let ended = async { Ok(tokio::join!(commanding, out, err).0) };
        let (code, ()) = tokio::try_join!(ended, send_all(&mut *sink, queue))?;
        let result = Some(ExecResult { exit_code: code? });
        send(sink, &ExecOutput { exited: true, result, ..ExecOutput::default() }).await
    };
    tokio::select! {
        worked = working => match worked {
            Ok(()) => End::Exited,
            Err(end) => end,
        },
        end = receive(source, stdin, sizes) => end,
    }
}

/// Waits for the caller to say who it is.
async fn shake_hands(source: &mut Source) -> Result<(), End> {
    let first = async {
        loop {
            if let Some(text) = text(source).await? {
                return Ok::<_, End>(text);
            }
        }
    };
    let first = timeout(limits::PEER_SILENCE, first).await.map_err(|_| End::Left)??;
    let hello: ExecHandshake = serde_json::from_str(&first)
        .map_err(|error| Error::invalid(format!("the handshake cannot be understood: {error}")))?;
    if hello.version != ExecHandshake::VERSION {
        return Err(Error::invalid(format!("the handshake's version must be {}", ExecHandshake::VERSION)).into());
    }
    Ok(())
}

/// The next text of the caller; `None` for what is only a sign of life.
async fn text(source: &mut Source) -> Result<Option<Utf8Bytes>, End> {
    match source.next().await {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Binary(_))) => Err(Error::invalid("messages must be texts").into()),
        Some(Err(tungstenite::Error::Capacity(error))) => {
            Err(Error::invalid(format!("a message cannot be taken: {error}")).into())
        }
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Left),
    }
}

/// Gives the caller's input to the command, until the caller goes.
async fn receive(
    source: &mut Source,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    sizes: watch::Sender<Option<TerminalSize>>,
) -> End {
    let mut stdin = Some(stdin);
    loop {
        let message = match timeout(limits::PEER_SILENCE, text(source)).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => continue,
            Ok(Err(end)) => return end,
            Err(_silent) => return End::Left,
        };
        let input: ExecInput = match serde_json::from_str(&message) {
            Ok(input) => input,
            Err(error) => return Error::invalid(format!("a message cannot be understood: {error}")).into(),
        };
        if let Some(size) = input.tty_size {
            let within = |size: i64| u16::try_from(size.max(1)).unwrap_or(u16::MAX);
            sizes.send_replace(Some(TerminalSize { rows: within(size.height), columns: within(size.width) }));
        }
        let Some(piece) = input.stdin else { continue };
        if let Some(open) = &mut stdin {
            // A command that reads no more may still have something to say.
            let written = async {
                open.write_all(&piece.data.0).await?;
                open.flush().await
            };
            if written.await.is_err() {
                stdin = None;
            }
        }
        if piece.close
            && let Some(mut open) = stdin.take()
        {
            // Dropping it says the same.
            drop(open.shutdown().await);
        }
    }
}

/// Sets the terminal's size whenever it changes, until the command has ended; its exit code.
async fn command(
    mut control: Box<dyn ExecControl>,
    mut wanted: watch::Receiver<Option<TerminalSize>>,
) -> Result<i32, End> {
    loop {
        tokio::select! {
            code = control.wait() => return code.map_err(End::from),
            changed = wanted.changed() => {
                if changed.is_err() {
                    return control.wait().await.map_err(End::from);
                }
                let size = *wanted.borrow_and_update();
                if let Some(size) = size && let Err(error) = control.resize(size).await {
                    debug!(%error, "a terminal could not be given another size");
                }
            }
        }
    }
}

/// Reads one of the command's outputs to its end, and says that it has ended.
async fn pump(
    mut from: Box<dyn AsyncRead + Send + Unpin>,
    to: mpsc::Sender<ExecOutput>,
    mut exited: watch::Receiver<bool>,
    wrap: impl Fn(ExecPiece) -> ExecOutput,
) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read,
            () = lingered(&mut exited) => break,
        };
        // A terminal whose last user has gone ends with an error.
        let piece = match read.map(|length| buffer.get(..length)) {
            Ok(Some(piece)) if !piece.is_empty() => piece.to_vec(),
            Ok(_) | Err(_) => break,
        };
        if to.send(wrap(ExecPiece::data(piece))).await.is_err() {
            return;
        }
    }
    // Whoever is not there needs not know.
    drop(to.send(wrap(ExecPiece::end())).await);
}

/// Returns a moment after the command has ended: what it left behind may hold its outputs open for ever.
async fn lingered(exited: &mut watch::Receiver<bool>) {
    let has_exited = exited.wait_for(|exited| *exited).await.is_ok();
    if has_exited { sleep(limits::LINGER).await } else { std::future::pending().await }
}

/// Sends what comes by `queue` until it ends, and a sign of life every ten seconds.
async fn send_all(sink: &mut Sink, mut queue: mpsc::Receiver<ExecOutput>) -> Result<(), End> {
    let mut beat = interval_at(tokio::time::Instant::now() + limits::EXEC_HEARTBEAT, limits::EXEC_HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(message) => send(sink, &message).await?,
                None => return Ok(()),
            },
            _ = beat.tick() => sink.send(Message::Ping(bytes::Bytes::new())).await.map_err(|_| End::Left)?,
        }
    }
}

async fn send(sink: &mut Sink, output: &ExecOutput) -> Result<(), End> {
    let text = serde_json::to_string(output).map_err(|error| Error::internal(error.to_string()))?;
    sink.send(Message::text(text)).await.map_err(|_| End::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_says_whose_fault_it_is_and_as_much_of_why_as_fits() {
        let long = format!("{}ä", "a".repeat(122));
        let close = close_frame(&Error::invalid(long));
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "a".repeat(122).as_str()));
        let close = close_frame(&Error::internal("no more memory"));
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1011, "no more memory"));
    }
}
