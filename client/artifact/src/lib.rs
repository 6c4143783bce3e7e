//! Fetches and unpacks what tasks name as artifacts, in a child process that can write to its destination only.
//!
//! Nothing here knows of jobs, allocations or agents.
