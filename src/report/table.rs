//! Plain columns, aligned by the width of their characters.

/// A table being filled.
#[derive(Debug)]
pub struct Table {
    columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Self { columns: headings.len(), rows: Vec::new() };
        table.row(headings);
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[&str]) {
        debug_assert_eq!(cells.len(), self.columns);
        // One row is one line, whatever a cell holds.
        self.rows.push(cells.iter().map(|cell| plain(&cell.replace(['\n', '\r', '\t'], " "))).collect());
    }

    /// The text: two spaces between columns, the last one as long as it likes.
    pub fn render(&self) -> String {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text as a terminal may be given it: names come from files, and a control character in one could move
/// its cursor or worse, so it is shown as its number.
pub fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_characters() {
        let mut table = Table::new(&["a", "bee"]);
        table.row(&["éé", "x\ny"]);
        assert_eq!(table.render(), "a   bee\néé  x y\n");
        assert_eq!(plain("a\u{1b}[31mé\u{9b}"), "a\\u{1b}[31mé\\u{9b}");
    }
}
