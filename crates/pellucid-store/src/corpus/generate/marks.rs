//! LaTeX.

use super::dice::{Dice, fill};
use super::words;

const LETTERS: [&str; 20] = [
    "x",
    "y",
    "z",
    "a",
    "b",
    "n",
    "k",
    "t",
    "u",
    "v",
    "\\alpha",
    "\\beta",
    "\\gamma",
    "\\lambda",
    "\\mu",
    "\\sigma",
    "\\theta",
    "\\phi",
    "\\omega",
    "\\epsilon",
];

fn formula(dice: &mut Dice, depth: usize) -> String {
    let (x, n) = (dice.pick(&LETTERS), dice.range(1, 12));
    if depth == 0 {
        return match dice.below(4) {
            0 => n.to_string(),
            1 => format!("{x}_{{{}}}", dice.pick(&["i", "j", "n", "k", "0", "1"])),
            2 => format!("{x}^{{{n}}}"),
            _ => x.to_owned(),
        };
    }
    let (a, b) = (formula(dice, depth - 1), formula(dice, depth - 1));
    match dice.below(11) {
        0 => format!("\\frac{{{a}}}{{{b}}}"),
        1 => format!("\\sqrt{{{a} + {b}}}"),
        2 => format!("\\sum_{{i=1}}^{{{x}}} {a}"),
        3 => format!("\\int_{{0}}^{{\\infty}} {a} \\, d{x}"),
        4 => format!("\\left( {a} - {b} \\right)"),
        5 => format!("\\begin{{pmatrix}} {a} & {b} \\\\ 0 & {n} \\end{{pmatrix}}"),
        6 => format!("\\lim_{{{x} \\to {n}}} {a}"),
        7 => format!("\\|{a}\\|_2 \\leq {b}"),
        8 => format!("\\partial_{{{x}}} {a} \\cdot {b}"),
        9 => format!("\\mathbb{{{}}}[{a}]", dice.pick(&["E", "P", "R", "Z"])),
        _ => format!("{a} + {b}"),
    }
}

fn paragraph(dice: &mut Dice) -> String {
    let (left, right) = (formula(dice, 1), formula(dice, 2));
    let (quality, thing) = (dice.pick(&words::QUALITIES), dice.pick(&words::THINGS));
    let number = dice.number(2);
    match dice.below(8) {
        0 => format!(
            "\\begin{{equation}}\\label{{eq:{thing}{number}}}\n  {left} = {right}\n\\end{{equation}}\n"
        ),
        1 => format!(
            "Let ${left}$ be a {quality} {thing}. Then ${right} > 0$ for all ${}$.\n\n",
            dice.pick(&LETTERS)
        ),
        2 => {
            let kind = dice.pick(&["theorem", "lemma", "definition", "corollary", "proof"]);
            format!(
                "\\begin{{{kind}}}\nEvery {quality} {thing} satisfies $${left} \\neq {right}.$$\n\\end{{{kind}}}\n\n"
            )
        }
        3 => format!(
            "\\section{{The {quality} {thing}}}\nBy \\eqref{{eq:{thing}{number}}} and \\cite{{{}{number}}}, \
                      we have \\[{left} \\approx {right}.\\]\n",
            dice.pick(&words::LAST).to_lowercase()
        ),
        4 => {
            format!("\\begin{{align}}\n  {left} &= {right} \\\\\n  &= {}\n\\end{{align}}\n", formula(dice, 1))
        }
        5 => format!(
            "\\begin{{itemize}}\n  \\item \\textbf{{{quality}}} ${left}$\n  \\item \\emph{{{thing}}} ${right}$\n\\end{{itemize}}\n"
        ),
        6 => format!(
            "\\begin{{tabular}}{{l|rr}}\n  \\hline {thing} & {number} & ${left}$ \\\\\n  {quality} & {} & ${right}$ \
             \\\\ \\hline\n\\end{{tabular}}\n",
            dice.number(3)
        ),
        _ => format!(
            "\\begin{{figure}}[ht]\n  \\centering\n  \\includegraphics[width=0.{}\\textwidth]{{{thing}.pdf}}\n  \
             \\caption{{A {quality} {thing} with ${left}$.}}\n\\end{{figure}}\n",
            dice.range(3, 9)
        ),
    }
}

pub(super) fn latex(dice: &mut Dice, size: usize) -> String {
    let body = fill(dice, size, |dice, _| paragraph(dice));
    if dice.once_in(2) {
        return body;
    }
    let class = dice.pick(&["article", "report", "amsart", "beamer"]);
    let (author, city) = (dice.pick(&words::LAST), dice.pick(&words::CITIES));
    format!(
        "\\documentclass[11pt]{{{class}}}\n\\usepackage{{amsmath,graphicx}}\n\\author{{{author}, {city}}}\n\
         \\begin{{document}}\n\\maketitle\n{body}\\end{{document}}\n"
    )
}
