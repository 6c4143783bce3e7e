//! Logins by host, in the format of netrc.

use serde::{Deserialize, Serialize};

/// A user and a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The login for `host` in the text of a netrc file: the first entry of that name, or the `default`.
pub(crate) fn find(text: &str, host: &str) -> Option<Login> {
    let mut words = without_macros(text);
    let mut wanted = false;
    let (mut user, mut password) = (None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if wanted {
                    break;
                }
                wanted = word == "default" || words.next() == Some(host);
            }
            "login" => keep(&mut user, words.next(), wanted),
            "password" => keep(&mut password, words.next(), wanted),
            "account" => drop(words.next()),
            _ => {}
        }
    }
    wanted.then(|| Login { user: user.unwrap_or_default(), password: password.unwrap_or_default() })
}

fn keep(slot: &mut Option<String>, value: Option<&str>, wanted: bool) {
    if wanted {
        *slot = value.map(str::to_owned);
    }
}

/// The words of all lines but those of macros, which last until an empty line.
fn without_macros(text: &str) -> impl Iterator<Item = &str> {
    let mut in_macro = false;
    let lines = text.lines().filter(move |line| {
        in_macro = line.trim_start().starts_with("macdef") || (in_macro && !line.trim().is_empty());
        !in_macro && !line.trim_start().starts_with('#')
    });
    lines.flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_the_host_counts_and_else_the_default() {
        let text = "# mine\nmachine a.example login ann password one\nmacdef init\nmachine a.b password x\n\n\
                    machine b.example\n login bob\n account z password two\ndefault login any password three\n";
        let login = |user: &str, password: &str| Some(Login { user: user.into(), password: password.into() });
        assert_eq!(find(text, "a.example"), login("ann", "one"));
        assert_eq!(find(text, "b.example"), login("bob", "two"));
        assert_eq!(find(text, "c.example"), login("any", "three"));
        assert_eq!(find("machine a login b", "c"), None);
    }
}
