//! Keys and values, one to a line, with the equals signs in one column.

/// Keys with their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pairs {
    pairs: Vec<(String, String)>,
}

impl Pairs {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: impl ToString) -> &mut Self {
        self.pairs.push((key.into(), value.to_string()));
        self
    }

    /// Adds one if there is a value.
    pub(crate) fn add_some(&mut self, key: impl Into<String>, value: &str) -> &mut Self {
        if !value.is_empty() {
            self.add(key, value);
        }
        self
    }

    /// The lines, each ended.
    pub(crate) fn render(&self) -> String {
        let width = self.pairs.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (key, value) in &self.pairs {
            text.push_str(format!("{key:width$} = {value}").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_signs_stand_in_one_column() {
        let mut pairs = Pairs::new();
        pairs.add("ID", "web").add("Node Pool", "default").add_some("Empty", "");
        assert_eq!(pairs.render(), "ID        = web\nNode Pool = default\n");
    }
}
