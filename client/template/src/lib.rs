//! Renders the templates of tasks, in the dialect of Go templates, and says when what they are made of has changed.
//!
//! Nothing here knows of jobs, allocations or agents: data comes from a source that the caller gives.
