//! JSON, comma-separated and Markdown tables.

use super::dice::{Dice, fill};
use super::words;

/// A JSON value, at most `depth` levels deep.
pub(super) fn value(dice: &mut Dice, depth: usize) -> String {
    let nested = depth > 0;
    match dice.below(if nested { 9 } else { 6 }) {
        0 => dice.number(6).to_string(),
        1 => format!("{}.{}", dice.number(2), dice.number(3)),
        2 => dice.pick(&["true", "false", "null"]).to_owned(),
        3 => format!("\"{} {}\"", dice.pick(&words::FIRST), dice.pick(&words::LAST)),
        4 => format!("\"{}\"", dice.pick(&words::QUALITIES)),
        5 => format!("\"{}-{:02}-{:02}\"", dice.range(1990, 2030), dice.range(1, 12), dice.range(1, 28)),
        6 => {
            let items: Vec<_> = (0..dice.range(0, 5)).map(|_| value(dice, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => object(dice, depth - 1),
    }
}

fn object(dice: &mut Dice, depth: usize) -> String {
    let camel = dice.once_in(2);
    let count = dice.range(1, 6) as usize;
    let names = dice.some(&words::THINGS, count);
    let fields: Vec<_> = names
        .into_iter()
        .map(|name| {
            let end = dice.pick(&["id", "name", "count", "state", "at", ""]);
            let key = match (end.is_empty(), camel) {
                (true, _) => name.to_owned(),
                (false, false) => format!("{name}_{end}"),
                (false, true) => format!(
                    "{name}{}{}",
                    end.get(..1).unwrap_or("").to_uppercase(),
                    end.get(1..).unwrap_or("")
                ),
            };
            format!("\"{key}\": {}", value(dice, depth))
        })
        .collect();
    format!("{{{}}}", fields.join(", "))
}

/// The same JSON over several lines, by its brackets and commas outside strings.
fn indented(json: &str) -> String {
    let (mut text, mut depth, mut quoted) = (String::new(), 0usize, false);
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        quoted ^= letter == '"';
        match letter {
            '{' | '[' if !quoted && !matches!(letters.peek(), Some('}' | ']')) => {
                depth += 1;
                text.push(letter);
                text.push('\n');
                text.push_str(&"  ".repeat(depth));
            }
            '}' | ']' if !quoted && !text.ends_with(['{', '[']) => {
                depth = depth.saturating_sub(1);
                text.push('\n');
                text.push_str(&"  ".repeat(depth));
                text.push(letter);
            }
            ',' if !quoted => {
                text.push_str(",\n");
                text.push_str(&"  ".repeat(depth));
                // The blank after the comma.
                letters.next_if_eq(&' ');
            }
            _ => text.push(letter),
        }
    }
    text
}

pub(super) fn json(dice: &mut Dice, size: usize) -> String {
    match dice.below(4) {
        0 => fill(dice, size, |dice, _| object(dice, 1) + "\n"),
        1 => {
            let items =
                fill(dice, size, |dice, i| format!("{}{}", if i == 0 { "" } else { ", " }, object(dice, 2)));
            indented(&format!("[{items}]"))
        }
        2 => {
            let items = fill(dice, size, |dice, i| {
                format!(
                    "{}\"{}_{i}\": {}",
                    if i == 0 { "" } else { ", " },
                    dice.pick(&words::THINGS),
                    value(dice, 3)
                )
            });
            indented(&format!("{{{items}}}")) + "\n"
        }
        _ => {
            let thing = dice.pick(&words::THINGS);
            let items = fill(dice, size, |dice, i| {
                let name = dice.pick(&words::FIRST);
                let comma = if i == 0 { "" } else { "," };
                format!(
                    "{comma}{{\"type\":\"{thing}\",\"id\":{},\"by\":\"{name}\",\"ok\":{}}}",
                    dice.number(5),
                    dice.once_in(2)
                )
            });
            format!("{{\"total\":{},\"items\":[{items}]}}", dice.number(3))
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Default)]
enum Column {
    #[default]
    Id,
    Name,
    City,
    Date,
    Price,
    Quality,
    Mail,
    Share,
    Flag,
}

const COLUMNS: [(Column, &str); 9] = [
    (Column::Id, "id"),
    (Column::Name, "name"),
    (Column::City, "city"),
    (Column::Date, "date"),
    (Column::Price, "price"),
    (Column::Quality, "status"),
    (Column::Mail, "email"),
    (Column::Share, "share"),
    (Column::Flag, "paid"),
];

impl Column {
    fn cell(self, dice: &mut Dice, line: usize) -> String {
        match self {
            Column::Id => (line + 1).to_string(),
            Column::Name => format!("{} {}", dice.pick(&words::FIRST), dice.pick(&words::LAST)),
            Column::City => dice.pick(&words::CITIES).to_owned(),
            Column::Date => {
                format!("{}-{:02}-{:02}", dice.range(1990, 2030), dice.range(1, 12), dice.range(1, 28))
            }
            Column::Price => format!("{}.{:02}", dice.number(4), dice.range(0, 99)),
            Column::Quality => dice.pick(&words::QUALITIES).to_owned(),
            Column::Mail => {
                format!("{}@example.{}", dice.pick(&words::LAST).to_lowercase(), dice.pick(&words::DOMAINS))
            }
            Column::Share => format!("{}.{}%", dice.range(0, 99), dice.range(0, 9)),
            Column::Flag => dice.pick(&["yes", "no"]).to_owned(),
        }
    }
}

fn columns(dice: &mut Dice) -> Vec<(Column, &'static str)> {
    let count = dice.range(3, 7) as usize;
    let picked: Vec<usize> = dice.some(&[0, 1, 2, 3, 4, 5, 6, 7, 8], count);
    picked.into_iter().filter_map(|i| COLUMNS.get(i).copied()).collect()
}

pub(super) fn csv(dice: &mut Dice, size: usize) -> String {
    let columns = columns(dice);
    let mark = dice.pick(&[",", ",", ";", "\t", "|"]);
    let quoted = dice.once_in(4);
    let join = |cells: Vec<String>| {
        let cells = cells.into_iter().map(|cell| if quoted { format!("\"{cell}\"") } else { cell });
        cells.collect::<Vec<_>>().join(mark) + "\n"
    };
    let head = join(columns.iter().map(|(_, name)| (*name).to_owned()).collect());
    head + &fill(dice, size, |dice, line| {
        join(columns.iter().map(|(column, _)| column.cell(dice, line)).collect())
    })
}

pub(super) fn markdown(dice: &mut Dice, size: usize) -> String {
    let columns = columns(dice);
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let title = format!(
        "{} {} {} in {}\n\n",
        dice.pick(&["#", "##", "###"]),
        dice.pick(&words::QUALITIES),
        dice.pick(&words::THINGS),
        dice.pick(&words::CITIES)
    );
    let rule = dice.pick(&["---", ":---", ":---:", "---:"]);
    let head = row(columns.iter().map(|(_, name)| (*name).to_owned()).collect());
    let rule = row(columns.iter().map(|_| rule.to_owned()).collect());
    let bold = dice.once_in(3);
    let body = fill(dice, size, |dice, line| {
        let cells = columns.iter().enumerate().map(|(i, (column, _))| {
            let cell = column.cell(dice, line);
            if bold && i == 0 { format!("**{cell}**") } else { cell }
        });
        row(cells.collect())
    });
    let notes: String = (0..dice.below(4))
        .map(|_| {
            format!(
                "- `{}_{}`: {}\n",
                dice.pick(&words::VERBS),
                dice.pick(&words::THINGS),
                dice.pick(&words::QUALITIES)
            )
        })
        .collect();
    format!("{title}{head}{rule}{body}\n{notes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_core::Seed;

    #[test]
    fn generated_json_is_json() {
        let mut dice = Dice::new(Seed(1));
        for _ in 0..200 {
            let text = json(&mut dice, 500);
            let whole = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let lines = text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
            assert!(whole || lines, "{text}");
        }
    }
}
