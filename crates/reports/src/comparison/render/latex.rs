//! LaTeX: one `table` environment that compiles with pdfLaTeX and `booktabs`.

use std::fmt::Write as _;

use super::Page;

/// The page as a table with its caption, and below it how the figures were got.
pub(super) fn latex(page: &Page) -> String {
    let last = page.header.len() - 1;
    let columns: String =
        (0..=last).map(|column| if column == 0 || column == last { 'l' } else { 'r' }).collect();
    let line =
        |cells: &[String]| cells.iter().map(|cell| figures(cell)).collect::<Vec<_>>().join(" & ") + r" \\";
    let mut out = String::from(
        "% needs \\usepackage{booktabs}\n\\begin{table}[htbp]\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n",
    );
    let _ = writeln!(out, "\\caption{{{}}}", words(&page.title));
    let _ = writeln!(out, "\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule");
    let _ = writeln!(out, "{}\n\\midrule", line(&page.header));
    for cells in &page.cells {
        let _ = writeln!(out, "{}", line(cells));
    }
    out += "\\bottomrule\n\\end{tabular}\n\n\\medskip\n\\begin{minipage}{\\linewidth}\n\\footnotesize\n";
    if let Some(saving) = &page.saving {
        let _ = writeln!(out, "{}.", figures(saving));
    }
    for note in &page.notes {
        let _ = writeln!(out, "{}", figures(note));
    }
    for (number, (_, message)) in page.caveats.iter().enumerate() {
        let lead = if number == 0 { "\\textit{Caveats:} " } else { "" };
        let end = if number + 1 == page.caveats.len() { '.' } else { ';' };
        let _ = writeln!(out, "{lead}({}) {}{end}", number + 1, figures(message));
    }
    out + "\\end{minipage}\n\\end{table}\n"
}

/// Text with figures: a minus before a digit is one, and CO2 has its index.
fn figures(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let is_minus = character == '-'
            && matches!(before, ' ' | '[' | '(')
            && rest.peek().is_some_and(char::is_ascii_digit);
        if is_minus {
            out += "$-$";
        } else {
            push(&mut out, character);
        }
        before = character;
    }
    out.replace("CO2", "CO\\textsubscript{2}")
}

fn words(text: &str) -> String {
    let mut out = String::new();
    text.chars().for_each(|character| push(&mut out, character));
    out
}

/// Every character that means something to TeX, or that pdfLaTeX's fonts lack, as what it should look like.
fn push(out: &mut String, character: char) {
    match character {
        '\\' => *out += "\\textbackslash{}",
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
            out.push('\\');
            out.push(character);
        }
        '~' => *out += "\\textasciitilde{}",
        '^' => *out += "\\textasciicircum{}",
        '<' => *out += "\\textless{}",
        '>' => *out += "\\textgreater{}",
        '|' => *out += "\\textbar{}",
        '"' => *out += "''",
        '±' => *out += "$\\pm$",
        '®' => *out += "\\textregistered{}",
        '™' => *out += "\\texttrademark{}",
        ' '..='~' => out.push(character),
        control if control.is_control() => out.push(' '),
        _ => out.push('?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tex_would_read_as_a_command_is_escaped() {
        assert_eq!(
            words(r"50 % of a_b & c#d $5 {x} \y"),
            r"50 \% of a\_b \& c\#d \$5 \{x\} \textbackslash{}y"
        );
        assert_eq!(
            words("a<b>c|d~e^f ± Intel® é"),
            r"a\textless{}b\textgreater{}c\textbar{}d\textasciitilde{}e\textasciicircum{}f $\pm$ Intel\textregistered{} ?"
        );
    }

    #[test]
    fn only_a_minus_is_a_minus() {
        assert_eq!(
            figures("[-1.5, 2] CO2 top-5 run-2026 -"),
            r"[$-$1.5, 2] CO\textsubscript{2} top-5 run-2026 -"
        );
    }
}
