//! Bodies: bounded reading of requests, rendering of answers.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

use crate::Body;
use crate::error::Error;
use crate::lenient;
use crate::limits;

/// Reads a body as the first JSON value in it; `None` if it is empty.
///
/// Field names match whatever their case is, as long as no other field matches exactly. An error names the field.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<Option<T>, Error> {
    let bytes = Limited::new(body, limits::BODY_BYTES).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Error::invalid(format!("the request's body is longer than {} bytes", limits::BODY_BYTES))
        } else {
            Error::invalid(format!("cannot read the request's body: {error}"))
        }
    })?;
    let bytes = bytes.to_bytes();
    let mut values = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
    match values.next() {
        None => Ok(None),
        Some(Err(error)) => Err(Error::invalid(format!("the request's body is not JSON: {error}"))),
        Some(Ok(value)) => lenient::from_value(value)
            .map(Some)
            .map_err(|error| Error::invalid(format!("cannot read the request's body: {error}"))),
    }
}

/// The JSON of `value`, indented by four blanks and closed by a line end if `pretty`.
pub(crate) fn render<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(256);
    let rendered = if pretty {
        let formatter = PrettyFormatter::with_indent(b"    ");
        let rendered = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter));
        out.push(b'\n');
        rendered
    } else {
        serde_json::to_writer(&mut out, value)
    };
    rendered.map_err(|error| Error::internal(format!("cannot render the answer: {error}")))?;
    Ok(out)
}
