//! Dates, times, numbers and sums.

use super::dice::{Dice, fill};
use super::words;

/// `HH:MM:SS`.
pub(super) fn clock(dice: &mut Dice) -> String {
    format!("{:02}:{:02}:{:02}", dice.range(0, 23), dice.range(0, 59), dice.range(0, 59))
}

fn date(dice: &mut Dice, form: usize) -> String {
    let (d, m, y) = (dice.range(1, 28), dice.range(1, 12), dice.range(1750, 2040));
    let month = words::MONTHS.get(m as usize - 1).copied().unwrap_or_default();
    let short = month.get(..3).unwrap_or(month);
    match form {
        0 => format!("{y}-{m:02}-{d:02}"),
        1 => format!("{d} {month} {y}"),
        2 => format!("{month} {d}, {y}"),
        3 => format!("{m}/{d}/{y}"),
        4 => format!("{d:02}.{m:02}.{y}"),
        5 => format!("{y}-{m:02}-{d:02}T{}Z", clock(dice)),
        6 => format!("{short} {d:2} {}", clock(dice)),
        7 => format!("{} the {}", dice.pick(&words::DAYS), ordinal(d)),
        8 => format!(
            "{}:{:02} {}",
            dice.range(1, 12),
            dice.range(0, 59),
            dice.pick(&["a.m.", "p.m.", "AM", "PM"])
        ),
        _ => format!("{}-{short}-{:02}", d, y % 100),
    }
}

fn ordinal(n: i64) -> String {
    let end = match (n % 10, n % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

pub(super) fn dates(dice: &mut Dice, size: usize) -> String {
    let (frame, form) = (dice.below(6), dice.below(10));
    fill(dice, size, |dice, _| {
        // One notation a document, as people write, but for the last frame.
        let when = date(dice, form);
        let (name, city) = (dice.pick(&words::FIRST), dice.pick(&words::CITIES));
        let thing = dice.pick(&words::THINGS);
        match frame {
            0 => {
                format!("{when}: {} the {} {thing}\n", dice.pick(&words::VERBS), dice.pick(&words::QUALITIES))
            }
            1 => format!("{name} was born on {when} in {city} and died {} years later. ", dice.range(20, 95)),
            2 => format!(
                "{when} [{}] {thing} {}\n",
                dice.pick(&["INFO", "WARN", "DEBUG", "ERROR"]),
                dice.number(4)
            ),
            3 => {
                let day = dice.pick(&words::DAYS);
                format!("The next train to {city} leaves on {day} at {}. ", date(dice, 8))
            }
            4 => {
                let from = dice.range(1500, 2000);
                let years = dice.range(1, 60);
                let to = from + years;
                format!("From {from} to {to} is {years} years; {} {when}.\n", dice.pick(&words::MONTHS))
            }
            _ => {
                let other = dice.below(10);
                format!("{when} = {}\n", date(dice, other))
            }
        }
    })
}

/// A number with thousands marked.
fn grouped(n: i64, mark: char) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(mark);
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

fn sum(dice: &mut Dice) -> String {
    let (a, b) = (dice.number(4), dice.number(3));
    match dice.below(7) {
        0 => format!("{a} + {b} = {}", a + b),
        1 => format!("{a} - {b} = {}", a - b),
        2 => format!("{a} × {b} = {}", a * b),
        3 => format!("{} / {b} = {a}", a * b),
        4 => format!("{a} mod {b} = {}", a % b),
        5 => format!("{}^2 = {}", b, b * b),
        _ => format!("({a} + {b}) * 2 = {}", (a + b) * 2),
    }
}

fn spelled(dice: &mut Dice) -> String {
    let (a, b) = (dice.below(11), dice.below(10));
    let word = |n: usize| words::SMALL.get(n).copied().unwrap_or_default();
    match dice.below(3) {
        0 => format!("{} plus {} is {}", word(a), word(b), word(a + b)),
        1 => format!("{} minus {} is {}", word(a + b), word(b), word(a)),
        _ => format!("{} comes after {}", word(a + 1), word(a)),
    }
}

fn sequence(dice: &mut Dice) -> String {
    let (mut n, step, count) = (dice.number(3), dice.range(1, 25), dice.range(6, 16));
    let double = dice.once_in(4);
    let mut terms = Vec::new();
    for _ in 0..count {
        terms.push(n.to_string());
        n = if double { n * 2 } else { n + step };
    }
    terms.join(", ")
}

pub(super) fn numbers(dice: &mut Dice, size: usize) -> String {
    let form = dice.below(9);
    fill(dice, size, |dice, line| match form {
        0 => sum(dice) + "\n",
        1 => sequence(dice) + "\n",
        2 => spelled(dice) + ". ",
        3 => {
            let (price, cents) = (dice.number(5), dice.range(0, 99));
            let sign = dice.pick(&["$", "€", "£", "¥"]);
            format!(
                "{} {}: {sign}{}.{cents:02}\n",
                dice.pick(&words::QUALITIES),
                dice.pick(&words::THINGS),
                grouped(price, ',')
            )
        }
        4 => {
            let (whole, part) = (dice.number(3), dice.number(5));
            let unit = dice.pick(&["kg", "km", "ml", "°C", "MHz", "kWh", "%", "mph", "mg/l", "px"]);
            format!("{whole}.{part} {unit}; ")
        }
        5 => format!("{}\t{}\t{}.{}\n", line + 1, dice.number(6), dice.number(2), dice.number(4)),
        6 => {
            let n = dice.number(9);
            let city = dice.pick(&words::CITIES);
            format!(
                "{city} has {} inhabitants, {} in all of {}.\n",
                grouped(n, ','),
                grouped(n * 3, ','),
                dice.pick(&words::COUNTRIES)
            )
        }
        7 => format!("{}.{}e{} ", dice.range(1, 9), dice.number(6), dice.range(-30, 30)),
        _ => {
            let n = dice.range(1, 3999);
            format!("{n} = {}; chapter {}\n", roman(n), roman(n % 50 + 1).to_lowercase())
        }
    })
}

fn roman(mut n: i64) -> String {
    const PARTS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (value, letters) in PARTS {
        while n >= value {
            text.push_str(letters);
            n -= value;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!([1994, 2026, 4].map(roman), ["MCMXCIV", "MMXXVI", "IV"]);
        assert_eq!([1, 999, 1000, -1234567].map(|n| grouped(n, ',')), ["1", "999", "1,000", "-1,234,567"]);
        assert_eq!(
            [1, 2, 3, 11, 12, 13, 21].map(ordinal),
            ["1st", "2nd", "3rd", "11th", "12th", "13th", "21st"]
        );
    }
}
