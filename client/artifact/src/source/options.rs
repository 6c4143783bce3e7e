//! Options of a source: those in its query with those of the request over them.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

use super::OptionMap;

/// What a query says, in its order and its own spelling, so that a signed address stays valid.
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    /// Takes the query out of `url`, and overwrites it with `over`.
    pub(super) fn take(url: &mut Url, over: &OptionMap) -> Self {
        let query = url.query().unwrap_or_default().to_owned();
        url.set_query(None);
        url.set_fragment(None);
        let mut pairs: Vec<(String, String)> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| (decoded(part.split('=').next().unwrap_or_default()), part.to_owned()))
            .filter(|(key, _)| !over.contains_key(key))
            .collect();
        pairs.extend(over.iter().map(|(key, value)| {
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            (key.clone(), format!("{}={}", encoded(key), encoded(value)))
        }));
        Self(pairs)
    }

    /// Takes out the first value of `key`.
    pub(super) fn take_one(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        let (_, pair) = self.0.remove(at);
        self.0.retain(|(name, _)| name != key);
        Some(pair.split_once('=').map(|(_, value)| decoded(value)).unwrap_or_default())
    }

    /// What was not taken becomes the query again.
    pub(super) fn put_back(self, url: &mut Url) {
        let pairs: Vec<String> = self.0.into_iter().map(|(_, pair)| pair).collect();
        url.set_query((!pairs.is_empty()).then(|| pairs.join("&")).as_deref());
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
