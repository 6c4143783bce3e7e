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

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn end_if_closed(result: io::Result<()>) {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        // There is nobody left to tell: a full disk behind a redirect shows in the exit code.
        Err(_) => std::process::exit(1),
        Ok(()) => {}
    }
}
