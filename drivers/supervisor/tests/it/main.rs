//! The supervisor as a process of its own, seen from the agent's half.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "this program becomes the supervisor before its test threads exist")]

mod container;
mod harness;
mod lifecycle;
mod loss;
mod needs_root;
mod output;

/// Runs before `main`, while there is one thread: started as a supervisor or as the agent of a container, this program is that and nothing
/// else.
#[expect(clippy::disallowed_methods, reason = "there is no main to return to yet")]
extern "C" fn become_what_is_asked() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        [harness::SUPERVISOR, ..] => std::process::exit(supervise(args.into_iter().skip(1))),
        [container::INIT, directory] => std::process::exit(container::contain(directory.into())),
        [container::BORN, fd, container::AGENT, directory] => container::agent(fd.parse().ok(), directory.as_ref()),
        [container::AGENT, directory] => container::agent(None, directory.as_ref()),
        _ => {}
    }
}

fn supervise(args: impl Iterator<Item = std::ffi::OsString>) -> i32 {
    let result = orch_supervisor::SupervisorArgs::parse(args).map_err(|error| error.to_string());
    match result.and_then(|args| orch_supervisor::run_supervisor(args).map_err(|error| error.to_string())) {
        Ok(_) => 0,
        Err(error) => {
            let _told = std::io::Write::write_all(&mut std::io::stderr(), error.as_bytes());
            1
        }
    }
}

// SAFETY: the loader calls each pointer in this section with arguments that a function without parameters ignores.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = become_what_is_asked;
