//! Whole fetches: real child processes, a double of an http server, real git, a double of S3.

#![allow(clippy::unwrap_used, reason = "tests")]

mod server;
mod world;

mod archives;
mod failures;
mod git;
mod http;
mod isolation;
mod s3;
mod tls;

mod needs_root {
    mod ownership;
}
