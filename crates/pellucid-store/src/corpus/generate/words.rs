//! Word lists of the English templates.

pub(super) const FIRST: [&str; 40] = [
    "Alice", "Bruno", "Chloe", "Daniel", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kavya", "Liam",
    "Mara", "Noor", "Oscar", "Priya", "Quentin", "Rosa", "Samir", "Tara", "Ulrich", "Vera", "Wanda",
    "Xavier", "Yusuf", "Zoe", "Amina", "Boris", "Carmen", "Dmitri", "Esther", "Felix", "Gita", "Hannah",
    "Igor", "Julia", "Kwame", "Lucia", "Mehmet", "Nadia",
];

pub(super) const LAST: [&str; 36] = [
    "Abbott", "Baker", "Castillo", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanov", "Jensen",
    "Kim", "Larsson", "Moreau", "Nakamura", "Okafor", "Patel", "Quinn", "Rossi", "Santos", "Tanaka", "Usman",
    "Varga", "Weber", "Xu", "Yilmaz", "Zhang", "Brown", "Cohen", "Diaz", "Evans", "Novak", "Petrov", "Singh",
    "Taylor", "Wagner", "Young",
];

pub(super) const CITIES: [&str; 48] = [
    "Amsterdam",
    "Athens",
    "Bangkok",
    "Barcelona",
    "Berlin",
    "Bogota",
    "Boston",
    "Brussels",
    "Budapest",
    "Cairo",
    "Chicago",
    "Copenhagen",
    "Dakar",
    "Delhi",
    "Dublin",
    "Geneva",
    "Hanoi",
    "Helsinki",
    "Istanbul",
    "Jakarta",
    "Kyiv",
    "Lagos",
    "Lima",
    "Lisbon",
    "London",
    "Madrid",
    "Melbourne",
    "Montreal",
    "Moscow",
    "Mumbai",
    "Nairobi",
    "New York",
    "Osaka",
    "Oslo",
    "Paris",
    "Prague",
    "Quito",
    "Riga",
    "Rome",
    "Santiago",
    "Seattle",
    "Seoul",
    "Singapore",
    "Stockholm",
    "Sydney",
    "Tokyo",
    "Toronto",
    "Vienna",
];

pub(super) const COUNTRIES: [&str; 32] = [
    "Argentina",
    "Australia",
    "Austria",
    "Belgium",
    "Brazil",
    "Canada",
    "Chile",
    "China",
    "Denmark",
    "Egypt",
    "Finland",
    "France",
    "Germany",
    "Ghana",
    "Greece",
    "India",
    "Indonesia",
    "Ireland",
    "Italy",
    "Japan",
    "Kenya",
    "Mexico",
    "Morocco",
    "Norway",
    "Peru",
    "Poland",
    "Portugal",
    "Spain",
    "Sweden",
    "Thailand",
    "Turkey",
    "Vietnam",
];

pub(super) const COLOURS: [&str; 24] = [
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "indigo",
    "violet",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "grey",
    "turquoise",
    "crimson",
    "scarlet",
    "beige",
    "ivory",
    "olive",
    "teal",
    "navy",
    "gold",
    "silver",
    "maroon",
];

pub(super) const ANIMALS: [&str; 30] = [
    "cat", "dog", "horse", "cow", "sheep", "goat", "pig", "hen", "duck", "goose", "fox", "wolf", "bear",
    "deer", "otter", "badger", "hare", "mouse", "owl", "eagle", "heron", "salmon", "trout", "whale", "seal",
    "lion", "tiger", "elephant", "giraffe", "zebra",
];

pub(super) const FRUIT: [&str; 28] = [
    "apple", "pear", "plum", "cherry", "peach", "apricot", "grape", "lemon", "lime", "orange", "banana",
    "mango", "fig", "date", "melon", "kiwi", "carrot", "leek", "onion", "potato", "tomato", "pepper",
    "cabbage", "spinach", "bean", "pea", "radish", "pumpkin",
];

pub(super) const THINGS: [&str; 40] = [
    "account", "album", "article", "batch", "book", "bridge", "camera", "channel", "city", "customer",
    "device", "engine", "event", "file", "garden", "invoice", "item", "key", "lamp", "letter", "message",
    "meter", "node", "order", "packet", "player", "price", "product", "query", "report", "route", "score",
    "sensor", "session", "station", "student", "ticket", "token", "user", "window",
];

pub(super) const QUALITIES: [&str; 28] = [
    "active", "bright", "cheap", "clean", "cold", "current", "daily", "empty", "fast", "final", "first",
    "heavy", "hidden", "large", "last", "local", "long", "new", "old", "open", "pending", "quick", "remote",
    "short", "simple", "small", "valid", "warm",
];

pub(super) const VERBS: [&str; 28] = [
    "add", "build", "check", "clear", "close", "collect", "compare", "convert", "copy", "count", "create",
    "find", "format", "join", "load", "merge", "move", "open", "parse", "print", "read", "remove", "save",
    "select", "send", "sort", "split", "update",
];

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(super) const SMALL: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// Top-level domains, the common ones more often.
pub(super) const DOMAINS: [&str; 12] =
    ["com", "com", "com", "org", "org", "net", "io", "edu", "de", "fr", "co.uk", "jp"];
