//! Draws how far each promised figure is from its limit.

use std::fmt::Write as _;

use crate::report::{Limits, Report, Row, number};

const WIDTH: u32 = 860;
const ROW: u32 = 44;
const TOP: u32 = 40;
/// Where the bars begin, and the length of a bar that just meets its "must".
const LEFT: u32 = 30;
const UNIT: f64 = 480.0;
const BAR_MAX: f64 = 1.6;

/// One bar per promise, in units of its "must"; informational rows have none. A figure that should be
/// large is inverted, so that shorter is always better.
pub fn svg(report: &Report) -> String {
    draw(&report.rows())
}

fn draw(rows: &[Row]) -> String {
    let promises: Vec<_> = rows.iter().filter_map(|row| Some((row, row.limits.as_ref()?))).collect();
    let height = TOP + ROW * promises.len() as u32 + 10;
    let must = f64::from(LEFT) + UNIT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">Share of its limit that each figure takes: shorter is better</text>\n\
         <text x=\"{must}\" y=\"34\" text-anchor=\"middle\" fill=\"#a00\">must</text>\n"
    );
    for (at, (row, limits)) in promises.into_iter().enumerate() {
        bar(&mut out, row, limits, TOP + ROW * at as u32);
    }
    let bottom = height - 6;
    let _ = writeln!(
        out,
        "<line x1=\"{must}\" y1=\"{TOP}\" x2=\"{must}\" y2=\"{bottom}\" stroke=\"#a00\" stroke-dasharray=\"4 3\"/>\n</svg>"
    );
    out
}

fn bar(out: &mut String, row: &Row, limits: &Limits, y: u32) {
    let share = share(limits, row.measured).min(BAR_MAX);
    let aim = f64::from(LEFT) + UNIT * self::share(limits, limits.aim).min(BAR_MAX);
    let colour = match limits.verdict(row.measured) {
        "aim" => "#2a7",
        "must" => "#7a8",
        _ => "#d66",
    };
    let text = y + 14;
    let top = y + 19;
    let bottom = y + 35;
    let length = UNIT * share;
    let value = f64::from(LEFT) + length + 6.0;
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{text}\">{}</text>\n\
         <rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.0}\" height=\"16\" fill=\"{colour}\"/>\n\
         <line x1=\"{aim:.0}\" y1=\"{top}\" x2=\"{aim:.0}\" y2=\"{bottom}\" stroke=\"#000\"><title>aim</title></line>\n\
         <text x=\"{value:.0}\" y=\"{}\">{}</text>",
        escape(&row.what),
        y + 32,
        number(row.measured, row.unit)
    );
}

/// 1 at the limit, less if the figure is better.
fn share(limits: &Limits, figure: f64) -> f64 {
    if limits.at_most { figure / limits.must } else { limits.must / figure }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(at_most: bool) -> Limits {
        Limits { must: 2.0, aim: 1.0, at_most }
    }

    #[test]
    fn shorter_is_better_whatever_the_direction() {
        assert!(share(&limits(true), 1.0) < share(&limits(true), 3.0));
        assert!(share(&limits(false), 3.0) < share(&limits(false), 1.0));
    }

    #[test]
    fn only_promises_have_a_bar() {
        let row = |what: &str, limits| Row { what: what.into(), measured: 1.5, unit: "x", limits };
        let svg = draw(&[row("a<b", Some(limits(true))), row("for information", None)]);
        assert!(svg.contains("a&lt;b") && svg.contains("#7a8"));
        assert!(!svg.contains("for information"));
        assert!(svg.contains(&format!("0 0 {WIDTH} {}\"", TOP + ROW + 10)));
    }
}
