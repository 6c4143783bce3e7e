//! Colour, where the terminal and the user want it.

use std::io::IsTerminal;

/// Whether text is marked up with colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text as it is.
    Plain,
    /// With escape sequences of a terminal.
    Coloured,
}

impl Style {
    /// Colour if the user asks for it, or does not object and standard output is a terminal.
    pub(crate) fn choose(no_color: bool, force_color: bool) -> Self {
        let wanted = if no_color { false } else { force_color || std::io::stdout().is_terminal() };
        if wanted { Self::Coloured } else { Self::Plain }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
}
