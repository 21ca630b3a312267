//! A comparison as text: a table for the terminal, Markdown, LaTeX with booktabs, CSV.

use std::fmt::Write as _;

use greentune_core_config::{
    Basis,
    quantities::{energy_unit, fixed, mass_unit, significant},
};

use super::{
    compare::Comparison,
    figures::RunFigures,
    rows::{ComparisonRow, Figure, Metric},
    savings::Quantity,
};
use crate::{ReportError, Result, statistics::IntervalSource};

mod latex;

/// Columns of the terminal's text.
const WIDTH: usize = 100;

/// A comparison in every textual form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// For the terminal: plain text without colours.
    pub table: String,
    /// GitHub's Markdown.
    pub markdown: String,
    /// A `table` environment that needs `booktabs`.
    pub latex: String,
    /// A line per metric, figures in full.
    pub csv: String,
}

/// What the textual forms have in common.
struct Page {
    title: String,
    header: Vec<String>,
    cells: Vec<Vec<String>>,
    /// The saving of energy in a sentence.
    saving: Option<String>,
    /// How the figures were got.
    notes: Vec<String>,
    /// Code and sentence.
    caveats: Vec<(String, String)>,
}

impl Comparison {
    /// The comparison in every textual form.
    pub fn rendered(&self) -> Result<Rendered> {
        let page = self.page();
        Ok(Rendered {
            table: text(&page),
            markdown: markdown(&page),
            latex: latex::latex(&page),
            csv: csv(&self.rows)?,
        })
    }

    fn page(&self) -> Page {
        let has_baseline = !self.baseline.is_empty();
        let header: &[&str] = if has_baseline {
            &["metric", "AST", "baseline", "difference", "interval", "basis"]
        } else {
            &["metric", "AST", "interval", "basis"]
        };
        Page {
            title: self.title(),
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            cells: self.rows.iter().map(|row| cells(row, has_baseline)).collect(),
            saving: self.quantities.energy_savings.as_ref().map(saving),
            notes: self.notes(),
            caveats: self.caveats.iter().map(|one| (one.code.clone(), one.message.clone())).collect(),
        }
    }

    fn title(&self) -> String {
        let model = self.ast.first().map_or("", |run| run.model.as_str());
        match self.pairs() {
            _ if self.baseline.is_empty() => format!("{model}: {}, without a baseline", group(&self.ast)),
            Some(pairs) if pairs > 1 => {
                format!("{model}: {} against {}, paired by seed", group(&self.ast), group(&self.baseline))
            }
            _ => format!("{model}: {} against {}", group(&self.ast), group(&self.baseline)),
        }
    }

