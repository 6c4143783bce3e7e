//! A text that changes: drawn over itself on a terminal, printed again elsewhere.

use std::io::IsTerminal as _;

use crate::terminal;

/// Where a text that changes is shown.
#[derive(Debug)]
pub(super) enum Screen {
    /// A terminal, on which so many lines of the text stand above the cursor.
    Live { lines: usize },
    /// Anything else, and the text that was printed last.
    Plain { last: String },
}

impl Screen {
    /// What standard output is.
    pub(super) fn of_stdout() -> Self {
        let can_move = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if can_move && std::io::stdout().is_terminal() {
            Self::Live { lines: 0 }
        } else {
            Self::Plain { last: String::new() }
        }
    }

    /// Shows `text`, whose lines are all ended, as it is at `time`.
    pub(super) fn show(&mut self, time: &str, text: &str) {
        if let Some(output) = self.render(time, text) {
            terminal::out(output);
        }
    }

    /// What is to be written; `None` if that is nothing.
    fn render(&mut self, time: &str, text: &str) -> Option<String> {
        match self {
            Self::Live { lines } => {
                let text = indented(time, text);
                // Up to where the text began, clearing all below. Long lines are cut, as wrapped ones would count double.
                let up = if *lines == 0 { String::new() } else { format!("\u{1b}[{lines}A\r\u{1b}[J") };
                *lines = text.lines().count();
                Some(format!("{up}\u{1b}[?7l{text}\u{1b}[?7h"))
            }
            Self::Plain { last } if last == text => None,
            Self::Plain { last } => {
                text.clone_into(last);
                Some(indented(time, text))
            }
        }
    }
}

fn indented(time: &str, text: &str) -> String {
    let mut shown = format!("    {time}\n");
    for line in text.lines() {
        shown.push_str(format!("    {line}").trim_end());
        shown.push('\n');
    }
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_printed_when_it_changed_and_not_because_time_passed() {
        let mut screen = Screen::Plain { last: String::new() };
        assert_eq!(screen.render("12:00", "a\n\nb\n").as_deref(), Some("    12:00\n    a\n\n    b\n\n"));
        assert_eq!(screen.render("12:01", "a\n\nb\n"), None);
        assert_eq!(screen.render("12:02", "c\n").as_deref(), Some("    12:02\n    c\n\n"));
    }

    #[test]
    fn on_a_terminal_a_text_is_drawn_over_the_one_before() {
        let mut screen = Screen::Live { lines: 0 };
        let first = screen.render("12:00", "a\nb\n").unwrap();
        assert_eq!(first, "\u{1b}[?7l    12:00\n    a\n    b\n\n\u{1b}[?7h");
        let second = screen.render("12:01", "a\n").unwrap();
        assert_eq!(second, "\u{1b}[4A\r\u{1b}[J\u{1b}[?7l    12:01\n    a\n\n\u{1b}[?7h");
    }
}
