//! A terminal's text as a picture, for the README: an SVG with one line of text for each line printed.

use std::fmt::Write;

const LINE: usize = 19;
const COLUMN: f64 = 8.4;
const MARGIN: usize = 20;

/// The picture of what `command` printed.
pub(crate) fn terminal(command: &str, text: &str) -> String {
    let prompt = format!("$ {command}");
    let lines: Vec<&str> = std::iter::once(prompt.as_str()).chain(text.trim_end().lines()).collect();
    let columns = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let width = (columns as f64 * COLUMN) as usize + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Output of {command}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#14181f\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\" \
         fill=\"#d7dee8\" xml:space=\"preserve\">\n"
    );
    for (i, line) in lines.iter().enumerate() {
        let y = MARGIN + LINE * i + 14;
        let fill = colour(line);
        // writing to a string cannot fail
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y}\"{fill}>{}</text>", escaped(line));
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// What was asked, answered and switched off stands out.
fn colour(line: &str) -> &'static str {
    if line.starts_with('$') {
        " fill=\"#8b97a8\""
    } else if line.starts_with("Answered") || line.contains("as it is") {
        " fill=\"#9fd8a4\""
    } else if line.contains(" off ") && line.contains('%') {
        " fill=\"#f0b48a\""
    } else {
        ""
    }
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_escaped_and_every_line_is_there() {
        let svg = super::terminal("x", "a <b> & c\nd");
        assert!(svg.contains("a &lt;b&gt; &amp; c") && svg.matches("<text").count() == 3);
    }
}
