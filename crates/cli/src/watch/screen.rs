//! The screen: where the run stands, its charts, its log, and the keys.

use greentune_core_config::{
    manifest::RunStatus,
    quantities::{duration, emissions, energy, number},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Gauge, Paragraph},
};

use super::{Watched, charts};
use crate::printable::printable;

/// Rows of a chart at least.
const CHART_ROWS: u16 = 8;
/// Columns from which charts stand side by side.
const WIDE: u16 = 96;
/// Lines of the log.
const LOG_ROWS: u16 = 6;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, watched: &Watched) {
    let [head, bar, figures, middle, log, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(CHART_ROWS),
        Constraint::Length(if frame.area().height > 30 { LOG_ROWS } else { 2 }),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(heading(watched), head);
    progress(frame, bar, watched);
    frame.render_widget(figures_line(watched), figures);
    all_charts(frame, middle, watched);
    frame.render_widget(log_lines(watched, log), log);
    frame.render_widget(key_line(watched), keys);
}

fn clean(text: &str) -> String {
    printable(text, &[]).into_owned()
}

fn heading(watched: &Watched) -> Line<'static> {
    let progress = &watched.progress;
    let device = progress.device.as_deref().map(|device| format!("  {}", clean(device))).unwrap_or_default();
    Line::from(vec![
        Span::from(clean(&progress.run_id)).bold(),
        Span::from("  "),
        Span::from(progress.status.to_string()).fg(colour_of(progress.status)).bold(),
        Span::from(device).dark_gray(),
    ])
}

fn colour_of(status: RunStatus) -> Color {
    match status {
        RunStatus::Completed => Color::Green,
        RunStatus::Running | RunStatus::Queued => Color::Cyan,
        RunStatus::Failed => Color::Red,
        _ => Color::Yellow,
    }
}

fn progress(frame: &mut Frame<'_>, area: Rect, watched: &Watched) {
    let progress = &watched.progress;
    let share = (progress.progress_percentage / 100.0).clamp(0.0, 1.0);
    let share = if share.is_finite() { share } else { 0.0 };
    let left =
        progress.remaining_seconds.map(|left| format!(", {} left", duration(left))).unwrap_or_default();
    let label = format!(
        "stage {}, step {} of {} ({:.0} %){left}",
        progress.current_stage,
        progress.current_iteration,
        progress.total_iterations,
        progress.progress_percentage
    );
    let gauge = Gauge::default()
        .ratio(share)
        .label(label)
        .gauge_style(Style::new().fg(colour_of(progress.status)).bg(Color::Black))
        .use_unicode(true);
    frame.render_widget(gauge, area);
}

fn figures_line(watched: &Watched) -> Line<'static> {
    let progress = &watched.progress;
    let stages = progress.emissions.as_deref().unwrap_or_default();
    let kwh: f64 = stages.iter().map(|stage| stage.energy_kwh).sum();
    let mut parts = Vec::new();
    if let Some(last) = stages.last() {
        parts.push(format!("{} so far ({})", energy(kwh), last.basis));
        if progress.status.is_active() {
            parts.push(format!("{} W now", number(last.power_w)));
        }
    }
    if let Some(kg) = progress.carbon_emissions_kg {
        parts.push(emissions(kg));
        let done = progress.progress_percentage / 100.0;
        if progress.status.is_active() && done > 0.05 {
            parts.push(format!("about {} at its end", emissions(kg / done)));
        }
    }
    if parts.is_empty() {
        parts.push(String::from("nothing metered yet"));
    }
    Line::from(parts.join("  ·  ")).style(Style::new().fg(Color::Green))
}

fn all_charts(frame: &mut Frame<'_>, area: Rect, watched: &Watched) {
    let wanted = charts::available(&watched.series);
    if wanted.is_empty() {
        let words = if watched.progress.status.is_active() {
            "waiting for the first steps"
        } else {
            "the run has not begun"
        };
        frame.render_widget(Paragraph::new(words).dark_gray(), area);
        return;
    }
    let columns = if area.width >= WIDE && wanted.len() > 1 { 2 } else { 1 };
    let rows = usize::from((area.height / CHART_ROWS).max(1)).min(wanted.len().div_ceil(columns));
    let heights = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    for (row, area) in heights.iter().enumerate() {
        let in_row = &wanted[(row * columns).min(wanted.len())..((row + 1) * columns).min(wanted.len())];
        let widths = Layout::horizontal(vec![Constraint::Fill(1); in_row.len().max(1)]).split(*area);
        for (chart, area) in in_row.iter().zip(widths.iter()) {
            charts::draw(frame, *area, &watched.series, chart, watched.over_time);
        }
    }
}

fn log_lines(watched: &Watched, area: Rect) -> Paragraph<'static> {
    let problem = watched.progress.problem.as_ref().map(|problem| format!("problem: {problem}"));
    let warnings =
        watched.progress.warnings.iter().rev().take(1).map(|warning| format!("warning: {warning}"));
    let told: Vec<String> = problem.into_iter().chain(warnings).collect();
    let room = usize::from(area.height).saturating_sub(told.len());
    let log = watched.log.iter().rev().take(room).rev();
    let lines = log.map(|line| Line::from(clean(line)).dark_gray());
    let told = told.iter().map(|line| {
        // One line: a problem may have several.
        Line::from(clean(line.lines().next().unwrap_or_default())).fg(Color::Yellow)
    });
    Paragraph::new(lines.chain(told).collect::<Vec<_>>())
}

fn key_line(watched: &Watched) -> Line<'static> {
    if let Some((said, _)) = &watched.said {
        return Line::from(clean(said)).fg(Color::Yellow).bold();
    }
    let progress = &watched.progress;
    let mut keys =
        vec!["q leave (the run goes on)", if watched.over_time { "t over steps" } else { "t over time" }];
    if progress.status.is_active() {
        keys.push("c stop the run");
    } else {
        keys[0] = "q leave";
        if progress.progress_percentage < 100.0 {
            keys.push("r resume");
        }
    }
    Line::from(keys.join("   ")).dark_gray()
}
