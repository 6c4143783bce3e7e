//! "Did you mean": the known name nearest to a misspelt one.

/// The candidate that a few typing errors turn into `name`, if there is one.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len().abs_diff(name.len()) <= allowed * 4)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean ..?`, ready to be shown as help.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_different_word_finds_none() {
        let known = ["count", "constraint", "restart", "task"];
        assert_eq!(nearest("cuont", known), Some("count"));
        assert_eq!(nearest("constrait", known), Some("constraint"));
        assert_eq!(nearest("volume", known), None);
    }
}
