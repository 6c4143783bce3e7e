//! The way out of a session whose command does not end: an escape character and a dot at the beginning of a line.

/// Watches what is typed for the way out.
#[derive(Debug)]
pub(super) struct Escape {
    character: Option<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    Escaped,
    Within,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// What of it goes to the command.
    pub(super) passed: Vec<u8>,
    /// Whether the session is to end.
    pub(super) ends: bool,
}

impl Escape {
    /// With `None` there is no way out.
    pub(super) fn new(character: Option<u8>) -> Self {
        Self { character, place: Place::LineStart }
    }

    /// Takes the next bytes. The character itself is typed twice to be passed on from the beginning of a line.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Typed {
        let Some(character) = self.character else { return Typed { passed: bytes.to_vec(), ends: false } };
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            match self.place {
                Place::LineStart if byte == character => {
                    self.place = Place::Escaped;
                    continue;
                }
                Place::Escaped if byte == b'.' => return Typed { passed, ends: true },
                Place::Escaped if byte != character => passed.push(character),
                Place::LineStart | Place::Escaped | Place::Within => {}
            }
            passed.push(byte);
            self.place = if matches!(byte, b'\r' | b'\n') { Place::LineStart } else { Place::Within };
        }
        Typed { passed, ends: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_escape_and_a_dot_at_the_beginning_of_a_line_end_the_session() {
        for (pieces, passed, ends) in [
            (&["~."] as &[&str], "", true),
            (&["ls\r~", ".x"], "ls\r", true),
            (&["a~.\r"], "a~.\r", false),
            (&["~~.\r"], "~.\r", false),
            (&["~", "a\n", "~/x"], "~a\n~/x", false),
            (&["~\r~."], "~\r", true),
        ] {
            let mut escape = Escape::new(Some(b'~'));
            let mut all = Vec::new();
            let mut ended = false;
            for piece in pieces {
                let typed = escape.take(piece.as_bytes());
                all.extend(typed.passed);
                ended = typed.ends;
            }
            assert_eq!((String::from_utf8(all).unwrap().as_str(), ended), (passed, ends), "{pieces:?}");
        }
        assert_eq!(Escape::new(None).take(b"~."), Typed { passed: b"~.".to_vec(), ends: false });
    }
}
