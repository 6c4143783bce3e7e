//! Allocations, their files and logs.

use bytes::Bytes;
use http::Method;

use super::jobs::bool_text;
use super::{Client, Error, Frames, NO_BODY, QueryMeta, QueryOptions, path};
use crate::allocation::{
    ActionResponse, AllocListStub, AllocRestartRequest, AllocSignalRequest, AllocStopResponse, Allocation,
};
use crate::fs::FileInfo;
use crate::stats::AllocResourceUsage;

impl Client {
    /// The allocations.
    pub async fn allocations(&self, options: &QueryOptions) -> Result<(Vec<AllocListStub>, QueryMeta), Error> {
        self.get("/v1/allocations", options).await
    }

    /// An allocation; the id must be complete.
    pub async fn allocation(&self, id: &str, options: &QueryOptions) -> Result<(Allocation, QueryMeta), Error> {
        self.get(&path(["allocation", id]), options).await
    }

    /// Stops an allocation so that it is replaced.
    pub async fn stop_allocation(&self, id: &str, no_shutdown_delay: bool) -> Result<AllocStopResponse, Error> {
        let params = [("no_shutdown_delay", bool_text(no_shutdown_delay))];
        self.write(Method::PUT, &path(["allocation", id, "stop"]), &params, NO_BODY).await
    }

    /// Stops an allocation so that it is replaced elsewhere, as if it had failed.
    pub async fn reschedule_allocation(&self, id: &str, no_shutdown_delay: bool) -> Result<AllocStopResponse, Error> {
        let params = [("no_shutdown_delay", bool_text(no_shutdown_delay)), ("reschedule", "true")];
        self.write(Method::PUT, &path(["allocation", id, "stop"]), &params, NO_BODY).await
    }

    /// Starts tasks of an allocation again.
    pub async fn restart_allocation(&self, id: &str, request: &AllocRestartRequest) -> Result<ActionResponse, Error> {
        self.write(Method::PUT, &path(["client", "allocation", id, "restart"]), &[], Some(request)).await
    }

    /// Sends a signal to tasks of an allocation.
    pub async fn signal_allocation(&self, id: &str, request: &AllocSignalRequest) -> Result<ActionResponse, Error> {
        self.write(Method::PUT, &path(["client", "allocation", id, "signal"]), &[], Some(request)).await
    }

    /// What an allocation uses; of one task only, if `task` is not empty.
    pub async fn allocation_stats(&self, id: &str, task: &str) -> Result<AllocResourceUsage, Error> {
        let params = if task.is_empty() { vec![] } else { vec![("task", task)] };
        let path = path(["client", "allocation", id, "stats"]);
        self.get_with(&path, &QueryOptions::default(), &params).await.map(|(usage, _)| usage)
    }

    /// Removes the directory of an allocation that has ended.
    pub async fn gc_allocation(&self, id: &str) -> Result<(), Error> {
        self.get_bytes(&path(["client", "allocation", id, "gc"]), &QueryOptions::default(), &[]).await.map(drop)
    }

    /// What is in a directory of an allocation.
    pub async fn list_files(&self, alloc: &str, file: &str) -> Result<Vec<FileInfo>, Error> {
        let path = path(["client", "fs", "ls", alloc]);
        self.get_with(&path, &QueryOptions::default(), &[("path", file)]).await.map(|(files, _)| files)
    }

    /// One file or directory of an allocation.
    pub async fn stat_file(&self, alloc: &str, file: &str) -> Result<FileInfo, Error> {
        let path = path(["client", "fs", "stat", alloc]);
        self.get_with(&path, &QueryOptions::default(), &[("path", file)]).await.map(|(file, _)| file)
    }

    /// A whole file of an allocation.
    pub async fn cat_file(&self, alloc: &str, file: &str) -> Result<Bytes, Error> {
        let path = path(["client", "fs", "cat", alloc]);
        self.get_bytes(&path, &QueryOptions::default(), &[("path", file)]).await.map(|(bytes, _)| bytes)
    }

    /// At most `limit` bytes of a file from `offset` on.
    pub async fn read_file_at(&self, alloc: &str, file: &str, offset: u64, limit: u64) -> Result<Bytes, Error> {
        let path = path(["client", "fs", "readat", alloc]);
        let (offset, limit) = (offset.to_string(), limit.to_string());
        let params = [("path", file), ("offset", &offset), ("limit", &limit)];
        self.get_bytes(&path, &QueryOptions::default(), &params).await.map(|(bytes, _)| bytes)
    }

    /// A file from `offset` on, counted from `origin` (`start` or `end`), and what is added to it if `follow`.
    pub async fn stream_file(
        &self,
        alloc: &str,
        file: &str,
        origin: &str,
        offset: u64,
        follow: bool,
    ) -> Result<Frames, Error> {
        let offset = offset.to_string();
        let params = [("path", file), ("origin", origin), ("offset", &offset), ("follow", bool_text(follow))];
        self.get_frames(&path(["client", "fs", "stream", alloc]), &params).await
    }

    /// A task's output (`kind` is `stdout` or `stderr`) from `offset` on, counted from `origin` (`start` or `end`).
    pub async fn logs(&self, alloc: &str, log: &LogOptions) -> Result<Frames, Error> {
        let offset = log.offset.to_string();
        let params = [
            ("task", log.task.as_str()),
            ("type", log.kind.as_str()),
            ("origin", log.origin.as_str()),
            ("offset", &offset),
            ("follow", bool_text(log.follow)),
        ];
        self.get_frames(&path(["client", "fs", "logs", alloc]), &params).await
    }
}

/// Which log of an allocation, from where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// The task.
    pub task: String,
    /// `stdout` or `stderr`.
    pub kind: String,
    /// `start` or `end`.
    pub origin: String,
    /// Bytes from there.
    pub offset: u64,
    /// Whether to wait for more.
    pub follow: bool,
}