    /// How each figure was got.
    fn notes(&self) -> Vec<String> {
        let has = |metric| self.rows.iter().find(|row| row.metric == metric);
        let mut notes = Vec::new();
        if self.ast.len().max(self.baseline.len()) > 1 {
            notes.push(String::from("Figures are means ± standard deviations over seeds."));
        }
        if let Some(row) = has(Metric::Evaluated) {
            let figure = row.ast.as_ref().or(row.baseline.as_ref());
            let records = self.ast.first().map_or("records", RunFigures::records);
            let of = if records == "images" { "" } else { " of tokens" };
            notes.push(format!(
                "Accuracy{of} and loss: on {} validation {records} after the last stage; differences of accuracy are \
                 percentage points.",
                figure.map_or(0.0, |figure| figure.mean)
            ));
        }
        if let Some(row) = has(Metric::Energy) {
            notes.push(format!(
                "Energy: {}; all stages with warm-up, scoring and evaluation, PUE included. CO2: energy times the carbon \
                 intensity of the grid.",
                row.basis
            ));
        }
        if has(Metric::Time).is_some() {
            notes.push(String::from(if self.is_time_metered {
                "Time: all that the energy is of, so that energy over time is the mean power."
            } else {
                "Time: training, without the evaluations of a language model; not the time of the energy, because a run was \
                 not metered throughout."
            }));
        }
        if has(Metric::Cost).is_some() {
            notes.push(String::from("Cost: energy times carbon.electricity_price_per_kwh."));
        } else if let Some(lack) = self.cost_lacks() {
            notes.push(format!("Cost is not known for want of {lack}."));
        }
        if let Some(row) = has(Metric::ActivationRate)
            && row.ast.as_ref().is_some_and(|figure| figure.mean < 1.0)
        {
            notes.push(String::from(
                "Activation rate: share of candidates that was trained on while samples were selected.",
            ));
        }
        let mut sources: Vec<IntervalSource> = Vec::new();
        let of_sides = self.rows.iter().flat_map(|row| {
            let own = row.ast.as_ref().and_then(|figure| figure.interval_from);
            [row.interval_from, own.filter(|_| self.baseline.is_empty())]
        });
        for source in of_sides.flatten() {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        if !sources.is_empty() {
            let words: Vec<_> = sources.into_iter().map(explained).collect();
            notes.push(format!("Intervals: {}.", words.join("; ")));
        }
        notes
    }
}

fn explained(source: IntervalSource) -> &'static str {
    match source {
        IntervalSource::Seeds => "95 % by Student's t over seeds",
        IntervalSource::PairedSeeds => {
            "95 % by the paired t over seeds (of the saving, over logarithms of ratios)"
        }
        IntervalSource::WelchSeeds => "95 % by Welch's t over seeds (of the saving, over logarithms)",
        IntervalSource::Records => {
            "95 % over validation records by Wilson's score, of differences by Newcombe's method"
        }
        IntervalSource::Meter => "of energy, what the meters' bounds allow",
    }
}

/// The id of one run, or the name of a group.
fn group(runs: &[RunFigures]) -> String {
    match runs {
        [run] => run.run_id.clone(),
        runs => {
            let mut names: Vec<_> = runs.iter().map(|run| run.run_name.as_str()).collect();
            names.dedup();
            format!("{} ({} runs)", names.join(", "), runs.len())
        }
    }
}

fn saving(quantity: &Quantity) -> String {
    let interval = quantity.interval.map_or_else(String::new, |[low, high]| {
        format!(" [{} %, {} %]", fixed(100.0 * low, 1), fixed(100.0 * high, 1))
    });
    let source = quantity.interval_from.map_or_else(String::new, |source| format!(" ({})", source.as_str()));
    let what = if quantity.basis == Basis::Compute.as_str() { "arithmetic" } else { "energy" };
    format!("Saving of {what}: {} %{interval}, {}{source}", fixed(100.0 * quantity.value, 1), quantity.basis)
}

/// How a row is shown: the unit behind its name, and its figures in that unit.
struct Shown {
    unit: String,
    factor: f64,
    as_hours: bool,
    digits: Digits,
}

#[derive(Clone, Copy)]
enum Digits {
    /// After the point.
    Decimals(usize),
    /// In all, where there are no more before the point.
    Significant(i32),
}

impl Shown {
    fn of(row: &ComparisonRow) -> Self {
        let figures = [row.ast.as_ref(), row.baseline.as_ref()];
        let most = figures.into_iter().flatten().map(|figure| figure.mean).fold(0.0, f64::max);
        let plain = |unit: &str, factor| Self {
            unit: unit.to_owned(),
            factor,
            as_hours: false,
            digits: Digits::Significant(3),
        };
        match row.metric {
            Metric::Accuracy | Metric::Top5Accuracy => {
                Self { digits: Digits::Decimals(2), ..plain("%", 100.0) }
            }
            Metric::ActivationRate => Self { digits: Digits::Decimals(1), ..plain("%", 100.0) },
            Metric::SamplesTrained | Metric::Evaluated => {
                Self { digits: Digits::Decimals(0), ..plain("", 1.0) }
            }
            Metric::ValidationLoss => Self { digits: Digits::Significant(4), ..plain("", 1.0) },
            Metric::Energy => {
                let unit = energy_unit(most);
                plain(unit.symbol, unit.per_base)
            }
            // Rows are in g.
            Metric::Emissions => {
                let unit = mass_unit(most / 1000.0);
                plain(unit.symbol, unit.per_base / 1000.0)
            }
            Metric::Time if most >= 3600.0 => Self { as_hours: true, ..plain("h:mm", 1.0) },
            Metric::Time => plain("s", 1.0),
            Metric::Cost => plain(&row.unit, 1.0),
        }
    }

