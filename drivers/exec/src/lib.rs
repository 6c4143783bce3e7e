//! The driver `exec`: programs of the host in a sandbox of their own.
//!
//! What the sandbox is made of is computed first, as data that tests read; the supervisor's child carries it out.
