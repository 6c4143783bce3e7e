//! Streams of frames: JSON objects one after the other, without anything between them.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{Connection, Error};
use crate::fs::StreamFrame;

/// Frames of a file or log, as they come.
#[derive(Debug)]
pub struct Frames {
    path: String,
    body: Option<Body>,
    unread: BytesMut,
}

#[derive(Debug)]
struct Body {
    connection: Connection,
    incoming: Incoming,
}

impl Frames {
    pub(super) fn new(path: &str, connection: Connection, incoming: Incoming) -> Self {
        Self { path: path.to_owned(), body: Some(Body { connection, incoming }), unread: BytesMut::new() }
    }

    pub(super) fn ended(path: &str) -> Self {
        Self { path: path.to_owned(), body: None, unread: BytesMut::new() }
    }

    /// The next frame, signs of life among them; `None` when the stream has ended.
    ///
    /// Nothing is lost if the returned future is dropped.
    pub async fn next(&mut self) -> Result<Option<StreamFrame>, Error> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            match body.incoming.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.unread.extend_from_slice(data);
                    }
                }
                Some(Err(source)) => return Err(Error::Broken { address: body.connection.address().clone(), source }),
                None => self.body = None,
            }
        }
    }

    /// The first frame of what was received, if it is complete.
    fn take_frame(&mut self) -> Result<Option<StreamFrame>, Error> {
        let mut frames = serde_json::Deserializer::from_slice(&self.unread).into_iter::<StreamFrame>();
        match frames.next() {
            None => Ok(None),
            Some(Ok(frame)) => {
                let read = frames.byte_offset();
                self.unread.advance(read);
                Ok(Some(frame))
            }
            Some(Err(error)) if error.is_eof() && self.body.is_some() => Ok(None),
            Some(Err(source)) => Err(Error::Decode { path: self.path.clone(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_without_anything_between() {
        let mut frames = Frames::ended("x");
        frames.unread.extend_from_slice(br#"{"Offset":6,"Data":"aGVsbG8K","File":"a"}{}{"FileEvent":"file deleted"}"#);
        let first = frames.take_frame().unwrap().unwrap();
        assert_eq!((first.offset, &first.data.0[..], first.file.as_str()), (6, &b"hello\n"[..], "a"));
        assert!(frames.take_frame().unwrap().unwrap().is_heartbeat());
        assert_eq!(frames.take_frame().unwrap().unwrap().file_event, StreamFrame::DELETED);
        assert_eq!(frames.take_frame().unwrap(), None);
        frames.unread.extend_from_slice(b"{\"Offset\":");
        assert!(matches!(frames.take_frame(), Err(Error::Decode { .. })), "a stream must not end inside a frame");
    }
}
