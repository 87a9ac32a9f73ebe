//! Lists and games of words: enumerations, alphabets, counting, completions, opposites, function words.

use super::dice::{Dice, fill};
use super::words;

const FUNCTION_WORDS: [&str; 40] = [
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on",
    "not", "he", "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which",
    "she", "you", "were", "her", "all", "would", "there", "their", "we", "if",
];

const OPPOSITES: [(&str, &str); 20] = [
    ("hot", "cold"),
    ("big", "small"),
    ("up", "down"),
    ("left", "right"),
    ("day", "night"),
    ("open", "closed"),
    ("early", "late"),
    ("rich", "poor"),
    ("wet", "dry"),
    ("full", "empty"),
    ("fast", "slow"),
    ("light", "dark"),
    ("near", "far"),
    ("old", "new"),
    ("hard", "soft"),
    ("true", "false"),
    ("first", "last"),
    ("inside", "outside"),
    ("before", "after"),
    ("buy", "sell"),
];

const CAPITALS: [(&str, &str); 18] = [
    ("France", "Paris"),
    ("Japan", "Tokyo"),
    ("Italy", "Rome"),
    ("Spain", "Madrid"),
    ("Germany", "Berlin"),
    ("Austria", "Vienna"),
    ("Egypt", "Cairo"),
    ("Greece", "Athens"),
    ("Portugal", "Lisbon"),
    ("Norway", "Oslo"),
    ("Peru", "Lima"),
    ("Kenya", "Nairobi"),
    ("Ireland", "Dublin"),
    ("Finland", "Helsinki"),
    ("Thailand", "Bangkok"),
    ("Vietnam", "Hanoi"),
    ("Senegal", "Dakar"),
    ("Sweden", "Stockholm"),
];

const GROUPS: [(&str, &[&str]); 8] = [
    ("months", &words::MONTHS),
    ("days of the week", &words::DAYS),
    ("colours", &words::COLOURS),
    ("cities", &words::CITIES),
    ("countries", &words::COUNTRIES),
    ("animals", &words::ANIMALS),
    ("fruit and vegetables", &words::FRUIT),
    ("names", &words::FIRST),
];

fn group(dice: &mut Dice) -> (&'static str, &'static [&'static str]) {
    GROUPS.get(dice.below(GROUPS.len())).copied().unwrap_or(("months", &words::MONTHS))
}

/// A few words of a group, in order from somewhere or at random.
fn members(dice: &mut Dice, of: &[&'static str]) -> Vec<&'static str> {
    let count = dice.range(3, 12) as usize;
    if dice.once_in(2) {
        return dice.some(of, count);
    }
    let start = dice.below(of.len());
    of.iter().cycle().skip(start).take(count).copied().collect()
}

fn enumeration(dice: &mut Dice, form: usize) -> String {
    let (name, of) = group(dice);
    let words = members(dice, of);
    let last = words.last().copied().unwrap_or_default();
    let rest = words.get(..words.len().saturating_sub(1)).unwrap_or_default().join(", ");
    match form {
        0 => format!("Some {name}: {rest} and {last}.\n"),
        1 => {
            words.iter().enumerate().map(|(i, word)| format!("{}. {word}\n", i + 1)).collect::<String>()
                + "\n"
        }
        2 => format!(
            "{name}\n{}\n\n",
            words.iter().map(|word| format!("  * {word}")).collect::<Vec<_>>().join("\n")
        ),
        3 => words.join(" ") + "\n",
        4 => format!("Neither {} nor {last}, but {rest}. ", dice.pick(of)),
        _ => format!("[{}]\n", words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")),
    }
}

fn saying(dice: &mut Dice) -> String {
    let (one, other) = dice.pick(&OPPOSITES);
    let (country, city) = dice.pick(&CAPITALS);
    let (name, friend) = (dice.pick(&words::FIRST), dice.pick(&words::LAST));
    let thing = dice.pick(&words::THINGS);
    match dice.below(7) {
        0 => format!("The opposite of {one} is {other}. "),
        1 => format!("{country}'s capital is {city}. "),
        2 => format!("When {name} and {friend} went to {city}, {name} gave the {thing} to {friend}. "),
        3 => format!("{one} : {other} :: "),
        4 => format!("I packed my bag and in it I put {}. ", members(dice, &words::THINGS).join(", and ")),
        5 => format!("{} begins with the letter {}. ", name, name.get(..1).unwrap_or_default()),
        _ => format!(
            "The {} {} is {}, the {thing} is not. ",
            dice.pick(&words::COLOURS),
            dice.pick(&words::ANIMALS),
            dice.pick(&words::QUALITIES)
        ),
    }
}

fn repeated(dice: &mut Dice) -> String {
    let count = dice.range(3, 8) as usize;
    let words = dice.some(&FUNCTION_WORDS, count);
    let once = words.join(" ");
    (0..dice.range(2, 5)).map(|_| format!("{once} ")).collect::<String>() + "\n"
}

fn letters(dice: &mut Dice) -> String {
    let start = dice.below(26) as u8;
    let step = dice.range(1, 3) as u8;
    let upper = dice.once_in(2);
    let count = dice.range(6, 26) as u8;
    let first = if upper { b'A' } else { b'a' };
    let all: Vec<_> = (0..count).map(|i| char::from(first + (start + i * step) % 26).to_string()).collect();
    all.join(dice.pick(&[" ", ", ", "", "-"])) + "\n"
}

pub(super) fn list(dice: &mut Dice, size: usize) -> String {
    let game = dice.below(10);
    fill(dice, size, |dice, line| match game {
        0..=5 => enumeration(dice, game),
        6 => saying(dice),
        7 => repeated(dice),
        8 => letters(dice),
        _ => {
            let word = words::SMALL.get(line % 21).copied().unwrap_or_default();
            format!("{word} {}{}, ", dice.pick(&words::ANIMALS), if line % 21 == 1 { "" } else { "s" })
        }
    })
}
