//! The command line as Go programs take it: `-flag`, `-flag=value`, `-flag value`, and the same with two dashes.
//!
//! Arguments are rewritten for clap, which knows two dashes alone; unknown flags are reported here, with the nearest one
//! that exists.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// A command line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// There is no such command; the nearest one, if there is any.
    UnknownCommand { given: String, within: String, nearest: Option<String> },
    /// A flag is unknown, lacks its value, or has one it does not take.
    Flag { command: String, message: String },
}

/// Rewrites `args`, the program's name not included, for `root`, which must be built.
pub(crate) fn rewrite(root: &Command, args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, Mistake> {
    let mut command = root;
    let mut path = vec![root.get_name().to_owned()];
    let mut rewritten = Vec::new();
    // Words that are neither commands nor flags.
    let mut words = 0;
    let mut args = args.into_iter();
    while let Some(argument) = args.next() {
        let Some(text) = argument.to_str() else {
            rewritten.push(argument);
            continue;
        };
        if text == "--" {
            rewritten.push(argument);
            rewritten.extend(args);
            break;
        }
        if text == "-" || !text.starts_with('-') {
            if let Some(subcommand) = command.find_subcommand(text) {
                command = subcommand;
                path.push(subcommand.get_name().to_owned());
            } else if command.has_subcommands() {
                let names = command.get_subcommands().filter(|known| !known.is_hide_set()).map(Command::get_name);
                let nearest = nearest(text, names).map(str::to_owned);
                return Err(Mistake::UnknownCommand { given: text.to_owned(), within: path.join(" "), nearest });
            } else {
                if command.get_positionals().nth(words).is_some_and(Arg::is_trailing_var_arg_set) {
                    // From here on the words, flags among them, are another program's.
                    rewritten.extend([OsString::from("--"), argument]);
                    rewritten.extend(args);
                    break;
                }
                words += 1;
            }
            rewritten.push(argument);
            continue;
        }
        let mistake = |message: String| Mistake::Flag { command: path.join(" "), message };
        let body = text.trim_start_matches('-');
        let (name, given) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = find(command, name) else {
            let known = command.get_arguments().filter(|known| !known.is_hide_set()).filter_map(Arg::get_long);
            let advice = nearest(name, known).map(|known| format!(", did you mean -{known}?")).unwrap_or_default();
            return Err(mistake(format!("{} has no flag -{name}{advice}", path.join(" "))));
        };
        let spelling = if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") };
        if !takes_value(flag) {
            match given.as_deref() {
                None | Some("true" | "1") => rewritten.push(spelling.into()),
                Some("false" | "0") => {}
                Some(other) => return Err(mistake(format!("-{name} is true or false, not {other:?}"))),
            }
            continue;
        }
        let value = match given {
            Some(value) => OsString::from(value),
            None if is_optional(flag) => {
                rewritten.push(spelling.into());
                continue;
            }
            None => args.next().ok_or_else(|| mistake(format!("-{name} needs a value")))?,
        };
        let mut joined = OsString::from(spelling);
        joined.push("=");
        joined.push(value);
        rewritten.push(joined);
    }
    Ok(rewritten)
}

fn find<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|flag| {
        let long = flag.get_long() == Some(name);
        let alias = flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&name));
        let mut letters = name.chars();
        let short = letters.next().is_some_and(|letter| letters.next().is_none() && flag.get_short() == Some(letter));
        long || alias || short
    })
}

fn takes_value(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Whether the flag may stand alone although it takes a value: a bool that is true by default.
fn is_optional(flag: &Arg) -> bool {
    flag.get_num_args().is_some_and(|range| range.min_values() == 0)
}

/// The known word that a few typing errors turn into `given`, if there is one.
pub(crate) fn nearest<'w>(given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let allowed = (given.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(given, word), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::commands::Cli;

    fn rewritten(line: &str) -> Result<String, Mistake> {
        let mut root = Cli::command();
        root.build();
        let args = rewrite(&root, line.split(' ').map(OsString::from))?;
        let texts: Vec<String> = args.into_iter().map(|argument| argument.into_string().unwrap()).collect();
        Ok(texts.join(" "))
    }

    #[test]
    fn flags_are_taken_with_one_dash_or_two_with_or_without_equals() {
        for (line, expected) in [
            ("job status -address x web", "job status --address=x web"),
            ("job status web --address=x", "job status web --address=x"),
            ("-address=x job status", "--address=x job status"),
            ("job run -detach -var a=b -var=c=d web.hcl", "job run --detach --var=a=b --var=c=d web.hcl"),
            ("job run -detach=false web.hcl", "job run web.hcl"),
            ("job run -detach=true web.hcl", "job run --detach web.hcl"),
            ("alloc logs -f -n 5 -tail abcd", "alloc logs -f -n=5 --tail abcd"),
            ("job run -var -x=1 -", "job run --var=-x=1 -"),
            ("job plan -diff=false web.hcl", "job plan --diff=false web.hcl"),
            ("job plan -diff web.hcl", "job plan --diff web.hcl"),
            ("job status -- -odd", "job status -- -odd"),
            ("alloc exec -i=false abcd -task app ls -l", "alloc exec -i=false abcd --task=app -- ls -l"),
            ("exec -it abcd sh -c -i", "exec --it abcd -- sh -c -i"),
            ("exec abcd -- ls -l", "exec abcd -- ls -l"),
        ] {
            assert_eq!(rewritten(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn mistakes_name_what_was_meant() {
        let flag = |command: &str, message: &str| Mistake::Flag { command: command.into(), message: message.into() };
        assert_eq!(
            rewritten("job run -detahc web.hcl"),
            Err(flag("orch job run", "orch job run has no flag -detahc, did you mean -detach?"))
        );
        assert_eq!(rewritten("job run -var"), Err(flag("orch job run", "-var needs a value")));
        assert_eq!(
            rewritten("job run -detach=maybe"),
            Err(flag("orch job run", "-detach is true or false, not \"maybe\""))
        );
        let unknown = |given: &str, within: &str, nearest: Option<&str>| {
            Err(Mistake::UnknownCommand {
                given: given.into(),
                within: within.into(),
                nearest: nearest.map(str::to_owned),
            })
        };
        assert_eq!(rewritten("jbo run"), unknown("jbo", "orch", Some("job")));
        assert_eq!(rewritten("job frobnicate"), unknown("frobnicate", "orch job", None));
    }
}
