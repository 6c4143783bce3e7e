//! Files of an allocation and the frames in which they are followed.

use crate::json::{Blob, Time, shape, sparse};

shape! {
    /// A file or directory of an allocation.
    pub struct FileInfo {
        /// Its name within its directory.
        pub name: String,
        /// Whether it is a directory.
        pub is_dir: bool,
        /// Bytes.
        pub size: i64,
        /// As `ls -l` prints it, such as `-rw-r--r--`.
        pub file_mode: String,
        /// When it last changed.
        pub mod_time: Time,
        /// A media type guessed from its first bytes; empty for directories.
        pub content_type: String,
    }
}

sparse! {
    /// A piece of a file that is being followed; one without any field is a sign of life.
    pub struct StreamFrame {
        /// The position in the file after this piece.
        pub offset: i64,
        /// The bytes.
        pub data: Blob,
        /// The path, from the allocation's directory.
        pub file: String,
        /// What happened to the file: [`StreamFrame::DELETED`] or [`StreamFrame::TRUNCATED`].
        pub file_event: String,
    }
}

impl StreamFrame {
    /// The file is gone.
    pub const DELETED: &'static str = "file deleted";
    /// The file is shorter than before; reading starts over.
    pub const TRUNCATED: &'static str = "file truncated";

    /// Whether it only says that the stream is alive.
    pub fn is_heartbeat(&self) -> bool {
        self.data.0.is_empty() && self.file.is_empty() && self.file_event.is_empty()
    }
}