    fn number(&self, value: f64) -> String {
        let value = value * self.factor;
        if self.as_hours {
            return hours(value);
        }
        match self.digits {
            Digits::Decimals(digits) => fixed(value, digits),
            Digits::Significant(digits) => significant(value, digits),
        }
    }

    fn figure(&self, figure: Option<&Figure>) -> String {
        let Some(figure) = figure else { return String::from("-") };
        // Two digits of a deviation say all that a few seeds can.
        let digits = match self.digits {
            Digits::Significant(_) => Digits::Significant(2),
            fixed @ Digits::Decimals(_) => fixed,
        };
        let coarse = Self { digits, unit: String::new(), ..*self };
        let deviation = figure.standard_deviation.map(|deviation| format!(" ± {}", coarse.number(deviation)));
        self.number(figure.mean) + &deviation.unwrap_or_default()
    }

    fn interval(&self, interval: Option<[f64; 2]>) -> String {
        interval.map_or_else(
            || String::from("-"),
            |[low, high]| format!("[{}, {}]", self.number(low), self.number(high)),
        )
    }
}

fn cells(row: &ComparisonRow, has_baseline: bool) -> Vec<String> {
    let shown = Shown::of(row);
    let name =
        if shown.unit.is_empty() { row.name.clone() } else { format!("{} ({})", row.name, shown.unit) };
    let own = row.ast.as_ref();
    let source = if has_baseline { row.interval_from } else { own.and_then(|figure| figure.interval_from) };
    let basis =
        source.map_or_else(|| row.basis.clone(), |source| format!("{}; {}", row.basis, source.as_str()));
    if !has_baseline {
        return vec![name, shown.figure(own), shown.interval(own.and_then(|figure| figure.interval)), basis];
    }
    let difference = row.difference.map_or_else(|| String::from("-"), |value| shown.number(value));
    vec![
        name,
        shown.figure(own),
        shown.figure(row.baseline.as_ref()),
        difference,
        shown.interval(row.interval),
        basis,
    ]
}

fn text(page: &Page) -> String {
    let mut out = format!("{}\n\n", page.title);
    let lines: Vec<&Vec<String>> = std::iter::once(&page.header).chain(&page.cells).collect();
    let columns = page.header.len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(widths.iter().copied()).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Words are set to the left, figures to the right.
            if column == 0 || column + 1 == columns {
                let _ = write!(row, "{gap}{cell:<width$}");
            } else {
                let _ = write!(row, "{gap}{cell:>width$}");
            }
        }
        let _ = writeln!(out, "{}", row.trim_end());
        if number == 0 {
            let rule = widths.iter().sum::<usize>() + 2 * (columns - 1);
            let _ = writeln!(out, "{}", "-".repeat(rule));
        }
    }
    if let Some(saving) = &page.saving {
        let _ = writeln!(out, "\n{saving}");
    }
    let paragraphs = |out: &mut String, heading: &str, all: &[String]| {
        if !all.is_empty() {
            let _ = writeln!(out, "\n{heading}");
            for one in all {
                out.push_str(&wrapped(one));
            }
        }
    };
    let caveats: Vec<_> = page.caveats.iter().map(|(code, message)| format!("{code}: {message}")).collect();
    paragraphs(&mut out, "How it was got", &page.notes);
    paragraphs(&mut out, "Caveats", &caveats);
    out
}

