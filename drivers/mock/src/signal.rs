use orch_driver::Error;

/// The signal that ends a task at once, whatever its `config` says.
pub(crate) const KILL: i32 = 9;
/// The signal that a stop sends where none is named.
pub(crate) const INTERRUPT: i32 = 2;

/// The signals that programs are sent, with Linux's numbers.
const NAMES: [(&str, i32); 14] = [
    ("HUP", 1),
    ("INT", INTERRUPT),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", KILL),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("WINCH", 28),
];

/// The number of a signal named `SIGTERM`, `term` or `15`.
pub(crate) fn number(name: &str) -> Result<i32, Error> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(known, _)| *known == short).map(|(_, number)| *number);
    named.or_else(|| name.parse().ok().filter(|number| (1..=64).contains(number))).ok_or_else(|| Error::Failed {
        message: format!("there is no signal {name:?}: write a name such as SIGTERM"),
        source: None,
    })
}
