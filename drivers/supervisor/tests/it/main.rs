//! The supervisor as a process of its own, seen from the agent's half.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "this program becomes the supervisor before its test threads exist")]

mod harness;
mod lifecycle;
mod loss;
mod needs_root;
mod output;

/// Runs before `main`, while there is one thread: started as a supervisor, this program is one and nothing else.
#[expect(clippy::disallowed_methods, reason = "there is no main to return to yet")]
extern "C" fn become_supervisor_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|arg| arg != harness::SUPERVISOR) {
        return;
    }
    let result = orch_supervisor::SupervisorArgs::parse(args).map_err(|error| error.to_string());
    let code = match result.and_then(|args| orch_supervisor::run_supervisor(args).map_err(|error| error.to_string())) {
        Ok(_) => 0,
        Err(error) => {
            let _told = std::io::Write::write_all(&mut std::io::stderr(), error.as_bytes());
            1
        }
    };
    std::process::exit(code);
}

// SAFETY: the loader calls each pointer in this section with arguments that a function without parameters ignores.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = become_supervisor_if_asked;