/// `text` in lines of [`WIDTH`], as an item of a list.
fn wrapped(text: &str) -> String {
    // Words stand behind the dash.
    let mut out = String::from(" ");
    let mut column = 1;
    for (number, word) in std::iter::once("-").chain(text.split_whitespace()).enumerate() {
        let length = word.chars().count();
        if column + 1 + length > WIDTH && number > 1 {
            out.push_str("\n   ");
            column = 3;
        }
        let _ = write!(out, " {word}");
        column += 1 + length;
    }
    out + "\n"
}

fn markdown(page: &Page) -> String {
    let escaped = |cell: &String| cell.replace('|', "\\|");
    let line =
        |cells: &[String]| format!("| {} |\n", cells.iter().map(escaped).collect::<Vec<_>>().join(" | "));
    let mut out = format!("**{}**\n\n{}", page.title, line(&page.header));
    let last = page.header.len() - 1;
    let rule = |column| if column == 0 || column == last { "---" } else { "---:" };
    let rules: Vec<String> = (0..=last).map(|column| rule(column).to_owned()).collect();
    out += &line(&rules);
    for cells in &page.cells {
        out += &line(cells);
    }
    if let Some(saving) = &page.saving {
        let _ = writeln!(out, "\n{saving}.");
    }
    if !page.notes.is_empty() {
        let _ = writeln!(out, "\n{}", page.notes.join(" "));
    }
    if !page.caveats.is_empty() {
        out += "\nCaveats:\n\n";
        for (code, message) in &page.caveats {
            let _ = writeln!(out, "- `{code}`: {message}");
        }
    }
    out
}

const CSV_COLUMNS: [&str; 17] = [
    "metric",
    "unit",
    "ast",
    "ast_sd",
    "ast_low",
    "ast_high",
    "ast_runs",
    "baseline",
    "baseline_sd",
    "baseline_low",
    "baseline_high",
    "baseline_runs",
    "difference",
    "low",
    "high",
    "interval_from",
    "basis",
];

fn csv(rows: &[ComparisonRow]) -> Result<String> {
    let failed =
        |error: &dyn std::fmt::Display| ReportError::Internal(format!("no CSV of a comparison: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CSV_COLUMNS).map_err(|error| failed(&error))?;
    for row in rows {
        writer.write_record(csv_fields(row)).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

fn csv_fields(row: &ComparisonRow) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let figure = |figure: Option<&Figure>| {
        let end =
            |end: usize| number(figure.and_then(|figure| figure.interval).map(|interval| interval[end]));
        [
            number(figure.map(|figure| figure.mean)),
            number(figure.and_then(|figure| figure.standard_deviation)),
            end(0),
            end(1),
            figure.map_or_else(String::new, |figure| figure.runs.to_string()),
        ]
    };
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let mut fields = vec![word(serde_json::to_value(row.metric)), row.unit.clone()];
    fields.extend(figure(row.ast.as_ref()));
    fields.extend(figure(row.baseline.as_ref()));
    fields.push(number(row.difference));
    fields.extend([0, 1].map(|end: usize| number(row.interval.map(|interval| interval[end]))));
    fields.extend([word(serde_json::to_value(row.interval_from)), row.basis.clone()]);
    fields
}

fn hours(seconds: f64) -> String {
    let minutes = (seconds.abs() / 60.0).round() as u64;
    let sign = if seconds < 0.0 && minutes > 0 { "-" } else { "" };
    format!("{sign}{}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_written_with_their_minutes() {
        assert_eq!([0.0, -20.0, -90.0, 7260.0].map(hours), ["0:00", "0:00", "-0:02", "2:01"]);
    }

    #[test]
    fn long_sentences_hang_in_lines() {
        let text = wrapped(&"word ".repeat(40));
        assert!(
            text.lines().count() == 3 && text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(text.starts_with("  - word") && text.contains("\n    word"), "{text}");
    }
}
