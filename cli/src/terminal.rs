//! Writing to the user.

use std::io::{self, ErrorKind, Write};

/// Writes to standard output; whoever closed it wants no more, so the process ends then.
pub(crate) fn out(text: impl AsRef<[u8]>) {
    end_if_closed(write(io::stdout().lock(), text.as_ref()));
}

/// Writes a line to standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    out(format!("{}\n", text.as_ref()));
}

/// Writes a line to standard error.
pub(crate) fn err(text: impl AsRef<str>) {
    end_if_closed(write(io::stderr().lock(), format!("{}\n", text.as_ref()).as_bytes()));
}

/// Writes bytes to standard error as they are.
pub(crate) fn err_bytes(bytes: &[u8]) {
    end_if_closed(write(io::stderr().lock(), bytes));
}

/// An error and its causes in one line; a cause that the text before it holds already is not said again.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Writes to standard output as far as that is possible: an agent outlives its terminal.
pub(crate) fn say(text: impl AsRef<str>) {
    // Whoever would read it has gone.
    drop(write(io::stdout().lock(), text.as_ref().as_bytes()));
}

#[expect(clippy::disallowed_methods, reason = "a command whose output nobody reads has nothing left to do or to undo")]
fn end_if_closed(result: io::Result<()>) {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        // There is nobody left to tell: a full disk behind a redirect shows in the exit code.
        Err(_) => std::process::exit(1),
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_agent_is_named_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let config = orch_api::Config { address: address.to_string().parse().unwrap(), ..orch_api::Config::default() };
        let error = orch_api::Client::new(config).leader().await.unwrap_err();
        assert_eq!(
            describe(&error.into()),
            format!(
                "cannot reach an agent at http://{address}: Connection refused (os error 111) (is it running? set ORCH_ADDR \
                 or -address)"
            )
        );
    }
}
