//! Tries from inside of a task what a task must not do, for the integration tests of this crate.
#![allow(unsafe_code, reason = "it makes system calls as they come")]

use std::io;
use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "what it tells is read from its output")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<i32>().unwrap_or(-1);
    // SAFETY: each call takes numbers, and texts that end in a zero; nothing is done with what they return.
    let result = unsafe {
        match words.as_slice() {
            ["mount"] => libc::mount(c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()),
            ["unmount"] => libc::umount2(c"/etc".as_ptr(), libc::MNT_DETACH),
            ["raw-socket"] => libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
            ["packet-socket"] => libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
            ["user-namespace"] => libc::unshare(libc::CLONE_NEWUSER),
            ["trace", pid] => libc::ptrace(libc::PTRACE_ATTACH, number(pid), 0, 0).try_into().unwrap_or(-1),
            ["kill", pid] => libc::kill(number(pid), 0),
            ["disk"] => libc::mknod(c"/tmp/disk".as_ptr(), libc::S_IFBLK | 0o666, libc::makedev(8, 0))
                .max(libc::open(c"/tmp/disk".as_ptr(), libc::O_RDONLY)),
            ["device"] => libc::mknod(c"/dev/disk".as_ptr(), libc::S_IFBLK | 0o666, libc::makedev(8, 0)),
            ["memory", mebibytes] => eat(number(mebibytes)),
            ["forks", count] => forks(number(count)),
            ["abstract-socket", name] => i32::from(connect(name)) - 1,
            _ => return ExitCode::FAILURE,
        }
    };
    match (result, io::Error::last_os_error()) {
        (-1, error) => println!("refused: {:?}", error.raw_os_error().and_then(errno_name).unwrap_or("other")),
        (value, _) => println!("allowed: {value}"),
    }
    ExitCode::SUCCESS
}

fn errno_name(errno: i32) -> Option<&'static str> {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::EACCES, "EACCES"),
        (libc::ESRCH, "ESRCH"),
        (libc::EROFS, "EROFS"),
        (libc::EAGAIN, "EAGAIN"),
    ];
    names.into_iter().find(|(known, _)| *known == errno).map(|(_, name)| name)
}

/// Takes and touches so many mebibytes.
fn eat(mebibytes: i32) -> i32 {
    let mut eaten = Vec::new();
    for _ in 0..mebibytes {
        eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
    i32::try_from(eaten.len()).unwrap_or(i32::MAX)
}

/// How many children could be had at once.
fn forks(most: i32) -> i32 {
    let mut count = 0;
    for _ in 0..most {
        // SAFETY: the child only waits; it ends with this process, whose namespace it is in.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            },
            -1 => break,
            _ => count += 1,
        }
    }
    count
}

/// Whether the abstract socket `name` can be connected to.
fn connect(name: &str) -> bool {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
    address.and_then(|address| std::os::unix::net::UnixStream::connect_addr(&address)).is_ok()
}
