use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use orch_host::logs::{self, Stream};

use crate::spec::LogSpec;

/// The file that one stream of a task is being written to.
///
/// Written at an offset that is tracked here, never in append mode, which splice does not take. The offset begins at the size that
/// the file has, so what an earlier supervisor wrote is continued without a gap.
#[derive(Debug)]
pub(super) struct LogFile {
    spec: LogSpec,
    stream: Stream,
    index: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    offset: u64,
}

/// Where the next bytes go, and how many fit before the file is full.
pub(super) struct Room<'a> {
    pub(super) file: BorrowedFd<'a>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl LogFile {
    /// Opens nothing yet: the disk is touched by the first [`Self::room`].
    pub(super) fn new(spec: LogSpec, stream: Stream) -> Self {
        Self { spec, stream, index: 0, open: None }
    }

    /// Opens or rotates as needed, and says where the next bytes go.
    pub(super) fn room(&mut self) -> io::Result<Room<'_>> {
        let limit = self.spec.max_file_bytes.max(1);
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let newest = logs::indexes(&self.spec.dir, &self.spec.task, self.stream)?.last().copied();
                self.index = newest.unwrap_or(0);
                self.open_index()?
            }
        };
        let open = if open.offset < limit {
            open
        } else {
            self.index += 1;
            let next = self.open_index()?;
            // A file that cannot be removed costs space, not output.
            let _kept = logs::prune(&self.spec.dir, &self.spec.task, self.stream, self.spec.max_files);
            next
        };
        let Open { file, offset } = &*self.open.insert(open);
        Ok(Room { file: file.as_fd(), offset: *offset, bytes: limit.saturating_sub(*offset).max(1) })
    }

    /// Whether the next bytes would open a file.
    pub(super) fn needs_file(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.offset >= self.spec.max_file_bytes.max(1))
    }

    /// Notes that `bytes` were written.
    pub(super) fn advance(&mut self, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.offset += bytes;
        }
    }

    fn open_index(&self) -> io::Result<Open> {
        let path = logs::path(&self.spec.dir, &self.spec.task, self.stream, self.index);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY);
        let file = options.open(path)?;
        let offset = file.metadata()?.len();
        Ok(Open { file, offset })
    }
}
