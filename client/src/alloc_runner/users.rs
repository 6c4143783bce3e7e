//! Users that tasks may not run as.

use nix::unistd::{Uid, User};

/// Whether `user`, a name or a number with or without a group, is one of `denied`, by whatever name it is given.
///
/// Reads the host's list of users, so it may block.
pub(super) fn is_denied<'a>(user: &str, denied: impl IntoIterator<Item = &'a str>) -> bool {
    let user = user.split_once(':').map_or(user, |(user, _group)| user);
    let uid = uid_of(user);
    denied.into_iter().any(|other| other == user || uid.is_some() && uid_of(other) == uid)
}

/// The number of a user; `None` if the host does not know the name.
fn uid_of(user: &str) -> Option<Uid> {
    match user.parse::<u32>() {
        Ok(number) => Some(Uid::from_raw(number)),
        Err(_) => User::from_name(user).ok().flatten().map(|user| user.uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_user_is_denied_by_each_of_its_names() {
        for (user, expected) in [
            ("root", true),
            ("0", true),
            ("root:root", true),
            ("0:0", true),
            ("Administrator", true),
            ("nobody", false),
            ("nobody:root", false),
            ("65534", false),
            ("unknown-user", false),
        ] {
            assert_eq!(is_denied(user, crate::Config::USER_DENYLIST), expected, "{user}");
        }
        assert!(!is_denied("root", ["nobody"]));
    }
}
