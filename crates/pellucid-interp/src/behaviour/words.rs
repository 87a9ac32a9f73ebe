//! Word lists of the built-in behaviours: common words that most tokenizers keep whole.

/// Nouns, one and several: also a task for function vectors.
pub(crate) fn nouns() -> &'static [(&'static str, &'static str)] {
    &NOUNS
}

/// Countries and capitals: as [`nouns`].
pub(crate) fn capitals() -> &'static [(&'static str, &'static str)] {
    &CAPITALS
}

/// Nouns, one and several.
pub(super) const NOUNS: [(&str, &str); 40] = [
    ("key", "keys"),
    ("book", "books"),
    ("picture", "pictures"),
    ("car", "cars"),
    ("door", "doors"),
    ("letter", "letters"),
    ("flower", "flowers"),
    ("house", "houses"),
    ("table", "tables"),
    ("boy", "boys"),
    ("girl", "girls"),
    ("teacher", "teachers"),
    ("student", "students"),
    ("doctor", "doctors"),
    ("friend", "friends"),
    ("bird", "birds"),
    ("tree", "trees"),
    ("window", "windows"),
    ("ship", "ships"),
    ("road", "roads"),
    ("river", "rivers"),
    ("farmer", "farmers"),
    ("singer", "singers"),
    ("writer", "writers"),
    ("dog", "dogs"),
    ("cat", "cats"),
    ("horse", "horses"),
    ("lamp", "lamps"),
    ("box", "boxes"),
    ("bridge", "bridges"),
    ("garden", "gardens"),
    ("shop", "shops"),
    ("painting", "paintings"),
    ("machine", "machines"),
    ("stone", "stones"),
    ("song", "songs"),
    ("guest", "guests"),
    ("worker", "workers"),
    ("engine", "engines"),
    ("chair", "chairs"),
];

pub(super) const PREPOSITIONS: [&str; 6] = ["near", "behind", "beside", "by", "above", "below"];

pub(super) const STARTS: [&str; 6] =
    ["The", "The old", "I think that the", "Today the", "She says the other", "We know that the"];

pub(super) const BUYERS: [&str; 8] = ["Anna", "Tom", "She", "He", "Maria", "Peter", "They", "We"];

pub(super) const VERBS: [&str; 8] =
    ["bought", "saw", "liked", "found", "sold", "wanted", "remembered", "noticed"];

pub(super) const NAMES: [&str; 16] = [
    "Mary", "John", "Anna", "Peter", "Tom", "Sarah", "James", "Laura", "David", "Emma", "Paul", "Alice",
    "Mark", "Lucy", "Daniel", "Kate",
];

pub(super) const PLACES: [&str; 8] =
    ["store", "park", "school", "garden", "office", "station", "market", "beach"];

pub(super) const THINGS: [&str; 8] = ["book", "drink", "letter", "ring", "ticket", "flower", "key", "gift"];

/// Countries and capitals.
pub(super) const CAPITALS: [(&str, &str); 24] = [
    ("France", "Paris"),
    ("Italy", "Rome"),
    ("Spain", "Madrid"),
    ("Germany", "Berlin"),
    ("Poland", "Warsaw"),
    ("Japan", "Tokyo"),
    ("Russia", "Moscow"),
    ("Egypt", "Cairo"),
    ("Greece", "Athens"),
    ("Austria", "Vienna"),
    ("Ireland", "Dublin"),
    ("Portugal", "Lisbon"),
    ("England", "London"),
    ("Cuba", "Havana"),
    ("Norway", "Oslo"),
    ("Sweden", "Stockholm"),
    ("Hungary", "Budapest"),
    ("Turkey", "Ankara"),
    ("Iran", "Tehran"),
    ("Iraq", "Baghdad"),
    ("China", "Beijing"),
    ("Kenya", "Nairobi"),
    ("Canada", "Ottawa"),
    ("Peru", "Lima"),
];
