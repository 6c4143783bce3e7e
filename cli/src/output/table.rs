//! Tables: columns padded to their widest cell, two spaces between them.

use super::Style;

/// A table with a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows yet.
    pub(crate) fn new<S: AsRef<str>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![heading.into_iter().map(|cell| cell.as_ref().to_owned()).collect()] }
    }

    /// Adds a row; an empty cell shows as `<none>`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells = cells.into_iter().map(Into::into);
        self.rows.push(cells.map(|cell| if cell.is_empty() { "<none>".to_owned() } else { cell }).collect());
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table as lines, each ended.
    pub(crate) fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            let line = line.trim_end();
            text.push_str(&if number == 0 { style.bold(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_at_their_text() {
        let mut table = Table::new(["ID", "Task Group", "Status"]);
        table.row(["5e6f7a8b", "front", "running"]);
        table.row(["9", "", "é"]);
        let expected = "ID        Task Group  Status\n5e6f7a8b  front       running\n9         <none>      é\n";
        assert_eq!(table.render(Style::Plain), expected);
        assert!(table.render(Style::Coloured).starts_with("\u{1b}[1mID        Task Group  Status\u{1b}[0m\n"));
    }
}
