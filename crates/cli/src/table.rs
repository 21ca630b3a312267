//! Tables of text.

/// `rows` in columns, the first to the left and all others to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    aligned(rows, |column| column == 0)
}

/// `rows` in columns, all to the left.
pub fn list(rows: &[Vec<String>]) -> String {
    aligned(rows, |_| true)
}

fn aligned(rows: &[Vec<String>], is_left: fn(usize) -> bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    // A row with a single cell is a heading, which may reach over the other columns.
    let cells =
        |column: usize| rows.iter().filter(|row| row.len() > 1).filter_map(move |row| row.get(column));
    let width = |column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if is_left(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec![String::new(), String::from("base")],
            vec![String::from("a heading over both columns")],
            vec![String::from("perplexity"), String::from("9")],
        ];
        assert_eq!(table(&rows), "            base\na heading over both columns\nperplexity     9");
        assert_eq!(list(&rows), "            base\na heading over both columns\nperplexity  9");
    }
}
