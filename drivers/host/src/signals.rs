//! Signals by name and number.

/// The signals that have names of their own, in the order of their numbers.
const NAMED: [(&str, i32); 31] = [
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGSTKFLT", libc::SIGSTKFLT),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// Second names, accepted but not shown.
const ALIASES: [(&str, i32); 3] = [("SIGIOT", libc::SIGABRT), ("SIGPOLL", libc::SIGIO), ("SIGCLD", libc::SIGCHLD)];

/// The number of a signal named `SIGTERM`, `TERM`, `sigterm`, `SIGRTMIN+3` or `15`; `None` if there is none.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if let Some((_, number)) = NAMED.iter().chain(&ALIASES).find(|(known, _)| *known == full) {
        return Some(*number);
    }
    let number = if let Some(rest) = full.strip_prefix("SIGRTMIN") {
        libc::SIGRTMIN() + offset(rest, '+')?
    } else {
        libc::SIGRTMAX() - offset(full.strip_prefix("SIGRTMAX")?, '-')?
    };
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    if rest.is_empty() {
        Some(0)
    } else {
        rest.strip_prefix(sign)?.parse().ok().filter(|offset| (0..64).contains(offset))
    }
}

/// The name of signal `number`, or `None` if there is no such signal.
pub fn name(number: i32) -> Option<String> {
    if let Some((name, _)) = NAMED.iter().find(|(_, known)| *known == number) {
        return Some((*name).to_owned());
    }
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    match number {
        _ if number == first => Some("SIGRTMIN".to_owned()),
        _ if number == last => Some("SIGRTMAX".to_owned()),
        _ if first < number && number < last => Some(format!("SIGRTMIN+{}", number - first)),
        _ => None,
    }
}

/// The names that a node advertises as `os.signals`, sorted.
pub fn advertised() -> Vec<&'static str> {
    let mut names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_name_that_leads_back_to_it() {
        for signal in (1..32).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
            assert_eq!(number(&name(signal).unwrap()), Some(signal));
        }
        assert_eq!(name(0), None);
        assert_eq!(name(libc::SIGRTMAX() + 1), None);
    }

    #[test]
    fn names_are_taken_in_the_spellings_people_use() {
        for spelling in ["SIGTERM", "term", "Term", "15"] {
            assert_eq!(number(spelling), Some(libc::SIGTERM), "{spelling}");
        }
        assert_eq!(number("SIGRTMAX-1"), Some(libc::SIGRTMAX() - 1));
        for wrong in ["", "SIG", "SIGNONE", "0", "-9", "99", "SIGRTMIN+99", "SIGRTMIN3", "SIGRTMAX+1"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
